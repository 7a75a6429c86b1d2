"""Results of a step, as files: small enough for the share of Tekton's 4096 bytes that one step gets."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

from runtimeimg.errors import (
    AuthError,
    BuildFailed,
    CertificateError,
    IntegrityError,
    InvalidDocumentError,
    NotFoundError,
    NoTlsError,
    RemoteError,
    RuntimeimgError,
    SpecError,
    TransientError,
    UnavailableError,
    UsageError,
)
from runtimeimg.hostfile import explained
from runtimeimg.oci import Digest
from runtimeimg.step.delivery import Outcome
from runtimeimg.stores.files import atomic_file
from runtimeimg.strategy.steps import OWN_STEPS
from runtimeimg.text import without_userinfo

MAX_MESSAGE = 900
"""Bytes of an error message as JSON, in which form it travels: a container's termination message holds all results of
its step in 4096 bytes, and those of a pod share 12 KiB."""

# The first class that an error is an instance of gives the reason; Shipwright wants one CamelCase word.
_REASONS: tuple[tuple[type[BaseException], str], ...] = (
    (SpecError, "RuntimeSpecInvalid"),
    (InvalidDocumentError, "RuntimeDocumentInvalid"),
    (UsageError, "RuntimeUsageInvalid"),
    (NotFoundError, "RuntimeImageSourceNotFound"),
    (AuthError, "RuntimeRegistryLoginRefused"),
    (NoTlsError, "RuntimeRegistryWithoutTLS"),
    (CertificateError, "RuntimeRegistryUntrusted"),
    (IntegrityError, "RuntimeImageCorrupted"),
    (RemoteError, "RuntimeRegistryFailed"),
    (TransientError, "RuntimeTemporarilyUnavailable"),
    (UnavailableError, "RuntimeBuilderUnavailable"),
    (BuildFailed, "RuntimeBuildFailed"),
    (RuntimeimgError, "RuntimeImageFailed"),
    (KeyboardInterrupt, "RuntimeImageCancelled"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultFiles:
    """The files that results are written to; None for those that nobody wants."""

    digest: Path | None = None
    size: Path | None = None
    url: Path | None = None
    base_input: Path | None = None
    builder_input: Path | None = None
    output: Path | None = None
    artifacts: Path | None = None
    error_reason: Path | None = None
    error_message: Path | None = None

    def succeeded(self, outcome: Outcome) -> None:
        """Write the results of an image."""
        made = {"uri": outcome.repository, "digest": outcome.digest, "isBuildArtifact": "true"}
        inputs = {
            role: json.dumps({"uri": item.repository, "digest": item.digest}) for role, item in outcome.inputs.items()
        }
        self._write(
            (
                (self.digest, outcome.digest),
                (self.size, str(outcome.size)),
                (self.url, outcome.url),
                (self.base_input if "base" in inputs else None, inputs.get("base", "")),
                (self.builder_input if "builder" in inputs else None, inputs.get("builder", "")),
                (self.output, json.dumps(made)),
                (self.artifacts, json.dumps(_artifacts(outcome))),
            )
        )

    def begun(self) -> None:
        """Take back what an earlier step said in case that it would be the last."""
        self._write(((self.error_reason, ""), (self.error_message, "")))

    def handed_over(self, builder: str) -> None:
        """Say that the builder's step failed; what comes after it takes that back.

        The step is another project's, which knows nothing of these files. Platforms read them when a step has failed.
        """
        text = f"builder '{builder}' did not finish: see the log of the step {OWN_STEPS[2]}"
        self._write(((self.error_reason, "RuntimeBuildFailed"), (self.error_message, text)))

    def failed(self, error: BaseException) -> None:
        """Write reason and message of an error, as far as they can be written: the error itself is shown anyway."""
        for result in ((self.error_reason, reason(error)), (self.error_message, message(error))):
            with contextlib.suppress(RuntimeimgError):
                self._write((result,))

    def check(self) -> None:
        """Raise RuntimeimgError for a file that could not be written later; nothing is written now.

        Earlier steps may have left a file of root's there. In a folder that is open to all it is replaced by a new one.
        """
        for path in (getattr(self, field.name) for field in fields(self)):
            if path is None:
                continue
            if not path.parent.is_dir():
                raise NotFoundError(f"result file '{path}' cannot be written: its folder does not exist")
            if not _can_replace(path) and not _can_overwrite(path):
                raise RuntimeimgError(
                    f"result file '{path}' cannot be written: it belongs to user {_owner(path)}, and this step runs as "
                    f"user {os.geteuid()}",
                    hint="amend the strategy with --run-as, or let the earlier steps write it elsewhere",
                )

    def _write(self, results: tuple[tuple[Path | None, str], ...]) -> None:
        for path, text in results:
            if path is not None:
                _write_result(path, text.encode("utf-8", "replace"))


def _artifacts(outcome: Outcome) -> dict[str, Any]:
    """Return what went in and came out as a step's artifacts (Tekton, "Artifacts"), by package URLs."""

    def value(name: str, digest: Digest) -> dict[str, Any]:
        last = name.rpartition("/")[2]
        uri = f"pkg:oci/{last}@{quote(str(digest), safe='')}?repository_url={name}"
        return {"uri": uri, "digest": {digest.algorithm: digest.encoded}}

    made = value(outcome.repository, outcome.digest)
    return {
        "inputs": [
            {"name": role, "values": [value(item.repository, item.digest)]} for role, item in outcome.inputs.items()
        ],
        "outputs": [{"name": "image", "buildOutput": True, "values": [made]}],
    }


