"""Strategies played for real: every step a container on the local Engine, as the user of a restricted pod."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import LoggedRegistry
from tekton import Pod

from runtimeimg.image import ImageIndex
from runtimeimg.image.values import platforms_in
from runtimeimg.oci import Location, Reference
from runtimeimg.provenance import read
from runtimeimg.stores import StoreOptions, open_destination, open_image
from runtimeimg.strategy import Amendment, amend, cluster_strategy, convert, step_action, task
from runtimeimg.strategy.data import to_json
from runtimeimg.strategy.steps import CACHE_VOLUME

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.skopeo]

# Stands for what builds: it leaves an image with compilers and all in the output directory, or pushes it.
STRATEGY = """\
apiVersion: shipwright.io/v1beta1
kind: ClusterBuildStrategy
metadata:
  name: copying
spec:
  securityContext: {{runAsUser: {uid}, runAsGroup: {uid}}}
  steps:
    - name: build
      image: {tool}
      command: [runtimeimg]
      args: [copy, --tls-verify=false, "docker://{builder}", "{output}"]
      env:
        - {{name: HOME, value: /tmp}}
"""
LAYOUT = "oci:$(params.shp-output-directory):latest"
TARBALL = "docker-archive:$(params.shp-output-directory)/image.tar"
PUSHED = "docker://$(params.shp-output-image)"


@dataclass(frozen=True)
class Stage:
    """What a play needs: the registry, the images, and a name for the result."""

    registry: LoggedRegistry
    tool: str
    builder: str
    base: str
    repository: str
    folder: Path

    @property
    def name(self) -> str:
        return f"{self.registry.host}/{self.repository}:1"

    def system_parameters(self) -> dict[str, str]:
        return {
            "shp-source-root": "/workspace/source",
            "shp-source-context": "/workspace/source",
            "shp-output-directory": "/workspace/output-image",
            "shp-output-image": self.name,
            "shp-output-insecure": "true",
        }

    def runtime(self) -> dict[str, Any]:
        return {
            "base": {"image": self.base},
            "directories": ["/src/www:/www"],
            "env": {"COST": r"5\$\$", "WHO": "$(params.shp-output-image)"},
            "entrypoint": ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/www"],
            "expose": [8080],
        }

    def spec(self) -> str:
        return to_json({"apiVersion": "runtimeimg.dev/v1", "kind": "Build", "spec": {"runtime": self.runtime()}})

    def open(self) -> Any:
        return open_image(Location.parse(f"docker://{self.name}"), StoreOptions())


@pytest.fixture
def stage(
    logged_registry: LoggedRegistry,
    tool_image: str,
    web_images: tuple[str, str],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Stage:
    builder, base = web_images
    repository = "play/" + "".join(c if c.isalnum() else "-" for c in request.node.name.lower()).strip("-")
    while "--" in repository:
        repository = repository.replace("--", "-")
    return Stage(
        registry=logged_registry,
        tool=tool_image,
        builder=builder,
        base=base,
        repository=repository,
        folder=tmp_path,
    )


def strategy(stage: Stage, output: str, amendment: Amendment, uid: int = 0, *, more: str = "") -> dict[str, Any]:
    text = (STRATEGY + more).format(tool=stage.tool, builder=stage.builder, output=output, uid=uid)
    amended = amend(text, replace(amendment, image=stage.tool))
    document: dict[str, Any] = yaml.safe_load(amended.text)
    return document


ROOT_RESULTS = """\
    - name: report
      image: {tool}
      command: [sh, -c]
      args: ["umask 022; printf sha256:0 >$(results.shp-image-digest.path); printf 1 >$(results.shp-image-size.path)"]
      securityContext: {{runAsUser: 0, runAsGroup: 0}}
