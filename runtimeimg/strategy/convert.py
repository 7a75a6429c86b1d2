"""Old Builds with `spec.runtime`, turned into Builds of shipwright.io/v1beta1 that name an amended strategy or ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runtimeimg.errors import UsageError
from runtimeimg.spec import load_spec_text
from runtimeimg.strategy import layout
from runtimeimg.strategy.data import MAX_DATA, dump, is_plain, to_item, to_json
from runtimeimg.strategy.dialect import PREFIX

OLD_VERSIONS = ("build.dev/v1alpha1", "shipwright.io/v1alpha1", "shipwright.io/v1beta1")
OUR_STRATEGY = "runtime-image"

_SECOND_PUSH = (
    "{keys}: kept, but Shipwright changes the image for it after our step; where that step pushes (cluster-strategy "
    "--push, an amended strategy that pushes by itself) it is pushed twice; labels may be paramValues {prefix}labels"
)
_KEPT = ("env", "timeout", "retention", "volumes", "nodeSelector", "tolerations", "schedulerName", "runtimeClassName")
_HANDLED = ("runtime", "source", "strategy", "builder", "dockerfile", "output", "parameters", "paramValues", "trigger")
_RUNTIME_PARAMETERS = {"base", "workDir", "env", "labels", "directories", "paths", "entrypoint"}
"""Keys of spec.runtime that parameters of their own can say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """The new Build as YAML, and what was moved or left out, a line each."""

    text: str
    moved: tuple[str, ...]


def convert(
    text: str,
    *,
    strategy: str | None = None,
    kind: str = "ClusterBuildStrategy",
    builder_image: str | None = None,
    file: str = "<stdin>",
) -> Converted:
    """Return the Build in `text` as one of shipwright.io/v1beta1.

    Without `strategy` it uses ours, which composes from `builder_image` (spec.builder.image, else the output's own
    name); with it, an amended strategy that builds the builder image too, and then the values meant for that stay.
    Raises SpecError for an invalid spec, UsageError for a document that is no such Build.
    """
    build = _build(text, file)
    spec = build["spec"]
    moved = _Moved()
    runtime = _runtime(spec["runtime"], moved)
    _validate(text, build, runtime, file)
    values = _runtime_values(runtime, moved)
    if strategy is None:
        values = _builder_value(spec, builder_image, moved) + values
        _drop_strategy_values(spec, moved)
    else:
        values = _strategy_values(spec, moved) + values
    new: dict[str, Any] = {}
    if isinstance(spec.get("source"), Mapping):
        new["source"] = _source(spec["source"], moved)
    new["strategy"] = {"name": strategy or OUR_STRATEGY, "kind": kind}
    _note_strategy(spec, new["strategy"], moved)
    output = _with_secret(spec.get("output"), "pushSecret", "spec.output", moved)
    if strategy is None:
        values = [*values, *_platforms_value(output, moved)]
    if changes := [key for key in ("labels", "annotations", "timestamp", "vulnerabilityScan") if output.get(key)]:
        moved.note(_SECOND_PUSH.format(keys=", ".join(f"spec.output.{key}" for key in changes), prefix=PREFIX))
    new["paramValues"] = values
    new["output"] = output
    new |= {key: spec[key] for key in _KEPT if key in spec}
    if isinstance(spec.get("trigger"), Mapping):
        new["trigger"] = _trigger(spec["trigger"], moved)
    for key in spec:
        if key not in _KEPT and key not in _HANDLED:
            moved.note(f"spec.{key}: left out, shipwright.io/v1beta1 has no such field")
    metadata = {key: value for key, value in (build.get("metadata") or {}).items() if key in _METADATA}
    document = {"apiVersion": "shipwright.io/v1beta1", "kind": "Build", "metadata": metadata, "spec": new}
    return Converted(text=_dump(document), moved=tuple(moved.lines))


_METADATA = ("name", "namespace", "labels", "annotations")


