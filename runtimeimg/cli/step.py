"""`runtimeimg step`: what the steps of a strategy run; documents give the arguments, not people."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtimeimg import remains
from runtimeimg.cli.options import RETRY_TIME, compression_of
from runtimeimg.errors import RuntimeimgError, UsageError

if TYPE_CHECKING:
    from runtimeimg.oci import Reference
    from runtimeimg.progress import Progress
    from runtimeimg.step import Inputs, Prepared, ResultFiles, Target
    from runtimeimg.stores import StoreOptions
    from runtimeimg.strategy.parameters import Naming

RESULT = click.Path(path_type=Path)
RAW = {"ignore_unknown_options": False, "allow_interspersed_args": False}

_INPUTS = (
    click.option("--source", default="", metavar="DIR", help="The source tree."),
    click.option("--spec-file", default="", metavar="PATH", help="Build spec in the source tree."),
    click.option("--mounted-spec", default="", metavar="FILE", help="Build spec that the platform mounted."),
    click.option("--base-image", default="", metavar="REF", help="Wins over the spec's base."),
    click.option("--builder-image", default="", metavar="REF", help="Wins over what earlier steps built."),
    click.option("--work-dir", default="", metavar="PATH", help="Wins over the spec's workDir."),
    click.option("--platforms", default="", metavar="P,...", help="All that base and builder image share if empty."),
    click.option("--built-directory", default="", metavar="DIR", help="Where earlier steps left the builder image."),
    click.option("--built-image", default="", metavar="REF", help="Where earlier steps pushed the builder image."),
    click.argument("arrays", nargs=-1, type=click.UNPROCESSED),
)
_TARGET = (
    click.option("--output-directory", default="", metavar="DIR", help="Write there as an OCI layout, do not push."),
    click.option("--provenance", default="true", metavar="BOOL", help="Push the Dockerfile and the plan too."),
    click.option("--result-digest", type=RESULT, help="File for the digest."),
    click.option("--result-size", type=RESULT, help="File for the size in bytes."),
    click.option("--result-url", type=RESULT, help="File for the image's name."),
    click.option("--result-base-input", type=RESULT, help="File for the base, as Tekton Chains reads it."),
    click.option("--result-builder-input", type=RESULT, help="The same for the builder image."),
    click.option("--result-output", type=RESULT, help="The same for the runtime image."),
    click.option("--result-artifacts", type=RESULT, help="File for all three as Tekton's artifacts of a step."),
)
_COMMON = (
    click.option("--output-image", required=True, metavar="REF", help="Name of the runtime image."),
    click.option("--insecure", default="false", metavar="BOOL", help="Its registry has no TLS that can be trusted."),
    click.option("--insecure-registries", default="", metavar="HOST,...", help="Others that have none."),
    click.option("--ca-bundle", default="", metavar="DIR", help="Folder of certificates to trust."),
    click.option(
        "--naming", default="prefixed", type=click.Choice(["prefixed", "upper", "none"]), help="Of the parameters."
    ),
    click.option("--result-error-reason", type=RESULT, help="File for one word when it fails."),
    click.option("--result-error-message", type=RESULT, help="File for a message when it fails."),
)
_builder = click.option("--builder", required=True, type=click.Choice(["buildah", "kaniko", "buildkit"]))


def _with(options: tuple[Callable[[Any], Any], ...]) -> Callable[[Any], Any]:
    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


@click.group("step")
def command() -> None:
    """Do what a step of a build strategy does; the arguments come from `runtimeimg strategy`.

    The spec may be in the environment variable RUNTIMEIMG_SPEC. After the options come the arrays directories,
    entrypoint, env and labels, a bare `--` before each.
    """


@command.command("compose", context_settings=RAW)
@_with(_COMMON + _TARGET + _INPUTS)
@click.option("--compression", default="gzip", metavar="KIND[:LEVEL]", help="gzip, zstd or none.")
@click.option("--cache-dir", default="", metavar="DIR", help="Folder of the cache, which other pods may use too.")
def compose_step(compression: str, cache_dir: str, **options: Any) -> None:
    """Compose the runtime image and push it, or put it into the output directory."""
    from runtimeimg.step import compose, prepare

    with _reported(options) as (files, stores, scratch):
        native = _compression(compression, _naming(options).name("compression"))
        inputs = _inputs(options, built_directory=options["output_directory"])
        target = _target(options, stores)
        # A cache is one user's alone; pods that share a volume may run as several.
        cache = Path(cache_dir, str(os.geteuid())) if cache_dir and Path(cache_dir).is_dir() else None
        prepared = prepare(inputs, stores, scratch=scratch)
        files.succeeded(compose(prepared, target, stores, options=native, cache=cache))


@command.command("dockerfile", context_settings=RAW)
@_with(_COMMON + _INPUTS)
@_builder
def dockerfile_step(builder: str, **options: Any) -> None:
    """Write Dockerfile.runtime and what else the builder of the next step needs into the work volume."""
    from runtimeimg.step import check_platform, hand_over, prepare

    with _reported(options) as (files, stores, scratch):
        inputs = _inputs(options, built_directory=options["built_directory"])
        prepared = prepare(inputs, stores, scratch=scratch)
        check_platform(prepared)
        hand_over(prepared, _work(), stores)
        files.handed_over(builder)


@command.command("stamp", context_settings=RAW)
@_with(_COMMON + _TARGET)
@_builder
def stamp_step(builder: str, **options: Any) -> None:
    """Stamp the image that the builder of the step before left, and push it or put it into the output directory."""
    from runtimeimg.step import built_by, deliver, take_over

    with _reported(options) as (files, stores, _):
        files.begun()
        target = _target(options, stores)
        prepared: Prepared = take_over(_work(), stores)
        files.succeeded(deliver([built_by(builder, _work(), stores)], prepared, target, stores))


@contextmanager
def _reported(options: dict[str, Any]) -> Iterator[tuple[ResultFiles, StoreOptions, Path]]:
    """Give the result files, the stores and an empty folder; an error is written to its files before it goes on."""
    from runtimeimg.cli.progress import display
    from runtimeimg.step import ResultFiles, advise

    files = ResultFiles(
        **{name.removeprefix("result_"): options[name] for name in options if name.startswith("result_")}
    )
    try:
        files.check()
        with display("plain") as progress, remains.folder() as scratch:
            (folder := scratch / "source").mkdir()
            yield files, _stores(options, progress, scratch), folder
    except BaseException as error:
        if isinstance(error, RuntimeimgError):
            advise(error, _naming(options))
        files.failed(error)
        raise


def _inputs(options: dict[str, Any], *, built_directory: str) -> Inputs:
    from runtimeimg.step import Inputs
    from runtimeimg.strategy.data import split_arrays
    from runtimeimg.strategy.parameters import ARRAYS, SPEC_VARIABLE

    # click takes the first `--` for the end of the options.
    naming = _naming(options)
    called = {naming.name(name): name for name in ARRAYS}
    found = split_arrays(options["arrays"], list(called)) if options["arrays"] else {}
    arrays = {called[name]: items for name, items in found.items()}
    names = ("source", "spec_file", "mounted_spec", "base_image", "builder_image", "work_dir", "platforms")
    return Inputs(
        spec_text=os.environ.get(SPEC_VARIABLE, ""),
        output_image=options["output_image"],
        built_directory=built_directory,
        built_image=options["built_image"],
        **{name: options[name] for name in names},
        directories=arrays.get("directories", ()),
        entrypoint=arrays.get("entrypoint", ()),
        env=arrays.get("env", ()),
        labels=arrays.get("labels", ()),
        naming=naming,
    )


def _output(options: dict[str, Any]) -> Reference:
    from runtimeimg.oci import Reference

    reference = Reference.parse(options["output_image"]).tagged
    if reference.digest is not None:
        raise UsageError(f"output image '{reference}' holds a digest; a new image cannot be named by one")
    return reference


def _target(options: dict[str, Any], stores: StoreOptions) -> Target:
    from runtimeimg.step import Target

    return Target(
        image=_output(options),
        stores=stores,
        directory=Path(options["output_directory"]) if options["output_directory"] else None,
        provenance=_boolean(options["provenance"], _naming(options).name("provenance")),
    )


def _stores(options: dict[str, Any], progress: Progress, scratch: Path) -> StoreOptions:
    from runtimeimg.step.trust import ca_file
    from runtimeimg.stores import StoreOptions

    hosts = {host.strip() for host in options["insecure_registries"].split(",")} - {""}
    if _boolean(options["insecure"], _naming(options).name("insecure")):
        hosts.add(_output(options).registry)
    return StoreOptions(
        environ=dict(os.environ),
        insecure=frozenset(hosts),
        ca_file=ca_file(Path(options["ca_bundle"]), scratch) if options["ca_bundle"] else None,
        retry_time=RETRY_TIME,
        progress=progress,
    )


def _naming(options: dict[str, Any]) -> Naming:
    from runtimeimg.strategy.parameters import Naming

    return Naming(upper=options["naming"] == "upper", declared=options["naming"] != "none")


def _boolean(text: str, name: str) -> bool:
    if text.lower() not in {"true", "false", ""}:
        raise UsageError(f"parameter '{name}': {text!r} is neither 'true' nor 'false'")
    return text.lower() == "true"


def _compression(text: str, name: str) -> dict[str, str]:
    try:
        return compression_of(text)
    except UsageError as error:
        raise UsageError(error.message.replace("--compression", f"parameter '{name}':", 1), hint=error.hint) from None


def _work() -> Path:
    """Return the work volume, which is the HOME of every step."""
    return Path(os.environ.get("HOME") or "/runtime-image")
