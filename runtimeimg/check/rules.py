"""What `check` looks for, as data; docs/findings.md is made from it."""

from __future__ import annotations

from runtimeimg.findings import Rule, Severity

_CONFIG = "OCI image-spec, config.md"

NOTHING_TO_START = Rule(
    id="START-001",
    title="There is something to start",
    severity=Severity.ERROR,
    explanation="Without entrypoint and cmd an engine does not know what to run and refuses to make a container.",
    bad="entrypoint: []",
    good="entrypoint: [/app/server]",
    source=f"{_CONFIG}, Entrypoint and Cmd",
)
PROGRAM_MISSING = Rule(
    id="START-002",
    title="The program that is started is in the image",
    severity=Severity.ERROR,
    explanation="A name without a slash is looked up in the folders of the image's own PATH, one with a slash from the "
    "image's workDir. What is nowhere cannot be started, and a symlink that leads nowhere is nowhere.",
    bad="entrypoint: [gunicorn]   # installed in /venv/bin, which is not on PATH",
    good='env: {PATH: "/venv/bin:$PATH"}',
    source="execvp(3); dockle CIS-DI-0008 looks at the same files for another reason",
)
NOT_EXECUTABLE = Rule(
    id="START-003",
    title="The program that is started is a file that may be executed",
    severity=Severity.ERROR,
    explanation="A folder, a device or a file without the executable bit is not started, whoever asks for it.",
    bad="entrypoint: [/app/start.sh]   # mode 0644",
    good="entrypoint: [/bin/sh, /app/start.sh]",
    source="execve(2), EACCES",
)
INTERPRETER_MISSING = Rule(
    id="START-004",
    title="A script's interpreter is in the image",
    severity=Severity.ERROR,
    explanation="The first line of a script names the program that runs it. Where that is missing the kernel says 'no "
    "such file or directory' of the script itself, which is there. 'env X' looks X up in PATH. A carriage return at "
    "the end of the line is part of the name.",
    bad="#!/usr/bin/env bash   # in an image without bash",
    good="#!/bin/sh",
    source="execve(2), Interpreter scripts",
)
UNKNOWN_FORMAT = Rule(
    id="START-005",
    title="The program that is started is of a format that the kernel knows",
    severity=Severity.ERROR,
    explanation="A file that is neither an ELF program nor begins with '#!' fails with 'exec format error'. A shell "
    "would run it, an engine does not.",
    bad="echo hello   # a script without a first line",
    good="#!/bin/sh\\necho hello",
    source="execve(2), ENOEXEC",
)
WRONG_MACHINE = Rule(
    id="START-006",
    title="Programs are for the image's platform",
    severity=Severity.ERROR,
    explanation="A program for another architecture fails with 'exec format error' on every host that takes the image.",
    bad="an arm64 program in an image for linux/amd64",
    good="--platform linux/arm64",
    source="System V ABI, ELF header, e_machine",
)
SCRIPT_MISSING = Rule(
    id="START-007",
    title="The file that an interpreter is told to run is in the image",
    severity=Severity.ERROR,
    explanation="The interpreter starts and then ends at once, as the script or archive that it is given is not there.",
    bad="entrypoint: [node, server.js]   # in workDir /app, which holds dist/server.js",
    good="entrypoint: [node, dist/server.js]",
)
WORK_DIR = Rule(
    id="START-008",
    title="The working directory is a folder, and not below /proc",
    severity=Severity.ERROR,
    explanation="A process cannot be started in what is no folder. One below /proc may be a folder of the host that "
    "the runtime had open.",
    bad="workDir: /proc/self/fd/8",
    good="workDir: /app",
    source=f"{_CONFIG}, WorkingDir",
)
SPECIAL_LINK = Rule(
    id="START-009",
    title="/dev, /proc and /sys are no symlinks",
    severity=Severity.ERROR,
    explanation="Runtimes mount file systems there. Docker puts folders in their place; containerd, and so Kubernetes, "
    "podman and buildah refuse symlinks. What an absolute /dev leads to may be looked for on the host. A relative one "
    "to an empty folder is only information: none refuses it.",
    bad="/proc -> /tmp",
    good="/proc as an empty folder, or none",
    source="OCI runtime-spec, config-linux.md, Default Filesystems",
)
LOADER_MISSING = Rule(
    id="LIB-001",
    title="The loader that a program names is in the image",
    severity=Severity.ERROR,
    explanation="A program that is linked dynamically names the loader that starts it. Where that is missing the "
    "kernel says 'no such file or directory' of the program itself. Programs made on Alpine name musl's "
    "loader, those made elsewhere glibc's.",
    bad="a program built on alpine, copied to debian",
    good="a base of the same distribution as the builder image, or a static program",
    source="ld.so(8)",
)
LIBRARY_MISSING = Rule(
    id="LIB-002",
    title="Every library that a program needs is found by its loader",
    severity=Severity.ERROR,
    explanation="Libraries are looked for as the loader of the image does it, from the program on: search paths of the "
    "files, LD_LIBRARY_PATH, /etc/ld.so.cache, the loader's own folders. A library that is there but in none of them "
    "is not found either.",
    bad="error while loading shared libraries: libpq.so.5: cannot open shared object file",
    good="directories: [/usr/lib/x86_64-linux-gnu/libpq.so.5]",
    source="ld.so(8); musl, ldso/dynlink.c",
)
VERSION_MISSING = Rule(
    id="LIB-003",
    title="Libraries define the symbol versions that are asked of them",
    severity=Severity.ERROR,
    explanation="A program that was linked against a newer libc or libstdc++ than the image has does not start. "
    "Nothing helps but a base at least as new as what the program was built on.",
    bad="version `GLIBC_2.38' not found (required by /app/server)",
    good="a base at least as new as the builder image",
    source="LSB, Symbol Versioning",
)
CPU_LEVEL = Rule(
    id="LIB-004",
    title="Programs need no higher processor level than the image's platform says",
    severity=Severity.WARNING,
    explanation="A program may be marked as built for a level of the processor. Its loader refuses it on processors "
    "below that, and the image says nothing of it.",
    bad="a program for x86-64-v3 in an image for linux/amd64",
    good="--platform linux/amd64/v3",
    source="x86-64 psABI, GNU_PROPERTY_X86_ISA_1_NEEDED",
)
LIBC_OVER_BASE = Rule(
    id="LIB-005",
    title="The base's libc and loader stay what they are",
    severity=Severity.WARNING,
    explanation="The libraries of libc belong together. A copied one over the base's breaks every program of the base "
    "at once where they are of two releases; where libc and the loader say so of themselves it is an error. The same "
    "file over the base's changes nothing.",
    bad="directories: [/lib/x86_64-linux-gnu]   # with libc.so.6 in it",
    good="directories: [/usr/lib/x86_64-linux-gnu/libpq.so.5]",
)
LOADED_LATER = Rule(
    id="LIB-006",
    title="Libraries that are loaded while the program runs are there",
    severity=Severity.WARNING,
    explanation="Native modules of interpreters, and libraries that a note in the program says it loads by itself, are "
    "missed only when they are used. What nothing is known to load is told as well, but never as an error.",
    bad="ImportError: libgomp.so.1: cannot open shared object file",
    good="directories: [/usr/lib/x86_64-linux-gnu/libgomp.so.1]",
    source="UAPI group, ELF dlopen() metadata",
)
USER_UNKNOWN = Rule(
    id="USER-001",
    title="The user and group are in the image's passwd and group files",
    severity=Severity.ERROR,
    explanation="Engines look names up in the image. A name that is not there is an error when a container is made.",
    bad="user: app   # made in the builder image only",
    good='user: "1000"',
    source=f"{_CONFIG}, User",
)
USER_BY_NAME = Rule(
    id="USER-002",
    title="The user is a number",
    severity=Severity.INFO,
    explanation="Kubernetes cannot tell whether a name is root's, and refuses such an image under runAsNonRoot.",
    bad="user: app",
    good='user: "1000"',
    source="Kubernetes, PodSecurityContext.runAsNonRoot",
)
USER_MAY_NOT = Rule(
    id="USER-003",
    title="The user may read and execute what is started",
    severity=Severity.ERROR,
    explanation="Files that were made by root with mode 0700 or 0600, or lie in such a folder, are closed to others.",
    bad='/app/server with mode 0700 of root, and user: "1000"',
    good='{source: /app, destination: /app, chown: "1000:1000"}',
    source="path_resolution(7)",
)
PRIVILEGED_PORT = Rule(
    id="USER-004",
    title="A user without privilege listens on a port from 1024 on",
    severity=Severity.WARNING,
    explanation="Docker lets everybody listen on low ports since 20.10; Kubernetes and plain runtimes do not.",
    bad='expose: [80] with user: "1000"',
    good='expose: [8080] with user: "1000"',
    source="ip(7), ip_unprivileged_port_start",
)
STANDARD_LIBRARY = Rule(
    id="RUN-001",
    title="An interpreter has its own files",
    severity=Severity.ERROR,
    explanation="Python without its standard library, or Java without its modules and settings, ends before the "
    "application is reached. Distributions keep settings elsewhere and link to them: such links lead nowhere unless "
    "their targets are copied too.",
    bad="directories: [/usr/bin/python3.11]",
    good="directories: [/usr/bin/python3.11, /usr/lib/python3.11]",
)
OTHER_VERSION = Rule(
    id="RUN-002",
    title="Modules are for the version of the interpreter that runs them",
    severity=Severity.ERROR,
    explanation="Python looks into the folder of its own version only, and native modules are built for one version of "
    "Python, Node, Ruby or Java.",
    bad="/venv/lib/python3.12/site-packages with Python 3.11",
    good="a base with the interpreter that the builder image has",
)
CERTIFICATES = Rule(
    id="DATA-001",
    title="There are certificates where something asks for them",
    severity=Severity.WARNING,
    explanation="A client that speaks TLS trusts nobody without a bundle of certificates, and fails at its first "
    "connection.",
    bad="curl: (77) error setting certificate file",
    good="directories: [/etc/ssl/certs]",
)
TIME_ZONE = Rule(
    id="DATA-002",
    title="The time zone that TZ names is in the image",
    severity=Severity.WARNING,
    explanation="Without its file a time zone is UTC, and nobody is told.",
    bad="env: {TZ: Europe/Berlin}   # without /usr/share/zoneinfo",
    good="directories: [/usr/share/zoneinfo]",
    source="tzset(3)",
)
NAMED_FOLDER = Rule(
    id="DATA-004",
    title="Folders that the application's own files name are in the image",
    severity=Severity.WARNING,
    explanation="A text in a script of the application is the name of a folder that lies beside it in the builder "
    "image, holds pages, templates or pictures and no source, and was not copied anywhere. The application starts "
    "without it and fails when it is asked for what is there.",
    bad='express.static("public")   # without /workspace/source/public',
    good="directories: [/workspace/source/public:/app/public]",
)
SETUID = Rule(
    id="SAFE-001",
    title="Nothing that is copied runs with another user's rights",
    severity=Severity.WARNING,
    explanation="A setuid or setgid program lets whoever is in the container become its owner.",
    bad="directories: [/usr/bin]   # with su, mount, passwd",
    good="directories: [/usr/bin/curl]",
    source="dockle CIS-DI-0008",
)
WORLD_WRITABLE = Rule(
    id="SAFE-002",
    title="Nothing that is copied can be written to by everybody",
    severity=Severity.WARNING,
    explanation="A file that everybody may write to can be replaced by what the application is tricked into.",
    bad="/app/server with mode 0777",
    good="/app/server with mode 0755",
)
SECRET = Rule(
    id="SAFE-003",
    title="No secrets are in the image",
    severity=Severity.WARNING,
    explanation="Whoever pulls the image has them. Private keys are told by what is in them, tokens by the file that "
    "tools keep them in; no file is judged by a part of its name.",
    bad="/app/.npmrc with _authToken",
    good="directories: [/app/dist]",
    source="dockle CIS-DI-0010, DKL-LI-0003",
)
PACKAGE_CACHE = Rule(
    id="SIZE-001",
    title="Caches of package managers stay in the builder image",
    severity=Severity.INFO,
    explanation="They are of no use at run time.",
    bad="directories: [/root]   # with .cache/pip",
    good="directories: [/root/.local]",
    source="dockle DKL-DI-0005",
)
REQUIREMENT_LOST = Rule(
    id="DATA-003",
    title="What the builder image requires of the driver is required by the image too",
    severity=Severity.WARNING,
    explanation="NVIDIA's images say in variables NVIDIA_REQUIRE_... which drivers they run with, and the container "
    "toolkit checks that. Libraries that are copied without them fail later and less clearly. Where no program or "
    "library that is copied names one of CUDA's or the driver's, it is only information.",
    bad="directories: [/usr/local/cuda/lib64] on a base without NVIDIA_REQUIRE_CUDA",
    good='env: {NVIDIA_REQUIRE_CUDA: "cuda>=12.4"}',
    source="nvidia-container-toolkit, internal/requirements",
)

RULES = (
    NOTHING_TO_START,
    PROGRAM_MISSING,
    NOT_EXECUTABLE,
    INTERPRETER_MISSING,
    UNKNOWN_FORMAT,
    WRONG_MACHINE,
    SCRIPT_MISSING,
    WORK_DIR,
    SPECIAL_LINK,
    LOADER_MISSING,
    LIBRARY_MISSING,
    VERSION_MISSING,
    CPU_LEVEL,
    LIBC_OVER_BASE,
    LOADED_LATER,
    USER_UNKNOWN,
    USER_BY_NAME,
    USER_MAY_NOT,
    PRIVILEGED_PORT,
    STANDARD_LIBRARY,
    OTHER_VERSION,
    CERTIFICATES,
    TIME_ZONE,
    REQUIREMENT_LOST,
    NAMED_FOLDER,
    SETUID,
    WORLD_WRITABLE,
    SECRET,
    PACKAGE_CACHE,
)
