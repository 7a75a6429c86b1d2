"""What goes wrong with registries: what may pass, what will not, and how long to wait in between."""

from __future__ import annotations

import json
import random
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from runtimeimg.errors import (
    CertificateError,
    NotFoundError,
    NoTlsError,
    RemoteError,
    RuntimeimgError,
    TransientError,
)

MAX_ERROR_BODY = 64 * 1024
MAX_WAIT = 120.0
"""Seconds; a registry that asks to wait longer is not waited for."""

_FIRST_WAIT = 0.5
_LONGEST_STEP = 20.0
_SAID_AFTER = 2
_SHOWN = 400
_FOR_GOOD = frozenset({501, 505})
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")
"""What OpenSSL says of an answer that is no TLS; in capitals, blanks as lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The clock, as far as a registry's client needs one; tests put their own in its place."""

    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = random.random


class Passing(TransientError):  # noqa: N818 - what passes is no error yet
    """A failure that may pass; `wait` is the seconds that the registry asked for, None when it did not.

    A `brief` one is not waited for long: a name that is not known for the moment mostly is on a machine without a net.
    """

    def __init__(self, message: str, *, wait: float | None = None, brief: bool = False) -> None:
        super().__init__(message)
        self.wait = wait
        self.brief = brief


class Budget:
    """The tries that are left for one piece of work: so many, and more until `seconds` have passed since one failed.

    `waiting` is called with what failed once that begins to take time.
    """

    def __init__(
        self, attempts: int, timing: Timing, seconds: float = 0.0, waiting: Callable[[Passing], None] | None = None
    ) -> None:
        self._attempts = max(attempts, 1)
        self._seconds = seconds
        self._timing = timing
        self._waiting = waiting
        self._failed = 0
        self._since = 0.0

    def spend(self, failure: Passing) -> None:
        """Wait before the next try, or raise TransientError when there is none.

        Waits double from half a second, with a random part so that clients do not come back together; what the
        registry asked for (Retry-After) is honoured when it is longer.
        """
        now = self._timing.monotonic()
        self._since = self._since if self._failed else now
        self._failed += 1
        left = (0.0 if failure.brief else self._seconds) - (now - self._since)
        if self._failed >= self._attempts and left <= 0:
            tries = f"tried {self._failed} times" if self._failed > 1 else "tried once"
            raise TransientError(f"{failure.message} ({tries})", hint="try again later") from failure
        if failure.wait is not None and failure.wait > MAX_WAIT:
            raise TransientError(
                failure.message, hint=f"it asks to be tried again in {failure.wait:.0f} seconds"
            ) from failure
        if self._failed == _SAID_AFTER and left > 0 and self._waiting is not None:
            self._waiting(failure)
        step = min(_FIRST_WAIT * 2 ** min(self._failed - 1, 10), _LONGEST_STEP)
        if self._failed >= self._attempts:
            step = min(step, max(left, _FIRST_WAIT))
        self._timing.sleep(max(step * (0.5 + self._timing.jitter() / 2), failure.wait or 0.0))

    def refill(self) -> None:
        """Note that the work got on: tries are counted anew."""
        self._failed = 0


def may_pass(status: int) -> bool:
    """Tell whether an HTTP status is one of those that another try may change."""
    return status in {408, 425, 429} or (status >= 500 and status not in _FOR_GOOD)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that Retry-After asks to wait (RFC 9110, 10.2.3), None when it says nothing usable.

    A date is taken relative to the response's own Date, so that clocks need not agree.
    """
    value = (headers.get("Retry-After") or "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        wanted = parsedate_to_datetime(value)
        now = parsedate_to_datetime(headers.get("Date") or "")
        return max((wanted - now).total_seconds(), 0.0)
    except (TypeError, ValueError, OverflowError):
        return None


def error_text(body: bytes) -> str:
    """Return what a registry's error body says (distribution-spec, "Error Codes"), on one line, bounded."""
    try:
        data = json.loads(body)
        errors = data.get("errors") if isinstance(data, dict) else None
    except (ValueError, RecursionError):
        return ""
    parts = []
    for item in errors[:5] if isinstance(errors, list) else ():
        if isinstance(item, dict):
            fields = [item.get("code"), item.get("message")]
            parts.append(": ".join(field.strip() for field in fields if isinstance(field, str) and field.strip()))
    return printable("; ".join(part for part in parts if part))


