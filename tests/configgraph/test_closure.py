"""Closures: what something needs, what somebody lacks, and that skopeo then moves exactly that."""

import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

import pytest

from runtimeimg.configgraph import saved
from runtimeimg.configgraph.closure import closure, had
from runtimeimg.configgraph.model import Artefact, Graph, Layer, Role, layer_id
from runtimeimg.configgraph.views import Whole
from runtimeimg.errors import NotFoundError
from runtimeimg.oci import Platform
from tests.configgraph.graphs import artefact, automaton, digest, graph, host, instance, shop
from tests.configgraph.layouts import Layout
from tests.indexes.command import done, run
from tests.stores.served import serve


def names(found: Graph, node: str, *have: str, platform: str = "") -> set[str]:
    """The blobs of a node that are missing where others have theirs."""
    view = Whole(found)
    there = [blob for name in have for blob in had(view, found.nodes[name])]
    result = closure(view, found.nodes[node], there, Platform.parse(platform) if platform else None)
    assert [blob.name for blob in result.blobs] == list(dict.fromkeys(blob.name for blob in result.blobs))
    return {blob.name for blob in result.blobs if blob.missing}


def test_what_an_artefact_an_automaton_an_instance_and_a_host_need() -> None:
    found = shop()
    web, api, base = (found.nodes[f"artefact/{name}"] for name in ("web", "api", "base"))
    for node in ("artefact/web", "automaton/shop", "instance/shop/0", "host/one", "host/two"):
        assert names(found, node) == set(web.blobs)
    assert names(found, "instance/orders/0") == set(api.blobs)
    assert names(found, "artefact/web", "host/one") == set(web.blobs) - set(base.blobs)
    assert names(found, "artefact/web", "artefact/api") == set(web.blobs) - {digest("layer os")}
    assert names(found, "artefact/web", "automaton/shop") == set()
    assert names(found, f"layer/{digest('layer os')}") == {digest("layer os")}


def test_a_placed_instance_needs_its_own_variant_and_a_platform_its_own() -> None:
    both = artefact("web", "os", platforms=("linux/amd64", "linux/arm64"))
    amd, arm = both.variants
    arm = replace(arm, layers=(digest("layer arm"),))
    both = replace(both, variants=(amd, arm))
    found = graph(
        both,
        automaton("shop", "web", replicas=2),
        instance("shop", 0, "h", arm.manifest),
        instance("shop", 1),
        host("h"),
    )
    assert names(found, "instance/shop/0") == names(found, "host/h") == set(arm.blobs)
    assert names(found, "instance/shop/1") == set(both.blobs)
    assert names(found, "automaton/shop", platform="linux/amd64/v3") == set(amd.blobs)
    with pytest.raises(NotFoundError, match="no variant for linux/riscv64") as caught:
        names(found, "automaton/shop", platform="linux/riscv64")
    assert "is for linux/arm64" in str(caught.value.hint)


def test_paths_of_a_store_come_with_all_that_they_refer_to() -> None:
    libc, ssl, tool = (f"/nix/store/{name}" for name in ("libc", "ssl", "tool"))
    paths = [
        Layer(id=layer_id(libc), role=Role.PATH, size=5),
        Layer(id=layer_id(ssl), role=Role.PATH, size=7, references=(layer_id(libc), layer_id(ssl))),
        Layer(id=layer_id(tool), role=Role.PATH, references=(layer_id(ssl),)),
    ]
    web = replace(artefact("web"), variants=(), paths=(tool, ssl, libc))
    found = graph(web, paths, host("h", ssl), host("empty"))
    assert names(found, f"layer/{tool}") == {tool, ssl, libc}
    assert names(found, "artefact/web", "host/h") == {tool}
    amount = closure(Whole(found), found.nodes["artefact/web"], [ssl]).missing
    assert (amount.count, amount.size, amount.unknown) == (2, 5, 1)


