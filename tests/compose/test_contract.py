"""The native builder against the real ones: generated cases, built by Docker (classic and BuildKit) and natively.

What the peers do not agree on themselves, and what was chosen, is in docs/decisions/0001-copy-semantics.md; `_agreed`
leaves exactly that out of the comparison with the classic builder.
"""

import contextlib
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from runtimeimg.builders.base import BuildRequest
from runtimeimg.builders.native import NativeBuilder
from runtimeimg.compose import grouping
from runtimeimg.errors import BuildFailed, InvalidDocumentError, NotFoundError, UsageError
from runtimeimg.oci import Location
from runtimeimg.stores import StoreOptions, open_destination

from . import engines
from .cases import Case, case
from .engines import Found
from .images import Item, file, folder, plan, tar, write_layout

COUNT = 520
BATCH = 65
PREFIX = "runtimeimg-contract"
NAMES = (
    file("etc/passwd", b"root:x:0:0::/:/bin/sh\napp:x:1001:1002::/:/bin/sh\nstaff:x:9:9::/:\n"),
    file("etc/group", b"root:x:0:\napp:x:1002:\nstaff:x:50:\n"),
)

pytestmark = [pytest.mark.engine, pytest.mark.skopeo, pytest.mark.slow]


def collected(count: int) -> list[Case]:
    """Return generated cases, the same ones every time."""
    found: list[Case] = []

    @settings(
        max_examples=count,
        phases=[Phase.generate],
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case())
    def collect(item: Case) -> None:
        found.append(item)

    collect()
    return found


def moved(item: Item, top: str) -> Item:
    """Return an item in a case's own folder."""
    target = f"{top}/{item.target}" if item.kind == "h" else item.target
    return replace(item, path=f"{top}/{item.path}", target=target)


def layers(cases: list[Case], side: str, first: tuple[Item, ...]) -> list[bytes]:
    """Return the layers that hold all cases, each in its own folder."""
    made: list[bytes] = []
    for number in range(3):
        items = list(first) if number == 0 else []
        for index, one in enumerate(cases):
            own = getattr(one, side)
            if number < len(own):
                items += [folder(f"c{index}"), *(moved(item, f"c{index}") for item in own[number])]
        made.append(tar(items))
    return made


def copies_of(index: int, one: Case) -> list[tuple[str, str, str | None]]:
    return [(f"/c{index}/{source}", f"/c{index}/{target}", chown) for source, target, chown in one.copies]


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return collected(COUNT)


@pytest.fixture
def no_images_left(engine):
    yield
    engines.remove(engine, PREFIX)


def written(cases: list[Case], layout: Path) -> Path:
    """Put the builder and base of the cases into a layout and into the Engine."""
    made = {
        "builder": (layers(cases, "builder", ()), {}),
        "base": (layers(cases, "base", (folder("etc"), *NAMES)), {"Cmd": ["x"]}),
    }
    write_layout(layout, made)
    for name in made:
        engines.import_layout(layout, name, f"{PREFIX}-{name}:1")
    return layout


@pytest.fixture(autouse=True)
def layers_of_any_size(monkeypatch):
    """Small layers are not joined, so that there are several."""
    monkeypatch.setattr(grouping, "LEAST", 0)


@contextlib.contextmanager
def composed(copies, layout: Path, mode: grouping.Mode = "builder"):
    made = plan(copies, base=f"oci:{layout}:base", builder=f"oci:{layout}:builder")
    request = BuildRequest(
        plan=made,
        stores=StoreOptions(),
        workspace=layout,
        cache_dir=layout.parent / "cache",
        options={"layers": mode},
    )
    with NativeBuilder().build(request) as built:
        yield built


def refusals(cases: list[Case], layout: Path) -> dict[int, str]:
    """Return what the native builder refuses, by case."""
    refused: dict[int, str] = {}
    while True:
        accepted = [(index, one) for index, one in enumerate(cases) if index not in refused]
        owners = [index for index, one in accepted for _ in one.copies]
        try:
            with composed([copy for index, one in accepted for copy in copies_of(index, one)], layout):
                return refused
        except (BuildFailed, InvalidDocumentError, NotFoundError, UsageError) as error:
            number, message = re.fullmatch(r"copies\[(\d+)\]: (.*)", error.message).groups()
            refused[owners[int(number)]] = message


def agreed(ours: Found, theirs: Found, *, chown: bool) -> tuple[Found, Found]:
    """Leave out what classic builds do differently from BuildKit themselves: see the decision, "The peers differ"."""
    if theirs.kind == "5" and theirs.time is None:
        if chown:
            return ours, replace(theirs, uid=ours.uid, gid=ours.gid)
        return ours, replace(theirs, gid=ours.gid) if theirs.mode & stat.S_ISGID else theirs
    if chown:
        ours, theirs = replace(ours, mode=ours.mode & 0o1777), replace(theirs, mode=theirs.mode & 0o1777)
    return ours if theirs.xattrs else replace(ours, xattrs=()), theirs


