"""Findings that need more than a container to be seen: another processor, another user, somebody who pulls.

Each has an image in which the harm is done on the Engine, and a healthy twin in which it is not.
"""

import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from runtimeimg.account import Account
from runtimeimg.compose.reading import Reader
from runtimeimg.compose.view import View
from runtimeimg.findings import Severity
from runtimeimg.image import Image
from runtimeimg.oci import Location
from runtimeimg.stores import StoreOptions, open_one
from tests.check.conftest import Start
from tests.check.images import Files, Put, found, ids, image
from tests.check.objects import library, program
from tests.stores.made import write

pytestmark = pytest.mark.engine

DEBIAN, NODE = "debian:bookworm-slim", "runtimeimg-samples/node:18"
LIB = "/usr/lib/x86_64-linux-gnu"
OTHERS = """
FROM debian:bookworm-slim AS fetched
WORKDIR /fetched
RUN printf 'Types: deb\\nURIs: %s\\nSuites: trixie\\nComponents: main\\nSigned-By: %s\\n' \\
      "$(sed -n 's/^URIs: //p' /etc/apt/sources.list.d/debian.sources | head -n 1)" \\
      /usr/share/keyrings/debian-archive-keyring.gpg >/etc/apt/sources.list.d/next.sources \\
 && apt-get update \\
 && apt-get download qemu-user-static/bookworm libc6/bookworm libc6/trixie \\
 && dpkg --fsys-tarfile qemu-user-static_*.deb | tar -x --strip-components 3 ./usr/bin/qemu-x86_64-static \\
 && dpkg -x libc6_2.36*.deb same && dpkg -x libc6_2.4*.deb next \\
 && for release in same next; do mv $(find $release -name libc.so.6) $release.so; done

FROM scratch
COPY --from=fetched /fetched/qemu-x86_64-static /fetched/same.so /fetched/next.so /
"""


def opened(name: str) -> Image:
    return open_one(Location.parse(name), None, StoreOptions())


def bare(name: str) -> Image:
    base = opened(f"docker-daemon:{name}")
    return replace(base, config=base.config.with_config(Cmd=None))


@pytest.fixture(scope="module")
def debian() -> Image:
    return bare(DEBIAN)


