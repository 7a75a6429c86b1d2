"""Amended and emitted documents: what is kept, what is added, and what their CRDs say."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from crds import LOADER, problems

from runtimeimg.cli.strategy import command
from runtimeimg.errors import InvalidDocumentError, RuntimeimgError, SpecError, UsageError
from runtimeimg.strategy import (
    Amendment,
    amend,
    cluster_strategy,
    convert,
    remove,
    step_action,
    task,
)
from runtimeimg.strategy import data as travelling
from tests.pods import problems as pod_problems

CASES = sorted((Path(__file__).parent / "cases").glob("*.yaml"))
SPEC = travelling.to_json(
    {
        "apiVersion": "runtimeimg.dev/v1",
        "kind": "Build",
        "spec": {"runtime": {"base": {"image": "debian:bookworm-slim"}, "env": {"A": "$(params.x) $$ é 😀 \u2028"}}},
    }
)
VARIANTS = {
    "spec": Amendment(spec=SPEC, output_image=None),
    "path": Amendment(spec_path="deploy/build.yaml"),
    "configmap": Amendment(configmap="web-spec:web.yaml", run_as="1234:0"),
    "buildah": Amendment(spec=SPEC, builder="buildah", builder_step_image="example.com/buildah:1"),
    "kaniko": Amendment(spec=SPEC, builder="kaniko"),
    "buildkit": Amendment(spec=SPEC, builder="buildkit"),
    "redirect": Amendment(spec=SPEC, redirect=True),
}


def text_of(path: Path) -> str:
    return path.read_bytes().decode()


def amendment_for(path: Path, variant: str) -> Amendment:
    from dataclasses import replace

    chosen = VARIANTS[variant]
    return replace(chosen, output_image="$(params.TARGET)") if path.stem == "s2i" else chosen


def is_refused(path: Path, variant: str) -> bool:
    """Tell what cannot be: no parameters in build.dev, layouts that kaniko and BuildKit do not read, Tasks' pushes."""
    no_parameters = path.stem == "buildpacks" and variant in {"path", "configmap"}
    no_layout = path.stem in {"buildah", "kaniko"} and variant in {"kaniko", "buildkit"}
    return no_parameters or no_layout or (path.stem == "ko" and variant == "redirect")


def documents(text: str) -> list[dict[str, Any]]:
    return [item for item in yaml.load_all(text, Loader=LOADER) if item]


def steps_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    spec = document["spec"]
    return spec.get("steps") or spec.get("buildSteps") or []


RENAMED = {("buildkit", "all"): 1, ("buildkit", "redirect"): 2, ("buildpacks", "redirect"): 1, ("ko", "all"): 1}
"""Lines in which a strategy's own steps get other names: for their results, with --redirect for the image too."""


def is_grown(old: str, new: str) -> bool:
    """Tell whether `new` is `old` with more text somewhere."""
    begin = next((at for at, (one, other) in enumerate(zip(old, new, strict=False)) if one != other), len(old))
    return len(new) > len(old) and new.endswith(old[begin:])


ENDS = {"lf": lambda text: text, "crlf": lambda text: text.replace("\n", "\r\n"), "no-end": lambda text: text.rstrip()}


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_strategy_comes_back_byte_equal_apart_from_the_added_lines(path: Path, variant: str, ends: str) -> None:
    text = ENDS[ends](text_of(path))
    amendment = amendment_for(path, variant)
    if is_refused(path, variant):
        with pytest.raises(UsageError):
            amend(text, amendment)
        return
    amended = amend(text, amendment).text
    old, new = text.splitlines(), amended.splitlines()
    differences = list(difflib.ndiff(old, new))
    gone = [line[2:] for line in differences if line.startswith("- ")]
    added = [line[2:] for line in differences if line.startswith("+ ")]
    for line in gone:  # something was put into it, nothing taken away
        assert any(is_grown(line, grown) for grown in added), line
    annotated = path.stem in {"buildah", "buildpacks"}  # their metadata is written in braces
    assert len(gone) == annotated + RENAMED.get((path.stem, variant), RENAMED.get((path.stem, "all"), 0))
    assert len(new) > len(old) + 20
    assert amend(amended, amendment).text == amended
    assert remove(amended).text == text
    other = amend(amended, amendment_for(path, "spec")).text
    assert other == amend(text, amendment_for(path, "spec")).text


POSSIBLE = [
    pytest.param(path, variant, id=f"{path.stem}-{variant}")
    for path in CASES
    for variant in VARIANTS
    if not is_refused(path, variant)
]


