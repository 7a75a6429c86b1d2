"""Engines that are reached by TLS and by ssh: they build, stamp and run. By every Python of RUNTIMEIMG_PYTHONS too."""

import contextlib
import hashlib
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from privateengine import OwnEngine, own_engine

ROOT = Path(__file__).parents[2]
PYTHONS = [sys.executable, *filter(None, os.environ.get("RUNTIMEIMG_PYTHONS", "").split(os.pathsep))]
"""Interpreters, each with this package installed."""

pytestmark = [pytest.mark.engine, pytest.mark.openssl]

SPEC = """\
apiVersion: runtimeimg.dev/v1
kind: Build
metadata: {name: x}
spec:
  builder: {image: "%(builder)s"}
  output: {image: "%(output)s"}
  runtime:
    base: {image: "%(base)s"}
    directories: [/etc/issue:/app/issue]
    run: ["echo built > /tmp/there"]
    entrypoint: [cat, /app/issue, /tmp/there]
"""


def openssl(*argv: str | Path) -> None:
    subprocess.run(["openssl", *argv], capture_output=True, check=True)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys as docker's documentation has people make them: an authority without key usage, short extensions."""
    folder = tmp_path_factory.mktemp("keys")
    (folder / "ca.conf").write_text(
        "[req]\ndistinguished_name=n\nprompt=no\nx509_extensions=v\n[n]\nCN=ca\n[v]\nbasicConstraints=CA:TRUE\n"
    )
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-config", folder / "ca.conf",
            "-keyout", folder / "ca-key.pem", "-out", folder / "ca.pem")  # fmt: skip
    for name, extensions in (
        ("server", "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth"),
        ("client", "extendedKeyUsage=clientAuth"),
    ):
        (folder / f"{name}.ext").write_text(extensions)
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", folder / f"{name}-key.pem",
                "-out", folder / f"{name}.csr")  # fmt: skip
        openssl("x509", "-req", "-in", folder / f"{name}.csr", "-CA", folder / "ca.pem", "-CAkey",
                folder / "ca-key.pem", "-CAcreateserial", "-days", "2", "-out", folder / f"{name}.pem",
                "-extfile", folder / f"{name}.ext")  # fmt: skip
    shutil.copy(folder / "client.pem", folder / "cert.pem")
    shutil.copy(folder / "client-key.pem", folder / "key.pem")
    return folder


@dataclass(frozen=True, kw_only=True)
class Secure:
    engine: OwnEngine
    address: str
    keys: Path


