"""START-009 on containerd, which starts the containers of Kubernetes: it is handed the image's files as they are.

The Docker Engine puts folders over what is there, and starts all of them.
"""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtimeimg.findings import Severity
from tests.check.conftest import Start
from tests.check.images import Files, Put, found, image
from tests.check.objects import static
from tests.containerd import Ctr, containerd
from tests.stores.made import write

pytestmark = [pytest.mark.ctr, pytest.mark.mounts]

FOLDER = Put(data=None)
RULE = ("START-009", Severity.ERROR)
KNOWN = ("START-009", Severity.INFO)


@pytest.fixture(scope="module")
def ctr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ctr]:
    with containerd(tmp_path_factory.mktemp("containerd")) as started:
        yield started


@pytest.mark.parametrize(
    ("files", "expected", "words"),
    [
        ({"/proc": "/data"}, RULE, 'mounting "proc" to rootfs at "/proc"'),
        ({"/proc": "data"}, RULE, 'mounting "proc" to rootfs at "/proc"'),
        ({"/proc": b""}, RULE, 'mounting "proc" to rootfs at "/proc"'),
        ({"/sys": "/data"}, RULE, 'mounting "sysfs" to rootfs at "/sys"'),
        ({"/sys": "/nowhere"}, RULE, 'mounting "sysfs" to rootfs at "/sys"'),
        ({"/dev": b""}, RULE, 'mounting "tmpfs" to rootfs at "/dev"'),
        ({"/dev": "dev"}, RULE, 'mounting "tmpfs" to rootfs at "/dev"'),
        ({"/dev": "app"}, RULE, '"/app/run": stat /app/run: no such file'),
        ({"/dev": "data"}, KNOWN, ""),
        ({"/dev": "./data/"}, KNOWN, ""),
        ({"/proc": FOLDER, "/sys": FOLDER, "/dev": FOLDER}, None, ""),
        ({}, None, ""),
    ],
)
def test_what_is_found_is_refused_and_what_is_not_found_starts(
    files: Files, expected: tuple[str, Severity] | None, words: str, ctr: Ctr, tmp_path: Path
) -> None:
    made = image({"/app/run": Put(data=static()), "/data": FOLDER, **files}, Entrypoint=["/app/run"])
    said = [(item.rule.id, item.rule.severity) for item in found(made, least=Severity.INFO)]
    assert said == ([expected] if expected else [])
    name = f"check.test/{uuid.uuid4().hex[:8]}:1"
    write(f"oci-archive:{tmp_path}/image.tar:{name}", made)
    imported = ctr("images", "import", "--snapshotter", "native", tmp_path / "image.tar")
    assert imported.returncode == 0, imported.stderr
    options = ("--rm", "--snapshotter", "native", "--runc-root", tmp_path / "runc", "--cgroup", "")
    ran = ctr("run", *options, name, uuid.uuid4().hex)
    assert (ran.returncode != 0, words in ran.stderr) == (expected == RULE, True), ran.stderr
    assert bool(ran.stderr) is (expected == RULE)
    assert [ctr(what, "list", "--quiet").stdout for what in ("tasks", "containers")] == ["", ""]


@pytest.mark.engine
def test_docker_puts_folders_in_their_place(start: Start) -> None:
    links: Files = {"/proc": "/data", "/sys": "/nowhere", "/dev": "app"}
    made = image({"/app/run": Put(data=static()), **links}, Entrypoint=["/app/run"])
    assert {(item.rule.id, item.rule.severity) for item in found(made)} == {RULE}
    assert start(made) == (0, "")


def test_a_link_by_way_of_another_may_be_followed_on_the_host() -> None:
    """No runtime is asked: those of Debian 12 make their device files where an absolute link leads on the host."""
    for files in ({"/dev": "/data"}, {"/dev": "link", "/link": "/data"}, {"/dev": "link/data", "/link": "/"}):
        made = image({"/app/run": Put(data=static()), "/data": FOLDER, **files}, Entrypoint=["/app/run"])
        assert [(item.rule.id, item.rule.severity) for item in found(made)] == [RULE]
