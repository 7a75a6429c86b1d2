"""Cycles, against a search that is written apart."""

import random
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimeimg.configgraph import walks
from runtimeimg.errors import UnavailableError

EDGES = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh")), max_size=14)


def has_cycle(edges: list[tuple[str, str]]) -> bool:
    left = set(edges)
    while True:
        ends = {target for _, target in left}
        kept = {(source, target) for source, target in left if source in ends}
        if kept == left:
            return bool(left)
        left = kept


@given(EDGES)
def test_a_cycle_is_found_where_there_is_one(edges: list[tuple[str, str]]) -> None:
    cycles = walks.cycles(edges)
    assert bool(cycles) == has_cycle(edges)
    assert [found[0] for found in cycles] == sorted({found[0] for found in cycles})
    for found in cycles:
        assert set(zip(found, [*found[1:], found[0]], strict=True)) <= set(edges)
        assert len(set(found)) == len(found)
        assert found[0] == min(found)


def test_the_same_cycle_whatever_the_order() -> None:
    edges = [(str(number), str((number * 7 + 3) % 40)) for number in range(40)]
    first = walks.cycles(edges)
    for _ in range(20):
        random.shuffle(edges)
        assert walks.cycles(edges) == first


def test_a_long_chain_without_and_with_a_way_back() -> None:
    chain = [(f"{number:06}", f"{number + 1:06}") for number in range(100_000)]
    assert walks.cycles(chain) == []
    (found,) = walks.cycles([*chain, ("100000", "000000")])
    assert len(found) == 100_001


def test_every_group_has_a_cycle_and_many_take_no_long_time() -> None:
    pairs = [(f"{number:06}a", f"{number:06}b") for number in range(25_000)]
    edges = [
        *pairs,
        *((target, source) for source, target in pairs),
        *((one[0], two[0]) for one, two in pairwise(pairs)),
    ]
    assert walks.cycles(edges) == pairs


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rustworkx", None)
    with pytest.raises(UnavailableError, match="rustworkx") as caught:
        walks.cycles([("a", "b")])
    assert caught.value.hint == "pip install 'runtimeimg[graph]'"
