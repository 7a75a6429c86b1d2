"""Hooks and mounts as people write them."""

import pytest

from runtimeimg.bundle import STAGES, Hook, Mount
from runtimeimg.bundle.hooks import parse
from runtimeimg.bundle.values import hostname_of
from runtimeimg.errors import RuntimeimgError, UsageError


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_in_its_short_and_long_form(stage: str) -> None:
    assert parse(f"{stage}=/p") == Hook(stage=stage, path="/p")
    assert parse(f"{stage}=/p,-a,b c") == Hook(stage=stage, path="/p", args=("-a", "b c"))
    long = parse(f'{stage}={{"path": "/p", "args": ["a,b"], "env": ["A=1"], "timeout": 5}}')
    assert long == Hook(stage=stage, path="/p", args=("a,b",), env=("A=1",), timeout=5)
    assert long.to_json() == {"path": "/p", "args": ["/p", "a,b"], "env": ["A=1"], "timeout": 5}
    assert Hook(stage=stage, path="/p").to_json() == {"path": "/p"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("poststop", "is not of the form"),
        ("poststop=", "is not of the form"),
        ("postStop=/p", "there is no stage 'postStop'"),
        ("poststop=p", "is not an absolute path"),
        ("poststop={}", "has no path"),
        ('poststop={"path": "/p", "timeout": 0}', "timeout 0 is not"),
        ('poststop={"path": "/p", "timeout": true}', "timeout True is not"),
        ('poststop={"path": "/p", "args": "a"}', "args is not a list of texts"),
        ('poststop={"path": "/p", "env": ["A"]}', "is not of the form NAME=VALUE"),
        ('poststop={"path": "/p", "arg": []}', "unknown key 'arg'"),
        ('poststop={"path": "/p"', "is not valid JSON"),
        ("poststop=/p,a\0b", "holds a NUL"),
    ],
)
def test_hooks_that_make_no_sense(text: str, message: str) -> None:
    with pytest.raises(RuntimeimgError, match=message) as caught:
        parse(text)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "type=bind,source=/srv,destination=/data,ro",
            Mount(destination="/data", kind="bind", source="/srv", options=("rbind", "ro")),
        ),
        ("src=/srv,dst=//data/", Mount(destination="/data", kind="bind", source="/srv", options=("rbind",))),
        (
            "source=/srv,target=/data,bind,readonly",
            Mount(destination="/data", kind="bind", source="/srv", options=("bind", "ro")),
        ),
        (
            "destination=/tmp,size=64m,mode=1777",
            Mount(destination="/tmp", kind="tmpfs", source="tmpfs", options=("size=64m", "mode=1777")),
        ),
        ("type=proc,destination=/proc", Mount(destination="/proc", kind="proc", source="proc")),
    ],
)
def test_mounts(text: str, expected: Mount) -> None:
    assert Mount.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no absolute destination"),
        ("source=/srv", "no absolute destination"),
        ("source=/srv,destination=data", "no absolute destination"),
        ("source=/srv,destination=/", "no absolute destination"),
        ("source=/srv,destination=/..", "no absolute destination"),
        ("type=bind,destination=/data", "has no source"),
        ("src=/a,source=/b,dst=/c", "says twice what its source is"),
    ],
)
def test_mounts_that_make_no_sense(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Mount.parse(text)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("registry.example.com:5000/team/Web_App:1.2", "web-app"),
        ("web@sha256:abc", "web"),
        ("docker-daemon:web:1", "web"),
        ("oci:/srv/images/web.oci:latest", "web"),
        ("oci:web", "web"),
        ("docker-archive:/srv/web.tar", "web"),
        ("docker://r/a/" + "x" * 80, "x" * 63),
        ("", ""),
        ("oci:/srv/---:1", ""),
    ],
)
def test_host_names_are_made_of_what_the_artefact_is_called(name: str, expected: str) -> None:
    assert hostname_of(name) == expected
