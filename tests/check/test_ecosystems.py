"""The samples, and packages of PyPI, npm and Debian: nothing is said of what starts, and what is left out is."""

import http.server
import io
import json
import re
import ssl
import subprocess
import threading
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml
from click.testing import CliRunner

from runtimeimg.cli.main import cli
from tests.check.conftest import Kept
from tests.check.objects import MUSL
from tests.check.objects import program as musl_program

SPECS = {
    name: yaml.safe_load((Path(__file__).parents[2] / "samples" / name / "build.yaml").read_text())
    for name in ("nodejs", "petclinic", "python")
}
PUBLIC = "/workspace/source/public:/app/public"
"""Files that a program opens when it is asked for a page, and starts without."""
DIRECTORIES = [
    (name, directory) for name, spec in SPECS.items() for directory in spec["spec"]["runtime"]["directories"]
]

pytestmark = pytest.mark.engine


def run(*words: object, spec: Mapping[str, Any] | None = None) -> tuple[int, str, str]:
    text = json.dumps(spec) if spec is not None else None
    done = CliRunner().invoke(
        cli, [str(word) for word in words], input=text, standalone_mode=False, catch_exceptions=False
    )
    code = done.return_value if isinstance(done.return_value, int) else done.exit_code
    return code, done.stdout, done.stderr


def without(spec: Mapping[str, Any], directory: str) -> dict[str, Any]:
    changed: dict[str, Any] = json.loads(json.dumps(spec))
    changed["spec"]["runtime"]["directories"].remove(directory)
    return changed


@pytest.fixture
def start(engine: docker.APIClient, leaves_nothing: None) -> Callable[..., tuple[int, str]]:
    """Build a spec into the Engine and run its image for as long as it runs by itself, a few seconds at most."""
    name = f"runtimeimg-test-ecosystem/{uuid.uuid4().hex[:8]}:1"

    def started(spec: Mapping[str, Any] | Path, *words: str, network: str = "bridge") -> tuple[int, str]:
        options = ("--builder", "native", "-t", name, "--load", "--check", "off")
        file, told = (str(spec), None) if isinstance(spec, Path) else ("-", spec)
        code, _, err = run("build", file, *options, spec=told)
        assert code == 0, err
        try:
            ran = subprocess.run(
                ["docker", "run", "--rm", "--network", network, "--name", re.sub(r"\W", "-", name), name, *words],
                capture_output=True, text=True, check=False, timeout=120,
            )  # fmt: skip
        finally:
            subprocess.run(["docker", "rmi", "-f", name], capture_output=True, check=True)
        return ran.returncode, ran.stdout + ran.stderr

    return started


@pytest.mark.parametrize("name", SPECS)
def test_nothing_is_said_of_a_sample(kept: Kept, name: str) -> None:
    code, out, err = run("check", kept.file(name))
    assert (code, out) == (0, "nothing found\n"), err


@pytest.mark.parametrize(("name", "directory"), DIRECTORIES)
def test_every_directory_that_a_sample_needs_is_missed(kept: Kept, name: str, directory: str) -> None:
    code, out, _ = run("check", "-", "--format", "json", spec=without(kept.spec(name), directory))
    assert code == 10
    assert json.loads(out)["counts"]["error" if directory != PUBLIC else "warning"] >= 1


ASKED = """
import("/app/dist/server.js").then(() => setTimeout(async () => {
  const answer = await fetch("http://127.0.0.1:3000/");
  console.log("answer", answer.status);
  process.exit(0);
}, 500));
"""


def test_a_folder_that_a_server_names(kept: Kept, start: Callable[..., tuple[int, str]]) -> None:
    """The sample's server starts without its pages, and has none when it is asked for one."""
    whole = kept.spec("nodejs")
    lost = without(whole, PUBLIC)
    _, out, _ = run("check", "-", "--format", "json", spec=lost)
    (said,) = json.loads(out)["findings"]
    assert (said["rule"], said["fix"]) == ("DATA-004", f"copy it, too: '{PUBLIC}'")
    for spec, answer in ((lost, "answer 404"), (whole, "answer 200")):
        spec["spec"]["runtime"]["entrypoint"] = ["node", "-e", ASKED]
        code, told = start(spec)
        assert code == 0, told
        assert answer in told


