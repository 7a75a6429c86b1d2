"""The parameters that steps of ours take, and how they reach a step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from runtimeimg.strategy.data import SEPARATOR
from runtimeimg.strategy.dialect import PREFIX

ARRAYS = ("directories", "entrypoint", "env", "labels")
"""The array parameters, in the order in which a step gets them after its options."""
SPEC_VARIABLE = "RUNTIMEIMG_SPEC"
"""The environment variable in which a step gets the spec as text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter: `default` is a text or, for an array, a tuple of texts; None when a value must be given."""

    name: str
    description: str
    default: str | tuple[str, ...] | None = ""

    @property
    def is_array(self) -> bool:
        """Whether it holds several texts."""
        return isinstance(self.default, tuple)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A result of a Task: a text, or an object where it has properties."""

    name: str
    description: str
    properties: tuple[str, ...] = ()


RESULTS = (
    Result(name="IMAGE_URL", description="Name of the runtime image."),
    Result(name="IMAGE_DIGEST", description="Digest of the runtime image."),
    Result(name="ERROR_REASON", description="One word on why it failed, empty where it did not."),
    Result(name="ERROR_MESSAGE", description="What went wrong and what to do, empty where nothing did."),
    Result(
        name="BASE_ARTIFACT_INPUTS",
        description="The base image, for Tekton Chains.",
        properties=("uri", "digest"),
    ),
    Result(
        name="BUILDER_ARTIFACT_INPUTS",
        description="The image that was copied from, where it was in a registry, for Tekton Chains.",
        properties=("uri", "digest"),
    ),
    Result(
        name="IMAGE_ARTIFACT_OUTPUTS",
        description="The runtime image, for Tekton Chains.",
        properties=("uri", "digest", "isBuildArtifact"),
    ),
)

PARAMETERS = (
    Parameter(name="spec-file", description="Path of the Build spec in the source, such as build.yaml."),
    Parameter(
        name="spec",
        description="The Build spec itself, when it is not a file. In it $ is written as \\u0024 within double quotes.",
    ),
    Parameter(name="base-image", description="Image to stand on; wins over the spec's."),
    Parameter(
        name="builder-image",
        description="Image to copy from; wins over the spec's and over what earlier steps built.",
    ),
    Parameter(
        name="directories",
        description="What to copy, each source or source:destination; in place of the spec's.",
        default=(),
    ),
    Parameter(name="entrypoint", description="Program and arguments; in place of the spec's.", default=()),
    Parameter(name="env", description="Environment, each NAME=value; added to the spec's.", default=()),
    Parameter(name="labels", description="Labels, each key=value; added to the spec's.", default=()),
    Parameter(name="work-dir", description="Working directory; wins over the spec's."),
    Parameter(
        name="platforms",
        description="Platforms, such as linux/amd64,linux/arm64; all that base and builder image share if empty.",
    ),
    Parameter(
        name="insecure-registries",
        description="Registries, HOST:PORT and so on, that speak no TLS or none that can be verified.",
    ),
    Parameter(name="compression", description="Compression of the new layer, gzip, zstd or none.", default="gzip"),
    Parameter(
        name="provenance",
        description="Whether the Dockerfile.runtime and the plan are pushed beside the image, true or false.",
        default="true",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """How a document calls the parameters: `runtime-base-image` among others' own, `BASE_IMAGE` in our own tasks.

    Where there are none (`declared` off), a spec is part of the strategy itself.
    """

    upper: bool = False
    declared: bool = True

    def name(self, name: str) -> str:
        """Return what the parameter is called in the document."""
        return name.upper().replace("-", "_") if self.upper else PREFIX + name

    def value(self, name: str) -> str:
        """Return what is written for the value of the parameter."""
        return f"$(params.{self.name(name)}{'[*]' if name in ARRAYS else ''})"


def described(naming: Naming, defaults: dict[str, Any]) -> list[Parameter]:
    """Return the parameters under their names in a document, with other defaults where `defaults` has them."""
    return [
        replace(item, name=naming.name(item.name), default=defaults.get(item.name, item.default)) for item in PARAMETERS
    ]


def input_options(naming: Naming) -> list[str]:
    """Return the options of `runtimeimg step` that carry the text parameters; each value is glued to its option."""
    return [
        f"--{item.name}={naming.value(item.name)}"
        for item in PARAMETERS
        if not item.is_array and item.name not in {"spec", "insecure-registries", "compression", "provenance"}
    ]


def array_arguments(naming: Naming) -> list[str]:
    """Return the arguments of `runtimeimg step` that carry the arrays: a bare `--` before each."""
    return [argument for name in ARRAYS for argument in (SEPARATOR, naming.value(name))]
