"""The steps that are added: which there are for a builder, and what each is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runtimeimg.errors import UsageError
from runtimeimg.strategy.dialect import Dialect
from runtimeimg.strategy.parameters import SPEC_VARIABLE, Naming, array_arguments, input_options

WORK_VOLUME = "runtime-image"
WORK = "/runtime-image"
SPEC_VOLUME = "runtime-image-spec"
SPEC_MOUNT = "/runtime-image-spec"
CA_VOLUME = "runtime-image-ca"
CA_MOUNT = "/runtime-image-ca"
CACHE_VOLUME = "runtime-image-cache"
CACHE_MOUNT = "/runtime-image-cache"
BUILT_NAME = "localhost/runtimeimg-builder:latest"
"""What a Dockerfile calls the builder image that lies in the work volume."""
BUILDERS = ("native", "buildah", "kaniko", "buildkit")
BUILT_SUFFIX = "-builder"
"""What `--redirect` puts after the output's name where earlier steps push the builder image."""
OWN_STEPS = ("runtime-image", "runtime-dockerfile", "runtime-build", "runtime-stamp")
"""The names of the steps that are added."""
NOT_ROOT = 65532
"""The user and group of the tool's own image."""

_BUILDER_IMAGES = {
    "buildah": "quay.io/buildah/stable:latest",
    "kaniko": "gcr.io/kaniko-project/executor:latest",
    "buildkit": "docker.io/moby/buildkit:rootless",
}
# A build without RUN unpacks layers and sets owners; that needs these and no more.
_UNPACKING = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETFCAP", "SETGID", "SETUID")


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """The security context of a step; without capabilities it fits the restricted Pod Security Standard.

    `user` None is the image's own or the one that the cluster chooses.
    """

    root: bool = False
    user: int | None = None
    group: int | None = None
    capabilities: tuple[str, ...] = ()
    escalation: bool = False
    read_only: bool = True
    seccomp: str = "RuntimeDefault"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One container: an argument list, never a shell line."""

    name: str
    image: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: Mapping[str, str]
    mounts: tuple[tuple[str, str, bool], ...]
    """Volume, path, and whether it is only read."""
    security: Security
    requests: Mapping[str, str] = field(default_factory=lambda: {"cpu": "250m", "memory": "256Mi"})


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOptions:
    """What the caller chose.

    `inline_spec` is the spec as text where there are no parameters. `built` is what earlier steps left in a registry.
    `managed` says that the image goes into the output directory, from where Shipwright pushes it. `authorities` is the
    folder of certificates to trust, a mounted volume where it is CA_MOUNT. `configmap` is the key of the spec in one,
    `cache` the folder of the native builder's cache, a mounted volume where it is CACHE_MOUNT.
    """

    image: str
    builder: str = "native"
    builder_step_image: str | None = None
    naming: Naming | None = None
    managed: bool = False
    built: str = ""
    source: str = ""
    output_image: str = ""
    insecure: str = ""
    inline_spec: str = ""
    configmap: str = ""
    authorities: str = ""
    cache: str = ""
    artifacts: bool = False
    user: int | None = None
    group: int | None = None


def make_steps(dialect: Dialect, options: StepOptions) -> tuple[Step, ...]:
    """Return the steps for the builder that was chosen; raise UsageError for one that cannot do it here."""
    if options.builder == "native":
        return (_own(options, OWN_STEPS[0], "compose", _compose_args(dialect, options)),)
    if options.builder not in BUILDERS:
        raise UsageError(f"--builder {options.builder!r} is not one of {', '.join(BUILDERS)}")
    if options.managed and options.builder != "buildah":
        raise UsageError(
            f"builder '{options.builder}' cannot read the builder image from the output directory",
            hint="use the native builder, or buildah",
        )
    dockerfile = [
        f"--builder={options.builder}",
        *_input_args(options),
        *_registry_args(options),
        *_found_args(dialect, options),
    ]
    stamp = [f"--builder={options.builder}", *_output_args(dialect, options)]
    return (
        _own(options, OWN_STEPS[1], "dockerfile", [*dockerfile, *_failure_args(dialect), *_arrays(options)]),
        _builder_step(options),
        _own(options, OWN_STEPS[3], "stamp", stamp),
    )


def _compose_args(dialect: Dialect, options: StepOptions) -> list[str]:
    compression = [f"--compression={options.naming.value('compression')}"] if options.naming else []
    return [
        *_input_args(options),
        *compression,
        *([f"--cache-dir={options.cache}"] if options.cache else []),
        *_found_args(dialect, options),
        *_output_args(dialect, options),
        *_arrays(options),
    ]


def _input_args(options: StepOptions) -> list[str]:
    args = [f"--source={options.source}"] if options.source else []
    if options.configmap:
        args.append(f"--mounted-spec={SPEC_MOUNT}/{options.configmap}")
    return [*args, *(input_options(options.naming) if options.naming else [])]


def _found_args(dialect: Dialect, options: StepOptions) -> list[str]:
    """Return the options that say where earlier steps left the builder image."""
    if options.managed and options.builder != "native":
        return [f"--built-directory={dialect.output_directory}", f"--output-image={options.output_image}"]
    built = [f"--built-image={options.built}"] if options.built else []
    return built if options.builder == "native" else [*built, f"--output-image={options.output_image}"]


def _output_args(dialect: Dialect, options: StepOptions) -> list[str]:
    args = [f"--output-image={options.output_image}", *_registry_args(options)]
    if options.managed:
        args.append(f"--output-directory={dialect.output_directory}")
    if options.naming:
        args.append(f"--provenance={options.naming.value('provenance')}")
    results = (
        ("digest", dialect.result_digest),
        ("size", dialect.result_size),
        ("url", dialect.result_url),
        ("base-input", dialect.result_base_input),
        ("builder-input", dialect.result_builder_input),
        ("output", dialect.result_output),
        ("artifacts", "$(step.artifacts.path)" if options.artifacts else ""),
    )
    return [*args, *(f"--result-{name}={path}" for name, path in results if path), *_failure_args(dialect)]


def _registry_args(options: StepOptions) -> list[str]:
    """Return the options that say how registries are reached."""
    args = [f"--insecure={options.insecure}"] if options.insecure else []
    if options.naming is None or options.naming.upper:
        args.append(f"--naming={'none' if options.naming is None else 'upper'}")
    if options.naming:
        args.append(f"--insecure-registries={options.naming.value('insecure-registries')}")
    return [*args, *([f"--ca-bundle={options.authorities}"] if options.authorities else [])]


def _failure_args(dialect: Dialect) -> list[str]:
    results = (("error-reason", dialect.result_error_reason), ("error-message", dialect.result_error_message))
    return [f"--result-{name}={path}" for name, path in results if path]


def _arrays(options: StepOptions) -> list[str]:
    return array_arguments(options.naming) if options.naming else []


def _own(options: StepOptions, name: str, verb: str, args: list[str]) -> Step:
    """Return a step of the tool's own image: everything it writes goes to the work volume, HOME and TMPDIR too."""
    env = {"HOME": WORK, "TMPDIR": WORK}
    if verb != "stamp":
        if options.naming:
            env[SPEC_VARIABLE] = options.naming.value("spec")
        elif options.inline_spec:
            env[SPEC_VARIABLE] = options.inline_spec
    mounts = [(WORK_VOLUME, WORK, False)]
    if options.configmap and verb != "stamp":
        mounts.append((SPEC_VOLUME, SPEC_MOUNT, True))
    if options.cache == CACHE_MOUNT and verb == "compose":
        mounts.append((CACHE_VOLUME, CACHE_MOUNT, False))
    mounts += _authority_mounts(options)
    return Step(
        name=name,
        image=options.image,
        command=("runtimeimg", "step", verb),
        args=tuple(args),
        env=env,
        mounts=tuple(mounts),
        security=Security(user=options.user, group=options.group),
    )