@pytest.mark.reference
@pytest.mark.parametrize(("path", "variant"), POSSIBLE)
def test_an_amended_document_is_valid_by_its_crd(path: Path, variant: str, reference: Path) -> None:
    for document in documents(amend(text_of(path), amendment_for(path, variant)).text):
        if document["kind"] not in {"ServiceAccount", "ConfigMap"}:
            assert problems(document, reference / "crds") == []


@pytest.mark.reference
@pytest.mark.parametrize(
    "text",
    [
        cluster_strategy(),
        cluster_strategy(namespaced=True, managed=False, run_as=None),
        task(),
        task(artifacts=True),
        step_action(),
    ],
    ids=["cluster-strategy", "strategy", "task", "artifacts", "step-action"],
)
def test_an_emitted_document_is_valid_by_its_crd(text: str, reference: Path) -> None:
    (document,) = documents(text)
    assert problems(document, reference / "crds") == []


@pytest.mark.reference
def test_the_check_by_crd_refuses_what_an_api_server_would_prune(reference: Path) -> None:
    (document,) = documents(task())
    document["spec"]["steps"][0]["comand"] = ["x"]
    assert problems(document, reference / "crds") == [
        "$.spec.steps[0]: Additional properties are not allowed ('comand' was unexpected)"
    ]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_steps_of_ours_fit_the_restricted_pod_security_standard(path: Path) -> None:
    added = [
        step
        for document in documents(amend(text_of(path), amendment_for(path, "spec")).text)
        if "spec" in document
        for step in steps_of(document)
        if step["name"].startswith("runtime-")
    ]
    emitted = [step for text in (cluster_strategy(), task()) for step in steps_of(documents(text)[0])]
    assert len(added) == 1
    for step in added + emitted:
        context = step["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context.get("runAsUser", 1) != 0
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert (step.get("computeResources") or step["resources"])["requests"]["memory"] == "256Mi"
        variables = {item["name"]: item["value"] for item in step["env"]}
        mounts = {item["mountPath"] for item in step["volumeMounts"]}
        assert {variables["HOME"], variables["TMPDIR"]} <= mounts
        assert step["command"] == ["runtimeimg", "step", "compose"]
        assert "script" not in step


@pytest.mark.parametrize(
    "text",
    [cluster_strategy(managed=False), cluster_strategy(run_as=None), task(), step_action()],
    ids=["cluster-strategy", "of-the-cluster", "task", "step-action"],
)
def test_a_pod_of_our_steps_alone_is_admitted_under_the_restricted_profile(text: str) -> None:
    """As Tekton makes it: the steps as containers, the document's volumes; its own containers are its affair."""
    spec = documents(text)[0]["spec"]
    steps = spec.get("steps") or [{"name": "step", **spec}]
    volumes = [
        {key: value for key, value in item.items() if key not in {"overridable", "description"}}
        for item in spec.get("volumes", [])
    ]
    assert pod_problems({"containers": steps, "volumes": volumes}) == []


def test_the_cluster_strategy_says_which_user_all_steps_have() -> None:
    assert documents(cluster_strategy())[0]["spec"]["securityContext"] == {"runAsUser": 65532, "runAsGroup": 65532}
    run = CliRunner().invoke
    for given, there in (("1234:0", {"runAsUser": 1234, "runAsGroup": 0}), ("cluster", None)):
        made = run(command, ["cluster-strategy", "--run-as", given], catch_exceptions=False).output
        assert documents(made)[0]["spec"].get("securityContext") == there
    with pytest.raises(UsageError, match="other than root's"):
        run(command, ["cluster-strategy", "--run-as", "0"], catch_exceptions=False)


def test_steps_are_told_how_the_parameters_are_called() -> None:
    old = documents(amend(text_of(CASES[0].with_name("buildpacks.yaml")), VARIANTS["buildah"]).text)[0]
    ours = [step for step in steps_of(old) if step["name"] in {"runtime-dockerfile", "runtime-stamp"}]
    assert all("--naming=none" in step["args"] for step in ours)
    assert "--naming=upper" in steps_of(documents(task())[0])[0]["args"]
    assert not [item for item in steps_of(documents(cluster_strategy())[0])[0]["args"] if "--naming" in item]


def test_a_strategy_of_root_gets_steps_that_are_not() -> None:
    (document,) = documents(amend(text_of(CASES[0].with_name("buildah.yaml")), VARIANTS["spec"]).text)
    context = steps_of(document)[-1]["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"]) == (65532, 65532)


