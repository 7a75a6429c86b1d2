"""Bills of materials: every file of the new layers is there, documents validate, bytes are the same, attached ones found."""

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from runtimeimg.check.sbom import FORMATS
from runtimeimg.check.sbom.values import plain, seconds
from runtimeimg.cli.main import cli
from runtimeimg.errors import UnavailableError, UsageError
from runtimeimg.image import Image, ImageIndex
from runtimeimg.oci import Location
from runtimeimg.stores import StoreOptions, open_image, open_one
from runtimeimg.stores.artifacts import artifacts_of
from tests.check.images import Files, Put, image
from tests.check.objects import program
from tests.check.test_packages import DPKG
from tests.stores.made import write

_SITE = "/app/venv/lib/python3.11/site-packages"
APP: Files = {
    f"{_SITE}/My_Pack-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: My_Pack\nVersion: 1.0\nLicense-Expression: MIT\n",
    f"{_SITE}/My_Pack-1.0.dist-info/RECORD": b"../../../bin/my,,\n",
    "/app/venv/bin/my": b"x",
    "/app/node_modules/@scope/mod/package.json": b'{"name": "@scope/mod", "version": "2.0.0", "license": "as it is"}',
    "/app/run": Put(data=program()),
    "/app/link": "run",
    "/app/\udcff": b"odd",
}
BASE: Files = {
    "/etc/os-release": b"ID=alpine\n",
    "/lib/apk/db/installed": b"P:busybox\nV:1.36\nL:GPL-2.0-only\nF:bin\nR:busybox\n",
    "/bin/busybox": b"x",
    "/opt/lib": Put(data=None),
}
SPEC = """apiVersion: shipwright.io/v1alpha1
kind: Build
metadata: {{name: app}}
spec:
  builder: {{image: "oci:{folder}/builder"}}
  output: {{image: app:1}}
  runtime:
    base: {{image: "oci:{folder}/base"}}
    directories: ["/usr/bin/tool:/opt/bin/", /app, "/usr/lib/lib*.so:/opt/lib/"]
    entrypoint: [/app/run]
"""


