"""From a name to the registries that are asked: short names, prefixes, mirrors, what is blocked, what is insecure.

    debian  -- meanings -->  docker.io/library/debian  -- pull_places -->  mirror.test/debian, then docker.io/...

Files are read here when a registry is about to be talked to, not before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from runtimeimg.errors import InvalidDocumentError, UsageError
from runtimeimg.oci import Reference
from runtimeimg.oci.reference import DEFAULT_REGISTRY
from runtimeimg.stores.base import StoreOptions
from runtimeimg.stores.registry.conf import Rule, registries_conf
from runtimeimg.stores.registry.daemonjson import DaemonJson, daemon_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A name as one registry knows it, and how that registry is reached.

    `insecure` registries are not verified, and are spoken to in plain HTTP where they do not speak TLS; `plain` ones
    are spoken to in nothing else. `mirror` marks one that only stands in for the registry that is meant.
    """

    reference: Reference
    insecure: bool = False
    plain: bool = False
    mirror: bool = False

    @property
    def registry(self) -> str:
        """Host and port as named."""
        return self.reference.registry

    @property
    def repository(self) -> str:
        """The repository there."""
        return self.reference.repository


def pull_places(reference: Reference, options: StoreOptions) -> tuple[Place, ...]:
    """Return where a name is read from: the mirrors in their order, last the registry itself."""
    conf, daemon = registries_conf(options), daemon_json(options)
    found = conf.rule_for(str(reference))
    places = list(_mirrors(reference, found, daemon, options))
    if reference.registry == DEFAULT_REGISTRY:
        places += _hub_mirrors(reference, daemon, options)
    return (*places, _own_place(reference, found, daemon, options))


def push_place(reference: Reference, options: StoreOptions) -> Place:
    """Return where a name is written to: never a mirror."""
    return _own_place(reference, registries_conf(options).rule_for(str(reference)), daemon_json(options), options)


def meanings(reference: Reference, options: StoreOptions) -> tuple[Reference, ...]:
    """Return what a name that was written without a registry may stand for, in the order in which it is tried.

    An alias stands alone; otherwise the registries to search are asked in turn, and where the files name none it is
    Docker Hub. UsageError where the files want such a choice to be made by a person.
    """
    if not reference.short:
        return (reference,)
    conf = registries_conf(options)
    name = reference.repository.removeprefix("library/")
    if conf.mode != "disabled" and (alias := conf.aliases.get(name)):
        return (_named(alias, reference),)
    if len(conf.search) > 1 and conf.mode == "enforcing":
        choices = ", ".join(f"{host}/{name}" for host in conf.search)
        raise UsageError(
            f"image '{name}' may be one of several: {choices}", hint="write it with its registry, or give it an alias"
        )
    return tuple(_searched(host, name, reference) for host in conf.search) or (reference,)


def _own_place(
    reference: Reference, found: tuple[Rule, int] | None, daemon: DaemonJson, options: StoreOptions
) -> Place:
    rule, length = found or (None, 0)
    if rule is None:
        return _place(reference, False, daemon, options)
    if rule.blocked:
        raise UsageError(
            f"registry of '{reference}' is blocked", hint=f"a registries.conf blocks the prefix '{rule.prefix}'"
        )
    moved = _moved(reference, rule.location, length) if rule.location else reference
    return _place(moved, rule.insecure, daemon, options)


def _mirrors(
    reference: Reference, found: tuple[Rule, int] | None, daemon: DaemonJson, options: StoreOptions
) -> Iterator[Place]:
    if found is None or found[0].blocked:
        return
    rule, length = found
    kind = "digest-only" if reference.digest is not None else "tag-only"
    for mirror in rule.mirrors:
        if mirror.pull in {"all", kind}:
            place = _place(_moved(reference, mirror.location, length), mirror.insecure, daemon, options)
            yield replace(place, mirror=True)


def _hub_mirrors(reference: Reference, daemon: DaemonJson, options: StoreOptions) -> Iterator[Place]:
    for address in daemon.mirrors:
        place = _place(replace(reference, registry=address.host_port), False, daemon, options)
        yield replace(place, mirror=True, plain=place.plain or address.scheme == "http")


def _place(reference: Reference, insecure: bool, daemon: DaemonJson, options: StoreOptions) -> Place:
    registry = reference.registry
    names = {registry, without_port(registry)}
    named = not names.isdisjoint(options.insecure)
    return Place(
        reference=reference,
        insecure=insecure or named or not options.tls_verify or daemon.is_insecure(registry),
        plain=not names.isdisjoint(options.plain_http),
    )


def without_port(registry: str) -> str:
    """Return the host of a registry as named."""
    host, _, port = registry.rpartition(":")
    return host if port.isdigit() else registry


def _moved(reference: Reference, location: str, length: int) -> Reference:
    """Return a name with what its prefix stood for replaced by a location."""
    return _parsed(location + str(reference)[length:], reference)


def _named(alias: str, reference: Reference) -> Reference:
    found = _parsed(alias, reference)
    if found.tag is not None or found.digest is not None:
        raise InvalidDocumentError(f"alias {alias[:100]!r} of a registries.conf holds a tag or a digest")
    return replace(found, tag=reference.tag, digest=reference.digest)


def _searched(host: str, name: str, reference: Reference) -> Reference:
    return replace(_parsed(f"{host}/{name}", reference), tag=reference.tag, digest=reference.digest)


def _parsed(text: str, reference: Reference) -> Reference:
    """Return the name that a registries.conf leads to."""
    try:
        found = Reference.parse(text)
    except UsageError as error:
        raise InvalidDocumentError(f"a registries.conf makes '{text[:200]}' of '{reference}': {error}") from None
    if found.short:
        raise InvalidDocumentError(f"a registries.conf makes '{text[:200]}' of '{reference}', which names no registry")
    return replace(found, short=False)
