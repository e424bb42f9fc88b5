from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from fake_source import FakeSource
from hypothesis import given
from hypothesis import strategies as st

from anyscene.dataset.json_text import json_lines, json_text

TEXTS = st.one_of(st.text(max_size=8), st.text('"\\/\b\n\t\0\x1f\x7f\u2028é', max_size=8))


def values_of(array: pa.Array) -> list[Any]:
    return [json.loads(text) for text in json_text(array).to_pylist()]


@given(st.lists(st.none() | TEXTS))
def test_strings_read_back(strings: list[str | None]) -> None:
    array = pa.array(strings, pa.string())
    assert values_of(array) == strings
    assert values_of(array.dictionary_encode()) == strings
    assert values_of(array.cast(pa.large_string())) == strings
    assert values_of(array[1:]) == strings[1:]


NESTED = pa.struct([("a b", pa.list_(pa.string())), ("n", pa.int32()), ("s", pa.list_(pa.struct([("x", pa.string())])))])


@given(
    st.lists(
        st.none()
        | st.fixed_dictionaries(
            {
                "a b": st.none() | st.lists(st.none() | TEXTS, max_size=3),
                "n": st.none() | st.integers(-(2**31), 2**31 - 1),
                "s": st.lists(st.none() | st.fixed_dictionaries({"x": TEXTS}), max_size=3),
            }
        ),
        max_size=6,
    ),
    st.integers(0, 3),
)
def test_nested_values_and_slices_read_back(values: list[Any], first: int) -> None:
    array = pa.array(values, NESTED)
    assert values_of(array) == values
    assert values_of(array[first:]) == values[first:]
    assert values_of(pa.array([values, None, values[1:]], pa.list_(NESTED))[1:]) == [None, values[1:]]


@given(st.lists(st.floats(width=32)))
def test_floats_are_shortest_decimals_and_what_is_no_number_is_null(floats: list[float]) -> None:
    texts = json_text(pa.array(floats, pa.float32())).to_pylist()
    for text, value in zip(texts, floats, strict=True):
        if math.isfinite(value):
            assert isinstance(json.loads(text), float)
            assert np.float32(text) == np.float32(value)
        else:
            assert text == "null"
    assert json_text(pa.array([0.1, 1, 1e-7], pa.float32())).to_pylist() == ["0.1", "1.0", "1e-7"]


def test_text_is_compact_and_in_column_order() -> None:
    table = pa.table({"b": ['say "hi"', "é\n"], "a": [[1], []]})
    assert json_lines(table, end="\n").to_pylist() == ['{"b":"say \\"hi\\"","a":[1]}\n', '{"b":"é\\n","a":[]}\n']


def test_whole_records_agree_with_pyarrow() -> None:
    table = FakeSource().table(0, 300)
    rows = [json.loads(line) for line in json_lines(table).to_pylist()]
    expected = table.to_pylist()
    for row, wanted in zip(rows, expected, strict=True):
        assert np.float32(row.pop("plausibility")) == np.float32(wanted.pop("plausibility"))
    assert rows == expected


def test_what_records_do_not_hold_is_refused() -> None:
    with pytest.raises(TypeError, match="bool"):
        json_text(pa.array([True]))
