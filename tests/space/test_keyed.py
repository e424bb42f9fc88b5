"""Keyed bijections: nothing drawn twice, nothing left out, and the same on every machine."""

from __future__ import annotations

import itertools
from collections import Counter
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyscene.scene.keyed import MASK, key_of, mix, mix_int, permutation, permute_int, shuffle_digits

keys = st.integers(0, MASK)
sizes_of_digits = st.lists(st.integers(1, 9), min_size=1, max_size=6).filter(lambda sizes: prod(sizes) <= 3000)


def digits_of(numbers: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    digits = []
    for size in sizes:
        digits.append(numbers % np.uint64(size))
        numbers = numbers // np.uint64(size)
    return digits


def shuffled(sizes: list[int], key: int) -> list[tuple[int, ...]]:
    count = prod(sizes)
    rows = np.arange(count, dtype=np.uint64)
    ranges = [np.full(count, size, dtype=np.uint64) for size in sizes]
    moved = shuffle_digits(digits_of(rows, sizes), ranges, np.full(count, key, dtype=np.uint64))
    return list(zip(*(digit.tolist() for digit in moved), strict=True))


@settings(max_examples=150, deadline=None)
@given(sizes_of_digits, keys)
def test_shuffled_digits_are_all_digits_once(sizes: list[int], key: int) -> None:
    found = shuffled(sizes, key)
    assert len(set(found)) == prod(sizes)
    assert all(0 <= digit < size for row in found for digit, size in zip(row, sizes, strict=True))


def test_shuffled_digits_depend_on_the_key_and_on_nothing_else() -> None:
    assert shuffled([7, 5, 9], 3) == shuffled([7, 5, 9], 3)
    assert sum(a == b for a, b in zip(shuffled([7, 5, 9], 3), shuffled([7, 5, 9], 4), strict=True)) < 20


def test_one_digit_is_only_turned() -> None:
    """Without other digits there is nothing to hash: the rows keep their cyclic order."""
    found = [row[0] for row in shuffled([11], 8)]
    assert sorted(found) == list(range(11)) and {(b - a) % 11 for a, b in itertools.pairwise(found)} == {1}


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(sizes_of_digits.map(lambda sizes: (sizes + [1] * 6)[:6]), keys), min_size=2, max_size=5),
    st.randoms(use_true_random=False),
)
def test_rows_of_many_sizes_and_keys_do_not_touch_each_other(groups: list[tuple[list[int], int]], rng) -> None:  # type: ignore[no-untyped-def]
    """Rows of one batch, each with its own ranges and key, shuffled together as apart."""
    rows = [(group, number) for group, (sizes, _) in enumerate(groups) for number in range(prod(sizes))]
    rng.shuffle(rows)
    rows = rows[:500]
    columns = []
    for place in range(6):
        columns.append(np.array([number // prod(groups[g][0][:place]) % groups[g][0][place] for g, number in rows], dtype=np.uint64))
    ranges = [np.array([groups[g][0][place] for g, _ in rows], dtype=np.uint64) for place in range(6)]
    together = shuffle_digits(columns, ranges, np.array([groups[g][1] for g, _ in rows], dtype=np.uint64))
    apart = [shuffled(sizes, key) for sizes, key in groups]
    assert list(zip(*(column.tolist() for column in together), strict=True)) == [apart[g][number] for g, number in rows]


def test_the_arguments_of_a_shuffle_are_left_as_they_are() -> None:
    digits, sizes, key = [np.arange(6, dtype=np.uint64)] * 2, [np.full(6, 6, dtype=np.uint64)] * 2, np.full(6, 9, dtype=np.uint64)
    shuffle_digits(digits, sizes, key)
    assert digits[0].tolist() == list(range(6)) and (sizes[0] == 6).all() and (key == 9).all()


def test_shuffled_digits_are_mixed() -> None:
    """Neighbouring rows are far apart, and every digit takes every value about equally often in any stretch."""
    found = np.array(shuffled([10, 10, 30], 5))
    for place, size in enumerate((10, 10, 30)):
        counts = np.bincount(found[:900, place], minlength=size)
        assert (abs(counts - 900 / size) < 5 * (900 / size) ** 0.5).all()
    assert (found[:-1] == found[1:]).all(axis=1).sum() == 0 and (found[:-1, 2] == found[1:, 2]).mean() < 0.1


# ---- integers -----------------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 1500), keys)
def test_integers_are_permuted(size: int, key: int) -> None:
    assert sorted(permute_int(value, size, key) for value in range(size)) == list(range(size))


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 1 << 400), keys, st.data())
def test_integers_of_any_length_stay_inside_and_apart(size: int, key: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=20, unique=True))
    found = [permute_int(value, size, key) for value in values]
    assert len(set(found)) == len(values) and all(0 <= value < size for value in found)


@pytest.mark.parametrize("bits", [10, 63, 64, 65, 127, 128, 129, 200, 1000])
def test_integers_are_spread(bits: int) -> None:
    """Both halves of all numbers, about equally; neighbours are no neighbours."""
    size = (1 << bits) + 1
    found = [permute_int(value, size, 77) for value in range(400)]
    assert 140 < sum(value < size // 2 for value in found) < 260
    assert sum(abs(a - b) < size // 50 for a, b in itertools.pairwise(found)) < 40


def test_keys_give_different_permutations_of_integers() -> None:
    found = [tuple(permute_int(value, 10**30, key) for value in range(5)) for key in range(50)]
    assert len(set(found)) == 50


# ---- hashes -------------------------------------------------------------------------------------------------------------------


@given(st.lists(keys, max_size=20))
def test_one_integer_is_mixed_as_many_are(values: list[int]) -> None:
    before = np.array(values, dtype=np.uint64)
    after = mix(before)
    assert after.tolist() == [mix_int(value) for value in values]
    assert before.tolist() == values


def test_mixing_is_the_finaliser_of_splitmix64() -> None:
    """Known values: the generator of Steele, Lea and Flood with seed 0 gives these."""
    golden = 0x9E3779B97F4A7C15
    assert [mix_int(golden * i) for i in (1, 2, 3)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_mixing_loses_nothing() -> None:
    values = np.arange(1 << 16, dtype=np.uint64) << np.uint64(48)
    assert len(np.unique(mix(values))) == len(values)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 500), keys)
def test_a_shuffle_has_every_place_once(size: int, key: int) -> None:
    assert sorted(permutation(size, key).tolist()) == list(range(size))


def test_shuffles_are_even() -> None:
    found = Counter(tuple(permutation(3, key_of("shuffle", i)).tolist()) for i in range(6000))
    assert len(found) == 6 and all(850 < count < 1150 for count in found.values())


def test_keys_tell_their_parts_apart() -> None:
    found = {key_of("a", 1), key_of("a1"), key_of("a", "1", ""), key_of("", "a", 1), key_of("a", 2), key_of()}
    assert len(found) == 6 and all(0 <= key <= MASK for key in found)


def test_draws_never_change() -> None:
    """Golden: another number here would be another dataset for every seed."""
    assert key_of("rows", 0) == 0xFC36AD8E6D09BA5
    assert permutation(8, 5).tolist() == [5, 0, 6, 4, 3, 7, 1, 2]
    assert [permute_int(value, 10**20, 5) for value in (0, 1)] == [45409863193730056730, 54042090913891407520]
    assert shuffled([3, 4], 1)[:4] == [(1, 3), (2, 0), (0, 1), (0, 2)]