@pytest.fixture(scope="module")
def others() -> Iterator[Callable[[str], bytes]]:
    """Return a file of an image with an emulator of processors, and with libraries of two releases of glibc."""
    name = "runtimeimg-test-check/others:1"
    built = subprocess.run(
        ["docker", "build", "--network", "host", "-t", name, "-"],
        input=OTHERS.encode(), capture_output=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    with Reader(cache=None, account=Account()) as reader:
        view = View(opened(f"docker-daemon:{name}"), reader)

        def read(path: str) -> bytes:
            file = view.file(path)
            assert file is not None
            return view.read(file, 64 << 20)

        yield read


def run(text: bytes, mode: int = 0o755) -> Put:
    return Put(data=text, mode=mode)


def test_a_program_for_a_level_that_the_processor_has_not(
    debian: Image, others: Callable[[str], bytes], start: Start, tmp_path: Path
) -> None:
    """The processor is qemu's Nehalem, which is of the level v2; this machine may have any."""
    emulator = tmp_path / "qemu"
    emulator.write_bytes(others("/qemu-x86_64-static"))
    emulator.chmod(0o755)
    words = ("-v", f"{emulator}:/qemu:ro", "--entrypoint", "/qemu")
    command = ("-cpu", "Nehalem", "/app/run")
    for level, expected in ((3, ["LIB-004"]), (1, [])):
        made = image({"/app/run": run(program("libc.so.6", isa=level))}, base=debian, Entrypoint=["/app/run"])
        assert ids(found(made, base=debian)) == expected
        code, said = start(made, *words, command=command)
        assert (code != 0) is bool(expected), said
        assert ("CPU ISA level is lower than required" in said) is bool(expected), said
    saying_so = replace(made, config=made.config.evolve(variant="v3"))
    assert ids(found(saying_so, base=debian)) == []


def test_a_libc_of_another_release_over_the_bases(debian: Image, others: Callable[[str], bytes], start: Start) -> None:
    base = View(debian, Reader(cache=None, account=Account()))
    loader = base.file("/lib64/ld-linux-x86-64.so.2")
    assert loader is not None
    newer = image({f"{LIB}/libc.so.6": run(others("/next.so"))}, base=debian, Entrypoint=["/bin/true"])
    said = found(newer, base=debian)
    assert [(item.rule.id, item.rule.severity) for item in said] == [("LIB-005", Severity.ERROR)]
    assert "is of glibc 2.41, the loader" in said[0].message
    code, told = start(newer)
    assert (code, "undefined symbol" in told and "GLIBC_PRIVATE" in told) == (127, True), told
    there = base.file(f"{LIB}/libc.so.6")
    assert there is not None
    twin = image({f"{LIB}/libc.so.6": run(base.read(there, 64 << 20))}, base=debian, Entrypoint=["/bin/true"])
    assert found(twin, base=debian) == []
    assert start(twin) == (0, "")


@pytest.mark.usefixtures("samples")
def test_a_native_module_for_another_node(start: Start) -> None:
    base = bare(NODE)
    script = b'console.log(typeof require("m"))'
    for version, expected in ((115, ["RUN-002"]), (108, [])):
        files: Files = {
            "/app/main.js": script,
            "/app/node_modules/m/package.json": b'{"name": "m", "version": "1.0.0", "main": "m.node"}',
            "/app/node_modules/m/m.node": run(library(None, exports=f"node_register_module_v{version}")),
        }
        made = image(files, base=base, Entrypoint=["node", "/app/main.js"], WorkingDir="/app")
        assert ids(found(made, base=base)) == expected
        code, said = start(made)
        assert (code == 0) is not bool(expected), said
        assert ("Module did not self-register" in said) is bool(expected), said
    assert said == "object\n"


RUBY = """
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ruby && rm -rf /var/lib/apt/lists/*
"""
GEM = b"""Gem::Specification.new do |s|
  s.name, s.version, s.summary, s.authors, s.files = "mine", "1.0", "x", ["x"], ["lib/mine.rb"]
end
"""


@pytest.fixture(scope="module")
def ruby() -> Image:
    name = "runtimeimg-test-check/ruby:1"  # kept, so that the next run builds nothing
    words = ["docker", "build", "--network", "host", "-t", name, "-"]
    built = subprocess.run(words, input=RUBY.encode(), capture_output=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return bare(name)


def test_gems_for_another_ruby(ruby: Image, start: Start) -> None:
    """Of two releases of Debian: 3.0.0 is bullseye's next, 3.1.0 this one's."""
    for version, expected in (("3.0.0", ["RUN-002"]), ("3.1.0", [])):
        folder = f"/usr/local/bundle/ruby/{version}"
        files: Files = {
            f"{folder}/specifications/mine-1.0.gemspec": GEM,
            f"{folder}/gems/mine-1.0/lib/mine.rb": b"puts 'here'\n",
            "/app/main.rb": b'require "mine"\n',
        }
        made = image(
            files, base=ruby, Entrypoint=["ruby", "/app/main.rb"], Env=["GEM_PATH=/usr/local/bundle/ruby/3.1.0"]
        )
        assert ids(found(made, base=ruby)) == expected
        code, said = start(made)
        assert (code, said) == (0, "here\n") if not expected else code == 1
        assert ("cannot load such file -- mine (LoadError)" in said) is bool(expected)


def test_ruby_without_its_own_files(ruby: Image, start: Start) -> None:
    """The program and its libraries over a bare base: it starts, and ends at the first file that is required."""
    with Reader(cache=None, account=Account()) as reader:
        view = View(ruby, reader)
        bare_bones = {"/usr/bin/ruby": "/usr/bin/ruby3.1", "/usr/bin/ruby3.1": view.file("/usr/bin/ruby3.1")}
        for name in ("libruby-3.1.so.3.1", "libz.so.1", "libgmp.so.10", "libcrypt.so.1"):
            bare_bones[f"{LIB}/{name}"] = view.file(f"{LIB}/{name}")
        files: Files = {
            path: run(view.read(what, 64 << 20)) if what is not None and not isinstance(what, str) else str(what)
            for path, what in bare_bones.items()
        }
    base = bare(DEBIAN)
    for script, expected in ((b'require "json"\nputs JSON.dump([1])\n', ["RUN-001"]), (b"puts [1].inspect\n", [])):
        made = image({**files, "/app/main.rb": script}, base=base, Entrypoint=["ruby", "/app/main.rb"])
        assert ids(found(made, base=base)) == expected
        code, said = start(made)
        assert (code, "[1]" in said) == ((1, False) if expected else (0, True)), said


LISTEN = """
use Socket;
socket(SOCKET, PF_INET, SOCK_STREAM, 0) or exit 4;
bind(SOCKET, sockaddr_in($ENV{PORT}, INADDR_ANY)) or do { print "no: $!\\n"; exit 3; };
"""


def test_a_low_port_where_the_kernel_keeps_it_for_root(debian: Image, start: Start) -> None:
    """Docker lets everybody listen there; this is how Kubernetes and plain runtimes start a container."""
    kernel = ("--sysctl", "net.ipv4.ip_unprivileged_port_start=1024")
    for port, expected in ((80, ["USER-004"]), (8080, [])):
        made = image(
            {}, base=debian, Entrypoint=["perl", "-e", LISTEN], User="1000", ExposedPorts={f"{port}/tcp": {}},
            Env=[f"PORT={port}"],
        )  # fmt: skip
        assert ids(found(made, base=debian)) == expected
        code, said = start(made, *kernel)
        assert (code, said) == ((3, "no: Permission denied\n") if expected else (0, ""))


@pytest.fixture(scope="module")
def cat(debian: Image) -> bytes:
    with Reader(cache=None, account=Account()) as reader:
        view = View(debian, reader)
        file = view.file("/bin/cat")
        assert file is not None
        return view.read(file, 1 << 20)


def test_a_setuid_program_gives_its_owners_rights(debian: Image, start: Start, cat: bytes) -> None:
    for mode, expected in ((0o4755, ["SAFE-001"]), (0o755, [])):
        made = image({"/app/cat": run(cat, mode)}, base=debian, Entrypoint=["/app/cat", "/etc/shadow"], User="1000")
        assert ids(found(made, base=debian)) == expected
        code, said = start(made)
        assert ("root:" in said, "Permission denied" in said) == ((True, False) if expected else (False, True))
        assert (code == 0) is bool(expected)


def test_a_file_that_is_open_to_all_is_changed_by_another_user(debian: Image, start: Start) -> None:
    for mode, expected in ((0o777, ["SAFE-002"]), (0o755, [])):
        made = image(
            {"/app/run": run(b"#!/bin/sh\necho mine\n", mode)}, base=debian, Entrypoint=["/app/run"], User="1000"
        )
        assert ids(found(made, base=debian)) == expected
        words = ("-c", "echo 'echo theirs' >>/app/run; /app/run")
        code, said = start(made, "--user", "65534", "--entrypoint", "/bin/sh", command=words)
        assert code == 0
        assert ("theirs" in said.splitlines()) is bool(expected), said
        assert ("Permission denied" in said) is not bool(expected)


SECRETS: Files = {
    "/app/.npmrc": b"//registry.example.com/:_authToken=abcdef\n",
    "/app/key.pem": b"-----BEGIN PRIVATE KEY-----\nMC4CAQAw\n-----END PRIVATE KEY-----\n",
    "/root/.docker/config.json": b'{"auths": {"registry.example.com": {"auth": "dXNlcjpwYXNz"}}}',
    "/app/.env": b"DB_PASSWORD=hunter2\n",
}
NONE: Files = {
    "/app/.npmrc": b"//registry.example.com/:_authToken=${NPM_TOKEN}\n",
    "/app/key.pem": b"-----BEGIN CERTIFICATE-----\nMC4CAQAw\n-----END CERTIFICATE-----\n",
    "/root/.docker/config.json": b'{"credHelpers": {"registry.example.com": "osxkeychain"}}',
    "/app/.env": b"PORT=80\n",
}


@pytest.mark.registry
def test_whoever_pulls_an_image_has_its_secrets(debian: Image, registry: str, start: Start) -> None:
    """The image goes through a registry, and what was in the files is read from what came back."""
    for files, expected in ((SECRETS, ["SAFE-003"] * len(SECRETS)), (NONE, [])):
        made = image(files, base=debian, Entrypoint=["/bin/cat", *files])
        assert ids(found(made, base=debian)) == expected
        name = f"{registry}/runtimeimg-test-check/secrets:{uuid.uuid4().hex[:8]}"
        write(f"docker://{name}", made)
        pulled = opened(f"docker://{name}")
        code, said = start(pulled)
        assert code == 0
        assert all(
            (word in said) is bool(expected) for word in ("abcdef", "BEGIN PRIVATE KEY", "dXNlcjpwYXNz", "hunter2")
        )


def test_caches_are_bytes_of_the_layer(debian: Image, engine: docker.APIClient) -> None:
    """What the finding says is what the Engine counts: the layer is larger by just that, but for the twin's file."""
    cache = {f"/root/.cache/pip/http/{number}": bytes(50_000) for number in range(20)}
    sizes = []
    for files, expected in ((cache, ["SIZE-001"]), ({"/root/kept": b"x"}, [])):
        made = image(files, base=debian, Entrypoint=["/bin/true"])
        said = found(made, base=debian, least=Severity.INFO)
        assert ids(said) == expected
        if said:
            assert "1,000,000 bytes" in said[0].message
        name = f"runtimeimg-test-check/{uuid.uuid4().hex[:8]}:1"
        write(f"docker-daemon:{name}", made)
        try:
            sizes.append(engine.inspect_image(name)["Size"] - engine.inspect_image(DEBIAN)["Size"])
        finally:
            engine.remove_image(name, force=True)
    assert sizes == [1_000_000, 1]