BUILDER = "runtimeimg-test-ecosystem/builder:1"
PYTHON, NODE, SLIM = "runtimeimg-samples/python-redis:3.11", "runtimeimg-samples/node:18", "debian:bookworm-slim"
DOCKERFILE = """
FROM runtimeimg-samples/python-redis:3.11
RUN apt-get update \\
 && apt-get install -y --no-install-recommends python3-venv nodejs npm musl busybox-static curl ca-certificates \\
 && rm -rf /var/lib/apt/lists/*
WORKDIR /app
RUN python3 -m venv venv && venv/bin/pip install --no-cache-dir --only-binary :all: psycopg2-binary==2.9.10
RUN npm install --no-audit --no-fund bcrypt@6.0.0
RUN echo 'import psycopg2; print(psycopg2.__version__)' > db.py \\
 && echo 'const b = require("bcrypt"); console.log(b.hashSync("x", 4).length)' > hash.js
"""


@dataclass(frozen=True, kw_only=True)
class Program:
    """What is copied of the builder image and started, what of that is left out to break it, and what is said then."""

    base: str = SLIM
    directories: Sequence[str]
    entrypoint: Sequence[str]
    lost: str
    rule: str
    env: Mapping[str, str] = field(default_factory=dict)

    def spec(self, builder: Kept, directories: Sequence[str]) -> dict[str, Any]:
        return {
            "apiVersion": "shipwright.io/v1alpha1",
            "kind": "Build",
            "metadata": {"name": "program"},
            "spec": {
                "builder": {"image": builder.image(BUILDER)},
                "output": {"image": "runtimeimg-test-ecosystem/program:1"},
                "runtime": {
                    "base": {"image": builder.image(self.base)},
                    "workDir": "/app",
                    "env": dict(self.env),
                    "directories": list(directories),
                    "entrypoint": list(self.entrypoint),
                },
            },
        }


