"""Hostile layers leave everything outside as it was, hang nowhere, and give the specified tree or one clear error."""

import os
from pathlib import Path

import pytest

from runtimeimg.errors import RuntimeimgError
from runtimeimg.unpack import unpack
from tests.compose.images import MemoryLayer, image
from tests.unpack import rawattacks
from tests.unpack.attacks import ATTACKS, Attack
from tests.unpack.layouts import unfolded
from tests.unpack.trees import tree

assert rawattacks  # which adds its own to the list

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices are set by root")


def test_there_are_as_many_as_are_promised() -> None:
    assert len(ATTACKS) >= 120
    assert len({(attack.family, attack.name) for attack in ATTACKS}) == len(ATTACKS)


def test_the_documentation_tables_them_all() -> None:
    page = (Path(__file__).parents[2] / "docs" / "unpacking.md").read_text()
    table = page.partition("<!-- table -->")[2].partition("<!-- end -->")[0]
    rows = [row.split(" | ") for row in table.splitlines() if row.startswith("| ")]
    names = [row[0].removeprefix("| ") for row in rows if row[0] not in ("| layer", "| ---")]
    assert names == [attack.name for attack in ATTACKS]
    ours = {row[0].removeprefix("| "): row[1] for row in rows}
    assert {attack.name for attack in ATTACKS if attack.there is None} == {
        name for name, answer in ours.items() if answer.startswith("refused: ")
    }


@pytest.fixture(autouse=True)
def small_budgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes long to be too much is too much sooner, but for sweeps by hand."""
    if not os.environ.get("RUNTIMEIMG_EXAMPLES"):
        monkeypatch.setattr("runtimeimg.unpack.folders.FREE_FOLDERS", 5000)
        monkeypatch.setattr("runtimeimg.unpack.folders.FREE_STEPS", 20_000)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: f"{attack.family}: {attack.name}".replace(" ", "-"))
def test_a_hostile_layer(tmp_path: Path, attack: Attack) -> None:
    outside = tmp_path / "canary"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    os.utime(outside, (1, 1))
    os.utime(tmp_path, (2, 2))
    before = tree(outside)
    place = tmp_path / "place"
    place.mkdir()
    layers = attack.layers(os.fsencode(outside))
    expected = attack.expected(os.fsencode(outside))
    hostile = image("test", *(MemoryLayer(layer, diff_id=unfolded(layer)) for layer in layers))
    if expected is None:
        with pytest.raises(RuntimeimgError, match=attack.said):
            unpack(hostile, place / "root")
        assert list(place.iterdir()) == []
    else:
        unpack(hostile, place / "root")
        found = {name + "/" * (there.kind == "d") for name, there in tree(place / "root").items() if name}
        assert found == expected
        assert list(place.iterdir()) == [place / "root"]
    assert tree(outside) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["canary", "place"]
