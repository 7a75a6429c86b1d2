"""What is to be said of an index: of its document alone, and of what is known of the images that it lists.

Pure: the caller reads the index, and the images as far as it wants them looked at.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from runtimeimg.findings import Finding, Place, Rule
from runtimeimg.image.values import is_attestation
from runtimeimg.oci import Descriptor, Index, Platform
from runtimeimg.oci.mediatypes import DOCKER_INDEX, DOCKER_MANIFEST, INDEXES, MANIFESTS, OCI_MANIFEST
from runtimeimg.selection import lintinside
from runtimeimg.selection import lintrules as rules
from runtimeimg.selection.lintinside import Inside
from runtimeimg.selection.platforms import normalized
from runtimeimg.spec.checks import shown

BUDGET = 128 << 10
"""Bytes of an index that is small: some 400 entries with an annotation or two."""

MAX_FOUND = 1000
"""Findings of one kind that are made; an index may have any number of mistakes."""

REF_NAME = "org.opencontainers.image.ref.name"
_IMAGE = "org.opencontainers.image."
_WORDS = ("created", "authors", "url", "documentation", "source", "version", "revision", "vendor", "licenses")
_MORE_WORDS = ("ref.name", "title", "description", "base.digest", "base.name")
_DEFINED = frozenset(_IMAGE + word for word in (*_WORDS, *_MORE_WORDS))
_REVERSED = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?){2,}")
_VARIANTS = {
    "amd64": (re.compile(r"v[1-4]"), "v1 to v4"),
    "arm": (re.compile(r"v[5-8]"), "v5 to v8"),
    "arm64": (re.compile(r"v8(\.[1-9])?|v9(\.[1-9])?"), "v8, v8.1 to v8.9, v9, v9.1 to v9.9"),
}
_ALIKE = str.maketrans("аеорсухіјԁѕһкмтвнα", "aeopcyxijdshkmtbha")


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry with its place in the index, from 0."""

    number: int
    descriptor: Descriptor

    @property
    def label(self) -> str:
        return f"entry {self.number + 1} ({self.descriptor.digest.short})"

    @property
    def is_attestation(self) -> bool:
        return is_attestation(self.descriptor)

    @property
    def is_image(self) -> bool:
        if self.is_attestation or self.descriptor.media_type not in MANIFESTS:
            return False
        return self.descriptor.artifact_type is None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    """The index that is looked at, and how findings about it are made."""

    name: str
    index: Index
    entries: Sequence[_Entry]
    budget: int

    @property
    def images(self) -> list[_Entry]:
        return [entry for entry in self.entries if entry.is_image]

    def find(self, rule: Rule, where: _Entry | None, inside: str, message: str, fix: str) -> Finding:
        """Return a finding at an entry, or at the index itself."""
        path = ".".join(filter(None, (f"manifests[{where.number}]" if where else "", inside)))
        subject = where.label if where else "the index"
        place = Place(artifact=self.name, inside=path or "index")
        return Finding(rule=rule, where=place, message=f"{subject} {message}", fix=fix)


def lint(
    index: Index, name: str, insides: Mapping[str, Inside] | None = None, budget: int = BUDGET
) -> tuple[Finding, ...]:
    """Return what is to be said of an index called `name`, in the order of the rules.

    `insides` has what is known of images, by digest; `budget` is the bytes of a small index. Raises
    InvalidDocumentError for an index that is none.
    """
    entries = [_Entry(number, descriptor) for number, descriptor in enumerate(index.manifests)]
    subject = _Subject(name=name, index=index, entries=entries, budget=budget)
    checks = (_keys, _look_alikes, _spelling, _order, _levels_of_keys, _size, _platforms, _kinds)
    found = [finding for check in checks for finding in islice(check(subject), MAX_FOUND)]
    found += islice(_within(subject, insides or {}), MAX_FOUND)
    return tuple(sorted(found, key=lambda item: item.rule.id))


def _maps(subject: _Subject) -> Iterator[tuple[_Entry | None, Mapping[str, str]]]:
    yield None, subject.index.annotations
    for entry in subject.entries:
        if not entry.is_attestation:
            yield entry, entry.descriptor.annotations


def _keys(subject: _Subject) -> Iterator[Finding]:
    for where, given in _maps(subject):
        for key in given:
            inside = f"annotations[{shown(key)}]"
            if key.startswith("org.opencontainers."):
                yield from _reserved(subject, where, key, inside)
            elif not _REVERSED.fullmatch(key.partition("/")[0]) or "/" in key:
                domain, slash, rest = key.partition("/")
                turned = ".".join([*reversed(domain.split(".")), rest.replace("/", ".")]) if slash else ""
                fix = (
                    f"write '{turned}'" if _REVERSED.fullmatch(turned) else "begin it with a domain of yours, reversed"
                )
                yield subject.find(rules.KEY_NOT_REVERSED, where, inside, f"has the key {shown(key)}", fix)


