"""`graph export`: automatons as documents of other tools, made from the graph alone."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from runtimeimg.errors import RuntimeimgError, UsageError

from .layouts import Layout
from .test_bundles import CONFIG, FILES, GIVEN, HOST, run

NAME = "registry.example.com/shop:1"


@pytest.fixture
def graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Return what makes the graph of an automaton `shop`, and removes the images: exports need none of them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def made(text: str, host: str = HOST) -> Path:
        layout = Layout(tmp_path / "image")
        layout.image("1", config=CONFIG, layers=[FILES])
        folder = tmp_path / "documents"
        folder.mkdir(exist_ok=True)
        head = f"apiVersion: runtimeimg.dev/v1\nkind: Automaton\nname: shop\nartefact: oci:{tmp_path}/image:1\n{text}\n"
        (folder / "shop.yaml").write_text(head)
        (folder / "host.yaml").write_text(host)
        run("graph", "build", folder, "-o", tmp_path / "graph.json", "--lock", tmp_path / "lock")
        (tmp_path / "image" / "index.json").unlink()
        return tmp_path / "graph.json"

    return made


def documents(graph_file: Path, target: str, *words: object) -> list[dict[str, Any]]:
    text = run("graph", "export", "shop", "--to", target, "-g", graph_file, "--image", NAME, *words)[0]
    found = list(yaml.safe_load_all(text))
    if target in {"pod", "deployment"}:
        for document in found:
            kubernetes_validate.validate(document, "1.37.0", strict=True)
    return found


def test_a_deployment_says_what_the_document_says(graph: Callable[[str], Path]) -> None:
    text = """
replicas: 3
process: {args: [/bin/app, x], env: {LOG: debug}, cwd: /tmp, user: {uid: 7, gid: 8}, capabilities: [CAP_KILL]}
state: [{name: orders, path: /data, size: 1Gi}]
mounts: [{destination: /etc/shop, source: /srv/shop, options: [ro]}, "type=tmpfs,destination=/fast"]
hostname: shop-1
resources: {cpu: 500m, memory: 64Mi, nvidia.com/gpu: 1}
ports: [{port: 80, hostPort: 8000, serviceName: shop}]
"""
    claim, service, deployment = documents(graph(text), "deployment", "--service")
    assert claim["spec"]["resources"]["requests"]["storage"] == str(1 << 30)
    assert [(item["name"], item["port"]) for item in service["spec"]["ports"]] == [("shop", 8000)]
    assert deployment["spec"]["replicas"] == 3
    spec = deployment["spec"]["template"]["spec"]
    main = spec["containers"][0]
    assert (main["image"], main["command"], main["workingDir"]) == (NAME, ["/bin/app", "x"], "/tmp")
    assert {"name": "LOG", "value": "debug"} in main["env"]
    assert main["resources"]["requests"] == {"cpu": "500m", "memory": str(64 << 20), "nvidia.com/gpu": "1"}
    assert (main["securityContext"]["runAsUser"], main["securityContext"]["readOnlyRootFilesystem"]) == (7, True)
    assert {item["mountPath"] for item in main["volumeMounts"]} == {"/data", "/etc/shop", "/fast", "/cache"}
    assert spec["hostname"] == "shop-1"


@pytest.mark.parametrize("target", ["pod", "deployment", "compose", "systemd-quadlet"])
@pytest.mark.parametrize("name", sorted(name for name in GIVEN if not name.startswith("hooks.")))
def test_every_parameter_goes_into_documents_or_is_said_not_to(
    graph: Callable[[str], Path], target: str, name: str
) -> None:
    graph_file, words = graph(GIVEN[name]), ("graph", "export", "shop", "--to", target, "--image", NAME)
    if (target, name) in {("pod", "process.user"), ("deployment", "process.user"), ("pod", "replicas")}:
        with pytest.raises(UsageError, match=r"takes a user's number|is one replica"):
            run(*words, "-g", graph_file)
        return
    out, told = run(*words, "-g", graph_file)
    assert NAME in out
    assert ("RLIMIT_" in told) == (name == "process.rlimits" and target in {"pod", "deployment"})


def test_hooks_are_for_bundles(graph: Callable[[str], Path]) -> None:
    with pytest.raises(UsageError, match=r"shop\.yaml:\d+: automaton 'shop' has hooks, which only a bundle has"):
        documents(graph(GIVEN["hooks.poststop"]), "pod")


def test_placed_instances_pin_a_deployment(graph: Callable[[str], Path], tmp_path: Path) -> None:
    graph_file = graph("")
    run("graph", "place", "-g", graph_file, "-o", tmp_path / "placed.json")
    (deployment,) = documents(tmp_path / "placed.json", "deployment")
    (term,) = deployment["spec"]["template"]["spec"]["affinity"]["nodeAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["here"]}]
    assert "affinity" not in documents(graph_file, "deployment")[0]["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--to", "pod"), "name one automaton, or pass --all"),
        (("shop", "--all", "--to", "pod"), "name one automaton, or pass --all"),
        (("--all", "--to", "pod"), "--all writes files: pass the folder with -o"),
        (("shop", "--to", "pod"), "on this machine alone"),
        (("other", "--to", "pod", "--image", NAME), "no automaton 'other'"),
    ],
)
def test_what_makes_no_sense(graph: Callable[[str], Path], words: tuple[str, ...], message: str) -> None:
    graph_file = graph("")
    with pytest.raises(RuntimeimgError, match=re.escape(message)):
        run("graph", "export", *words, "-g", graph_file)


def test_all_or_nothing_is_written(graph: Callable[[str], Path], tmp_path: Path) -> None:
    """One automaton that cannot be written keeps the others from being."""
    graph_file = graph("")
    with pytest.raises(UsageError, match="on this machine alone"):
        run("graph", "export", "--all", "--to", "pod", "-g", graph_file, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()
