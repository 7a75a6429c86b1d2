"""Every error that runtimeimg raises on purpose.

    RuntimeimgError            1   the build or command failed
    ├── BuildFailed            1   a step of a build failed; carries the step, its output and its origin
    ├── UsageError             2   bad usage: options or references that make no sense
    ├── InvalidDocumentError   2   a document somebody wrote or an image carries is invalid
    │   └── SpecError          2   what people write (a Build spec, a host): all problems with their places
    ├── NotFoundError          3   something named does not exist (image, path, platform)
    ├── UnavailableError       4   a builder or an engine is not there
    ├── RemoteError            5   a registry or daemon failed for good
    │   ├── AuthError          5   a login was refused
    │   ├── NoTlsError         5   a registry speaks no TLS, and nothing says that it may be spoken to without
    │   ├── CertificateError   5   the certificate of a registry is not trusted
    │   └── IntegrityError     5   bytes do not match their digest or size
    ├── NotAmendedError       11   a document holds nothing that `strategy amend` added, so there is nothing to remove
    └── TransientError        75   it failed for the moment; trying again may help

Each has a message (lower case, the thing first), an optional hint (what to do) and an exit code. The library
raises; the command line alone prints and exits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class RuntimeimgError(Exception):
    """Base of all errors of this package; `exit_code` is what the command line ends with."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class BuildFailed(RuntimeimgError):  # noqa: N818 - the field says "build failed"
    """A step of a build failed.

    `step` is the instruction as rendered, `origin` the place of the spec it came from, `output` its last lines
    and `log` the path of the whole log; each is None or empty when not known.
    """

    def __init__(
        self,
        message: str,
        *,
        step: str | None = None,
        origin: str | None = None,
        output: Sequence[str] = (),
        log: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.step = step
        self.origin = origin
        self.output = tuple(output)
        self.log = log


class UsageError(RuntimeimgError):
    """Options, names or references that make no sense."""

    exit_code = 2


class InvalidDocumentError(RuntimeimgError):
    """A document (spec, label, manifest, config) is invalid."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with a document: where (1-based line and column, 0 when unknown) and what."""

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.path}: {self.message}" if self.path else f"{place}: {self.message}"


class SpecError(InvalidDocumentError):
    """A document that people write is invalid; `problems` holds all that was found, in document order."""

    def __init__(self, problems: Sequence[Problem], *, hint: str | None = None) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems), hint=hint)


class NotFoundError(RuntimeimgError):
    """Something named does not exist."""

    exit_code = 3


class UnavailableError(RuntimeimgError):
    """A builder or an engine is not there."""

    exit_code = 4


class RemoteError(RuntimeimgError):
    """A registry or a daemon failed for good."""

    exit_code = 5


class AuthError(RemoteError):
    """A login was refused; the message names the file or helper it came from."""


class NoTlsError(RemoteError):
    """A registry, or the token server that it names, speaks no TLS."""


class CertificateError(RemoteError):
    """The certificate of a registry, or of where it leads to, is not trusted."""


class IntegrityError(RemoteError):
    """Bytes do not match the digest or size that was promised for them."""


class NotAmendedError(RuntimeimgError):
    """A document holds nothing that an amendment added, or nothing by which it could be told."""

    exit_code = 11


class TransientError(RuntimeimgError):
    """It failed for the moment (EX_TEMPFAIL); trying again may help."""

    exit_code = 75
