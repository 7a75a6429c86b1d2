"""What is printed of images and documents of others: no control characters, no passwords, no internal errors."""

import json
import os
import unicodedata

import pytest

from runtimeimg import text
from tests.compose.images import file, tar, write_layout

from . import bounded

NASTY = "\x1b[2J\x1b]0;title\x07\r\b\x7f\x9b31m\u202e\u2066\u2028\U000e0041x"
BAD = {"Cc", "Cf", "Zl", "Zp", "Cs"}


def clean(said: str) -> bool:
    return not any(unicodedata.category(letter) in BAD for letter in said if letter != "\n")


CONFIGS: dict[str, object] = {
    "env not a list": {"Env": "A=1"},
    "env of numbers": {"Env": [1, 2]},
    "env of nulls": {"Env": [None]},
    "env an object": {"Env": {"A": "1"}},
    "ports a list": {"ExposedPorts": ["80/tcp"]},
    "ports a number": {"ExposedPorts": 80},
    "ports a text": {"ExposedPorts": "80"},
    "volumes a list": {"Volumes": ["/x"]},
    "volumes a number": {"Volumes": 1},
    "labels a list": {"Labels": ["a=b"]},
    "labels of numbers": {"Labels": {"a": 1}},
    "labels of objects": {"Labels": {"a": {}}},
    "entrypoint a text": {"Entrypoint": "/bin/sh"},
    "entrypoint of numbers": {"Entrypoint": [1]},
    "cmd an object": {"Cmd": {}},
    "user a number": {"User": 5},
    "user a list": {"User": ["a"]},
    "work dir a number": {"WorkingDir": 5},
    "work dir a list": {"WorkingDir": ["/"]},
    "stop signal a list": {"StopSignal": [1]},
    "onbuild a text": {"OnBuild": "RUN x"},
    "onbuild of numbers": {"OnBuild": [1]},
    "all of it nasty": {
        "Env": [f"{NASTY}={NASTY}"],
        "Labels": {NASTY: NASTY},
        "User": NASTY,
        "WorkingDir": NASTY,
        "Entrypoint": [NASTY],
        "ExposedPorts": {NASTY: {}},
        "Volumes": {NASTY: {}},
    },
}
DOCUMENTS: dict[str, dict[str, object]] = {
    "config a list": {"config": []},
    "config a text": {"config": "x"},
    "history a text": {"history": "x"},
    "history of texts": {"history": ["x"]},
    "history an object": {"history": {}},
    "history of odd fields": {"history": [{"created": 5, "created_by": [], "empty_layer": "no"}]},
    "created a number": {"created": 5},
    "created far away": {"created": "9999-12-31T23:59:59+00:00"},
    "created overflows": {"created": "0001-01-01T00:00:00+23:59"},
    "created nasty": {"created": NASTY},
    "os a number": {"os": 5},
    "architecture a list": {"architecture": []},
    "variant a number": {"variant": 5},
    "os version a list": {"os.version": []},
    "os features a text": {"os.features": "x"},
    "rootfs a list": {"rootfs": []},
    "diff ids a text": {"rootfs": {"diff_ids": "x"}},
    "diff ids of numbers": {"rootfs": {"diff_ids": [1]}},
    "diff ids of nothing": {"rootfs": {"diff_ids": []}},
}
MANIFESTS: dict[str, dict[str, object]] = {
    "layers a text": {"layers": "x"},
    "layers of texts": {"layers": ["x"]},
    "a size of a text": {"layers": [{"mediaType": "x", "digest": "sha256:" + "a" * 64, "size": "5"}]},
    "a size below nothing": {"layers": [{"mediaType": "x", "digest": "sha256:" + "a" * 64, "size": -5}]},
    "a size beyond all": {"layers": [{"mediaType": "x", "digest": "sha256:" + "a" * 64, "size": 10**30}]},
    "a size of a fraction": {"layers": [{"mediaType": "x", "digest": "sha256:" + "a" * 64, "size": 1.5}]},
    "a media type of a number": {"layers": [{"mediaType": 5, "digest": "sha256:" + "a" * 64, "size": 5}]},
    "a digest of a path": {"layers": [{"mediaType": "x", "digest": "sha256:../../../etc/passwd", "size": 5}]},
    "annotations a list": {"annotations": []},
    "annotations of numbers": {"annotations": {"a": 1}},
    "annotations nasty": {"annotations": {NASTY: NASTY}},
    "a media type that is a list": {"mediaType": []},
    "a config that is a text": {"config": "x"},
}


