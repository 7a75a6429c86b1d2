"""`index compat`: artifacts of a real registry, written, found, inherited and held against hosts."""

import json
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtimeimg import compat
from runtimeimg.image import Image
from runtimeimg.oci import Descriptor, Digest, Location, Manifest, Platform
from runtimeimg.selection.nfd.spec import ARTIFACT_TYPE, SPEC_TYPE
from runtimeimg.stores import StoreOptions
from runtimeimg.stores.artifacts import blob
from runtimeimg.stores.registry.referrers import RegistryArtifacts, fallback_tag
from tests.indexes.command import done, run
from tests.indexes.test_lint_command import listed
from tests.selection.test_compat import DOCUMENT
from tests.stores import made

pytestmark = pytest.mark.registry
NEEDS_AVX2 = """version: v1alpha1
compatibilities:
- rules:
  - name: avx2
    matchFeatures:
    - feature: cpu.cpuid
      matchExpressions:
        AVX2: {op: Exists}
"""
NEEDS_NEW_KERNEL = (
    NEEDS_AVX2.replace("avx2", "kernel")
    .replace("cpu.cpuid", "kernel.version")
    .replace("AVX2: {op: Exists}", 'full: {op: Ge, value: ["6.0"], type: version}')
)
HOSTS = {
    "old": "features: {flags: {cpu.cpuid: [AVX]}, attributes: {kernel.version: {full: 5.10.0}}}",
    "new": "features: {flags: {cpu.cpuid: [AVX, AVX2]}, attributes: {kernel.version: {full: 6.1.0}}}",
}


@pytest.fixture
def repository(registry: str) -> str:
    """A repository of this test alone."""
    return f"docker://{registry}/compat/{uuid.uuid4().hex}"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, text in {"avx2": NEEDS_AVX2, "kernel": NEEDS_NEW_KERNEL, "nfd": DOCUMENT}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    (tmp_path / "hosts").mkdir()
    for name, text in HOSTS.items():
        (tmp_path / "hosts" / f"{name}.yaml").write_text(f"platform: linux/amd64\n{text}\n")
    return tmp_path


def shown(image: str, *options: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done("index", "compat", "show", image, "--format", "json", *options))
    return found


def on_base(image: Image, base: str, digest: Digest | None) -> Image:
    """Return an image that says what it stands on, in its config's labels."""
    labels = {"org.opencontainers.image.base.name": base.removeprefix("docker://")}
    labels |= {"org.opencontainers.image.base.digest": str(digest)} if digest else {}
    return replace(image, config=image.config.with_config(Labels=labels), manifest=None)


def digest_of(image: Image) -> Digest:
    return image.to_manifest().digest


