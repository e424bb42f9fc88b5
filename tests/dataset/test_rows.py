"""Rows of a table as dictionaries."""

from __future__ import annotations

import random
import sys
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from anyscene.dataset.rows import BLOCK, HELD, TableRows

NUMBER = BLOCK * (HELD + 3) + 7


@pytest.fixture
def table() -> pa.Table:
    return pa.table({"number": range(NUMBER), "words": [[str(number)] * 3 for number in range(NUMBER)]})


def test_they_are_those_of_the_list(table: pa.Table) -> None:
    rows, plain = TableRows(table), table.to_pylist()
    assert len(rows) == NUMBER and list(rows) == plain
    for place in (0, 1, BLOCK - 1, BLOCK, NUMBER - 1, -1, -NUMBER):
        assert rows[place] == plain[place]
    for part in (slice(3), slice(BLOCK - 2, BLOCK + 2), slice(-3, None), slice(None, None, 500), slice(5, 2), slice(10, 2, -3)):
        assert rows[part] == plain[part]
    for place in (NUMBER, -NUMBER - 1):
        with pytest.raises(IndexError):
            rows[place]
    assert list(TableRows(table.slice(0, 0))) == []


def test_threads_read_them_in_any_order(table: pa.Table) -> None:
    rows, plain = TableRows(table), table.to_pylist()
    places = random.Random(0).choices(range(NUMBER), k=3000)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(rows.__getitem__, places)) == [plain[place] for place in places]
    finally:
        sys.setswitchinterval(before)


def test_few_are_held(table: pa.Table) -> None:
    rows = TableRows(table)
    for place in range(0, NUMBER, 10):
        assert rows[place]["number"] == place
    assert len(rows._blocks) == HELD
