"""Builds on a real Engine's classic builder: result, cache, failures, and what is left."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import docker
import pytest
from privateengine import BARE, TINY, OwnEngine, own_engine, request_of

from runtimeimg import stamp
from runtimeimg.builders.base import BuildRequest
from runtimeimg.builders.docker import DockerBuilder
from runtimeimg.errors import BuildFailed, NotFoundError, UnavailableError, UsageError
from runtimeimg.image import Image
from runtimeimg.oci import Location, Platform
from runtimeimg.progress import Silent
from runtimeimg.stores.base import StoreOptions, Written
from runtimeimg.stores.engine.images import DaemonDestination, DaemonSource

pytestmark = pytest.mark.engine

FULL = """\
    base: {image: 'tiny:1'}
    env: {GREETING: hello}
    labels: {team: web}
    run: ["echo made >/made; echo loud"]
    directories: ['/app:/srv/app', {source: /etc/issue, destination: /etc/issue, chown: '5:6'}]
    workDir: /srv
    entrypoint: [cat]
    cmd: [/made]
    expose: [8080]
"""


class Lines(Silent):
    """Keeps what was shown."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.events: list[dict[str, object]] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def event(self, data: dict[str, object]) -> None:
        self.events.append(data)


@pytest.fixture(scope="module")
def own() -> Iterator[OwnEngine]:
    yield from own_engine()


@pytest.fixture
def unchanged(own: OwnEngine) -> Iterator[None]:
    """Fail a test that leaves anything at all on the Engine."""
    before = (own.images(), own.containers(), own.volumes())
    yield
    assert (own.images(), own.containers(), own.volumes()) == before


def shown(options: StoreOptions) -> tuple[StoreOptions, Lines]:
    lines = Lines()
    return replace(options, progress=lines), lines


def build(request: BuildRequest, name: str | None = "out:1") -> tuple[Image, Written | None]:
    builder = DockerBuilder()
    builder.check(request)
    with builder.build(request) as built:
        image = stamp.apply(built, stamp.stamp_of(request.plan))
        if name is None:
            return image, None
        return image, DaemonDestination(Location.parse(name), request.stores).write(image)


def remove(own: OwnEngine, *names: str) -> None:
    with own.client() as client:
        for name in names:
            client.remove_image(name)


def run(own: OwnEngine, name: str, *command: str) -> str:
    with own.client() as client:
        made = client.create_container(
            name, command or None, host_config=client.create_host_config(network_mode="none")
        )
        client.start(made["Id"])
        client.wait(made["Id"])
        text: str = client.logs(made["Id"]).decode()
        client.remove_container(made["Id"], force=True, v=True)
        return text


def test_builds_stamps_and_runs(own: OwnEngine, unchanged: None, tmp_path: Path) -> None:
    options, lines = shown(own.options)
    image, written = build(request_of(FULL, options, tmp_path))
    assert written is not None
    assert written.image_id == image.config.digest
    assert run(own, "out:1") == "made\n"
    assert run(own, "out:1", "/etc/issue", "/srv/app/sub/b") == "issueb"
    config = image.config.config
    assert (config["Entrypoint"], config["Cmd"], config["WorkingDir"]) == (["cat"], ["/made"], "/srv")
    assert config["Env"] == ["PATH=/bin", "GREETING=hello"]
    assert config["ExposedPorts"] == {"8080/tcp": {}}
    assert config["Labels"]["team"] == "web"
    assert not {"Hostname", "Image", "Tty"} & set(config)
    assert not {"container", "container_config", "docker_version"} & set(image.config.data)
    assert sum(not entry.get("empty_layer") for entry in image.config.history) == len(image.layers)
    assert "loud" in lines.lines
    assert any("aux" in event for event in lines.events)
    assert own.dangling() == set()
    remove(own, "out:1")


def test_a_second_build_takes_every_step_from_the_cache(own: OwnEngine, unchanged: None, tmp_path: Path) -> None:
    first, _ = build(request_of(FULL, own.options, tmp_path))
    before = own.images()
    options, lines = shown(own.options)
    second, _ = build(request_of(FULL, options, tmp_path))
    assert second.config.raw == first.config.raw
    steps = [line for line in lines.lines if line.startswith("Step ") and " : FROM " not in line]
    assert len(steps) == 9
    assert lines.lines.count(" ---> Using cache") == len(steps)
    assert own.images() == before
    options, lines = shown(own.options)
    build(request_of(FULL, options, tmp_path, no_cache=True))
    assert " ---> Using cache" not in lines.lines
    assert own.dangling() == set()
    remove(own, "out:1")


