"""What the image's config says of user, folder, ports, time zone and certificates, held against its files."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from runtimeimg.check import rules
from runtimeimg.check.facts import Facts, Findings, Identity, copied
from runtimeimg.check.loader.objects import Closure
from runtimeimg.compose.view import File
from runtimeimg.errors import NotFoundError, UsageError
from runtimeimg.findings import Severity

_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
)
_CLIENTS = re.compile(r"lib(?:curl|curl-gnutls|neon|soup-[0-9.]+|cpr)\.so")
_TLS = re.compile(r"lib(?:ssl|gnutls|mbedtls|wolfssl|nss3)\.so")
_ZONE = re.compile(r":?([A-Za-z]+(?:/[A-Za-z0-9_+-]+)+)\Z")
_FIRST_FREE = 1024


def user(facts: Facts) -> Findings:
    """Find out who the process is, and yield what is wrong with that."""
    text = facts.user
    if not text:
        return
    name, _, group = text.partition(":")
    try:
        uid, gid = facts.names.owner(text, facts.name)
    except (NotFoundError, UsageError) as error:
        yield facts.found(rules.USER_UNKNOWN, "", error.message.replace("base image", "image"), error.hint or "")
        return
    groups = {gid} if group or name.isdecimal() else {gid, *_groups_of(facts, name)}
    facts.identity = Identity(uid=uid, groups=frozenset(groups))
    if not name.isdecimal() and uid != 0:
        yield facts.found(rules.USER_BY_NAME, "", f"user '{text}' is a name", f'write its number: user: "{uid}:{gid}"')


def _groups_of(facts: Facts, name: str) -> Iterable[int]:
    """Yield the groups that the group file lists a user in."""
    file = facts.view.file("/etc/group")
    raw = facts.view.read(file, 1 << 20) if file is not None else b""
    for line in raw.decode("utf-8", "surrogateescape").splitlines():
        fields = line.split(":")
        if len(fields) >= 4 and fields[2].isdecimal() and name in fields[3].split(","):
            yield int(fields[2])


def work_dir(facts: Facts) -> Findings:
    """Yield what is wrong with the working directory."""
    path = facts.cwd
    if path == "/proc" or path.startswith("/proc/"):
        yield facts.found(
            rules.WORK_DIR, path, f"the working directory '{path}' is below /proc", "name a folder of the image"
        )
        return
    there = facts.view.find(path)
    if there is None and (link := facts.view.find(path, follow=False)) is not None:
        yield facts.found(
            rules.WORK_DIR, path, f"the working directory '{path}' is a symlink to '{link.target}', which is not there"
        )
    elif there is not None and not there.is_folder:
        yield facts.found(rules.WORK_DIR, path, f"the working directory '{path}' is no folder", "name a folder")


def special_folders(facts: Facts) -> Findings:
    """Yield folders that runtimes mount on and that are something else."""
    for path in ("/dev", "/proc", "/sys"):
        there = facts.view.find(path, follow=False)
        if there is not None and not there.is_folder:
            kind = f"a symlink to '{there.target}'" if there.is_link else "no folder"
            harmless = path == "/dev" and there.is_link and _to_an_empty_folder(facts, there)
            yield facts.found(
                rules.SPECIAL_LINK,
                path,
                f"'{path}' is {kind}",
                "leave it out of the copied directories",
                severity=Severity.INFO if harmless else None,
            )


def _to_an_empty_folder(facts: Facts, link: File) -> bool:
    """Say whether a link is relative, as runtimes may follow others on the host, and hides nothing when mounted on."""
    folder = facts.view.folder(link.path)
    straight = folder is not None and folder.path == posixpath.normpath(f"/{link.target}")
    return folder is not None and straight and link.target[:1] != "/" and not any(facts.view.names(folder))


def ports(facts: Facts) -> Findings:
    """Yield low ports of a user without privilege."""
    if facts.identity.uid == 0:
        return
    for item in facts.view.image.config.names("ExposedPorts"):
        number = str(item).partition("/")[0]
        if number.isdecimal() and 0 < int(number) < _FIRST_FREE:
            yield facts.found(
                rules.PRIVILEGED_PORT,
                str(item),
                f"user {facts.identity.uid} may not listen on port {number} everywhere",
                f"listen on a port from {_FIRST_FREE} on, and map it",
            )


def certificates(facts: Facts, closures: Iterable[Closure]) -> Findings:
    """Yield that there are no certificates where a library that checks them is loaded."""
    env = facts.env
    if any(env.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE")):
        return
    if any(facts.view.file(path) is not None for path in _BUNDLES):
        return
    for pattern, severity in ((_CLIENTS, Severity.WARNING), (_TLS, Severity.INFO)):
        for loaded in closures:
            for item in loaded.libraries:
                if not pattern.match(posixpath.basename(item.at)):
                    continue
                fix = copied("/etc/ssl/certs") if facts.builder is not None and any(
                    facts.builder.file(path) is not None for path in _BUNDLES[:1]
                ) else "install ca-certificates in the builder image and copy /etc/ssl/certs"  # fmt: skip
                yield facts.found(
                    rules.CERTIFICATES,
                    loaded.program.file.path,
                    f"'{loaded.program.file.path}' loads '{item.at}', and the image has no bundle of certificates",
                    fix,
                    severity=severity,
                )
                return


def time_zone(facts: Facts) -> Findings:
    """Yield that the zone of TZ is not there."""
    found = _ZONE.match(facts.env.get("TZ", ""))
    if found is None or facts.view.file(f"/usr/share/zoneinfo/{found[1]}") is not None:
        return
    yield facts.found(
        rules.TIME_ZONE,
        f"/usr/share/zoneinfo/{found[1]}",
        f"TZ is '{found[1]}', and '/usr/share/zoneinfo/{found[1]}' is not there",
        copied("/usr/share/zoneinfo"),
    )
