"""What the kinds of documents that hold steps have in common, and what each calls it."""

from __future__ import annotations

from dataclasses import dataclass

from runtimeimg.errors import UsageError

PREFIX = "runtime-"
"""What the names of everything added begin with, so that nothing of a strategy's own is hit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How one version of an API spells what a step needs.

    The `*_key` fields are keys of the document, None where its version has no such thing. The others are what a step
    writes for a value, to be replaced by Shipwright, Tekton or nobody; empty where there is no such value.
    """

    steps_key: str
    parameters_key: str | None
    volumes_key: str | None
    resources_key: str
    task: bool
    source: str
    output_image: str
    output_directory: str = ""
    insecure: str = ""
    result_digest: str = ""
    result_size: str = ""
    result_url: str = ""
    result_error_reason: str = ""
    result_error_message: str = ""
    result_base_input: str = ""
    result_builder_input: str = ""
    result_output: str = ""


def _shipwright(steps_key: str) -> Dialect:
    return Dialect(
        steps_key=steps_key,
        parameters_key="parameters",
        volumes_key="volumes",
        resources_key="resources",
        task=False,
        source="$(params.shp-source-context)",
        output_image="$(params.shp-output-image)",
        output_directory="$(params.shp-output-directory)",
        insecure="$(params.shp-output-insecure)",
        result_digest="$(results.shp-image-digest.path)",
        result_size="$(results.shp-image-size.path)",
        result_error_reason="$(results.shp-error-reason.path)",
        result_error_message="$(results.shp-error-message.path)",
    )


def _task(resources_key: str) -> Dialect:
    return Dialect(
        steps_key="steps",
        parameters_key="params",
        volumes_key="volumes",
        resources_key=resources_key,
        task=True,
        source="",
        output_image="",
        result_digest="$(results.IMAGE_DIGEST.path)",
        result_url="$(results.IMAGE_URL.path)",
        result_error_reason="$(results.ERROR_REASON.path)",
        result_error_message="$(results.ERROR_MESSAGE.path)",
        result_base_input="$(results.BASE_ARTIFACT_INPUTS.path)",
        result_builder_input="$(results.BUILDER_ARTIFACT_INPUTS.path)",
        result_output="$(results.IMAGE_ARTIFACT_OUTPUTS.path)",
    )


_BUILD_DEV = Dialect(
    steps_key="buildSteps",
    parameters_key=None,
    volumes_key=None,
    resources_key="resources",
    task=False,
    source="/workspace/source",
    output_image="$(build.output.image)",
)

_STRATEGIES = ("BuildStrategy", "ClusterBuildStrategy")
_DIALECTS = {
    "shipwright.io/v1beta1": (_STRATEGIES, _shipwright("steps")),
    "shipwright.io/v1alpha1": (_STRATEGIES, _shipwright("buildSteps")),
    "build.dev/v1alpha1": (_STRATEGIES, _BUILD_DEV),
    "tekton.dev/v1": (("Task",), _task("computeResources")),
    "tekton.dev/v1beta1": (("Task", "ClusterTask"), _task("resources")),
}


def is_known(api_version: object, kind: object) -> bool:
    """Tell whether a document of this version and kind holds steps that can be added to."""
    return isinstance(api_version, str) and api_version in _DIALECTS and kind in _DIALECTS[api_version][0]


def dialect_of(api_version: str, kind: str) -> Dialect:
    """Return the dialect of a version and kind, or raise UsageError."""
    if not is_known(api_version, kind):
        known = "; ".join(f"{' or '.join(kinds)} of {name}" for name, (kinds, _) in _DIALECTS.items())
        raise UsageError(f"a {kind!r} of {api_version!r} has no steps to add to", hint=f"known are {known}")
    return _DIALECTS[api_version][1]
