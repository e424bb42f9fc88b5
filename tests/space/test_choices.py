"""Menus: every digit picks another value, the first by weight; and combinations and multisets are numbers."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, combinations_with_replacement
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyscene.space.choices import Menus, build_menus
from anyscene.space.combinations import combination, combination_rank, multiset, multiset_rank

sizes_of_types = st.lists(st.integers(0, 12), min_size=1, max_size=6).filter(any)


def menus_of(menus: list[list[int]], width: int = 1, weights: list[float] | None = None) -> Menus:
    """Menus with so many values of each type; values are 100 * type + number, the same in every menu."""
    types = max(map(len, menus))
    lists = [[np.arange(100 * kind, 100 * kind + size, dtype=np.int64) for kind, size in enumerate(sizes)] for sizes in menus]
    return build_menus(lists, np.array(weights or [1.0] * types), width)


def picked(menus: Menus, menu: int, digits: list[int], key: int) -> list[list[int]]:
    """The competitors of every pick."""
    count = len(digits)
    place, begin, length = menus.pick(
        np.full(count, menu, dtype=np.int64), np.array(digits, dtype=np.int64), np.full(count, key, dtype=np.uint64)
    )
    return [
        [int(menus.values[b + (p + c) % n]) for c in range(min(menus.width, n))]
        for p, b, n in zip(place.tolist(), begin.tolist(), length.tolist(), strict=True)
    ]


@settings(max_examples=200, deadline=None)
@given(sizes_of_types, st.integers(0, 2**64 - 1))
def test_every_digit_picks_another_value_until_all_were_picked(sizes: list[int], key: int) -> None:
    menus = menus_of([sizes])
    assert menus.radix.tolist() == [sum(sizes)]
    found = [one for (one,) in picked(menus, 0, list(range(sum(sizes))), key)]
    assert sorted(found) == [100 * kind + i for kind, size in enumerate(sizes) for i in range(size)]


@settings(max_examples=200, deadline=None)
@given(sizes_of_types, st.integers(2, 16), st.integers(0, 2**64 - 1))
def test_competitors_of_different_digits_never_overlap(sizes: list[int], width: int, key: int) -> None:
    menus = menus_of([sizes], width)
    picks = picked(menus, 0, list(range(int(menus.radix[0]))), key)
    assert menus.radix[0] == sum(size // min(width, size) for size in sizes if size)
    values = [value for own in picks for value in own]
    assert len(set(values)) == len(values)
    assert all(len({value // 100 for value in own}) == 1 and len(own) == min(width, sizes[own[0] // 100]) for own in picks)


@settings(max_examples=60, deadline=None)
@given(st.lists(sizes_of_types, min_size=2, max_size=5), st.integers(0, 2**64 - 1))
def test_menus_do_not_touch_each_other(several: list[list[int]], key: int) -> None:
    """Menus of one call, each as if it were the only one; the turns through the types go on for the same types."""
    together = menus_of(several)
    for number, sizes in enumerate(several):
        assert together.radix[number] == sum(sizes)
        found = [one for (one,) in picked(together, number, list(range(sum(sizes))), key)]
        assert sorted(found) == [100 * kind + i for kind, size in enumerate(sizes) for i in range(size)]


def test_turns_go_through_the_types() -> None:
    """Three types: any three digits of a lap pick one of each."""
    found = [one // 100 for (one,) in picked(menus_of([[9, 9, 9]]), 0, list(range(27)), 5)]
    assert all(set(found[i : i + 3]) == {0, 1, 2} for i in range(0, 27, 3))


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [3.0, 1.0, 0.5], [0.0, 1.0, 2.0]])
def test_the_first_pick_follows_the_weights_whatever_the_sizes(weights: list[float]) -> None:
    menus = menus_of([[90, 10, 2]], weights=weights)
    count = 12_000
    zero = np.zeros(count, dtype=np.int64)
    place, begin, _ = menus.pick(zero, zero, np.arange(count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    values = menus.values[begin + place]
    found = Counter((values // 100).tolist())
    for kind, weight in enumerate(weights):
        assert found[kind] / count == pytest.approx(weight / sum(weights), abs=0.02)
    big = Counter(values[values < 100].tolist())
    if weights[0]:
        assert len(big) == 90 and max(big.values()) < 3 * min(big.values())


def test_only_weightless_types_are_drawn_alike() -> None:
    found = {picked(menus_of([[5, 5]], weights=[0.0, 0.0]), 0, [0], key)[0][0] // 100 for key in range(0, 1 << 20, 1 << 14)}
    assert found == {0, 1}


def test_a_menu_without_values_has_no_pick() -> None:
    assert menus_of([[0, 0], [2, 0]]).radix.tolist() == [0, 2]
    assert build_menus([], np.ones(3), 1).radix.tolist() == []


# ---- combinations -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("values", "size"), [(6, 0), (6, 1), (6, 2), (7, 3), (7, 5), (6, 6)])
def test_combinations_are_numbered_without_a_gap(values: int, size: int) -> None:
    found = [combination(rank, size) for rank in range(comb(values, size))]
    assert sorted(map(tuple, found)) == sorted(combinations(range(values), size))
    assert [combination_rank(one) for one in found] == list(range(len(found)))


@pytest.mark.parametrize(("values", "size"), [(5, 1), (5, 2), (4, 4), (1, 3), (3, 5)])
def test_multisets_are_numbered_without_a_gap(values: int, size: int) -> None:
    found = [multiset(rank, size) for rank in range(comb(values + size - 1, size))]
    assert {tuple(sorted(one)) for one in found} == set(combinations_with_replacement(range(values), size))
    assert [multiset_rank(sorted(one, reverse=True)) for one in found] == list(range(len(found)))


@given(st.integers(0, 1 << 300), st.integers(1, 12))
def test_any_number_is_a_combination_and_a_multiset(rank: int, size: int) -> None:
    one = combination(rank, size)
    assert one == sorted(set(one)) and len(one) == size and combination_rank(one) == rank
    assert multiset_rank(sorted(multiset(rank, size), reverse=True)) == rank


@given(st.lists(st.integers(0, 1 << 60), min_size=1, max_size=8, unique=True))
def test_any_set_has_its_number(values: list[int]) -> None:
    assert combination(combination_rank(sorted(values)), len(values)) == sorted(values)
    falling = sorted(values, reverse=True)
    assert sorted(multiset(multiset_rank(falling), len(values))) == sorted(values)