def test_a_changed_build_leaves_no_dangling_image(own: OwnEngine, unchanged: None, tmp_path: Path) -> None:
    build(request_of(FULL, own.options, tmp_path))
    options, lines = shown(own.options)
    build(request_of(FULL.replace("[/made]", "[/etc/issue]"), options, tmp_path))
    assert lines.lines.count(" ---> Using cache") == 8
    assert own.dangling() == set()
    assert run(own, "out:1") == "issue"
    remove(own, "out:1")


def test_a_result_that_goes_elsewhere_leaves_nothing(own: OwnEngine, unchanged: None, tmp_path: Path) -> None:
    builder = DockerBuilder()
    with builder.build(request_of(FULL, own.options, tmp_path)) as image, image.layers[-1].open() as reader:
        assert len(reader.read()) == image.layers[-1].descriptor.size


def test_a_result_that_is_the_base_itself_is_not_removed(own: OwnEngine, unchanged: None, tmp_path: Path) -> None:
    with DockerBuilder().build(request_of("    base: {image: 'tiny:1'}\n", own.options, tmp_path)) as image:
        assert image.config.diff_ids == DaemonSource(Location.parse(TINY), own.options).open().config.diff_ids


def test_a_failed_step_is_told_with_its_place_and_its_output(own: OwnEngine, unchanged: None, tmp_path: Path) -> None:
    text = "    base: {image: 'tiny:1'}\n    run:\n      - 'true'\n      - 'seq 30; echo broken; exit 4'\n"
    with pytest.raises(BuildFailed) as failure:
        build(request_of(text, own.options, tmp_path, cache_dir=tmp_path / "cache"))
    error = failure.value
    assert error.step is not None
    assert error.step.startswith("RUN ")
    assert error.origin == "build.yaml:11:9: spec.runtime.run[1]"
    assert error.output[-1] == "broken"
    assert error.output[:2] == ("12", "13")
    assert len(error.output) == 20
    assert "code: 4" in str(error)
    assert error.log is not None
    log = Path(error.log)
    assert log.parent == tmp_path / "cache" / "logs"
    assert "Step 2/3" in log.read_text()


def test_all_that_a_copy_lacks_is_told_before_the_build(own: OwnEngine, unchanged: None, tmp_path: Path) -> None:
    options, lines = shown(own.options)
    text = "    base: {image: 'tiny:1'}\n    directories: [/app, /nope, '/app/x:/y', {source: /z, image: 'tiny:1'}]\n"
    with pytest.raises(NotFoundError) as failure:
        build(request_of(text, options, tmp_path))
    place = "build.yaml:9:{}: spec.runtime.directories[{}]: '{}' is not in image '{}'"
    assert str(failure.value).splitlines() == [
        place.format(25, 1, "/nope", BARE),
        place.format(32, 2, "/app/x", BARE),
        place.format(45, 3, "/z", TINY),
    ]
    assert lines.lines == []


def test_the_workspace_is_sent_as_far_as_it_is_named(own: OwnEngine, unchanged: None, tmp_path: Path) -> None:
    workspace = tmp_path / "work"
    for name, content in {"static/a.txt": "a", "static/deep/b": "b", "secret": "no", "x1.c": "1", "x2.c": "2"}.items():
        path = workspace / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (workspace / "static" / "link").symlink_to("a.txt")
    (workspace / "current").symlink_to("static")
    (workspace / "static" / "a.txt").chmod(0o640)
    text = """\
    base: {image: 'tiny:1'}
    directories: ['$(workspace)/static:/s', '$(workspace)/current:/t', '$(workspace)/*.c:/c/']
    entrypoint: [ls, -lnR, /s, /t, /c]
"""
    build(request_of(text, own.options, workspace))
    listing = run(own, "out:1")
    assert "secret" not in listing
    assert listing.count("link -> a.txt") == 2
    assert listing.count("-rw-r-----    1 0        0                1") == 2
    assert "x1.c" in listing
    assert "x2.c" in listing
    remove(own, "out:1")


@pytest.mark.parametrize("target", ["/etc", "../outside", "inner/../../outside"])
def test_a_link_out_of_the_workspace_is_refused(own: OwnEngine, unchanged: None, tmp_path: Path, target: str) -> None:
    workspace = tmp_path / "work"
    (workspace / "inner").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (workspace / "static").symlink_to(target)
    text = "    base: {image: 'tiny:1'}\n    directories: ['$(workspace)/static:/s']\n"
    with pytest.raises(
        UsageError, match=r"build\.yaml:9:19: spec.runtime.directories\[0\]: .*leads out of the workspace"
    ):
        build(request_of(text, own.options, workspace))


