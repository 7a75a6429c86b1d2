"""What engines and buildah say of a pull that failed, in words of this project: they pass on Go's own errors."""

from __future__ import annotations

import re
from collections.abc import Callable

from runtimeimg.errors import AuthError, NotFoundError, RemoteError, RuntimeimgError, TransientError
from runtimeimg.oci import Reference

_Made = Callable[[str], RuntimeimgError]


def _absent(registry: str) -> RuntimeimgError:
    return NotFoundError("", hint=f"registry '{registry}' has no such manifest")


def _closed(registry: str) -> RuntimeimgError:
    return NotFoundError("", hint=f"registry '{registry}' has no such repository, or wants a login for it")


def _refused(registry: str) -> RuntimeimgError:
    return AuthError(f"registry '{registry}' refuses access", hint=f"log in: docker login {registry}")


def _lost(registry: str) -> RuntimeimgError:
    return RemoteError(f"registry '{registry}' cannot be found: there is no such host")


def _silent(registry: str) -> RuntimeimgError:
    return TransientError(f"registry '{registry}' does not answer: the connection was refused")


def _slow(registry: str) -> RuntimeimgError:
    return TransientError(f"registry '{registry}' does not answer in time")


def _busy(registry: str) -> RuntimeimgError:
    return TransientError(f"registry '{registry}' wants fewer requests for a while", hint="try again later, or log in")


def _untrusted(registry: str) -> RuntimeimgError:
    return RemoteError(
        f"registry '{registry}' has a certificate that is not trusted there",
        hint=f"put its authority's into /etc/docker/certs.d/{registry}/ca.crt",
    )


def _plain(registry: str) -> RuntimeimgError:
    return RemoteError(f"registry '{registry}' does not speak TLS", hint="name it in the Engine's insecure-registries")


_KNOWN: tuple[tuple[str, _Made], ...] = (
    (r"toomanyrequests|too many requests", _busy),
    (r"pull access denied|repository \S+ not found|may require .docker login|name unknown", _closed),
    (r"manifest for .* not found|manifest unknown|no such manifest|: not found\Z", _absent),
    (r"unauthorized|authentication required|no basic auth|access to the resource is denied|\bdenied\b", _refused),
    (r"no such host|server misbehaving|temporary failure in name resolution", _lost),
    (r"connection refused", _silent),
    (r"i/o timeout|deadline exceeded|Client\.Timeout|TLS handshake timeout", _slow),
    (r"x509:|certificate", _untrusted),
    (r"server gave HTTP response to HTTPS client", _plain),
)


def pull_refusal(text: str, reference: Reference, who: str) -> RuntimeimgError:
    """Return the error for what `who` said of a pull; a text that is not known is passed on as theirs."""
    for pattern, make in _KNOWN:
        if re.search(pattern, text, re.IGNORECASE):
            made = make(reference.registry)
            if isinstance(made, NotFoundError):
                made.message = f"image '{reference.familiar}' does not exist"
            return made
    if found := re.search(r"no matching manifest for ([\w/]+)|does not match the specified platform", text):
        return NotFoundError(f"image '{reference.familiar}' has nothing for {found[1] or 'the platform asked for'}")
    return RemoteError(f"image '{reference.familiar}' cannot be pulled; {who} says: {text}")
