"""`runtimeimg strategy`: Tekton and Shipwright documents."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import Any

import click

from runtimeimg.errors import InvalidDocumentError, UsageError
from runtimeimg.hostfile import read_file

FILE = click.Path(path_type=Path)
_MAX_FILE = 4 * 1024 * 1024
_BUILDERS = ("native", "buildah", "kaniko", "buildkit")

_output = click.option("-o", "--output", type=FILE, help="File to write; standard output by default.")
_image = click.option("--image", metavar="REF", help="The tool's own image; runtimeimg:VERSION by default.")
_artifacts = click.option(
    "--artifacts", is_flag=True, help="Write Tekton's artifacts; for clusters with enable-artifacts on."
)


@click.group("strategy")
def command() -> None:
    """Make a runtime image by steps of Tekton Tasks and Shipwright build strategies."""


@command.command("amend")
@click.argument("document", metavar="STRATEGY")
@click.option("--spec", metavar="SPEC", help="Build spec that every build gets unless it brings its own.")
@click.option("--spec-path", metavar="PATH", help="Path of the Build spec in the source tree.")
@click.option("--spec-configmap", metavar="NAME[:KEY]", help="ConfigMap that holds the Build spec.")
@click.option("--builder", type=click.Choice(_BUILDERS), default="native", show_default=True)
@click.option("--builder-step-image", metavar="REF", help="Image of the builder's step, in place of its project's.")
@_image
@click.option("--name", help="Strategy or Task to amend, when the file holds several.")
@click.option("--source", metavar="PATH", help="Source tree as a step sees it, when it cannot be told.")
@click.option("--output-image", metavar="REF", help="Name of the image as a step sees it, when it cannot be told.")
@click.option("--redirect", is_flag=True, help="Let the strategy's own steps push under NAME-builder.")
@click.option("--run-as", metavar="UID[:GID]", help="User of the steps; the tool's image's own by default.")
@_artifacts
@click.option("--remove", is_flag=True, help="Take out what was added.")
@click.option("--diff", is_flag=True, help="Show the change instead of the document.")
@click.option("-i", "--in-place", is_flag=True, help="Write the document back to its file.")
@_output
def amend_command(document: str, remove: bool, diff: bool, in_place: bool, output: Path | None, **options: Any) -> None:
    """Add the steps of a runtime image to STRATEGY, a file (- for standard input); its text is kept as it is.

    It holds a BuildStrategy, a ClusterBuildStrategy or a Tekton Task. Amending again replaces what was added, also in
    what comes back from a cluster without its comments.
    """
    from runtimeimg import strategy

    if in_place and (output is not None or document == "-" or diff):
        raise UsageError("--in-place does not go with -o, --diff or standard input")
    text = _read(document)
    name = "<stdin>" if document == "-" else document
    done = strategy.take_out(text, file=name) if remove else strategy.amend(text, _amendment(options), file=name)
    result = done.text
    for note in done.notes:
        click.echo(f"note: {note}", err=True)
    if diff:
        result = _diff(text, result, name)
    _write(result, Path(document) if in_place else output)


def _amendment(options: dict[str, Any]) -> Any:
    from runtimeimg.strategy import DEFAULT_IMAGE, Amendment

    given = [name for name in ("spec", "spec_path", "spec_configmap") if options[name] is not None]
    if len(given) > 1:
        raise UsageError(f"--{given[0]} and --{given[1]} are both given".replace("_", "-"))
    return Amendment(
        image=options["image"] or DEFAULT_IMAGE,
        builder=options["builder"],
        builder_step_image=options["builder_step_image"],
        spec=_spec_data(options["spec"]) if options["spec"] is not None else None,
        spec_path=options["spec_path"],
        configmap=options["spec_configmap"],
        name=options["name"],
        source=options["source"],
        output_image=options["output_image"],
        redirect=options["redirect"],
        run_as=options["run_as"],
        artifacts=options["artifacts"],
    )


def _spec_data(spec: str) -> str:
    """Return a Build spec, checked, as the data that travels in a document."""
    from runtimeimg.spec import load_spec_text
    from runtimeimg.strategy.data import spec_to_json

    text = _read(spec)
    load_spec_text(text.encode("utf-8", "surrogatepass"), "<stdin>" if spec == "-" else spec)
    return spec_to_json(text)


@command.command("cluster-strategy")
@_image
@click.option("--name", default="runtime-image", show_default=True)
@click.option("--namespaced", is_flag=True, help="Make a BuildStrategy in place of a ClusterBuildStrategy.")
@click.option("--push", is_flag=True, help="Let the step push, in place of Shipwright.")
@click.option(
    "--run-as",
    metavar="UID[:GID]",
    default="65532",
    show_default=True,
    help="User of all steps of a build; cluster leaves the choice to the cluster.",
)
@_output
def cluster_strategy_command(
    image: str | None, name: str, namespaced: bool, push: bool, run_as: str, output: Path | None
) -> None:
    """Print a ClusterBuildStrategy that composes a runtime image from what the parameters of a Build say."""
    from runtimeimg.strategy import DEFAULT_IMAGE, cluster_strategy
    from runtimeimg.strategy.reading import user_of

    user = None if run_as == "cluster" else user_of(run_as)
    made = cluster_strategy(
        image=image or DEFAULT_IMAGE, name=name, namespaced=namespaced, managed=not push, run_as=user
    )
    _write(made, output)


@command.command("task")
@_image
@click.option("--name", default="runtime-image", show_default=True)
@click.option("--step-action", is_flag=True, help="Print a StepAction, for Tasks of others.")
@_artifacts
@_output
def task_command(image: str | None, name: str, step_action: bool, artifacts: bool, output: Path | None) -> None:
    """Print a Tekton Task that composes a runtime image."""
    from runtimeimg import strategy

    image = image or strategy.DEFAULT_IMAGE
    make = strategy.step_action if step_action else strategy.task
    _write(make(image=image, name=name, artifacts=artifacts), output)


@command.command("convert")
@click.argument("build", metavar="BUILD")
@click.option("--strategy", metavar="NAME", help="An amended strategy; the one that `cluster-strategy` prints if none.")
@click.option("--kind", type=click.Choice(["ClusterBuildStrategy", "BuildStrategy"]), default="ClusterBuildStrategy")
@click.option("--builder-image", metavar="REF", help="Image to copy from.")
@_output
def convert_command(
    build: str, strategy: str | None, kind: str, builder_image: str | None, output: Path | None
) -> None:
    """Turn an old BUILD with spec.runtime (a file, - for standard input) into one of shipwright.io/v1beta1.

    What was moved where, and what was left out, is said on standard error.
    """
    from runtimeimg.strategy import convert

    name = "<stdin>" if build == "-" else build
    converted = convert(_read(build), strategy=strategy, kind=kind, builder_image=builder_image, file=name)
    for line in converted.moved:
        click.echo(line, err=True)
    _write(converted.text, output)


def _read(name: str) -> str:
    """Return the text of a file or of standard input, its line ends as they are."""
    try:
        data = sys.stdin.buffer.read(_MAX_FILE + 1) if name == "-" else read_file(Path(name), _MAX_FILE, "file")
    except OSError as error:
        raise UsageError(f"file '{name}' cannot be read: {error}") from None
    if len(data) > _MAX_FILE:
        raise InvalidDocumentError(f"file '{name}' is larger than {_MAX_FILE >> 20} MiB")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidDocumentError(f"file '{name}' is not UTF-8: byte {error.start}") from None


def _write(text: str, output: Path | None) -> None:
    data = text.encode("utf-8", "surrogatepass")
    if output is None:
        sys.stdout.buffer.write(data)
        return
    from runtimeimg.stores.files import write_atomically

    write_atomically(output, data)


def _diff(before: str, after: str, name: str) -> str:
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    lines = difflib.unified_diff(old, new, name, f"{name} (amended)")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