def test_a_folder_takes_the_place_of_the_builder_image(own: OwnEngine, unchanged: None, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "usr" / "lib").mkdir(parents=True)
    (root / "usr" / "lib" / "x").write_text("x")
    (root / "lib").symlink_to("/usr/lib")
    text = "    base: {image: 'tiny:1'}\n    directories: ['/lib:/l']\n    entrypoint: [cat, /l/x]\n"
    request = request_of(text, own.options, tmp_path)
    plan = request.plan
    copies = tuple(replace(copy, image=Location.parse(f"dir:{root}")) for copy in plan.copies)
    build(replace(request, plan=replace(plan, copies=copies, builder=Location.parse(f"dir:{root}"))))
    assert run(own, "out:1") == "x"
    remove(own, "out:1")


def test_images_that_are_not_there_are_named(own: OwnEngine, unchanged: None, tmp_path: Path) -> None:
    text = "    base: {image: '127.0.0.1:1/nothing:1'}\n"
    with pytest.raises(NotFoundError, match=r"image '127\.0\.0\.1:1/nothing:1' is not in the Docker Engine"):
        build(request_of(text, own.options, tmp_path, pull="never"))
    text = "    base: {image: 'docker-daemon:nothing:1'}\n"
    with pytest.raises(NotFoundError, match="image 'nothing:1' is not in the Docker Engine"):
        build(request_of(text, own.options, tmp_path))


def test_an_image_for_another_platform_is_not_taken(own: OwnEngine, unchanged: None, tmp_path: Path) -> None:
    request = request_of("    base: {image: 'tiny:1'}\n", own.options, tmp_path, pull="never")
    with pytest.raises(NotFoundError, match="image 'tiny:1' for linux/s390x is not in the Docker Engine"):
        build(replace(request, platform=Platform.parse("linux/s390x")))
    image, _ = build(replace(request, platform=Platform.host()), None)
    assert image.platform.matches(Platform.host())


def test_daemons_need_a_shell(own: OwnEngine, unchanged: None, tmp_path: Path) -> None:
    text = "    base: {image: 'bare:1'}\n    entrypoint: [x]\n    daemons: [[y]]\n"
    with pytest.raises(UsageError, match=r"build\.yaml:10:14: spec\.runtime\.daemons: the image has no '/bin/sh'"):
        build(request_of(text, own.options, tmp_path))
    build(request_of(text.replace("bare:1", "tiny:1"), own.options, tmp_path))
    remove(own, "out:1")


def test_build_args_reach_run_steps(own: OwnEngine, unchanged: None, tmp_path: Path) -> None:
    text = "    base: {image: 'tiny:1'}\n    run: ['echo proxy is $http_proxy']\n"
    options, lines = shown(own.options)
    build(request_of(text, options, tmp_path, build_args={"http_proxy": "http://proxy:3128"}), None)
    assert "proxy is http://proxy:3128" in lines.lines


def test_no_engine_is_one_line_that_says_what_to_start(tmp_path: Path) -> None:
    options = StoreOptions(environ={"DOCKER_HOST": f"unix://{tmp_path}/none.sock"})
    with pytest.raises(UnavailableError) as failure:
        DockerBuilder().check(request_of("    base: {image: 'tiny:1'}\n", options, tmp_path))
    assert "\n" not in str(failure.value)
    assert failure.value.exit_code == 4
    assert "start" in (failure.value.hint or "")


@pytest.mark.registry
def test_images_are_pulled_when_wanted(engine: docker.APIClient, tmp_path: Path, registry: str) -> None:
    # On the shared Engine: the tests' own has no network, and so no registry.
    name, own_options = f"{registry}/runtimeimg-test-pull", StoreOptions(environ=dict(os.environ))
    engine.tag("debian:bookworm-slim", name, "1")
    for message in engine.push(name, "1", stream=True, decode=True):
        assert "error" not in message, message
    engine.remove_image(f"{name}:1")
    text = f"    base: {{image: '{name}:1'}}\n"
    with pytest.raises(NotFoundError):
        build(request_of(text, own_options, tmp_path, pull="never"))
    for policy, pulls in (("missing", True), ("missing", False), ("always", True)):
        options, lines = shown(own_options)
        build(request_of(text, options, tmp_path, pull=policy), None)
        assert (f"pulling {name}:1" in lines.lines) is pulls
    with pytest.raises(NotFoundError):
        build(request_of(text.replace("pull:1", "pull:2"), own_options, tmp_path))
    engine.remove_image(f"{name}:1")
