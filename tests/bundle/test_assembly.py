"""What a config.json is put together of: the image, the defaults, and what the caller wants."""

from typing import Any

import pytest

from runtimeimg.bundle import BundleOptions, IdRange, Mount, Rootless, plan_config, rootless
from runtimeimg.bundle.features import Features, Runtime
from runtimeimg.bundle.settings import Setting
from runtimeimg.errors import InvalidDocumentError, UsageError
from runtimeimg.image import Image
from runtimeimg.plan import DEBUG_LABEL

from .images import ACCOUNTS, folder, image, opened


def config(found: Image, **options: Any) -> dict[str, Any]:
    with opened(found) as files:
        return plan_config(found, files, BundleOptions(**options)).config


def notes(found: Image, **options: Any) -> list[str]:
    with opened(found) as files:
        return plan_config(found, files, BundleOptions(**options)).notes


def mounts(made: dict[str, Any]) -> dict[str, Any]:
    return {item["destination"]: item for item in made["mounts"]}


def test_a_terminal_is_there_only_for_debugging() -> None:
    plain = config(image())["process"]
    assert plain["terminal"] is False
    assert "consoleSize" not in plain
    assert not any(item.startswith("TERM=") for item in plain["env"])
    for made in (config(image(), debug=True), config(image(Labels={DEBUG_LABEL: "true"}))):
        assert made["process"]["terminal"] is True
        assert made["process"]["consoleSize"] == {"height": 24, "width": 80}
        assert "TERM=xterm" in made["process"]["env"]
    sized = config(image(Env=["TERM=vt100"]), debug=True, console=(50, 132))["process"]
    assert sized["consoleSize"] == {"height": 50, "width": 132}
    assert [item for item in sized["env"] if item.startswith("TERM")] == ["TERM=vt100"]
    assert config(image(Labels={DEBUG_LABEL: "true"}), terminal=False)["process"]["terminal"] is False


