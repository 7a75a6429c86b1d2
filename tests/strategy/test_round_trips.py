"""Documents that went through an API server: comments gone, keys sorted, fields of its own added."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from test_documents import CASES, POSSIBLE, SPEC, VARIANTS, amendment_for, documents, text_of

from runtimeimg.cli.strategy import command
from runtimeimg.errors import InvalidDocumentError, NotAmendedError, UsageError
from runtimeimg.strategy import Amendment, amend, remove, take_out
from runtimeimg.strategy.record import ANNOTATION
from runtimeimg.strategy.removal import BEGIN, CHANGED

WRITERS = {
    "block": lambda items: yaml.safe_dump_all(items, default_flow_style=False),
    "mixed": yaml.safe_dump_all,
    "flow": lambda items: yaml.safe_dump_all(items, default_flow_style=True, width=10_000),
}


def as_served(text: str, write: str) -> str:
    """Return the documents as they come back: the server's own fields in them, aliases written out."""
    served = []
    for document in documents(text):
        metadata = document.setdefault("metadata", {})
        metadata |= {
            "creationTimestamp": "2026-08-21T08:13:27Z",
            "generation": 2,
            "uid": "0a1b",
            "resourceVersion": "7",
        }
        applied = json.dumps(document, sort_keys=True) + "\n"
        metadata.setdefault("annotations", {})["kubectl.kubernetes.io/last-applied-configuration"] = applied
        served.append(json.loads(json.dumps(document)))
    return WRITERS[write](served)


def without_server(text: str) -> list[dict[str, Any]]:
    found = copy.deepcopy(documents(text))
    for document in found:
        for key in ("creationTimestamp", "generation", "uid", "resourceVersion"):
            document["metadata"].pop(key, None)
        annotations = document["metadata"].get("annotations", {})
        annotations.pop("kubectl.kubernetes.io/last-applied-configuration", None)
        if not annotations:
            document["metadata"].pop("annotations", None)
    return found


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(("path", "variant"), POSSIBLE)
def test_what_comes_back_from_the_server_is_amended_again_without_change_and_cleaned(
    path: Path, variant: str, write: str
) -> None:
    text, amendment = text_of(path), amendment_for(path, variant)
    served = as_served(amend(text, amendment).text, write)
    assert BEGIN not in served
    again = amend(served, amendment)
    assert again.text == served
    assert CHANGED not in again.notes
    assert without_server(take_out(served).text) == without_server(text)
    other = amend(served, amendment_for(path, "spec")).text
    assert without_server(other) == without_server(amend(text, amendment_for(path, "spec")).text)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_document_in_json_is_amended_and_comes_back_byte_equal(path: Path) -> None:
    for document in documents(text_of(path)):
        if document["kind"] in {"ServiceAccount", "ConfigMap"}:
            continue
        text = json.dumps(document, indent=4) + "\n"
        amended = amend(text, amendment_for(path, "redirect" if path.stem == "buildkit" else "spec")).text
        assert len(json.loads(amended)["spec"].get("volumes", [])) >= (path.stem != "buildpacks")
        assert json.loads(amended)["metadata"]["annotations"][ANNOTATION]
        assert take_out(amended).text == text


FLOW = """\
apiVersion: shipwright.io/v1beta1   # the newest
kind: ClusterBuildStrategy
metadata: {name: flow, annotations: {}}
spec:
  volumes: [{name: cache, emptyDir: {}},   # of the builder
            {name: other, emptyDir: {}}, ]
  parameters: []
  steps: [{name: build, image: "a:1", args: ["$(params.shp-output-image)", "$(params.shp-output-image)"]}]
"""


@pytest.mark.parametrize("variant", VARIANTS)
def test_lists_in_brackets_are_amended_and_come_back_byte_equal(variant: str) -> None:
    amended = amend(FLOW, VARIANTS[variant]).text
    (document,) = documents(amended)
    names = [item["name"] for item in document["spec"]["volumes"]]
    assert names[:3] == ["cache", "other", "runtime-image"]
    assert document["spec"]["steps"][0]["name"] == "build"
    assert document["spec"]["steps"][-1]["name"].startswith("runtime-")
    assert "# of the builder" in amended
    assert take_out(amended).text == FLOW
    assert amend(amended, VARIANTS[variant]).text == amended


def test_a_change_by_hand_is_told_of_and_goes() -> None:
    amendment = Amendment(spec=SPEC)
    text = text_of(CASES[0].with_name("buildkit.yaml"))
    amended = amend(text, amendment).text
    assert CHANGED not in amend(amended, amendment).notes
    by_hand = amended.replace('memory: "256Mi"', "memory: 1Gi")
    assert by_hand != amended
    again = amend(by_hand, amendment)
    assert again.text == amended
    assert CHANGED in again.notes
    removed = take_out(by_hand)
    assert removed.text == text
    assert removed.notes == (CHANGED,)