"""
"""What a build step of root leaves: results that belong to it."""


def push_as_shipwright_does(pod: Pod, stage: Stage) -> None:
    """Push what is in the output directory: the one image of its layout."""
    directory = pod.directory("output")
    index = json.loads((directory / "index.json").read_bytes())
    assert len(index["manifests"]) == 1
    assert not list(directory.glob("*.tar"))
    source, target = f"oci:{directory}", f"docker://{stage.name}"
    subprocess.run(
        ["skopeo", "copy", "--all", "--dest-tls-verify=false", "--preserve-digests", source, target],
        check=True,
        capture_output=True,
    )


def answer_of(name: str) -> str:
    """Start an image, ask it, and stop it."""
    argv = ["docker", "run", "--detach", "--publish=127.0.0.1:0:8080", name]
    container = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()
    try:
        port = subprocess.run(["docker", "port", container, "8080/tcp"], check=True, capture_output=True, text=True)
        for _ in range(50):
            try:
                with urllib.request.urlopen(f"http://{port.stdout.split()[0]}/index.html", timeout=5) as response:
                    return str(response.read().decode())
            except OSError:
                time.sleep(0.1)
        return subprocess.run(["docker", "logs", container], check=True, capture_output=True, text=True).stderr
    finally:
        subprocess.run(["docker", "rm", "--force", container], check=True, capture_output=True)
        subprocess.run(["docker", "rmi", name], check=True, capture_output=True)


def assert_runtime_image(stage: Stage) -> None:
    """Check what is in the registry, that it is the runtime image, and that it answers."""
    image = stage.open()
    config = image.config
    assert config.strings("Entrypoint") == tuple(stage.runtime()["entrypoint"])
    assert config.env["COST"] == "5$$"
    assert config.env["WHO"] == "$(params.shp-output-image)"
    assert config.labels["org.opencontainers.image.base.name"] == stage.base
    assert config.labels["org.opencontainers.image.base.digest"].startswith("sha256:")
    kept = read(Reference.parse(stage.name), image.manifest.digest, StoreOptions())
    assert kept is not None
    digests = [item["digest"] for item in kept.plan["images"]]
    assert digests[0] == config.labels["org.opencontainers.image.base.digest"]
    assert all(digest in kept.dockerfile for digest in digests if digest and "localhost/" not in kept.dockerfile)
    assert answer_of(stage.name) == "it answers\n"


def assert_results(pod: Pod, stage: Stage) -> None:
    manifest = stage.open().manifest
    assert pod.result("shp-image-digest") == manifest.digest
    assert pod.result("shp-image-size") == str(manifest.config.size + sum(layer.size for layer in manifest.layers))
    assert not pod.result("shp-error-reason")
    assert not pod.result("shp-error-message")


@pytest.fixture
def buildah(request: pytest.FixtureRequest) -> Amendment:
    return Amendment(builder="buildah", builder_step_image=request.getfixturevalue("buildah_image"))


@pytest.fixture(params=["native", "buildah"])
def amendment(request: pytest.FixtureRequest) -> Amendment:
    return Amendment() if request.param == "native" else request.getfixturevalue("buildah")


@pytest.mark.parametrize("output", [LAYOUT, TARBALL], ids=["layout", "tarball"])
def test_the_image_in_the_output_directory_is_replaced_there(stage: Stage, amendment: Amendment, output: str) -> None:
    document = strategy(stage, output, replace(amendment, spec=stage.spec()))
    pod = Pod(folder=stage.folder, parameters=stage.system_parameters())
    assert pod.run(document) == 0, pod.logs
    assert stage.registry.pushes(stage.repository) == []
    assert "pushed" not in pod.logs[-1].replace("from where it is pushed as", "")
    push_as_shipwright_does(pod, stage)
    assert stage.registry.pushes(stage.repository) == ["1"]
    assert_results(pod, stage)
    assert_runtime_image(stage)


def test_the_step_pushes_once_where_the_strategy_pushes_by_itself(stage: Stage, amendment: Amendment) -> None:
    document = strategy(stage, PUSHED, replace(amendment, spec=stage.spec(), redirect=True), uid=4711)
    pod = Pod(folder=stage.folder, parameters=stage.system_parameters())
    assert pod.run(document) == 0, pod.logs
    assert stage.registry.pushes(stage.repository) == ["1-builder", "1"]
    assert_results(pod, stage)
    assert_runtime_image(stage)


@pytest.mark.parametrize("output", [LAYOUT, PUSHED], ids=["managed", "push"])
def test_results_of_a_root_step_before_are_in_nobodys_way(stage: Stage, output: str) -> None:
    document = strategy(stage, output, Amendment(spec=stage.spec(), redirect=True), more=ROOT_RESULTS)
    pod = Pod(folder=stage.folder, parameters=stage.system_parameters())
    assert pod.run(document) == 0, pod.logs
    if output == LAYOUT:
        push_as_shipwright_does(pod, stage)
    assert stage.registry.pushes(stage.repository)[-1:] == ["1"]
    assert pod.result("shp-image-digest-builder") == "sha256:0"
    assert pod.result("shp-image-size-builder") == "1"
    assert_results(pod, stage)


@pytest.mark.parametrize("folder", ["open", "sticky", "closed"])
def test_result_files_of_root_are_replaced_or_nothing_is_pushed(stage: Stage, folder: str) -> None:
    """However the files came there: where they cannot be written, it is known before anything is pushed."""
    document = yaml.safe_load(cluster_strategy(image=stage.tool, managed=False))
    pod = Pod(
        folder=stage.folder,
        parameters=stage.system_parameters() | {"runtime-spec": stage.spec(), "runtime-builder-image": stage.builder},
    )
    for name in ("shp-image-digest", "shp-image-size"):
        (pod.directory("results") / name).write_text("root's")
        (pod.directory("results") / name).chmod(0o644)
    pod.results_mode = {"open": 0o777, "sticky": 0o1777, "closed": 0o755}[folder]
    code = pod.run(document)
    if folder == "open":
        assert code == 0, pod.logs
        assert stage.registry.pushes(stage.repository) == ["1"]
        assert_results(pod, stage)
    else:
        assert code == 1, pod.logs
        assert "shp-image-digest' cannot be written: it belongs to user 0" in pod.logs[-1]
        assert stage.registry.pushes(stage.repository) == []
        assert pod.result("shp-image-digest") == "root's"
        assert pod.result("shp-error-reason") == ("RuntimeImageFailed" if folder == "sticky" else None)


@pytest.fixture
def several(stage: Stage, platform_images: tuple[str, str]) -> Stage:
    """The same with images of several platforms: builder for amd64 and arm64, base for s390x too."""
    return replace(stage, builder=platform_images[0], base=platform_images[1])


def platforms_of(stage: Stage) -> list[str]:
    found = stage.open()
    return [str(item) for item in platforms_in(found)] if isinstance(found, ImageIndex) else [f"={found.platform}"]


@pytest.mark.parametrize("output", [LAYOUT, PUSHED], ids=["managed", "push"])
def test_a_builder_of_several_platforms_gives_all_that_the_base_is_for(several: Stage, output: str) -> None:
    document = strategy(several, output, Amendment(spec=several.spec(), redirect=True))
    pod = Pod(folder=several.folder, parameters=several.system_parameters())
    assert pod.run(document) == 0, pod.logs
    if output == LAYOUT:
        push_as_shipwright_does(pod, several)
    assert several.registry.pushes(several.repository)[-1:] == ["1"]
    assert platforms_of(several) == ["linux/amd64", "linux/arm64"]
    assert "left out: linux/s390x" in pod.logs[-1]
    index = several.open()
    assert pod.result("shp-image-digest") == index.index.digest
    for entry in index.index.manifests:
        image = index.open_manifest(entry)
        assert image.config.strings("Entrypoint") == tuple(several.runtime()["entrypoint"])
        assert image.platform == entry.platform
    assert answer_of(several.name) == "it answers\n"


@pytest.mark.parametrize("platforms", ["linux/arm64", "linux/s390x", "linux/amd64"])
def test_one_platform_is_a_stated_choice(several: Stage, platforms: str) -> None:
    document = yaml.safe_load(cluster_strategy(image=several.tool, managed=False))
    values = {"runtime-spec": several.spec(), "runtime-builder-image": several.builder, "runtime-platforms": platforms}
    pod = Pod(folder=several.folder, parameters=several.system_parameters() | values)
    if platforms == "linux/s390x":
        assert pod.run(document) == 3
        assert "they share linux/amd64, linux/arm64" in str(pod.result("shp-error-message"))
        assert several.registry.pushes(several.repository) == []
    else:
        assert pod.run(document) == 0, pod.logs
        assert platforms_of(several) == [f"={platforms}"]


def test_a_base_of_one_platform_gives_that_and_the_log_says_so(several: Stage, web_images: tuple[str, str]) -> None:
    stage = replace(several, base=web_images[1])
    document = strategy(stage, LAYOUT, Amendment(spec=stage.spec()))
    pod = Pod(folder=stage.folder, parameters=stage.system_parameters())
    assert pod.run(document) == 0, pod.logs
    push_as_shipwright_does(pod, stage)
    assert platforms_of(stage) == ["=linux/amd64"]
    assert "left out: linux/arm64" in pod.logs[-1]


def test_another_builder_wants_the_choice_of_a_platform(several: Stage, buildah: Amendment) -> None:
    document = strategy(several, LAYOUT, replace(buildah, spec=several.spec()))
    pod = Pod(folder=several.folder, parameters=several.system_parameters())
    assert pod.run(document) == 2, pod.logs
    assert "builds for one platform" in str(pod.result("shp-error-message"))
    chosen = Pod(folder=several.folder / "2", parameters=several.system_parameters() | {"runtime-platforms": "amd64"})
    assert chosen.run(document) == 0, chosen.logs
    push_as_shipwright_does(chosen, several)
    assert platforms_of(several) == ["=linux/amd64"]


def test_provenance_is_found_after_shipwright_changed_the_image(stage: Stage) -> None:
    document = yaml.safe_load(cluster_strategy(image=stage.tool))
    values = {"runtime-spec": stage.spec(), "runtime-builder-image": stage.builder}
    pod = Pod(folder=stage.folder, parameters=stage.system_parameters() | values)
    assert pod.run(document) == 0, pod.logs
    found = open_image(Location.parse(f"oci:{pod.directory('output')}"), StoreOptions())
    labels = {**found.config.labels, "org.example.build": "7"}
    config = found.config.with_config(Labels=labels).evolve(created="1970-01-01T00:00:00Z")
    changed = found.with_config(config).with_annotations({"org.example.note": "x"})
    open_destination(Location.parse(f"docker://{stage.name}"), StoreOptions()).write(changed)
    assert stage.open().manifest.digest != pod.result("shp-image-digest")
    shown = [sys.executable, "-m", "runtimeimg", "inspect", f"docker://{stage.name}", "--provenance"]
    text = subprocess.run(shown, capture_output=True, text=True, check=True).stdout
    assert f'# "docker://{stage.builder}" is sha256:' in text
    assert "COPY --from=" in text
    # An image that stands on it has more layers, and another provenance.
    config = changed.config.evolve(
        rootfs={"type": "layers", "diff_ids": [*changed.config.diff_ids, changed.config.diff_ids[-1]]},
        history=[*changed.config.history, {"created_by": "one more"}],
    )
    derived = replace(changed, layers=(*changed.layers, changed.layers[-1]), config=config, manifest=None)
    open_destination(Location.parse(f"docker://{stage.name}"), StoreOptions()).write(derived)
    assert subprocess.run(shown, capture_output=True, check=False).returncode == 3


def test_a_cache_is_shared_by_pods_at_once_and_one_after_the_other(stage: Stage) -> None:
    document = yaml.safe_load(cluster_strategy(image=stage.tool, managed=False))
    cache = stage.folder / "claim"
    cache.mkdir()
    cache.chmod(0o777)

    def play(number: int, **values: Any) -> Pod:
        given = {"runtime-spec": stage.spec(), "runtime-builder-image": stage.builder, **values}
        name = {"shp-output-image": f"{stage.name}{number}"}
        pod = Pod(
            folder=stage.folder / str(number),
            parameters=stage.system_parameters() | name | given,
            volumes={CACHE_VOLUME: cache},
        )
        assert pod.run(document) == 0, pod.logs
        return pod

    with ThreadPoolExecutor(4) as pool:
        first = list(pool.map(play, range(4)))
    kept = [path.relative_to(cache).parts for path in cache.rglob("*") if path.is_file()]
    assert {parts[0] for parts in kept} == {"65532"}
    assert {"result", "layer"} <= {part for parts in kept for part in parts}
    again = play(9)
    digests = {pod.result("shp-image-digest") for pod in (*first, again)}
    assert len(digests) == 1
    alone = Pod(folder=stage.folder / "alone", parameters=first[0].parameters)
    assert alone.run(document) == 0, alone.logs
    assert alone.result("shp-image-digest") in digests


def values_of(build: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a Build as Shipwright gives them to the parameters."""
    return {
        item["name"]: [one["value"] for one in item["values"]] if "values" in item else item["value"]
        for item in build["spec"]["paramValues"]
    }


