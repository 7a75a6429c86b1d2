"""Every parameter of the configuration graph, as data: the documents' schemas and checks and the docs are made of it.

Category, stage and the rest of a row are what the discussion of the configuration graph asked for: what must be given,
what may be, and what nobody sets because something of ours does.
"""

from __future__ import annotations

from collections.abc import Mapping

from runtimeimg.bundle import defaults
from runtimeimg.configgraph.parameter import (
    ARTEFACT,
    AUTOMATON,
    ENCAPSULATED,
    HOST,
    OPTIONAL,
    REQUIRED,
    Combine,
    Parameter,
    Stage,
    of_artefact,
    of_automaton,
    of_operated,
)

_BUNDLE = "the bundle (docs/bundles.md)"
_HOOKS = {
    "prestart": "before the process starts, in the runtime's namespaces; createRuntime stands in for it",
    "createRuntime": "when the container's namespaces are there, in the runtime's",
    "createContainer": "the same, in the container's, before its root is changed",
    "startContainer": "in the container, right before the process",
    "poststart": "after the process has started",
    "poststop": "after the container was deleted",
}


def _default(path: str) -> str:
    """Return the value of a default of bundles, as JSON."""
    import json

    return f"`{json.dumps(defaults.value(path))}`"


PARAMETERS: tuple[Parameter, ...] = (
    of_artefact("name", REQUIRED, "What documents and commands call the artefact.", formerly="name"),
    of_artefact(
        "image",
        REQUIRED,
        "Where the image is, with its transport; it may be an index. One of `image`, `build` and `store` is given; "
        "`imageName` is another word for it.",
        formerly="imageName",
    ),
    of_artefact(
        "digest",
        OPTIONAL,
        "Digest of the manifest or index, which the image must have; `imageDigest` is another word for it. `graph "
        "build` keeps it in graph.lock for every image.",
        default="that in graph.lock, else of what the reference leads to",
        formerly="imageDigest",
    ),
    of_artefact(
        "sha256",
        OPTIONAL,
        "Digest of the archive's file, where the image is one; in hexadecimal.",
        default="not checked",
        formerly="sha256",
    ),
    of_artefact(
        "build",
        OPTIONAL,
        "Path of a Build spec, as seen from the document. The artefact is its `output.image`, or what `image` beside "
        "it names; its base and its builder images are what it was made from.",
        default="none",
    ),
    of_artefact("store.path", OPTIONAL, "Path of a store, in place of an image.", default="none"),
    of_artefact(
        "store.drv",
        OPTIONAL,
        "Derivation that the path is an output of; kept for people.",
        default="unknown",
        formerly="drv",
    ),
    of_artefact(
        "store.contents",
        OPTIONAL,
        "Paths whose closures are the artefact too; `contents` beside the name is another place for it.",
        default="`store.path` alone",
        formerly="contents",
    ),
    of_artefact(
        "store.closure",
        OPTIONAL,
        "File that lists the closure: a path a line as `nix-store -qR` prints them, or `nix path-info --json -r`.",
        default="the store's database, else `nix-store -qR`",
    ),
    of_artefact(
        "store.paths", OPTIONAL, "The paths of the closure, in the document itself.", default="see store.closure"
    ),
    of_artefact(
        "store.database",
        OPTIONAL,
        "File of the store's own database.",
        default="`/nix/var/nix/db/db.sqlite`, where it is",
    ),
    Parameter(
        path="node",
        kind=AUTOMATON,
        category=ENCAPSULATED,
        stage=Stage.HOST,
        meaning="Host that an instance runs on.",
        default="none before `graph place`",
        combine=Combine.FIXED,
        setter="`graph place`, within `placement.hosts`,",
        formerly="node",
    ),
    of_operated("name", "What documents and commands call the automaton.", category=REQUIRED),
    of_automaton(
        "artefact",
        REQUIRED,
        "What runs: the name of an Artefact document, or an image reference.",
        combine=Combine.FIXED,
        target="",
        formerly="artefact",
    ),
    of_automaton(
        "ociVersion",
        ENCAPSULATED,
        "Version of the runtime specification.",
        default="the least that the bundle needs, within what the host's runtime takes",
        setter="the bundle",
        stage=Stage.HOST,
        formerly="ociVersion",
        addressed=False,
    ),
    of_automaton(
        "root.path",
        ENCAPSULATED,
        "Root file system in the bundle.",
        default=_default("root.path"),
        setter=_BUNDLE,
        formerly="root.path",
    ),
    of_automaton(
        "root.readonly",
        OPTIONAL,
        "Whether the root file system cannot be written to.",
        default="`true` where a volume or state is mounted, else `false`",
        formerly="root.readonly",
    ),
    of_automaton(
        "mounts",
        OPTIONAL,
        "Further mounts: `destination`, `type`, `source`, `options`, or the short form of `bundle --mount`.",
        default="the volumes of the image, each a tmpfs",
        combine=Combine.DESTINATION,
        image="Config.Volumes",
        formerly="mounts",
    ),
    of_automaton(
        "state",
        OPTIONAL,
        "Volumes that belong to the automaton and outlive its instances: `name`, `path`, `size`.",
        default="none",
        combine=Combine.DESTINATION,
        target="mounts",
    ),
    of_automaton(
        "process.terminal",
        ENCAPSULATED,
        "Whether the process has a terminal.",
        default=f"{_default('process.terminal')}; `true` with `debug`, and where the image is a debug variant",
        setter="`debug: true`",
        formerly="process.terminal",
    ),
    of_automaton(
        "process.consoleSize",
        ENCAPSULATED,
        "Height and width of the terminal.",
        default=f"none; with a terminal {defaults.CONSOLE[0]} by {defaults.CONSOLE[1]}",
        setter="`debug: true`",
        formerly="process.consoleSize",
    ),
    of_automaton(
        "process.cwd",
        OPTIONAL,
        "Working directory of the process.",
        default=_default("process.cwd"),
        image="Config.WorkingDir",
        formerly="process.cwd",
    ),
    of_automaton(
        "process.env",
        OPTIONAL,
        "Environment: a map, or a list of `NAME=VALUE`.",
        default=f"`PATH={defaults.PATH}`, and `HOME` as the image's /etc/passwd has it, where neither says one",
        combine=Combine.NAME,
        image="Config.Env",
        formerly="process.env",
    ),
    of_automaton(
        "process.args",
        REQUIRED,
        "The whole command; needed where the image says none.",
        default="the image's command",
        image="Config.Entrypoint, Config.Cmd",
        formerly="process.args",
    ),
    of_automaton(
        "process.rlimits",
        OPTIONAL,
        "Limits of the process: a map of types to a number or `{soft, hard}`, or a list as config.json has it.",
        default=_default("process.rlimits"),
        combine=Combine.TYPE,
        formerly="process.rlimits",
    ),
    of_automaton(
        "process.apparmorProfile",
        ENCAPSULATED,
        "AppArmor profile.",
        default="omitted",
        setter="the host's runtime",
        stage=Stage.HOST,
        formerly="process.apparmorProfile",
    ),
    of_automaton(
        "process.capabilities",
        OPTIONAL,
        "Capabilities: a list for all five sets, or a map of sets.",
        default="CAP_AUDIT_WRITE, CAP_KILL, CAP_NET_BIND_SERVICE in all five sets",
        formerly="process.capabilities",
    ),
    of_automaton(
        "process.noNewPrivileges",
        OPTIONAL,
        "Whether nothing that is started gets more privileges than the process has.",
        default=_default("process.noNewPrivileges"),
        formerly="process.noNewPrivileges",
    ),
    of_automaton(
        "process.oomScoreAdj",
        ENCAPSULATED,
        "What the kernel makes of the process when memory is short.",
        default="omitted",
        setter="the host's kernel",
        stage=Stage.HOST,
        formerly="process.oomScoreAdj",
    ),
    of_automaton(
        "process.selinuxLabel",
        ENCAPSULATED,
        "SELinux label.",
        default="omitted",
        setter="the host's runtime",
        stage=Stage.HOST,
        formerly="process.selinuxLabel",
    ),
    of_automaton(
        "process.user",
        OPTIONAL,
        "User and group, as an image has them (`app`, `1000:1000`), or a map with `uid` and `gid`, `additionalGids` "
        "and `umask`.",
        default="0:0, with a umask of 022",
        image="Config.User",
        formerly="process.user",
    ),
    of_automaton(
        "hostname", OPTIONAL, "Host name in the container.", default="the artefact's name", formerly="hostname"
    ),
    *(
        of_automaton(
            f"hooks.{name}",
            OPTIONAL,
            f"Programs of the host that the runtime calls {when}: `path`, `args`, `env`, `timeout`.",
            default="none",
            combine=Combine.FIXED,
            target="hooks.createRuntime" if name == "prestart" else f"hooks.{name}",
            formerly=f"hooks.{name}" if name in {"prestart", "poststart", "poststop"} else "",
        )
        for name, when in _HOOKS.items()
    ),
    of_automaton(
        "linux.namespaces",
        ENCAPSULATED,
        "Namespaces that the container has of its own.",
        default="pid, network, ipc, uts, mount, cgroup; user where the bundle is rootless",
        setter=_BUNDLE,
        stage=Stage.HOST,
        formerly="namespaces",
        addressed=False,
    ),
    of_automaton(
        "annotations",
        ENCAPSULATED,
        "What the bundle says of its image.",
        default="the image's labels and the fields that conversion.md names",
        setter="the image, by its labels and its config,",
        stage=Stage.ARTEFACT,
        image="Config.Labels",
        formerly="annotations",
    ),
    of_automaton(
        "linux.resources.devices",
        ENCAPSULATED,
        "Devices that the container may use.",
        default="those that every container has",
        setter=_BUNDLE,
        addressed=False,
    ),
    of_automaton(
        "linux.maskedPaths",
        ENCAPSULATED,
        "Files of the kernel that cannot be read.",
        default="see docs/bundles.md",
        setter=_BUNDLE,
    ),
    of_automaton(
        "linux.readonlyPaths",
        ENCAPSULATED,
        "Files of the kernel that cannot be written to.",
        default="see docs/bundles.md",
        setter=_BUNDLE,
    ),
    of_automaton(
        "debug",
        OPTIONAL,
        "Whether the process gets a terminal, for a shell in it.",
        default="`false`; `true` for a debug variant",
        target="process.terminal",
        combine=Combine.FIXED,
        addressed=False,
    ),
    of_automaton(
        "ports",
        OPTIONAL,
        "Ports that the process listens on: a number, `53/udp`, or `port`, `protocol`, `hostPort`, `serviceName`, "
        "`listeningAddr`. What is the host's of it is not part of the address.",
        default="those that the image exposes",
        combine=Combine.PORT,
        image="Config.ExposedPorts",
        target="annotations[org.opencontainers.image.exposedPorts]",
    ),
    of_operated("replicas", "How many instances there are.", default="`1`"),
    of_operated(
        "resources",
        "What a host keeps free for each instance, as Kubernetes writes it: `cpu`, `memory`, and others such as "
        "`nvidia.com/gpu`. It is no limit.",
        default="nothing",
        stage=Stage.HOST,
    ),
    of_operated("placement.hosts", "Hosts of which instances may run on no others.", default="all", stage=Stage.HOST),
    of_operated(
        "placement.require",
        "What must hold of a host's facts and labels: `KEY=VALUE`, `KEY>=VERSION`, or `KEY` for any value.",
        default="nothing",
        stage=Stage.HOST,
    ),
    of_operated(
        "placement.prefer",
        "What is liked of a host's facts and labels: `KEY=VALUE[:WEIGHT]`.",
        default="nothing",
        stage=Stage.HOST,
    ),
    of_operated(
        "placement.spread",
        "What instances are spread over: `host`, or the name of a fact or label.",
        default="nothing",
        stage=Stage.HOST,
    ),
    of_operated(
        "placement.platform",
        "Platform that instances run on.",
        default="any that the artefact has a variant for",
        stage=Stage.HOST,
    ),
    Parameter(
        path="resources",
        kind=HOST,
        category=OPTIONAL,
        stage=Stage.HOST,
        meaning="What containers may use of the host: `cpu`, `memory`, and others.",
        default="the facts `cpu.count` and `memory.bytes`",
        combine=Combine.FIXED,
    ),
    Parameter(
        path="blobs",
        kind=HOST,
        category=OPTIONAL,
        stage=Stage.HOST,
        meaning="Digests of blobs, or paths of a store, that the host holds; `images` names whole images.",
        default="none",
        combine=Combine.FIXED,
    ),
)
"""All parameters, in the order in which people are shown them."""

OF_AUTOMATON: Mapping[str, Parameter] = {item.path: item for item in PARAMETERS if item.kind == AUTOMATON}
OF_ARTEFACT: Mapping[str, Parameter] = {item.path: item for item in PARAMETERS if item.kind == ARTEFACT}
