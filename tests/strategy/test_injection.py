"""Hostile values through every way that a spec takes: they arrive as they are, or the spec is refused."""

from __future__ import annotations

import posixpath
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import LoggedRegistry
from tekton import Pod, resolved_steps

from runtimeimg.errors import InvalidDocumentError, SpecError
from runtimeimg.oci import Location
from runtimeimg.spec import load_spec_text
from runtimeimg.stores import StoreOptions, open_image
from runtimeimg.strategy import Amendment, amend, cluster_strategy, convert
from runtimeimg.strategy.data import from_item, spec_to_json, split_arrays, to_item, to_json
from runtimeimg.strategy.parameters import ARRAYS

_PIECES = [
    "$(params.x)", "$(params.shp-output-image)", "$(params.runtime-env[*])", "$(params.runtime-env[0])",
    "$(params['shp-output-image'])", '$(params["x"])', "$(results.shp-image-digest.path)",
    "$(results.shp-error-message.path)", "$(step.results.IMAGE_URL.path)", "$(steps.a.results.b)",
    "$(context.taskRun.name)", "$(context.pipelineRun.uid)", "$(workspaces.source.path)", "$(workspaces.source.bound)",
    "$(credentials.path)", "$(tasks.a.results.b)", "$(build.output.image)", "$(workspace)", "$(HOME)",
    "$(RUNTIMEIMG_SPEC)", "$$", "$$$$", "$$(HOME)", "$$$(HOME)", "$HOME", "${HOME}", "${HOME:-x}", "$", "$(", "$((",
    ")",    "$(touch /runtime-image/pwned)", "`touch /runtime-image/pwned`", "; touch /runtime-image/pwned;",
    "| touch /runtime-image/pwned", "&& touch /runtime-image/pwned", "> /runtime-image/pwned", "$(<file)", "!!", "\\",
    "\\\\", "\\n", "\\u0024(params.x)", "\\$(params.x)", "'", "''", '"', '""', '\\"', "'\"'\"'", '"}', '"]', "{}", "[]",
    "{{ 7*7 }}", "{% raw %}", "{#", "{{ config }}", "${{ secrets.X }}", "<%= 1 %>", "--", "---", "--env=A=B",
    "--output-image=evil", "--insecure", "-h", "--help", "-", "@/etc/passwd", "#", " # comment", "- item", "? key",
    "key: value", ": ", "!!python/object/apply:os.system [id]", "!tag", "&anchor", "*alias", "<<", "| text", ">-",
    "%YAML",
    "yes", "null", "~", "0x10", "1e3", "2001-01-01", "*", "?", "[a-z]", "a b", " lead", "trail ", "\t", "é", "😀",
    "\u00a0", "\u200b", "\u202e", "\u0085", "\u2028", "\ufeff", "\x7f", "%s", "%24(params.x)", "&#36;", "..", "../..",
    "a\nb", "a\r\nb", "\n", "\x00", "\x1b[31m", "\nENV EVIL=1", "\nRUN touch /pwned", "\ud800",
]  # fmt: skip
VALUES = list(dict.fromkeys([*_PIECES, *(f"a{piece}b" for piece in _PIECES)]))
BASE = {"apiVersion": "runtimeimg.dev/v1", "kind": "Build"}


def literal(value: str) -> str:
    """Return an env value of the spec that stands for `value` itself: in it `$` begins a reference."""
    return re.sub(r"(\\*)\$", lambda match: match[1] * 2 + "\\$", value)


def runtimes(value: str) -> dict[str, dict[str, Any]]:
    """Return a runtime section for each place that a value can be in."""
    base = {"base": {"image": "registry.example.com/base:1"}}
    copy = {"source": "/src/www/index.html", "destination": f"/out/{value}"}
    return {
        "env": {**base, "env": {"A": literal(value)}},
        "label": {**base, "labels": {"a": value}},
        "path": {**base, "directories": [copy]},
        "entrypoint": {**base, "entrypoint": [value]},
    }


def is_accepted(runtime: dict[str, Any]) -> bool:
    document = {**BASE, "spec": {"runtime": runtime}}
    try:
        load_spec_text(to_json(document).encode("utf-8", "surrogatepass"))
    except SpecError:
        return False
    return True


ACCEPTED = {
    place: [value for value in VALUES if is_accepted(runtimes(value)[place])]
    for place in ("env", "label", "path", "entrypoint")
}


def test_there_are_enough_values_and_few_are_refused() -> None:
    assert len(VALUES) >= 200
    refused = {place: [value for value in VALUES if value not in ACCEPTED[place]] for place in ACCEPTED}
    for place, values in refused.items():
        assert len(values) <= 40, place
        wrong = [v for v in values if not re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\ufeff]|\.\.", v)]
        assert [value for value in wrong if value != ""] == [], place


def test_values_travel_as_they_are_in_each_encoding() -> None:
    for value in VALUES:
        text = to_json({"value": value})
        assert "$" not in text
        assert text.isascii() or text.isprintable() or "\n" in text
        item = to_item(value)
        assert "$" not in item
        assert item != "--"
        if "\ud800" not in value:
            assert yaml.safe_load(text) == {"value": value}
            assert from_item(item, "x") == value


def test_items_that_could_shift_an_array_are_refused() -> None:
    assert split_arrays(["--push", "--", "--", '"--"', "--", "-h"], ARRAYS) == {
        "directories": ("--push",),
        "entrypoint": (),
        "env": ("--",),
        "labels": ("-h",),
    }
    with pytest.raises(Exception, match="bare '--'"):
        split_arrays(["a", "--", "--", "--", "--"], ARRAYS)
    with pytest.raises(InvalidDocumentError, match="no JSON string"):
        from_item('"a', "env")