@pytest.mark.parametrize("managed", [True, False], ids=["managed", "push"])
def test_an_old_build_converts_and_plays_with_our_cluster_strategy(stage: Stage, managed: bool) -> None:
    old = {
        "apiVersion": "build.dev/v1alpha1",
        "kind": "Build",
        "metadata": {"name": "web"},
        "spec": {
            "source": {"url": "https://example.com/web"},
            "builder": {"image": stage.builder},
            "output": {"image": stage.name},
            "runtime": {key: value for key, value in stage.runtime().items() if key != "expose"}
            | {"workDir": "/www", "labels": {"custom-image-label": "value"}},
        },
    }
    (build,) = yaml.safe_load_all(convert(yaml.safe_dump(old)).text)
    document = yaml.safe_load(cluster_strategy(image=stage.tool, managed=managed))
    pod = Pod(folder=stage.folder, parameters=stage.system_parameters() | values_of(build))
    assert pod.run(document) == 0, pod.logs
    if managed:
        push_as_shipwright_does(pod, stage)
    assert stage.registry.pushes(stage.repository) == ["1"]
    assert_results(pod, stage)
    assert stage.open().config.labels["custom-image-label"] == "value"
    assert stage.open().config.config["WorkingDir"] == "/www"
    assert_runtime_image(stage)


