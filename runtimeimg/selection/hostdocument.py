"""The document of a host: YAML or JSON that people or `host detect` write, its model and its JSON Schema.

    apiVersion: runtimeimg.dev/v1
    kind: Host
    name: gpu-node-1
    platform: linux/amd64/v3
    facts: {gpu.vendor: nvidia, cuda.driver.version: 12.4, cpu.flags: [avx2, fma]}
    resources: {cpu: "8", memory: 64Gi, nvidia.com/gpu: "2"}     # by default the facts cpu.count and memory.bytes
    blobs: ["sha256:..."]                                        # what it holds already
    images: [registry.example.com/web:1]                         # and images of which it holds everything

All values are texts: `6.10`, `0300` and `true` need no quotes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from runtimeimg.errors import InvalidDocumentError, UsageError
from runtimeimg.oci import Digest, Platform
from runtimeimg.selection.hosts import API_VERSION, KIND, Features, Host
from runtimeimg.spec import checks, documents, jsonschema, quantities, yamlnodes
from runtimeimg.spec.fields import ImageText, at
from runtimeimg.spec.problems import Guide
from runtimeimg.spec.yamlnodes import Document

MAX_TEXT = 4096
"""Characters of a value, and of a name of a host."""
FACT_NAME = r"^[A-Za-z0-9]([A-Za-z0-9._/+-]{0,251}[A-Za-z0-9+])?$"
"""Names of facts: dotted words, as `gpu.driver.version`."""

RESOURCE_NAME = r"^[A-Za-z0-9]([A-Za-z0-9._/-]{0,251}[A-Za-z0-9])?$"
"""Names of resources: `cpu`, `memory`, and devices such as `nvidia.com/gpu`."""
MAX_BLOBS = 50_000
"""Blobs, and images, that one document names."""
STORE_PATH = r"^/[^\x00-\x1f\x7f]{1,1000}$"
_BLOB = r"^(sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128}|/[^\x00-\x1f\x7f]{1,1000})$"

_SCALAR = {"anyOf": [{"type": "string", "maxLength": MAX_TEXT}, {"type": "number"}, {"type": "boolean"}]}
_OS_WORD = r"^[a-z0-9][a-z0-9._-]{0,63}$"


def _text(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise ValueError(f"has {len(text)} characters; a value has {MAX_TEXT} at the most")
    return checks.no_control(text, "a value", checks.CONTROL_BUT_TAB)


def _name(text: str) -> str:
    checks.no_control(text, "a name")
    if not text.strip() or len(text) > 253:
        raise ValueError(f"{checks.shown(text)} is not a name of a host; write 1 to 253 characters")
    return text


def _fact_name(text: str) -> str:
    if not re.match(FACT_NAME, text) or text.endswith("\n"):
        raise ValueError(f"{checks.shown(text)} is not a name of a fact; write dotted words such as 'gpu.model'")
    return text


def resource_name(text: str) -> str:
    """Check the name of a resource."""
    if not re.match(RESOURCE_NAME, text) or text.endswith("\n"):
        raise ValueError(f"{checks.shown(text)} is not a name of a resource; write one such as 'nvidia.com/gpu'")
    return text


def resource_quantities(found: Mapping[str, str]) -> Mapping[str, str]:
    """Check quantities by the names of resources."""
    for name, text in found.items():
        try:
            quantities.thousandths(text) if name == "cpu" else quantities.whole(text, _counted(name))
        except ValueError as error:
            raise at((name,), str(error)) from None
    return found


def _counted(name: str) -> str:
    return "bytes" if name == "memory" else name[:40]


def _blob(text: str) -> str:
    if re.match(STORE_PATH, text) and not text.endswith("\n"):
        return text
    try:
        return str(Digest.parse(text))
    except InvalidDocumentError:
        raise ValueError(
            f"{checks.shown(text)} is neither a digest such as 'sha256:...' nor an absolute path of a store"
        ) from None


def _os_word(text: str) -> str:
    if not re.match(_OS_WORD, text) or text.endswith("\n"):
        raise ValueError(f"{checks.shown(text)} is none; write one such as 'linux', 'amd64' or 'v3'")
    return text


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Text = Annotated[str, AfterValidator(_text), WithJsonSchema(_SCALAR)]
Texts = Annotated[
    tuple[Text, ...],
    BeforeValidator(_as_list),
    WithJsonSchema({"anyOf": [*_SCALAR["anyOf"], {"type": "array", "items": _SCALAR}]}),
]
FactName = Annotated[str, AfterValidator(_fact_name)]
OsWord = Annotated[str, AfterValidator(_os_word), WithJsonSchema({"type": "string", "pattern": _OS_WORD})]
TextMap = Mapping[Text, Text]
_QUANTITY = {"anyOf": [{"type": "string", "pattern": quantities.PATTERN}, {"type": "number", "minimum": 0}]}
ResourceMap = Annotated[
    Mapping[Annotated[str, AfterValidator(resource_name)], str],
    AfterValidator(resource_quantities),
    WithJsonSchema({"type": "object", "propertyNames": {"pattern": RESOURCE_NAME}, "additionalProperties": _QUANTITY}),
]
Blob = Annotated[str, AfterValidator(_blob), WithJsonSchema({"type": "string", "pattern": _BLOB})]


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HostPlatform(_Closed):
    """A platform with the fields of an image index; the short form is that of `--platform`."""

    os: OsWord = Field(description="Operating system.", examples=["linux"])
    architecture: OsWord = Field(description="Processor.", examples=["amd64"])
    variant: OsWord | None = Field(default=None, description="Variant or level of the processor.", examples=["v3"])
    os_version: Text = Field(default="", alias="os.version", description="Version, on Windows the build.")
    os_features: tuple[Text, ...] = Field(
        default=(), alias="os.features", description="Features of the system that images may ask for."
    )

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, data: object) -> object:
        if not isinstance(data, str):
            return data
        try:
            return Platform.parse(data).to_json()
        except UsageError as error:
            raise ValueError(f"{error.message}; {error.hint}") from None


class HostFeatures(_Closed):
    """What Node Feature Discovery found, by feature."""

    flags: Mapping[Text, tuple[Text, ...]] = Field(default={}, description="Names without values, `cpu.cpuid`.")
    attributes: Mapping[Text, TextMap] = Field(default={}, description="Names with values, `kernel.version`.")
    instances: Mapping[Text, tuple[TextMap, ...]] = Field(default={}, description="Devices, as `pci.device`.")


class HostModel(_Closed):
    """A machine that containers run on: its platform, and facts to choose images by."""

    api_version: Literal["runtimeimg.dev/v1"] = Field(default="runtimeimg.dev/v1", alias="apiVersion")
    kind: Literal["Host"] = Field(default="Host")
    name: Annotated[str, AfterValidator(_name)] = Field(default="", description="Name, by default that of the file.")
    platform: HostPlatform = Field(description="What the machine is.", examples=["linux/amd64/v3"])
    facts: Mapping[FactName, Texts] = Field(default={}, description="Facts by dotted names.")
    labels: TextMap = Field(default={}, description="Labels of the Kubernetes node.")
    features: HostFeatures = Field(default=HostFeatures(), description="What Node Feature Discovery found.")
    resources: ResourceMap = Field(
        default={},
        description="Quantities that containers may use, as Kubernetes writes them; `cpu` and `memory` are by default "
        "the facts `cpu.count` and `memory.bytes`.",
        examples=[{"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": "2"}],
    )
    blobs: tuple[Blob, ...] = Field(
        default=(), max_length=MAX_BLOBS, description="Digests of blobs, or paths of a store, that it holds already."
    )
    images: tuple[ImageText, ...] = Field(
        default=(), max_length=MAX_BLOBS, description="References of images of which it holds every blob."
    )

    def host(self, name: str) -> Host:
        """Return the host, called `name` where its document gives it no name."""
        found, place = self.features, self.platform
        return Host(
            name=self.name or name,
            platform=Platform(
                os=place.os,
                architecture=place.architecture,
                variant=place.variant or "",
                os_version=place.os_version,
                os_features=tuple(sorted(set(place.os_features))),
            ),
            facts=dict(self.facts),
            labels=dict(self.labels),
            resources=dict(self.resources),
            blobs=tuple(dict.fromkeys(self.blobs)),
            images=tuple(dict.fromkeys(self.images)),
            features=Features(
                flags={name: frozenset(values) for name, values in found.flags.items()},
                attributes={name: dict(values) for name, values in found.attributes.items()},
                instances={name: tuple(dict(each) for each in values) for name, values in found.instances.items()},
            ),
        )


GUIDE = Guide(
    model=HostModel,
    examples={
        "platform": "linux/amd64/v3",
        "facts": "{gpu.vendor: nvidia}",
        "name": "node-1",
        "kind": KIND,
        "apiVersion": API_VERSION,
        "resources": "{cpu: 8, memory: 64Gi}",
    },
    wanted={"platform": "a platform such as 'linux/amd64/v3' or a map with os and architecture"},
    meant={"arch": "architecture", "properties": "facts", "osversion": "os.version", "osfeatures": "os.features"},
    as_written=True,
)


def load(data: bytes, file: str = "<stdin>") -> Host:
    """Return the host in `data`; `file` is the name for messages. Raises SpecError with all that is wrong."""
    return of_documents(yamlnodes.compose(data, file), file)


def of_documents(found: tuple[Document, ...], file: str) -> Host:
    """Return the host that is the one document of a file."""
    document = documents.single(found, "a host", file)
    return documents.validate(document, HostModel, file, GUIDE).value.host(Path(file).stem)


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the document."""
    example = {"name": "gpu-node-1", "platform": "linux/amd64/v3", "facts": {"gpu.vendor": "nvidia"}}
    found = jsonschema.build(HostModel, KIND, [example])
    short = {"type": "string", "pattern": "^[^/]+(/[^/]+){0,2}$"}
    found["$defs"]["HostPlatform"] = jsonschema.with_short_forms([short], found["$defs"]["HostPlatform"])
    return found
