"""What helps to explain errors of a Build spec."""

from __future__ import annotations

from runtimeimg.spec.models import API_VERSIONS, BuildSpec
from runtimeimg.spec.problems import Guide

BUILD = Guide(
    model=BuildSpec,
    examples={
        "base": "{image: debian:bookworm-slim}",
        "debug": "{image: busybox:musl}",
        "env": "{NAME: value}",
        "labels": "{org.example.team: web}",
        "annotations": "{org.example.team: web}",
        "image": "debian:bookworm-slim",
        "port": "8080",
        "source": "/workspace/source/dist",
        "apiVersion": API_VERSIONS[0],
        "kind": "Build",
        "variants": "[{name: gpu, annotations: {com.example.gpu: a100}}]",
        "platform": "linux/amd64/v3",
        "name": "gpu",
        "runtime": "{base: {image: debian:bookworm-slim}}",
        "spec": "{runtime: {base: {image: debian:bookworm-slim}}}",
    },
    wanted={
        "directories": "a path such as '/workspace/source/dist' or a map with a source",
        "paths": "a path such as '/workspace/source/dist' or a map with a source",
        "accept": "maps of id, path and reason",
        "include": "'auto', 'ca-certificates', 'tzdata', 'nss' or 'locales', or a list of these",
        "expose": "a port number such as 8080 or a map with a port",
        "user": "a user such as 'app' or a map with a name",
    },
    meant={
        "command": "entrypoint",
        "copy": "directories",
        "dest": "destination",
        "environment": "env",
        "exposedports": "expose",
        "files": "directories",
        "from": "base",
        "image": "base",
        "owner": "chown",
        "ports": "expose",
        "services": "daemons",
        "src": "source",
        "to": "destination",
        "workingdir": "workDir",
    },
    foreign={"credentials": "logins come from --authfile or from docker's own config"},
    tolerated={
        (): frozenset({"status"}),
        ("spec",): frozenset({"source", "sources", "strategy", "runtimeClassName"}),
    },
    pairs=(("directories", "paths"), ("cmd", "args")),
    commands=frozenset({"entrypoint", "cmd", "args", "daemons"}),
    start=("spec", "runtime"),
    also=(("spec", "variants"), ("spec", "variants", "*", "runtime")),
)