class _Moved:
    """What was moved where, in the order it was."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        self.lines.append(line)

    def to(self, old: str, new: str) -> None:
        self.lines.append(f"{old} -> {new}")


def _build(text: str, file: str) -> dict[str, Any]:
    builds = [
        document.data
        for document in layout.read(text, file)
        if isinstance(document.data, Mapping) and document.data.get("kind") == "Build"
    ]
    if len(builds) != 1:
        raise UsageError(f"'{file}' holds {len(builds)} Builds; exactly one is wanted")
    build: dict[str, Any] = dict(builds[0])
    if build.get("apiVersion") not in OLD_VERSIONS:
        raise UsageError(
            f"'{file}' is a Build of {build.get('apiVersion')!r}", hint=f"known are {', '.join(OLD_VERSIONS)}"
        )
    spec = build.get("spec")
    if not isinstance(spec, Mapping) or not isinstance(spec.get("runtime"), Mapping):
        raise UsageError(f"'{file}' has no spec.runtime; there is nothing to convert")
    if not isinstance(spec.get("output"), Mapping):
        raise UsageError(f"'{file}' has no spec.output, which names the image")
    return build


def _runtime(runtime: Mapping[str, Any], moved: _Moved) -> dict[str, Any]:
    """Return spec.runtime without the login that the old API allowed beside the base's name."""
    base = runtime.get("base")
    if not isinstance(base, Mapping) or set(base) <= {"image"}:
        return dict(runtime)
    for key in base:
        if key != "image":
            moved.note(f"spec.runtime.base.{key}: left out; a login for the base belongs to the service account")
    return {**runtime, "base": {"image": base.get("image")}}


def _validate(text: str, build: Mapping[str, Any], runtime: Mapping[str, Any], file: str) -> None:
    """Raise SpecError, with the positions of the file where it is read as it stands."""
    if runtime == build["spec"]["runtime"]:
        load_spec_text(text.encode("utf-8", "surrogatepass"), file)
    else:
        load_spec_text(dump({**build, "spec": {**build["spec"], "runtime": runtime}}).encode(), file)


def _runtime_values(runtime: Mapping[str, Any], moved: _Moved) -> list[dict[str, Any]]:
    directories = runtime.get("directories") or runtime.get("paths") or []
    plain = set(runtime) <= _RUNTIME_PARAMETERS and all(isinstance(item, str) for item in directories)
    if not plain or runtime.get("entrypoint") == []:
        moved.to("spec.runtime", f"paramValues {PREFIX}spec")
        document = {"apiVersion": "runtimeimg.dev/v1", "kind": "Build", "spec": {"runtime": dict(runtime)}}
        return [{"name": f"{PREFIX}spec", "value": to_json(document)}]
    env, labels = runtime.get("env") or {}, runtime.get("labels") or {}
    key = "paths" if "paths" in runtime else "directories"
    found: list[tuple[str, str, Any]] = [
        ("base.image", "base-image", runtime["base"]["image"]),
        ("workDir", "work-dir", runtime.get("workDir")),
        ("env", "env", [f"{name}={_text(value)}" for name, value in env.items()]),
        ("labels", "labels", [f"{name}={_text(value)}" for name, value in labels.items()]),
        (key, "directories", list(directories)),
        ("entrypoint", "entrypoint", [_text(item) for item in runtime.get("entrypoint") or []]),
    ]
    values = []
    for old, name, value in found:
        if value:
            moved.to(f"spec.runtime.{old}", f"paramValues {PREFIX}{name}")
            values.append(_value(PREFIX + name, value))
    return values


