"""`runtimeimg check` and `build --check`: formats, exit codes, and that nothing is written."""

import json
import uuid
from pathlib import Path
from typing import Any

import docker
import pytest
from click.testing import CliRunner

from runtimeimg.cli.main import cli
from runtimeimg.errors import BuildFailed, NotFoundError, RuntimeimgError, SpecError, UsageError
from tests.check.images import Put, image
from tests.check.objects import library, program, static
from tests.stores.made import write

SPEC = """
apiVersion: shipwright.io/v1alpha1
kind: Build
metadata: {{name: app}}
spec:
  builder: {{image: "oci:{folder}/builder"}}
  output: {{image: app:1}}
  runtime:
    base: {{image: "oci:{folder}/base"}}
    directories: [{directories}]
    entrypoint: [/app/run]
"""


def run(*words: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(cli, [str(word) for word in words], standalone_mode=False)
    if isinstance(done.exception, RuntimeimgError):
        raise done.exception
    assert done.exception is None, done.exception
    return (done.return_value if isinstance(done.return_value, int) else done.exit_code), done.stdout, done.stderr


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    files = {
        "/app/run": Put(data=program("libmine.so.1")), "/app/good/run": Put(data=static()),
        "/usr/lib/libmine.so.1": b"x", "/lib64/ld-linux-x86-64.so.2": Put(data=static()),
    }  # fmt: skip
    write(f"oci:{tmp_path}/builder", image(files))
    write(f"oci:{tmp_path}/base", image({"/etc/x": b"", "/lib64/ld-linux-x86-64.so.2": Put(data=static())}))

    def written(*directories: str) -> Path:
        path = tmp_path / "build.yaml"
        path.write_text(SPEC.format(folder=tmp_path, directories=", ".join(f'"{item}"' for item in directories)))
        return path

    return written


def test_a_spec(spec: Any, tmp_path: Path) -> None:
    assert run("check", spec("/app/good:/app")) == (0, "nothing found\n", "")
    code, out, _ = run("check", spec("/app/run:/app/run"))
    assert code == 10
    assert out.splitlines() == [
        "error  LIB-002  /app/run",
        "    'libmine.so.1', which '/app/run' needs, is not found",
        "    add to spec.runtime.directories: '/usr/lib/libmine.so.1'",
        "1 error",
    ]
    assert sorted(item.name for item in tmp_path.iterdir()) == ["base", "build.yaml", "builder", "cache"]


def test_an_image_in_all_formats(spec: Any, tmp_path: Path) -> None:
    write(f"oci:{tmp_path}/image", image({"/app/run": Put(data=program("libmine.so.1"))}, Entrypoint=["/app/run"]))
    code, out, _ = run("check", f"oci:{tmp_path}/image", "--format", "json")
    assert code == 10
    (found,) = json.loads(out)["findings"]
    assert (found["rule"], found["where"]["inside"]) == ("LIB-001", "/app/run")
    code, out, _ = run("check", f"oci:{tmp_path}/image", "--format", "sarif")
    assert [item["ruleId"] for item in json.loads(out)["runs"][0]["results"]] == ["LIB-001"]
    assert "LIB-001" in run("check", f"oci:{tmp_path}/image", "--format", "markdown")[1]
    assert run("check", f"oci:{tmp_path}/image", "--ignore", "LIB-001")[0] == 0
    code, out, _ = run("check", f"oci:{tmp_path}/image", "--builder-image", f"oci:{tmp_path}/builder")
    assert "the builder image has it: '/lib64/ld-linux-x86-64.so.2'" in out


def test_what_is_not_there(spec: Any, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        run("check", tmp_path / "nowhere.yaml")
    with pytest.raises(NotFoundError, match="does not exist"):
        run("check", f"oci:{tmp_path}/nowhere")
    with pytest.raises(UsageError):
        run("check", "oci:/\0")


def test_a_build_says_what_it_finds_and_writes_all_the_same(spec: Any, tmp_path: Path) -> None:
    code, _, err = run("build", spec("/app/run:/app/run"), "-o", f"oci:{tmp_path}/out", "--progress", "plain")
    assert code == 0
    assert "error: LIB-002: 'libmine.so.1', which '/app/run' needs, is not found" in err
    assert (tmp_path / "out/index.json").is_file()
    code, _, err = run(
        "build", spec("/app/run:/app/run"), "-o", f"oci:{tmp_path}/off", "--check", "off", "--progress", "plain"
    )
    assert (code, "LIB-002" in err) == (0, False)


def test_a_build_that_is_to_refuse_writes_nothing(spec: Any, tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match="the image will not start: 1 error was found"):
        run("build", spec("/app/run:/app/run"), "-o", f"oci:{tmp_path}/out", "--check", "error")
    assert not (tmp_path / "out").exists()
    assert run("build", spec("/app/good:/app"), "-o", f"oci:{tmp_path}/out", "--check", "error")[0] == 0
    assert (tmp_path / "out/index.json").is_file()


def test_what_the_spec_accepts_is_not_said(spec: Any, tmp_path: Path) -> None:
    path = spec("/app/run:/app/run")
    text = path.read_text()
    for accepted, code in (
        ("{id: LIB-002, path: /app/*, reason: known}", 0),
        ("{id: LIB-002, reason: known}", 0),
        ("{id: LIB-002, path: /srv/*, reason: known}", 10),
        ("{id: LIB-001, reason: known}", 10),
    ):
        path.write_text(text + f"    accept: [{accepted}]\n")
        assert run("check", path)[0] == code, accepted
    path.write_text(text + "    accept: [{id: lib2, path: /x}]\n")
    with pytest.raises(SpecError) as refused:
        run("check", path)
    assert "is no rule; write one such as 'SAFE-003'" in str(refused.value)
    assert "reason" in str(refused.value)


def test_places_are_ignored(spec: Any) -> None:
    path = spec("/app/run:/app/run")
    assert run("check", path, "--ignore", "LIB-002:/app/*")[0] == 0
    assert run("check", path, "--ignore", "LIB-002:/srv/*")[0] == 10


BLOCK = """
    directories:
      # the application
      - /app/run:/app/run   # its program

    entrypoint: [/app/run]
"""


@pytest.mark.parametrize("form", ["flow", "block"])
def test_what_is_missing_is_added_to_the_spec(spec: Any, tmp_path: Path, form: str) -> None:
    files = {
        "/app/run": Put(data=program("liba.so")), "/lib64/ld-linux-x86-64.so.2": Put(data=static()),
        "/usr/lib/liba.so": Put(data=library("liba.so", "lib:b.so")), "/usr/lib/lib:b.so": Put(data=library("lib:b.so")),
    }  # fmt: skip
    write(f"oci:{tmp_path}/builder", image(files))
    path = spec("/app/run:/app/run")
    if form == "block":
        head = path.read_text().partition("    directories:")[0]
        path.write_text(head + BLOCK.lstrip("\n") + "    # the end\n")
    before = path.read_text()
    code, out, _ = run("check", path, "--fix", "print")
    assert path.read_text() == before
    long = '{"source": "/usr/lib/lib:b.so", "destination": "/usr/lib/lib:b.so"}'
    assert (code, out.splitlines()) == (0, ['- "/usr/lib/liba.so"', f"- {long}", "nothing found"])
    code, out, err = run("check", path, "--fix", "write")
    assert (code, err) == (0, f"wrote {path}\n")
    assert run("check", path) == (0, "nothing found\n", "")
    if form == "block":
        expected = before.replace("its program\n", f'its program\n      - "/usr/lib/liba.so"\n      - {long}\n')
    else:
        expected = before.replace('"]', f'", "/usr/lib/liba.so", {long}]')
    assert path.read_text() == expected
    assert run("check", path, "--fix", "write")[2] == ""
    assert path.read_text() == expected


def test_what_has_no_fix_is_left(spec: Any, tmp_path: Path) -> None:
    write(f"oci:{tmp_path}/builder", image({"/app/run": Put(data=program("nowhere.so"))}))
    path = spec("/app/run:/app/run")
    before = path.read_text()
    code, out, _ = run("check", path, "--fix", "write")
    assert (code, "nowhere.so" in out, path.read_text() == before) == (10, True, True)
    with pytest.raises(UsageError, match="--fix changes the spec in a file"):
        run("check", f"oci:{tmp_path}/builder", "--fix", "print")


@pytest.mark.parametrize(
    "name",
    ["oci:{0}/base", "dir:{0}", "docker-archive:{0}/x", "Not A Name", "127.0.0.1:1/none:1", "x@sha256:1", "a" * 5000],
)
def test_the_base_that_an_image_names_is_an_image_or_none(spec: Any, tmp_path: Path, name: str) -> None:
    """Whatever the label says: it opens no file of this machine, and what is not there is done without."""
    labels = {"org.opencontainers.image.base.name": name.format(tmp_path)}
    write(f"oci:{tmp_path}/image", image({"/app/run": Put(data=static())}, Entrypoint=["/app/run"], Labels=labels))
    assert run("check", f"oci:{tmp_path}/image") == (0, "nothing found\n", "")


@pytest.mark.engine
@pytest.mark.registry
def test_images_of_a_registry_are_looked_into_without_an_engine(
    registry: str, tmp_path: Path, engine: docker.APIClient
) -> None:
    """An Engine that is there is not asked to fetch them, and has none of them afterwards."""
    name = f"{registry}/runtimeimg-test/looked-{uuid.uuid4().hex[:8]}:1"
    write(f"docker://{name}", image({"/app/run": Put(data=static())}))
    (tmp_path / "build.yaml").write_text(
        f"""apiVersion: shipwright.io/v1alpha1
kind: Build
metadata: {{name: app}}
spec:
  builder: {{image: "docker://{name}"}}
  output: {{image: app:1}}
  runtime: {{base: {{image: scratch}}, directories: [/app], entrypoint: [/app/run]}}
"""
    )
    code, out, _ = run("check", tmp_path / "build.yaml")
    assert (code, out) == (0, "nothing found\n")
    assert engine.images(name) == []
