"""A registry with a log of its own, and the images that the steps of strategies run."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.error import URLError
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

import pytest

from runtimeimg.image import Image, ImageIndex
from runtimeimg.oci import Index, Location
from runtimeimg.stores import StoreOptions, open_destination, open_image

ROOT = Path(__file__).parents[2]
PREFIX = "runtimeimg-test-strategy"


@dataclass(frozen=True)
class LoggedRegistry:
    """A registry of the tests' own: where it is, and what it was asked for."""

    host: str
    log: Path

    def pushes(self, repository: str) -> list[str]:
        """Return the tags under which manifests were put, in order; digests and fallback tags are left out."""
        found = re.findall(rf'"PUT /v2/{re.escape(repository)}/manifests/(\S+) HTTP', self.log.read_text())
        return [name for name in found if not name.startswith("sha256")]


@pytest.fixture(scope="session")
def logged_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoggedRegistry]:
    with _registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@dataclass(frozen=True)
class TlsRegistry(LoggedRegistry):
    """One whose certificate nobody knows, for the name `registry.test` and this machine."""

    authority: Path
    """The certificate of its authority."""

    @property
    def name(self) -> str:
        """What a pod calls it."""
        return f"registry.test:{self.host.rpartition(':')[2]}"


@pytest.fixture(scope="session")
def tls_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRegistry]:
    folder = tmp_path_factory.mktemp("tls")
    make = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30"
    names = "subjectAltName=DNS:registry.test,IP:127.0.0.1"
    leaf = f"-addext {names} -addext basicConstraints=CA:FALSE -CA ca.crt -CAkey ca.key"
    for argv in (
        f"{make} -subj /CN=tests -keyout ca.key -out ca.crt",
        f"{make} -subj /CN=registry.test {leaf} -keyout tls.key -out tls.crt",
    ):
        subprocess.run(["openssl", *argv.split()], cwd=folder, check=True, capture_output=True)
    tls = f", tls: {{certificate: {folder / 'tls.crt'}, key: {folder / 'tls.key'}}}"
    with _registry(folder, tls) as registry:
        yield TlsRegistry(host=registry.host, log=registry.log, authority=folder / "ca.crt")


@contextmanager
def _registry(folder: Path, tls: str = "") -> Iterator[LoggedRegistry]:
    if shutil.which("docker-registry") is None:
        missing = "docker-registry is not on PATH; run scripts/services install"
        (pytest.fail if os.environ.get("RUNTIMEIMG_REQUIRE_SERVICES") else pytest.skip)(missing)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
    config = folder / "config.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: info}}\nhttp: {{addr: {host}{tls}}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder / 'data'}}}, delete: {{enabled: true}}}}\n"
    )
    log = folder / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(["docker-registry", "serve", config], stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait(f"{'https' if tls else 'http'}://{host}/v2/")
        yield LoggedRegistry(host=host, log=log)
    finally:
        server.terminate()
        server.wait(30)


def _wait(url: str) -> None:
    unverified = ssl.create_default_context()
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    opener = build_opener(ProxyHandler({}), HTTPSHandler(context=unverified))
    for _ in range(100):
        try:
            opener.open(url, timeout=5).close()
        except (URLError, OSError):
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"{url} does not answer")


def _build(dockerfile: Path | str, name: str, context: Path) -> str:
    source = dockerfile.encode() if isinstance(dockerfile, str) else dockerfile.read_bytes()
    built = subprocess.run(
        ["docker", "build", "--network=host", f"--tag={name}", "--file=-", str(context)],
        input=source,
        capture_output=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout[-4000:] + built.stderr[-4000:]
    return name


@pytest.fixture(scope="session")
def tool_image() -> str:
    """The tool's own image, built from this checkout."""
    return _build(ROOT / "Dockerfile", f"{PREFIX}/runtimeimg:1", ROOT)


@pytest.fixture(scope="session")
def buildah_image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image with Debian's buildah, in place of the one that strategies name."""
    text = (
        "FROM debian:bookworm-slim\n"
        "RUN apt-get update && apt-get install -y --no-install-recommends buildah ca-certificates"
        " && rm -rf /var/lib/apt/lists/*\n"
    )
    return _build(text, f"{PREFIX}/buildah:1", tmp_path_factory.mktemp("empty"))


@pytest.fixture(scope="session")
def web_images(logged_registry: LoggedRegistry, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A builder image with a small HTTP server in it, and a base: their names in the registry."""
    folder = tmp_path_factory.mktemp("web")
    shutil.copy("/bin/busybox", folder / "busybox")
    (folder / "index.html").write_text("it answers\n")
    builder, base = f"{logged_registry.host}/web-build:1", f"{logged_registry.host}/small-base:1"
    base_text = 'FROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\nENV PATH=/bin\nCMD ["/bin/sh"]\n'
    builder_text = (
        base_text + "COPY index.html /src/www/index.html\nCOPY busybox /src/fat/one\nCOPY busybox /src/fat/two\n"
    )
    for text, name in ((base_text, base), (builder_text, builder)):
        (folder / "Dockerfile").write_text(text)
        subprocess.run(["docker", "build", "-q", f"--tag={name}", str(folder)], check=True, capture_output=True)
        subprocess.run(["docker", "push", "-q", name], check=True, capture_output=True)
        subprocess.run(["docker", "rmi", name], check=True, capture_output=True)
    return builder, base


@pytest.fixture(scope="session")
def platform_images(logged_registry: LoggedRegistry, web_images: tuple[str, str]) -> tuple[str, str]:
    """The same two as indexes: the builder's for amd64 and arm64, the base's for one more."""
    names = []
    for name, others in zip(web_images, (("arm64",), ("arm64", "s390x")), strict=True):
        found = open_image(Location.parse(f"docker://{name}"), StoreOptions())
        assert isinstance(found, Image)
        images = [found, *(found.with_config(found.config.evolve(architecture=item)) for item in others)]
        manifests = {image.to_manifest().digest: replace(image, manifest=image.to_manifest()) for image in images}
        entries = [replace(image.manifest.descriptor, platform=image.platform) for image in manifests.values()]
        index = ImageIndex(index=Index.of(entries), open_manifest=lambda entry, there=manifests: there[entry.digest])
        several = Location.parse(f"docker://{name.removesuffix(':1')}:several")
        open_destination(several, StoreOptions()).write(index)
        names.append(str(several).removeprefix("docker://"))
    return names[0], names[1]
