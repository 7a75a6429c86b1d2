"""Options and arguments that several commands share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from runtimeimg.cli.completion import images, specs
from runtimeimg.errors import InvalidDocumentError, UsageError

if TYPE_CHECKING:
    from runtimeimg.plan import Facts
    from runtimeimg.planned import Planned
    from runtimeimg.progress import Progress
    from runtimeimg.stores import StoreOptions

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_SPEC = "build.yaml"

RETRY_TIME = 60.0
"""Seconds; a registry that is started anew is back within them."""

_STORE_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--authfile", type=click.Path(path_type=Path), help="File with the logins of registries."),
    click.option("--plain-http", multiple=True, metavar="HOST", help="Registry to speak to without TLS."),
    click.option("--tls-verify", type=bool, default=True, show_default=True, help="Check certificates."),
    click.option("--ca-file", type=click.Path(path_type=Path), help="Certificates to trust, in PEM."),
    click.option(
        "--retry-time",
        type=click.FloatRange(0, 86400),
        default=RETRY_TIME,
        show_default=True,
        metavar="SECONDS",
        help="How long an outage of a registry is ridden out.",
    ),
)


def in_place_of(command: F, wrapper: Any, options: Iterable[Callable[[Any], Any]]) -> F:
    """Return `wrapper` as the command that `command` is, with more options."""
    wrapper.__name__, wrapper.__doc__ = command.__name__, command.__doc__
    wrapper.__click_params__ = list(getattr(command, "__click_params__", []))
    for add in reversed(tuple(options)):
        wrapper = add(wrapper)
    result: F = wrapper
    return result


def store_options(command: F) -> F:
    """Add the options that say how registries are reached; they arrive as one argument, `stores`."""

    def with_stores(
        *args: Any,
        authfile: Path | None,
        plain_http: tuple[str, ...],
        tls_verify: bool,
        ca_file: Path | None,
        retry_time: float,
        **kwargs: Any,
    ) -> Any:
        def make(progress: Progress | None = None) -> StoreOptions:
            from runtimeimg.progress import Silent
            from runtimeimg.stores import StoreOptions

            _check_files(authfile, ca_file)
            return StoreOptions(
                environ=dict(os.environ),
                authfile=authfile,
                plain_http=frozenset(plain_http),
                tls_verify=tls_verify,
                ca_file=ca_file,
                retry_time=retry_time,
                progress=progress or Silent(),
            )

        return command(*args, stores=make, **kwargs)

    return in_place_of(command, with_stores, _STORE_OPTIONS)


def _check_files(authfile: Path | None, ca_file: Path | None) -> None:
    """Refuse files that are not what they are given as, whether or not a registry will be asked."""
    import ssl

    from runtimeimg.budgets import MAX_DOCUMENT
    from runtimeimg.hostfile import open_file, read_file
    from runtimeimg.oci.documents import load_json

    try:
        if authfile is not None:
            load_json(read_file(authfile, MAX_DOCUMENT, "--authfile"), f"--authfile '{authfile}'")
        if ca_file is not None:
            open_file(ca_file, "--ca-file").close()  # OpenSSL would wait for a pipe
            ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        raise InvalidDocumentError(f"--ca-file '{ca_file}' holds no certificate in PEM") from None


spec_argument = click.argument("spec", default=DEFAULT_SPEC, metavar="[SPEC]", shell_complete=specs)
image_argument = click.argument("image", shell_complete=images)
format_option = click.option(
    "--format", "output_format", type=click.Choice(["table", "json"]), default="table", show_default=True
)


def read_plan(spec: str, facts: Facts, *, keep: bool = True) -> Planned:
    """Return the plan of the spec at a path, or from standard input for `-`; by `keep` from the cache."""
    from runtimeimg.cache import Cache
    from runtimeimg.planned import planned
    from runtimeimg.spec import specfile

    data, file = (sys.stdin.buffer.read(), "<stdin>") if spec == "-" else specfile.read(spec)
    return planned(data, file, facts, Cache.open(cache_dir()) if keep else None)


def pairs(values: Iterable[str], option: str) -> dict[str, str]:
    """Return `key=value` options as a map; UsageError for one without `=` or with an empty key."""
    result = {}
    for text in values:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"{option} {text!r} is not of the form key=value")
        if any(ord(character) < 32 and character != "\t" for character in text):
            raise UsageError(f"{option} {key!r} holds a line break or another control character")
        result[key] = value
    return result


def compression_of(text: str) -> dict[str, str]:
    """Return `KIND[:LEVEL]` as options of a builder; UsageError for what there is not."""
    from runtimeimg.image.compress import Compression

    kind, _, level = text.partition(":")
    try:
        Compression.parse(kind, level or None)
    except UsageError as error:
        raise UsageError(f"--compression {text!r}: {error.message}", hint=error.hint) from None
    return {"compression": kind, **({"level": level} if level else {})}


def source_date_epoch() -> int | None:
    """Return SOURCE_DATE_EPOCH in seconds, None when it is not set."""
    text = os.environ.get("SOURCE_DATE_EPOCH")
    if not text:
        return None
    if not text.isdecimal() or int(text) > 253402300799:
        raise UsageError(f"SOURCE_DATE_EPOCH {text!r} is not a number of seconds since 1970")
    return int(text)


def state_dir() -> Path:
    """Return the folder where runs through runtimes are kept: RUNTIMEIMG_STATE, else the system's or the user's."""
    given = os.environ.get("RUNTIMEIMG_STATE")
    if given:
        return Path(given).absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/runtimeimg")
    base = os.environ.get("XDG_STATE_HOME")
    try:
        return (Path(base) if base and Path(base).is_absolute() else Path.home() / ".local/state") / "runtimeimg"
    except RuntimeError:  # no HOME, and a user without a name
        raise UsageError("there is no folder to keep runs in", hint="set RUNTIMEIMG_STATE to one") from None


def cache_dir() -> Path | None:
    """Return the folder where caches live (XDG_CACHE_HOME, else ~/.cache); None where nobody has a home."""
    base = os.environ.get("XDG_CACHE_HOME")
    if base and Path(base).is_absolute():
        return Path(base) / "runtimeimg"
    try:
        return Path.home() / ".cache" / "runtimeimg"
    except RuntimeError:  # no HOME, and a user without a name
        return None