def test_an_image_with_paths_of_a_store_needs_them_on_every_platform() -> None:
    path = Layer(id=layer_id("/nix/store/tool"), role=Role.PATH, size=5)
    both = replace(artefact("web", "os", platforms=("linux/amd64", "linux/arm64")), paths=("/nix/store/tool",))
    amd, arm = both.variants
    found = graph(both, path, automaton("shop", "web"), instance("shop", 0, "h", arm.manifest), host("h"))
    assert names(found, "host/h") == {*arm.blobs, "/nix/store/tool"}
    assert names(found, "automaton/shop", platform="linux/amd64") == {*amd.blobs, "/nix/store/tool"}


@pytest.fixture
def there(tmp_path: Path) -> Path:
    saved.write(shop(), tmp_path / "graph.json")
    return tmp_path / "graph.json"


def test_the_command(there: Path) -> None:
    told = json.loads(done("graph", "closure", "shop", "--have", "one", "-g", there, "--format", "json"))
    assert told["node"] == "automaton/shop"
    assert told["needed"] == {"count": 4, "size": 4000, "unknownSizes": 0}
    assert told["missing"] == {"count": 3, "size": 3000, "unknownSizes": 0}
    table = done("graph", "closure", "shop", "--have", "one", "-g", there).splitlines()
    assert table[0].split() == ["BLOB", "ROLE", "SIZE", "STATE"]
    assert sum(line.endswith(" there") for line in table) == 1
    assert table[-2:] == ["needed: 4 blobs, 4.0 kB", "to move: 3 blobs, 3.0 kB"]


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("shp",), 3, "graph has no automaton or artefact or host or instance or layer 'shp'"),
        (("shp",), 3, "did you mean 'automaton/shop'?"),
        (("shop", "--have", "tow"), 3, "did you mean 'host/two'?"),
        (("shop", "--have", f"layer/{digest('layer os')}"), 2, "is a node of the kind layer"),
        (("shop", "--have", "oci:nowhere"), 3, "'oci:nowhere', and "),
        (("shop", "--platform", "amd64/x/y/z"), 2, "is not of the form os/architecture"),
    ],
)
def test_what_is_not_there_is_said_so(there: Path, args: tuple[str, ...], code: int, said: str) -> None:
    outcome = run("graph", "closure", *args, "-g", there)
    assert outcome.code == code
    assert said in outcome.err
    assert outcome.out == ""


def test_a_base_that_nobody_looked_at_is_looked_up_or_said_to_be_unknown(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "images")
    layout.image("base", layers=({"etc/os": "debian"},), config={})
    layout.image("app", layers=({"etc/os": "debian"}, {"bin/app": "app"}))
    opened = saved.load(documents(tmp_path, {"app": f"oci:{layout.root}:app"}))
    base = Artefact(id="artefact/base", reference=f"oci:{layout.root}:base")
    saved.write(graph(opened.nodes.values(), base), tmp_path / "graph.json")
    assert len(missing(tmp_path / "graph.json", "app", "base")) == len(missing(tmp_path / "graph.json", "app")) - 1
    outcome = run("graph", "closure", "base", "-g", tmp_path / "graph.json")
    assert outcome.code == 3
    assert "artefact 'base' was never looked at, so that nobody knows its blobs" in outcome.err


# By the log of a real registry

SAMPLES = ("nodejs", "petclinic", "python")


@dataclass
class Logged:
    """A registry, and what came to it."""

    host: str
    log: Path

    def image(self, tag: str) -> str:
        return f"docker://{self.host}/app:{tag}"

    def push(self, source: str, tag: str) -> set[str]:
        """Copy an image with skopeo, and return the digests of what was uploaded."""
        before = self.log.stat().st_size
        copy = ["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", source, self.image(tag)]
        subprocess.run(copy, check=True, capture_output=True)
        lines = self.log.read_bytes()[before:].decode()
        blobs = re.findall(r'"PUT /v2/app/blobs/uploads/[^" ]*digest=([^&" ]+)[^"]*" 201', lines)
        moved = {unquote(item) for item in blobs}
        return moved | {self._digest(item) for item in re.findall(r'"PUT /v2/app/manifests/(\S+) [^"]*" 201', lines)}

    def _digest(self, tag: str) -> str:
        accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
        request = urllib.request.Request(f"http://{self.host}/v2/app/manifests/{tag}", method="HEAD", headers=accept)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request) as response:
            return response.headers["Docker-Content-Digest"]