def _authority_mounts(options: StepOptions) -> list[tuple[str, str, bool]]:
    return [(CA_VOLUME, CA_MOUNT, True)] if options.authorities == CA_MOUNT else []


def _builder_step(options: StepOptions) -> Step:
    make = {"buildah": _buildah, "kaniko": _kaniko, "buildkit": _buildkit}[options.builder]
    command, args, env, security = make(options)
    if options.authorities:
        # Read by every program written in Go, beside the bundle of its image.
        env = {**env, "SSL_CERT_DIR": f"/etc/ssl/certs:/etc/pki/tls/certs:{options.authorities}"}
    return Step(
        name=OWN_STEPS[2],
        image=options.builder_step_image or _BUILDER_IMAGES[options.builder],
        command=(command,),
        args=tuple(args),
        env={"HOME": WORK, "TMPDIR": WORK, **env},
        mounts=((WORK_VOLUME, WORK, False), *_authority_mounts(options)),
        security=security,
        requests={"cpu": "250m", "memory": "512Mi"},
    )


_Program = tuple[str, list[str], dict[str, str], Security]


def _buildah(_: StepOptions) -> _Program:
    args = [
        "--storage-driver=vfs",
        f"--root={WORK}/storage",
        f"--runroot={WORK}/run",
        f"--registries-conf={WORK}/registries.conf",
        "bud",
        "--isolation=chroot",
        "--format=oci",
        "--disable-compression=false",
        f"--file={WORK}/Dockerfile.runtime",
        f"--build-context={BUILT_NAME}=docker-image://oci:{WORK}/builder",
        f"--tag=oci:{WORK}/image:runtime",
        f"{WORK}/context",
    ]
    # Without CAP_SYS_ADMIN buildah enters a user namespace first, which the default profile of runtimes forbids.
    security = Security(
        root=True,
        user=0,
        group=0,
        capabilities=(*_UNPACKING, "SYS_CHROOT"),
        read_only=False,
        seccomp="Unconfined",
    )
    return "buildah", args, {}, security


def _kaniko(options: StepOptions) -> _Program:
    args = [
        f"--dockerfile={WORK}/Dockerfile.runtime",
        f"--context=dir://{WORK}/context",
        "--no-push",
        f"--tar-path={WORK}/image.tar",
        f"--destination={options.output_image}",
        *([f"--insecure-pull={options.insecure}"] if options.insecure else []),
        *([f"--skip-tls-verify-pull={options.insecure}"] if options.insecure else []),
    ]
    security = Security(root=True, user=0, group=0, capabilities=_UNPACKING, read_only=False)
    return "/kaniko/executor", args, {}, security


def _buildkit(_: StepOptions) -> _Program:
    args = [
        "build",
        "--frontend=dockerfile.v0",
        "--opt=filename=Dockerfile.runtime",
        f"--local=context={WORK}/context",
        f"--local=dockerfile={WORK}",
        f"--output=type=oci,dest={WORK}/image.tar",
    ]
    env = {"BUILDKITD_FLAGS": f"--oci-worker-no-process-sandbox --config={WORK}/buildkitd.toml"}
    # Rootless: newuidmap must be allowed to raise itself, and the profile to make namespaces.
    security = Security(
        user=1000, group=1000, capabilities=("SETGID", "SETUID"), escalation=True, read_only=False, seccomp="Unconfined"
    )
    return "buildctl-daemonless.sh", args, env, security
