"""The ranks of the modules: a module imports only from lower ranks, or from its own package."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "runtimeimg"

RANKS = {
    0: ("errors", "progress", "account", "budgets", "text", "remains"),
    1: ("elf", "findings", "hostfile", "locks", "oci", "process"),
    2: ("elfdynamic", "runtimegraph", "spec"),
    3: ("plan", "image", "supervisor", "templating", "quoting", "cache"),
    4: ("planned", "render", "selection", "stamp", "strategy", "stores"),
    5: ("compose", "detect", "unpack"),
    6: ("builders", "bundle", "check", "run"),
    7: ("build", "compat", "configgraph", "export", "provenance", "runtime"),
    8: ("step",),
    9: ("cli",),
    10: ("__main__",),
}
RANK = {name: rank for rank, names in RANKS.items() for name in names}


def owner(module: str) -> str:
    """The module or package right below `runtimeimg` that a dotted name belongs to."""
    return module.removeprefix("runtimeimg").strip(".").partition(".")[0]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names if name.name.startswith("runtimeimg"))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("runtimeimg"):
            if node.module == "runtimeimg":
                yield from ((node.lineno, f"runtimeimg.{name.name}") for name in node.names)
            else:
                yield node.lineno, node.module


def violations(path: Path) -> Iterator[str]:
    module = "runtimeimg." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    mine = owner(module)
    for line, name in imports(path):
        other = owner(name)
        if other in {"", "__version__", mine}:
            continue
        assert other in RANK, f"{path.name}:{line}: {name} has no rank; give it one here and in docs/architecture.md"
        if RANK[other] >= RANK[mine]:
            yield f"{module} (rank {RANK[mine]}) imports {name} (rank {RANK[other]}) in line {line}"


MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_lower_ranks(path: Path) -> None:
    assert owner("runtimeimg." + path.relative_to(PACKAGE).parts[0].removesuffix(".py")) in RANK
    assert list(violations(path)) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_has_at_most_400_lines(path: Path) -> None:
    assert path.read_text().count("\n") <= 400


def test_only_process_starts_programs_and_only_the_command_line_prints() -> None:
    for path in MODULES:
        names = {name.split(".")[0] for _, name in all_imports(path)}
        if path.name != "process.py":
            assert "subprocess" not in names, path
        if "cli" not in path.parts:
            calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
            assert not any(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls), path


def all_imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module


def test_a_wrong_import_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "oci").mkdir()
    bad = tmp_path / "oci" / "bad.py"
    bad.write_text("from runtimeimg.cli.main import main\n")
    monkeypatch.setattr("test_layers.PACKAGE", tmp_path)
    found = f"runtimeimg.oci.bad (rank {RANK['oci']}) imports runtimeimg.cli.main (rank {RANK['cli']}) in line 1"
    assert list(violations(bad)) == [found]
