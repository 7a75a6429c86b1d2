"""Adding the steps of a runtime image to a strategy or Task that somebody else wrote, and taking them out again.

The text is edited between its lines: every line that was there keeps its bytes, and what is added stands between two
comments by which it is found again. Both directions are checked by reading the result.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runtimeimg.errors import InvalidDocumentError, UsageError
from runtimeimg.strategy import layout
from runtimeimg.strategy.dialect import dialect_of, is_known
from runtimeimg.strategy.documents import DEFAULT_IMAGE, render_parameters, render_steps, render_volumes
from runtimeimg.strategy.layout import Found, Place
from runtimeimg.strategy.parameters import Naming, described
from runtimeimg.strategy.steps import BUILT_SUFFIX, NOT_ROOT, StepOptions
from runtimeimg.strategy.verify import RESULTS, built_restored, names_in, only_added

_BEGIN = "# >>> added by runtimeimg strategy amend"
_REDIRECTED = "; the builder image is pushed under another name"
_END = "# <<< added by runtimeimg strategy amend"
_BLOCK = re.compile(
    rf"^[ ]*{re.escape(_BEGIN)}(?P<redirected>{re.escape(_REDIRECTED)})?[ ]*\r?\n(?:.*\n)*?"
    rf"[ ]*{re.escape(_END)}[ ]*(?:\r?\n|\Z)",
    re.MULTILINE,
)
_SECOND_PUSH = (
    "the steps mention '{output}': where they push the builder image under that name, the runtime image is the second "
    "push there; --redirect lets them push under another name"
)
_OUTPUT_NAMES = ("IMAGE", "image", "OUTPUT_IMAGE", "output-image", "APP_IMAGE", "image-url")


@dataclass(frozen=True, slots=True, kw_only=True)
class Amendment:
    """What is added.

    `spec` is the Build spec as JSON text free of `$`, `spec_path` its path in the source, `configmap` the
    `NAME[:KEY]` it is in; all may be None: then the parameters of each build say it all. `source` and `output_image`
    are needed for a Task whose workspace and image parameter cannot be told. `redirect` lets earlier steps push under
    another name than the output's. `run_as` is `UID[:GID]`.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Amended:
    """The new text, and what the caller should be told about it."""

    text: str
    notes: tuple[str, ...] = ()


def amend(text: str, amendment: Amendment, *, file: str = "<stdin>") -> Amended:
    """Return `text` with the steps added; what an earlier amendment added is replaced.

    Raises SpecError for a text that is no YAML, UsageError where there is nothing to add to or no way to do it.
    """
    original = remove(text, file=file)
    found = _choose(layout.read(original, file), amendment.name, file)
    target = _Target(original, found, amendment)
    result = target.amended()
    before, after = layout.read(original, file), layout.read(result, file)
    undone = built_restored(after, target.dialect.output_image) if target.redirected else after
    if remove(result, file=file) != original or not only_added(before, undone, target.added):
        raise InvalidDocumentError(
            f"'{file}' is written in a way that steps cannot be added to",
            hint="write its lists in block style, an item a line",
        )
    return Amended(text=result, notes=target.notes)


def remove(text: str, *, file: str = "<stdin>") -> str:
    """Return `text` without what `amend` added, byte for byte as it was; unchanged when nothing was added."""
    if _BEGIN not in text:
        return text
    redirected = any(match["redirected"] for match in _BLOCK.finditer(text))
    result = _BLOCK.sub("", text)
    if _BEGIN in result or _END in result:
        raise InvalidDocumentError(
            f"{file}: the comments around what was added are not in pairs",
            hint=f"each '{_BEGIN}' wants its '{_END}'",
        )
    if not text.endswith("\n") and result != text and _BLOCK.search(text, _last_block(text)):
        result = re.sub(r"\r?\n\Z", "", result)
    if redirected:
        for output in ("$(params.shp-output-image)", "$(build.output.image)"):
            result = result.replace(output + BUILT_SUFFIX, output)
    layout.read(result, file)
    return result


