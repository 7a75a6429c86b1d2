"""OCI values and documents: what is parsed, refused, matched, and kept byte for byte."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimeimg.errors import InvalidDocumentError, UsageError
from runtimeimg.oci import (
    Descriptor,
    Digest,
    ImageConfig,
    Index,
    Location,
    Manifest,
    Platform,
    Reference,
    parse_manifest,
)
from runtimeimg.oci.mediatypes import DOCKER_LAYER_GZIP, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, layer_compression

HEX = "a" * 64


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("debian", "docker.io/library/debian", "debian"),
        ("debian:bookworm-slim", "docker.io/library/debian:bookworm-slim", "debian:bookworm-slim"),
        ("team/web:1", "docker.io/team/web:1", "team/web:1"),
        ("index.docker.io/library/debian", "docker.io/library/debian", "debian"),
        ("localhost/web", "localhost/web", "localhost/web"),
        ("127.0.0.1:5000/a/b:1", "127.0.0.1:5000/a/b:1", "127.0.0.1:5000/a/b:1"),
        ("[::1]:5000/a", "[::1]:5000/a", "[::1]:5000/a"),
        (f"web@sha256:{HEX}", f"docker.io/library/web@sha256:{HEX}", f"web@sha256:{HEX}"),
        (f"web:1@sha256:{HEX}", f"docker.io/library/web:1@sha256:{HEX}", f"web:1@sha256:{HEX}"),
        ("a__b/c---d", "docker.io/a__b/c---d", "a__b/c---d"),
    ],
)
def test_names_are_read_as_docker_reads_them(text: str, full: str, familiar: str) -> None:
    reference = Reference.parse(text)
    assert str(reference) == full
    assert reference.familiar == familiar
    assert Reference.parse(full) == reference


@pytest.mark.parametrize(
    "text",
    [
        *("", "Web", "a b", "a\nb", "web:", "web:-x", "web:" + "x" * 129, "web@sha256:abc", "-web", "a//b", "/a", "a/"),
        *("..", "web\n", "a/../b", "x" * 256, "é", "web:1:2", "--platform=x", "host.example:port/x"),
    ],
)
def test_bad_names_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Reference.parse(text)


@pytest.mark.parametrize(
    ("text", "transport", "shown"),
    [
        ("web:1", None, "web:1"),
        ("docker:24", None, "docker:24"),
        ("docker://registry.example/web:1", "docker", "docker://registry.example/web:1"),
        ("docker-daemon:web:1", "docker-daemon", "docker-daemon:web:1"),
        (f"docker-daemon:sha256:{HEX}", "docker-daemon", f"docker-daemon:sha256:{HEX}"),
        ("oci:/tmp/x:1", "oci", "oci:/tmp/x:1"),
        ("oci:./web.oci", "oci", "oci:./web.oci"),
        ("oci-archive:web.tar:1", "oci-archive", "oci-archive:web.tar:1"),
        ("docker-archive:web.tar:web:1", "docker-archive", "docker-archive:web.tar:web:1"),
        ("dir:/srv/root", "dir", "dir:/srv/root"),
    ],
)
def test_transports(text: str, transport: str | None, shown: str) -> None:
    location = Location.parse(text)
    assert (location.transport, str(location)) == (transport, shown)


@pytest.mark.parametrize(
    "text", ["oci:", "dir:", "docker://", "docker://Web", "docker-daemon:", "oci::tag", "ftp:x:y:z"]
)
def test_bad_locations_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Location.parse(text)


@pytest.mark.parametrize(
    ("there", "wanted", "same"),
    [
        ("linux/amd64", "amd64", True),
        ("linux/arm64", "linux/arm64/v8", True),
        ("linux/arm/v7", "linux/arm", True),
        ("linux/arm/v6", "linux/arm", False),
        ("linux/amd64/v3", "linux/amd64", False),
        ("windows/amd64", "linux/amd64", False),
        ("linux/x86_64", "linux/amd64", True),
    ],
)
def test_platforms_match_with_their_default_variants(there: str, wanted: str, same: bool) -> None:
    assert Platform.parse(there).matches(Platform.parse(wanted)) is same


@pytest.mark.parametrize("text", ["", "linux/", "a/b/c/d", "/amd64", "linux(/amd64", "linux()x/amd64", "(1)/amd64"])
def test_bad_platforms_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Platform.parse(text)


def test_unknown_fields_survive_a_change() -> None:
    raw = b'{"architecture":"amd64","os":"linux","x-own":{"a":[1,2]},"config":{"Env":["A=b"],"Own":7}}'
    config = ImageConfig(raw, "application/vnd.oci.image.config.v1+json")
    assert config.digest == Digest.of(raw)
    changed = config.with_config(User="app")
    assert json.loads(changed.raw) == {**json.loads(raw), "config": {"Env": ["A=b"], "Own": 7, "User": "app"}}
    assert config.raw == raw
    assert changed.env == {"A": "b"}


def test_a_descriptor_keeps_what_it_does_not_know() -> None:
    data = {
        "mediaType": OCI_MANIFEST,
        "digest": f"sha256:{HEX}",
        "size": 7,
        "annotations": {"a": "b"},
        "platform": {"architecture": "arm64", "os": "linux", "variant": "v8"},
        "urls": ["https://example.com"],
        "artifactType": "x/y",
    }
    assert Descriptor.from_json(data).to_json() == data


@pytest.mark.parametrize(
    "platform",
    [
        {"architecture": "amd64", "os": "linux", "features": ["sse4"]},
        {"architecture": "amd64", "os": "linux", "os.features": ["erofs", "x"]},
        {"architecture": "amd64"},
        {"os": "linux", "os.version": "1"},
        {},
    ],
)
def test_a_descriptor_keeps_the_platform_that_it_was_given(platform: dict[str, object]) -> None:
    data = {"mediaType": OCI_MANIFEST, "digest": f"sha256:{HEX}", "size": 7, "platform": platform}
    assert Descriptor.from_json(data).to_json() == data


def test_both_spellings_of_annotations_are_read_and_the_right_one_is_written() -> None:
    data = {"mediaType": OCI_MANIFEST, "digest": f"sha256:{HEX}", "size": 7, "annotation": {"a": "1", "b": "1"}}
    found = Descriptor.from_json({**data, "annotations": {"b": "2"}})
    assert dict(found.annotations) == {"a": "1", "b": "2"}
    assert "annotation" not in found.to_json()
    assert found.to_json()["annotations"] == {"a": "1", "b": "2"}
    assert Descriptor.from_json({**data, "annotation": 7}).extra == {"annotation": 7}


@pytest.mark.parametrize(
    "text",
    ["windows(10.0.20348.1)/amd64", "linux(+erofs)/amd64/v3", "windows(10.0.1+win32k)/amd64", "linux(+a+b)/arm64/v8"],
)
def test_a_platform_is_spelt_with_version_and_features_as_containerd_does(text: str) -> None:
    assert Platform.parse(text).full == text


@pytest.mark.parametrize(
    "change",
    [
        {"size": -1},
        {"size": "7"},
        {"size": True},
        {"digest": "sha256:x"},
        {"digest": "md5:" + "a" * 32},
        {"digest": f"sha256:{HEX}\n"},
        {"mediaType": None},
        {"annotations": {"a": 1}},
        {"platform": {"os": 1, "architecture": "x"}},
        {"platform": {"os": "a", "architecture": "x", "os.features": [1]}},
    ],
)
def test_bad_descriptors_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(InvalidDocumentError):
        Descriptor.from_json({"mediaType": OCI_MANIFEST, "digest": f"sha256:{HEX}", "size": 7, **change})


def test_manifests_are_told_apart() -> None:
    assert isinstance(parse_manifest(b'{"schemaVersion":2,"manifests":[]}'), Index)
    assert isinstance(parse_manifest(b'{"schemaVersion":2,"config":{}}'), Manifest)
    assert parse_manifest(b'{"mediaType":"%s"}' % DOCKER_MANIFEST.encode()).media_type == DOCKER_MANIFEST
    with pytest.raises(InvalidDocumentError, match="given as"):
        parse_manifest(b'{"mediaType":"%s"}' % DOCKER_MANIFEST.encode(), OCI_INDEX)
    with pytest.raises(InvalidDocumentError, match="not supported"):
        parse_manifest(b"{}", "application/vnd.docker.distribution.manifest.v1+prettyjws")


@given(st.binary(max_size=300) | st.text().map(str.encode))
def test_garbage_is_an_invalid_document(raw: bytes) -> None:
    for read in (lambda: parse_manifest(raw).data, lambda: ImageConfig(raw, "x").diff_ids):
        try:
            read()
        except InvalidDocumentError:
            continue
        assert raw.lstrip().startswith(b"{")


def test_deep_documents_are_refused() -> None:
    with pytest.raises(InvalidDocumentError):
        parse_manifest(b'{"a":' * 100_000)


def test_layer_media_types() -> None:
    assert layer_compression(DOCKER_LAYER_GZIP) == "gzip"
    assert layer_compression("application/vnd.oci.image.layer.v1.tar+zstd") == "zstd"
    with pytest.raises(InvalidDocumentError):
        layer_compression("application/vnd.in-toto+json")


THIS_MACHINE = ["localhost", "localhost:5000", "ip6-localhost", "LOCALHOST:5000", "127.0.0.1", "[::1]:5000"]


@pytest.mark.parametrize("host", THIS_MACHINE)
def test_a_name_of_this_machine_is_a_registry(host: str) -> None:
    found = Location.parse(f"docker://{host}/web:1").reference
    assert found is not None
    assert (found.registry, found.repository, found.tag) == (host, "web", "1")


@pytest.mark.parametrize("host", ["localhost", "localhost:5000", "ip6-localhost/"])
def test_a_registry_alone_is_no_image(host: str) -> None:
    with pytest.raises(UsageError, match="names a registry and nothing in it"):
        Location.parse(f"docker://{host}")


def test_a_loopback_host_with_a_bad_port_is_refused() -> None:
    with pytest.raises(UsageError, match="is not valid"):
        Location.parse("docker://localhost:port/web")