def test_defaults_of_the_environment_never_touch_the_images() -> None:
    env = ["PATH=/own", "HOME=/mine"]
    assert config(image(*ACCOUNTS, Env=env, User="app"))["process"]["env"] == env
    added = config(image(*ACCOUNTS, Env=["A=b"], User="app"))["process"]["env"]
    assert added == ["A=b", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/home/app"]
    assert "HOME=/" in config(image(*ACCOUNTS, User="4711"))["process"]["env"]


def test_the_root_is_read_only_where_a_volume_is() -> None:
    found = image(Volumes={"/data": {}})
    assert config(image())["root"]["readonly"] is False
    assert config(image(), readonly=True)["root"]["readonly"] is True
    assert config(found)["root"]["readonly"] is True
    assert config(found, readonly=False)["root"]["readonly"] is False


def test_volumes_have_the_owner_and_mode_of_the_images_folder() -> None:
    found = image(*ACCOUNTS, folder("data", mode=0o1770, uid=7, gid=8), User="app", Volumes={"/data": {}, "/new": {}})
    made = mounts(config(found))
    assert made["/data"]["options"] == ["nosuid", "nodev", "tmpcopyup", "mode=1770", "uid=7", "gid=8"]
    assert made["/new"]["options"] == ["nosuid", "nodev", "tmpcopyup", "mode=0755", "uid=1000", "gid=1001"]
    told = Runtime(
        name="x", features=Features(data={"ociVersionMin": "1.0.0", "ociVersionMax": "1.3.0", "mountOptions": []})
    )
    assert "tmpcopyup" not in mounts(config(found, runtime=told))["/data"]["options"]


def test_a_mount_takes_the_place_of_one_with_the_same_destination() -> None:
    mount = Mount.parse("source=/srv,destination=/data")
    made = config(image(Volumes={"/data": {}}), mounts=(mount, Mount.parse("type=proc,source=proc,destination=/proc")))
    assert mounts(made)["/data"] == {"destination": "/data", "type": "bind", "source": "/srv", "options": ["rbind"]}
    assert [item["destination"] for item in made["mounts"]].count("/proc") == 1
    assert "options" not in mounts(made)["/proc"]


def test_the_hosts_network() -> None:
    made = config(image(), network="host")
    assert {"type": "network"} not in made["linux"]["namespaces"]
    assert mounts(made)["/sys"]["options"] == ["rbind", "nosuid", "noexec", "nodev", "ro"]


def test_names() -> None:
    assert "domainname" not in config(image())
    made = config(image(), hostname="a", domainname="b")
    assert (made["hostname"], made["domainname"], made["ociVersion"]) == ("a", "b", "1.1.0")
    assert config(image(), name="oci:/srv/other:1")["hostname"] == "other"
    assert "hostname" not in config(image(), hostname="")


OWN = rootless.namespace(1234, 99)


def test_a_rootless_bundle() -> None:
    made = config(image(), rootless=OWN)
    assert made["linux"]["uidMappings"] == [{"containerID": 0, "hostID": 1234, "size": 1}]
    assert made["linux"]["gidMappings"] == [{"containerID": 0, "hostID": 99, "size": 1}]
    kinds = {item["type"] for item in made["linux"]["namespaces"]}
    assert "user" in kinds
    assert "network" not in kinds
    assert "resources" not in made["linux"]
    assert "gid=5" not in mounts(made)["/dev/pts"]["options"]


def test_users_of_a_rootless_bundle() -> None:
    found = image(*ACCOUNTS, User="app")
    with pytest.raises(InvalidDocumentError, match=r"user 1000:1001 of image .* has no number in your"):
        config(found, rootless=OWN)
    allowed = {"rootless": OWN, "allow": frozenset({"root-user"})}
    assert config(found, **allowed)["process"]["user"] == {"uid": 0, "gid": 0, "umask": 18}
    assert notes(found, **allowed) == [
        "user 1000:1001 has no number in the user namespace; the process is its root, who is you"
    ]
    lent = rootless.namespace(5, 5, name="me", subuid="me:100000:65536", subgid="me:100000:65536")
    assert config(found, rootless=lent)["process"]["user"] == {"uid": 1000, "gid": 1001, "umask": 18}
    assert notes(found, rootless=lent) == ["groups 29, 44 are left out: runc sets none for a normal user"]
    kept = config(found, rootless=lent, runtime=Runtime(name="crun"))["process"]["user"]
    assert kept["additionalGids"] == [29, 44]


@pytest.mark.parametrize(
    ("subuid", "expected"),
    [
        ("", []),
        ("me:100:10\n", [(1, 100, 10)]),
        ("7:100:10\nme:200:5\nyou:300:9", [(1, 100, 10), (11, 200, 5)]),
        ("me:100000:100000", [(1, 100000, 65535)]),
        ("me:1:\nme:a:b\nme\n:1:2\nme:4294967290:10\nme:-1:5\nme:1:0", []),
    ],
)
def test_lent_numbers(subuid: str, expected: list[tuple[int, int, int]]) -> None:
    made = rootless.namespace(7, 7, name="me", subuid=subuid)
    own = IdRange(container=0, host=7, size=1)
    assert made.uids == (own, *(IdRange(container=at, host=host, size=size) for at, host, size in expected))
    assert made == Rootless(uids=made.uids, gids=(own,))


def test_settings_come_last_and_spare_what_they_replace() -> None:
    given = (Setting.parse("process.user.uid=9"), Setting.parse("process.args=/x"), Setting.parse("process.cwd=/"))
    made = config(image(User="nobody-knows", Cmd=[], WorkingDir="relative"), settings=given)
    assert made["process"]["user"] == {"uid": 9, "gid": 0, "umask": 18}
    assert made["process"]["args"] == ["/x"]
    assert config(image(), settings=(Setting.parse("ociVersion=1.0.0"),))["ociVersion"] == "1.0.0"
    with pytest.raises(UsageError, match=r"config.json: process.cwd: 'x' is not an absolute path"):
        config(image(), settings=(Setting.parse("process.cwd=x"),))


def test_a_relative_working_dir_is_an_error() -> None:
    with pytest.raises(InvalidDocumentError, match="working directory 'app' of image") as caught:
        config(image(WorkingDir="app"))
    assert "--set process.cwd=/app" in str(caught.value.hint)


def test_images_of_other_systems() -> None:
    with pytest.raises(UsageError, match="is for windows/amd64, and bundles are made for linux"):
        config(image(top={"os": "windows"}))


def test_annotations_of_the_caller_win() -> None:
    made = config(image(Labels={"a": "b"}), annotations={"a": "c"})
    assert made["annotations"]["a"] == "c"


def test_daemons_keep_their_supervisor() -> None:
    from runtimeimg import supervisor

    entrypoint = supervisor.wrap([["redis-server"]], ["/app"])
    assert config(image(Entrypoint=list(entrypoint), Cmd=["x"]))["process"]["args"] == [*entrypoint, "x"]
