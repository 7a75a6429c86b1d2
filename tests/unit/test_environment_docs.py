"""docs/environment.md names the environment variables that the code reads, all of them and no others."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "environment.md"
NAME = re.compile(r"[A-Za-z_]{4,}\Z")
# Set by the command itself for a library, or a shell for click; f"{scheme}_proxy" is spelt out.
OTHERS = {"PYDANTIC_DISABLE_PLUGINS"}
BY_PATTERN = {"{}_proxy": {"http_proxy", "https_proxy"}}


def environment(node: ast.expr) -> bool:
    return ast.unparse(node).rsplit(".", 1)[-1] in {"environ", "getenv"}


def names(node: ast.expr, constants: dict[str, str]) -> set[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return {node.value}
    if isinstance(node, ast.JoinedStr):
        pattern = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        return BY_PATTERN[pattern]
    if isinstance(node, ast.Name) and node.id in constants:
        return {constants[node.id]}
    return set()  # a name that the user gives, as with `run -e NAME`


def keys(tree: ast.Module) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            function = node.func
            if isinstance(function, ast.Attribute) and function.attr in {"get", "setdefault", "pop"}:
                function = function.value
            if environment(function):
                yield node.args[0]
        elif isinstance(node, ast.Subscript) and environment(node.value):
            yield node.slice
        elif isinstance(node, ast.Compare) and any(environment(item) for item in node.comparators):
            yield node.left


def test_the_page_names_what_the_code_reads() -> None:
    trees = [ast.parse(path.read_text()) for path in sorted((ROOT / "runtimeimg").rglob("*.py"))]
    assigned = [node for tree in trees for node in tree.body if isinstance(node, ast.Assign)]
    constants = {
        target.id: node.value.value
        for node in assigned
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    }
    read = {name for tree in trees for key in keys(tree) for name in names(key, constants)}
    read |= {constants["VARIABLE"], "ftp_proxy", "all_proxy"}
    page = PAGE.read_text()
    named = {name for name in re.findall(r"`([^`]+)`", page) if (NAME.match(name) and "_" in name) or name in read}
    missing = sorted(read - OTHERS - named)
    assert not missing, f"docs/environment.md does not name {missing}"
    stale = sorted(named - read)
    assert not stale, f"docs/environment.md names {stale}, which nothing reads"
    assert len(read) > 20
