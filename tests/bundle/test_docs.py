"""docs/bundles.md says what the code does."""

import runpy
from pathlib import Path

from runtimeimg.bundle import ALLOWED, BundleOptions, defaults, plan_config
from runtimeimg.bundle.paths import at
from runtimeimg.cli import run
from runtimeimg.cli.bundle import write

from .images import image, opened

ROOT = Path(__file__).parents[2]


def test_the_tables_are_up_to_date() -> None:
    page = (ROOT / "docs" / "bundles.md").read_text("utf-8")
    script = runpy.run_path(str(ROOT / "scripts" / "update-bundles-docs.py"))
    assert script["render"](page) == page, "run python scripts/update-bundles-docs.py"
    assert page.count("<!-- table: ") == len(script["TABLES"])


def test_every_option_is_told_of() -> None:
    page = (ROOT / "docs" / "bundles.md").read_text("utf-8")
    for name in ("config-only", "rootless", "debug", "runtime", "set", "hook", "mount", "env", "readonly", "network"):
        assert f"`--{name}" in page, name
    assert set(write.ALLOWED) == set(run.ALLOWED) == set(ALLOWED)


def test_every_default_is_what_is_written() -> None:
    found = image(WorkingDir="")
    with opened(found) as files:
        config = plan_config(found, files, BundleOptions()).config
    for item in defaults.DEFAULTS:
        if item.path not in {"process.env", "hostname"}:
            assert at(config, item.path) == item.value, item.path
    assert config["process"]["env"] == [f"PATH={defaults.PATH}", "HOME=/"]
    assert config["hostname"] == "web"
    assert all(item.reason for item in defaults.DEFAULTS)
