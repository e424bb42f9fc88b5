from __future__ import annotations

from itertools import pairwise

import pytest
from fake_source import FakeSource
from hypothesis import given
from hypothesis import strategies as st

from anyscene.dataset.plan import Plan, is_shard_name, make_plan


def plan_of(n: int, *, format: str = "parquet", shards: int | None = None, workers: int = 1, adopt: object = None) -> Plan:
    return make_plan(FakeSource(), n, start=0, format=format, shards=shards, workers=workers, questions=True, adopt=adopt)


@pytest.mark.parametrize(
    ("n", "format", "workers", "shards"),
    [
        (1, "parquet", 8, 1),
        (3, "parquet", 2, 2),
        (250_000, "parquet", 1, 1),
        (250_001, "parquet", 1, 2),
        (1_000_000, "parquet", 3, 4),
        (100_001, "jsonl", 1, 2),
        (1_000_000, "webdataset", 16, 16),
    ],
)
def test_default_shards_are_bounded_and_at_least_the_workers(n: int, format: str, workers: int, shards: int) -> None:
    assert plan_of(n, format=format, workers=workers).shards == shards


@given(st.integers(1, 10**12), st.integers(1, 500), st.integers(0, 10**12))
def test_shards_tile_the_rows_evenly(n: int, shards: int, start: int) -> None:
    shards = min(shards, n)
    ranges = [Plan({}, n, start, "parquet", shards, True).rows(shard) for shard in range(shards)]
    assert ranges[0].start == start and ranges[-1].stop == start + n
    assert all(before.stop == after.start for before, after in pairwise(ranges))
    assert {len(rows) for rows in ranges} <= {n // shards, -(-n // shards)}


def test_shards_are_adopted_only_from_the_same_run() -> None:
    assert plan_of(30, adopt=plan_of(30, shards=7).identity()).shards == 7
    assert plan_of(30, adopt=plan_of(31, shards=7).identity()).shards == 1
    assert plan_of(30, shards=2, adopt=plan_of(30, shards=7).identity()).shards == 2
    assert plan_of(30, adopt={"shards": "7"}).shards == 1


def test_names_of_shards_are_known_again() -> None:
    assert plan_of(30, shards=16).name(3) == "records-00003-of-00016.parquet"
    assert plan_of(30, format="webdataset").name(0) == "records-00000-of-00001.tar"
    assert all(is_shard_name(plan_of(30, shards=3, format=format).name(2)) for format in ("parquet", "jsonl", "webdataset"))
    assert not any(
        is_shard_name(name) for name in ("records.parquet", "records-1-of-2.parquet", "x-records-00000-of-00001.tar", "run.json")
    )