def _value(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        return {"name": name, "values": [{"value": to_item(item)} for item in value]}
    return {"name": name, "value": to_item(value)}


def _text(value: object) -> str:
    """Return a scalar as the spec reads it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _builder_value(spec: Mapping[str, Any], builder_image: str | None, moved: _Moved) -> list[dict[str, Any]]:
    builder = spec.get("builder")
    image = builder.get("image") if isinstance(builder, Mapping) else None
    name = f"{PREFIX}builder-image"
    if builder_image is None and image is not None:
        moved.to("spec.builder.image", f"paramValues {name}")
    if builder_image is None and image is None:
        moved.note(
            f"paramValues {name}: the output's own name, as the old controller had it; nothing builds that image now: "
            "give another with --builder-image, or name an amended strategy with --strategy"
        )
    return [{"name": name, "value": str(builder_image or image or spec["output"].get("image"))}]


def _drop_strategy_values(spec: Mapping[str, Any], moved: _Moved) -> None:
    for key in ("dockerfile", "parameters", "paramValues"):
        if key in spec:
            moved.note(f"spec.{key}: left out, it was for the old strategy (see --strategy)")


def _strategy_values(spec: Mapping[str, Any], moved: _Moved) -> list[dict[str, Any]]:
    """Return the values that an amended strategy takes as it did before."""
    values: list[dict[str, Any]] = []
    for key in ("parameters", "paramValues"):
        values += [dict(item) for item in spec.get(key) or [] if isinstance(item, Mapping)]
    if spec.get("parameters"):
        moved.to("spec.parameters", "spec.paramValues")
    if spec.get("dockerfile") is not None:
        moved.to("spec.dockerfile", "paramValues dockerfile")
        values.append({"name": "dockerfile", "value": str(spec["dockerfile"])})
    builder = spec.get("builder")
    if isinstance(builder, Mapping) and builder.get("image"):
        moved.to("spec.builder.image", "paramValues builder-image")
        values.append({"name": "builder-image", "value": str(builder["image"])})
    return values


def _note_strategy(spec: Mapping[str, Any], new: Mapping[str, str], moved: _Moved) -> None:
    old = spec.get("strategy") or spec.get("strategyRef")
    name = old.get("name") if isinstance(old, Mapping) else None
    if name != new["name"]:
        moved.note(f"spec.strategy: '{name}' became '{new['name']}'" if name else f"spec.strategy: '{new['name']}'")


def _source(source: Mapping[str, Any], moved: _Moved) -> dict[str, Any]:
    if "type" in source:
        return dict(source)
    credentials = source.get("credentials")
    secret = credentials.get("name") if isinstance(credentials, Mapping) else None
    new: dict[str, Any] = {}
    bundle = source.get("bundleContainer")
    if isinstance(bundle, Mapping):
        artifact = {**bundle, "pullSecret": secret} if secret else dict(bundle)
        new = {"type": "OCI", "ociArtifact": artifact}
        moved.to("spec.source.bundleContainer", "spec.source.ociArtifact")
    elif "url" in source:
        git = {"url": source["url"], "revision": source.get("revision"), "cloneSecret": secret}
        new = {"type": "Git", "git": {key: value for key, value in git.items() if value}}
        moved.to("spec.source.url", "spec.source.git.url")
    else:
        raise UsageError("spec.source names neither a url nor a bundleContainer")
    if secret:
        moved.to("spec.source.credentials", "a secret of the new source")
    if source.get("contextDir"):
        new["contextDir"] = source["contextDir"]
    return new


def _with_secret(image: Any, key: str, path: str, moved: _Moved) -> dict[str, Any]:
    """Return an image of the old API with its login under the new key."""
    new = {name: value for name, value in image.items() if name != "credentials"}
    credentials = image.get("credentials")
    if isinstance(credentials, Mapping) and credentials.get("name"):
        new[key] = credentials["name"]
        moved.to(f"{path}.credentials.name", f"{path}.{key}")
    return new


def _platforms_value(output: dict[str, Any], moved: _Moved) -> list[dict[str, Any]]:
    """Take the platforms out of the output: our one step makes the index that Shipwright would start builds for."""
    platforms = output.pop("platforms", None) or []
    if not platforms:
        return []
    moved.to("spec.output.platforms", f"paramValues {PREFIX}platforms")
    names = [f"{item.get('os')}/{item.get('arch')}" for item in platforms if isinstance(item, Mapping)]
    return [_value(f"{PREFIX}platforms", ",".join(names))]


def _trigger(trigger: Mapping[str, Any], moved: _Moved) -> dict[str, Any]:
    new = {key: value for key, value in trigger.items() if key != "secretRef"}
    secret = trigger.get("secretRef")
    if isinstance(secret, Mapping):
        new["triggerSecret"] = secret.get("name")
        moved.to("spec.trigger.secretRef", "spec.trigger.triggerSecret")
    return new


def _dump(document: Mapping[str, Any]) -> str:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes texts of several lines as blocks, and lists indented."""

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
            super().increase_indent(flow, False)

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        # What this writer calls a text, another version of YAML may read as a number or a boolean: 1e3, on.
        style = "|" if "\n" in value else None if is_plain(value) else '"'
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return yaml.dump(document, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=MAX_DATA)
