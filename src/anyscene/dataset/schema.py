"""What one row of a dataset holds, said twice: as an Arrow schema and as a JSON Schema.

Both are built from the one description below, so they cannot drift apart.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

__all__ = ["record_json_schema", "record_schema"]

_STRING = pa.string()


def _list(item: pa.DataType) -> pa.DataType:
    return pa.list_(pa.field("element", item))  # "element" is Parquet's name for it, so a file reads back as the same schema


_ATTRIBUTE = pa.struct({"type": _STRING, "value": _STRING})
_OBJECT = pa.struct({"id": _STRING, "name": _STRING, "attributes": _list(_ATTRIBUTE)})
_RELATION = pa.struct({"subject": _STRING, "predicate": _STRING, "object": _STRING})
_GRAPH = pa.struct({"objects": _list(_OBJECT), "relations": _list(_RELATION), "scene_attributes": _list(_ATTRIBUTE)})
_QUESTION = pa.struct(
    {
        "id": _STRING,
        "kind": _STRING,
        "form": _STRING,
        "text": _STRING,
        "answer": _STRING,
        "choices": _list(_STRING),
        "depends_on": _list(_STRING),
        "elements": _list(_STRING),
        "foil": _STRING,
    }
)
_COLUMNS: dict[str, pa.DataType] = {
    "id": _STRING,
    "index": pa.int64(),
    "caption": _STRING,
    "graph": _GRAPH,
    "complexity": pa.int32(),
    "modality": _STRING,
    "plausibility": pa.float32(),
    "spec_digest": _STRING,
    "seed": pa.int64(),
}
_NULLABLE = {"foil", "plausibility"}  # a question that is no foil; a scene whose plausibility is not known


def record_schema(questions: bool = True) -> pa.Schema:
    """The Arrow schema of a record, with or without its questions."""
    columns = {**_COLUMNS, "questions": _list(_QUESTION)} if questions else _COLUMNS
    return pa.schema(columns)


def record_json_schema(questions: bool = True) -> dict[str, Any]:
    """The JSON Schema (2020-12) of one JSONL row. No keys are allowed beyond those of `record_schema`."""
    properties = {field.name: _json_type(field) for field in record_schema(questions)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Anyscene record",
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _json_type(field: pa.Field) -> dict[str, Any]:
    kind = field.type
    if pa.types.is_struct(kind):
        properties = {child.name: _json_type(child) for child in kind.fields}
        return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    if pa.types.is_list(kind):
        return {"type": "array", "items": _json_type(kind.value_field)}
    if pa.types.is_integer(kind):
        limit = 2 ** (kind.bit_width - 1)
        return {"type": "integer", "minimum": 0 if field.name in ("index", "complexity") else -limit, "maximum": limit - 1}
    name = "number" if pa.types.is_floating(kind) else "string"
    return {"type": [name, "null"] if field.name in _NULLABLE else name}