def run(*words: object) -> tuple[str, str]:
    done = CliRunner().invoke(cli, [str(word) for word in words], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.stdout, done.stderr


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write(f"oci:{tmp_path}/builder", image(DPKG, APP))
    write(f"oci:{tmp_path}/base", image(BASE))
    path = tmp_path / "build.yaml"
    path.write_text(SPEC.format(folder=tmp_path))
    return path


def valid(name: str, data: str) -> dict[str, Any]:
    """Return a document that its library finds nothing wrong with."""
    document: dict[str, Any] = json.loads(data)
    if name == "cyclonedx":
        error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(data)
        assert error is None, error
    else:
        problems = validate_full_spdx_document(JsonLikeDictParser().parse(document))
        assert problems == []
    return document


def files_of(name: str, document: dict[str, Any]) -> dict[str, str | None]:
    """Return the package URL of each file that a document lists, None for one of no package."""
    if name == "cyclonedx":
        found: list[tuple[str, str | None]] = []
        for item in document["components"]:
            if item["type"] == "file":
                found.append((item["name"], None))
            places = item.get("evidence", {}).get("occurrences", [])
            found += [(place["location"], item["purl"]) for place in places]
    else:
        purls = {
            item["SPDXID"]: item["externalRefs"][0]["referenceLocator"]
            for item in document["packages"]
            if item.get("externalRefs")
        }
        inside = {
            item["relatedSpdxElement"]: item["spdxElementId"]
            for item in document["relationships"]
            if item["relationshipType"] == "CONTAINS"
        }
        found = [(item["fileName"][1:], purls.get(inside[item["SPDXID"]])) for item in document["files"]]
    assert len(dict(found)) == len(found)
    return dict(found)


TOOL = "pkg:deb/debian/tool@1:1.0-2?arch=amd64"


@pytest.mark.parametrize("name", FORMATS)
def test_a_spec(name: str, spec: Path) -> None:
    text, _ = run("sbom", spec, "--format", name)
    document = valid(name, text)
    found = files_of(name, document)
    assert found["/opt/bin/tool"] == TOOL
    assert found["/opt/lib/libtool.so"] == TOOL
    assert found["/app/venv/bin/my"] == "pkg:pypi/my-pack@1.0"
    assert found["/app/node_modules/@scope/mod/package.json"] == "pkg:npm/%40scope/mod@2.0.0"
    assert {path for path, purl in found.items() if purl is None} >= {"/app/run", "/app/link", r"/app/\udcff"}
    assert "pkg:apk/alpine/busybox@1.36" in text
    assert "/bin/busybox" not in found
    assert run("sbom", spec, "--format", name)[0] == text


@pytest.mark.parametrize("name", FORMATS)
def test_a_package_of_the_base_that_has_no_list_of_files(name: str, spec: Path, tmp_path: Path) -> None:
    files = {path: what for path, what in DPKG.items() if not path.endswith(".list")}
    write(f"oci:{tmp_path}/base", image(files, {"/opt/lib": Put(data=None)}))
    write(f"oci:{tmp_path}/builder", image({"/usr/bin/tool": b"", "/usr/lib/libtool.so": b"", **APP}))
    text, _ = run("sbom", spec, "--format", name)
    document = valid(name, text)
    assert TOOL in text
    assert TOOL not in files_of(name, document).values()


def test_bytes_are_the_same_in_another_process(spec: Path) -> None:
    def told(seed: str) -> set[bytes]:
        environ = {**os.environ, "PYTHONHASHSEED": seed, "SOURCE_DATE_EPOCH": "1700000000"}
        argv = [sys.executable, "-m", "runtimeimg", "sbom", str(spec), "--format"]
        return {subprocess.run([*argv, name], env=environ, capture_output=True, check=True).stdout for name in FORMATS}

    first = told("1")
    assert first == told("2")
    assert all(b"2023-11-14T22:13:20" in data for data in first)


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_attached_is_found_again(name: str, spec: Path, tmp_path: Path) -> None:
    form, out = FORMATS[name], f"oci:{tmp_path}/out:1"
    _, said = run("build", spec, "-o", out, "--builder", "native", "--check", "off", "--sbom", name)
    assert "keeps no bill" not in said
    attached(out, form.media_type, run("sbom", spec, "--format", name)[0])
    run("sbom", out, "--format", name, "--builder-image", f"oci:{tmp_path}/builder", "--attach")
    subject = built(out).manifest
    assert subject is not None
    assert len(artifacts_of(Location.parse(out), StoreOptions()).of_type(subject.digest, form.media_type)) == 2


@pytest.mark.registry
def test_what_is_attached_in_a_registry_is_found_again(spec: Path, registry: str) -> None:
    out = f"docker://{registry}/runtimeimg-test/sbom-{uuid.uuid4().hex}:1"
    for _ in range(2):
        run("build", spec, "-o", out, "--builder", "native", "--check", "off", "--sbom", "spdx")
        attached(out, FORMATS["spdx"].media_type, run("sbom", spec, "--format", "spdx")[0])


def built(location: str) -> Image:
    return open_one(Location.parse(location), None, StoreOptions())


def attached(location: str, media_type: str, text: str) -> None:
    """Assert that one document is attached to an image, and that it is this."""
    manifest = built(location).manifest
    assert manifest is not None
    kept = artifacts_of(Location.parse(location), StoreOptions())
    (entry,) = kept.of_type(manifest.digest, media_type)
    assert entry.platform is None
    assert kept.files(entry.digest, 1 << 20) == {media_type: text.encode()}


def test_places_that_keep_none(spec: Path, tmp_path: Path) -> None:
    archive = f"oci-archive:{tmp_path}/out.tar:1"
    _, said = run("build", spec, "-o", archive, "--builder", "native", "--check", "off", "--sbom", "spdx")
    assert f"note: '{archive}' keeps no bill of materials; use --push or -o oci:DIR" in said
    with pytest.raises(UsageError, match="which keep artifacts"):
        run("sbom", archive, "--attach")
    with pytest.raises(UsageError, match="--attach needs an image"):
        run("sbom", spec, "--attach")


def test_without_the_library(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(UnavailableError) as caught:
        run("sbom", spec)
    assert caught.value.hint == "pip install 'runtimeimg[sbom]'"


def test_texts_and_times() -> None:
    assert plain("a\udcff") == r"a\udcff"
    assert seconds("2023-11-14T22:13:20.5Z") == 1700000000
    assert [seconds(text) for text in (None, "", "yesterday", "2023-19-14T22:13:20Z", "0001-01-01T00:00:00Z")] == [
        0
    ] * 5


VARIANTS = """  variants:
    - {name: plain, platform: linux/amd64}
    - {name: tool, platform: linux/amd64, annotations: {com.example.tool: "yes"}, runtime: {env: {A: b}}}
    - {name: arm, platform: linux/arm64}
"""


@pytest.mark.registry
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kind", ["oci", "docker"])
def test_each_image_of_an_index_has_its_own(name: str, kind: str, spec: Path, tmp_path: Path, registry: str) -> None:
    """Nothing is added to the index: the documents refer to the manifests."""
    text = spec.read_text()
    for part, files in (("base", BASE), ("builder", {**DPKG, **APP})):
        write(f"oci:{tmp_path}/{part}-arm", image(files, {"/opt/only-here": b"x"}, platform="arm64"))
        both = f"oci:{tmp_path}/{part}-both:1"
        run("index", "create", both, "--image", f"oci:{tmp_path}/{part}", "--image", f"oci:{tmp_path}/{part}-arm")
        text = text.replace(f'"oci:{tmp_path}/{part}"', f'"{both}"')
    spec.write_text(text + VARIANTS)
    out = f"oci:{tmp_path}/out:1" if kind == "oci" else f"docker://{registry}/runtimeimg-test/sbom-{uuid.uuid4().hex}:1"
    run("build", spec, "-o", out, "--builder", "native", "--check", "off", "--sbom", name)
    location = Location.parse(out)
    found = open_image(location, StoreOptions())
    assert isinstance(found, ImageIndex)
    assert [str(entry.platform) for entry in found.index.manifests] == ["linux/amd64", "linux/amd64", "linux/arm64"]
    form, artifacts, documents = FORMATS[name], artifacts_of(location, StoreOptions()), []
    for entry in found.index.manifests:
        (kept,) = artifacts.of_type(entry.digest, form.media_type)
        document = valid(name, artifacts.files(kept.digest, 1 << 20)[form.media_type].decode())
        child = found.open_manifest(entry)
        assert isinstance(child, Image)
        assert str(child.config.digest) in json.dumps(document)
        assert files_of(name, document)["/opt/bin/tool"] == TOOL
        documents.append(json.dumps(document))
    assert len(set(documents)) == 3
    assert len(artifacts.of_type(found.index.digest, form.media_type)) == 0
    for variant, platform, document in zip(
        ("plain", "tool", "arm"), (*["linux/amd64"] * 2, "linux/arm64"), documents, strict=True
    ):
        told = run("sbom", spec, "--format", name, "--variant", variant, "--platform", platform)[0]
        assert json.dumps(json.loads(told)) == document