def test_no_dollar_of_a_value_is_in_a_document() -> None:
    for path in CASES:
        amended = amend(text_of(path), amendment_for(path, "spec")).text
        added = [line for line in amended.splitlines() if line not in text_of(path).splitlines()]
        assert "$(params.x)" not in "\n".join(added)
        assert "$$" not in "\n".join(added)
        found = next(
            item for item in _strings(documents(amended)) if item.startswith("{") and "spec" in json.loads(item)
        )
        assert json.loads(found)["spec"]["runtime"]["env"] == {"A": "$(params.x) $$ é 😀 \u2028"}


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for item in items for text in _strings(item)]


REFUSED = {
    "map": (
        "apiVersion: shipwright.io/v1beta1\nkind: BuildStrategy\nspec:\n  steps: {a: b}\n",
        "as in brackets; a list",
    ),
    "alias": (
        "apiVersion: shipwright.io/v1beta1\nkind: BuildStrategy\nx: &a\n- name: a\nspec:\n  steps: *a\n",
        "written as an alias",
    ),
    "empty": ("apiVersion: shipwright.io/v1beta1\nkind: BuildStrategy\nspec:\n  steps:\n", "missing or empty"),
    "no spec": ("apiVersion: shipwright.io/v1beta1\nkind: BuildStrategy\n", "missing or empty"),
    "other kind": ("apiVersion: v1\nkind: Pod\n", "has no steps to add to"),
    "none": ("", "holds no strategy"),
    "half a block": (
        (
            "apiVersion: shipwright.io/v1beta1\nkind: BuildStrategy\nspec:\n  steps:\n  - name: a\n"
            "  # >>> added by runtimeimg strategy amend\n"
        ),
        "not in pairs",
    ),
    "no image": ("apiVersion: tekton.dev/v1\nkind: Task\nspec:\n  steps:\n  - name: a\n", "cannot be told"),
    "name taken": (
        "apiVersion: shipwright.io/v1beta1\nkind: BuildStrategy\nspec:\n  steps:\n  - name: runtime-image\n",
        "has a 'runtime-image' of its own",
    ),
    "bomb": (
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
        "more than",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_amended_is_refused(name: str) -> None:
    text, message = REFUSED[name]
    with pytest.raises((UsageError, InvalidDocumentError, SpecError), match=message):
        amend(text, Amendment(spec=SPEC))


def test_an_anchor_before_a_kept_block_text_does_not_hide_its_blank_lines() -> None:
    text = (
        "apiVersion: tekton.dev/v1\nkind: Task\nspec:\n  params:\n  - name: IMAGE\n  steps:\n  - name: a\n"
        "    script: &s |+\n      x\n\n\n"
    )
    amended = amend(text, Amendment(spec=SPEC)).text
    assert steps_of(documents(amended)[0])[0]["script"] == "x\n\n\n"
    assert remove(amended).text == text


def test_commands_write_diff_and_undo(tmp_path: Path) -> None:
    file = tmp_path / "kaniko.yaml"
    file.write_bytes((original := text_of(CASES[0].with_name("kaniko.yaml"))).encode())
    spec = tmp_path / "build.yaml"
    spec.write_text("apiVersion: runtimeimg.dev/v1\nkind: Build\nspec: {runtime: {base: {image: scratch}}}\n")
    run = CliRunner().invoke
    diff = run(command, ["amend", str(file), "--spec", str(spec), "--diff"], catch_exceptions=False)
    assert diff.output.startswith("--- ")
    assert not [line for line in diff.output.splitlines()[2:] if line.startswith("-")]
    assert run(command, ["amend", str(file), "--spec", str(spec), "-i"], catch_exceptions=False).exit_code == 0
    assert len(file.read_text()) > len(original)
    assert run(command, ["amend", str(file), "--remove", "-i"], catch_exceptions=False).exit_code == 0
    assert file.read_text() == original
    with pytest.raises(RuntimeimgError, match="both given"):
        run(command, ["amend", str(file), "--spec", str(spec), "--spec-path", "x"], catch_exceptions=False)


OLD_BUILD = """\
apiVersion: build.dev/v1alpha1
kind: Build
metadata: {name: pet, namespace: apps, creationTimestamp: null}
spec:
  source: {url: https://example.com/pet, revision: main, contextDir: app, credentials: {name: git}}
  strategy: {name: buildpacks-v3, kind: ClusterBuildStrategy}
  builder: {image: "registry.example.com/pet-build:1"}
  dockerfile: Dockerfile
  timeout: 10m
  serviceAccount: pet
  parameters: [{name: speed, value: high}]
  output: {image: "registry.example.com/pet:1", credentials: {name: push}}
  runtime:
    base: {image: runtime-base-image:latest}
    workDir: /workspace/source
    env: {JAVA_HOME: /path/to/java-home, COST: "5$$ $(params.x)"}
    labels: {custom-image-label: value}
    directories: [/path/to/directory, "/path/to/another/directory:/target/location"]
    entrypoint: [java, -jar, --]
"""


@pytest.mark.reference
@pytest.mark.parametrize("strategy", [None, "buildpacks-v3"])
@pytest.mark.parametrize("extra", ["", '    run: ["useradd -r app"]\n    user: app\n'], ids=["plain", "full"])
def test_an_old_build_converts_to_one_of_today(strategy: str | None, extra: str, reference: Path) -> None:
    converted = convert(OLD_BUILD + extra, strategy=strategy)
    (build,) = documents(converted.text)
    assert problems(build, reference / "crds") == []
    spec = build["spec"]
    assert spec["strategy"] == {"name": strategy or "runtime-image", "kind": "ClusterBuildStrategy"}
    git = {"url": "https://example.com/pet", "revision": "main", "cloneSecret": "git"}
    assert spec["source"] == {"type": "Git", "git": git, "contextDir": "app"}
    assert spec["output"] == {"image": "registry.example.com/pet:1", "pushSecret": "push"}
    assert build["metadata"] == {"name": "pet", "namespace": "apps"}
    names = {item["name"] for item in spec["paramValues"]}
    ours = {"runtime-spec"} if extra else {f"runtime-{name}" for name in RUNTIME_NAMES}
    theirs = {"speed", "dockerfile", "builder-image"} if strategy else {"runtime-builder-image"}
    assert names == ours | theirs
    declared = {item["name"] for item in documents(cluster_strategy())[0]["spec"]["parameters"]}
    assert {name for name in names if name.startswith("runtime-")} <= declared
    assert "$(" not in converted.text
    assert "$$" not in converted.text
    assert "spec.serviceAccount: left out, shipwright.io/v1beta1 has no such field" in converted.moved
    assert any("spec.output.credentials.name -> spec.output.pushSecret" in line for line in converted.moved)


def test_a_second_push_for_labels_of_the_output_is_warned_of() -> None:
    assert not any("pushed twice" in line for line in convert(OLD_BUILD).moved)
    old = OLD_BUILD.replace("output: {", "output: {labels: {a: b}, timestamp: Zero, ")
    (note,) = (line for line in convert(old).moved if "pushed twice" in line)
    assert note.startswith("spec.output.labels, spec.output.timestamp: kept")
    assert "runtime-labels" in note


def test_the_platforms_of_an_output_become_a_parameter_of_our_strategy() -> None:
    old = OLD_BUILD.replace("output: {", "output: {platforms: [{os: linux, arch: amd64}, {os: linux, arch: arm64}], ")
    (build,) = documents(convert(old).text)
    assert {"name": "runtime-platforms", "value": "linux/amd64,linux/arm64"} in build["spec"]["paramValues"]
    assert "platforms" not in build["spec"]["output"]
    (build,) = documents(convert(old, strategy="buildah").text)
    assert len(build["spec"]["output"]["platforms"]) == 2  # Shipwright starts a build for each, ours among its steps


RUNTIME_NAMES = ("base-image", "work-dir", "env", "labels", "directories", "entrypoint")


def test_a_build_without_runtime_is_not_converted() -> None:
    with pytest.raises(UsageError, match=r"no spec\.runtime"):
        convert("apiVersion: build.dev/v1alpha1\nkind: Build\nspec: {output: {image: a}}\n")


def test_an_invalid_old_build_is_refused_with_its_position() -> None:
    with pytest.raises(SpecError, match=r"<stdin>:5:14: spec\.runtime\.workDir"):
        convert(
            "apiVersion: build.dev/v1alpha1\nkind: Build\nspec:\n  runtime:\n    workDir: app\n"
            "    base: {image: a}\n  output: {image: a}\n"
        )


@pytest.mark.reference
def test_the_samples_are_valid_by_their_crds(reference: Path) -> None:
    samples = Path(__file__).parents[2] / "samples"
    files = [*samples.glob("shipwright/*.yaml"), *samples.glob("tekton/*.yaml")]
    checked = [
        problems(document, reference / "crds")
        for path in files
        for document in documents(text_of(path))
        if document["apiVersion"] != "v1"
    ]
    assert checked == [[]] * 3
