"""Rows straight into Hugging Face `datasets`, without files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from anyscene.dataset.plan import ROWS_PER_CHUNK, make_plan
from anyscene.dataset.schema import record_schema
from anyscene.dataset.source import RecordSource, records_between
from anyscene.errors import MissingExtraError

if TYPE_CHECKING:
    import datasets

__all__ = ["to_datasets"]


def to_datasets(source: RecordSource, n: int, start: int = 0, *, questions: bool = True) -> datasets.Dataset:
    """Rows `[start, start + n)` of the source as a `datasets.Dataset` in memory.

    For more rows than fit there, `generate` them and `datasets.load_dataset("parquet", ...)` the files.

    Raises:
        MissingExtraError: `datasets` is not installed.
        SpecError: `n` or `start` is out of range.
    """
    make_plan(source, n, start=start, format="parquet", shards=None, workers=1, questions=questions)
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError("Handing rows to Hugging Face datasets", "datasets") from error
    schema = record_schema(questions)
    stop = start + n
    chunks = [
        records_between(source, first, min(first + ROWS_PER_CHUNK, stop), questions).cast(schema)
        for first in range(start, stop, ROWS_PER_CHUNK)
    ]
    return datasets.Dataset(pa.concat_tables(chunks))
