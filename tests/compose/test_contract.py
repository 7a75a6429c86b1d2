"""The native builder against the real ones: generated cases, built by Docker (classic and BuildKit) and natively.

What the peers do not agree on themselves, and what was chosen, is in docs/decisions/0001-copy-semantics.md; `_agreed`
leaves exactly that out of the comparison with the classic builder.
"""

import re
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from runtimeimg.errors import BuildFailed, InvalidDocumentError, NotFoundError, UsageError
from runtimeimg.oci import Location
from runtimeimg.stores import StoreOptions, open_destination

from . import engines
from .cases import Case, case
from .images import Item, file, folder, plan, tar, write_layout

COUNT = 60
BATCH = 60
PREFIX = "runtimeimg-contract"
NAMES = (
    file("etc/passwd", b"root:x:0:0::/:/bin/sh\napp:x:1001:1002::/:/bin/sh\nstaff:x:9:9::/:\n"),
    file("etc/group", b"root:x:0:\nstaff:x:50:\n"),
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


@pytest.fixture(scope="module")
def images(cases, engine, tmp_path_factory):
    """The builder and base of all cases, in a layout and in the Engine."""
    layout = tmp_path_factory.mktemp("contract") / "layout"
    made = {
        "builder": (layers(cases, "builder", ()), {}),
        "base": (layers(cases, "base", (folder("etc"), *NAMES)), {"Cmd": ["x"]}),
    }
    write_layout(layout, made)
    for name in made:
        engines.import_layout(layout, name, f"{PREFIX}-{name}:1")
    yield layout
    for image in engine.images(name=f"{PREFIX}-*"):
        engine.remove_image(image["Id"], force=True)


def native(copies, layout, tag: str, cache) -> None:
    """Build natively, out of the layout into the Engine."""
    from runtimeimg.builders.base import BuildRequest
    from runtimeimg.builders.native import NativeBuilder

    made = plan(copies, base=f"oci:{layout}:base", builder=f"oci:{layout}:builder")
    options = StoreOptions()
    with NativeBuilder().build(BuildRequest(plan=made, stores=options, workspace=layout, cache_dir=cache)) as built:
        open_destination(Location.parse(f"docker-daemon:{tag}"), options).write(built)


def refusals(cases, layout, cache) -> dict[int, str]:
    """Return what the native builder refuses, by case."""
    refused: dict[int, str] = {}
    while True:
        accepted = [(index, one) for index, one in enumerate(cases) if index not in refused]
        owners = [index for index, one in accepted for _ in one.copies]
        try:
            native_only([copy for index, one in accepted for copy in copies_of(index, one)], layout, cache)
        except (BuildFailed, InvalidDocumentError, NotFoundError, UsageError) as error:
            place = re.match(r"copies\[(\d+)\]: ", error.message)
            assert place, error.message
            refused[owners[int(place[1])]] = error.message
        else:
            return refused


def native_only(copies, layout, cache) -> None:
    from runtimeimg.builders.base import BuildRequest
    from runtimeimg.builders.native import NativeBuilder

    made = plan(copies, base=f"oci:{layout}:base", builder=f"oci:{layout}:builder")
    with NativeBuilder().build(BuildRequest(plan=made, stores=StoreOptions(), workspace=layout, cache_dir=cache)):
        pass


def agreed(found: engines.Found, *, chown: bool) -> engines.Found:
    """Leave out what classic builds and BuildKit do differently with --chown (see the decision, rows 1 to 3)."""
    if not chown:
        return found
    if found.kind == "5" and found.time is None:
        return replace(found, uid=0, gid=0)
    return replace(found, mode=found.mode & 0o1777, xattrs=())


@pytest.mark.timeout(1200)
def test_generated_cases_give_the_same_tree_as_docker(cases, images, engine, tmp_path):
    refused = refusals(cases, images, tmp_path / "cache")
    accepted = [index for index in range(len(cases)) if index not in refused]
    assert len(accepted) >= 0.6 * COUNT, "too many of the generated cases are refused to tell much"
    wrong: list[str] = []
    for start in range(0, len(accepted), BATCH):
        batch = accepted[start : start + BATCH]
        copies = [copy for index in batch for copy in copies_of(index, cases[index])]
        tops = [f"c{index}" for index in batch]
        dockerfile = f"FROM {PREFIX}-base:1\n" + engines.copy_lines(copies, f"{PREFIX}-builder:1")
        native(copies, images, f"{PREFIX}-native:1", tmp_path / "cache")
        ours = engines.tree(engine, f"{PREFIX}-native:1", tops)
        engines.build(dockerfile, f"{PREFIX}-buildkit:1", buildkit=True)
        wrong += engines.differences(ours, engines.tree(engine, f"{PREFIX}-buildkit:1", tops))
        wrong += classic_differences(engine, dockerfile, batch, cases, ours)
    told = {index: cases[index] for index in {int(line.split("/")[0][2:]) for line in wrong}}
    assert not wrong, "\n".join([*wrong[:40], *(f"c{index}: {one}" for index, one in list(told.items())[:5])])


def classic_differences(engine, dockerfile, batch, cases, ours) -> list[str]:
    engines.build(dockerfile, f"{PREFIX}-classic:1", buildkit=False)
    theirs = engines.tree(engine, f"{PREFIX}-classic:1", [f"c{index}" for index in batch])
    owned = {f"c{index}" for index in batch if any(copy[2] for copy in cases[index].copies)}

    def normal(tree):
        return {name: agreed(found, chown=name.split("/")[0] in owned) for name, found in tree.items()}

    return engines.differences(normal(ours), normal(theirs))
