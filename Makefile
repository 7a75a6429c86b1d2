.PHONY: demo test check man bench bench-unpack bench-graph clean

demo:  ## compose a sample, show it and ask it for its page
	scripts/demo

test:  ## the tests, on a real Docker Engine and registry
	scripts/test

check:  ## lint, format and types
	scripts/check

man:  ## the man pages of all commands, into build/man
	scripts/venv
	.venv/bin/python scripts/man.py

bench:
	scripts/venv
	.venv/bin/python benchmarks/run.py

bench-unpack:
	scripts/venv
	.venv/bin/python benchmarks/unpacking.py

bench-graph:
	scripts/venv
	.venv/bin/python benchmarks/graphs.py

clean:
	scripts/services stop
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build demo dist
