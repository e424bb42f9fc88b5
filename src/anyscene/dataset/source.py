"""Where rows come from: anything that can make any range of them, always the same."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa

from anyscene.dataset.schema import record_schema
from anyscene.errors import RecordError

__all__ = ["RecordSource", "records_between"]


@runtime_checkable
class RecordSource(Protocol):
    """Makes the rows of a dataset. It must be picklable: worker processes get a copy each."""

    def table(self, start: int, stop: int, *, questions: bool = True) -> pa.Table:
        """Rows `[start, stop)` with the columns of `record_schema(questions)`: a pure function of the source and the range.

        Strings may be dictionary-encoded anywhere, which makes writing faster; files hold plain strings either way.
        """
        ...

    @property
    def capacity(self) -> int:
        """How many rows there are: ranges end here at the latest."""
        ...

    def manifest(self) -> dict[str, object]:
        """What identifies the rows exactly, as JSON values: spec, its digest, seed, versions, options."""
        ...


def records_between(source: RecordSource, start: int, stop: int, questions: bool) -> pa.Table:
    """Rows `[start, stop)` of the source in one chunk, proven to be those that were asked for.

    Raises:
        RecordError: The source gave other columns, another number of rows, rows of another index, or rows with a value missing.
    """
    table = source.table(start, stop, questions=questions)
    schema = record_schema(questions)
    if table.column_names != schema.names:
        raise RecordError(f"The source gave the columns {table.column_names}; a record has {schema.names}.")
    for found, wanted in zip(table.schema, schema, strict=True):
        if plain_type(found.type) != wanted.type:
            raise RecordError(f"The source gave the column {found.name!r} as {found.type}; it is {wanted.type}.")
    if not np.array_equal(table["index"].to_numpy(), np.arange(start, stop)):
        raise RecordError(f"The source was asked for the rows {start} to {stop - 1} and gave {table.num_rows} rows that are not these.")
    if any(_has_null_entry(column.type, chunk) for column in table.columns for chunk in column.chunks):
        table = table.cast(schema)  # neither can Arrow merge dictionaries with a null entry nor Parquet write them
    if missing := [name for name in schema.names if name != "plausibility" and table[name].null_count]:
        raise RecordError(f"The source gave rows without {', '.join(missing)}.")
    return table.combine_chunks()


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type with every dictionary-encoding taken away."""
    if pa.types.is_dictionary(kind):
        return kind.value_type
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, plain_type(field.type)) for field in kind.fields])
    if pa.types.is_list(kind):
        return pa.list_(plain_type(kind.value_type))
    return kind


def _has_null_entry(kind: pa.DataType, array: pa.Array) -> bool:
    if pa.types.is_dictionary(kind):
        return bool(array.dictionary.null_count)
    if pa.types.is_struct(kind):
        return any(_has_null_entry(field.type, array.field(i)) for i, field in enumerate(kind.fields))
    return pa.types.is_list(kind) and _has_null_entry(kind.value_type, array.values)
