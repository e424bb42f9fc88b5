"""Text out of tokens: every sentence is a run of numbers into one list of strings, joined by Arrow in one pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


def join_tokens(strings: pa.StringArray, tokens: IntArray, starts: IntArray) -> pa.StringArray:
    """One string for each run of tokens.

    Taking the tokens out of ``strings`` lays their bytes one behind the other; a text is then a slice of these bytes.

    Args:
        strings: the token list.
        tokens: ``(tokens,)`` positions in it.
        starts: ``(texts + 1,)`` where each text begins.
    """
    taken = strings.take(pa.array(tokens.astype(np.int32)))
    _, offsets, data = taken.buffers()
    ends = np.frombuffer(offsets, dtype=np.int32, count=len(tokens) + 1)[starts]
    return pa.StringArray.from_buffers(len(starts) - 1, pa.py_buffer(ends), data)


def choose(strings: pa.StringArray, index: IntArray) -> pa.DictionaryArray:
    """Strings by position, as a dictionary of those that occur (Parquet writes that without hashing them)."""
    used = np.zeros(len(strings), dtype=np.bool_)
    used[index] = True
    place = np.cumsum(used) - 1
    return pa.DictionaryArray.from_arrays(pa.array(place[index].astype(np.int32)), strings.take(pa.array(np.flatnonzero(used))))


@dataclass(frozen=True)
class Template:
    """A text with places: ``kind`` says which column a token comes from, ``local`` which element of the row."""

    kind: IntArray
    local: IntArray

    @classmethod
    def of(cls, places: list[tuple[int, int]]) -> Template:
        """From (kind, local) pairs."""
        table = np.array(places, dtype=np.int64).reshape(-1, 2)
        return cls(table[:, 0].copy(), table[:, 1].copy())


def fill_templates(
    templates: list[Template], which: IntArray, columns: list[IntArray], row_starts: list[IntArray]
) -> tuple[IntArray, IntArray]:
    """Tokens of every row.

    Args:
        templates: distinct templates.
        which: ``(rows,)`` template of each row.
        columns: one flat token column a kind.
        row_starts: ``[kind]`` ``(rows,)`` where the elements of each row begin in that column.

    Returns:
        ``(tokens, starts)`` for ``join_tokens``.
    """
    if not templates:
        return np.zeros(0, dtype=np.int64), np.zeros(1, dtype=np.int64)
    sizes = np.array([len(one.kind) for one in templates], dtype=np.int64)
    first = np.cumsum(sizes) - sizes
    kind = np.concatenate([one.kind for one in templates])
    local = np.concatenate([one.local for one in templates])
    lengths = np.array([len(column) for column in columns], dtype=np.int64)
    base = np.cumsum(lengths) - lengths
    counts = sizes[which]
    starts = np.zeros(len(which) + 1, dtype=np.int64)
    np.cumsum(counts, out=starts[1:])
    place = np.arange(starts[-1]) + np.repeat(first[which] - starts[:-1], counts)
    origin = np.stack([own + begin for own, begin in zip(row_starts, base, strict=True)], axis=1).ravel()
    row = np.repeat(np.arange(len(which)) * len(columns), counts)
    return np.concatenate(columns)[origin[row + kind[place]] + local[place]], starts
