.PHONY: demo test check bench clean

demo:  ## build, stamp, start and ask a sample on the Docker Engine
	scripts/demo

test:  ## the tests, on a real Docker Engine and registry
	scripts/test

check:  ## lint, format and types
	scripts/check

bench:
	scripts/venv
	.venv/bin/python benchmarks/run.py

clean:
	scripts/services stop
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
