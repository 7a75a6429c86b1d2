"""The conversion document of the image specification, a test for each row of its tables and each of their notes."""

from collections.abc import Mapping
from typing import Any

import pytest

from runtimeimg.bundle.conversion import RULES, Asked, Converted, convert
from runtimeimg.errors import InvalidDocumentError, NotFoundError, UsageError
from runtimeimg.image import Image

from .images import ACCOUNTS, image, opened

PREFIX = "org.opencontainers.image."
PLATFORM = {"architecture", "os"}


def converted(found: Image, **asked: Any) -> Converted:
    with opened(found) as files:
        return convert(found, files, Asked(**asked))


def annotations(found: Image) -> Mapping[str, str]:
    return converted(found).annotations


# Verbatim fields


def test_the_working_dir_is_the_cwd() -> None:
    assert converted(image(WorkingDir="/app/./x")).process["cwd"] == "/app/./x"


def test_the_environment_is_kept_in_its_order_and_with_what_is_odd_in_it() -> None:
    env = ["B=2", "A=1=1", "EMPTY=", "lower=é ü", "B=3"]
    assert converted(image(Env=env)).process["env"] == env


def test_what_the_caller_sets_takes_the_place_of_a_name_or_is_added() -> None:
    asked = converted(image(Env=["A=1", "B=2"]), env={"B": "x", "C": "y"})
    assert asked.process["env"] == ["A=1", "B=x", "C=y"]


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "args"),
    [
        (["/e", "1"], None, ["/e", "1"]),
        (None, ["/c", "2"], ["/c", "2"]),
        (["/e", "1"], ["/c", "2"], ["/e", "1", "/c", "2"]),
        (["/e", ""], [""], ["/e", "", ""]),
        ([], ["/c"], ["/c"]),
    ],
)
def test_the_cmd_stands_behind_the_entrypoint(entrypoint: object, cmd: object, args: list[str]) -> None:
    found = image(Entrypoint=entrypoint, Cmd=cmd if cmd is not None else [])
    assert converted(found).process["args"] == args


def test_no_command_at_all_is_an_error_of_our_own() -> None:
    with pytest.raises(UsageError, match="its entrypoint and cmd are empty") as caught:
        converted(image(Entrypoint=[], Cmd=[]))
    assert "--set process.args" in str(caught.value.hint)


def test_the_caller_may_replace_the_cmd_or_the_whole_command() -> None:
    found = image(Entrypoint=["/e"], Cmd=["c"])
    assert converted(found, args=("x", "y")).process["args"] == ["/e", "x", "y"]
    assert converted(found, args=()).process["args"] == ["/e"]
    assert converted(found, argv=("/other",)).process["args"] == ["/other"]


# Annotation fields


@pytest.mark.parametrize(
    ("field", "value", "key", "text"),
    [
        ("os", "linux", "os", "linux"),
        ("architecture", "arm64", "architecture", "arm64"),
        ("variant", "v8", "variant", "v8"),
        ("os.version", "10.0.14393.1066", "os.version", "10.0.14393.1066"),
        ("os.features", ["win32k", "erofs"], "os.features", "win32k,erofs"),
        ("author", "Alyssa P. Hacker <a@example.com>", "author", "Alyssa P. Hacker <a@example.com>"),
        ("created", "2015-10-31T22:22:56.015925234Z", "created", "2015-10-31T22:22:56.015925234Z"),
    ],
)
def test_a_field_of_the_config_is_an_annotation_under_its_name(field: str, value: Any, key: str, text: str) -> None:
    found = image(top={field: value})
    assert annotations(found)[PREFIX + key] == text
    labelled = image(top={field: value}, Labels={PREFIX + key: "the label's"})
    assert annotations(labelled)[PREFIX + key] == "the label's"  # a label wins
    missing = image(top={field: None})
    if field not in PLATFORM:
        assert PREFIX + key not in annotations(missing)


@pytest.mark.parametrize("value", [["linux"], 7, {"a": "b"}])
@pytest.mark.parametrize("field", ["variant", "author", "created", "os.version", "os.features"])
def test_a_field_of_another_type_is_an_error(field: str, value: object) -> None:
    if field == "os.features" and isinstance(value, list):
        value = [1]
    with pytest.raises(InvalidDocumentError, match="is not a"):
        annotations(image(top={field: value}))


