"""Adding the steps of a runtime image to a strategy or Task that somebody else wrote, and taking them out again.

The text is edited where something is added: everything that was there keeps its bytes. Lines that are added stand
between two comments, and an annotation lists what was added: by either it is found again. Both directions are checked
by reading the result.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runtimeimg.errors import InvalidDocumentError, UsageError
from runtimeimg.strategy import layout, reading
from runtimeimg.strategy.dialect import dialect_of, is_known
from runtimeimg.strategy.documents import (
    DEFAULT_IMAGE,
    configmap_key,
    render_parameters,
    render_results,
    render_steps,
    render_volumes,
)
from runtimeimg.strategy.editing import Edit, apply, block, flow_entry, flow_items, indented, lines_at
from runtimeimg.strategy.layout import Found, Place
from runtimeimg.strategy.parameters import RESULTS, Naming, described
from runtimeimg.strategy.record import ANNOTATION, Record, items_digest
from runtimeimg.strategy.removal import BEGIN, END, remove
from runtimeimg.strategy.steps import BUILT_SUFFIX, CA_MOUNT, CA_VOLUME, CACHE_MOUNT, CACHE_VOLUME, StepOptions
from runtimeimg.strategy.verify import names_in, only_added

_SECOND_PUSH = (
    "the steps mention '{output}': where they push the builder image under that name, the runtime image is the second "
    "push there; --redirect lets them push under another name"
)
_CACHE_MISSES = (
    "the steps import their cache from the image that they build ({steps}); what is called '{output}' is the runtime "
    "image now, which holds no cache, so each build starts anew: give the cache a name of its own there, for example "
    "--export-cache=type=registry,ref={output}-cache,mode=max and --import-cache=type=registry,ref={output}-cache"
)
_OWN_RESULTS = (
    "the steps write results that are the runtime image's: {names}; they write them with '{suffix}' at the end now"
)
_WORKSPACES = f"""\
- name: {CA_VOLUME}
  description: Certificates of authorities to trust, in PEM; a ConfigMap or Secret.
  optional: true
"""
_CACHE_WORKSPACE = f"""\
- name: {CACHE_VOLUME}
  description: What saves work the next time; a PersistentVolumeClaim, which several pods may share.
  optional: true
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amendment:
    """What is added.

    `spec` is the Build spec as JSON text free of `$`, `spec_path` its path in the source, `configmap` the
    `NAME[:KEY]` it is in; all may be None: then the parameters of each build say it all. `source` and `output_image`
    are needed for a Task whose workspace and image parameter cannot be told. `redirect` lets earlier steps push under
    another name than the output's. `run_as` is `UID[:GID]`. `artifacts` is for clusters with Tekton's artifacts on.
    """

    image: str = DEFAULT_IMAGE
    builder: str = "native"
    builder_step_image: str | None = None
    spec: str | None = None
    spec_path: str | None = None
    configmap: str | None = None
    name: str | None = None
    source: str | None = None
    output_image: str | None = None
    redirect: bool = False
    run_as: str | None = None
    artifacts: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Amended:
    """The new text, and what the caller should be told about it."""

    text: str
    notes: tuple[str, ...] = ()


def amend(text: str, amendment: Amendment, *, file: str = "<stdin>") -> Amended:
    """Return `text` with the steps added; what an earlier amendment added is replaced.

    A text that says the same already comes back as it is. Raises SpecError for a text that is no YAML, UsageError
    where there is nothing to add to or no way to do it.
    """
    removed = remove(text, file=file)
    original = removed.text
    found = _choose(layout.read(original, file), amendment.name, file)
    target = _Target(original, found, amendment)
    result = target.amended()
    before, after = layout.read(original, file), layout.read(result, file)
    if remove(result, file=file).text != original or not only_added(before, after, target.record):
        raise InvalidDocumentError(
            f"'{file}' is written in a way that steps cannot be added to",
            hint="write its lists in block style, an item a line",
        )
    if BEGIN not in text and [item.data for item in layout.read(text, file)] == [item.data for item in after]:
        result = text
    return Amended(text=result, notes=(*removed.notes, *target.notes))


