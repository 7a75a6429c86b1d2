"""What to do about an error, for somebody who has a pod and no command line."""

from __future__ import annotations

import re

from runtimeimg.errors import AuthError, CertificateError, NoTlsError, RuntimeimgError
from runtimeimg.strategy.parameters import Naming
from runtimeimg.strategy.steps import CA_VOLUME


def advise(error: RuntimeimgError, naming: Naming) -> None:
    """Give the error a hint that speaks of parameters, Secrets and volumes in place of options."""
    insecure = f"set {_insecure(naming)} if you trust it"
    match error:
        case AuthError():
            error.hint = (
                f"give the build a login for it: {_login(naming)}; for other registries a Secret of the type "
                "kubernetes.io/dockerconfigjson that its ServiceAccount names"
            )
        case NoTlsError():
            error.hint = insecure
        case CertificateError():
            error.hint = f"put the certificate of its authority into {_authorities(naming)}, or {insecure}"
        case _ if error.hint is not None:
            error.hint = _without_options(error.hint)


def _login(naming: Naming) -> str:
    return "a Secret of its ServiceAccount" if naming.upper else "spec.output.pushSecret where it is the output's"


def _insecure(naming: Naming) -> str:
    own = f"the parameter {naming.name('insecure')}" if naming.upper else "spec.output.insecure (the output's registry)"
    return f"{own}, or name it in the parameter {naming.name('insecure-registries')},"


def _authorities(naming: Naming) -> str:
    return "the workspace ca-bundle" if naming.upper else f"a ConfigMap or Secret for the volume {CA_VOLUME}"


def _without_options(hint: str) -> str | None:
    """Return a hint without the parts that are about options of a command line; None where nothing is left."""
    if not _is_of_a_command_line(hint):
        return hint
    parts = re.split(r", or |; ", hint)
    return ", or ".join(part for part in parts if not _is_of_a_command_line(part)) or None


def _is_of_a_command_line(text: str) -> bool:
    return " --" in f" {text}" or "runtimeimg " in text
