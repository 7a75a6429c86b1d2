"""What a step makes of its inputs, and the results it leaves."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from runtimeimg.errors import (
    AuthError,
    BuildFailed,
    NotFoundError,
    RuntimeimgError,
    SpecError,
    TransientError,
    UsageError,
)
from runtimeimg.oci import Digest, Location
from runtimeimg.plan import Facts, resolve
from runtimeimg.spec import load_spec_text
from runtimeimg.step import Inputs, Outcome, ResultFiles
from runtimeimg.step.inputs import read_inputs
from runtimeimg.step.planning import built_image, in_registry
from runtimeimg.step.results import MAX_MESSAGE, message, reason
from runtimeimg.strategy.parameters import Naming

SPEC = (
    "apiVersion: runtimeimg.dev/v1\nkind: Build\nspec:\n  runtime:\n    base: {image: a}\n    env: {A: '1', B: '2'}\n"
)


def test_parameters_are_put_over_the_spec() -> None:
    inputs = Inputs(
        spec_text=SPEC,
        base_image='"b:\\u0031"',
        env=("B=3", "C=x=y"),
        labels=("l=",),
        directories=("/x:/y",),
        entrypoint=("run",),
        work_dir="/w",
    )
    loaded, document = read_inputs(inputs)
    runtime = loaded.spec.runtime
    assert (runtime.base, runtime.work_dir, runtime.entrypoint) == ("b:1", "/w", ("run",))
    assert dict(runtime.env) == {"A": "1", "B": "3", "C": "x=y"}
    assert dict(runtime.labels) == {"l": ""}
    assert [(item.source, item.destination) for item in runtime.directories] == [("/x", "/y")]
    assert document["spec"]["runtime"]["base"] == {"image": "b:1"}


def test_a_file_of_the_source_wins_over_text_and_text_over_a_mounted_file(tmp_path: Path) -> None:
    for name in ("file", "mounted"):
        (tmp_path / name).write_text(SPEC.replace("image: a", f"image: {name}"))
    inputs = Inputs(source=str(tmp_path), mounted_spec=str(tmp_path / "mounted"))
    assert read_inputs(inputs)[0].spec.runtime.base == "mounted"
    texts = Inputs(source=str(tmp_path), mounted_spec=str(tmp_path / "mounted"), spec_text=SPEC)
    assert read_inputs(texts)[0].spec.runtime.base == "a"
    files = Inputs(source=str(tmp_path), spec_file="file", spec_text=SPEC)
    assert read_inputs(files)[0].spec.runtime.base == "file"


PLACES = {
    "parameter": (
        Inputs(spec_text=SPEC.replace("image: a", "imag: a")),
        "<parameter runtime-spec>:5:12: spec.runtime.base",
    ),
    "upper": (Inputs(spec_text="a", naming=Naming(upper=True)), "<parameter SPEC>:1:1: "),
    "strategy": (Inputs(spec_text="a", naming=Naming(declared=False)), "<spec of the strategy>:1:1: "),
    "work dir": (Inputs(spec_text=SPEC, work_dir="www"), "<parameter runtime-work-dir>: spec.runtime.workDir: "),
    "directory": (
        Inputs(base_image="b", directories=("/a", "b:c:d:e")),
        "<parameter runtime-directories, item 2>: spec.runtime.directories[1]",
    ),
    "env": (Inputs(spec_text=SPEC, env=("A\nB=1",)), "<parameter runtime-env>: spec.runtime.env"),
}


@pytest.mark.parametrize("name", PLACES)
def test_what_is_wrong_is_found_where_the_user_wrote_it(name: str) -> None:
    inputs, begin = PLACES[name]
    with pytest.raises(SpecError) as raised:
        read_inputs(inputs)
    assert [str(problem)[: len(begin)] for problem in raised.value.problems] == [begin]


def test_files_are_called_as_the_user_calls_them(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "web.yaml").write_text(SPEC.replace("image: a", "imag: a"))
    with pytest.raises(SpecError, match=r"^deploy/web\.yaml:5:12: "):
        read_inputs(Inputs(source=str(tmp_path), spec_file="deploy/web.yaml"))
    with pytest.raises(SpecError, match=r"^<ConfigMap key web\.yaml>:5:12: "):
        read_inputs(Inputs(mounted_spec=str(tmp_path / "deploy" / "web.yaml")))
    with pytest.raises(NotFoundError, match=r"^spec-file 'none' does not exist in the source"):
        read_inputs(Inputs(source=str(tmp_path), spec_file="none"))
    with pytest.raises(NotFoundError, match="ConfigMap of the spec has no key 'none'"):
        read_inputs(Inputs(mounted_spec=str(tmp_path / "none")))
    given = Inputs(mounted_spec=str(tmp_path / "ok.yaml"), directories=("/x",), env=("B=3",))
    (tmp_path / "ok.yaml").write_text(SPEC)
    loaded, _ = read_inputs(given)
    assert loaded.place("spec.runtime.directories[0]").startswith("<parameter runtime-directories, item 1>: ")
    assert loaded.place("spec.runtime.env.B").startswith("<parameter runtime-env>: ")
    assert loaded.place("spec.runtime.env.A").startswith("<ConfigMap key ok.yaml>:6:")


def test_a_spec_file_that_leads_out_of_the_source_is_refused(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "secret").write_text(SPEC)
    (tmp_path / "source" / "link").symlink_to("../secret")
    for name in ("link", "../secret", str(tmp_path / "secret")):
        with pytest.raises(UsageError, match="leads out of the source"):
            read_inputs(Inputs(source=str(tmp_path / "source"), spec_file=name))
    with pytest.raises(UsageError, match="no source to read it from"):
        read_inputs(Inputs(spec_file="build.yaml"))


@pytest.mark.parametrize(
    "inputs",
    [
        Inputs(),
        Inputs(env=("A=1",)),
        Inputs(base_image="b", env=("A",)),
        Inputs(base_image="b", labels=("=1",)),
        Inputs(base_image='"b'),
        Inputs(spec_text="kind: Build"),
    ],
)
def test_inputs_that_make_no_spec_are_refused(inputs: Inputs) -> None:
    with pytest.raises((UsageError, RuntimeimgError)):
        read_inputs(inputs)


@pytest.mark.parametrize("image", ["dir:/tekton/creds", "oci:/workspace", "docker-archive:/x.tar", "docker-daemon:a"])
def test_a_spec_reads_nothing_of_the_pod(image: str) -> None:
    spec = f"{SPEC}    directories: [{{source: /x, image: '{image}'}}]\n  builder: {{image: b}}\n"
    plan = resolve(load_spec_text(spec.encode()).spec, Facts())
    with pytest.raises(UsageError, match="not in a registry"):
        in_registry(plan, None)


def test_what_earlier_steps_left_is_found(tmp_path: Path) -> None:
    assert built_image(tmp_path) is None
    assert built_image(tmp_path / "none") is None
    for member, transport in (("manifest.json", "docker-archive"), ("oci-layout", "oci-archive")):
        (tmp_path / member).write_text("{}")
        with tarfile.open(tmp_path / "image.tar", "w") as archive:
            archive.add(tmp_path / member, f"./{member}")
        assert built_image(tmp_path) == Location(transport=transport, path=str(tmp_path / "image.tar"))
    (tmp_path / "other.tar").write_text("")
    with pytest.raises(UsageError, match="holds 2 tarballs"):
        built_image(tmp_path)
    (tmp_path / "index.json").write_text("{}")
    assert built_image(tmp_path) == Location(transport="oci", path=str(tmp_path))


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (SpecError([]), "RuntimeSpecInvalid"),
        (UsageError("x"), "RuntimeUsageInvalid"),
        (NotFoundError("x"), "RuntimeImageSourceNotFound"),
        (AuthError("x"), "RuntimeRegistryLoginRefused"),
        (TransientError("x"), "RuntimeTemporarilyUnavailable"),
        (BuildFailed("x"), "RuntimeBuildFailed"),
        (KeyboardInterrupt(), "RuntimeImageCancelled"),
        (ZeroDivisionError("x"), "RuntimeImageInternalError"),
    ],
)
def test_an_error_has_a_reason_of_one_word(error: BaseException, word: str) -> None:
    assert reason(error) == word


@pytest.mark.parametrize("character", ["x", "<", '"', "\\", "é", "😀", "\x1b", "\n", "\ud800"])
def test_a_message_fits_tekton_whatever_it_holds(character: str, tmp_path: Path) -> None:
    files = ResultFiles(error_reason=tmp_path / "reason", error_message=tmp_path / "message")
    error = BuildFailed(character * 100_000, step="RUN x", output=[character * 5000] * 5, hint="do this")
    files.failed(error)
    text = (tmp_path / "message").read_text()
    go = json.dumps(text).replace("<", "\\u003c")
    assert len(go) <= MAX_MESSAGE + 2
    assert "\n" not in text
    assert text.isprintable()
    assert (tmp_path / "reason").read_text() == "RuntimeBuildFailed"


def test_a_short_message_is_whole() -> None:
    error = BuildFailed("it failed", step="COPY a b", output=["one", "two", "three", "four"], hint="look")
    assert message(error) == "it failed; COPY a b; two; three; four; look"
    assert message(ValueError("x")) == "ValueError: x"


def test_results_of_an_image(tmp_path: Path) -> None:
    outcome = Outcome(url="registry.example.com/a:1", digest=Digest.of(b""), size=42)
    ResultFiles(digest=tmp_path / "digest", size=tmp_path / "size", url=tmp_path / "url").succeeded(outcome)
    texts = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert texts == {"digest": Digest.of(b""), "size": "42", "url": "registry.example.com/a:1"}
    with pytest.raises(RuntimeimgError, match="cannot be written"):
        ResultFiles(digest=tmp_path / "none" / "digest").succeeded(outcome)