def _choose(documents: Sequence[Found], name: str | None, file: str) -> Found:
    """Return the one strategy or Task of a file, or the one that is called `name`."""
    maps = [document for document in documents if isinstance(document.data, Mapping)]
    known = [item for item in maps if is_known(item.data.get("apiVersion"), item.data.get("kind"))]
    if name is not None:
        known = [item for item in known if _name(item) == name]
    if len(known) == 1:
        return known[0]
    if known:
        names = ", ".join(_name(item) or "one without a name" for item in known)
        raise UsageError(f"'{file}' holds {len(known)} strategies or Tasks: {names}", hint="choose one with --name")
    if name is None and len(maps) == 1:
        dialect_of(str(maps[0].data.get("apiVersion")), str(maps[0].data.get("kind")))
    raise UsageError(f"'{file}' holds no strategy or Task" + (f" called '{name}'" if name else ""))


def _name(document: Found) -> str | None:
    metadata = document.data.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return name if isinstance(name, str) else None


class _Target:
    """A document that is being added to."""

    def __init__(self, text: str, found: Found, amendment: Amendment) -> None:
        self.notes: tuple[str, ...] = ()
        self._text = text
        self._lines = layout.split_lines(text)
        self._amendment = amendment
        self.data = found.data
        self.dialect = dialect_of(found.data["apiVersion"], found.data["kind"])
        self._root = found.place
        self._spec = block(found.place.entries.get("spec"), "spec", "map", flow=True)
        self._steps = block(self._spec.entries.get(self.dialect.steps_key), self.dialect.steps_key, "list", flow=True)
        self._renamed: tuple[str, ...] = ()
        self.record = Record()

    def amended(self) -> str:
        """Return the text with everything added."""
        options = self._options()
        additions = {self.dialect.steps_key: render_steps(self.dialect, options)}
        if self.dialect.parameters_key and options.naming:
            additions[self.dialect.parameters_key] = self._parameters(options.naming)
        if self.dialect.task and (results := self._results()):
            additions["results"] = results
        if self.dialect.task:
            additions["workspaces"] = _WORKSPACES + (_CACHE_WORKSPACE if options.cache else "")
        if self.dialect.volumes_key:
            additions[self.dialect.volumes_key] = render_volumes(
                self.dialect, self._amendment.configmap, cache=bool(options.cache)
            )
        items: dict[str, list[Any]] = {key: layout.read(text, "<added>")[0].data for key, text in additions.items()}
        added = {key: tuple(item["name"] for item in found) for key, found in items.items()}
        for key, names in added.items():
            if taken := set(names) & names_in(self.data, key):
                raise UsageError(f"'{key}' of the document has a '{min(taken)}' of its own; rename that first")
        self.record = Record(
            added=added,
            created=tuple(key for key in added if key not in self._spec.entries),
            empty=self._empty_maps(),
            renamed=self._renamed,
            digest=items_digest({"spec": items}, added),
        )
        return apply(self._text, [*self._renames(), *self._into_spec(additions, items), self._annotated()])

    def _into_spec(self, additions: Mapping[str, str], items: Mapping[str, list[Any]]) -> Iterator[Edit]:
        """Yield the edits that put items at the ends of their lists; lists that are missing come below the steps."""
        spec, lines = self._spec, self._lines
        missing = ""
        for key, text in additions.items():
            if key in spec.entries:
                continue
            if spec.flow:
                yield flow_entry(spec, key, items[key])
            else:
                missing += f"{' ' * spec.column}{key}:\n{indented(text, spec.column + 2)}"
        for key, text in additions.items():
            if key not in spec.entries:
                continue
            place = block(spec.entries[key], key, "list", flow=True)
            below = missing if key == self.dialect.steps_key else ""
            if place.flow:
                yield flow_items(place, items[key])
                column = spec.column
                added = below
            else:
                column = layout.dash_column(lines, place)
                added = indented(text, column) + below
            if added:
                yield lines_at(layout.line_after(lines, place, column), _marked(added, column))

    def _annotated(self) -> Edit:
        """Return the edit that adds the annotation, and the maps around it that are missing."""
        value: Any = self.record.to_json()
        place, path = self._annotations_parent()
        if place.flow:
            for key in reversed(path[1:]):
                value = {key: value}
            return flow_entry(place, path[0], value)
        text = "".join(f"{' ' * (2 * depth)}{key}:\n" for depth, key in enumerate(path[:-1]))
        quoted = value.replace("'", "''")
        text += f"{' ' * (2 * (len(path) - 1))}{path[-1]}: '{quoted}'\n"
        at = layout.line_after(self._lines, place, place.column)
        return lines_at(at, _marked(indented(text, place.column), place.column))

    def _annotations_parent(self) -> tuple[Place, tuple[str, ...]]:
        """Return the innermost map there is on the way to the annotation, and the keys that follow from there."""
        path = ("metadata", "annotations", ANNOTATION)
        place = self._root
        for depth, key in enumerate(path[:-1]):
            if key not in place.entries:
                return place, path[depth:]
            place = block(place.entries[key], key, "map", flow=True)
        return place, path[-1:]

    def _empty_maps(self) -> tuple[str, ...]:
        place, path = self._annotations_parent()
        return {2: ("metadata",), 1: ("annotations",)}.get(len(path), ()) if not place.entries else ()

    def _renames(self) -> Iterator[Edit]:
        """Yield the edits by which earlier steps use other names."""
        for at in range(self._steps.line, self._steps.last + 1):
            for name in self._renamed:
                for match in re.finditer(re.escape(name), self._lines[at]):
                    yield Edit(start=(at, match.end()), end=(at, match.end()), text=BUILT_SUFFIX)

    def _options(self) -> StepOptions:
        amendment, dialect = self._amendment, self.dialect
        steps = "".join(self._lines[self._steps.line : self._steps.last + 1])
        output = amendment.output_image or dialect.output_image or reading.output_parameter(self.data)
        managed = bool(dialect.output_directory) and dialect.output_directory in steps
        built = "" if managed or output not in steps else output
        if built and amendment.redirect:
            if not dialect.output_image:
                raise UsageError("--redirect is for strategies; let the Task's own step push under another name")
            self._rename(steps, (output,))
            built = output + BUILT_SUFFIX
        elif built:
            self.notes += (_SECOND_PUSH.format(output=output),)
        importing = reading.cache_imports(self.data, self.dialect.steps_key, output)
        if importing and output not in self._renamed:
            self.notes += (_CACHE_MISSES.format(steps=", ".join(importing), output=output),)
        self._rename(steps, reading.results_written(steps, dialect))
        user, group = reading.run_as(self.data, amendment.run_as)
        return StepOptions(
            image=amendment.image,
            builder=amendment.builder,
            builder_step_image=amendment.builder_step_image,
            naming=Naming() if dialect.parameters_key else None,
            managed=managed,
            built=built,
            source=amendment.source or dialect.source or reading.workspace(self.data),
            output_image=output,
            insecure=dialect.insecure,
            inline_spec=self._inline_spec(),
            configmap=configmap_key(amendment.configmap),
            authorities=self._folder(CA_VOLUME, CA_MOUNT),
            cache=self._folder(CACHE_VOLUME, CACHE_MOUNT) if amendment.builder == "native" else "",
            artifacts=amendment.artifacts,
            user=user,
            group=group,
        )

    def _folder(self, name: str, mount: str) -> str:
        """Return where a volume is in a step; in a Task, whose volumes nobody can change, it is a workspace."""
        if self.dialect.task:
            return f"$(workspaces.{name}.path)"
        return mount if self.dialect.volumes_key else ""

    def _rename(self, steps: str, names: tuple[str, ...]) -> None:
        """Have earlier steps use these names with a suffix: what they stand for is the runtime image's."""
        for name in names:
            if name + BUILT_SUFFIX in steps:
                raise UsageError(
                    f"the steps mention '{name}{BUILT_SUFFIX}' already, where '{name}' would have to go",
                    hint="let them use another name there",
                )
        self._renamed += names
        if names and names[0] != self.dialect.output_image:
            self.notes += (_OWN_RESULTS.format(names=", ".join(names), suffix=BUILT_SUFFIX),)

    def _inline_spec(self) -> str:
        """Return the spec for a document without parameters, which must have it now."""
        amendment = self._amendment
        if self.dialect.parameters_key:
            return ""
        if amendment.configmap or amendment.spec_path or amendment.spec is None:
            raise UsageError(
                f"a {self.data['kind']} of {self.data['apiVersion']} has neither parameters nor volumes",
                hint="pass the spec with --spec",
            )
        return amendment.spec

    def _parameters(self, naming: Naming) -> str:
        defaults = {}
        if self._amendment.spec is not None:
            defaults["spec"] = self._amendment.spec
        if self._amendment.spec_path is not None:
            defaults["spec-file"] = self._amendment.spec_path
        return render_parameters(self.dialect, described(naming, defaults))

    def _results(self) -> str:
        """Return the results that the Task has not got yet."""
        there = {item.get("name") for item in self.data["spec"].get("results") or [] if isinstance(item, Mapping)}
        return render_results([result for result in RESULTS if result.name not in there])


def _marked(text: str, column: int) -> str:
    return f"{' ' * column}{BEGIN}\n{text}{' ' * column}{END}\n"
