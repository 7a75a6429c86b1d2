"""`--set`: fields by dotted paths, typed as the specification has them."""

from typing import Any

import pytest

from runtimeimg.bundle.settings import Setting
from runtimeimg.errors import UsageError

START: dict[str, Any] = {
    "process": {"args": ["a"], "cwd": "/", "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1, "soft": 1}]},
    "annotations": {"a": "b"},
    "mounts": [{"destination": "/proc"}],
}


def applied(*texts: str) -> dict[str, Any]:
    from copy import deepcopy

    config = deepcopy(START)
    for text in texts:
        Setting.parse(text).apply(config)
    return config


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ('process.args=["/bin/app", "a b"]', ("process", "args"), ["/bin/app", "a b"]),
        ("process.args=/bin/app 'a b' c", ("process", "args"), ["/bin/app", "a b", "c"]),
        ("process.args=", ("process", "args"), []),
        ("process.cwd=/a=b", ("process", "cwd"), "/a=b"),
        ("process.cwd=null", ("process", "cwd"), "null"),
        ("process.terminal=true", ("process", "terminal"), True),
        ("process.user.uid=7", ("process", "user", "uid"), 7),
        ("process.rlimits[0].soft=4096", ("process", "rlimits", 0, "soft"), 4096),
        ("process.args[1]=b", ("process", "args"), ["a", "b"]),
        ("process.args[0]=b", ("process", "args"), ["b"]),
        ("annotations.org.example.team=web", ("annotations", "org.example.team"), "web"),
        ("linux.sysctl.net.ipv4.ip_forward=1", ("linux", "sysctl", "net.ipv4.ip_forward"), "1"),
        ('hooks.poststop=[{"path": "/p", "timeout": 3}]', ("hooks", "poststop"), [{"path": "/p", "timeout": 3}]),
        ("hooks.poststop[0].path=/p", ("hooks", "poststop", 0, "path"), "/p"),
        ('linux.seccomp={"defaultAction": "SCMP_ACT_ALLOW"}', ("linux", "seccomp", "defaultAction"), "SCMP_ACT_ALLOW"),
        ("windows.servicing=true", ("windows", "servicing"), True),
        ("mounts[0].options=ro nosuid", ("mounts", 0, "options"), ["ro", "nosuid"]),
        ("linux.resources.memory.limit=-1", ("linux", "resources", "memory", "limit"), -1),
        ("linux.resources.unified.memory.high=max", ("linux", "resources", "unified", "memory.high"), "max"),
    ],
)
def test_a_field_is_set(text: str, path: tuple[str | int, ...], value: object) -> None:
    found: Any = applied(text)
    for step in path:
        found = found[step]
    assert found == value


def test_null_takes_a_field_out() -> None:
    assert "rlimits" not in applied("process.rlimits=null")["process"]
    assert applied("mounts[0]=null")["mounts"] == []
    assert applied("mounts[9]=null", "linux.seccomp=null")["mounts"] == START["mounts"]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("process.args", "is not of the form PATH=VALUE", "process.cwd=/app"),
        ("=x", "is not of the form PATH=VALUE", ""),
        ("process.argz=x", "there is no field 'argz'", "did you mean 'args'?"),
        ("proces.cwd=/", "there is no field 'proces'", "did you mean 'process'?"),
        ("nothing=1", "there is no field 'nothing'", "there are ociVersion"),
        ("process.user.uid=x", "is not valid JSON", "a whole number"),
        ("process.user.uid=-1", "-1 is less than 0", "a whole number"),
        ("process.user.uid=4294967296", "is more than 4294967295", ""),
        ("process.user.uid=1.5", "1.5 is not a whole number", ""),
        ("process.user.uid=true", "true is not a whole number", ""),
        ("process.terminal=yes", "is not valid JSON", "true or false"),
        ("process.terminal=1", "1 is not true or false", ""),
        ("process.args=[1]", "'process.args[0]': 1 is not a text", 'such as ["a", "b"]'),
        ("process.args='x", "words cannot be told apart", ""),
        ("process.args[9]=x", "the list has 1 items", ""),
        ("process.cwd.x=1", "there is nothing in 'cwd'", ""),
        ("process.cwd[0]=1", "'cwd' is not a list", ""),
        ("process.=1", "ends with a dot", ""),
        ("process..cwd=1", "is not a path", ""),
        ("[0]=1", "is not a path", ""),
        ("linux.namespaces[0].type=pod", "'pod' is none of", "did you mean 'pid'?"),
        ('hooks.poststop=[{"pth": "/p"}]', "'hooks.poststop[0].path': it is missing", ""),
        ("process.cwd=a\0b", "holds a NUL", ""),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        applied(text)
    assert message in str(caught.value)
    assert hint in f"{caught.value.hint}{caught.value}"
