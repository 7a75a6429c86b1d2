"""Provenance as an artifact whose subject is the image, in registries with and without the referrers API."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from conftest import LoggedRegistry

from runtimeimg.errors import InvalidDocumentError
from runtimeimg.oci import Descriptor, Digest, Reference
from runtimeimg.oci.mediatypes import OCI_INDEX, OCI_MANIFEST
from runtimeimg.plan import Facts, resolve
from runtimeimg.provenance import ARTIFACT_TYPE, Provenance, plan_to_json, push, read
from runtimeimg.spec import load_spec_text
from runtimeimg.stores import StoreOptions

SPEC = b"""
apiVersion: runtimeimg.dev/v1
kind: Build
spec:
  builder: {image: "registry.example.com/b:1"}
  runtime:
    base: {image: debian:bookworm-slim}
    env: {PATH: "/app/bin:$PATH"}
    directories: [/app]
    expose: [8080]
"""
SUBJECT = Descriptor(media_type=OCI_MANIFEST, digest=Digest.of(b"image"), size=5)


class Referring(BaseHTTPRequestHandler):
    """A registry in memory that knows the referrers API (distribution-spec 1.1)."""

    blobs: dict[str, bytes]
    manifests: dict[str, bytes]
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self._answer(202, Location=f"{urlsplit(self.path).path}one")

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path = urlsplit(self.path)
        digest = Digest.of(body)
        if "/blobs/uploads/" in path.path:
            assert parse_qs(path.query)["digest"] == [digest]
            self.blobs[digest] = body
            self._answer(201, Docker_Content_Digest=digest)
            return
        self.manifests[digest] = body
        subject = json.loads(body).get("subject")
        self._answer(201, Docker_Content_Digest=digest, **({"OCI_Subject": subject["digest"]} if subject else {}))

    def do_GET(self) -> None:
        kind, name = self.path.split("/")[-2:]
        if kind == "referrers":
            entries = [
                Descriptor(
                    media_type=OCI_MANIFEST,
                    digest=Digest.parse(digest),
                    size=len(raw),
                    extra={"artifactType": json.loads(raw)["artifactType"]},
                ).to_json()
                for digest, raw in self.manifests.items()
                if json.loads(raw).get("subject", {}).get("digest") == name
            ]
            index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
            self._answer(200, json.dumps(index).encode(), Content_Type=OCI_INDEX)
        elif kind == "manifests" and name in self.manifests:
            self._answer(200, self.manifests[name], Content_Type=OCI_MANIFEST)
        elif kind == "blobs" and name in self.blobs:
            self._answer(200, self.blobs[name])
        else:
            self._answer(404)


@pytest.fixture
def referring() -> Iterator[str]:
    handler = type("Handler", (Referring,), {"blobs": {}, "manifests": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def provenance(text: str = "FROM debian\n") -> Provenance:
    plan = resolve(load_spec_text(SPEC).spec, Facts())
    digests = {"debian:bookworm-slim": Digest.of(b"base"), "registry.example.com/b:1": Digest.of(b"builder")}
    return Provenance(dockerfile=text, plan=plan_to_json(plan, digests))


def test_a_plan_as_json_names_the_images_by_digest() -> None:
    plan = provenance().plan
    assert plan["images"] == [
        {"name": "debian:bookworm-slim", "digest": Digest.of(b"base")},
        {"name": "registry.example.com/b:1", "digest": Digest.of(b"builder")},
    ]
    assert plan["env"][0]["value"] == ["/app/bin:", {"name": "PATH", "operator": "", "word": []}]
    assert plan["graph"]["expose"][0]["port"] == 8080
    assert json.loads(json.dumps(plan)) == plan


def test_with_the_referrers_api_no_tag_is_made(referring: str) -> None:
    reference = Reference.parse(f"{referring}/web:1")
    options = StoreOptions()
    assert read(reference, SUBJECT.digest, options) is None
    entry = push(reference, SUBJECT, provenance(), options)
    assert entry.extra == {"artifactType": ARTIFACT_TYPE}
    assert read(reference, SUBJECT.digest, options) == provenance()
    assert read(reference, Digest.of(b"other"), options) is None


@pytest.mark.slow
@pytest.mark.skopeo
def test_without_it_the_fallback_tag_lists_each_once(logged_registry: LoggedRegistry) -> None:
    reference = Reference.parse(f"{logged_registry.host}/provenance/web:1")
    options = StoreOptions()
    assert read(reference, SUBJECT.digest, options) is None
    for text in ("FROM one\n", "FROM two\n", "FROM two\n"):
        push(reference, SUBJECT, provenance(text), options)
    assert read(reference, SUBJECT.digest, options) == provenance("FROM two\n")
    tag = f"sha256-{SUBJECT.digest.encoded}"
    raw = subprocess.run(
        ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{reference.name}:{tag}"],
        check=True,
        capture_output=True,
    ).stdout
    assert [item["artifactType"] for item in json.loads(raw)["manifests"]] == [ARTIFACT_TYPE] * 2


def test_a_hostile_artifact_is_refused(referring: str) -> None:
    reference = Reference.parse(f"{referring}/web:1")
    push(reference, SUBJECT, Provenance(dockerfile="x" * (1024 * 1024 + 1), plan={}), StoreOptions())
    with pytest.raises(InvalidDocumentError, match="holds a file of"):
        read(reference, SUBJECT.digest, StoreOptions())


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.skopeo
def test_inspect_shows_the_provenance(logged_registry: LoggedRegistry, web_images: tuple[str, str]) -> None:
    builder, _ = web_images
    shown = [sys.executable, "-m", "runtimeimg", "inspect", f"docker://{builder}", "--provenance"]
    none = subprocess.run(shown, capture_output=True, text=True, check=False)
    assert (none.returncode, none.stderr) == (
        3,
        f"runtimeimg: image 'docker://{builder}' has no provenance in its registry\n",
    )
    digest = subprocess.run(
        ["skopeo", "inspect", "--format={{.Digest}}", "--tls-verify=false", f"docker://{builder}"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    subject = Descriptor(media_type=OCI_MANIFEST, digest=Digest.parse(digest), size=1)
    push(Reference.parse(builder), subject, provenance("FROM x\n"), StoreOptions())
    text = subprocess.run(shown, capture_output=True, text=True, check=True).stdout
    assert text.splitlines()[-1] == "FROM x"
    assert f'# "debian:bookworm-slim" is {Digest.of(b"base")}' in text
    document = json.loads(subprocess.run([*shown, "--format=json"], capture_output=True, check=True).stdout)
    assert document == provenance("FROM x\n").to_json()