def whole_runtime(base: str, values: dict[str, list[str]], *, short: bool) -> dict[str, Any]:
    """Return one runtime section that holds all values in all places."""
    directories: list[Any] = [
        f"/src/www/index.html:/out/{number}/{value}"
        if short
        else {"source": "/src/www/index.html", "destination": f"/out/{number}/{value}"}
        for number, value in enumerate(values["path"])
    ]
    return {
        "base": {"image": base},
        "env": {f"V{number}": literal(value) for number, value in enumerate(values["env"])},
        "labels": {f"v{number}": value for number, value in enumerate(values["label"])},
        "directories": directories,
        "entrypoint": values["entrypoint"],
    }


def strategy_with(way: str, build: dict[str, Any], folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a strategy and values of its parameters that bring the spec in one of the ways there are."""
    text = yaml.safe_dump(build, allow_unicode=False, default_style='"')
    if way == "parameters":
        (converted,) = yaml.safe_load_all(convert(text).text)
        values = {
            item["name"]: [one["value"] for one in item["values"]] if "values" in item else item["value"]
            for item in converted["spec"]["paramValues"]
        }
        return yaml.safe_load(cluster_strategy(managed=False)), values
    if way == "source":
        folder.chmod(0o755)
        (folder / "build.yaml").write_text(text)
        return yaml.safe_load(cluster_strategy(managed=False)), {"runtime-spec-file": "build.yaml"}
    if way == "configmap":
        (folder / "configmap").mkdir()
        (folder / "configmap" / "build.yaml").write_text(text)
    amendment = Amendment(configmap="spec") if way == "configmap" else Amendment(spec=spec_to_json(text))
    minimal = "apiVersion: shipwright.io/v1beta1\nkind: BuildStrategy\nspec:\n  steps:\n    - name: none\n"
    document = yaml.safe_load(amend(minimal, amendment).text)
    del document["spec"]["steps"][0]
    return document, {}


SYSTEM = {
    "shp-source-root": "/workspace/source",
    "shp-source-context": "/workspace/source",
    "shp-output-directory": "/workspace/output-image",
    "shp-output-insecure": "false",
}
WAYS = ["strategy", "parameters", "source", "configmap"]


@pytest.mark.parametrize("way", WAYS)
def test_nothing_of_a_value_becomes_part_of_a_step(way: str, tmp_path: Path) -> None:
    """The steps' arguments are the same for every spec, but for the arrays behind the options."""
    seen = set()
    for value in VALUES:
        for place, runtime in runtimes(value).items():
            if value not in ACCEPTED[place] or (way == "parameters" and place == "path"):
                continue
            folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            build = {**BASE, "apiVersion": "shipwright.io/v1alpha1", "spec": {"runtime": runtime}}
            build["spec"] |= {"output": {"image": "registry.example.com/x:1"}, "builder": {"image": "b:1"}}
            document, values = strategy_with(way, build, folder)
            (step,) = resolved_steps(document, SYSTEM | {"shp-output-image": "registry.example.com/x:1"} | values)
            options = step["args"][: step["args"].index("--")]
            seen.add(tuple(item for item in options if not item.startswith(("--base-image", "--work-dir"))))
            assert step["command"] == ["runtimeimg", "step", "compose"]
            assert step["args"].count("--") == len(ARRAYS)
            assert [item["name"] for item in step["env"]] == ["HOME", "TMPDIR", "RUNTIMEIMG_SPEC"]
    assert len(seen) == 1


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_values_arrive_in_the_image_as_they_are(
    way: str, logged_registry: LoggedRegistry, tool_image: str, web_images: tuple[str, str], tmp_path: Path
) -> None:
    builder, base = web_images
    name = f"{logged_registry.host}/injection/{way}:1"
    values = dict(ACCEPTED)
    if way == "parameters":  # the short form, which cannot say a colon
        values["path"] = [value for value in values["path"] if ":" not in value]
    build = {
        "apiVersion": "shipwright.io/v1alpha1",
        "kind": "Build",
        "spec": {
            "builder": {"image": builder},
            "output": {"image": name},
            "runtime": whole_runtime(base, values, short=way == "parameters"),
        },
    }
    document, given = strategy_with(way, build, tmp_path)
    for step in document["spec"]["steps"]:
        step["image"] = tool_image
    pod = Pod(folder=tmp_path, parameters=SYSTEM | {"shp-output-image": name} | given, source=tmp_path)
    assert pod.run(document) == 0, pod.logs[-1][-3000:]
    image = open_image(Location.parse(f"docker://{name}"), StoreOptions())
    config = image.config
    env = {key: value for key, value in config.env.items() if key.startswith("V")}
    assert env == {f"V{number}": value for number, value in enumerate(values["env"])}
    assert {key: config.labels[key] for key in config.labels if key.startswith("v")} == {
        f"v{number}": value for number, value in enumerate(values["label"])
    }
    assert config.strings("Entrypoint") == tuple(values["entrypoint"])
    with image.layers[-1].open() as layer, tarfile.open(fileobj=layer, mode="r|*") as archive:
        paths = {f"/{entry.name.lstrip('./')}" for entry in archive if entry.isreg()}
    expected = set()
    for number, value in enumerate(values["path"]):
        path = posixpath.normpath(f"/out/{number}/{value}")
        is_folder = value.endswith("/") or path == f"/out/{number}"
        expected.add(f"{path}/index.html" if is_folder and value.endswith("/") else path)
    assert {path for path in paths if path.startswith("/out/")} == expected
    assert not list(tmp_path.rglob("pwned"))
