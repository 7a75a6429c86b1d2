"""Names that lead nowhere, outputs as users of buildx write them, and what is refused before anything is done."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtimeimg.cli.destinations import destination
from runtimeimg.errors import AuthError, NotFoundError, RemoteError, TransientError, UsageError
from runtimeimg.oci import Reference
from runtimeimg.stores.engine.refusals import pull_refusal

SPEC = """\
apiVersion: runtimeimg.dev/v1
kind: Build
spec:
  builder: {{image: "{builder}"}}
  output: {{image: "{output}"}}
  runtime: {{base: {{image: "{base}"}}, directories: [/etc/hostname], entrypoint: [/bin/true]}}
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "files/etc").mkdir(parents=True)
    (tmp_path / "files/etc/hostname").write_text("here\n")
    write(tmp_path)
    return tmp_path


def write(folder: Path, builder: str = "dir:files", base: str = "scratch", output: str = "web:1") -> None:
    (folder / "build.yaml").write_text(SPEC.format(builder=builder, base=base, output=output))


def run(*args: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "runtimeimg", *args]
    env = {**os.environ, "XDG_CACHE_HOME": str(cwd / "cache"), **environ}
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, cwd=cwd, env=env)


# ---- outputs


OUTPUTS = {
    "oci:x:2": "oci:x:2",
    "web:2": "web:2",
    "type=docker": "docker-daemon:web:1",
    "type=image": "docker-daemon:web:1",
    "type=docker,dest=x.tar": "docker-archive:x.tar",
    "type=oci,dest=x.tar": "oci-archive:x.tar",
    "type=oci,dest=x,tar=false": "oci:x",
    "type=registry": "docker://docker.io/library/web:1",
    "type=image,name=h.example/y:2,push=true": "docker://h.example/y:2",
}


