"""What the steps before and after another builder's own hand each other, in the work volume.

`Dockerfile.runtime`, `context/` and `builder/` (the builder image as a layout, when it is in no registry) are for the
builder; `registries.conf` and `buildkitd.toml` tell it of registries without TLS that can be
trusted; `step.json` is for the stamp.
"""

from __future__ import annotations

import json
from pathlib import Path

from runtimeimg.budgets import MAX_DOCUMENT
from runtimeimg.builders.context import copy_out, find_sources
from runtimeimg.errors import InvalidDocumentError, NotFoundError, RuntimeimgError, UsageError
from runtimeimg.hostfile import read_file
from runtimeimg.image import Image, choose_platform
from runtimeimg.oci import Digest, Location, Platform
from runtimeimg.oci.documents import load_json
from runtimeimg.plan import Facts, resolve
from runtimeimg.render import context_paths
from runtimeimg.spec import load_spec_text
from runtimeimg.step.delivery import dockerfile_of
from runtimeimg.step.planning import Prepared, archive_transport, in_registry, pin
from runtimeimg.stores import StoreOptions, open_destination, open_image
from runtimeimg.strategy.data import dump

_STATE = "step.json"
_BUILDER = "builder"


def check_platform(prepared: Prepared) -> None:
    """Raise UsageError for what another builder's step cannot do: several platforms, or one that is not its node's."""
    platforms = ", ".join(map(str, prepared.platforms))
    host = Platform.host()
    if len(prepared.platforms) > 1:
        raise UsageError(
            f"base and builder image are for {platforms}, and the builder's step builds for one platform",
            hint=f"set the parameter platforms to {host}, this node's, or amend with the native builder",
        )
    if not prepared.platforms[0].matches(host):
        raise UsageError(
            f"the image would be for {platforms}, and the builder's step runs on {host}",
            hint="let the Build run on such a node (spec.nodeSelector), or amend with the native builder",
        )


def hand_over(prepared: Prepared, work: Path, stores: StoreOptions) -> None:
    """Write everything that the builder's step and the stamp need."""
    plan = prepared.pinned
    state = {
        "document": prepared.document,
        "builder": str(prepared.plan.builder) if prepared.plan.builder else None,
        "outputs": list(prepared.plan.outputs),
        "digests": dict(prepared.digests),
    }
    try:
        work.mkdir(parents=True, exist_ok=True)
        context = work / "context"
        context.mkdir(exist_ok=True)
        for item in context_paths(plan):
            for source in find_sources(item, prepared.workspace):
                copy_out(source, context / source.name)
        (work / "Dockerfile.runtime").write_text(dockerfile_of(prepared))
        (work / _STATE).write_text(json.dumps(state))
        (work / "registries.conf").write_text(_registries(stores))
        (work / "buildkitd.toml").write_text(_buildkitd(stores))
    except OSError as error:
        raise RuntimeimgError(f"folder '{work}' cannot be written: {(error.strerror or str(error)).lower()}") from error
    if plan.builder is not None and plan.builder.reference is None and plan.builder in plan.images:
        layout = Location(transport="oci", path=str(work / _BUILDER))
        open_destination(layout, stores).write(choose_platform(open_image(plan.builder, stores), None))


def take_over(work: Path, stores: StoreOptions) -> Prepared:
    """Return the plan that `hand_over` left, its images by the digests they had then."""
    try:
        state = load_json(read_file(work / _STATE, MAX_DOCUMENT), "the work of the step before")
    except NotFoundError:
        raise NotFoundError(
            f"folder '{work}' holds nothing of a step before", hint="run `step dockerfile` first"
        ) from None
    builder, outputs, digests = state.get("builder"), state.get("outputs") or [], state.get("digests")
    named = isinstance(outputs, list) and all(isinstance(name, str) for name in (*outputs, builder or ""))
    if not named or not isinstance(digests, dict) or not isinstance(state.get("document"), dict):
        raise InvalidDocumentError(f"'{work / _STATE}' is not what a step left")
    loaded = load_spec_text(dump(state["document"]).encode(), "<step.json>")
    found = Location.parse(builder) if isinstance(builder, str) else None
    facts = Facts(builder_image=builder, output_images=tuple(outputs))
    plan = in_registry(resolve(loaded.spec, facts), found)
    known = {str(name): Digest.parse(digest) for name, digest in digests.items()}
    return Prepared(
        loaded=loaded,
        document=state["document"],
        plan=plan,
        pinned=pin(plan, stores, known=known)[0],
        digests=known,
        workspace=work,
    )


def built_by(builder: str, work: Path, stores: StoreOptions) -> Image:
    """Return the image that a builder's step left in the work volume."""
    if builder == "buildah":
        location = Location(transport="oci", path=str(work / "image"))
    else:
        tarball = work / "image.tar"
        if not tarball.is_file():
            raise NotFoundError(f"builder '{builder}' left no '{tarball}'")
        location = Location(transport=archive_transport(tarball), path=str(tarball))
    return choose_platform(open_image(location, stores), None)


def _registries(stores: StoreOptions) -> str:
    """Return containers-registries.conf(5); short names are Docker's, as everywhere here."""
    text = 'unqualified-search-registries = ["docker.io"]\n'
    for host in sorted(stores.insecure):
        text += f"\n[[registry]]\nlocation = {json.dumps(host)}\ninsecure = true\n"
    return text


def _buildkitd(stores: StoreOptions) -> str:
    hosts = sorted(stores.insecure)
    return "\n".join(f"[registry.{json.dumps(host)}]\nhttp = true\ninsecure = true\n" for host in hosts)
