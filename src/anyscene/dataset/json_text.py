"""Arrow arrays to JSON text, a whole column at a time.

`json_text(array)` gives one string per value, with Arrow's string kernels only: there is no Python loop over rows. A dictionary-encoded
array is spelled once per dictionary entry. The text is compact, UTF-8, keys in schema order, a float as its shortest decimal.
"""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["json_lines", "json_text", "text_buffer"]


def json_lines(table: pa.Table, end: str = "") -> pa.Array:
    """One compact JSON object per row, each followed by `end`."""
    return _objects(table.column_names, [column.chunk(0) for column in table.combine_chunks().columns], end)


def json_text(array: pa.Array) -> pa.Array:
    """The JSON text of each value; a null is `null`."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        text = pa.DictionaryArray.from_arrays(array.indices, json_text(array.dictionary)).dictionary_decode()
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        text = pc.binary_join_element_wise('"', _escaped(array.cast(pa.string())), '"', "")
    elif pa.types.is_struct(kind):
        text = _objects([child.name for child in kind.fields], array.flatten())
        text = pc.if_else(array.is_null(), None, text) if array.null_count else text
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        lists = pa.ListArray.from_arrays(_offsets(array), json_text(array.flatten()))
        text = pc.binary_join_element_wise("[", pc.binary_join(lists, ","), "]", "")
        text = pc.if_else(array.is_null(), None, text) if array.null_count else text
    elif pa.types.is_floating(kind):
        text = pc.if_else(pc.is_finite(array), array.cast(pa.string()), None)
        text = pc.if_else(pc.match_substring_regex(text, "[.e]"), text, pc.binary_join_element_wise(text, ".0", ""))  # 1.0, not 1
    elif pa.types.is_integer(kind):
        text = array.cast(pa.string())
    else:
        raise TypeError(f"records hold no {kind}")
    return text.fill_null("null") if text.null_count else text


def _objects(names: list[str], values: list[pa.Array], end: str = "") -> pa.Array:
    keys = [("{" if i == 0 else ",") + json.dumps(name) + ":" for i, name in enumerate(names)]
    parts = [part for key, value in zip(keys, values, strict=True) for part in (key, json_text(value))]
    return pc.binary_join_element_wise(*parts, "}" + end, "")


def _offsets(lists: pa.Array) -> pa.Array:
    """Offsets into `lists.flatten()`, which leaves out what nulls and slices hide."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))


def _escaped(strings: pa.Array) -> pa.Array:
    """Strings with the characters escaped that JSON strings may not hold; most columns have none, and are given back as they are."""
    data = np.frombuffer(text_buffer(strings), np.uint8)
    if not ((data < 0x20) | (data == 0x22) | (data == 0x5C)).any():
        return strings
    strings = pc.replace_substring(strings, "\\", "\\\\")
    strings = pc.replace_substring(strings, '"', '\\"')
    for code in np.unique(data[data < 0x20]).tolist():
        strings = pc.replace_substring(strings, chr(code), json.dumps(chr(code))[1:-1])
    return strings


def text_buffer(strings: pa.Array) -> memoryview:
    """The text of all the strings of an array (of 32-bit offsets), one after the other, without a copy."""
    _, offsets, data = strings.buffers()
    if not len(strings) or data is None:
        return memoryview(b"")
    first, last = np.frombuffer(offsets, np.int32)[[strings.offset, strings.offset + len(strings)]]
    return memoryview(data)[first:last]