def printable(text: str) -> str:
    """Return foreign text without control characters, on one line, cut where it gets long."""
    cleaned = " ".join("".join(char if char.isprintable() else " " for char in text[: 4 * _SHOWN]).split())
    return cleaned if len(cleaned) <= _SHOWN else cleaned[: _SHOWN - 3] + "..."


def refusal(status: int, reason: str, body: bytes, what: str, host: str) -> RuntimeimgError:
    """Return the error for a status that another try will not change; `what` says what was asked for."""
    text = error_text(body) or printable(reason)
    shown = f"{status} {text}".rstrip()
    if status == 404:
        return NotFoundError(f"registry '{host}' does not have {what}: {shown}")
    return RemoteError(f"registry '{host}' refused {what}: {shown}")


def connection_failure(error: Exception, host: str) -> RuntimeimgError:
    """Return the error for a request that got no answer: Passing, or RemoteError for what will not mend itself."""
    from urllib3 import exceptions

    reason = _reason(error)
    if isinstance(error, exceptions.InvalidHeader) or _misframed(error):
        return RemoteError(f"registry '{host}' does not answer in HTTP: {reason}")
    if isinstance(error, exceptions.SSLError):
        if speaks_no_tls(error):
            return NoTlsError(f"registry '{host}' does not speak TLS", hint=f"pass --plain-http {host} if you trust it")
        if "CERTIFICATE" in str(error).upper():
            return CertificateError(
                f"registry '{host}': {reason}",
                hint="name the certificate of its authority: --ca-file FILE, or put it into "
                f"/etc/containers/certs.d/{host}/ca.crt or /etc/docker/certs.d/{host}/ca.crt",
            )
    if isinstance(error, exceptions.NameResolutionError):
        cause = error.__cause__
        if isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_NONAME:
            return RemoteError(f"registry '{host}' cannot be found: {printable(cause.strerror or '').lower()}")
        return Passing(f"registry '{host}': {reason}", brief=True)
    return Passing(f"registry '{host}': {reason}")


def speaks_no_tls(error: Exception) -> bool:
    """Tell from a failed handshake that the other side answered with something that is no TLS."""
    text = str(error).upper().replace(" ", "_")
    return any(sign in text for sign in _NO_TLS)


def _reason(error: Exception) -> str:
    """Return the innermost reason of an HTTP library's error, without its objects and addresses."""
    from urllib3 import exceptions

    if isinstance(error, exceptions.ReadTimeoutError):
        return "too few bytes came for too long"
    if isinstance(error, exceptions.ConnectTimeoutError) and not isinstance(error, exceptions.NewConnectionError):
        return "no connection came about in time"
    cause: BaseException = error
    while (inner := cause.__cause__ or _wrapped(cause)) is not None:
        cause = inner
    if isinstance(cause, OSError) and cause.strerror:
        return printable(cause.strerror).lower()
    text = printable(str(cause.args[0] if cause.args else cause))
    return text[:1].lower() + text[1:] if text else type(error).__name__


def _misframed(error: BaseException | None) -> bool:
    from runtimeimg.stores.registry.wire import MisframedError

    while error is not None and not isinstance(error, MisframedError):
        error = error.__cause__ or _wrapped(error)
    return error is not None


def _wrapped(error: BaseException) -> BaseException | None:
    return next((item for item in reversed(error.args) if isinstance(item, BaseException)), None)
