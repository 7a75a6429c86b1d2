"""Round trips through a real registry."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace

import pytest
from made import attestation, contents_of, digests, docker_schema2, image, index, layer, read, read_image, write
from misbehaving import FaultyRegistry, Forward, Header, Status

from runtimeimg.errors import IntegrityError, InvalidDocumentError, NotFoundError, RemoteError, UsageError
from runtimeimg.image import Image, ImageIndex, Origin, choose_platform
from runtimeimg.oci import Descriptor, Digest, Manifest, Platform, Reference
from runtimeimg.stores import StoreOptions
from runtimeimg.stores.registry.address import Address

pytestmark = pytest.mark.registry


def test_what_is_written_is_read(own_registry: str, repository: str) -> None:
    made = image(1)
    options = StoreOptions()
    written = write(f"docker://{own_registry}/{repository}:1", made, options)
    assert written.descriptor is not None
    assert written.descriptor.digest == made.to_manifest().digest
    assert options.account.uploaded_bytes == sum(
        [item.descriptor.size for item in made.layers], start=len(made.config.raw)
    )

    options = StoreOptions()
    found = read_image(f"docker://{own_registry}/{repository}:1", options)
    assert found.to_manifest().raw == made.to_manifest().raw
    assert found.config.raw == made.config.raw
    assert contents_of(found) == digests([item.descriptor for item in made.layers])
    assert options.account.downloaded_bytes == sum(
        [item.descriptor.size for item in made.layers], start=len(made.config.raw)
    )
    assert found.layers[0].origin == Origin(store="registry", place=f"{own_registry}/{repository}")
    by_digest = read_image(f"docker://{own_registry}/{repository}@{written.descriptor.digest}")
    assert by_digest.to_manifest().raw == made.to_manifest().raw


def test_what_is_there_is_not_sent_again(own_registry: str, repository: str) -> None:
    write(f"docker://{own_registry}/{repository}:1", image(2))
    options = StoreOptions()
    write(f"docker://{own_registry}/{repository}:2", image(2), options)
    assert (options.account.uploaded_bytes, options.account.existing_blobs) == (0, 3)


def test_layers_of_another_repository_are_mounted(
    own_registry: str, repository: str, faulty: Callable[..., FaultyRegistry]
) -> None:
    made = image(3)
    proxy = faulty()
    write(f"docker://{proxy.address}/{repository}/a:1", made)
    proxy.log.clear()
    options = StoreOptions()
    write(
        f"docker://{proxy.address}/{repository}/b:1", read_image(f"docker://{proxy.address}/{repository}/a:1"), options
    )
    assert options.account.mounted_bytes == sum(item.descriptor.size for item in made.layers)
    assert options.account.uploaded_bytes == len(made.config.raw)
    assert len(proxy.seen("POST", r"mount=")) == 2
    assert not proxy.seen("GET", r"/blobs/" + made.layers[0].descriptor.digest)


@pytest.mark.parametrize(
    "refusal",
    [
        Forward(path=lambda path: path.partition("?")[0]),
        Status(code=405, body=b'{"errors": [{"code": "UNSUPPORTED"}]}'),
        Status(code=403, body=b'{"errors": [{"code": "DENIED"}]}'),
        Status(code=404),
    ],
    ids=["upload begun instead", "405", "403", "404"],
)
def test_a_refused_mount_becomes_an_upload(
    repository: str, faulty: Callable[..., FaultyRegistry], refusal: Status | Forward
) -> None:
    proxy = faulty()
    write(f"docker://{proxy.address}/{repository}/a:1", image(4))
    source = read_image(f"docker://{proxy.address}/{repository}/a:1")
    proxy.rule("POST", "mount=", refusal, times=2)
    options = StoreOptions()
    write(f"docker://{proxy.address}/{repository}/b:1", source, options)
    assert options.account.mounted_bytes == 0
    assert options.account.uploaded_bytes == sum(
        [item.descriptor.size for item in source.layers], start=len(source.config.raw)
    )
    assert contents_of(read_image(f"docker://{proxy.address}/{repository}/b:1")) == digests(
        [item.descriptor for item in source.layers]
    )


def test_index_keeps_its_bytes_and_its_attestation(own_registry: str, repository: str) -> None:
    made = index(image(5), image(6, arch="arm64"))
    written = write(f"docker://{own_registry}/{repository}:all", made)
    assert written.descriptor is not None
    assert written.descriptor.digest == made.index.digest
    found = read(f"docker://{own_registry}/{repository}:all")
    assert isinstance(found, ImageIndex)
    assert found.index.raw == made.index.raw
    arm = choose_platform(found, Platform.parse("linux/arm64"))
    assert contents_of(arm) == digests([item.descriptor for item in image(6).layers])
    with pytest.raises(NotFoundError, match="nothing for linux/s390x") as caught:
        choose_platform(found, Platform.parse("linux/s390x"))
    assert caught.value.hint == "it holds linux/amd64, linux/arm64"


def test_schema_2_keeps_its_bytes(own_registry: str, repository: str) -> None:
    made = docker_schema2(image(7))
    write(f"docker://{own_registry}/{repository}:1", made)
    found = read_image(f"docker://{own_registry}/{repository}:1")
    assert found.to_manifest().raw == made.to_manifest().raw
    assert found.to_manifest().media_type == "application/vnd.docker.distribution.manifest.v2+json"
    changed = found.with_config(found.config.with_config(User="app"))
    write(f"docker://{own_registry}/{repository}:2", changed)
    again = read_image(f"docker://{own_registry}/{repository}:2")
    assert again.to_manifest().media_type == "application/vnd.oci.image.manifest.v1+json"
    assert {item.descriptor.media_type for item in again.layers} == {"application/vnd.oci.image.layer.v1.tar+gzip"}


def test_artifact_is_no_image(own_registry: str, repository: str) -> None:
    write(f"docker://{own_registry}/{repository}:1", attestation())
    with pytest.raises(UsageError, match="is no image but an artifact"):
        read(f"docker://{own_registry}/{repository}:1")


def test_missing_image(own_registry: str, repository: str) -> None:
    with pytest.raises(NotFoundError, match=f"'docker://{own_registry}/{repository}:none' does not exist"):
        read(f"docker://{own_registry}/{repository}:none")


def test_schema_1_is_refused(repository: str, faulty: Callable[..., FaultyRegistry]) -> None:
    proxy = faulty()
    body = json.dumps({"schemaVersion": 1, "name": "old", "fsLayers": []}).encode()
    headers = {"Content-Type": "application/vnd.docker.distribution.manifest.v1+prettyjws"}
    proxy.rule("GET", "/manifests/", Status(code=200, headers=headers, body=body))
    with pytest.raises(InvalidDocumentError, match="schema 1") as caught:
        read(f"docker://{proxy.address}/{repository}:1")
    assert caught.value.hint is not None


def test_digest_of_the_name_must_be_the_image_s(own_registry: str, repository: str) -> None:
    other = Digest.of(b"other")
    with pytest.raises(UsageError, match=r"cannot be written as .*: its digest is sha256:"):
        write(f"docker://{own_registry}/{repository}@{other}", image(8))


def test_child_that_is_not_what_the_index_says_is_refused(own_registry: str, repository: str) -> None:
    made = index(image(9), attested=False)
    with pytest.raises(IntegrityError, match="manifest of an index entry"):
        write(
            f"docker://{own_registry}/{repository}:1",
            ImageIndex(index=made.index, open_manifest=lambda _: image(10), name="mixed up"),
        )


def test_foreign_layers_stay_where_they_are(repository: str, faulty: Callable[..., FaultyRegistry]) -> None:
    proxy = faulty()
    base = image(11)
    foreign = replace(
        base.layers[0].descriptor,
        media_type="application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        extra={"urls": ["https://example.com/layer"]},
    )
    manifest = Manifest.of(config=base.config.descriptor, layers=[foreign, base.layers[1].descriptor])
    made = replace(base, manifest=manifest, layers=(replace(base.layers[0], descriptor=foreign), base.layers[1]))
    # The registry behind the proxy is not set up to take manifests with layers that are kept elsewhere.
    proxy.rule("PUT", "/manifests/", Status(code=201), times=2)
    options = StoreOptions()
    write(f"docker://{proxy.address}/{repository}:1", made, options)
    assert options.account.uploaded_bytes == base.layers[1].descriptor.size + len(base.config.raw)


@pytest.mark.skopeo
def test_skopeo_reads_what_was_pushed(own_registry: str, repository: str) -> None:
    made = image(12)
    write(f"docker://{own_registry}/{repository}:1", made)
    ran = subprocess.run(
        ["skopeo", "inspect", "--tls-verify=false", f"docker://{own_registry}/{repository}:1"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(ran.stdout)["Digest"] == made.to_manifest().digest
    assert json.loads(ran.stdout)["Layers"] == digests([item.descriptor for item in made.layers])


def test_where_the_api_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from runtimeimg.stores.registry.http import Http, find_base
    from runtimeimg.stores.registry.places import push_place

    options = StoreOptions(plain_http=frozenset({"registry.test:5000", "plain.test"}))
    speaks, asked = False, []

    def speaks_tls(_: Http, address: Address) -> bool:
        asked.append(address.host_port)
        return speaks

    monkeypatch.setattr(Http, "speaks_tls", speaks_tls)

    def base_url(registry: str) -> str:
        place = push_place(Reference.parse(f"{registry}/x"), options)
        return find_base(place, Http(place, options)).url

    assert base_url("registry.test:5000") == "http://registry.test:5000/"
    assert base_url("plain.test:81") == "http://plain.test:81/"
    assert base_url("other.test") == "https://other.test/"
    assert base_url("127.0.0.1.evil.test") == "https://127.0.0.1.evil.test/"
    assert base_url("docker.io") == "https://registry-1.docker.io/"
    assert asked == []
    assert base_url("127.0.0.1:5000") == "http://127.0.0.1:5000/"
    assert base_url("[::1]:5000") == "http://[::1]:5000/"
    assert base_url("localhost") == "http://localhost/"
    speaks = True
    assert base_url("127.0.0.1:5000") == "https://127.0.0.1:5000/"
    assert asked == ["127.0.0.1:5000", "[::1]:5000", "localhost", "127.0.0.1:5000"]


def test_proxies_come_from_the_environment() -> None:
    from runtimeimg.stores.registry.http import proxy_for

    environ = {
        "HTTPS_PROXY": "proxy.test:3128",
        "http_proxy": "http://plain.test",
        "NO_PROXY": ".in.test,10.0.0.0/8,x:81",
    }
    assert proxy_for("https", "registry.test", None, environ) == "http://proxy.test:3128"
    assert proxy_for("http", "registry.test", None, environ) == "http://plain.test"
    assert proxy_for("https", "127.0.0.1", 5000, environ) is None
    assert proxy_for("https", "a.in.test", None, environ) is None
    assert proxy_for("https", "10.1.2.3", None, environ) is None
    assert proxy_for("https", "x", 81, environ) is None
    assert proxy_for("https", "x", 82, environ) == "http://proxy.test:3128"
    assert proxy_for("http", "registry.test", None, {"HTTP_PROXY": "http://evil.test", "REQUEST_METHOD": "GET"}) is None


def test_a_layer_can_be_read_often_and_in_parts(own_registry: str, repository: str) -> None:
    made = image(13, size=300_000)
    write(f"docker://{own_registry}/{repository}:1", made)
    first = read_image(f"docker://{own_registry}/{repository}:1").layers[0]
    with first.open() as one, first.open() as two:
        assert one.read(10) == two.read(10)
        assert len(one.read()) == first.descriptor.size - 10
        two.close()  # with the rest unread
    with first.open() as three:
        assert Digest.of(three.read()) == first.descriptor.digest


def test_manifest_media_type_of_the_header_is_not_needed(
    repository: str, faulty: Callable[..., FaultyRegistry]
) -> None:
    proxy = faulty()
    write(f"docker://{proxy.address}/{repository}:1", image(14))
    proxy.rule("GET", "/manifests/", Header(name="Content-Type", value="application/json"))
    assert isinstance(read(f"docker://{proxy.address}/{repository}:1"), Image)


def test_huge_manifest_is_refused_before_it_is_read(repository: str, faulty: Callable[..., FaultyRegistry]) -> None:
    proxy = faulty()
    proxy.rule("GET", "/manifests/", Status(code=200, body=b" " * (9 << 20)))
    with pytest.raises(RemoteError, match="with more than"):
        read(f"docker://{proxy.address}/{repository}:1")


def test_config_and_layers_must_be_of_the_same_number(
    own_registry: str, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another tool wrote it: ours would not.
    monkeypatch.setattr("runtimeimg.stores.contents.require_whole", lambda _: None)
    base = image(15)
    manifest = Manifest.of(config=base.config.descriptor, layers=[base.layers[0].descriptor])
    write(f"docker://{own_registry}/{repository}:1", replace(base, manifest=manifest, layers=base.layers[:1]))
    with pytest.raises(InvalidDocumentError, match="its config names 2 layers, its manifest 1"):
        read(f"docker://{own_registry}/{repository}:1")


def test_two_layers_that_are_the_same_are_sent_once(own_registry: str, repository: str) -> None:
    one = layer(16)
    base = image(16)
    config = base.config.evolve(rootfs={"type": "layers", "diff_ids": [one.diff_id, one.diff_id]})
    options = StoreOptions()
    write(f"docker://{own_registry}/{repository}:1", Image(config=config, layers=(one, one)), options)
    assert options.account.uploaded_bytes == one.descriptor.size + len(config.raw)
    found = read_image(f"docker://{own_registry}/{repository}:1")
    assert contents_of(found) == [one.descriptor.digest] * 2


def test_blob_of_another_size_is_not_taken_for_the_right_one(
    repository: str, faulty: Callable[..., FaultyRegistry]
) -> None:
    proxy = faulty()
    made = image(17)
    wrong: Descriptor = replace(made.layers[0].descriptor, size=made.layers[0].descriptor.size + 1)
    write(f"docker://{proxy.address}/{repository}:1", made)
    manifest = Manifest.of(config=made.config.descriptor, layers=[wrong, made.layers[1].descriptor])
    found = read_image(f"docker://{proxy.address}/{repository}:1")
    odd = replace(found, manifest=manifest, layers=(replace(found.layers[0], descriptor=wrong), found.layers[1]))
    with pytest.raises(IntegrityError, match="bytes, not the"):
        write(f"docker://{proxy.address}/{repository}:2", odd)
    with pytest.raises(NotFoundError):
        read(f"docker://{proxy.address}/{repository}:2")
