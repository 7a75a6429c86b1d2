"""The features of the command on the engine at hand, whatever it is; one cell of docs/engines.md each."""

import json
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path

import docker
import pytest
from onengines import APP, BASE, KIND, Cli, files_of, remove

pytestmark = pytest.mark.engine

Note = Callable[[str, object], None]


@pytest.fixture(autouse=True)
def nothing_left(engine: docker.APIClient, images: None) -> object:
    """Fail a test that leaves a container, or an image under a passing name."""

    def there() -> set[str]:
        names = {tag for image in engine.images(all=True) for tag in image["RepoTags"] or [] if "passing" in tag}
        return names | {container["Id"] for container in engine.containers(all=True)}

    before = there()
    yield
    assert there() == before


def config_of(engine: docker.APIClient, name: str) -> dict[str, object]:
    config: dict[str, object] = engine.inspect_image(name)["Config"]
    return config


def check_built(engine: docker.APIClient, name: str) -> None:
    config = config_of(engine, name)
    assert config["Entrypoint"] == ["httpd", "-f", "-p", "8080", "-h", "/srv"]
    assert "GREETING=hello" in config["Env"]
    assert config["WorkingDir"] == "/srv"
    assert config["Labels"]["team"] == "web"
    assert "ai.tensorchord.envd.runtimeGraph.version" in config["Labels"]
    found = files_of(engine, name)
    app = files_of(engine, APP)
    for path in ("index.html", "sub/link", "big"):
        assert found[f"srv/{path}"] == app[f"app/{path}"]
    assert "bin/busybox" in found


@pytest.mark.feature("docker build")
def test_docker_build(engine: docker.APIClient, cli: Cli, spec: Path, image_name: str) -> None:
    with_run = spec.read_text().replace("    directories:", "    run: ['echo made >/made']\n    directories:")
    spec.write_text(with_run)
    cli("build", str(spec), "-t", image_name, "--builder", "docker")
    check_built(engine, image_name)
    assert "made" in files_of(engine, image_name)


@pytest.mark.feature("buildkit build")
def test_buildkit_build(engine: docker.APIClient, cli: Cli, spec: Path, image_name: str, record_property: Note) -> None:
    if KIND == "podman":
        done = cli("build", str(spec), "-t", image_name, "--builder", "buildkit", code=4)
        assert "podman" in done.stderr
        record_property("note", "podman has no BuildKit; refused by name")
        return
    cli("build", str(spec), "-t", image_name, "--builder", "buildkit")
    check_built(engine, image_name)


@pytest.mark.feature("native build")
def test_native_build(engine: docker.APIClient, cli: Cli, spec: Path, image_name: str) -> None:
    cli("build", str(spec), "-t", image_name, "--builder", "native")
    check_built(engine, image_name)


@pytest.mark.feature("rebuild gives the same id")
@pytest.mark.parametrize("builder", ["docker", "native"])
def test_rebuild(
    engine: docker.APIClient, cli: Cli, spec: Path, image_name: str, builder: str, record_property: Note
) -> None:
    ids = []
    for _ in range(2):
        cli("build", str(spec), "-t", image_name, "--builder", builder)
        ids.append(engine.inspect_image(image_name)["Id"])
    if builder == "docker" and KIND in {"podman", "docker-containerd"}:
        # Steps of a build that carries no name are not found again there.
        record_property("note", "with --builder native; a docker build's steps get new times here")
        assert engine.inspect_image(image_name)["RootFS"]["Layers"]
    else:
        assert ids[0] == ids[1]


@pytest.mark.feature("stamp")
def test_stamp(engine: docker.APIClient, cli: Cli, spec: Path, image_name: str) -> None:
    engine.tag(BASE, *image_name.split(":"))
    before = files_of(engine, image_name)
    spec.write_text(spec.read_text().replace("    workDir: /srv\n", ""))
    cli("stamp", f"docker-daemon:{image_name}", "--spec", str(spec))
    assert files_of(engine, image_name) == before
    config = config_of(engine, image_name)
    assert config["Entrypoint"] == ["httpd", "-f", "-p", "8080", "-h", "/srv"]
    assert "ai.tensorchord.envd.runtimeGraph.version" in config["Labels"]
    layers = engine.inspect_image(image_name)["RootFS"]["Layers"]
    assert layers == engine.inspect_image(BASE)["RootFS"]["Layers"]


@pytest.mark.feature("layers not sent again")
def test_layers_stay(
    engine: docker.APIClient, cli: Cli, image_name: str, tmp_path: Path, record_property: Note
) -> None:
    engine.tag(APP, *image_name.split(":"))
    done = cli("stamp", f"docker-daemon:{image_name}", "--label", "a=b", "--progress", "plain")
    assert config_of(engine, image_name)["Labels"] == {"a": "b"}
    if KIND == "podman":
        assert "podman takes no image without its layers" in done.stderr
        record_property("note", "podman takes no image without them: all are sent, and it is said")
    else:
        assert f"load {image_name}" not in done.stderr


@pytest.mark.feature("copy to a registry and back")
@pytest.mark.registry
def test_copy(engine: docker.APIClient, cli: Cli, spec: Path, image_name: str, registry: str, tmp_path: Path) -> None:
    cli("build", str(spec), "-t", image_name, "--builder", "native")
    before, config = files_of(engine, image_name), config_of(engine, image_name)
    repository = f"{registry}/engines/{uuid.uuid4().hex}:1"
    cli("copy", f"docker-daemon:{image_name}", f"docker://{repository}")
    pulled = subprocess.run(["docker", "pull", "--quiet", repository], capture_output=True, text=True, check=False)
    assert pulled.returncode == 0, pulled.stderr
    assert files_of(engine, repository) == before
    remove(engine, repository)
    for place in (f"docker://{repository}", f"oci:{tmp_path}/layout:1", f"oci-archive:{tmp_path}/a.tar:1"):
        if not place.startswith("docker://"):
            cli("copy", f"docker-daemon:{image_name}", place)
        remove(engine, image_name)
        cli("copy", place, f"docker-daemon:{image_name}")
        assert files_of(engine, image_name) == before
        assert config_of(engine, image_name) == config


