"""Certificates of authorities that a platform mounts: a ConfigMap, a Secret or what a tool filled a volume with."""

from __future__ import annotations

import ssl
from pathlib import Path

from runtimeimg.errors import InvalidDocumentError
from runtimeimg.hostfile import read_file

_MAX_FILE = 4 * 1024 * 1024
_MARKS = ("-----BEGIN CERTIFICATE-----", "-----BEGIN TRUSTED CERTIFICATE-----")


def ca_file(folder: Path, scratch: Path) -> Path | None:
    """Return one file with all certificates of the folder's files, None where it holds no files.

    Files are the keys of a ConfigMap or Secret, whatever they are called; those of other things, such as a key, are
    passed over. Raises InvalidDocumentError where no file holds a certificate, or one that cannot be read.
    """
    if not folder.is_dir():
        return None
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith(".") and path.is_file())
    if not names:
        return None
    texts = {name: read_file(folder / name, _MAX_FILE, "CA bundle").decode("utf-8", "replace") for name in names}
    held = {name: text for name, text in texts.items() if any(mark in text for mark in _MARKS)}
    if not held:
        raise InvalidDocumentError(f"CA bundle: no certificate in PEM in the keys {', '.join(names)}")
    for name, text in held.items():
        _check(name, text)
    whole = scratch / "ca.pem"
    whole.write_text("\n".join(held.values()))
    return whole


def _check(name: str, text: str) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError) as error:
        reason = error.reason if isinstance(error, ssl.SSLError) else str(error)
        raise InvalidDocumentError(f"CA bundle: certificate in the key '{name}' cannot be read: {reason}") from None
