"""Disks that are full or read-only, folders that are not there, outputs that take nothing, too few descriptors.

Each ends with the exit code of docs/exit-codes.md and one message that names the file or folder; what was there is as
it was, and nothing half-written is left.
"""

import os
import resource
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from runtimeimg.image.zstd import zstd
from runtimeimg.oci import Digest
from runtimeimg.stores import StoreOptions
from tests.compose.images import MemoryLayer, image
from tests.hostile.fuzz import BUILD, TASK
from tests.stores import made

from .disks import Disk, disk, half_written, run

SMALL = 512 << 10
LARGE = made.image(1, 3_000_000, layers=1)
OLD = made.image(2, 1000, layers=1)
SPEC = """\
apiVersion: runtimeimg.dev/v1
kind: Build
spec:
  builder: {image: "oci:INPUTS/large:1"}
  output: {image: web:1}
  runtime:
    base: {image: "oci:INPUTS/old:1"}
    directories: ["/file100:/app/file"]
    entrypoint: [/app/file]
"""
NAMED = SPEC.replace("oci:INPUTS/", "registry.example.com/")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A command line, in which {in}, {disk} and {missing} are folders; `says` stands in what it says then."""

    args: str
    says: str
    code: int = 1
    env: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, large and small, a spec and documents of strategies."""
    folder = tmp_path_factory.mktemp("inputs")
    for name, what in (("large", LARGE), ("old", OLD)):
        for place in (f"oci:{folder}/{name}:1", f"docker-archive:{folder}/{name}.tar:a/{name}:1"):
            made.write(place, what)
    tar = LARGE.layers[0].raw
    layer = MemoryLayer(
        zstd().compress(tar), media_type="application/vnd.oci.image.layer.v1.tar+zstd", diff_id=Digest.of(tar)
    )
    made.write(f"oci:{folder}/zstd:1", image("zstd", layer))
    (folder / "build.yaml").write_text(SPEC.replace("INPUTS", str(folder)))
    (folder / "named.yaml").write_text(NAMED)
    (folder / "task.yaml").write_bytes(TASK)
    (folder / "old-build.yaml").write_bytes(BUILD.removesuffix(b"---\n"))
    return folder


class Bench:
    """Runs command lines with folders of the test's own."""

    def __init__(self, folder: Path, inputs: Path) -> None:
        self.folder = folder
        self.inputs = inputs
        self.passing = folder / "passing"
        self.passing.mkdir()

    def names(self, text: str) -> str:
        places = {"{in}": self.inputs, "{disk}": self.folder / "disk", "{missing}": self.folder / "missing"}
        for name, place in places.items():
            text = text.replace(name, str(place))
        return text

    def run(
        self, args: str, env: dict[str, str] | None = None, **options: object
    ) -> subprocess.CompletedProcess[bytes]:
        environ = {
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "HOME": str(self.folder),
            "TMPDIR": str(self.passing),
            "DOCKER_HOST": "unix:///nowhere/docker.sock",
            **{name: self.names(value) for name, value in (env or {}).items()},
        }
        return run(shlex.split(self.names(args)), env=environ, **options)  # type: ignore[arg-type]

    def fails(self, case: Case, **options: object) -> str:
        """Run a case and return what it said, one error of ours."""
        done = self.run(case.args, case.env, **options)
        said = done.stderr.decode()
        assert done.returncode == case.code, said
        assert self.names(case.says) in said
        assert "Traceback" not in said
        assert "internal error" not in said
        assert list(self.passing.iterdir()) == []
        return said


@pytest.fixture
def bench(tmp_path: Path, inputs: Path) -> Bench:
    return Bench(tmp_path, inputs)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Disk]:
    """A disk that holds half a mebibyte, an old image in each form among it."""
    with disk(tmp_path / "disk", SMALL) as found:
        made.write(f"oci:{found.outside}/layout:1", OLD)
        for kind, name in (("oci-archive", "1"), ("docker-archive", "a/old:1")):
            made.write(f"{kind}:{found.outside}/{kind}.tar:{name}", OLD)
        yield found


