"""Registries as pods find them: without TLS, with a certificate of nobody's, with an authority of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from conftest import TlsRegistry
from tekton import Pod
from test_playing import PUSHED, Stage, amendment, buildah, stage, strategy  # noqa: F401 - fixtures

from runtimeimg.errors import (
    AuthError,
    CertificateError,
    InvalidDocumentError,
    NoTlsError,
    RuntimeimgError,
    UsageError,
)
from runtimeimg.image import Image
from runtimeimg.oci import Location
from runtimeimg.step import advise
from runtimeimg.step.results import reason
from runtimeimg.step.trust import ca_file
from runtimeimg.stores import StoreOptions, open_image
from runtimeimg.strategy import Amendment, cluster_strategy, task
from runtimeimg.strategy.parameters import Naming
from runtimeimg.strategy.steps import CA_VOLUME

HOSTS = ("registry.test", "plain.test")


def renamed(name: str) -> str:
    """Return an image of the tests' plain registry under a name that does not tell that it is this machine's."""
    return name.replace("127.0.0.1", "plain.test")


@pytest.fixture
def away(stage: Stage, tls_registry: TlsRegistry) -> Stage:  # noqa: F811
    """A stage whose images are in one registry without TLS, and whose result goes to another with TLS."""
    return replace(stage, registry=tls_registry, builder=renamed(stage.builder), base=renamed(stage.base))


def values(away: Stage, **others: str) -> dict[str, Any]:
    assert isinstance(away.registry, TlsRegistry)
    plain = away.base.partition("/")[0]
    return away.system_parameters() | {
        "shp-output-image": f"{away.registry.name}/{away.repository}:1",
        "shp-output-insecure": "false",
        "runtime-insecure-registries": plain,
        **others,
    }


def image_in(away: Stage) -> Image:
    assert isinstance(away.registry, TlsRegistry)
    found = open_image(Location.parse(f"docker://{away.name}"), StoreOptions(ca_file=away.registry.authority))
    assert isinstance(found, Image)
    return found


def certificates(away: Stage) -> Path:
    """Return a folder as a ConfigMap is mounted: links through a hidden folder."""
    assert isinstance(away.registry, TlsRegistry)
    folder = away.folder / "certificates"
    (folder / "..2026").mkdir(parents=True)
    (folder / "..data").symlink_to("..2026")
    (folder / "..2026" / "our-ca").write_bytes(away.registry.authority.read_bytes())
    (folder / "our-ca").symlink_to("..data/our-ca")
    return folder


def play(away: Stage, document: dict[str, Any], parameters: dict[str, Any], **options: Any) -> tuple[int, Pod]:
    pod = Pod(folder=away.folder / "pod", parameters=parameters, hosts=HOSTS, **options)
    return pod.run(document), pod


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.openssl
@pytest.mark.parametrize("trust", ["insecure", "authority"])
def test_a_registry_of_unknown_certificate_and_a_second_one_without_tls(
    away: Stage,
    amendment: Amendment,  # noqa: F811
    trust: str,
) -> None:
    document = strategy(away, PUSHED, replace(amendment, spec=away.spec(), redirect=True))
    parameters = values(away, **({"shp-output-insecure": "true"} if trust == "insecure" else {}))
    volumes = {CA_VOLUME: certificates(away)} if trust == "authority" else {}
    code, pod = play(away, document, parameters, volumes=volumes)
    assert code == 0, pod.logs
    assert away.registry.pushes(away.repository) == ["1-builder", "1"]
    assert pod.result("shp-image-digest") == image_in(away).to_manifest().digest
    assert image_in(away).config.strings("Entrypoint") == tuple(away.runtime()["entrypoint"])


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.openssl
def test_the_task_takes_its_authorities_from_a_workspace(away: Stage) -> None:
    assert isinstance(away.registry, TlsRegistry)
    name = f"{away.registry.name}/{away.repository}:1"
    parameters = {"IMAGE": name, "SPEC": away.spec(), "BUILDER_IMAGE": away.builder}
    parameters["INSECURE_REGISTRIES"] = f" {away.base.partition('/')[0]} ,other.test"
    document = yaml.safe_load(task(image=away.tool))
    code, pod = play(away, document, parameters, volumes={"ca-bundle": certificates(away)})
    assert code == 0, pod.logs
    assert pod.result("IMAGE_DIGEST") == image_in(away).to_manifest().digest
    code, pod = play(replace(away, folder=away.folder / "without"), document, parameters)
    assert code == 5, pod.logs
    assert "the workspace ca-bundle" in pod.logs[-1]
    assert "the parameter INSECURE, or name it in the parameter INSECURE_REGISTRIES" in pod.logs[-1]


WRONG = {
    "unknown certificate": ({}, "RuntimeRegistryUntrusted", f"ConfigMap or Secret for the volume {CA_VOLUME}"),
    "no TLS": (
        {"runtime-insecure-registries": ""},
        "RuntimeRegistryWithoutTLS",
        "name it in the parameter runtime-insecure-registries",
    ),
}


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.openssl
@pytest.mark.parametrize("name", WRONG)
def test_what_is_not_trusted_ends_with_a_reason_and_what_to_do_in_a_pod(away: Stage, name: str) -> None:
    others, word, hint = WRONG[name]
    document = yaml.safe_load(cluster_strategy(image=away.tool, managed=False))
    given = {"runtime-spec": away.spec(), "runtime-builder-image": away.builder}
    code, pod = play(away, document, values(away, **given, **others))
    assert code == 5, pod.logs
    assert pod.result("shp-error-reason") == word
    message = str(pod.result("shp-error-message"))
    assert hint in message
    assert "spec.output.insecure" in message
    assert " --" not in message
    assert away.registry.pushes(away.repository) == []


class Locked(BaseHTTPRequestHandler):
    """A registry that lets nobody in."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="tests"')
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def locked() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Locked)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.openssl
def test_a_refused_login_names_the_secrets_of_a_cluster(away: Stage, locked: str) -> None:
    document = yaml.safe_load(cluster_strategy(image=away.tool, managed=False))
    given = {"runtime-spec": away.spec(), "runtime-builder-image": f"{locked}/web:1"}
    code, pod = play(away, document, values(away, **given))
    assert code == 5, pod.logs
    assert pod.result("shp-error-reason") == "RuntimeRegistryLoginRefused"
    message = str(pod.result("shp-error-message"))
    assert "spec.output.pushSecret" in message
    assert "ServiceAccount" in message
    assert "docker login" not in message + pod.logs[-1]


