"""Which variant of an artefact is for a platform or a host, by the rules that engines choose entries of an index by."""

from __future__ import annotations

from pydantic import ValidationError

from runtimeimg.configgraph.model import Artefact, HostNode, Variant, name_of
from runtimeimg.errors import InvalidDocumentError, NotFoundError, UsageError
from runtimeimg.oci import Descriptor, Digest, Platform
from runtimeimg.oci.mediatypes import OCI_MANIFEST
from runtimeimg.selection.candidates import Candidate
from runtimeimg.selection.choice import Choice, choose, label
from runtimeimg.selection.criteria import Criteria
from runtimeimg.selection.hosts import Host
from runtimeimg.selection.mapping import wishes
from runtimeimg.selection.nvidia import NvidiaFacts
from runtimeimg.selection.platforms import PlatformOrder


def candidates(artefact: Artefact) -> tuple[Candidate, ...]:
    """Return the variants of an artefact, in their order, as what is chosen among."""
    return tuple(_candidate(position, item) for position, item in enumerate(artefact.variants))


def _candidate(position: int, item: Variant) -> Candidate:
    env = item.runtime.get("Env") or ()
    pairs = [text.partition("=") for text in env if isinstance(text, str)] if isinstance(env, list | tuple) else []
    return Candidate(
        position=position,
        descriptor=Descriptor(
            media_type=OCI_MANIFEST, digest=Digest(item.manifest or item.config), size=0, annotations=item.annotations
        ),
        platform=_platform(item.platform),
        env={name: value for name, _, value in pairs},
    )


def _platform(text: str) -> Platform | None:
    if not text:
        return None
    try:
        return Platform.parse(text)
    except UsageError as error:
        raise InvalidDocumentError(f"graph: {error.message}") from None


def for_platform(artefact: Artefact, platform: Platform) -> Variant:
    """Return the variant that an engine of `platform` runs; NotFoundError, with why, where there is none."""
    return _chosen(artefact, Criteria(platforms=PlatformOrder(platform)), platform.full)


def for_host(artefact: Artefact, node: HostNode) -> Variant:
    """Return the variant that a host runs; NotFoundError, with why, where there is none."""
    return _chosen(artefact, criteria_of(host_of(node)), f"host '{name_of(node.id)}'")


def _chosen(artefact: Artefact, criteria: Criteria, whose: str) -> Variant:
    choice = choose(candidates(artefact), criteria)
    if choice.chosen is None:
        raise NotFoundError(f"artefact '{name_of(artefact.id)}' has no variant for {whose}", hint=why_none(choice))
    return artefact.variants[choice.chosen.candidate.position]


def why_none(choice: Choice) -> str:
    """Return why no variant does, in a line."""
    said = [f"{label(item.candidate)} {'; '.join(item.failures)}" for item in choice.judged[:_SHOWN]]
    more = len(choice.judged) - len(said)
    return ", ".join(said) + (f" and {more} more" if more > 0 else "") if said else "it has no image at all"


_SHOWN = 4


def host_of(node: HostNode) -> Host:
    """Return a host of the graph with its facts; InvalidDocumentError where its profile is none."""
    from runtimeimg.selection.hostdocument import HostModel

    try:
        return HostModel.model_validate(dict(node.profile)).host(name_of(node.id))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(map(str, first["loc"]))
        raise InvalidDocumentError(f"{node.id!r}: profile: {path}: {first['msg']}") from None


def criteria_of(host: Host) -> Criteria:
    """Return what a host asks of the variant that is to run on it: its platform, and what its facts mean."""
    required, preferred = wishes(host)
    return Criteria(
        platforms=PlatformOrder(host.platform, own=True),
        requirements=required,
        preferences=preferred,
        nvidia=NvidiaFacts.of(host.facts),
    )