@pytest.mark.parametrize(("text", "said"), OUTPUTS.items())
def test_an_output_as_written_for_buildx(text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [str(item) for item in destination(text, ("web:1",))] == [said]


REFUSED = {
    "x.tar": "oci-archive:x.tar or docker-archive:x.tar",
    "./out": "oci:./out",
    "../x.tar.gz": "oci-archive:../x.tar.gz",
    "here": "oci:here",
    "-": "oci-archive:FILE",
    "type=local,dest=out": "oci:out",
    "type=tar,dest=x.tar": "oci:x.tar",
    "type=oci": "type=oci,dest=FILE",
    "type=docker,dest=-": "oci-archive:FILE",
    "type=cacheonly": "known are docker, image, oci and registry",
    "type=docker,compression=zstd": "known are dest, name",
}


@pytest.mark.parametrize(("text", "hint"), REFUSED.items())
def test_an_output_that_says_no_transport_is_told_one(
    text: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    with pytest.raises(UsageError) as raised:
        destination(text, ("web:1",))
    assert hint in (raised.value.hint or ""), raised.value.hint


@pytest.mark.registry
@pytest.mark.engine
def test_a_copy_to_a_bare_name_says_where_it_went(files: Path, registry: str) -> None:
    name = f"{registry}/runtimeimg-test/names:1"
    assert run("build", "-q", "-o", "oci:out:1", cwd=files).returncode == 0
    try:
        done = run("copy", "--progress", "quiet", "oci:out:1", name, cwd=files)
        assert f"wrote docker-daemon:{name}\n" in done.stderr
        assert f"docker://{name}" in done.stderr
    finally:
        subprocess.run(["docker", "rmi", name], capture_output=True, check=False)
    done = run("copy", "--progress", "quiet", "oci:out:1", f"docker://{name}", cwd=files)
    assert done.stderr == f"wrote docker://{name}\n"


# ---- names found nowhere


@pytest.mark.engine
@pytest.mark.registry
@pytest.mark.parametrize("builder", ["native", "docker", pytest.param("buildah", marks=pytest.mark.buildah)])
@pytest.mark.parametrize("role", ["base", "builder"])
def test_a_build_names_the_role_and_both_places(builder: str, role: str, files: Path, registry: str) -> None:
    write(files, **{"builder": "debian:bookworm-slim", "base": "debian:bookworm-slim", role: f"{registry}/none:1"})
    done = run("build", "--builder", builder, "--progress", "quiet", "-o", "oci:out", cwd=files)
    assert done.returncode == 3
    assert done.stderr == (
        f"runtimeimg: {role} image '{registry}/none:1' was not found: the Docker Engine does not have it, "
        f"and registry '{registry}' has no such manifest\n"
    )


@pytest.mark.registry
def test_without_an_engine_that_is_said(tmp_path: Path, registry: str) -> None:
    done = run("inspect", f"{registry}/none:1", cwd=tmp_path, DOCKER_HOST="unix:///nowhere")
    assert done.returncode == 3
    assert f"no Docker Engine answers, and registry '{registry}' has no such manifest" in done.stderr


def test_a_path_of_the_name_is_offered_with_its_transport(files: Path) -> None:
    assert run("build", "-q", "-o", "oci:web", cwd=files).returncode == 0
    for name in ("./web", "web"):
        done = run("inspect", name, cwd=files, DOCKER_HOST="unix:///nowhere")
        assert done.returncode in {2, 5, 75}, name
        assert f"write oci:{name}" in done.stderr
    assert run("build", "-q", "-o", "docker-archive:web.tar", cwd=files).returncode == 0
    assert "docker-archive:./web.tar" in run("inspect", "./web.tar", cwd=files).stderr


GO = {
    "manifest for h.example/a:1 not found: manifest unknown: manifest unknown": (NotFoundError, "has no such manifest"),
    "pull access denied for a, repository does not exist or may require 'docker login': denied": (
        NotFoundError,
        "wants a login",
    ),
    'Get "https://h.example/v2/": dial tcp: lookup h.example on 10.0.0.1:53: no such host': (
        RemoteError,
        "cannot be f",
    ),
    'Get "https://h.example/v2/": dial tcp 10.0.0.1:443: connect: connection refused': (TransientError, "refused"),
    'Get "https://h.example/v2/": net/http: TLS handshake timeout': (TransientError, "in time"),
    'Get "https://h.example/v2/": x509: certificate signed by unknown authority': (RemoteError, "not trusted"),
    'Get "https://h.example/v2/": http: server gave HTTP response to HTTPS client': (RemoteError, "does not speak TLS"),
    "unauthorized: authentication required": (AuthError, "refuses access"),
    "toomanyrequests: You have reached your pull rate limit.": (TransientError, "fewer requests"),
    "no matching manifest for linux/s390x in the manifest list entries": (NotFoundError, "nothing for linux/s390x"),
    "something new": (RemoteError, "the Engine says: something new"),
}


@pytest.mark.parametrize(("text", "wanted"), GO.items())
def test_what_an_engine_says_of_a_pull_is_put_in_our_words(text: str, wanted: tuple[type[Exception], str]) -> None:
    error = pull_refusal(text, Reference.parse("h.example/a:1"), "the Engine")
    assert type(error) is wanted[0]
    assert wanted[1] in f"{error} {error.hint}"
    assert text == "something new" or text not in str(error)


# ---- before the build


BEFORE = {
    "compression": (["--compression", "gzip:12"], 2, "compression level '12' of gzip"),
    "ca-file": (["--ca-file", "build.yaml"], 2, "holds no certificate in PEM"),
    "no ca-file": (["--ca-file", "none.pem"], 3, "--ca-file 'none.pem' does not exist"),
    "authfile": (["--authfile", "build.yaml"], 2, "--authfile 'build.yaml'"),
    "platform": (["--platform", "linux/amd64,nonsense//"], 2, "platform 'nonsense//'"),
    "iidfile": (["--iidfile", "none/id"], 3, "--iidfile 'none/id' cannot be written: folder 'none' does not exist"),
    "metadata": (["--metadata-file", "build.yaml/x"], 2, "'build.yaml' is not a folder"),
    "digestfile": (["--digestfile", "d", "-o", "web:1"], 2, "an Engine keeps no manifest digest"),
    "archive": (["-o", "oci-archive:none/x.tar"], 3, "folder 'none' does not exist"),
    "layout": (["-o", "oci:build.yaml/x"], 2, "build.yaml' is not a folder"),
}


@pytest.mark.parametrize(("args", "code", "said"), BEFORE.values(), ids=BEFORE)
def test_what_would_fail_after_the_build_fails_before_it(args: list[str], code: int, said: str, files: Path) -> None:
    write(files, builder="dir:not-looked-at")
    where = [] if "-o" in args else ["-o", "oci:out"]
    done = run("build", "--builder", "native", *args, *where, cwd=files)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert said in done.stderr
    assert not (files / "out").exists()


@pytest.mark.registry
def test_a_registry_is_asked_before_the_build_and_keeps_nothing_of_it(files: Path, registry: str) -> None:
    write(files, builder="dir:not-looked-at", output="127.0.0.1:1/web:1")
    done = run("build", "--builder", "native", "--push", cwd=files)
    assert done.returncode == 75
    assert "registry '127.0.0.1:1'" in done.stderr
    assert "not-looked-at" not in done.stderr
    write(files, output=f"{registry}/runtimeimg-test/asked:1")
    done = run("build", "--builder", "native", "--push", "--metadata-file", "m.json", cwd=files)
    assert done.returncode == 0, done.stderr
    assert json.loads((files / "m.json").read_text())["written"][0]["digest"] == done.stdout.strip()
