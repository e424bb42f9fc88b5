"""Rows of a table as dictionaries, a few at a time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, overload

import pyarrow as pa

__all__ = ["TableRows"]

BLOCK = 256
"""Rows that are made together."""
HELD = 8
"""Blocks that are kept for whoever asks again."""


class TableRows(Sequence[dict[str, Any]]):
    """The rows of a table as dictionaries, made when they are asked for: held, they would take ten times the memory of the table.

    To be read, not changed: a change is gone when the row is made again. Any number of threads may read.
    """

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self._blocks: OrderedDict[int, list[dict[str, Any]]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for start in range(0, len(self), BLOCK):
            yield from self._table.slice(start, BLOCK).to_pylist()

    @overload
    def __getitem__(self, place: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, place: slice) -> list[dict[str, Any]]: ...

    def __getitem__(self, place: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        numbers = range(len(self))[place]
        return self._row(numbers) if isinstance(numbers, int) else [self._row(number) for number in numbers]

    def _row(self, number: int) -> dict[str, Any]:
        block, own = divmod(number, BLOCK)
        with self._lock:
            if block not in self._blocks:
                self._blocks[block] = self._table.slice(block * BLOCK, BLOCK).to_pylist()
                if len(self._blocks) > HELD:
                    self._blocks.popitem(last=False)
            self._blocks.move_to_end(block)
            return self._blocks[block][own]
