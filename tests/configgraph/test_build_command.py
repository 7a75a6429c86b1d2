"""`graph build`, `graph params` and the schemas: what they write and print, and what they end with."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtimeimg import provenance
from runtimeimg.configgraph import saved
from runtimeimg.configgraph.model import Artefact
from runtimeimg.image import Image
from runtimeimg.oci import Location, Reference
from runtimeimg.stores import StoreOptions, open_image
from tests.configgraph.layouts import Layout
from tests.indexes.command import done, run

DOCUMENTS = """\
apiVersion: runtimeimg.dev/v1
kind: Artefact
name: web
image: oci:images:web
---
apiVersion: runtimeimg.dev/v1
kind: Automaton
name: shop
artefact: web
process: {env: {EXTRA: "1"}}
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    layout = Layout(tmp_path / "images")
    amd, arm = layout.image(), layout.image(architecture="arm64", config={"Cmd": ["/bin/arm"]})
    layout.index("web", ("linux/amd64", amd), ("linux/arm64", arm))
    (tmp_path / "graph.yaml").write_text(DOCUMENTS)


def test_the_bytes_of_a_graph_are_always_the_same(tmp_path: Path) -> None:
    assert done("graph", "build", "graph.yaml") == "graph.json"
    first, lock = Path("graph.json").read_bytes(), Path("graph.lock").read_bytes()
    outcome = run("graph", "build", "graph.yaml", "-o", "-", "--offline")
    assert (outcome.code, outcome.err, outcome.out.encode()) == (0, "", first)
    assert Path("graph.lock").read_bytes() == lock
    assert done("graph", "build", "graph.yaml", "-o", "other.json", "--lock", "other.lock") == "other.json"
    assert Path("other.json").read_bytes() == first
    assert Path("other.lock").read_bytes() == lock


def test_a_graph_beside_its_documents_is_none_of_them() -> None:
    done("graph", "build", ".")
    first = Path("graph.json").read_bytes()
    done("graph", "build", ".")
    assert Path("graph.json").read_bytes() == first
    Path("graph.json").write_text(json.dumps(json.loads(first), indent=1))
    done("graph", "build", ".", "-o", "other.json")
    assert Path("other.json").read_bytes() == first


def test_what_params_shows() -> None:
    done("graph", "build", "graph.yaml")
    lines = done("graph", "params", "shop").splitlines()
    assert lines[0].startswith("address sha256:")
    rows = {line.split()[0]: line for line in lines[1:]}
    assert rows["EXTRA"].split()[-1] == "graph.yaml:10"
    assert '["/bin/app"]' in rows["process.args"]
    assert "found" not in rows["process.cwd"]
    assert '["/bin/arm"]' in done("graph", "params", "shop/0", "--variant", "arm64")
    data = json.loads(done("graph", "params", "shop", "--variant", "linux/arm64", "--format", "json"))
    assert data["variant"]["platform"] == "linux/arm64"
    args = next(item for item in data["parameters"] if item["path"] == "process.args")
    assert (args["value"], args["source"]["where"]) == (["/bin/arm"], "image")


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("build", "none.yaml"), 3, "'none.yaml' does not exist"),
        (("build", "graph.yaml", "--update", "--offline"), 2, "--offline asks none"),
        (("build", "graph.yaml", "--lock", "graph.yaml"), 2, "lock 'graph.yaml' is not valid JSON"),
        (("build", "images"), 3, "holds no Artefact, Automaton or Host"),
        (("params", "shop", "-g", "none.json"), 3, "graph 'none.json' does not exist"),
        (("params", "shpo"), 3, "did you mean 'automaton/shop'?"),
        (("params", "shop", "--variant", "s390x"), 3, "1 (linux/amd64"),
    ],
)
def test_what_does_not_work(args: tuple[str, ...], code: int, said: str) -> None:
    done("graph", "build", "graph.yaml")
    outcome = run("graph", *args)
    assert (outcome.code, outcome.out) == (code, "")
    assert said in outcome.err


def test_nothing_is_written_where_something_is_wrong() -> None:
    Path("graph.yaml").write_text(DOCUMENTS.replace("images:web", "images:none"))
    assert run("graph", "build", "graph.yaml").code == 3
    assert not Path("graph.json").exists()
    assert not Path("graph.lock").exists()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_nobody_goes_on_reading_when_the_command_is_ended(end: signal.Signals) -> None:
    Path("many").mkdir()
    document = "---\napiVersion: runtimeimg.dev/v1\nkind: Automaton\nname: a-{}-{}\nartefact: web\n"
    for number in range(60):
        text = "".join(document.format(number, item) for item in range(1000))
        Path(f"many/{number}.yaml").write_text(text)
    started = subprocess.Popen(
        [sys.executable, "-m", "runtimeimg", "graph", "build", "many"], stderr=subprocess.DEVNULL
    )
    several = len(os.sched_getaffinity(0)) > 1  # with one processor it reads by itself
    readers = waited_for(lambda: children(started.pid)) if several else []
    started.send_signal(end)
    assert started.wait(60) != 0
    waited_for(lambda: not any(map(runs, readers)))
    assert not Path("graph.json").exists()


def children(process: int) -> list[int]:
    found = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [int(item) for item in found] if len(found) > 1 else []


def runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def waited_for(tell: Callable[[], Any]) -> Any:
    """Wait until something is so, and return it."""
    for _ in range(600):
        found = tell()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it is not so after half a minute")


@pytest.mark.parametrize("kind", ["artefact", "automaton", "host"])
def test_schemas_are_printed(kind: str) -> None:
    assert json.loads(done("schema", kind))["title"] == kind.capitalize()


@pytest.mark.registry
@pytest.mark.skopeo
def test_what_provenance_says_that_an_image_was_made_from(tmp_path: Path) -> None:
    name = "127.0.0.1:5000/configgraph/made"
    reference, options = Reference.parse(f"{name}:1"), StoreOptions()
    layout = Layout(tmp_path / "made")
    layout.image("plain")
    image = open_image(Location.parse(f"oci:{layout.root}:plain"), options)
    assert isinstance(image, Image)
    images = [
        {"name": "docker.io/library/base:1", "digest": "sha256:" + "b" * 64},
        {"name": "registry.example.com/build:1", "digest": "sha256:" + "c" * 64},
    ]
    plan = {"base": "docker.io/library/base:1", "images": images}
    digest = provenance.keep(reference, provenance.Provenance(dockerfile="FROM base", plan=plan), [image], options)
    layout.image("1", config={"Cmd": ["/bin/app"], "Labels": {provenance.LABEL: digest}})
    layout.image("2", config={"Cmd": ["/bin/app"], "Labels": {provenance.LABEL: "sha256:" + "0" * 64}})
    for tag in ("1", "2"):
        argv = ["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{layout.root}:{tag}", f"docker://{name}:{tag}"]
        subprocess.run(argv, check=True)
    documents = [
        f"---\napiVersion: runtimeimg.dev/v1\nkind: Artefact\nname: made-{tag}\nimage: docker://{name}:{tag}\n"
        for tag in ("1", "2")
    ]
    Path("graph.yaml").write_text("".join(documents))
    for _ in range(2):  # the second time out of the cache
        done("graph", "build", "graph.yaml")
        view = saved.open("graph.json")
        made, other = view.get("artefact/made-1"), view.get("artefact/made-2")
        assert isinstance(made, Artefact)
        assert isinstance(other, Artefact)
        assert made.builders == ("artefact/registry.example.com/build:1@sha256:" + "c" * 64,)
        assert other.builders == ()