def test_the_stop_signal_is_an_annotation() -> None:
    assert annotations(image(StopSignal="SIGRTMIN+3"))[f"{PREFIX}stopSignal"] == "SIGRTMIN+3"
    labelled = image(StopSignal="SIGTERM", Labels={f"{PREFIX}stopSignal": "SIGINT"})
    assert annotations(labelled)[f"{PREFIX}stopSignal"] == "SIGINT"


def test_labels_are_annotations_as_they_are() -> None:
    labels = {"org.example.team": "web", "empty": "", "é": "ü\n", "org.opencontainers.image.title": "Web"}
    found = annotations(image(Labels=labels))
    assert {key: found[key] for key in labels} == labels


# Parsed fields


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", {"uid": 0, "gid": 0}),
        ("0", {"uid": 0, "gid": 0}),
        ("4242", {"uid": 4242, "gid": 0}),
        ("1000", {"uid": 1000, "gid": 1001}),
        ("1000:7", {"uid": 1000, "gid": 7}),
        ("1000:audio", {"uid": 1000, "gid": 29}),
        ("app", {"uid": 1000, "gid": 1001, "additionalGids": [29, 44]}),
        ("app:audio", {"uid": 1000, "gid": 29}),
        ("app:9", {"uid": 1000, "gid": 9}),
        ("lone", {"uid": 7, "gid": 8, "additionalGids": [29, 44]}),
        ("root", {"uid": 0, "gid": 0, "additionalGids": [50]}),
        ("4294967294:4294967294", {"uid": 4294967294, "gid": 4294967294}),
    ],
)
def test_users_and_groups(user: str, expected: object) -> None:
    assert converted(image(*ACCOUNTS, User=user)).process["user"] == expected


@pytest.mark.parametrize(
    ("user", "message"),
    [("nobody", "user 'nobody' is not in /etc/passwd"), ("app:nogroup", "group 'nogroup' is not in /etc/group")],
)
def test_a_name_that_the_image_does_not_have_is_an_error(user: str, message: str) -> None:
    with pytest.raises(NotFoundError, match=message):
        converted(image(*ACCOUNTS, User=user))


# Optional fields


def test_exposed_ports_are_joined_by_commas() -> None:
    ports: dict[str, Any] = {"8080": {}, "443/tcp": {}, "53/udp": {}}
    assert annotations(image(ExposedPorts=ports))[f"{PREFIX}exposedPorts"] == "53/udp,443/tcp,8080"
    assert f"{PREFIX}exposedPorts" not in annotations(image(ExposedPorts={}))
    labelled = image(ExposedPorts=ports, Labels={f"{PREFIX}exposedPorts": "1/tcp"})
    assert annotations(labelled)[f"{PREFIX}exposedPorts"] == "1/tcp"


def test_volumes_are_destinations_of_mounts() -> None:
    found = converted(image(Volumes={"/srv/data": {}, "/a/": {}, "/a": {}}))
    assert found.volumes == ("/a", "/srv/data")
    with pytest.raises(InvalidDocumentError, match="volume 'data' of image"):
        converted(image(Volumes={"data": {}}))
    with pytest.raises(InvalidDocumentError, match="volume '/' of image"):
        converted(image(Volumes={"/": {}}))


# Annotations


def test_annotations_of_manifests_and_indexes_are_not_taken() -> None:
    found = image(Labels={"a": "label"}).with_annotations({"a": "manifest's", "b": "manifest's"})
    assert annotations(found)["a"] == "label"
    assert "b" not in annotations(found)


def test_there_is_a_rule_for_every_row() -> None:
    rows = {
        *("Config.WorkingDir", "Config.Env", "Config.Entrypoint", "Config.Cmd"),
        *("os", "architecture", "variant", "os.version", "os.features", "author", "created"),
        *("Config.Labels", "Config.StopSignal", "Config.User", "Config.ExposedPorts", "Config.Volumes"),
    }
    assert {name for rule in RULES for name in rule.field.split(", ")} == rows
    assert all(rule.meaning for rule in RULES)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("WorkingDir", 1), ("Env", "A=b"), ("Entrypoint", "/e"), ("Cmd", [1]), ("User", 0), ("StopSignal", 9)),
        *(("Labels", {"a": 1}), ("ExposedPorts", ["80"]), ("Volumes", "/data")),
    ],
)
def test_a_config_of_wrong_types_is_an_error(key: str, value: object) -> None:
    with pytest.raises(InvalidDocumentError):
        converted(image(**{key: value}))