@pytest.mark.feature("inspect")
def test_inspect(engine: docker.APIClient, cli: Cli, spec: Path, image_name: str) -> None:
    cli("build", str(spec), "-t", image_name, "--builder", "native")
    told = json.loads(cli("inspect", f"docker-daemon:{image_name}", "--format", "json").stdout)
    assert told["config"]["Entrypoint"] == ["httpd", "-f", "-p", "8080", "-h", "/srv"]
    assert [one["port"] for one in told["graph"]["expose"]] == [8080]
    assert len(told["layers"]) == len(engine.inspect_image(image_name)["RootFS"]["Layers"])


def page(port: int) -> str:
    """Ask until it answers: the program may need a moment after its start."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + 60
    while True:
        try:
            with opener.open(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                return str(answer.read().decode())
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)


@pytest.mark.feature("run, ps, logs, stop")
def test_run(engine: docker.APIClient, cli: Cli, spec: Path, image_name: str) -> None:
    cli("build", str(spec), "-t", image_name, "--builder", "native")
    cli("run", "--detach", "--name", "engines-run", f"docker-daemon:{image_name}")
    try:
        assert page(18080) == "a page\n"
        taken = cli("run", "--detach", "--name", "engines-run-2", f"docker-daemon:{image_name}", code=125)
        assert "18080" in taken.stderr
        assert [run["name"] for run in json.loads(cli("ps", "--format", "json").stdout)] == ["engines-run"]
        cli("logs", "engines-run")
    finally:
        cli("stop", "engines-run")
    assert json.loads(cli("ps", "--format", "json").stdout) == []
    spec.write_text(spec.read_text().replace("[httpd, -f, -p, '8080', -h, /srv]", "[sh, -c, 'echo out; exit $0', '7']"))
    cli("build", str(spec), "-t", image_name, "--builder", "native")
    done = cli("run", f"docker-daemon:{image_name}", code=7)
    assert done.stdout == "out\n"


@pytest.mark.feature("sidecars")
def test_sidecars(engine: docker.APIClient, cli: Cli, spec: Path, image_name: str) -> None:
    spec.write_text(spec.read_text() + "    daemons: [[httpd, -f, -p, '8081', -h, /srv/sub]]\n")
    cli("build", str(spec), "-t", image_name, "--builder", "native")
    cli("run", "--detach", "--daemons", "sidecars", "--name", "engines-side", f"docker-daemon:{image_name}")
    try:
        assert page(18080) == "a page\n"
    finally:
        cli("stop", "engines-side")
    cli("run", "--detach", "--name", "engines-wrapped", f"docker-daemon:{image_name}")
    try:
        assert page(18080) == "a page\n"
    finally:
        cli("stop", "engines-wrapped")


@pytest.mark.feature("export")
def test_export(engine: docker.APIClient, cli: Cli, spec: Path, image_name: str) -> None:
    cli("build", str(spec), "-t", image_name, "--builder", "native")
    for target in ("compose", "docker"):
        told = cli("export", f"docker-daemon:{image_name}", "--to", target).stdout
        assert "docker-daemon:" not in told
        assert image_name in told


def two_platforms(cli: Cli, tmp_path: Path) -> str:
    """An index of two platforms in a layout, its files different."""
    for name in ("amd64", "arm64"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "arch").write_text(name)
    (tmp_path / "two.yaml").write_text(
        """\
apiVersion: runtimeimg.dev/v1
kind: Build
spec:
  output: {image: 'two:1'}
  runtime:
    base: {image: scratch}
    directories: ['$(workspace)/amd64:/x', '$(workspace)/arm64:/y']
    entrypoint: [/x/arch]
"""
    )
    place = f"oci:{tmp_path}/two:1"
    cli("build", str(tmp_path / "two.yaml"), "--platform", "linux/amd64,linux/arm64", "-o", place)
    return place


@pytest.mark.feature("arm64 and two platforms")
def test_platforms(
    engine: docker.APIClient, cli: Cli, image_name: str, tmp_path: Path, registry: str, record_property: Note
) -> None:
    place = two_platforms(cli, tmp_path)
    cli("copy", "--platform", "linux/arm64", place, f"docker-daemon:{image_name}")
    assert engine.inspect_image(image_name)["Architecture"] == "arm64"
    remove(engine, image_name)
    cli("copy", place, f"docker-daemon:{image_name}")
    cli("stamp", f"docker-daemon:{image_name}", "--label", "a=b")
    assert config_of(engine, image_name)["Labels"]["a"] == "b"
    back = f"docker://{registry}/engines/{uuid.uuid4().hex}:1"
    cli("copy", f"docker-daemon:{image_name}", back)
    if KIND == "docker-containerd":
        for platform in ("linux/amd64", "linux/arm64"):
            told = json.loads(cli("inspect", back, "--platform", platform, "--format", "json").stdout)
            assert (told["platform"], told["config"]["Labels"]["a"]) == (platform, "b")
    else:
        assert json.loads(cli("inspect", back, "--format", "json").stdout)["platform"] == "linux/amd64"
        cli("inspect", back, "--platform", "linux/arm64", code=3)
        record_property("note", "its store holds one platform a name: that of this machine is taken of two")