@pytest.mark.parametrize("kind", ["task", "step-action"])
def test_the_emitted_task_plays_with_a_spec_of_the_source(stage: Stage, kind: str) -> None:
    source = stage.folder / "checkout"
    (source / "static").mkdir(parents=True)
    (source / "static" / "index.html").write_text("it answers\n")
    runtime = stage.runtime() | {"directories": ["$(workspace)/static:/www"]}
    (source / "build.yaml").write_text(
        yaml.safe_dump({"apiVersion": "runtimeimg.dev/v1", "kind": "Build", "spec": {"runtime": runtime}})
    )
    make = task if kind == "task" else step_action
    document = yaml.safe_load(make(image=stage.tool, artifacts=True))
    parameters = {"IMAGE": stage.name, "INSECURE": "true", "SPEC_FILE": "build.yaml"}
    if kind == "step-action":
        document["spec"]["steps"] = [{**document["spec"], "name": "runtime"}]
        parameters["SOURCE_DIR"] = "/workspace/source"
    pod = Pod(folder=stage.folder / "pod", parameters=parameters, source=source)
    assert pod.run(document) == 0, pod.logs
    assert stage.registry.pushes(stage.repository) == ["1"]
    assert pod.result("IMAGE_DIGEST") == stage.open().manifest.digest
    assert pod.result("IMAGE_URL") == stage.name
    assert_runtime_image(stage)
    labels = stage.open().config.labels
    base = {"uri": stage.base.removesuffix(":1"), "digest": labels["org.opencontainers.image.base.digest"]}
    image = {"uri": stage.name.removesuffix(":1"), "digest": stage.open().manifest.digest, "isBuildArtifact": "true"}
    assert json.loads(str(pod.result("BASE_ARTIFACT_INPUTS"))) == base
    assert json.loads(str(pod.result("IMAGE_ARTIFACT_OUTPUTS"))) == image
    assert pod.result("BUILDER_ARTIFACT_INPUTS") is None  # all came from the source
    artifacts = json.loads(str(pod.result("artifacts.json")))
    assert artifacts["outputs"][0]["buildOutput"] is True
    assert artifacts["outputs"][0]["values"][0]["digest"] == {"sha256": image["digest"].partition(":")[2]}
    assert [item["name"] for item in artifacts["inputs"]] == ["base"]
    assert artifacts["inputs"][0]["values"][0]["uri"].startswith("pkg:oci/small-base@sha256%3A")