TARGETS = {
    "layout": ("oci:{disk}/layout:1", "{disk}/layout"),
    "new layout": ("oci:{disk}/new:1", "{disk}/new"),
    "oci-archive": ("oci-archive:{disk}/oci-archive.tar:1", "{disk}/oci-archive.tar"),
    "new oci-archive": ("oci-archive:{disk}/new.tar:1", "{disk}/new.tar"),
    "docker-archive": ("docker-archive:{disk}/docker-archive.tar:a/old:1", "{disk}/docker-archive.tar"),
}
TOO_SMALL = {
    **{
        f"build to {name}": Case(args=f"build {{in}}/build.yaml -o {to}", says=says)
        for name, (to, says) in TARGETS.items()
    },
    **{
        f"copy to {name}": Case(args=f"copy oci:{{in}}/large:1 {to}", says=says) for name, (to, says) in TARGETS.items()
    },
    **{
        f"stamp to {name}": Case(args=f"stamp oci:{{in}}/large:1 --spec {{in}}/build.yaml -o {to}", says=says)
        for name, (to, says) in TARGETS.items()
    },
    "copy of an archive": Case(args="copy docker-archive:{in}/large.tar oci:{disk}/layout:1", says="{disk}/layout"),
    "unpacking of zstd": Case(
        args="copy oci:{in}/zstd:1 docker-archive:{in}/never.tar", says="{disk}", env={"TMPDIR": "{disk}"}
    ),
    "build without a cache": Case(
        args="build {in}/build.yaml --no-cache -o oci:{in}/never:1", says="{disk}", env={"TMPDIR": "{disk}"}
    ),
}


@pytest.mark.mounts
@pytest.mark.parametrize("name", TOO_SMALL)
def test_a_disk_that_fills_up(bench: Bench, small: Disk, name: str) -> None:
    before = small.files()
    said = bench.fails(TOO_SMALL[name], inside=small)
    assert "no space left on device" in said
    assert "free some space" in said
    assert half_written(before, small.files()) == []
    assert not list(bench.inputs.glob("never*"))


FULL = {
    "render": Case(args="render {in}/named.yaml -o {disk}/out", says="{disk}/out"),
    "render of a context": Case(args="render {in}/named.yaml --context {disk}/out", says="{disk}/out"),
    "task": Case(args="strategy task -o {disk}/out", says="{disk}/out"),
    "cluster strategy": Case(args="strategy cluster-strategy -o {disk}/out", says="{disk}/out"),
    "amend": Case(args="strategy amend {in}/task.yaml -o {disk}/out", says="{disk}/out"),
    "amend in place": Case(args="strategy amend -i {disk}/task.yaml", says="{disk}/task.yaml"),
    "convert": Case(args="strategy convert {in}/old-build.yaml -o {disk}/out", says="{disk}/out"),
    "export": Case(args="export oci:{in}/old:1 --to pod --image a/b:1 -o {disk}/out", says="{disk}/out"),
    "quadlets": Case(args="export oci:{in}/old:1 --to systemd-quadlet --image a/b:1 -o {disk}/out", says="{disk}/out"),
    "metadata": Case(args="build {in}/build.yaml -o oci:{in}/made:1 --metadata-file {disk}/out", says="{disk}/out"),
    "id": Case(args="build {in}/build.yaml -o oci:{in}/made:1 --iidfile {disk}/out", says="{disk}/out"),
    "digest": Case(args="build {in}/build.yaml -o oci:{in}/made:1 --digestfile {disk}/out", says="{disk}/out"),
    "layout": Case(args="copy oci:{in}/old:1 oci:{disk}/out:1", says="{disk}/out"),
    "archive": Case(args="copy oci:{in}/old:1 oci-archive:{disk}/out:1", says="{disk}/out"),
}


@pytest.mark.mounts
@pytest.mark.parametrize("name", FULL)
def test_a_disk_that_is_full(bench: Bench, tmp_path: Path, name: str) -> None:
    with disk(tmp_path / "disk", SMALL) as full:
        (full.outside / "task.yaml").write_bytes(TASK)
        full.fill()
        before = full.files()
        said = bench.fails(FULL[name], inside=full)
        assert "no space left on device" in said
        assert half_written(before, full.files()) == []


READ_ONLY = {
    **{name: Case(args=f"copy oci:{{in}}/old:1 {to}", says="{disk}", code=2) for name, (to, _) in TARGETS.items()},
    **{f"result {name}": Case(args=FULL[name].args, says="{disk}", code=2) for name in ("metadata", "id", "digest")},
    **{
        name: Case(args=FULL[name].args, says=FULL[name].says, code=2)
        for name in ("render", "task", "amend in place", "export")
    },
}


@pytest.mark.mounts
@pytest.mark.parametrize("name", READ_ONLY)
def test_a_disk_that_is_read_only(bench: Bench, small: Disk, name: str) -> None:
    (small.outside / "task.yaml").write_bytes(TASK)
    before = small.files()
    small.make_read_only()
    bench.fails(READ_ONLY[name], inside=small)
    assert small.files() == before


@pytest.mark.mounts
@pytest.mark.parametrize("state", ["full", "small", "read-only"])
def test_a_cache_without_room_is_done_without(bench: Bench, small: Disk, tmp_path: Path, state: str) -> None:
    if state == "full":
        small.fill()
    if state == "read-only":
        small.make_read_only()
    before = small.files()
    args = "build {in}/build.yaml -o oci:" + str(tmp_path / "made") + ":1"
    done = bench.run(args, {"XDG_CACHE_HOME": "{disk}"}, inside=small)
    assert done.returncode == 0, done.stderr.decode()
    assert len(made.contents_of(made.read_image(f"oci:{tmp_path}/made:1"))) == 2
    assert list(bench.passing.iterdir()) == []
    assert not [name for name in set(small.files()) - set(before) if "/tmp/" in name]
    shown = bench.run("cache prune", {"XDG_CACHE_HOME": "{disk}"}, inside=small)
    assert shown.returncode == 0, shown.stderr.decode()


