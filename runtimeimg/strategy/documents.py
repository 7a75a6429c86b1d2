"""Documents written from templates: what `strategy amend` adds, and the complete ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runtimeimg import __version__, templating
from runtimeimg.strategy import data
from runtimeimg.strategy.dialect import Dialect, dialect_of
from runtimeimg.strategy.parameters import RESULTS, Naming, Parameter, Result, described
from runtimeimg.strategy.steps import CA_MOUNT, CACHE_MOUNT, NOT_ROOT, StepOptions, make_steps

DEFAULT_IMAGE = f"runtimeimg:{__version__}"
"""The tool's own image, as a cluster's nodes have it once it was loaded or mirrored there."""

_FILTERS = {"quoted": data.quoted, "yaml": data.yaml_value, "argument": data.argument}


def render(template: str, **values: Any) -> str:
    """Return the text of the template `strategy/TEMPLATE.yaml.j2`."""
    return templating.load(f"strategy/{template}.yaml.j2", _FILTERS).render(**values)


def render_steps(dialect: Dialect, options: StepOptions, *, resources: bool = True) -> str:
    """Return the steps as items of a YAML list, at column 0."""
    key = dialect.resources_key if resources else ""
    return render("steps", steps=make_steps(dialect, options), resources_key=key)


def render_parameters(dialect: Dialect, parameters: list[Parameter]) -> str:
    """Return the parameters as items of a YAML list, at column 0."""
    return render("parameters", parameters=parameters, array_default="default" if dialect.task else "defaults")


def render_results(results: Sequence[Result]) -> str:
    """Return the results of a Task as items of a YAML list, at column 0."""
    return render("results", results=results)


def render_volumes(dialect: Dialect, configmap: str | None = None, *, cache: bool = True) -> str:
    """Return the volumes as items of a YAML list; `configmap` is `NAME[:KEY]` of the spec, if it is in one."""
    return render(
        "volumes",
        configmap=(configmap or "").partition(":")[0],
        configmap_key=configmap_key(configmap),
        overridable=not dialect.task,
        cache=cache,
    )


def configmap_key(configmap: str | None) -> str:
    """Return the key of `NAME[:KEY]`, `build.yaml` where it has none; empty without a ConfigMap."""
    return "" if configmap is None else configmap.partition(":")[2] or "build.yaml"


def cluster_strategy(
    *,
    image: str = DEFAULT_IMAGE,
    name: str = "runtime-image",
    namespaced: bool = False,
    managed: bool = True,
    run_as: tuple[int, int] | None = (NOT_ROOT, NOT_ROOT),
) -> str:
    """Return a (Cluster)BuildStrategy that composes a runtime image from a builder image that is there already.

    With `managed` Shipwright pushes the result from the output directory; otherwise the step pushes it. All steps of a
    build, Shipwright's own too, run as the user and group of `run_as`; None leaves them to the cluster.
    """
    dialect = dialect_of("shipwright.io/v1beta1", "ClusterBuildStrategy")
    naming = Naming()
    options = StepOptions(
        image=image,
        naming=naming,
        managed=managed,
        source=dialect.source,
        output_image=dialect.output_image,
        insecure=dialect.insecure,
        authorities=CA_MOUNT,
        cache=CACHE_MOUNT,
    )
    return render(
        "cluster-strategy",
        kind="BuildStrategy" if namespaced else "ClusterBuildStrategy",
        name=name,
        version=__version__,
        run_as=run_as,
        steps=render_steps(dialect, options),
        parameters=render_parameters(dialect, described(naming, {})),
        volumes=render_volumes(dialect),
    )


def task(*, image: str = DEFAULT_IMAGE, name: str = "runtime-image", artifacts: bool = False) -> str:
    """Return a Tekton Task in the catalog's style that composes a runtime image and pushes it.

    With `artifacts` it says what went in and came out as Tekton's artifacts, which a cluster must have on.
    """
    dialect = dialect_of("tekton.dev/v1", "Task")
    naming = Naming(upper=True)
    options = StepOptions(
        image=image,
        naming=naming,
        source="$(workspaces.source.path)",
        output_image="$(params.IMAGE)",
        insecure="$(params.INSECURE)",
        authorities="$(workspaces.ca-bundle.path)",
        cache="$(workspaces.cache.path)",
        artifacts=artifacts,
    )
    return render(
        "task",
        name=name,
        version=__version__,
        steps=render_steps(dialect, options),
        parameters=render_parameters(dialect, [*_TARGET, *described(naming, {})]),
        results=render_results(RESULTS),
        volumes=render_volumes(dialect),
    )


def step_action(*, image: str = DEFAULT_IMAGE, name: str = "runtime-image", artifacts: bool = False) -> str:
    """Return a Tekton StepAction that composes a runtime image and pushes it, for Tasks of others."""
    dialect = dialect_of("tekton.dev/v1", "Task")
    naming = Naming(upper=True)
    options = StepOptions(
        image=image,
        naming=naming,
        source="$(params.SOURCE_DIR)",
        output_image="$(params.IMAGE)",
        insecure="$(params.INSECURE)",
        authorities="$(params.CA_BUNDLE)",
        cache="$(params.CACHE)",
        artifacts=artifacts,
    )
    steps = make_steps(dialect, options)
    return render(
        "step-action",
        name=name,
        version=__version__,
        step=steps[0],
        parameters=render_parameters(dialect, [*_TARGET, *_PLACES, *described(naming, {})]),
        results=render_results(RESULTS),
    )


_TARGET = [
    Parameter(name="IMAGE", description="Name that the runtime image gets.", default=None),
    Parameter(
        name="INSECURE",
        description="Whether its registry speaks no TLS, or none that can be verified.",
        default="false",
    ),
]
_PLACES = [
    Parameter(name="SOURCE_DIR", description="Folder of the source tree, for SPEC_FILE and $(workspace) paths."),
    Parameter(name="CA_BUNDLE", description="Folder of certificates to trust: the path of a workspace of the Task."),
    Parameter(name="CACHE", description="Folder of the cache: the path of a workspace of the Task."),
    Parameter(
        name="WORK_VOLUME",
        description="Volume of the Task, an emptyDir, for HOME and temporary files.",
        default="runtime-image",
    ),
]