@pytest.mark.parametrize("kind", ["task", "step-action"])
def test_a_failing_task_says_why_and_names_what_the_user_wrote(stage: Stage, kind: str) -> None:
    document = yaml.safe_load(task(image=stage.tool) if kind == "task" else step_action(image=stage.tool))
    if kind == "step-action":
        document["spec"]["steps"] = [{**document["spec"], "name": "runtime"}]
    pod = Pod(folder=stage.folder, parameters={"IMAGE": stage.name, "BASE_IMAGE": stage.base, "WORK_DIR": "www"})
    assert pod.run(document) == 2, pod.logs
    assert pod.result("ERROR_REASON") == "RuntimeSpecInvalid"
    assert str(pod.result("ERROR_MESSAGE")).startswith("<parameter WORK_DIR>: spec.runtime.workDir: ")
    assert pod.result("IMAGE_DIGEST") is None


def test_a_spec_in_a_configmap_is_mounted(stage: Stage) -> None:
    (stage.folder / "configmap").mkdir()
    (stage.folder / "configmap" / "web.yaml").write_text(stage.spec())
    document = strategy(stage, LAYOUT, Amendment(configmap="web-spec:web.yaml"))
    pod = Pod(folder=stage.folder, parameters=stage.system_parameters())
    assert pod.run(document) == 0, pod.logs
    push_as_shipwright_does(pod, stage)
    assert_runtime_image(stage)