def _last_block(text: str) -> int:
    """Return where the last block begins if it ends the text, else the text's end."""
    ends = [match.start() for match in _BLOCK.finditer(text) if match.end() == len(text)]
    return ends[-1] if ends else len(text)


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
        self._spec = _block(found.place.entries.get("spec"), "spec", "map")
        self._steps = _block(self._spec.entries.get(self.dialect.steps_key), self.dialect.steps_key, "list")
        self.redirected = False
        self.added: dict[str, frozenset[str]] = {}

    def amended(self) -> str:
        """Return the text with everything added."""
        options = self._options()
        additions = {self.dialect.steps_key: render_steps(self.dialect, options)}
        if self.dialect.parameters_key and options.naming:
            additions[self.dialect.parameters_key] = self._parameters(options.naming)
        if self.dialect.task and (results := self._results()):
            additions["results"] = results
        if self.dialect.volumes_key:
            additions[self.dialect.volumes_key] = render_volumes(self.dialect, self._amendment.configmap)
        for key, text in additions.items():
            self.added[key] = frozenset(re.findall(r"^- name: (.+)$", text, re.MULTILINE))
            if taken := self.added[key] & names_in(self.data, key):
                raise UsageError(f"'{key}' of the document has a '{min(taken)}' of its own; rename that first")
        return self._inserted(additions)

    def _inserted(self, additions: Mapping[str, str]) -> str:
        """Put each addition after the list of its key; those whose key is missing go below the steps."""
        column = self._spec.column
        missing = "".join(
            f"{' ' * column}{key}:\n{_indented(text, column + 2)}"
            for key, text in additions.items()
            if key not in self._spec.entries
        )
        inserts: list[tuple[int, str]] = []
        for key, text in additions.items():
            place = self._spec.entries.get(key)
            if place is None:
                continue
            place = _block(place, key, "list")
            dash = layout.dash_column(self._lines, place)
            block = _indented(text, dash) + (missing if key == self.dialect.steps_key else "")
            inserts.append((layout.line_after(self._lines, place, dash), self._marked(block, dash)))
        lines = self._redirected_lines()
        newline = "\r\n" if lines[0].endswith("\r\n") else "\n"
        for at, block in sorted(inserts, reverse=True):
            added = block.replace("\n", newline)
            if at == len(lines) and not lines[-1].endswith(("\n", "\r")):
                added = newline + added.removesuffix(newline)
            lines.insert(at, added)
        return "".join(lines)

    def _marked(self, block: str, column: int) -> str:
        note = _REDIRECTED if self.redirected else ""
        return f"{' ' * column}{_BEGIN}{note}\n{block}{' ' * column}{_END}\n"

    def _redirected_lines(self) -> list[str]:
        lines = list(self._lines)
        if self.redirected:
            output = self.dialect.output_image
            for at in range(self._steps.line, self._steps.last + 1):
                lines[at] = lines[at].replace(output, output + BUILT_SUFFIX)
        return lines

    def _options(self) -> StepOptions:
        amendment, dialect = self._amendment, self.dialect
        steps = "".join(self._lines[self._steps.line : self._steps.last + 1])
        output = amendment.output_image or dialect.output_image or self._output_parameter()
        managed = bool(dialect.output_directory) and dialect.output_directory in steps
        built = "" if managed or output not in steps else output
        if built and amendment.redirect:
            self._allow_redirect()
            self.redirected, built = True, output + BUILT_SUFFIX
        elif built:
            self.notes += (_SECOND_PUSH.format(output=output),)
        user, group = self._run_as()
        return StepOptions(
            image=amendment.image,
            builder=amendment.builder,
            builder_step_image=amendment.builder_step_image,
            naming=Naming() if dialect.parameters_key else None,
            managed=managed,
            built=built,
            source=amendment.source or dialect.source or self._workspace(),
            output_image=output,
            insecure=dialect.insecure,
            inline_spec=self._inline_spec(),
            configmap=amendment.configmap is not None,
            user=user,
            group=group,
        )

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

    def _allow_redirect(self) -> None:
        output = self.dialect.output_image
        if not output:
            raise UsageError("--redirect is for strategies; let the Task's own step push under another name")
        if output + BUILT_SUFFIX in self._text:
            raise UsageError(f"--redirect: the strategy mentions '{output}{BUILT_SUFFIX}' already")

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
        return "".join(
            f"- name: {name}\n  description: {text}\n" for name, text in RESULTS.items() if name not in there
        )

    def _output_parameter(self) -> str:
        names = [item.get("name") for item in self.data["spec"].get("params") or [] if isinstance(item, Mapping)]
        for name in _OUTPUT_NAMES:
            if name in names:
                return f"$(params.{name})"
        raise UsageError(
            "the Task's parameter that names the image cannot be told",
            hint="pass it, for example --output-image '$(params.TARGET)'",
        )

    def _workspace(self) -> str:
        spaces = [item.get("name") for item in self.data["spec"].get("workspaces") or [] if isinstance(item, Mapping)]
        name = "source" if "source" in spaces else spaces[0] if len(spaces) == 1 else None
        return f"$(workspaces.{name}.path)" if name else ""

    def _run_as(self) -> tuple[int | None, int | None]:
        """Return the user and group of our steps: those asked for; not root's where all steps run as root."""
        text = self._amendment.run_as
        if text is not None:
            match = re.fullmatch(r"([1-9][0-9]{0,9})(?::([0-9]{1,10}))?", text)
            if match is None:
                raise UsageError(f"--run-as {text!r} is not a number of a user, or user:group, other than root's")
            return int(match[1]), int(match[2] or match[1])
        context = self.data["spec"].get("securityContext") or self.data["spec"].get("stepTemplate") or {}
        context = context.get("securityContext", context) if isinstance(context, Mapping) else {}
        root = isinstance(context, Mapping) and context.get("runAsUser") == 0
        return (NOT_ROOT, NOT_ROOT) if root else (None, None)


def _block(place: Place | None, key: str, kind: str) -> Place:
    """Return the place of a block map or list, or raise UsageError where it is something else."""
    if place is None or place.kind == "scalar":
        raise UsageError(f"'{key}' of the document is missing or empty; there is nothing to add to")
    if place.kind != kind or place.flow:
        written = "an alias" if place.kind == "alias" else "in brackets" if place.flow else f"a {place.kind}"
        raise UsageError(
            f"'{key}' in line {place.line + 1} is written as {written}; a block {kind} is needed to add to it"
        )
    return place


def _indented(text: str, column: int) -> str:
    return "".join(f"{' ' * column}{line}" if line.strip() else line for line in text.splitlines(keepends=True))
