"""Paths of a store: closures out of files, lists, databases with Nix's schema, and what `nix-store` prints."""

import json
import sqlite3
from pathlib import Path

import pytest

from runtimeimg.configgraph import closures, reading
from runtimeimg.configgraph.build import Built, build
from runtimeimg.configgraph.closures import Run
from runtimeimg.configgraph.model import Artefact, Layer
from runtimeimg.configgraph.resolve import Ways
from runtimeimg.errors import SpecError
from runtimeimg.stores import StoreOptions

HELLO, LIBC, GCC, OTHER = (
    f"/nix/store/{letter * 32}-{name}" for letter, name in zip("abcd", ("hello", "libc", "gcc", "x"), strict=True)
)
REFERENCES = {HELLO: [HELLO, LIBC, GCC], GCC: [LIBC, GCC], LIBC: [LIBC], OTHER: []}
# Of Nix's own schema (libstore/schema.sql), what is asked for and what those tables hold besides.
SCHEMA = """
    create table ValidPaths (
        id integer primary key autoincrement not null, path text unique not null, hash text not null,
        registrationTime integer not null, deriver text, narSize integer, ultimate integer, sigs text, ca text
    );
    create table Refs (
        referrer integer not null, reference integer not null, primary key (referrer, reference),
        foreign key (referrer) references ValidPaths(id) on delete cascade,
        foreign key (reference) references ValidPaths(id) on delete restrict
    );
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(closures, "DATABASE", tmp_path / "none.sqlite")


def made(store: str, run: Run | None = None) -> Built:
    Path("graph.yaml").write_text(
        f"apiVersion: runtimeimg.dev/v1\nkind: Artefact\nname: hello\nstore: {{path: {HELLO}, {store}}}\n"
    )
    return build(reading.read_all([Path("graph.yaml")]), Ways(options=StoreOptions(), lock={}), run=run)


def of(built: Built) -> tuple[Artefact, dict[str, Layer]]:
    node = built.graph.nodes["artefact/hello"]
    assert isinstance(node, Artefact)
    return node, {key: item for key, item in built.graph.nodes.items() if isinstance(item, Layer)}


def database(path: Path, references: dict[str, list[str]]) -> None:
    with sqlite3.connect(path) as found:
        found.executescript(SCHEMA)
        numbers = {}
        for number, name in enumerate(references, 1):
            numbers[name] = number
            row = (number, name, "sha256:" + "0" * 64, 0, 1000 + number)
            found.execute(
                "insert into ValidPaths (id, path, hash, registrationTime, narSize) values (?, ?, ?, ?, ?)", row
            )
        pairs = [(numbers[one], numbers[other]) for one, others in references.items() for other in others]
        found.executemany("insert into Refs values (?, ?)", pairs)
    found.close()


def check_tied(built: Built) -> None:
    node, layers = of(built)
    assert node.paths == (HELLO, LIBC, GCC)
    assert set(layers) == {f"layer/{path}" for path in (HELLO, LIBC, GCC)}
    assert layers[f"layer/{HELLO}"].references == (f"layer/{LIBC}", f"layer/{GCC}")
    assert layers[f"layer/{GCC}"].references == (f"layer/{LIBC}",)
    assert node.digest == closures.closure_digest((GCC, LIBC, HELLO))


def test_a_database() -> None:
    database(Path("db.sqlite"), REFERENCES)
    before = Path("db.sqlite").read_bytes()
    built = made("database: db.sqlite")
    check_tied(built)
    assert of(built)[1][f"layer/{HELLO}"].size == 1001
    assert Path("db.sqlite").read_bytes() == before
    assert sorted(path.name for path in Path().iterdir()) == ["db.sqlite", "graph.yaml"]


def test_the_database_of_the_store_itself() -> None:
    database(closures.DATABASE, REFERENCES)
    check_tied(made("drv: /nix/store/hello.drv"))


@pytest.mark.parametrize("form", ["list", "object"])
def test_what_nix_path_info_prints(form: str) -> None:
    items = [{"path": path, "references": found, "narSize": 5} for path, found in REFERENCES.items()]
    Path("closure.json").write_text(json.dumps(items if form == "list" else {item.pop("path"): item for item in items}))
    built = made("closure: closure.json")
    check_tied(built)
    assert of(built)[1][f"layer/{LIBC}"].size == 5


@pytest.mark.parametrize("way", ["file", "list", "nix-store"])
def test_a_list_of_paths_is_what_the_path_itself_needs(way: str) -> None:
    asked = []

    def run(arguments: object) -> str:
        asked.append(arguments)
        return f"{LIBC}\n{GCC}\n{HELLO}\n"

    Path("closure").write_text(run(None))
    asked.clear()
    store = {"file": "closure: closure", "list": f"paths: [{HELLO}, {LIBC}, {GCC}]", "nix-store": "drv: /nix/x.drv"}
    node, layers = of(made(store[way], run))
    assert node.paths == (HELLO, LIBC, GCC)
    assert set(layers[f"layer/{HELLO}"].references) == {f"layer/{LIBC}", f"layer/{GCC}"}
    assert layers[f"layer/{GCC}"].references == ()
    assert asked == ([("nix-store", "--query", "--requisites", HELLO)] if way == "nix-store" else [])


def test_contents_belong_to_it() -> None:
    database(Path("db.sqlite"), REFERENCES)
    node, layers = of(made(f"database: db.sqlite, contents: [{OTHER}]"))
    assert node.paths == (HELLO, OTHER, LIBC, GCC)
    assert f"layer/{OTHER}" in layers


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ("drv: /nix/x.drv", "there is neither"),
        ("database: db.sqlite", "does not exist"),
        ("database: graph.yaml", "cannot be read: file is not a database"),
        ("database: other.sqlite", "has no path"),
        ("closure: graph.yaml", "is not a path of a store"),
        ("closure: broken.json", "not valid JSON"),
        ("closure: odd.json", "of another type"),
    ],
)
def test_what_is_no_closure(store: str, said: str) -> None:
    database(Path("other.sqlite"), {OTHER: []})
    Path("broken.json").write_text("[")
    Path("odd.json").write_text(json.dumps({HELLO: {"references": 5}}))
    with pytest.raises(SpecError, match=said) as caught:
        made(store)
    assert caught.value.problems[0].line == 4
