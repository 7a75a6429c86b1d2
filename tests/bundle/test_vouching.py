"""What a runtime says of itself: null is not the empty list, and who cannot say is an answer of its own."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from runtimeimg.bundle import BundleOptions, Hook, check, features, plan_config, records
from runtimeimg.bundle.explain import vouchers
from runtimeimg.bundle.features import Features, Runtime, ordered, parse
from runtimeimg.bundle.paths import fields
from runtimeimg.bundle.versions import chosen
from runtimeimg.bundle.vouching import unvouched
from runtimeimg.errors import InvalidDocumentError, NotFoundError, UnavailableError

from .images import image, opened

LEAST = {"ociVersionMin": "1.0.0", "ociVersionMax": "1.3.0"}


def runtime(**said: Any) -> Runtime:
    return Runtime(name="other", version="7", features=parse(json.dumps({**LEAST, **said}).encode(), "features"))


def rules(config: dict[str, Any], **said: Any) -> list[tuple[str, str]]:
    found = unvouched({"ociVersion": "1.0.2", **config}, runtime(**said))
    return [(item.rule.id, item.path) for item in found]


HOOKS = {"hooks": {"poststop": [{"path": "/p"}]}}


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({}, [("BUNDLE-006", "hooks.poststop")]),
        ({"hooks": None}, [("BUNDLE-006", "hooks.poststop")]),
        ({"hooks": []}, [("BUNDLE-005", "hooks.poststop")]),
        ({"hooks": ["poststart"]}, [("BUNDLE-005", "hooks.poststop")]),
        ({"hooks": ["poststop"]}, []),
    ],
)
def test_null_is_not_the_empty_list(said: dict[str, Any], found: list[tuple[str, str]]) -> None:
    assert rules(HOOKS, **said) == found


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({}, "BUNDLE-006"),
        ({"linux": None}, "BUNDLE-006"),
        ({"linux": {"mountExtensions": None}}, "BUNDLE-006"),
        ({"linux": {"mountExtensions": {"idmap": {}}}}, "BUNDLE-006"),
        ({"linux": {"mountExtensions": {"idmap": {"enabled": False}}}}, "BUNDLE-005"),
        ({"linux": {"mountExtensions": {"idmap": {"enabled": True}}}}, None),
    ],
)
def test_null_is_not_false(said: dict[str, Any], found: str | None) -> None:
    config = {"mounts": [{"destination": "/a", "uidMappings": []}]}
    assert rules(config, **said) == ([(found, "mounts[0].uidMappings")] if found else [])


def test_an_entry_decides_over_the_version() -> None:
    config = {"linux": {"namespaces": [{"type": "time"}]}, "mounts": [{"destination": "/a", "gidMappings": []}]}
    old = {"ociVersionMax": "1.0.2-dev"}
    assert rules(config, **old) == [
        ("BUNDLE-004", "linux.namespaces[0].type"),
        ("BUNDLE-004", "mounts[0].gidMappings"),
    ]
    knows = {"namespaces": ["time"], "mountExtensions": {"idmap": {"enabled": True}}}
    assert rules(config, **old, linux=knows) == []


def test_an_entry_for_a_part_decides_for_the_object_that_it_is_about() -> None:
    config = {"linux": {"memoryPolicy": {"mode": "MPOL_LOCAL", "flags": ["MPOL_F_STATIC_NODES"]}}}
    told = {"modes": ["MPOL_LOCAL"], "flags": []}
    assert rules(config, ociVersionMax="1.1.0+dev", linux={"memoryPolicy": told}) == [
        ("BUNDLE-005", "linux.memoryPolicy.flags[0]")
    ]
    assert rules(config, ociVersionMax="1.1.0+dev") == [("BUNDLE-004", "linux.memoryPolicy")]


def options(kind: str, *words: str, known: list[str] | None = None) -> list[str]:
    config = {"mounts": [{"destination": "/a", "type": kind, "source": "/b", "options": list(words)}]}
    return [rule for rule, _ in rules(config, mountOptions=known if known is not None else ["ro", "bind"])]


def test_options_of_mounts_and_of_file_systems() -> None:
    assert options("tmpfs", "ro", "size=1m") == []
    assert options("tmpfs", "ro", "sizes=1m") == ["BUNDLE-005"]
    assert options("bind", "bind", "size=1m") == ["BUNDLE-005"]
    assert options("ext4", "ro", "data=ordered") == ["BUNDLE-006"]
    assert options("ext4", "ro") == []
    assert options("bind", "ro", known=[]) == ["BUNDLE-005"]


def test_flags_of_seccomp_that_are_known_and_not_supported() -> None:
    config = {"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"]}}}
    told = {"enabled": True, "actions": ["SCMP_ACT_ALLOW"], "knownFlags": ["SECCOMP_FILTER_FLAG_LOG"]}
    assert rules(config, linux={"seccomp": told}) == []
    none = {**told, "supportedFlags": []}
    assert rules(config, linux={"seccomp": none}) == [("BUNDLE-005", "linux.seccomp.flags[0]")]


def test_prestart_is_deprecated_where_there_is_something_newer() -> None:
    config = {"hooks": {"prestart": [{"path": "/p"}]}}
    assert rules(config, hooks=["prestart", "createRuntime"]) == [("BUNDLE-014", "hooks.prestart")]
    assert rules(config, hooks=["prestart"]) == []


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ({"ociVersionMax": "1.0.0"}, "1.0.0"),
        ({"ociVersionMax": "1.0.2-dev"}, "1.0.2-dev"),
        ({"ociVersionMax": "1.0.2"}, "1.0.2"),
        ({"ociVersionMax": "1.2.0"}, "1.0.2"),
        ({"ociVersionMin": "1.1.0", "ociVersionMax": "1.2.0"}, "1.1.0"),
        ({"ociVersionMin": "1.1.0-rc.1", "ociVersionMax": "1.2.0"}, "1.1.0-rc.1"),
    ],
)
def test_the_version_fits_what_the_runtime_takes(said: dict[str, Any], version: str) -> None:
    assert chosen({"hostname": "a"}, runtime(**said).features) == version


def test_the_version_is_the_least_that_has_all_fields() -> None:
    assert chosen({}, None) == "1.0.2"
    assert chosen({"domainname": "a"}, None) == "1.1.0"
    assert chosen({"process": {"execCPUAffinity": {}}}, None) == "1.2.1"
    assert chosen({"domainname": "a", "linux": {"netDevices": {}}}, runtime().features) == "1.3.0"
    assert chosen({"domainname": "a"}, runtime(ociVersionMax="1.0.2").features) == "1.0.2"


def test_versions_are_in_their_order() -> None:
    order = [
        "0.9",
        "1.0.0-rc1",
        "1.0.0",
        "1.0.2-dev",
        "1.0.2",
        "1.1.0-rc.1",
        "1.1.0-rc.2",
        "1.1.0-rc.10",
        "1.1.0",
        "1.10.0",
    ]
    assert sorted({*order}, key=ordered) == order
    assert ordered("1.2.0+build") == ordered("1.2.0")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("[]", "is not a JSON object"),
        ("{}", "says no ociVersionMin"),
        ('{"ociVersionMin": "1.0.0"}', "says no ociVersionMax"),
        ('{"ociVersionMin": "one", "ociVersionMax": "1.0.0"}', "says no ociVersionMin"),
        ('{"ociVersionMin": "1.1.0", "ociVersionMax": "1.0.0"}', "below its ociVersionMin"),
        ('{"ociVersionMin": "1.0.0", "ociVersionMax": "1.0.0", "hooks": "poststop"}', "hooks is not a list of texts"),
        ('{"ociVersionMin": "1.0.0", "ociVersionMax": "1.0.0", "hooks": [1]}', "hooks is not a list of texts"),
        ('{"ociVersionMin": "1.0.0", "ociVersionMax": "1.0.0", "linux": []}', "linux is not an object"),
        (
            '{"ociVersionMin": "1.0.0", "ociVersionMax": "1.0.0", "linux": {"seccomp": {"enabled": 1}}}',
            "linux.seccomp.enabled is not true or false",
        ),
    ],
)
def test_what_is_no_features_document(document: str, message: str) -> None:
    with pytest.raises(InvalidDocumentError, match=message):
        parse(document.encode(), "features")


def program(folder: Path, name: str, script: str) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    made = folder / name
    made.write_text(f"#!/bin/sh\n{script}\n")
    made.chmod(made.stat().st_mode | stat.S_IXUSR)
    return {"PATH": f"{folder}:/bin:/usr/bin"}


@pytest.mark.parametrize(
    ("name", "version", "recorded"),
    [
        *(("crun", "1.8.1", True), ("crun", "1.8.1-1+deb12u1", True), ("crun", "1.7", False), ("crun", "2.0", False)),
        *(("youki", "0.3.0", False), ("crun", "", False)),
    ],
)
def test_a_runtime_that_cannot_tell(tmp_path: Path, name: str, version: str, recorded: bool) -> None:
    script = f'[ "$1" = --version ] && echo "{name} version {version}" && exit; echo "unknown command $1" >&2; exit 1'
    found = features.ask(name, program(tmp_path, name, script))
    assert (found.name, found.version, found.told) == (name, version, False)
    assert (found.features is not None) == recorded
    made = image(Cmd=["/a"])
    ids = {item.rule.id for item in check.check_image(made, found, BundleOptions())[1]}
    assert ids == ({"BUNDLE-008"} if recorded else {"BUNDLE-007"})


def test_a_runtime_that_tells(tmp_path: Path) -> None:
    document = json.dumps({**LEAST, "hooks": ["poststop"]})
    script = f"[ \"$1\" = --version ] && echo 'spec: 1.0.0' && exit; echo '{document}'"
    found = features.ask("other", program(tmp_path, "other", script))
    assert found == Runtime(name="other", features=Features(data={**LEAST, "hooks": ["poststop"]}))
    (tmp_path / "f.json").write_text(document)
    assert features.read(tmp_path / "f.json").features == found.features


def test_a_runtime_that_tells_nonsense_or_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidDocumentError, match="features of 'other' is not valid JSON"):
        features.ask("other", program(tmp_path, "other", "echo nonsense"))
    with pytest.raises(UnavailableError, match="runtime 'nothing' is not installed"):
        features.ask("nothing", {"PATH": str(tmp_path)})
    with pytest.raises(NotFoundError, match="does not exist"):
        features.read(tmp_path / "no.json")


def test_what_is_on_record_is_a_features_document() -> None:
    found = records.of("crun", "1.8.1")
    assert found is not None
    assert parse(json.dumps(found.data).encode(), "record").data == found.data
    assert records.passed_over("runc", "1.1.5+ds1") == {"linux.personality"}
    assert records.passed_over("runc", "1.2.0") == frozenset()


# What a bundle is made of for a runtime


def made_for(told: Runtime | None, **options: Any) -> dict[str, Any]:
    found = image()
    with opened(found) as files:
        return plan_config(found, files, BundleOptions(runtime=told, **options)).config


def test_a_time_namespace_where_the_runtime_has_it() -> None:
    kinds = [item["type"] for item in made_for(runtime(linux={"namespaces": ["time", "pid"]}))["linux"]["namespaces"]]
    assert kinds == ["pid", "network", "ipc", "uts", "mount", "cgroup", "time"]
    for told in (None, runtime(), runtime(linux={"namespaces": ["pid"]})):
        assert {"type": "time"} not in made_for(told)["linux"]["namespaces"]


def test_prestart_is_written_only_where_there_is_nothing_newer() -> None:
    hooks = (Hook(stage="prestart", path="/p"), Hook(stage="createRuntime", path="/q"))
    newer = {"createRuntime": [{"path": "/p"}, {"path": "/q"}]}
    for told in (None, runtime(), runtime(hooks=["prestart", "createRuntime"])):
        assert made_for(told, hooks=hooks)["hooks"] == newer
    assert made_for(runtime(hooks=["prestart"]), hooks=hooks[:1])["hooks"] == {"prestart": [{"path": "/p"}]}


def test_what_is_made_for_a_runtime_is_vouched_for_by_it() -> None:
    for told in (runtime(ociVersionMax="1.0.2-dev"), runtime(ociVersionMax="1.0.0")):
        said = made_for(told)
        assert [item.path for item in unvouched(said, told) if item.rule.id == "BUNDLE-003"] == []


def test_every_field_is_led_back_to_an_entry() -> None:
    told = runtime(
        ociVersionMax="1.0.2-dev",
        mountOptions=["ro", "nosuid", "noexec", "nodev", "strictatime", "relatime"],
        linux={"namespaces": ["pid", "mount"], "capabilities": None},
    )
    config = made_for(told, hostname="h", domainname="d")
    config["nonsense"] = {"a": [1]}
    found = {item.path: (item.entry, item.answer) for item in vouchers(config, told)}
    assert found["hostname"] == ("ociVersionMax 1.0.2-dev", True)
    assert found["process.args[0]"] == ("ociVersionMax 1.0.2-dev", True)
    assert found["domainname"] == ("ociVersionMax 1.0.2-dev (it came with 1.1.0)", False)
    assert found["linux.namespaces[0].type"] == ("linux.namespaces", True)
    assert found["linux.namespaces[1].type"] == ("linux.namespaces", False)
    assert found["process.capabilities.bounding[0]"] == ("linux.capabilities", None)
    assert found["mounts[0].options[0]"] == ("mountOptions", True)
    assert found["mounts[1].options[2]"] == ("the file system itself", None)
    assert found["nonsense.a[0]"] == ("no version of the specification", False)
    leaves = [field.path for field in fields(config) if not (isinstance(field.value, (dict, list)) and field.value)]
    assert list(found) == leaves