MISSING = {
    **{
        name: Case(args=f"copy oci:{{in}}/old:1 {to}", says="{missing}", code=3)
        for name, to in (
            ("oci-archive", "oci-archive:{missing}/a.tar"),
            ("docker-archive", "docker-archive:{missing}/a"),
        )
    },
    **{
        name: Case(args=FULL[name].args.replace("{disk}", "{missing}"), says="{missing}", code=3)
        for name in ("metadata", "id", "digest", "render", "render of a context", "task", "convert", "amend in place")
    },
    "spec": Case(args="render {missing}/build.yaml", says="{missing}/build.yaml", code=3),
    "layout": Case(args="inspect oci:{missing}/layout", says="{missing}/layout", code=3),
    "archive": Case(args="inspect docker-archive:{missing}/a.tar", says="{missing}/a.tar", code=3),
    "folder": Case(
        args="build {in}/build.yaml --builder-image dir:{missing} -o oci:{in}/made", says="{missing}", code=3
    ),
    "authfile": Case(args="inspect docker://127.0.0.1:1/a --authfile {missing}/x", says="{missing}/x", code=3),
    "certificates": Case(args="inspect docker://127.0.0.1:1/a --ca-file {missing}/x", says="{missing}/x", code=3),
    "temporary files of zstd": Case(
        args="copy oci:{in}/zstd:1 docker-archive:{in}/never.tar", says="{missing}", code=3, env={"TMPDIR": "{missing}"}
    ),
}


@pytest.mark.parametrize("name", MISSING)
def test_what_is_not_there(bench: Bench, name: str) -> None:
    bench.fails(MISSING[name])
    assert not (bench.folder / "missing").exists()
    assert not list(bench.inputs.glob("never*"))


PRINTS = {
    "help": "--help",
    "render": "render {in}/named.yaml",
    "schema": "schema",
    "version": "version",
    "inspect": "inspect oci:{in}/old:1",
    "inspect as JSON": "inspect oci:{in}/old:1 --format json",
    "task": "strategy task",
    "amend": "strategy amend {in}/task.yaml",
    "convert": "strategy convert {in}/old-build.yaml",
    "export": "export oci:{in}/old:1 --to compose --image a/b:1",
    "completion": "completion bash",
    "cache": "cache info",
    "copy": "copy oci:{in}/old:1 oci:{in}/copied:1",
    "build": "build {in}/build.yaml -o oci:{in}/made:1",
}


@pytest.mark.parametrize("name", PRINTS)
@pytest.mark.parametrize("where", [">/dev/full", ">&-"], ids=["full", "closed"])
def test_an_output_that_takes_nothing(bench: Bench, name: str, where: str) -> None:
    said = bench.fails(Case(args=PRINTS[name], says="standard output cannot be written: "), redirect=where)
    assert ("no space left on device" if where == ">/dev/full" else "bad file descriptor") in said