HINTS: list[tuple[RuntimeimgError, bool, str | None]] = [
    (AuthError("x", hint="log in: docker login h"), False, "spec.output.pushSecret where it is the output's"),
    (AuthError("x"), True, "a Secret of its ServiceAccount"),
    (NoTlsError("x", hint="pass --plain-http h if you trust it"), False, "spec.output.insecure"),
    (NoTlsError("x"), True, "the parameter INSECURE"),
    (CertificateError("x"), False, "volume runtime-image-ca"),
    (
        UsageError("x", hint="pass --builder docker, buildkit or buildah, or drop the command"),
        False,
        "drop the command",
    ),
    (UsageError("x", hint="they share linux/amd64, linux/arm64"), False, "they share linux/amd64, linux/arm64"),
    (UsageError("x", hint="pass --builder docker"), False, None),
    (UsageError("x", hint="write source:destination"), False, "write source:destination"),
]


@pytest.mark.parametrize(("error", "upper", "hint"), HINTS)
def test_hints_speak_of_the_pod(error: RuntimeimgError, upper: bool, hint: str | None) -> None:
    advise(error, Naming(upper=upper))
    assert (error.hint is None) == (hint is None)
    assert (hint or "") in (error.hint or "")
    assert "--" not in (error.hint or "")
    assert "buildkit" not in (error.hint or "")
    assert "docker" not in (error.hint or "").replace("dockerconfigjson", "")


def test_reasons_of_tls() -> None:
    assert reason(NoTlsError("x")) == "RuntimeRegistryWithoutTLS"
    assert reason(CertificateError("x")) == "RuntimeRegistryUntrusted"


@pytest.mark.openssl
def test_a_bundle_is_what_the_keys_of_a_configmap_hold(tmp_path: Path, tls_registry: TlsRegistry) -> None:
    folder, scratch = tmp_path / "ca", tmp_path / "scratch"
    scratch.mkdir()
    assert ca_file(folder, scratch) is None
    folder.mkdir()
    assert ca_file(folder, scratch) is None  # an emptyDir
    (folder / "tls.key").write_text("-----BEGIN PRIVATE KEY-----\n")
    with pytest.raises(InvalidDocumentError, match=r"no certificate in PEM in the keys tls\.key"):
        ca_file(folder, scratch)
    pem = tls_registry.authority.read_text()
    for name in ("a", "b.crt"):
        (folder / name).write_text(pem)
    whole = ca_file(folder, scratch)
    assert whole is not None
    assert whole.read_text().count("BEGIN CERTIFICATE") == 2
    assert "PRIVATE" not in whole.read_text()
    (folder / "c").write_text("-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n")
    with pytest.raises(InvalidDocumentError, match="certificate in the key 'c' cannot be read"):
        ca_file(folder, scratch)