def _reserved(subject: _Subject, where: _Entry | None, key: str, inside: str) -> Iterator[Finding]:
    from difflib import get_close_matches

    if key not in _DEFINED:
        near = get_close_matches(key[:100], _DEFINED, 1, 0.85)
        fix = f"did you mean '{near[0]}'?" if near else "use a domain of your own"
        yield subject.find(rules.RESERVED_KEY, where, inside, f"has the key {shown(key)}, which is not defined", fix)
    elif key == REF_NAME:
        fix = "remove it; a tag names the index, 'org.opencontainers.image.version' its version"
        yield subject.find(rules.REF_NAME, where, inside, f"has the key {shown(key)}", fix)


def _look_alikes(subject: _Subject) -> Iterator[Finding]:
    first: dict[str, str] = {}
    for where, given in _maps(subject):
        for key in given:
            other = first.setdefault(key.lower().translate(_ALIKE).lower(), key)
            inside = f"annotations[{shown(key)}]"
            if other != key:
                message = f"has the key {shown(key)}, which looks like {shown(other)} elsewhere in the index"
                yield subject.find(rules.KEY_LOOKS_ALIKE, where, inside, message, "spell both the same")
            elif not key.isascii():
                odd = next(letter for letter in key if not letter.isascii())
                message = f"has the key {shown(key)}, in which U+{ord(odd):04X} is not ASCII"
                yield subject.find(rules.KEY_LOOKS_ALIKE, where, inside, message, "write it in ASCII")


def _spelling(subject: _Subject) -> Iterator[Finding]:
    for entry, data in zip(subject.entries, subject.index.data.get("manifests") or (), strict=True):
        if "annotation" in data:
            fix = "write 'annotations'; 'runtimeimg index annotate' writes it so"
            yield subject.find(rules.WRONG_SPELLING, entry, "annotation", "has 'annotation'", fix)


def _order(subject: _Subject) -> Iterator[Finding]:
    """Find entries that an earlier one for the same platform beats, always or where nothing speaks against it.

    The entries that have an annotation are bits of a number, so that an index of 10,000 is done with at once.
    """
    groups: dict[Platform, list[_Entry]] = defaultdict(list)
    for entry in subject.images:
        if (platform := entry.descriptor.platform) is not None:
            groups[normalized(platform)].append(entry)
    for platform, group in groups.items():
        having: dict[tuple[str, str], int] = defaultdict(int)
        equal: dict[frozenset[tuple[str, str]], _Entry] = {}
        for number, entry in enumerate(group):
            pairs = frozenset(entry.descriptor.annotations.items())
            earlier = (1 << number) - 1
            for pair in pairs:
                earlier &= having[pair]
                having[pair] |= 1 << number
            same = equal.setdefault(pairs, entry)
            if same is not entry:
                yield _tied(subject, entry, same, platform)
            elif earlier:
                special = group[(earlier & -earlier).bit_length() - 1]
                message = (
                    f"is only chosen where something speaks against {special.label}: that stands before it for "
                    f"{platform} and has all its annotations"
                )
                fix = f"put it before {special.label}, or give it an annotation of its own"
                yield subject.find(rules.SPECIAL_FIRST, entry, "", message, fix)


def _tied(subject: _Subject, entry: _Entry, first: _Entry, platform: Platform) -> Finding:
    if entry.descriptor.digest == first.descriptor.digest:
        return subject.find(rules.NEVER_WINS, entry, "", f"is listed already, as {first.label}", "remove it")
    message = f"is never chosen: {first.label} stands before it, for {platform} too and with the same annotations"
    return subject.find(rules.NEVER_WINS, entry, "", message, "say in an annotation what it is for, or remove it")


def _levels_of_keys(subject: _Subject) -> Iterator[Finding]:
    """Find annotations that stand at the index and should not, or should and do not."""
    images = subject.images
    pairs = Counter(pair for entry in images for pair in entry.descriptor.annotations.items())
    keys = {key for key, _ in pairs}
    for key in subject.index.annotations:
        if key in keys:
            message = f"has the key {shown(key)}, which entries are chosen by"
            fix = "give it to the entries that it is meant for"
            yield subject.find(rules.ONLY_AT_INDEX, None, f"annotations[{shown(key)}]", message, fix)
    for (key, value), count in pairs.items():
        if count == len(images) > 1 and key not in subject.index.annotations:
            message = f"has {shown(f'{key}={value}')} at each of its {count} images"
            yield subject.find(rules.SAME_EVERYWHERE, None, "annotations", message, "give it to the index instead")