def test_an_artifact_is_attached_as_nfd_reads_it(repository: str, files: Path) -> None:
    image = made.image(1)
    made.write(f"{repository}:1", image)
    printed = done("index", "compat", "attach", f"{repository}:1", files / "nfd.yaml")
    artifacts = RegistryArtifacts(Location.parse(f"{repository}:1").reference, StoreOptions())  # type: ignore[arg-type]
    (entry,) = artifacts.of_type(digest_of(image), ARTIFACT_TYPE)
    assert str(entry.digest) == printed
    manifest = artifacts.manifest(entry.digest)
    assert manifest.artifact_type == ARTIFACT_TYPE
    assert [layer.media_type for layer in manifest.layers] == [SPEC_TYPE]
    subject = image.to_manifest().descriptor
    assert manifest.data["subject"] == {
        "mediaType": subject.media_type, "digest": str(subject.digest), "size": subject.size,
    }  # fmt: skip
    assert manifest.data["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
    assert manifest.annotations["org.opencontainers.image.created"].endswith("Z")
    assert artifacts.files(entry.digest, 1 << 20)[SPEC_TYPE] == DOCUMENT.encode()
    assert made.read(f"{repository}:1").to_manifest().digest == digest_of(image)  # type: ignore[union-attr]


def test_what_is_shown_is_what_was_attached_and_it_is_attached_once(repository: str, files: Path) -> None:
    made.write(f"{repository}:1", made.image(1))
    first = done("index", "compat", "attach", f"{repository}:1", files / "avx2.yaml")
    again = run("index", "compat", "attach", f"{repository}:1", files / "avx2.yaml")
    assert (again.code, again.out.strip(), "attached already" in again.err) == (0, first, True)
    assert shown(f"{repository}:1")["artifact"] == first
    lines = done("index", "compat", "show", f"{repository}:1").splitlines()
    assert lines[0].startswith(f"# of {repository.removeprefix('docker://')}:1 (")
    assert "\n".join(lines[1:]) == NEEDS_AVX2.rstrip()


def test_the_newest_counts(repository: str, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made.write(f"{repository}:1", made.image(1))
    for seconds, name in ((2000, "kernel"), (1000, "avx2")):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", str(seconds))
        done("index", "compat", "attach", f"{repository}:1", files / f"{name}.yaml")
    assert shown(f"{repository}:1")["spec"]["compatibilities"][0]["rules"][0]["name"] == "kernel"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "3000")
    done("index", "compat", "attach", f"{repository}:1", files / "avx2.yaml")
    assert shown(f"{repository}:1")["spec"]["compatibilities"][0]["rules"][0]["name"] == "avx2"


@pytest.mark.parametrize(
    ("times", "last"),
    [
        (["2024-01-01T00:00:00Z", "2023-01-01T00:00:00Z"], 0),
        (["2024-01-01T00:00:00Z", "2024-01-01T01:00:00+02:00"], 0),
        ([None, "0001-01-02T00:00:00Z"], 1),
        (["2024-01-01", "nonsense", "1970-01-01T00:00:00Z"], 2),
        ([None, "9999-99-99T00:00:00Z"], 1),
        (["2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z"], 1),
    ],
)
def test_times_that_are_none_are_the_oldest(times: list[str | None], last: int) -> None:
    entries = [
        Descriptor(
            media_type="x",
            digest=Digest.of(str(number).encode()),
            size=1,
            annotations={compat.CREATED: time} if time else {},
        )
        for number, time in enumerate(times)
    ]
    assert compat.newest(entries) == entries[last]


def test_hosts_are_checked_offline(repository: str, files: Path) -> None:
    made.write(f"{repository}:1", made.image(1))
    done("index", "compat", "attach", f"{repository}:1", files / "avx2.yaml")
    checked = run("index", "compat", "check", f"{repository}:1", "--host", files / "hosts")
    assert checked.code == 10
    assert checked.out.splitlines() == [
        "new: fits (set 1)",
        "old: does not fit",
        "    set 1, rule 'avx2': cpu.cpuid.AVX2 is not there, wanted Exists",
    ]
    alone = run("index", "compat", "check", f"{repository}:1", "--host", files / "hosts/new.yaml", "--format", "json")
    assert (alone.code, json.loads(alone.out)["hosts"][0]["fits"]) == (0, True)


def test_a_document_is_checked_without_an_image(files: Path) -> None:
    old = run("index", "compat", "check", "--spec", files / "nfd.yaml", "--host", files / "hosts/old.yaml")
    assert old.out.splitlines()[0] == "old: fits (set 2 fallback anywhere)"
    preferred = run(
        "index",
        "compat",
        "check",
        "--spec",
        files / "nfd.yaml",
        "--tag",
        "preferred",
        "--host",
        files / "hosts/old.yaml",
    )
    assert preferred.code == 10
    none = run("index", "compat", "check", "--spec", files / "nfd.yaml", "--tag", "x", "--host", files / "hosts")
    assert (none.code, "no set has the tag 'x'" in none.err) == (2, True)
    here = run("index", "compat", "check", "--spec", files / "kernel.yaml")
    assert here.code in {0, 10}
    assert (": fits" in here.out) == (here.code == 0)


def test_an_index_and_its_images_may_each_have_one(repository: str, files: Path) -> None:
    amd64, arm64 = made.image(1), made.image(2, arch="arm64")
    index = listed((amd64, Platform.parse("linux/amd64"), {}), (arm64, Platform.parse("linux/arm64"), {}))
    made.write(f"{repository}:1", index)
    done("index", "compat", "attach", f"{repository}:1", files / "kernel.yaml")
    done("index", "compat", "attach", f"{repository}:1", files / "avx2.yaml", "--platform", "linux/amd64")
    whole, special = shown(f"{repository}:1"), shown(f"{repository}:1", "--platform", "linux/amd64")
    assert (whole["subject"], special["subject"]) == (str(index.index.digest), str(digest_of(amd64)))
    assert shown(f"{repository}:1", "--platform", "linux/arm64")["artifact"] == whole["artifact"]


def test_each_host_is_held_against_the_image_that_it_would_run(repository: str, files: Path) -> None:
    plain, v3, arm64 = made.image(1), made.image(2), made.image(3, arch="arm64")
    entries = [(plain, "linux/amd64"), (v3, "linux/amd64/v3"), (arm64, "linux/arm64")]
    made.write(f"{repository}:1", listed(*((image, Platform.parse(text), {}) for image, text in entries)))
    done("index", "compat", "attach", f"{repository}:1", files / "avx2.yaml", "--platform", "linux/amd64/v3")
    for name, text in {
        "v2": "linux/amd64/v2",
        "v4": "linux/amd64/v4",
        "s": "linux/s390x",
        "arm": "linux/arm64",
    }.items():
        (files / "hosts" / f"{name}.yaml").write_text(f"platform: {text}\n{HOSTS['old']}\n")
    checked = run("index", "compat", "check", f"{repository}:1", "--host", files / "hosts")
    assert checked.code == 10
    assert [line for line in checked.out.splitlines() if not line.startswith(" ")] == [
        "arm: fits (nothing is asked for)",
        "new: fits (nothing is asked for)",
        "old: fits (nothing is asked for)",
        "s: does not fit (the index has nothing for linux/s390x)",
        "v2: fits (nothing is asked for)",
        "v4: does not fit",
    ]
    found = json.loads(
        run("index", "compat", "check", f"{repository}:1", "--host", files / "hosts/v4.yaml", "--format", "json").out
    )
    assert found["hosts"][0]["source"].startswith("of ")
    made.write(f"{repository}:2", made.image(9))
    nothing = run("index", "compat", "check", f"{repository}:2", "--host", files / "hosts")
    assert (nothing.code, "has no compatibility artifact" in nothing.err) == (3, True)


def test_what_is_preferred_says_which_image_is_held_against_a_host(repository: str, files: Path) -> None:
    plain, special = made.image(1), made.image(2)
    amd64 = Platform.parse("linux/amd64")
    index = listed((plain, amd64, {}), (special, amd64, {"com.example.gpu": "a"}))
    made.write(f"{repository}:1", index)
    chosen = str(index.index.manifests[1].digest)
    made.write(f"{repository}:special", special)
    done("index", "compat", "attach", f"{repository}@{chosen}", files / "avx2.yaml")
    host = files / "hosts" / "old.yaml"
    command = ("index", "compat", "check", f"{repository}:1", "--host", host)
    gpu = ("--prefer", "com.example.gpu=a")
    for options, code in (
        (gpu, 10),
        (("--require", "com.example.gpu"), 10),
        ((*gpu, "--platform", "linux/amd64"), 10),
        (("--prefer", "com.example.gpu=b"), 3),
        ((), 3),
    ):
        outcome = run(*command, *options)
        assert (outcome.code, "old: does not fit" in outcome.out) == (code, code == 10), (options, outcome)
    assert run(*command, "--require", "com.example.gpu=c").code == 10
    refused = run("index", "compat", "check", "--spec", files / "avx2.yaml", "--host", host, *gpu)
    assert (refused.code, "no entries to choose from" in refused.err) == (2, True)


def test_what_a_base_needs_is_inherited(repository: str, files: Path) -> None:
    base = made.image(1)
    made.write(f"{repository}:base", base)
    done("index", "compat", "attach", f"{repository}:base", files / "kernel.yaml")
    app = on_base(made.image(2), f"{repository}:base", digest_of(base))
    made.write(f"{repository}:app", app)
    inherited = shown(f"{repository}:app")
    assert (inherited["inherited"], inherited["subject"]) == (True, str(digest_of(base)))
    attached = run("index", "compat", "attach", f"{repository}:app", files / "avx2.yaml")
    assert f"with what {repository.removeprefix('docker://')}:base" in attached.err
    own = shown(f"{repository}:app")
    assert (own["inherited"], own["subject"]) == (False, str(digest_of(app)))
    assert [rule["name"] for rule in own["spec"]["compatibilities"][0]["rules"]] == ["kernel", "avx2"]
    done("index", "compat", "attach", f"{repository}:app", files / "avx2.yaml", "--no-inherit")
    assert [rule["name"] for rule in shown(f"{repository}:app")["spec"]["compatibilities"][0]["rules"]] == ["avx2"]


def test_an_artifact_about_the_bases_index_is_found_by_the_digest_of_its_image(repository: str, files: Path) -> None:
    base, other = made.image(1), made.image(2, arch="arm64")
    index = listed((base, Platform.parse("linux/amd64"), {}), (other, Platform.parse("linux/arm64"), {}))
    made.write(f"{repository}:base", index)
    done("index", "compat", "attach", f"{repository}:base", files / "kernel.yaml")
    made.write(f"{repository}:one", on_base(made.image(3), f"{repository}:base", digest_of(base)))
    made.write(f"{repository}:two", on_base(made.image(4), f"{repository}:base", index.index.digest))
    made.write(f"{repository}:three", on_base(made.image(5), f"{repository}:base", None))
    for tag in ("one", "two", "three"):
        found = shown(f"{repository}:{tag}")
        assert (found["inherited"], found["subject"]) == (True, str(index.index.digest)), tag


def test_bases_that_go_round_or_are_gone_end(repository: str) -> None:
    made.write(f"{repository}:a", on_base(made.image(1), f"{repository}:b", None))
    made.write(f"{repository}:b", on_base(made.image(2), f"{repository}:a", None))
    made.write(f"{repository}:c", on_base(made.image(3), f"{repository}:gone", None))
    for tag in ("a", "c"):
        refused = run("index", "compat", "show", f"{repository}:{tag}")
        assert (refused.code, "has no compatibility artifact, and none of its bases" in refused.err) == (3, True)


def broken(repository: str, image: Image, raw: bytes, media_type: str = SPEC_TYPE) -> None:
    artifacts = RegistryArtifacts(Location.parse(f"{repository}:1").reference, StoreOptions())  # type: ignore[arg-type]
    artifacts.attach(ARTIFACT_TYPE, (blob(raw, media_type),), image.to_manifest().descriptor, {})


@pytest.mark.parametrize(
    ("raw", "media_type", "message"),
    [
        (b"version: v2\n", SPEC_TYPE, "is 'v2'; only 'v1alpha1' is known"),
        (b"\xff\xfe\x00", SPEC_TYPE, "is UTF-16; save it as UTF-8"),
        (b"{}", "application/json", "holds no compatibility document of the type"),
        (b"x" * ((1 << 20) + 1), SPEC_TYPE, "holds a file of 1048577 bytes"),
        (NEEDS_AVX2.replace("AVX2:", '"A\\u001b[2J":').encode(), SPEC_TYPE, "holds the control character U+001B"),
    ],
)
def test_a_broken_artifact_is_one_clear_error(repository: str, raw: bytes, media_type: str, message: str) -> None:
    image = made.image(1)
    made.write(f"{repository}:1", image)
    broken(repository, image, raw, media_type)
    refused = run("index", "compat", "show", f"{repository}:1")
    assert (refused.code, refused.out) == (2, "")
    assert message in refused.err
    assert "\x1b" not in refused.err


def test_lists_under_the_fallback_tag_keep_what_others_put_there(repository: str, files: Path) -> None:
    image = made.image(1)
    made.write(f"{repository}:1", image)
    broken(repository, image, b"other", "application/vnd.example")
    done("index", "compat", "attach", f"{repository}:1", files / "avx2.yaml")
    artifacts = RegistryArtifacts(Location.parse(f"{repository}:1").reference, StoreOptions())  # type: ignore[arg-type]
    assert len(artifacts.referrers(digest_of(image))) == 2
    raw = done("index", "show", f"{repository}:{fallback_tag(digest_of(image))}", "--format", "raw")
    entries = json.loads(raw)["manifests"]
    assert [entry["artifactType"] for entry in entries] == [ARTIFACT_TYPE] * 2
    assert "org.opencontainers.image.created" in entries[1]["annotations"]
    assert isinstance(artifacts.manifest(Digest.parse(entries[1]["digest"])), Manifest)


def test_documents_are_validated_without_fetching(files: Path) -> None:
    assert done("index", "compat", "validate", files / "avx2.yaml", files / "nfd.yaml") == "nothing found"
    (files / "bad.yaml").write_text(NEEDS_AVX2.replace("op: Exists", "op: Exist"))
    both = run("index", "compat", "validate", files / "avx2.yaml", files / "bad.yaml")
    assert (both.code, both.out) == (2, "")
    assert f"{files}/bad.yaml:8:" in both.err
    refused = run("index", "compat", "attach", "docker://127.0.0.1:1/x:1", files / "bad.yaml")
    assert (refused.code, "did you mean 'Exists'?" in refused.err) == (2, True)


def test_what_cannot_be_meant_is_a_finding_with_its_line(files: Path) -> None:
    (files / "odd.yaml").write_text(NEEDS_AVX2.replace("cpu.cpuid", "cpu.cupid"))
    odd = run("index", "compat", "validate", files / "odd.yaml")
    assert odd.code == 10
    place = f"{files}/odd.yaml:6:16 compatibilities[0].rules[0].matchFeatures[0].feature"
    assert odd.out.splitlines()[0].split(maxsplit=2) == ["warning", "COMPAT-001", place]
    assert "did you mean 'cpu.cpuid'?" in odd.out


def test_only_a_registry_keeps_artifacts(tmp_path: Path, files: Path) -> None:
    made.write(f"oci:{tmp_path / 'layout'}:1", made.image(1))
    refused = run("index", "compat", "show", f"oci:{tmp_path / 'layout'}:1")
    assert (refused.code, "is not in a registry" in refused.err) == (2, True)
    assert run("index", "compat", "check", "--host", files / "hosts").code == 2
