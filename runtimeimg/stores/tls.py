"""TLS as the docker command and podman speak it: authorities of one's own, client certificates, nothing stricter."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from runtimeimg.errors import UsageError
from runtimeimg.hostfile import open_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whom to believe: more authorities beside the system's (or, `alone`, in their place), and who to be.

    `pairs` are certificates of the client with their keys, in PEM.
    """

    authorities: tuple[Path, ...] = ()
    pairs: tuple[tuple[Path, Path], ...] = ()
    verify: bool = True
    alone: bool = False


def client_context(trust: Trust) -> ssl.SSLContext:
    """Return a context for connections; UsageError names a file that cannot be used.

    Any certificate that is trusted ends a chain, and what RFC 5280 wants beyond signatures, names and dates (which
    Python 3.13 asks for by itself) is not asked for: most certificates that people make for themselves lack it, and
    neither docker nor podman misses it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if trust.verify:
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if not trust.alone:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        for path in trust.authorities:
            _load_authority(context, path)
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    for certificate, key in trust.pairs:
        _load_pair(context, certificate, key)
    return context


def quiet_unverified() -> None:
    """Keep urllib3 from warning of each request that is not verified: the user has asked for it by name."""
    import urllib3

    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)


def _load_authority(context: ssl.SSLContext, path: Path) -> None:
    open_file(path, "file").close()  # OpenSSL would wait for a pipe
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise UsageError(f"file '{path}' holds no certificates that can be read") from error
    except OSError as error:
        raise UsageError(f"file '{path}' cannot be read: {(error.strerror or str(error)).lower()}") from error


def _load_pair(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    for path in (certificate, key):
        if not path.exists():
            raise UsageError(f"file '{path}' does not exist", hint="a client's certificate and its key come in pairs")
        open_file(path, "file").close()
    try:
        # A password would be asked for on the terminal.
        context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise UsageError(f"certificate '{certificate}' with the key '{key}' cannot be used: {reason(error)}") from error
    except OSError as error:
        raise UsageError(
            f"certificate '{certificate}' or its key cannot be read: {(error.strerror or str(error)).lower()}"
        ) from error


def reason(error: BaseException) -> str:
    """Return what OpenSSL says of a failure, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}".rstrip(": ")
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).replace("_", " ").lower()
    return str(error)