RUNNING = (
    "apiVersion: runtimeimg.dev/v1\nkind: Build\nspec: {runtime: {base: {image: 'REGISTRY/small-base:1'}, run: [a]}}"
)
FAILURES = {
    "missing-directory": ({"runtime-directories": ["/nowhere:/www"]}, "/nowhere"),
    "missing-base": ({"runtime-base-image": "127.0.0.1:1/none:1"}, "127.0.0.1:1"),
    "unknown-base": ({"runtime-base-image": "REGISTRY/none:1"}, "does not exist"),
    "relative-path": (
        {"runtime-work-dir": "www"},
        "<parameter runtime-work-dir>: spec.runtime.workDir: 'www' is not an",
    ),
    "workspace": ({"runtime-directories": ["$(workspace)/none:/www"]}, "<parameter runtime-directories, item 1>"),
    "invalid-spec": ({"runtime-spec": "apiVersion: runtimeimg.dev/v1\nkind: Build\nspec: {runtime: {bas: {}}}"}, "bas"),
    "nothing": ({"runtime-spec": ""}, "set the parameter runtime-spec-file or runtime-spec"),
    "out-of-source": ({"runtime-spec-file": "../../etc/passwd"}, "leads out of the source"),
    "folder-as-image": ({"runtime-builder-image": "dir:/tekton"}, "is not in a registry"),
    "bare-separator": ({"runtime-directories": ["/a", "--", "/b"]}, "bare '--'"),
    "run": ({"runtime-spec": RUNNING}, "amended for another builder (buildah"),
    "compression": ({"runtime-compression": "$(rm -rf /)"}, "parameter 'runtime-compression': '$(rm -rf /)'"),
    "boolean": ({"runtime-provenance": "yes"}, "parameter 'runtime-provenance': 'yes' is neither"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failing_build_leaves_reason_and_message_and_no_image(stage: Stage, failure: str) -> None:
    values, message = FAILURES[failure]
    values = {key: value.replace("REGISTRY", stage.registry.host) if isinstance(value, str) else value
              for key, value in values.items()}  # fmt: skip
    document = strategy(stage, PUSHED, Amendment(spec=stage.spec(), redirect=True))
    stage.folder.chmod(0o755)
    pod = Pod(folder=stage.folder, parameters=stage.system_parameters() | values, source=stage.folder)
    assert pod.run(document) not in {0, 125, 126, 127}, pod.logs
    reason, said = pod.result("shp-error-reason"), pod.result("shp-error-message")
    assert reason is not None
    assert reason.isalpha()
    assert reason[0].isupper()
    assert said is not None
    assert message in said
    assert not re.search(r"(^| )--[a-z]", said), "there is no command line"
    assert len(json.dumps(said)) < 1000
    assert pod.result("shp-image-digest") is None
    assert stage.registry.pushes(stage.repository) == ["1-builder"]


def test_a_failing_dockerfile_step_and_a_failing_builder_leave_no_image(stage: Stage, buildah: Amendment) -> None:
    for values in ({"runtime-work-dir": "www"}, {"runtime-directories": ["/nowhere:/www"]}):
        document = strategy(stage, LAYOUT, replace(buildah, spec=stage.spec()))
        pod = Pod(folder=stage.folder / str(len(values)), parameters=stage.system_parameters() | values)
        assert pod.run(document) != 0
        assert stage.registry.pushes(stage.repository) == []
        assert pod.result("shp-image-digest") is None
        assert "/tekton" not in str(pod.result("shp-error-message"))


def test_a_failure_in_the_step_of_another_builder_has_a_reason_too(stage: Stage, buildah: Amendment) -> None:
    runtime = stage.runtime() | {"run": ["echo the last words; exit 7"]}
    spec = to_json({"apiVersion": "runtimeimg.dev/v1", "kind": "Build", "spec": {"runtime": runtime}})
    document = strategy(stage, LAYOUT, replace(buildah, spec=spec))
    pod = Pod(folder=stage.folder, parameters=stage.system_parameters())
    assert pod.run(document) not in {0, 125, 126, 127}, pod.logs
    assert pod.logs[-1].startswith("runtime-build")
    assert pod.result("shp-error-reason") == "RuntimeBuildFailed"
    assert pod.result("shp-error-message") == (
        "builder 'buildah' did not finish: see the log of the step runtime-build"
    )
    assert pod.result("shp-image-digest") is None