@pytest.mark.parametrize("start", range(0, COUNT, BATCH))
def test_generated_cases_give_the_same_tree_as_docker(start, cases, engine, tmp_path, no_images_left):
    batch = cases[start : start + BATCH]
    layout = written(batch, tmp_path / "layout")
    refused = refusals(batch, layout)
    accepted = [index for index in range(len(batch)) if index not in refused]
    assert len(accepted) >= 0.6 * len(batch), "too many of the generated cases are refused to tell much"
    copies = [copy for index in accepted for copy in copies_of(index, batch[index])]
    tops = [f"c{index}" for index in accepted]
    dockerfile = f"FROM {PREFIX}-base:1\n" + engines.copy_lines(copies, f"{PREFIX}-builder:1")
    with ThreadPoolExecutor() as pool:
        classic = pool.submit(engines.build, dockerfile, f"{PREFIX}-classic:1", buildkit=False)
        engines.build(dockerfile, f"{PREFIX}-buildkit:1", buildkit=True)
        classic.result()
    owned = {f"c{index}" for index in accepted if any(copy[2] for copy in batch[index].copies)}

    def normal(name, one, other):
        return agreed(one, other, chown=name.split("/")[0] in owned)

    by_buildkit, by_classic = (engines.tree(engine, f"{PREFIX}-{name}:1", tops) for name in ("buildkit", "classic"))
    wrong = []
    for mode in grouping.MODES:
        with composed(copies, layout, mode) as built:
            assert mode == "one" or len(built.layers) > 4
            open_destination(Location.parse(f"docker-daemon:{PREFIX}-native:1"), StoreOptions()).write(built)
        ours = engines.tree(engine, f"{PREFIX}-native:1", tops)
        wrong += engines.differences(ours, by_buildkit) + engines.differences(ours, by_classic, normal)
    told = {number: batch[number] for number in {int(re.findall(r"\d+", line)[0]) for line in wrong}}
    assert not wrong, "\n".join([*wrong[:40], *(f"c{number}: {one}" for number, one in list(told.items())[:5])])


@pytest.mark.buildah
@pytest.mark.parametrize("start", range(0, 2 * BATCH, BATCH))
def test_generated_cases_give_the_same_tree_as_buildah(start, cases, engine, tmp_path, no_images_left):
    """But for names that are not UTF-8, which buildah 1.28 does not find again when a pattern matched them."""
    batch = cases[start : start + BATCH]
    layout = written(batch, tmp_path / "layout")
    refused = refusals(batch, layout)
    accepted = [index for index, one in enumerate(batch) if index not in refused and not lost_by_buildah(one)]
    assert len(accepted) >= 0.4 * len(batch), "too many of the generated cases are left out to tell much"
    copies = [copy for index in accepted for copy in copies_of(index, batch[index])]
    names = {name: f"localhost/{PREFIX}-{name}:1" for name in ("base", "builder")}
    dockerfile = f"FROM {names['base']}\n" + engines.copy_lines(copies, names["builder"])
    engines.build_by_buildah(dockerfile, f"{PREFIX}-buildah:1", layout, names, tmp_path)
    with composed(copies, layout) as built:
        open_destination(Location.parse(f"docker-daemon:{PREFIX}-native:1"), StoreOptions()).write(built)

    def normal(_, one, other):
        inherited = other.kind == "5" and other.time is None and one.mode == other.mode | stat.S_ISGID
        return (replace(one, mode=other.mode, gid=other.gid), other) if inherited else (one, other)

    tops = [f"c{index}" for index in accepted]
    ours, theirs = (engines.tree(engine, f"{PREFIX}-{name}:1", tops) for name in ("native", "buildah"))
    assert engines.differences(ours, theirs, normal) == []


def lost_by_buildah(one: Case) -> bool:
    patterns = any(set("*?[") & set(source) for source, _, _ in one.copies)
    return patterns and any("\udcff" in item.path for layer in one.builder for item in layer)


def test_what_is_refused_is_refused_by_docker_too(cases, engine, tmp_path, no_images_left):
    """BuildKit of 2020 alone takes a pattern without matches for nothing to do; classic builds and buildah refuse."""
    batch = cases[: 3 * BATCH]
    layout = written(batch, tmp_path / "layout")
    refused = list(refusals(batch, layout).items())[:24]
    assert len(refused) == 24

    def taken_by(index: int, *, buildkit: bool) -> bool:
        lines = engines.copy_lines(copies_of(index, batch[index]), f"{PREFIX}-builder:1")
        try:
            engines.build(f"FROM {PREFIX}-base:1\n{lines}", f"{PREFIX}-{index}:1", buildkit=buildkit)
        except engines.FailedError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        verdicts = pool.map(lambda item: taken_by(item[0], buildkit="nothing matches" not in item[1]), refused)
        wrong = [(batch[index], message) for (index, message), taken in zip(refused, verdicts, strict=True) if taken]
    assert not wrong
