"""Stamping: what an image says of itself, as labels and OCI config fields. Layers are never touched.

`configure` applies a plan's own fields to a config the way a Dockerfile's instructions would; `apply` adds the
stamp: the runtime graph, where the image came from, and the supervising entrypoint when there are daemons.
Both give the same result when done again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runtimeimg import runtimegraph, supervisor
from runtimeimg.errors import InvalidDocumentError, UsageError
from runtimeimg.image import Image
from runtimeimg.oci import Digest, ImageConfig
from runtimeimg.plan import DEFAULT_PATH, BuildPlan, EnvVar, StampInstructions
from runtimeimg.runtimegraph import RuntimeGraph
from runtimeimg.spec.expansion import ExpansionError, Variable, expand

BASE_NAME = "org.opencontainers.image.base.name"
BASE_DIGEST = "org.opencontainers.image.base.digest"
MAX_ENVIRONMENT = 1 << 20
"""Bytes of all variables together; Linux starts no program with more than about two mebibytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What is written on an image: the graph (None leaves the image's own), labels, annotations of the manifest.

    Without `supervise` the entrypoint stays the main command's alone: the labels then carry the daemons to whoever runs
    them beside it.
    """

    graph: RuntimeGraph | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    graph_format: str = "runtimegraph"
    supervise: bool = True


def stamp_of(
    plan: BuildPlan,
    *,
    base_digest: Digest | None = None,
    graph_format: str = "runtimegraph",
) -> Stamp:
    """Return the stamp of a plan; `base_digest` is that of the base's manifest, where it is known.

    Labels that the plan sets itself win over those that describe the build.
    """
    labels = dict(plan.metadata)
    if plan.base is not None and plan.base.reference is not None:
        # The name of a folder or an archive of one machine would say nothing elsewhere, and differ between builds.
        labels[BASE_NAME] = str(plan.base.reference.tagged)
    if base_digest is not None:
        labels[BASE_DIGEST] = str(base_digest)
    return Stamp(
        graph=plan.graph,
        labels={key: value for key, value in labels.items() if key not in plan.labels},
        annotations=plan.annotations,
        graph_format=graph_format,
        supervise=plan.supervise,
    )


def stamp_instructions(plan: BuildPlan, stamp: Stamp, base: ImageConfig | None) -> StampInstructions:
    """Return `stamp` as instructions; `base` is needed only when daemons are added to the base's own command."""
    labels = {**stamp.labels, **_graph_labels(stamp)}
    if stamp.graph is None or not stamp.graph.daemons or not stamp.supervise:
        return StampInstructions(labels=labels)
    entrypoint, cmd = plan.entrypoint, plan.cmd
    if base is not None:
        config = configure(base, plan)
        entrypoint, cmd = config.strings("Entrypoint"), config.strings("Cmd")
    elif entrypoint is None and plan.base is not None:
        raise UsageError(
            f"the command of the base image '{plan.base}' is not known here, and the daemons need it",
            hint="write spec.runtime.entrypoint, or render where the base image can be read",
        )
    entrypoint = _supervised(entrypoint or (), cmd or (), stamp.graph)
    return StampInstructions(labels=labels, entrypoint=entrypoint, cmd=cmd or None)


def apply(image: Image, stamp: Stamp) -> Image:
    """Return `image` with `stamp` on it: the same layers, another config; the same image when nothing changes."""
    config = image.config
    labels = {**config.labels, **stamp.labels}
    changes: dict[str, Any] = {}
    if stamp.graph is not None:
        labels = {key: value for key, value in labels.items() if key not in _ALL_GRAPH_LABELS}
        labels |= _graph_labels(stamp)
        changes["ExposedPorts"] = _merged_set(config, "ExposedPorts", _ports(item.port for item in stamp.graph.expose))
        entrypoint = config.strings("Entrypoint")
        main = supervisor.unwrap(entrypoint)
        main = entrypoint if main is None else main
        if stamp.supervise and not _starts_already(main, config.labels, stamp.graph):
            main = _supervised(main, config.strings("Cmd"), stamp.graph)
        changes["Entrypoint"] = list(main) or None
    changes["Labels"] = labels or None
    if any(config.config.get(key) != value for key, value in changes.items()):
        config = config.with_config(**changes)
    return image.with_config(config).with_annotations(stamp.annotations)


def configure(config: ImageConfig, plan: BuildPlan, *, again: bool = False) -> ImageConfig:
    """Return `config` (the base's) with the plan's environment, labels, ports, command and so on.

    With `again` the config may already have been configured by the same plan: a variable that refers to itself
    (`PATH=/app/bin:$PATH`) is then left as it is where it already has that form.
    """
    changes: dict[str, Any] = {
        "Env": _environment(config.strings("Env"), plan.env, again=again),
        "ExposedPorts": _merged_set(config, "ExposedPorts", _ports(plan.ports)),
        "Volumes": _merged_set(config, "Volumes", plan.volumes),
    }
    if plan.labels:
        changes["Labels"] = {**config.labels, **plan.labels}
    single = {"WorkingDir": plan.work_dir, "User": plan.user, "StopSignal": plan.stop_signal}
    changes |= {key: value for key, value in single.items() if value is not None}
    if plan.entrypoint is not None:
        changes["Entrypoint"] = list(plan.entrypoint) or None
        changes["Cmd"] = None
    if plan.cmd is not None:
        changes["Cmd"] = list(plan.cmd) or None
    return config.with_config(**changes)


_ALL_GRAPH_LABELS = frozenset((*runtimegraph.GRAPH_LABELS, runtimegraph.ENVD_LABEL))


def _graph_labels(stamp: Stamp) -> dict[str, str]:
    return {} if stamp.graph is None else runtimegraph.encode(stamp.graph, stamp.graph_format)


def _starts_already(main: tuple[str, ...], labels: Mapping[str, str], graph: RuntimeGraph) -> bool:
    """Tell whether the entrypoint is envd's supervisor and starts just these daemons, as the image's labels say."""
    if not supervisor.is_envds(main):
        return False
    with contextlib.suppress(InvalidDocumentError):
        stamped = runtimegraph.decode(labels)
        return stamped is not None and stamped.daemons == graph.daemons
    return False


def _supervised(main: tuple[str, ...], cmd: tuple[str, ...], graph: RuntimeGraph) -> tuple[str, ...]:
    if not graph.daemons:
        return main
    if not main and not cmd:
        raise UsageError(
            "the image has daemons but no main command to run beside them",
            hint="write spec.runtime.entrypoint or spec.runtime.cmd",
        )
    return supervisor.wrap(graph.daemons, main)


def _environment(base: Sequence[str], variables: Iterable[EnvVar], *, again: bool) -> list[str]:
    """Return the base's entries as they are, with the first of a name replaced where a variable is set.

    So do Docker's builders: of a name that is there twice the last counts in references, and entries without `=` stay.
    """
    entries = list(base)
    if not any(entry.startswith("PATH=") for entry in entries):
        entries.append(f"PATH={DEFAULT_PATH}")
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for place, entry in enumerate(entries):
        name = entry.partition("=")[0]
        first.setdefault(name, place)
        last[name] = place
    env = dict(entry.partition("=")[::2] for entry in entries)
    for variable in variables:
        if again and _has_form(variable, env):
            continue
        value = _expanded(variable, env)
        place = first.setdefault(variable.name, len(entries))
        entries[place : place + 1] = [f"{variable.name}={value}"]
        if last.setdefault(variable.name, place) == place:
            env[variable.name] = value
    if sum(map(len, entries)) > MAX_ENVIRONMENT:
        raise UsageError(f"spec.runtime.env: the environment is larger than {MAX_ENVIRONMENT >> 20} MiB")
    return entries


def _expanded(variable: EnvVar, env: Mapping[str, str]) -> str:
    try:
        return expand(variable.value, env)
    except ExpansionError as error:
        raise UsageError(f"{variable.origin}: {error}") from None


def _has_form(variable: EnvVar, env: Mapping[str, str]) -> bool:
    """Tell whether the variable's value is already one that its own self-reference gives."""
    itself = [part for part in variable.value if isinstance(part, Variable) and part.name == variable.name]
    current = env.get(variable.name)
    if len(itself) != 1 or current is None:
        return False
    at = variable.value.index(itself[0])
    try:
        before, after = expand(variable.value[:at], env), expand(variable.value[at + 1 :], env)
    except ExpansionError:
        return False
    return len(current) >= len(before) + len(after) and current.startswith(before) and current.endswith(after)


def _ports(ports: Iterable[int]) -> tuple[str, ...]:
    return tuple(f"{port}/tcp" for port in ports)


def _merged_set(config: ImageConfig, key: str, names: Iterable[str]) -> dict[str, Any] | None:
    """Return the config's set (a map to empty objects) with `names` added, sorted; None when it is empty."""
    merged = {**config.names(key), **{name: {} for name in names}}
    return dict(sorted(merged.items())) or None
