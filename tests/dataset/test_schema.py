from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow as pa
import pytest
from fake_source import FakeSource

from anyscene.dataset import generate, record_json_schema, record_schema

NAMES = ["id", "index", "caption", "graph", "complexity", "modality", "plausibility", "spec_digest", "seed"]


def test_columns_and_their_order() -> None:
    assert record_schema().names == [*NAMES, "questions"]
    assert record_schema(False).names == NAMES
    assert [str(record_schema().field(name).type) for name in ("index", "complexity", "plausibility", "seed")] == [
        "int64",
        "int32",
        "float",
        "int64",
    ]
    question = record_schema().field("questions").type.value_type
    assert [field.name for field in question.fields] == [
        "id", "kind", "form", "text", "answer", "choices", "depends_on", "elements", "foil",
    ]  # fmt: skip
    assert record_schema().field("graph").type.field("relations").type == pa.list_(
        pa.struct([("subject", pa.string()), ("predicate", pa.string()), ("object", pa.string())])
    )


@pytest.mark.parametrize("questions", [True, False])
def test_json_schema_holds_for_every_row(tmp_path: Path, questions: bool) -> None:
    schema = record_json_schema(questions)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    [path] = generate(FakeSource(), 200, tmp_path, format="jsonl", questions=questions, quiet=True).paths
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == 200
    for row in rows:
        validator.validate(row)


def row_with(path: list[Any], value: Any) -> dict[str, Any]:
    row: dict[str, Any] = copy.deepcopy(ROW)
    target: Any = row
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return row


QUESTION = {
    "id": "q1", "kind": "object", "form": "yes_no", "text": "Is there a robin?", "answer": "yes", "choices": [],
    "depends_on": [], "elements": ["o1"], "foil": None,
}  # fmt: skip
ROW: dict[str, Any] = {
    "id": "a", "index": 0, "caption": "A robin", "complexity": 1, "modality": "image", "plausibility": 0.5, "spec_digest": "5f", "seed": 7,
    "graph": {"objects": [{"id": "o1", "name": "robin", "attributes": []}], "relations": [], "scene_attributes": []},
    "questions": [QUESTION],
}  # fmt: skip


@pytest.mark.parametrize(
    "bad",
    [
        {**ROW, "more": 1},
        {key: value for key, value in ROW.items() if key != "id"},
        row_with(["index"], -1),
        row_with(["index"], 2**63),
        row_with(["caption"], None),
        row_with(["plausibility"], "0.5"),
        row_with(["graph", "more"], 1),
        row_with(["graph", "objects", 0, "attributes"], [{"type": "color"}]),
        row_with(["questions", 0, "foil"], 3),
        row_with(["questions", 0, "answer"], None),
        row_with(["questions", 0, "choices"], [1]),
    ],
)
def test_json_schema_refuses_what_is_no_record(bad: dict[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(record_json_schema())
    assert validator.is_valid(ROW)
    assert validator.is_valid(row_with(["plausibility"], None))
    assert not validator.is_valid(bad)