def layout(folder, config=None, document=None, manifest=None):
    write_layout(folder / "layout", {"image": ([tar([file("x")])], config or {})})
    blobs = folder / "layout/blobs/sha256"
    index = json.loads((folder / "layout/index.json").read_bytes())
    found = json.loads((blobs / index["manifests"][0]["digest"][7:]).read_bytes())

    def put(data):
        from hashlib import sha256

        raw = json.dumps(data).encode()
        (blobs / sha256(raw).hexdigest()).write_bytes(raw)
        return {"digest": f"sha256:{sha256(raw).hexdigest()}", "size": len(raw)}

    made = json.loads((blobs / found["config"]["digest"][7:]).read_bytes())
    found["config"] |= put(made | (document or {}))
    index["manifests"][0] |= put(found | (manifest or {}))
    (folder / "layout/index.json").write_text(json.dumps(index))


SPEC = """\
apiVersion: runtimeimg.dev/v1
kind: Build
spec:
  builder: {image: "oci:layout:image"}
  output: {image: out}
  runtime:
    base: {image: "oci:layout:image"}
    directories: [/x:/y]
    workDir: /w
"""
COMMANDS = [
    ["inspect", "oci:layout:image"],
    ["inspect", "oci:layout:image", "--format", "json"],
    ["build", "--builder", "native", "-o", "oci:out"],
    ["export", "oci:layout:image", "--format", "pod"],
]


def said(folder, argv):
    (folder / "build.yaml").write_text(SPEC)
    environ = {"XDG_CACHE_HOME": str(folder / "cache")}
    return bounded.cli(*argv, cwd=folder, env=environ)


def check(outcome):
    assert "internal error" not in outcome.said, outcome.said
    assert "Traceback" not in outcome.said
    assert outcome.code in (0, 2, 3), outcome.said
    assert clean(outcome.said), outcome.said.encode()


@pytest.mark.parametrize("name", [*CONFIGS, *DOCUMENTS, *MANIFESTS])
def test_images_of_odd_types(name, tmp_path):
    layout(tmp_path, CONFIGS.get(name), DOCUMENTS.get(name), MANIFESTS.get(name))
    for argv in COMMANDS:
        check(said(tmp_path, argv))


def test_json_means_the_same(tmp_path):
    layout(tmp_path, {"Labels": {"a": NASTY}})
    outcome = said(tmp_path, COMMANDS[1])
    assert json.loads(outcome.out)["config"]["Labels"] == {"a": NASTY}
    assert clean(outcome.out)


@pytest.mark.parametrize(
    "argv",
    [
        ["inspect", f"oci:{NASTY}"],
        ["inspect", NASTY],
        ["render", NASTY],
        [NASTY],
        ["render", f"--{NASTY}"],
        ["build", "-t", NASTY],
        ["build", "-o", f"oci:{NASTY}:{NASTY}"],
        ["inspect", f"docker://user:{NASTY}@host/x"],
    ],
    ids=repr,
)
def test_what_was_typed_is_quoted_without_control_characters(argv, tmp_path):
    (tmp_path / "build.yaml").write_text(SPEC)
    outcome = bounded.cli(*(part.replace("\0", "") for part in argv), cwd=tmp_path)
    assert outcome.code in {2, 3}
    assert clean(outcome.err), outcome.err.encode()


@pytest.mark.parametrize(
    "url",
    [
        "http://user:secret@proxy:1",
        "https://secret@proxy",
        "HTTP://a:b@secret@proxy",
        "socks5h://user:s%40secret@proxy",
    ],
)
def test_passwords_of_proxies_are_not_told(url, tmp_path):
    assert "secret" not in text.message(f"cannot reach '{url}' by {url}")
    environ = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    environ |= {"https_proxy": url, "HTTPS_PROXY": url, "DOCKER_HOST": "unix:///nowhere"}
    outcome = bounded.cli("inspect", "docker://registry.invalid/x", env=environ, wall=100)
    assert outcome.code
    assert "secret" not in outcome.said


@pytest.mark.parametrize(
    "shown", ["mail a@b.c", "docker://host/x@sha256:abc", "oci:dir@x", "git@host:repo", "https://host/path@1", "a://b"]
)
def test_other_at_signs_stay(shown):
    assert text.message(shown) == shown


def test_colours_of_builders_stay_and_nothing_else():
    assert text.printable(f"\x1b[31mred\x1b[0m{NASTY}") == "\x1b[31mred\x1b[0m[2J]0;title31mx"