def test_remove_says_by_its_exit_code_that_there_is_nothing_to_remove(tmp_path: Path) -> None:
    plain = text_of(CASES[0].with_name("kaniko.yaml"))
    assert remove(plain).text == plain
    lost = as_served(amend(plain, Amendment(spec=SPEC)).text, "block").replace(ANNOTATION, "example.com/other")
    for text, message in ((plain, "holds nothing that"), (lost, "has lost the comments")):
        with pytest.raises(NotAmendedError, match=message) as raised:
            take_out(text)
        assert raised.value.exit_code == 11
    assert "runtime-image" in str(raised.value.hint)
    file = tmp_path / "strategy.yaml"
    file.write_text(lost)
    with pytest.raises(NotAmendedError):
        CliRunner().invoke(command, ["amend", str(file), "--remove", "-i"], catch_exceptions=False)
    assert file.read_text() == lost
    with pytest.raises(UsageError, match="of its own"):
        amend(lost, Amendment(spec=SPEC))


@pytest.mark.parametrize("value", ["", "{", "[]", '{"added": 1}', '{"added": {"steps": [1]}}', "{}", '{"added": {}}'])
def test_an_annotation_that_no_amendment_wrote_is_refused(value: str) -> None:
    (document,) = documents(text_of(CASES[0].with_name("buildkit.yaml")))
    document["metadata"]["annotations"] = {ANNOTATION: value}
    with pytest.raises(InvalidDocumentError, match="amended"):
        amend(yaml.safe_dump(document), Amendment(spec=SPEC))


def test_an_amendment_of_an_older_release_is_taken_out_by_its_comments() -> None:
    text = text_of(CASES[0].with_name("buildkit.yaml"))
    old = (
        text.replace("$(params.shp-output-image)", "$(params.shp-output-image)-builder")
        + "        # >>> added by runtimeimg strategy amend; the builder image is pushed under another name\n"
        "        - {name: runtime-image, emptyDir: {}}\n        # <<< added by runtimeimg strategy amend\n"
    )
    assert take_out(old).text == text


def test_a_redirected_strategy_reads_its_own_results_elsewhere() -> None:
    """What an earlier step writes as root our step could not replace; and it is not the runtime image's."""
    text = text_of(CASES[0].with_name("buildkit.yaml"))
    amended = amend(text, Amendment(spec=SPEC, redirect=True))
    (document,) = documents(amended.text)
    script = document["spec"]["steps"][0]["args"][1]
    assert "'$(results.shp-image-digest.path)-builder'" in script
    assert "--result-digest=$(results.shp-image-digest.path)" in document["spec"]["steps"][1]["args"]
    assert any("shp-image-digest" in note for note in amended.notes)
    for spelt in ('$(results["shp-image-digest"].path)', "/tekton/results/shp-image-digest"):
        other = text.replace("$(results.shp-image-digest.path)", spelt)
        assert f"{spelt}-builder" in amend(other, Amendment(spec=SPEC)).text
        assert take_out(amend(other, Amendment(spec=SPEC)).text).text == other
    taken = text.replace("keep the digest", "keep $(results.shp-image-digest.path)-builder")
    with pytest.raises(UsageError, match=r"mention .* already"):
        amend(taken, Amendment(spec=SPEC))


IMPORTS = {
    "buildkit": 'args: ["--import-cache=type=registry,ref=$(params.shp-output-image)"]',
    "docker": 'args: ["build --cache-from $(params.shp-output-image) ."]',
    "variable": """env: [{name: OUT, value: $(params.shp-output-image)}]
    args: ['buildctl --import-cache=type=registry,ref=\\"${OUT}\\"']""",
}
STRATEGY = """\
apiVersion: shipwright.io/v1beta1
kind: BuildStrategy
metadata: {name: b}
spec:
  steps:
  - name: build
    PLACE
  - name: push
    args: [--directory=DIRECTORY]
"""


@pytest.mark.parametrize("managed", [True, False])
@pytest.mark.parametrize("name", IMPORTS)
def test_a_cache_in_the_output_image_is_told_to_miss(name: str, managed: bool) -> None:
    directory = "$(params.shp-output-directory)" if managed else "/x"
    text = STRATEGY.replace("PLACE", IMPORTS[name]).replace("DIRECTORY", directory)
    notes = amend(text, Amendment(spec=SPEC)).notes
    (note,) = (note for note in notes if "cache" in note)
    assert "(build)" in note
    assert "ref=$(params.shp-output-image)-cache" in note
    other = text.replace("import-cache", "output").replace("cache-from", "tag")
    assert not any("cache" in note for note in amend(other, Amendment(spec=SPEC)).notes)
    if not managed:  # the steps' image goes elsewhere, and their cache with it
        assert not any("cache" in note for note in amend(text, Amendment(spec=SPEC, redirect=True)).notes)
