"""Libraries are found as the real loaders find them: over worlds of libraries made at random, and real programs."""

import os
import random
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from runtimeimg.account import Account
from runtimeimg.check.libraries import Loaders
from runtimeimg.check.loader.cachefile import parse
from runtimeimg.check.opened import opened
from runtimeimg.oci import Location
from runtimeimg.stores import StoreOptions, open_one
from tests.check.images import Files, Put, image, of_folder
from tests.check.objects import GLIBC, MUSL, Object

WORLDS = int(os.environ.get("RUNTIMEIMG_EXAMPLES", "40"))
DEBIAN = "debian:bookworm-slim"
FOLDERS = ("a", "b", "b/c", "d")
_FOUND = re.compile(r"\s*(\S+) => (/\S+)(?: \(0x|$)")
_MISSING = (re.compile(r"\s*(\S+) => not found"), re.compile(r"Error loading shared library (\S+?):"))


@dataclass
class World:
    """Libraries of random names, places, needs and search paths, and programs that need some of them."""

    root: Path
    seed: int
    loader: str
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = random.Random(f"{self.loader} {self.seed}")
        for folder in FOLDERS:
            (self.root / folder).mkdir(parents=True)
        for number in range(8):
            for place in self.random.sample(FOLDERS, self.random.choice((1, 1, 1, 2))):
                self._write(f"{place}/lib{number}.so", self._object(number))
        if self.loader == GLIBC and self.random.random() < 0.3:
            for level in ("x86-64-v2", "x86-64-v3"):
                (self.root / "a/glibc-hwcaps" / level).mkdir(parents=True)
                self._write(f"a/glibc-hwcaps/{level}/lib0.so", self._object(0))
        for number in range(4):
            self._write(f"bin{number}", self._object(None))
        if self.random.random() < 0.4:
            self.env["LD_LIBRARY_PATH"] = self._path() or ""
        if self.random.random() < 0.2:
            self.env["LD_PRELOAD"] = str(self.root / "a/lib1.so")

    def _object(self, number: int | None) -> Object:
        chance = self.random.random
        names = [f"lib{item}.so" for item in range(9)]  # the last one is nowhere
        needed = self.random.sample(names, self.random.randint(0, 3))
        if chance() < 0.1:
            needed.append(f"{self.root}/a/lib{self.random.randrange(8)}.so")
        made = Object(needed=needed)
        made.rpath = self._path() if chance() < 0.5 else None
        made.runpath = self._path() if chance() < 0.4 else None
        if number is None:
            made.interpreter = self.loader
            made.rpath = made.rpath or (None if made.runpath else f"{self.root}/a:{self.root}/b")
        else:
            made.soname = self.random.choice((None, f"lib{number}.so", f"lib{self.random.randrange(8)}.so"))
            made.no_default = chance() < 0.1
            if self.loader == GLIBC and chance() < 0.1:
                made.machine = 183
        return made

    def _path(self) -> str:
        items = [str(self.root / item) for item in FOLDERS]
        items += ["$ORIGIN", "${ORIGIN}/../a", "$ORIGIN/../b", "/nowhere"]
        items += ["$ORIGINAL", "$LIB"] if self.loader == GLIBC else []
        return ":".join(self.random.sample(items, self.random.randint(1, 3)))

    def _write(self, name: str, made: Object) -> None:
        path = self.root / name
        path.write_bytes(made.build())
        path.chmod(0o755)

    def programs(self) -> list[Path]:
        return sorted(self.root.glob("bin*"))


def traced(command: list[str], env: dict[str, str]) -> tuple[dict[str, str], set[str]]:
    """Return what a real loader says: paths by name, and what is not found."""
    ran = subprocess.run(command, env=env, check=False, capture_output=True, text=True, cwd="/")
    there, missing = {}, set()
    for line in (ran.stdout + ran.stderr).splitlines():
        if (match := _FOUND.match(line)) is not None:
            there[match[1]] = match[2]
        for pattern in _MISSING:
            if (match := pattern.match(line)) is not None:
                missing.add(match[1])
    return there, missing


def levels() -> list[str]:
    """Return the levels that this processor has, as the loader says."""
    said = subprocess.run([GLIBC, "--help"], capture_output=True, text=True, check=True).stdout
    return re.findall(r"(x86-64-v[234]) \(supported, searched\)", said)


def system() -> Files:
    """Return the loader and libc of this machine, at the paths that lead to them."""
    files: dict[str, bytes | str | Put] = {}
    for path in (GLIBC, "/lib/x86_64-linux-gnu/libc.so.6", "/etc/ld.so.cache"):
        files[str(Path(path).resolve())] = Put(data=Path(path).resolve().read_bytes())
    files |= {"/lib": "usr/lib", "/lib64": "usr/lib64", "/usr/lib64": Put(data=None), "/etc": Put(data=None)}
    if not Path(GLIBC).resolve().samefile(f"/usr/{GLIBC}"):  # a symlink of the package
        raise AssertionError
    files["/usr" + GLIBC] = str(Path(GLIBC).resolve())
    return files