@contextmanager
def fresh(folder: Path) -> Iterator[Logged]:
    """A registry that has nothing yet."""
    with serve(folder) as address:
        yield Logged(address, folder / "log")


def missing(graph_file: Path, node: str, *have: str) -> set[str]:
    options = [item for name in have for item in ("--have", name)]
    told = json.loads(done("graph", "closure", node, *options, "-g", graph_file, "--format", "json"))
    assert {item["name"] for item in told["blobs"]} > set()
    return {item["name"] for item in told["blobs"] if item["missing"]}


def documents(folder: Path, images: dict[str, str]) -> Path:
    """A graph of these images."""
    text = "".join(
        f"---\napiVersion: runtimeimg.dev/v1\nkind: Artefact\nname: {name}\nimage: {image}\n"
        for name, image in images.items()
    )
    (folder / "artefacts.yaml").write_text(text)
    done("graph", "build", folder / "artefacts.yaml", "-o", folder / "graph.json")
    return folder / "graph.json"


@pytest.mark.registry
def test_skopeo_moves_what_is_missing(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "images")
    system, library, own = {"etc/os": "debian"}, {"lib/ssl": "3"}, {"bin/app": "app"}
    layout.image("base", layers=(system,), config={})
    layout.image("library", layers=(system, library))
    layout.image("app", layers=(system, library, own))
    layout.image("other", layers=(own, system))
    tags = ("base", "library", "app", "other")
    found = documents(tmp_path, {tag: f"oci:{layout.root}:{tag}" for tag in tags})
    for have in ((), ("base",), ("library",), ("base", "other"), ("library", "other"), ("app",)):
        with fresh(tmp_path / f"registry-{'-'.join(have)}") as registry:
            for name in have:
                registry.push(f"oci:{layout.root}:{name}", name)
            wanted = missing(found, "app", *have)
            by_reference = missing(found, "app", *(registry.image(name) for name in have))
            assert wanted == by_reference
            moved = registry.push(f"oci:{layout.root}:app", "app")
        assert moved - wanted <= {digest_of(found, "app")}  # its tag is new, whatever is there
        assert wanted <= moved


@pytest.mark.engine
@pytest.mark.registry
@pytest.mark.slow
def test_skopeo_moves_what_is_missing_of_the_samples(samples: Path, tmp_path: Path) -> None:
    """To a registry that has each sample's base, as the sample's layers were packed on it."""
    images = {}
    for name in SAMPLES:
        spec = samples / name / "build.yaml"
        done("build", spec, "--builder", "native", "-o", f"oci:{tmp_path}/{name}:1", "--progress", "quiet")
        base = re.search(r"base:\s+image: *(\S+)", spec.read_text())
        assert base is not None
        done("copy", f"docker-daemon:{base[1]}", f"oci:{tmp_path}/{name}-base:1")
        images |= {name: f"oci:{tmp_path}/{name}:1", f"{name}-base": f"oci:{tmp_path}/{name}-base:1"}
    found = documents(tmp_path, images)
    for name in SAMPLES:
        with fresh(tmp_path / f"registry-{name}") as registry:
            registry.push(images[f"{name}-base"], "base")
            wanted = missing(found, name, f"{name}-base")
            assert wanted == missing(found, name, registry.image("base"))
            assert registry.push(images[name], "app") == wanted
            everything = missing(found, name)
            assert wanted < everything
            assert missing(found, name, name) == set()


def digest_of(graph_file: Path, name: str) -> str:
    node = saved.open(graph_file).get(f"artefact/{name}")
    return node.digest
