"""Taking out of a document what `amend` added: by the comments around it, or by the annotation that lists it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runtimeimg.errors import InvalidDocumentError, NotAmendedError
from runtimeimg.strategy import layout
from runtimeimg.strategy.editing import Edit, apply, emptied, entries_of, without_entries, without_items
from runtimeimg.strategy.layout import Found, Place
from runtimeimg.strategy.record import ANNOTATION, Record, items_digest, read_record
from runtimeimg.strategy.steps import BUILT_SUFFIX, OWN_STEPS

BEGIN = "# >>> added by runtimeimg strategy amend"
END = "# <<< added by runtimeimg strategy amend"

# Before there was the annotation the comment alone told that the builder image is pushed under another name.
_REDIRECTED = "; the builder image is pushed under another name"
_REDIRECTED_NAMES = ("$(params.shp-output-image)", "$(build.output.image)")
_BLOCK = re.compile(
    rf"^[ ]*{re.escape(BEGIN)}(?P<redirected>{re.escape(_REDIRECTED)})?[ ]*\r?\n(?:.*\n)*?"
    rf"[ ]*{re.escape(END)}[ ]*(?:\r?\n|\Z)",
    re.MULTILINE,
)
CHANGED = "what was added had been changed since; the change is gone with it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """The text as it was, whether anything was found to take out, and what the caller should be told."""

    text: str
    found: bool = False
    notes: tuple[str, ...] = ()


def remove(text: str, *, file: str = "<stdin>") -> Removed:
    """Return `text` without what `amend` added, byte for byte as it was before."""
    before = layout.read(text, file)
    records = {at: record for at, found in enumerate(before) if (record := read_record(found.data)) is not None}
    if BEGIN not in text and not records:
        return Removed(text=text)
    changed = any(items_digest(before[at].data, record.added) != record.digest for at, record in records.items())
    result = _without_blocks(text, file)
    documents, lines = layout.read(result, file), layout.split_lines(result)
    edits = [edit for at, record in records.items() for edit in _taken_out(documents[at], record, lines)]
    result = apply(result, edits)
    for at, record in records.items():
        result = _renamed_back(result, at, record, file)
    layout.read(result, file)
    return Removed(text=result, found=True, notes=(CHANGED,) if changed else ())


def take_out(text: str, *, file: str = "<stdin>") -> Removed:
    """Do what `remove` does, or raise NotAmendedError where nothing is found."""
    removed = remove(text, file=file)
    if removed.found:
        return removed
    alike = sorted(
        str(item["name"])
        for document in layout.read(text, file)
        for key in ("steps", "buildSteps")
        for item in entries_of(_spec(document.data), key)
        if isinstance(item, Mapping) and item.get("name") in OWN_STEPS
    )
    if alike:
        raise NotAmendedError(
            f"'{file}' has lost the comments around what was added, and has no annotation '{ANNOTATION}' that lists it",
            hint=f"take out by hand what belongs to {', '.join(alike)}, or start from the file that was amended",
        )
    raise NotAmendedError(f"'{file}' holds nothing that `strategy amend` added")


def _spec(document: Any) -> Mapping[str, Any]:
    spec = document.get("spec") if isinstance(document, Mapping) else None
    return spec if isinstance(spec, Mapping) else {}


def _without_blocks(text: str, file: str) -> str:
    if BEGIN not in text:
        return text
    redirected = any(match["redirected"] for match in _BLOCK.finditer(text))
    result = _BLOCK.sub("", text)
    if BEGIN in result or END in result:
        raise InvalidDocumentError(
            f"{file}: the comments around what was added are not in pairs", hint=f"each '{BEGIN}' wants its '{END}'"
        )
    if not text.endswith("\n") and result != text and _BLOCK.search(text, _last_block(text)):
        result = re.sub(r"\r?\n\Z", "", result)
    if redirected:
        for output in _REDIRECTED_NAMES:
            result = result.replace(output + BUILT_SUFFIX, output)
    return result


def _last_block(text: str) -> int:
    """Return where the last block begins if it ends the text, else the text's end."""
    ends = [match.start() for match in _BLOCK.finditer(text) if match.end() == len(text)]
    return ends[-1] if ends else len(text)


def _taken_out(document: Found, record: Record, lines: Sequence[str]) -> Iterator[Edit]:
    """Yield the edits for what a record lists and is still there."""
    spec = document.place.entries.get("spec")
    whole = []
    for key, names in record.added.items():
        place = spec.entries.get(key) if spec is not None else None
        items = entries_of(_spec(document.data), key)
        gone = [at for at, item in enumerate(items) if isinstance(item, Mapping) and item.get("name") in names]
        if place is None or place.kind != "list" or not gone:
            continue
        if len(gone) < len(items):
            yield from without_items(lines, place, gone)
        elif key in record.created:
            whole.append(key)
        else:
            yield emptied(lines, place, "[]")
    if spec is not None:
        yield from without_entries(lines, spec, whole)
    yield from _without_annotation(document.place, document.data, record, lines)


def _without_annotation(root: Place, data: Mapping[str, Any], record: Record, lines: Sequence[str]) -> Iterator[Edit]:
    metadata = root.entries.get("metadata")
    annotations = metadata.entries.get("annotations") if metadata is not None else None
    if metadata is None or annotations is None or ANNOTATION not in data["metadata"]["annotations"]:
        return
    if len(annotations.entries) > 1:
        yield from without_entries(lines, annotations, [ANNOTATION])
    elif "annotations" in record.empty:
        yield emptied(lines, annotations, "{}")
    elif len(metadata.entries) > 1:
        yield from without_entries(lines, metadata, ["annotations"])
    elif "metadata" in record.empty:
        yield emptied(lines, metadata, "{}")
    else:
        yield from without_entries(lines, root, ["metadata"])


def _renamed_back(text: str, at: int, record: Record, file: str) -> str:
    """Return the text with the names in the document's own steps as they were."""
    if not record.renamed:
        return text
    spec = layout.read(text, file)[at].place.entries.get("spec")
    lines = layout.split_lines(text)
    for key in ("steps", "buildSteps"):
        steps = spec.entries.get(key) if spec is not None else None
        for number in range(steps.line, steps.last + 1) if steps is not None else ():
            for name in record.renamed:
                lines[number] = lines[number].replace(name + BUILT_SUFFIX, name)
    return "".join(lines)