def _write_result(path: Path, data: bytes) -> None:
    """Write a file that every later step may replace or overwrite, whoever it runs as."""
    try:
        if _can_replace(path):
            with atomic_file(path) as pending:
                pending.file.write(data)
                pending.commit(0o666)
        else:
            with explained(path), os.fdopen(os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW), "wb") as file:
                file.write(data)
    except RuntimeimgError as error:
        raise RuntimeimgError(f"result file {error.message}") from error


def _can_replace(path: Path) -> bool:
    """Tell whether a new file may take the name: in a sticky folder only its owner's and ours may be taken."""
    folder = path.parent
    if not os.access(folder, os.W_OK | os.X_OK):
        return False
    status = folder.stat()
    if not status.st_mode & stat.S_ISVTX or os.geteuid() == status.st_uid or not os.path.lexists(path):
        return True
    return path.lstat().st_uid == os.geteuid()


def _can_overwrite(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and os.access(path, os.W_OK)


def _owner(path: Path) -> int:
    return (path if os.path.lexists(path) else path.parent).lstat().st_uid


def reason(error: BaseException) -> str:
    """Return the CamelCase word for an error."""
    return next((word for kind, word in _REASONS if isinstance(error, kind)), "RuntimeImageInternalError")


def message(error: BaseException) -> str:
    """Return what an error says, on one line and short: message, failing step, last output, hint."""
    text = str(error) or type(error).__name__
    parts = [text if isinstance(error, RuntimeimgError) else f"{type(error).__name__}: {text}"]
    if isinstance(error, BuildFailed):
        parts += [part for part in (error.step, *error.output[-3:]) if part]
    if isinstance(error, RuntimeimgError) and error.hint:
        parts.append(error.hint)
    line = re.sub(r"\s+", " ", without_userinfo("; ".join(parts))).strip()
    line = "".join(character if character.isprintable() else "?" for character in line)
    return shortened(line, MAX_MESSAGE)


def shortened(text: str, limit: int) -> str:
    """Return as much of the beginning of `text` as has at most `limit` bytes as a JSON string.

    Counted is the longest form there is: everything but plain ASCII, and what Go escapes for HTML, takes six.
    """
    sizes = [6 if character in "<>&" else len(json.dumps(character)) - 2 for character in text]
    if sum(sizes) <= limit:
        return text
    size, count = len("..."), 0
    while size + sizes[count] <= limit:
        size += sizes[count]
        count += 1
    return text[:count] + "..."