@pytest.mark.parametrize("name", PRINTS)
def test_a_reader_that_went_away(bench: Bench, name: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = bench.run(PRINTS[name], stdout=writer)
    finally:
        os.close(writer)
    assert done.returncode == 141, done.stderr.decode()
    assert b"cannot be written" not in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("where", ["2>/dev/full", "2>&-"])
@pytest.mark.parametrize(("args", "code"), [("render {missing}", 3), ("copy oci:{in}/old:1 oci:{in}/told:1", 0)])
def test_messages_that_cannot_be_written_change_no_exit_code(bench: Bench, where: str, args: str, code: int) -> None:
    assert bench.run(args, redirect=where).returncode == code


LARGEST = {resource.RLIMIT_FSIZE: 300_000}


@pytest.mark.parametrize("name", ["layout", "oci-archive", "docker-archive"])
@pytest.mark.parametrize("command", ["build", "copy"])
def test_files_that_may_not_grow(bench: Bench, command: str, name: str) -> None:
    (bench.folder / "disk").mkdir()
    to, says = TARGETS[name]
    args = f"build {{in}}/build.yaml -o {to}" if command == "build" else f"copy oci:{{in}}/large:1 {to}"
    said = bench.fails(Case(args=args, says=""), limits=LARGEST)
    assert "file too large" in said
    # A build meets the limit in the layer that it writes, before it gets to the destination.
    assert bench.names(says) in said or (command == "build" and str(bench.folder / "cache") in said)
    assert not [path for path in (bench.folder / "disk").rglob("*") if path.name.startswith(".")]
    assert not (bench.folder / "disk" / f"{name}.tar").exists()


NEEDS = {
    "build": "build {in}/build.yaml -o oci:{disk}/out:1",
    "build to an archive": "build {in}/build.yaml --no-cache -o docker-archive:{disk}/out.tar",
    "copy": "copy oci:{in}/large:1 oci:{disk}/out:1",
    "inspect": "inspect oci:{in}/large:1",
    "render": "render {in}/named.yaml -o {disk}/out",
}


@pytest.mark.parametrize("count", [6, 7, 8, 10, 12, 16])
@pytest.mark.parametrize("name", NEEDS)
def test_too_few_descriptors(bench: Bench, name: str, count: int) -> None:
    (bench.folder / "disk").mkdir()
    done = bench.run(NEEDS[name], limits={resource.RLIMIT_NOFILE: count})
    said = done.stderr.decode()
    assert "internal error" not in said
    assert "Traceback" not in said
    assert list(bench.passing.iterdir()) == []
    left = [path.name for path in (bench.folder / "disk").rglob("*") if path.name.startswith(".")]
    assert left == []
    if done.returncode:
        assert done.returncode in {1, 4}, said
        assert "too many open files" in said
    elif name not in {"inspect", "render"}:
        (where,) = NEEDS[name].split()[-1:]
        assert made.contents_of(made.read_image(bench.names(where)))


@pytest.mark.registry
@pytest.mark.mounts
def test_a_step_says_which_result_it_could_not_write(bench: Bench, small: Disk, upstream: str) -> None:
    made.write(f"docker://{upstream}/step:1", OLD)
    small.fill()
    before = small.files()
    options = f"--output-image {upstream}/step:2 --output-directory {bench.folder}/made --result-digest {{disk}}/digest"
    spec = SPEC.replace("oci:INPUTS/large:1", f"{upstream}/step:1").replace("oci:INPUTS/old:1", f"{upstream}/step:1")
    spec = spec.replace("/file100", "/file200")
    case = Case(args=f"step compose {options}", says="{disk}/digest", env={"RUNTIMEIMG_SPEC": spec})
    assert "no space left on device" in bench.fails(case, inside=small)
    assert half_written(before, small.files()) == []


@pytest.mark.registry
@pytest.mark.mounts
@pytest.mark.parametrize("name", ["layout", "oci-archive", "docker-archive"])
def test_a_disk_that_fills_up_from_a_registry(bench: Bench, small: Disk, upstream: str, name: str) -> None:
    made.write(f"docker://{upstream}/large:1", LARGE)
    before = small.files()
    to, says = TARGETS[name]
    bench.fails(Case(args=f"copy docker://{upstream}/large:1 {to}", says=says), inside=small)
    assert half_written(before, small.files()) == []


@pytest.mark.engine
@pytest.mark.mounts
def test_a_disk_that_fills_up_from_an_engine(bench: Bench, small: Disk, leaves_nothing: None) -> None:
    name = "runtimeimg-test/full-disk:1"
    options = StoreOptions(environ=dict(os.environ))
    made.write(f"docker-daemon:{name}", LARGE, options)
    try:
        before = small.files()
        host = {"DOCKER_HOST": os.environ.get("DOCKER_HOST", "")}
        args = f"copy docker-daemon:{name} oci:{{in}}/never:1"
        case = Case(args=args, says="{disk}", env={"TMPDIR": "{disk}", **host})
        assert "no space left on device" in bench.fails(case, inside=small)
        assert half_written(before, small.files()) == []
        assert not list(bench.inputs.glob("never*"))
    finally:
        subprocess.run(["docker", "rmi", name], check=True, capture_output=True)


@pytest.mark.engine
@pytest.mark.mounts
def test_a_build_on_an_engine_does_without_a_log(bench: Bench, small: Disk, leaves_nothing: None) -> None:
    name = "runtimeimg-test/full-log:1"
    (bench.folder / "page").write_text("hello")
    (bench.folder / "build.yaml").write_text(
        f"apiVersion: runtimeimg.dev/v1\nkind: Build\nspec:\n  output: {{image: '{name}'}}\n"
        "  runtime:\n    base: {image: scratch}\n    directories: ['$(workspace)/page:/page']\n"
    )
    small.fill()
    host = {"DOCKER_HOST": os.environ.get("DOCKER_HOST", "")}
    done = bench.run(f"build {bench.folder}/build.yaml --builder docker", {"TMPDIR": "{disk}", **host}, inside=small)
    try:
        assert done.returncode == 0, done.stderr.decode()
        assert done.stdout.decode().startswith("sha256:")
    finally:
        subprocess.run(["docker", "rmi", name], check=False, capture_output=True)