def _size(subject: _Subject) -> Iterator[Finding]:
    size = len(subject.index.raw)
    if size > subject.budget:
        annotated = sum(len(key) + len(value) + 6 for _, given in _maps(subject) for key, value in given.items())
        message = f"has {size} bytes, about {annotated} of them annotations; {subject.budget} are the budget"
        yield subject.find(rules.TOO_LARGE, None, "", message, "keep at the entries what they are chosen by, no more")


def _platforms(subject: _Subject) -> Iterator[Finding]:
    for entry in subject.entries:
        platform = entry.descriptor.platform
        if entry.is_attestation:
            if platform is not None and platform.os == "unknown":
                fix = "build with 'runtimeimg build', or with '--provenance=false' and attach provenance to the image"
                yield subject.find(rules.UNKNOWN_PLATFORM, entry, "platform", f"is for {platform}", fix)
        elif platform is None:
            if entry.is_image:
                fix = "'runtimeimg index create' reads it from the image's config"
                yield subject.find(rules.NO_PLATFORM, entry, "platform", "names no os and architecture", fix)
        else:
            yield from _spelt(subject, entry, platform)


def _spelt(subject: _Subject, entry: _Entry, platform: Platform) -> Iterator[Finding]:
    usual = normalized(platform)
    if (platform.os, platform.architecture) != (usual.os, usual.architecture):
        message = f"is for {shown(f'{platform.os}/{platform.architecture}')}"
        fix = f"write '{usual.os}/{usual.architecture}'"
        yield subject.find(rules.ODD_PLATFORM, entry, "platform", message, fix)
    known, examples = _VARIANTS.get(usual.architecture, (None, ""))
    if platform.variant and known is not None and not known.fullmatch(platform.variant):
        unknown = usual.variant and not known.fullmatch(usual.variant)
        which = "no engine knows" if unknown else "containerd alone knows"
        message = f"is for the variant {shown(platform.variant)} of {usual.architecture}, which {which}"
        yield subject.find(rules.ODD_PLATFORM, entry, "platform.variant", message, f"write one of {examples}")
    for key in sorted(platform.extra):
        fix = "remove it; give the entry an annotation instead"
        yield subject.find(
            rules.RESERVED_FIELD, entry, f"platform[{shown(key)}]", f"has the platform field {shown(key)}", fix
        )


def _kinds(subject: _Subject) -> Iterator[Finding]:
    manifest = DOCKER_MANIFEST if subject.index.media_type == DOCKER_INDEX else OCI_MANIFEST
    for entry in subject.entries:
        media_type = entry.descriptor.media_type
        if media_type in INDEXES:
            fix = "'runtimeimg index create --flatten' lists its images"
            yield subject.find(rules.NESTED, entry, "mediaType", "is an index", fix)
        elif media_type not in MANIFESTS or (not entry.is_image and not entry.is_attestation):
            if entry.descriptor.platform is not None:
                kind = entry.descriptor.artifact_type or media_type
                message = f"is for {entry.descriptor.platform} and no image but {shown(kind)}"
                yield subject.find(rules.NO_IMAGE, entry, "mediaType", message, "remove it, or its platform")
        elif media_type != manifest:
            message = f"is {shown(media_type)} in an index that is '{subject.index.media_type}'"
            fix = "'runtimeimg index create' converts both to one family"
            yield subject.find(rules.MIXED_TYPES, entry, "mediaType", message, fix)


def _within(subject: _Subject, insides: Mapping[str, Inside]) -> Iterator[Finding]:
    """Find what contradicts what is in the images."""
    for entry in subject.images:
        inside = insides.get(entry.descriptor.digest)
        if inside is None:
            continue
        for said in lintinside.contradictions(entry.descriptor, inside):
            yield subject.find(said.rule, entry, said.inside, said.message, said.fix)
    known = [
        (entry.number, entry.descriptor, insides[entry.descriptor.digest])
        for entry in subject.images
        if entry.descriptor.digest in insides
    ]
    for number, said in lintinside.unseen(known):
        yield subject.find(said.rule, subject.entries[number], said.inside, said.message, said.fix)


def unique_images(index: Index) -> tuple[Descriptor, ...]:
    """Return the entries that are images, each digest once: what may be looked into."""
    entries: Iterable[_Entry] = (_Entry(number, item) for number, item in enumerate(index.manifests))
    return tuple({entry.descriptor.digest: entry.descriptor for entry in entries if entry.is_image}.values())
