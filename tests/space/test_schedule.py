"""A schedule: every row of every child exactly once, in shares as even as capacities allow, wherever one looks it up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyscene.space.schedule import ENDLESS, Node

children = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 5)), min_size=1, max_size=7).filter(lambda one: any(c for c, _ in one))


def node_of(pairs: list[tuple[int, int]], key: int = 1) -> Node:
    return Node([capacity for capacity, _ in pairs], [weight for _, weight in pairs], key)


def all_rows(node: Node) -> list[tuple[int, int]]:
    child, inner = node.locate(np.arange(node.capacity, dtype=np.int64))
    return list(zip(child.tolist(), inner.tolist(), strict=True))


@settings(max_examples=200, deadline=None)
@given(children, st.integers(0, 2**64 - 1))
def test_every_row_of_every_child_comes_once(pairs: list[tuple[int, int]], key: int) -> None:
    node = node_of(pairs, key)
    assert node.capacity == sum(capacity for capacity, _ in pairs)
    assert sorted(all_rows(node)) == [(child, row) for child, (capacity, _) in enumerate(pairs) for row in range(capacity)]


@settings(max_examples=200, deadline=None)
@given(children, st.integers(0, 2**64 - 1))
def test_a_lap_gives_every_child_its_weight_until_it_runs_out(pairs: list[tuple[int, int]], key: int) -> None:
    """Against laps dealt one by one: after each lap every child has had as many rows as by hand."""
    node = node_of(pairs, key)
    children = [child for child, _ in all_rows(node)]
    had = [0] * len(pairs)
    start = 0
    while start < node.capacity:
        shares = [min(weight, capacity - done) for (capacity, weight), done in zip(pairs, had, strict=True)]
        lap = children[start : start + sum(shares)]
        assert [lap.count(child) for child in range(len(pairs))] == shares
        had = [done + share for done, share in zip(had, shares, strict=True)]
        start += sum(shares)


@settings(max_examples=100, deadline=None)
@given(children, st.data())
def test_any_rows_are_located_alike_in_any_order(pairs: list[tuple[int, int]], data: st.DataObject) -> None:
    node = node_of(pairs)
    whole = all_rows(node)
    some = data.draw(st.lists(st.integers(0, node.capacity - 1), max_size=40))
    child, inner = node.locate(np.array(some, dtype=np.int64))
    assert list(zip(child.tolist(), inner.tolist(), strict=True)) == [whole[row] for row in some]


@settings(max_examples=100, deadline=None)
@given(children)
def test_rows_of_a_child_within_a_stage_go_up(pairs: list[tuple[int, int]]) -> None:
    """Lap after lap: no row of a child comes more than a lap before an earlier one."""
    node = node_of(pairs)
    last = [0] * len(pairs)
    for child, row in all_rows(node):
        assert row > last[child] - pairs[child][1]
        last[child] = max(last[child], row)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1 << 80), st.integers(1, 4)), min_size=1, max_size=5), st.data())
def test_huge_children_have_no_row_twice(pairs: list[tuple[int, int]], data: st.DataObject) -> None:
    node = node_of(pairs)
    assert node.capacity == min(sum(min(capacity, 1 << 80) for capacity, _ in pairs), ENDLESS)
    if node.capacity == 0:
        return
    spots = st.one_of(st.integers(0, node.capacity - 1), st.integers(max(0, node.capacity - 50), node.capacity - 1))
    rows = sorted(set(data.draw(st.lists(spots, min_size=1, max_size=50))))
    child, inner = node.locate(np.array(rows, dtype=np.int64))
    found = set(zip(child.tolist(), inner.tolist(), strict=True))
    assert len(found) == len(rows)
    assert all(0 <= row < min(pairs[c][0], ENDLESS) for c, row in found)


def test_shares_follow_the_weights_for_ever() -> None:
    node = node_of([(1 << 70, 1), (1 << 70, 3)])
    child, _ = node.locate(np.arange(ENDLESS - 4000, ENDLESS, dtype=np.int64))
    assert (child == 1).sum() == 3000


def test_a_child_without_rows_is_never_chosen() -> None:
    assert all(child != 1 for child, _ in all_rows(node_of([(5, 1), (0, 3), (9, 2)])))


def test_nothing_to_do_is_a_schedule_of_no_rows() -> None:
    node = node_of([(0, 1), (0, 2)])
    assert node.capacity == 0
    child, inner = node.locate(np.arange(0, dtype=np.int64))
    assert len(child) == len(inner) == 0


@pytest.mark.parametrize("key", [0, 2**64 - 1])
def test_keys_turn_the_laps(key: int) -> None:
    pairs = [(100, 1)] * 8
    assert all_rows(node_of(pairs, key)) == all_rows(node_of(pairs, key))
    assert [child for child, _ in all_rows(node_of(pairs, key))][:8] != [child for child, _ in all_rows(node_of(pairs, 12345))][:8]
