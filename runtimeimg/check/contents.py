"""Files that should not be in an image, or not as they are: secrets, setuid, open to everybody, caches."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from runtimeimg.check import rules
from runtimeimg.check.facts import Facts, Findings
from runtimeimg.compose.view import File
from runtimeimg.findings import Severity

_TOKEN_FILES = {
    ".npmrc": re.compile(rb"_(?:authToken|auth|password)\s*=\s*[^\s$]"),
    ".pypirc": re.compile(rb"^\s*password\s*[=:]\s*\S", re.MULTILINE),
    ".netrc": re.compile(rb"\bpassword\s+\S"),
    ".git-credentials": re.compile(rb"://[^/@:\s]{1,256}:[^/@\s]{1,256}@"),
    "config.json": re.compile(rb'"auth"\s*:\s*"[A-Za-z0-9+/=]{8,}"'),
    "credentials": re.compile(rb"aws_secret_access_key\s*=\s*\S"),
    ".env": re.compile(rb"^[A-Z0-9_]*(?:SECRET|TOKEN|PASSWORD|API_?KEY)[A-Z0-9_]*\s*=\s*[^\s#]", re.MULTILINE),
}
"""Files of exactly these names, and what in them is a secret."""
_KEY_FILES = frozenset({"id_rsa", "id_dsa", "id_ecdsa", "id_ed25519"})
_KEY_ENDINGS = (".pem", ".key")
_PRIVATE_KEY = re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----")
_MAX_SECRET = 64 << 10
_CACHES = (
    "/var/cache/apt",
    "/var/lib/apt/lists",
    "/var/cache/apk",
    "/var/cache/dnf",
    "/var/cache/yum",
    "/root/.cache",
    "/root/.npm/_cacache",
    "/root/.m2/repository",
    "/root/.gradle/caches",
    "/root/.cargo/registry",
    "/usr/local/share/.cache",
)
_LEAST = 64 << 10
"""Bytes of a cache that are worth a word."""
_LISTED = 10


def contents(facts: Facts) -> Findings:
    """Yield findings about the files that are none of the base's."""
    secrets, privileged, writable = [], [], []
    for file in facts.view.walk():
        if file.is_folder:
            yield from _repository(facts, file)
        elif file.is_file and facts.is_new(file):
            if file.mode & 0o6000 and file.mode & 0o111:
                privileged.append(file)
            if file.mode & 0o002:
                writable.append(file)
            if _may_be_secret(file):
                secrets.append(file)
    yield from _modes(facts, privileged, writable)
    facts.view.fetch(secrets)
    for file in secrets:
        yield from _secret(facts, file)
    yield from _caches(facts)


def _modes(facts: Facts, privileged: Sequence[File], writable: Sequence[File]) -> Findings:
    """Yield files with the rights of others, or open to others; of an image of unknown base that is no warning."""
    severity = Severity.INFO if facts.base_layers is None else None
    if privileged:
        yield facts.found(
            rules.SETUID,
            privileged[0].path,
            f"{_counted(privileged, 'program')} setuid or setgid: {_named(privileged)}",
            "copy only the programs that are needed, or take the bit off in the builder image",
            severity=severity,
        )
    if writable:
        yield facts.found(
            rules.WORLD_WRITABLE,
            writable[0].path,
            f"{_counted(writable, 'file')} writable for everybody: {_named(writable)}",
            "take the bit off in the builder image: chmod o-w",
            severity=severity,
        )


def _counted(files: Sequence[File], what: str) -> str:
    return f"1 {what} is" if len(files) == 1 else f"{len(files)} {what}s are"


def _named(files: Sequence[File]) -> str:
    more = f" and {len(files) - _LISTED} more" if len(files) > _LISTED else ""
    return ", ".join(f"'{file.path}'" for file in files[:_LISTED]) + more


def _may_be_secret(file: File) -> bool:
    name = posixpath.basename(file.path)
    if not 0 < file.size <= _MAX_SECRET:
        return False
    if name == "config.json":
        return file.path.endswith("/.docker/config.json")
    if name == "credentials":
        return file.path.endswith("/.aws/credentials")
    return name in _TOKEN_FILES or name in _KEY_FILES or name.endswith(_KEY_ENDINGS)


def _secret(facts: Facts, file: File) -> Findings:
    raw = facts.view.read(file, _MAX_SECRET)
    pattern = _TOKEN_FILES.get(posixpath.basename(file.path))
    what = "holds a private key" if _PRIVATE_KEY.search(raw) else "holds a token or password"
    if _PRIVATE_KEY.search(raw) or (pattern is not None and pattern.search(raw)):
        yield facts.found(
            rules.SECRET,
            file.path,
            f"'{file.path}' {what}",
            "leave it out, and give it to the container when it starts",
        )


def _repository(facts: Facts, folder: File) -> Findings:
    """Yield that a folder is a repository of git: it is called `.git` and has a HEAD in it."""
    if not folder.path.endswith("/.git") or not facts.is_new(folder):
        return
    if facts.view.file(f"{folder.path}/HEAD") is not None:
        yield facts.found(
            rules.SECRET,
            folder.path,
            f"'{folder.path}' is the history of the source, with all that was ever in it",
            "copy the folders that are needed, not the whole source",
        )


def _caches(facts: Facts) -> Findings:
    for path in _CACHES:
        size = sum(file.size for file in facts.view.walk(path) if file.is_file and facts.is_new(file))
        if size >= _LEAST:
            yield facts.found(
                rules.PACKAGE_CACHE,
                path,
                f"'{path}' holds {size:,} bytes of a package manager's cache",
                "copy the folders that are needed, not this one",
            )
