"""`runtimeimg build`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtimeimg.cli.choosing import choosing_stores
from runtimeimg.cli.completion import builders, specs
from runtimeimg.cli.locations import platforms_of
from runtimeimg.cli.options import (
    DEFAULT_SPEC,
    cache_dir,
    compression_of,
    pairs,
    read_plan,
    source_date_epoch,
    store_options,
)
from runtimeimg.cli.progress import MODES
from runtimeimg.errors import UsageError

if TYPE_CHECKING:
    from runtimeimg.build import Built, Part
    from runtimeimg.builders import BuildRequest
    from runtimeimg.oci import Location, Platform
    from runtimeimg.plan import Facts
    from runtimeimg.planned import Planned
    from runtimeimg.stores import StoreOptions

PROXY_VARIABLES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("build")
@click.argument("specs", nargs=-1, metavar="[SPEC]...", shell_complete=specs)
@click.option(
    "-f", "--file", type=FILE, help="The spec; SPEC is then the folder of $(workspace), as with docker build."
)
@click.option("--variant", "variants", multiple=True, metavar="NAME", help="Variant to build; all by default.")
@click.option(
    "-t", "--tag", "tags", multiple=True, metavar="REF", help="Name of the image; spec.output.image by default."
)
@click.option(
    "--builder",
    default="auto",
    show_default=True,
    help="docker, native, buildah, buildkit or auto.",
    shell_complete=builders,
)
@click.option("--builder-image", metavar="REF", help="Image to copy from, in place of spec.builder.image.")
@click.option("-o", "--output", "outputs", multiple=True, metavar="DEST", help="Where to write, e.g. oci:DIR:TAG.")
@click.option("--push", is_flag=True, help="Write to the registry under the names given by -t.")
@click.option("--load", is_flag=True, help="Write to the local Engine under the names given by -t.")
@click.option(
    "--platform",
    "platforms",
    metavar="P,...",
    help="Platforms, e.g. linux/amd64,linux/arm64, or all that base and builder image share.",
)
@click.option("--metadata-file", type=FILE, help="Write digests, names and what was moved, as JSON.")
@click.option("--iidfile", type=FILE, help="Write the image ID.")
@click.option("--digestfile", type=FILE, help="Write the digest of the manifest or index.")
@click.option("--progress", type=click.Choice(MODES), default="auto", show_default=True)
@click.option("-q", "--quiet", is_flag=True, help="Print the digest or image ID alone; the same as --progress quiet.")
@click.option("--label", multiple=True, metavar="K=V", help="Label to add.")
@click.option("--annotation", multiple=True, metavar="K=V", help="Annotation of the manifest to add.")
@click.option("--env", multiple=True, metavar="K=V", help="Environment variable to add.")
@click.option("--workspace", type=click.Path(path_type=Path), help="Folder of $(workspace); the spec's by default.")
@click.option("--pull", type=click.Choice(["missing", "always", "never"]), default="missing", show_default=True)
@click.option("--network", help="Network of the run steps.")
@click.option("--build-arg", multiple=True, metavar="K=V", help="Build argument, for proxies.")
@click.option("--no-cache", is_flag=True, help="Neither use nor keep what saves work the next time.")
@click.option(
    "--compression",
    default="gzip",
    show_default=True,
    metavar="KIND[:LEVEL]",
    help="gzip, zstd or none; with a level all is packed anew.",
)
@click.option(
    "--layers",
    type=click.Choice(["builder", "copy", "one"]),
    help="Native builder: new layers follow the builder's layers (the default), the directories, or are one.",
)
@click.option(
    "--share-index",
    is_flag=True,
    help="Native builder: read the builder image by the index beside it in the registry, and keep one there. Whoever "
    "may write there is believed.",
)
@click.option(
    "--graph-format", type=click.Choice(["runtimegraph", "envd", "both"]), default="runtimegraph", show_default=True
)
@click.option("--no-supervise", is_flag=True, help="Leave the entrypoint alone: the labels alone carry the daemons.")
@click.option("--debug", is_flag=True, help="Add the small shell of spec.runtime.debug, and mark the image so.")
@click.option("--revision", help="Revision of the source, for its label.")
@click.option("--image-version", help="Version of the packaged software, for its label.")
@click.option("--dry-run", is_flag=True, help="Show what would be done.")
@click.option(
    "--check",
    type=click.Choice(["warn", "error", "off"]),
    default="warn",
    show_default=True,
    help="Say whether the image will start; with error nothing is written when it will not.",
)
@click.option("--sbom", type=click.Choice(["cyclonedx", "spdx"]), help="Attach a bill of materials to what is written.")
@store_options
@partial(choosing_stores, single=False)  # a base may have variants where the builder image has none
def command(specs: tuple[str, ...], stores: Callable[..., StoreOptions], progress: str, **options: Any) -> None:
    """Build the runtime image of SPEC (build.yaml by default, - for standard input) and stamp it.

    Variants of a spec, several specs and several platforms give one index of all their images.
    """
    from runtimeimg.build import build_all, choose_builder
    from runtimeimg.cache import Cache
    from runtimeimg.cli.boms import both, collected
    from runtimeimg.cli.checking import checker
    from runtimeimg.cli.destinations import destinations_of
    from runtimeimg.cli.memory import few_arenas
    from runtimeimg.cli.progress import display
    from runtimeimg.cli.variants import parts_of, pieces_of

    few_arenas()
    progress = "quiet" if options["quiet"] else progress
    facts = _facts(options)
    cache = None if options["no_cache"] else Cache.open(cache_dir())
    bom = collected(options["sbom"], cache)
    made = [read_plan(path, facts, keep=not options["no_cache"]) for path in _spec_paths(specs, options)]
    pieces = pieces_of(made, facts, options["variants"], cache)
    with display("quiet" if options["dry_run"] else progress) as shown:
        reached = stores(shown)
        destinations = destinations_of(pieces[0].made.plan, reached, options)
        _check_files(options, destinations)
        parts = parts_of(
            pieces,
            lambda made, platform: _request(made, reached, options, platform),
            lambda request: choose_builder(options["builder"], request, destinations),
            lambda request: _platforms(options["platforms"], request),
        )
        if options["dry_run"]:
            _show_plans(parts, destinations)
            return
        built = build_all(
            parts,
            destinations,
            graph_format=options["graph_format"],
            indexed=len(pieces) > 1 or (bool(pieces[0].name) and not options["variants"]),
            look=both(checker(options["check"], cache), *((bom.look,) if bom is not None else ())),
        )
        if bom is not None:
            bom.attach(built, destinations, reached)
    _report(built, parts[0].request, options, quiet=progress in {"quiet", "rawjson"})


def _spec_paths(specs: tuple[str, ...], options: dict[str, Any]) -> list[str]:
    """Return where the specs are; SPEC may be its folder, or with `-f` that of `$(workspace)`."""
    if options["file"] is None:
        return [str(Path(spec) / DEFAULT_SPEC) if spec != "-" and Path(spec).is_dir() else spec for spec in specs] or [
            DEFAULT_SPEC
        ]
    for spec in specs:
        if len(specs) > 1 or not Path(spec).is_dir():
            raise UsageError(f"the spec is given twice, as '{spec}' and as -f '{options['file']}'")
        if options["workspace"] is not None:
            raise UsageError(f"the workspace is given twice, as '{spec}' and as --workspace '{options['workspace']}'")
        options["workspace"] = Path(spec)
    return [str(options["file"])]


def _facts(options: dict[str, Any]) -> Facts:
    from runtimeimg.oci import Reference
    from runtimeimg.plan import Facts

    epoch = source_date_epoch()
    for tag in options["tags"]:
        if Reference.parse(tag).digest is not None:
            raise UsageError(f"-t {tag!r} holds a digest; a new image cannot be named by one")
    return Facts(
        builder_image=options["builder_image"],
        output_images=options["tags"],
        labels=pairs(options["label"], "--label"),
        annotations=pairs(options["annotation"], "--annotation"),
        env=pairs(options["env"], "--env"),
        revision=options["revision"],
        version=options["image_version"],
        created=_rfc3339(epoch) if epoch is not None else None,
        supervise=not options["no_supervise"],
        debug=options["debug"],
    )


def _rfc3339(seconds: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _request(made: Planned, stores: StoreOptions, options: dict[str, Any], platform: Platform | None) -> BuildRequest:
    from runtimeimg.builders import BuildRequest

    folder = options["workspace"] or (Path() if made.file.startswith("<") else Path(made.file).parent)
    if not folder.is_dir():
        raise UsageError(f"--workspace '{folder}' is not a folder")
    compression = compression_of(options["compression"])
    environ = {name.lower(): value for name, value in stores.environ.items()}
    proxies = {name: environ[name] for name in PROXY_VARIABLES if environ.get(name)}
    own = {**compression, "layers": options["layers"] or "", "share-index": "true" if options["share_index"] else ""}
    return BuildRequest(
        plan=made.plan,
        stores=stores,
        workspace=folder.resolve(),
        platform=platform or _single_platform(options["platforms"]),
        place=made.place,
        pull=options["pull"],
        network=options["network"],
        build_args={**proxies, **pairs(options["build_arg"], "--build-arg")},
        no_cache=options["no_cache"],
        cache_dir=None if options["no_cache"] else cache_dir(),
        epoch=source_date_epoch(),
        options={key: value for key, value in own.items() if value},
        looked_at=options["check"] != "off",
    )


def _check_files(options: dict[str, Any], destinations: list[Location]) -> None:
    """Refuse files that could not be written after the build, or that would have nothing to hold."""
    from runtimeimg.build import ENGINE_TRANSPORTS
    from runtimeimg.stores.files import require_folder

    for option in ("iidfile", "digestfile", "metadata_file"):
        if options[option] is not None:
            name = option.replace("_", "-")
            require_folder(options[option], f"--{name} '{options[option]}'")
    if options["digestfile"] is not None and all(item.transport in ENGINE_TRANSPORTS for item in destinations):
        raise UsageError("--digestfile: an Engine keeps no manifest digest", hint="use --iidfile, --push or -o")


def _single_platform(text: str | None) -> Platform | None:
    platforms = platforms_of(text) if text != "all" else ()
    return platforms[0] if len(platforms) == 1 else None


def _platforms(text: str | None, request: BuildRequest) -> list[Platform]:
    """Return the platforms of `--platform`; `all` are those that the base and all images copied from are for."""
    if text != "all":
        return list(platforms_of(text))
    from runtimeimg.build import shared_platforms

    return list(shared_platforms(request.plan, request.stores))


def _show_plans(parts: Sequence[Part], destinations: list[Location]) -> None:
    from runtimeimg.render import render_dockerfile

    for part in parts:
        click.echo(f"builder: {part.builder.name}" + (f" for variant '{part.name}'" if part.name else ""), err=True)
    for destination in destinations:
        click.echo(f"writes: {destination}", err=True)
    for part in parts:
        if part.name:
            click.echo(f"# variant {part.name}")
        click.echo(render_dockerfile(part.request.plan), nl=False)


def _report(built: Built, request: BuildRequest, options: dict[str, Any], *, quiet: bool) -> None:
    """Write the files that were asked for, then say what there is now."""
    from runtimeimg.stores.files import write_atomically

    digest = next((str(item.descriptor.digest) for item in built.written if item.descriptor), None)
    image_id = next((item.image_id for item in built.written if item.image_id), str(built.images[0].config.digest))
    if options["iidfile"]:
        write_atomically(options["iidfile"], f"{image_id}\n".encode())
    if options["digestfile"]:
        assert digest is not None  # checked before the build
        write_atomically(options["digestfile"], f"{digest}\n".encode())
    if options["metadata_file"]:
        text = json.dumps(metadata(built, request), indent=2)
        write_atomically(options["metadata_file"], f"{text}\n".encode())
    if not quiet:
        from runtimeimg.cli.summary import summary

        for line in summary(built, request):
            click.echo(line, err=True)
    click.echo(digest or image_id)


def metadata(built: Built, request: BuildRequest) -> dict[str, Any]:
    """Return what `--metadata-file` holds: digests named apart, names, and what was moved."""
    return {
        "builder": built.builder,
        "images": [
            {
                **({"variant": name} if name else {}),
                "platform": str(image.platform),
                "configDigest": str(image.config.digest),
                "layers": [str(layer.diff_id) for layer in image.layers],
            }
            for name, image in zip(built.names, built.images, strict=True)
        ],
        "written": [
            {
                "name": item.name,
                "digest": str(item.descriptor.digest) if item.descriptor else None,
                "mediaType": item.descriptor.media_type if item.descriptor else None,
                "imageID": item.image_id,
            }
            for item in built.written
        ],
        "moved": request.stores.account.to_json(),
    }