LIB = "/usr/lib/x86_64-linux-gnu"
PROGRAMS = {
    "wheel-with-libraries": Program(
        base=PYTHON, directories=["/app/venv", "/app/db.py"], entrypoint=["/app/venv/bin/python", "db.py"],
        lost="/app/venv/lib/python3.11/site-packages/psycopg2_binary.libs", rule="LIB-006",
    ),
    "native-module-of-node": Program(
        base=NODE, directories=["/app/node_modules", "/app/hash.js"], entrypoint=["node", "hash.js"],
        lost="/app/node_modules", rule="START-007",
    ),
    "static": Program(
        directories=["/bin/busybox"], entrypoint=["/bin/busybox", "true"], lost="/bin/busybox", rule="START-002",
    ),
    "interpreter-alone": Program(
        directories=["/usr/bin/python3.11", "/usr/lib/python3.11", f"{LIB}/libexpat.so.1", f"{LIB}/libz.so.1"],
        entrypoint=["/usr/bin/python3.11", "-c", "import json"], lost="/usr/lib/python3.11", rule="RUN-001",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def builder(kept: Kept, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """An image with packages of Debian, PyPI and npm is there."""
    folder = tmp_path_factory.mktemp("builder")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    built = subprocess.run(
        ["docker", "build", "--network", "host", "-t", BUILDER, folder], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return kept  # its image stays, so that the next run builds nothing


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_of_other_ecosystems(name: str, builder: Kept, start: Callable[..., tuple[int, str]]) -> None:
    program = PROGRAMS[name]
    whole = program.spec(builder, program.directories)
    code, out, err = run("check", "-", "--format", "json", spec=whole)
    assert code == 0, out + err
    code, said = start(whole)
    assert code == 0, said
    if program.lost in program.directories:
        broken = program.spec(builder, [item for item in program.directories if item != program.lost])
    else:  # within one that is copied: all of its neighbours are
        broken = program.spec(builder, program.directories)
        broken["spec"]["runtime"]["directories"] = [
            *(item for item in program.directories if not program.lost.startswith(item)),
            *_beside(program),
        ]
    code, out, _ = run("check", "-", "--format", "json", spec=broken)
    assert code == 10
    assert program.rule in {item["rule"] for item in json.loads(out)["findings"]}
    code, said = start(broken)
    assert code != 0, said


SIBLINGS = """
while [ "$at" != "$top" ]; do
  for f in "${at%/*}"/*; do [ "$f" = "$at" ] || echo "$f"; done
  at=${at%/*}
done
"""


def _beside(program: Program) -> list[str]:
    """Return what is in the folders on the way to what is left out, but for that."""
    (top,) = (item for item in program.directories if program.lost.startswith(item))
    command = ["docker", "run", "--rm", "-e", f"top={top}", "-e", f"at={program.lost}", BUILDER, "sh", "-c", SIBLINGS]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_packages_for_another_python(builder: Kept, start: Callable[..., tuple[int, str]]) -> None:
    """The folder of the packages says which version they are for, and Python looks into its own alone."""
    whole = PROGRAMS["wheel-with-libraries"].spec(builder, ["/app/venv", "/app/db.py"])
    site = "/app/venv/lib/python3.11/site-packages"
    moved = PROGRAMS["wheel-with-libraries"].spec(
        builder, ["/app/venv/bin", "/app/venv/pyvenv.cfg", f"{site}:{site.replace('3.11', '3.12')}", "/app/db.py"]
    )
    assert run("check", "-", spec=whole)[0] == 0
    code, out, _ = run("check", "-", "--format", "json", spec=moved)
    assert code == 10
    assert {item["rule"] for item in json.loads(out)["findings"]} == {"RUN-002", "START-007"}
    code, said = start(moved)
    assert (code, "No module named 'psycopg2'" in said) == (1, True)


def test_classes_for_a_newer_java(samples: Path, tmp_path: Path, start: Callable[..., tuple[int, str]]) -> None:
    """The same archive, but that its classes say that they are for Java 21."""
    spec = json.loads(json.dumps(SPECS["petclinic"]))
    jar = subprocess.run(
        ["docker", "run", "--rm", "runtimeimg-samples/petclinic-build:1", "cat", "/workspace/source/dist/petclinic.jar"],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    newer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(jar)) as old, zipfile.ZipFile(newer, "w") as new:
        for item in old.infolist():
            data = old.read(item)
            if item.filename.endswith(".class") and data[:4] == b"\xca\xfe\xba\xbe":
                data = data[:6] + (44 + 21).to_bytes(2, "big") + data[8:]
            new.writestr(item, data)
    (tmp_path / "petclinic.jar").write_bytes(newer.getvalue())
    spec["spec"]["runtime"]["directories"].append("$(workspace)/petclinic.jar:/app/petclinic.jar")
    (tmp_path / "build.yaml").write_text(json.dumps(spec))
    code, out, _ = run("check", tmp_path / "build.yaml", "--format", "json")
    assert code == 10
    (found,) = [item for item in json.loads(out)["findings"] if item["severity"] == "error"]
    assert (found["rule"], "for Java 21, the image's is 17" in found["message"]) == ("RUN-002", True)
    code, said = start(tmp_path / "build.yaml")
    assert (code, "UnsupportedClassVersionError" in said) == (1, True)


@contextmanager
def server(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Serve a page over TLS on this machine; the value is where, and the certificate, which vouches for itself."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days"]
    words += ["2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out"]
    subprocess.run([*words, str(certificate)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    serving.socket = context.wrap_socket(serving.socket, server_side=True)
    thread = threading.Thread(target=serving.serve_forever)
    thread.start()
    try:
        yield f"https://localhost:{serving.server_address[1]}/", certificate.read_bytes()
    finally:
        serving.shutdown()
        thread.join()
        serving.server_close()


class Page(http.server.BaseHTTPRequestHandler):
    """A page of one word."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"here")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.openssl
def test_a_client_without_certificates(builder: Kept, start: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    """A server of this machine, whose certificate is the one that the healthy twin trusts."""
    with server(tmp_path) as (url, certificate):
        (tmp_path / "ca.crt").write_bytes(certificate)
        program = Program(
            directories=["/usr/bin/curl"], entrypoint=["/usr/bin/curl", "-sS", url], lost="", rule="DATA-001"
        )
        for more, expected in (([], ["DATA-001"]), (["$(workspace)/ca.crt:/etc/ssl/certs/ca-certificates.crt"], [])):
            spec = program.spec(builder, [*program.directories, *more])
            spec["spec"]["runtime"]["include"] = ["auto"]
            (tmp_path / "build.yaml").write_text(json.dumps(spec))
            code, out, err = run("check", tmp_path / "build.yaml", "--format", "json")
            assert [item["rule"] for item in json.loads(out)["findings"]] == expected, err
            code, said = start(tmp_path / "build.yaml", network="host")
            assert (code, said) == (0, "here") if not expected else code != 0, said
            assert ("certificate" in said) is bool(expected)


def test_a_program_for_musl(builder: Kept, start: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    """Debian's musl starts it beside glibc, where it is copied too."""
    made = tmp_path / "run"
    made.write_bytes(musl_program(interpreter=MUSL))
    made.chmod(0o755)
    asked = Program(directories=["$(workspace)/run:/app/run"], entrypoint=["/app/run"], lost="", rule="LIB-001")
    for more, expected in (([], ["LIB-001"]), ([MUSL], [])):
        (tmp_path / "build.yaml").write_text(json.dumps(asked.spec(builder, [*asked.directories, *more])))
        code, out, err = run("check", tmp_path / "build.yaml", "--format", "json")
        assert [item["rule"] for item in json.loads(out)["findings"]] == expected, err
        code, said = start(tmp_path / "build.yaml")
        assert (code, said) == (0, "") if not expected else code != 0, said
        assert ("no such file or directory" in said) is bool(expected)