@pytest.fixture(scope="module")
def secure(keys: Path) -> Iterator[Secure]:
    """An Engine that speaks TLS and asks for a certificate."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        more = ["--tlsverify", f"--tlscacert={keys}/ca.pem", f"--tlscert={keys}/server.pem",
                f"--tlskey={keys}/server-key.pem"]  # fmt: skip
        with contextlib.contextmanager(own_engine)(listener, more) as engine:
            yield Secure(engine=engine, address=f"tcp://127.0.0.1:{listener.getsockname()[1]}", keys=keys)


def command(python: str, *argv: str | Path, environ: Mapping[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    own = {"HOME": str(cwd), "RUNTIMEIMG_STATE": str(cwd / "state"), "PYTHONPATH": str(ROOT)}
    env = {"PATH": os.environ["PATH"], **own, **environ}
    return subprocess.run(
        [python, "-m", "runtimeimg", *argv], env=env, cwd=cwd, capture_output=True, text=True, check=False
    )


def build_stamp_and_run(
    python: str, environ: Mapping[str, str], folder: Path, builder: str, images: tuple[str, str]
) -> None:
    """Build an image, stamp it under another name, and run it, all on the Engine that `environ` names."""
    name = f"connection-{hashlib.sha256(f'{folder}{python}{builder}'.encode()).hexdigest()[:12]}"
    (folder / "build.yaml").write_text(SPEC % {"builder": images[0], "base": images[1], "output": f"{name}:1"})

    def ran(*argv: str | Path) -> str:
        done = command(python, *argv, environ=environ, cwd=folder)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    try:
        ran("build", "--builder", builder, "build.yaml")
        (folder / "graph.json").write_text(json.dumps({"daemons": [["true"]], "expose": []}))
        ran("stamp", f"docker-daemon:{name}:1", "--graph", "graph.json", "-o", f"docker-daemon:{name}:2")
        assert json.loads(ran("inspect", f"docker-daemon:{name}:2", "--format", "json"))
        assert ran("run", "--no-context", "--daemons", "none", f"docker-daemon:{name}:1").endswith("built\n")
    finally:
        for tag in ("1", "2"):
            with contextlib.suppress(AssertionError):
                subprocess.run(["docker", "rmi", "-f", f"{name}:{tag}"], env={**os.environ, **environ},
                               capture_output=True, check=False)  # fmt: skip


@pytest.mark.parametrize("python", PYTHONS)
def test_tls_engine_builds_stamps_and_runs(secure: Secure, tmp_path: Path, python: str) -> None:
    environ = {"DOCKER_HOST": secure.address, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(secure.keys)}
    build_stamp_and_run(python, environ, tmp_path, "docker", ("bare:1", "tiny:1"))


@pytest.mark.parametrize("python", PYTHONS)
def test_what_tls_refuses_is_said(secure: Secure, tmp_path: Path, python: str) -> None:
    def said(**environ: str) -> str:
        done = command(python, "ps", environ={"DOCKER_HOST": secure.address, **environ}, cwd=tmp_path)
        assert done.returncode == 4
        assert "Warning" not in done.stderr
        return done.stderr

    (tmp_path / "none").mkdir()
    (tmp_path / "half").mkdir()
    shutil.copy(secure.keys / "ca.pem", tmp_path / "half")
    unknown = said(DOCKER_TLS_VERIFY="1", DOCKER_CERT_PATH=str(tmp_path / "none"))
    assert "its certificate is not trusted: unable to get local issuer certificate" in unknown
    assert "DOCKER_CERT_PATH" in unknown
    assert "certificate" in said(DOCKER_TLS_VERIFY="1", DOCKER_CERT_PATH=str(tmp_path / "half"))
    assert "HTTP request to an HTTPS server" in said()


@pytest.mark.parametrize("python", PYTHONS)
def test_contexts_without_verification_come_without_a_warning(secure: Secure, tmp_path: Path, python: str) -> None:
    key = hashlib.sha256(b"lab").hexdigest()
    meta, own = tmp_path / ".docker/contexts/meta" / key, tmp_path / ".docker/contexts/tls" / key / "docker"
    meta.mkdir(parents=True)
    own.mkdir(parents=True)
    endpoint = {"Host": secure.address, "SkipTLSVerify": True}
    (meta / "meta.json").write_text(json.dumps({"Name": "lab", "Endpoints": {"docker": endpoint}}))
    for name in ("cert.pem", "key.pem"):
        shutil.copy(secure.keys / name, own)
    done = command(python, "ps", environ={"DOCKER_CONTEXT": "lab"}, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "no runs\n")


# ---- ssh


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An environment in which `ssh://there` is this machine, by an ssh program with settings of its own."""
    folder = tmp_path_factory.mktemp("ssh")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "sshd.conf").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\n"
        f"PidFile {folder}/pid\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n"
    )
    (folder / "ssh.conf").write_text(
        f"Host there\n HostName 127.0.0.1\n Port {port}\nHost *\n IdentityFile {folder}/user\n IdentitiesOnly yes\n"
        f" UserKnownHostsFile {folder}/known\n StrictHostKeyChecking accept-new\n LogLevel ERROR\n"
    )
    program = folder / "bin/ssh"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(shutil.which("ssh") or "")} -F {folder}/ssh.conf "$@"\n')
    program.chmod(0o755)
    Path("/run/sshd").mkdir(exist_ok=True)
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([shutil.which("sshd") or "", "-D", "-e", "-f", folder / "sshd.conf"], stderr=log)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as probe:
                if probe.recv(4) == b"SSH-":
                    break
            assert server.poll() is None, (folder / "log").read_text()
        yield {"DOCKER_HOST": "ssh://there", "PATH": f"{program.parent}:{os.environ['PATH']}"}
    finally:
        server.terminate()
        server.wait(20)


@pytest.mark.sshd
@pytest.mark.ssh
@pytest.mark.usefixtures("leaves_nothing")
@pytest.mark.parametrize("builder", ["docker", "buildkit"])
@pytest.mark.parametrize("python", PYTHONS)
def test_ssh_engine_builds_stamps_and_runs(ssh: dict[str, str], tmp_path: Path, python: str, builder: str) -> None:
    base = "debian:bookworm-slim"
    build_stamp_and_run(python, ssh, tmp_path, builder, (base, base))


@pytest.mark.sshd
@pytest.mark.ssh
def test_what_ssh_says_is_said(ssh: dict[str, str], tmp_path: Path) -> None:
    def said(address: str) -> str:
        done = command(sys.executable, "ps", environ={**ssh, "DOCKER_HOST": address}, cwd=tmp_path)
        assert done.returncode == 4, done.stderr
        return done.stderr

    assert "ssh says: ssh: Could not resolve hostname nowhere.invalid" in said("ssh://nowhere.invalid")
    assert "Permission denied" in said("ssh://nobody@there")
    assert "/none.sock" in said("ssh://there/none.sock")


def test_ssh_that_is_missing_is_named(tmp_path: Path) -> None:
    done = command(sys.executable, "ps", environ={"DOCKER_HOST": "ssh://there", "PATH": str(tmp_path)}, cwd=tmp_path)
    assert done.returncode == 4
    assert "program 'ssh' is not installed" in done.stderr
