"""What an image was made from, kept beside it: an OCI artifact whose subject is the image.

It holds the rendered Dockerfile.runtime and the resolved plan with the digests of the images that went in.

A platform may change an image after it was made (labels, annotations, dates), and then it is another one. So the same
files are also kept as an artifact about nothing, under a tag of its own digest, and the image carries that digest as a
label.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runtimeimg.errors import InvalidDocumentError, NotFoundError
from runtimeimg.image import Image
from runtimeimg.oci import Descriptor, Digest, Location, Reference
from runtimeimg.oci.documents import dump_json, load_json
from runtimeimg.plan import BuildPlan
from runtimeimg.runtimegraph import RuntimeGraph
from runtimeimg.stores import StoreOptions
from runtimeimg.stores.artifacts import blob
from runtimeimg.stores.opening import BytesBlob
from runtimeimg.stores.registry.referrers import RegistryArtifacts, fallback_tag

ARTIFACT_TYPE = "application/vnd.runtimeimg.provenance.v1"
DOCKERFILE_TYPE = "application/vnd.runtimeimg.dockerfile.v1"
PLAN_TYPE = "application/vnd.runtimeimg.plan.v1+json"

LABEL = "dev.runtimeimg.provenance"
"""Label of an image: digest of the artifact that is kept under `keep`."""

_LAYERS = "dev.runtimeimg.layers"
_TITLE = "org.opencontainers.image.title"
_MAX_FILE = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """The Dockerfile.runtime as rendered, and the plan as JSON."""

    dockerfile: str
    plan: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return both for `inspect --provenance --format json`."""
        return {"dockerfile": self.dockerfile, "plan": dict(self.plan)}


def plan_to_json(plan: BuildPlan, digests: Mapping[str, Digest]) -> dict[str, Any]:
    """Return a plan as JSON; `digests` are those of the images that went in, by name as the plan has them."""
    fields = {field.name: getattr(plan, field.name) for field in dataclasses.fields(plan)}
    document = {_camel(name): _plain(value) for name, value in fields.items() if name != "builder_origin"}
    names = dict.fromkeys(str(image) for image in (plan.base, plan.builder, *plan.images) if image is not None)
    images = [{"name": name, "digest": digests.get(name)} for name in names]
    return {**document, "images": images}


def push(reference: Reference, subject: Descriptor, provenance: Provenance, options: StoreOptions) -> Descriptor:
    """Push the artifact about `subject`, an image of the repository that `reference` names.

    The image itself may come later: a registry takes an artifact before its subject. Returns its descriptor.
    """
    return _artifacts(reference, options).attach(ARTIFACT_TYPE, _files(provenance), subject, {})


def keep(reference: Reference, provenance: Provenance, images: Sequence[Image], options: StoreOptions) -> Digest:
    """Push the artifact for images that will name it by its digest as LABEL, and return that."""
    artifacts = _artifacts(reference, options)
    counts = ",".join(sorted({str(len(image.layers)) for image in images}))
    manifest = artifacts.made(ARTIFACT_TYPE, _files(provenance), {"annotations": {_LAYERS: counts}})
    artifacts.put(manifest, f"{fallback_tag(manifest.digest)}.provenance")
    return manifest.digest


def read_kept(reference: Reference, image: Image, options: StoreOptions) -> Provenance | None:
    """Return what the label of an image leads to; None where it has none, or inherited that of its base."""
    label = image.config.labels.get(LABEL)
    if label is None:
        return None
    digest = Digest.parse(label)
    artifacts = _artifacts(reference, options)
    try:
        manifest = artifacts.manifest(digest)
    except NotFoundError:
        return None
    if str(len(image.layers)) not in manifest.annotations.get(_LAYERS, "").split(","):
        return None
    return _provenance(artifacts, digest)


def read(reference: Reference, subject: Digest, options: StoreOptions) -> Provenance | None:
    """Return what is kept about an image of a repository, None when there is nothing; the last one of several."""
    artifacts = _artifacts(reference, options)
    found = artifacts.of_type(subject, ARTIFACT_TYPE)
    return _provenance(artifacts, found[-1].digest) if found else None


def _artifacts(reference: Reference, options: StoreOptions) -> RegistryArtifacts:
    return RegistryArtifacts(reference, options, "provenance")


def _files(provenance: Provenance) -> tuple[BytesBlob, ...]:
    """Return the files of an artifact."""
    return (
        blob(provenance.dockerfile.encode(), DOCKERFILE_TYPE, {_TITLE: "Dockerfile.runtime"}),
        blob(dump_json(provenance.plan), PLAN_TYPE, {_TITLE: "plan.json"}),
    )


def _provenance(artifacts: RegistryArtifacts, digest: Digest) -> Provenance:
    """Return what the files of an artifact say."""
    files = artifacts.files(digest, _MAX_FILE)
    if DOCKERFILE_TYPE not in files or PLAN_TYPE not in files:
        raise InvalidDocumentError(f"provenance {digest} lacks the Dockerfile or the plan")
    plan = load_json(files[PLAN_TYPE], f"plan of provenance {digest}")
    images = plan.get("images", [])
    if not isinstance(images, list) or not all(isinstance(item, Mapping) for item in images):
        raise InvalidDocumentError(f"plan of provenance {digest}: 'images' is not a list of objects")
    return Provenance(dockerfile=files[DOCKERFILE_TYPE].decode("utf-8", "replace"), plan=plan)


def _plain(value: Any) -> Any:
    """Return a value of the plan as JSON knows it."""
    if isinstance(value, RuntimeGraph):
        return value.to_json()
    if isinstance(value, Location):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {_camel(field.name): _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def show(provenance: Provenance) -> str:
    """Return the provenance for people: the images by digest as comments, then the Dockerfile."""
    lines = [f"# {json.dumps(item.get('name'))} is {item.get('digest')}" for item in provenance.plan.get("images", [])]
    return "\n".join([*lines, provenance.dockerfile])