@pytest.mark.parametrize("seed", range(WORLDS))
def test_glibc_finds_the_same(tmp_path: Path, seed: int) -> None:
    world = World(root=tmp_path / "w", seed=seed, loader=GLIBC)
    made = image({**system(), **of_folder(world.root)}, Env=[f"{name}={value}" for name, value in world.env.items()])
    with opened(made, cache=None, account=Account()) as facts:
        facts.levels = tuple(levels())
        loaders = Loaders(facts=facts)
        for path in world.programs():
            there, missing = traced([str(path)], {**world.env, "LD_TRACE_LOADED_OBJECTS": "1"})
            found = facts.view.file(str(path))
            assert found is not None
            loaded = loaders.of(found)
            assert loaded is not None
            if not loaded.program.dynamic.needed:
                continue  # the loader calls that static, whatever is preloaded
            names = {item.name: item.at for item in loaded.libraries if "/" not in item.name}
            assert (names, {item.name for item in loaded.missing}) == (
                {name: at for name, at in there.items() if "/" not in name}, missing,
            ), (path, world.env)  # fmt: skip
            assert len(loaded.objects) > 1 or not loaded.program.dynamic.needed or missing


@pytest.mark.parametrize("seed", range(WORLDS))
def test_musl_finds_the_same(tmp_path: Path, seed: int, musl: Files) -> None:
    world = World(root=tmp_path / "w", seed=seed, loader=MUSL)
    world.env.pop("LD_PRELOAD", None)
    made = image({**musl, **of_folder(world.root)}, Env=[f"{name}={value}" for name, value in world.env.items()])
    with opened(made, cache=None, account=Account()) as facts:
        loaders = Loaders(facts=facts)
        for path in world.programs():
            there, missing = traced([MUSL, "--list", str(path)], world.env)
            found = facts.view.file(str(path))
            assert found is not None
            loaded = loaders.of(found)
            assert loaded is not None
            there = {name: at for name, at in there.items() if "/" not in name}
            names = {item.name: item.at for item in loaded.libraries if "/" not in item.name}
            assert (names, {item.name for item in loaded.missing}) == (there, missing), (path, world.env)


@pytest.fixture(scope="module")
def musl() -> Files:
    if not Path(MUSL).exists():
        if os.environ.get("RUNTIMEIMG_REQUIRE_SERVICES"):
            pytest.fail("musl is not installed; run 'scripts/services install'")
        pytest.skip("musl is not installed")
    return {MUSL: Put(data=Path(MUSL).read_bytes()), **of_folder(*Path("/etc").glob("ld-musl-*.path"))}


def test_the_table_of_this_machine_is_read_as_ldconfig_prints_it() -> None:
    said = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    printed = re.findall(r"^\t(\S+) \(.*\) => (\S+)$", said, re.MULTILINE)
    table = parse(Path("/etc/ld.so.cache").read_bytes())
    assert sorted((name, path) for name, several in table.entries.items() for path, _ in several) == sorted(printed)
    assert len(printed) > 20


def test_a_broken_table_is_none() -> None:
    whole = Path("/etc/ld.so.cache").read_bytes()
    rng = random.Random(1)
    for _ in range(300):
        cut = bytearray(whole[: rng.randrange(len(whole))])
        for _ in range(rng.randrange(8)):
            if cut:
                cut[rng.randrange(len(cut))] = rng.randrange(256)
        assert len(parse(bytes(cut)).entries) <= len(whole)


SCRIPT = """
for f in "$@"; do echo "== $f"; LD_TRACE_LOADED_OBJECTS=1 /lib64/ld-linux-x86-64.so.2 "$f" 2>&1; done
"""


@pytest.mark.engine
def test_programs_and_libraries_of_debian_resolve_as_its_own_loader_resolves_them(engine: object) -> None:
    """More than 300, file for file."""
    made = open_one(Location.parse(f"docker-daemon:{DEBIAN}"), None, StoreOptions())
    with opened(made, cache=None, account=Account()) as facts:
        loaders = Loaders(facts=facts)
        files = [file for top in ("/usr/bin", "/usr/sbin", "/usr/lib", "/usr/libexec") for file in facts.view.walk(top)]
        files = [file for file in files if file.is_file and (file.mode & 0o111 or ".so" in file.path)]
        facts.objects.fetch(files)
        mine = {}
        loader = loaders.named(GLIBC)
        assert loader is not None
        from runtimeimg.check.loader.walk import closure

        for file in files:
            dynamic = facts.objects.of(file)
            if dynamic is None or not dynamic.loads or "ld-linux" in file.path:
                continue
            loaded = closure(loader, file)
            mine[file.path] = (
                {item.name: item.at for item in loaded.libraries},
                {item.name for item in loaded.missing},
            )
    assert len(mine) > 300
    said = subprocess.run(
        ["docker", "run", "--rm", "-i", DEBIAN, "sh", "-c", SCRIPT, "sh", *mine],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    real: dict[str, tuple[dict[str, str], set[str]]] = {}
    for block in said.split("== ")[1:]:
        name, _, rest = block.partition("\n")
        there = dict(match.groups() for line in rest.splitlines() if (match := _FOUND.match(line)) is not None)
        real[name] = (there, {match[1] for line in rest.splitlines() if (match := _MISSING[0].match(line)) is not None})
    for path, (names, missing) in mine.items():
        wanted = {name: at for name, at in names.items() if not name.startswith(("ld-linux", "/"))}
        assert (wanted, missing) == real[path], path
