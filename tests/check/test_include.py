"""`include:` of a spec: the closure of what is copied, as the real loader has it, and the presets."""

import json
import re
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from runtimeimg.account import Account
from runtimeimg.check.include import resolved
from runtimeimg.check.libraries import LIBC_FAMILY
from runtimeimg.cli.main import cli
from runtimeimg.compose.reading import Reader
from runtimeimg.compose.view import View
from runtimeimg.errors import NotFoundError, SpecError
from runtimeimg.image import Image
from runtimeimg.oci import Location
from runtimeimg.plan import BuildPlan, Facts, resolve
from runtimeimg.spec import load_spec_text
from runtimeimg.stores import StoreOptions, open_one
from tests.check.images import Files, Put, image
from tests.check.objects import GLIBC, LOADER, MUSL, library, program, static
from tests.stores import made
from tests.stores.made import write

DEBIAN = "debian:bookworm-slim"
LIB = "/usr/lib/x86_64-linux-gnu"


def run(*words: object, spec: dict[str, Any] | None = None) -> str:
    text = json.dumps(spec) if spec is not None else None
    done = CliRunner().invoke(cli, [str(word) for word in words], input=text, standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.stdout


def spec(directories: list[str], include: object, builder: str = "b:1", base: str = "scratch") -> dict[str, Any]:
    runtime = {"base": {"image": base}, "directories": directories, "include": include, "entrypoint": ["/x"]}
    return {
        "apiVersion": "shipwright.io/v1alpha1",
        "kind": "Build",
        "metadata": {"name": "x"},
        "spec": {"builder": {"image": builder}, "output": {"image": "x:1"}, "runtime": runtime},
    }


def plan(directories: list[str], include: object = "auto") -> BuildPlan:
    return resolve(load_spec_text(json.dumps(spec(directories, include)).encode(), "x").spec, Facts())


def included(asked: BuildPlan, builder: Image, base: Image | None = None) -> list[str]:
    with Reader(cache=None, account=Account()) as reader:
        found = resolved(asked, View(builder, reader), View(base, reader) if base is not None else None)
    added = found.copies[len(asked.copies) :]
    assert all((copy.image, copy.chown, copy.origin) == (asked.builder, None, "spec.runtime.include") for copy in added)
    assert found.include == ()
    return [copy.destination for copy in added]


def system(**more: bytes | str | Put) -> Files:
    return {GLIBC: Put(data=LOADER), f"{LIB}/libc.so.6": Put(data=library("libc.so.6")), **more}


def test_what_is_copied_or_in_the_base_is_left_out() -> None:
    builder = image(
        {
            **system(),
            "/app/run": Put(data=program("liba.so", "libc.so.6", runpath="$ORIGIN/lib")),
            "/app/lib/liba.so": Put(data=library("liba.so", "libb.so", "libc_own.so")),
            f"{LIB}/libb.so": "libb.so.1",
            f"{LIB}/libb.so.1": Put(data=library("libb.so", "libe.so")),
            f"{LIB}/libe.so": Put(data=library("libe.so")),
            f"{LIB}/libc_own.so": Put(data=library("libc_own.so")),
        }
    )
    base = image(system(**{f"{LIB}/libe.so": Put(data=library("libe.so"))}))
    asked = plan(["/app"])
    assert included(asked, builder, base) == [f"{LIB}/libb.so", f"{LIB}/libc_own.so"]
    alone = included(plan(["/app/run"]), builder, base)
    assert alone == ["/app/lib/liba.so", f"{LIB}/libb.so", f"{LIB}/libc_own.so"]
    assert included(asked, builder) == [
        GLIBC,
        f"{LIB}/libc.so.6",
        f"{LIB}/libb.so",
        f"{LIB}/libc_own.so",
        f"{LIB}/libe.so",
    ]


def test_notes_and_native_modules() -> None:
    note = json.dumps(
        [
            {"soname": ["libnot.so", "libfound.so"], "priority": "recommended"},
            {"soname": ["libmaybe.so"], "priority": "suggested"},
        ]
    ).encode()
    builder = image(
        {
            **system(),
            "/bin/sh": Put(data=program()),
            "/app/module.node": Put(data=library(None, "libx.so", note=note), mode=0o644),
            "/app/other.musl.node": Put(data=library(None, "libc.musl-x86_64.so.1", "liby.so"), mode=0o644),
            **{f"{LIB}/lib{name}.so": Put(data=library(f"lib{name}.so")) for name in ("x", "y", "found", "maybe")},
        }
    )
    assert included(plan(["/app"]), builder, image(system())) == [f"{LIB}/libx.so", f"{LIB}/libfound.so"]


def test_musl_brings_its_own() -> None:
    builder = image(
        {
            MUSL: Put(data=library("libc.so")),
            "/bin/prog": Put(data=program("libz.so.1", "libc.so", interpreter=MUSL)),
            "/usr/lib/libz.so.1": Put(data=library("libz.so.1")),
        }
    )
    assert included(plan(["/bin/prog"]), builder) == [MUSL, "/usr/lib/libz.so.1"]


def test_names_that_mean_patterns_are_taken_as_they_are() -> None:
    builder = image(
        {
            **system(),
            "/bin/prog": Put(data=program("lib[a]*.so")),
            f"{LIB}/lib[a]*.so": Put(data=library()),
            f"{LIB}/liba.so": Put(data=library()),
        }
    )
    asked = plan(["/bin/prog"])
    with Reader(cache=None, account=Account()) as reader:
        found = resolved(asked, View(builder, reader), View(image(system()), reader))
    assert [copy.source for copy in found.copies[1:]] == [f"{LIB}/lib\\[a]\\*.so"]


@pytest.mark.parametrize(
    ("name", "there", "expected"),
    [
        ("ca-certificates", {"/etc/ssl/certs/ca-certificates.crt": b"x"}, ["/etc/ssl/certs/ca-certificates.crt"]),
        ("ca-certificates", {"/etc/pki/tls/certs/ca-bundle.crt": b"x"}, ["/etc/pki/tls/certs/ca-bundle.crt"]),
        ("tzdata", {"/usr/share/zoneinfo/UTC": b"x"}, ["/usr/share/zoneinfo"]),
        ("locales", {"/usr/lib/locale/C.utf8/LC_CTYPE": b"x"}, ["/usr/lib/locale"]),
        (
            "nss",
            {"/etc/nsswitch.conf": b"x", f"{LIB}/libnss_dns.so.2": b"x"},
            ["/etc/nsswitch.conf", f"{LIB}/libnss_dns.so.2"],
        ),
    ],
)
def test_presets(name: str, there: Files, expected: list[str]) -> None:
    assert included(plan(["/x"], [name]), image(there)) == expected
    assert included(plan(["/x"], [name]), image(there), image(there)) == []
    if name != "nss":
        with pytest.raises(NotFoundError, match=f"spec.runtime.include: '{name}' is not in the builder image"):
            included(plan(["/x"], [name]), image({"/y": b""}))


@pytest.mark.parametrize(
    ("include", "message"),
    [
        ("autos", "did you mean 'auto'"),
        (["auto", 7], "include"),
        ({"auto": True}, "include"),
        (["certs"], "ca-certificates"),
    ],
)
def test_what_cannot_be_included(include: object, message: str) -> None:
    with pytest.raises(SpecError) as refused:
        plan(["/x"], include)
    assert message in str(refused.value)


def test_a_build_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    files = {**system(), "/x": Put(data=program("liba.so")), f"{LIB}/liba.so": Put(data=library("liba.so"))}
    write(f"oci:{tmp_path}/builder", image(files))
    asked = spec(["/x"], "auto", f"oci:{tmp_path}/builder")
    for _ in range(2):  # found out, then kept
        run("build", "-", "-o", f"oci:{tmp_path}/out", "--check", "error", spec=asked)
        assert run("check", f"oci:{tmp_path}/out") == "nothing found\n"
    assert len(made.read_image(f"oci:{tmp_path}/out").layers) == 1
    write(f"oci:{tmp_path}/builder", image({**files, "/x": Put(data=static())}))
    run("build", "-", "-o", f"oci:{tmp_path}/out", "--check", "error", spec=asked)
    with Reader(cache=None, account=Account()) as reader:
        assert View(made.read_image(f"oci:{tmp_path}/out"), reader).find(f"{LIB}/liba.so") is None


_DATA = re.compile(r"\[|/(?:apt|dpkg|perl|debconf)")
"""Programs whose name is a pattern, and those that end otherwise where their settings are not there."""
SHELL = """
for p in $PROGRAMS; do "$p" --version </dev/null >/dev/null 2>&1; echo "$p $?"; done
"""
TRACE = """
for p in $PROGRAMS; do LD_TRACE_LOADED_OBJECTS=1 "$p"; done
"""


@pytest.fixture
def names() -> Iterator[tuple[str, str]]:
    tag = uuid.uuid4().hex[:8]
    both = (f"runtimeimg-test-include/builder:{tag}", f"runtimeimg-test-include/made:{tag}")
    yield both
    subprocess.run(["docker", "rmi", "-f", *both], capture_output=True, check=False)


@pytest.mark.engine
@pytest.mark.parametrize("bare", ["scratch", "libc"])
def test_programs_of_debian_start_on_a_bare_base(tmp_path: Path, names: tuple[str, str], bare: str) -> None:
    """Forty of them, with what the real loader loads for them, and nothing else."""
    debian = open_one(Location.parse(f"docker-daemon:{DEBIAN}"), None, StoreOptions())
    builder = image({"/busybox": Put(data=Path("/bin/busybox").read_bytes())}, base=debian)
    write(f"docker-daemon:{names[0]}", builder)
    write(f"oci:{tmp_path}/builder", builder)
    with Reader(cache=None, account=Account()) as reader:
        view = View(debian, reader)
        programs = sorted(
            file.path
            for file in view.walk("/usr/bin")
            if file.is_file
            and file.mode & 0o111
            and not _DATA.search(file.path)
            and view.part(file)(0, 4) == b"\x7fELF"
        )[::4][:50]
        libc = {
            path: Put(data=view.read(file, 1 << 23))
            for path in (GLIBC, *(f"{folder}/lib{name}" for folder in ("/lib/x86_64-linux-gnu",) for name in
                         ("c.so.6", "m.so.6", "dl.so.2", "rt.so.1", "pthread.so.0", "resolv.so.2", "util.so.1")))
            if (file := view.file(path)) is not None
        }  # fmt: skip
    assert len(programs) >= 40
    base = "scratch" if bare == "scratch" else f"oci:{tmp_path}/base"
    if bare != "scratch":
        write(f"oci:{tmp_path}/base", image(libc))
    asked = spec([*programs, "/busybox"], "auto", f"oci:{tmp_path}/builder", base)
    run("build", "-", "-t", names[1], "--load", "--builder", "native", "--no-cache", spec=asked)

    def said(name: str, script: str) -> str:
        command = ["docker", "run", "--rm", "-e", f"PROGRAMS={' '.join(programs)}", "--entrypoint", "/busybox", name]
        return subprocess.run(
            [*command, "sh", "-c", script], capture_output=True, text=True, check=False, timeout=120
        ).stdout

    codes = said(names[1], SHELL)
    assert codes == said(names[0], SHELL)
    assert codes.count("\n") == len(programs)
    assert " 127\n" not in codes
    loaded = {match[1] for match in re.finditer(r"=> (/\S+)", said(names[0], TRACE))}
    below = made.read_image(base) if bare != "scratch" else None
    copies = set(included(plan([*programs, "/busybox"]), builder, below)) - {GLIBC}
    assert copies == {path for path in loaded if bare == "scratch" or not LIBC_FAMILY.match(path.rpartition("/")[2])}
    assert len(copies) > 8
    if bare == "scratch":
        asked["spec"]["builder"]["image"] = names[0]
        lines = run("render", "-", spec=asked).splitlines()
        assert all(f'COPY --from=builder ["{path}", "{path}"]' in lines for path in copies)
