"""Small runs: scenes with questions, media, and answers, as the tables that scoring takes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pytest

from anyscene.dataset import record_schema
from anyscene.judges.store import answer_schema
from anyscene.language.question import question_key
from anyscene.media import media_schema

Asks = Sequence[Mapping[str, Any]]


def question(id: str, text: str = "", answer: str = "yes", **more: Any) -> dict[str, Any]:
    found = {"id": id, "kind": "existence", "form": "yes_no", "text": text or f"Is there {id}?", "answer": answer}
    return found | {"choices": [], "depends_on": [], "elements": [], "foil": None} | more


def record_table(
    scenes: Mapping[str, Asks], graphs: Mapping[str, Any] | None = None, complexity: Mapping[str, int] | None = None
) -> pa.Table:
    rows = [
        {
            "id": name,
            "index": place,
            "caption": name,
            "graph": (graphs or {}).get(name, {"objects": [], "relations": [], "scene_attributes": []}),
            "complexity": (complexity or {}).get(name, 4),
            "modality": "image",
            "plausibility": None,
            "spec_digest": "d",
            "seed": 0,
            "questions": [dict(one) for one in questions],
        }
        for place, (name, questions) in enumerate(scenes.items())
    ]
    return pa.Table.from_pylist(rows, record_schema())


def digest(name: str, sample: int = 0) -> str:
    return hashlib.sha256(f"{name} {sample}".encode()).hexdigest()


def media_table(
    scenes: Mapping[str, Asks] | Sequence[str], samples: int = 1, status: Mapping[tuple[str, int], str] | None = None
) -> pa.Table:
    rows = []
    for place, name in enumerate(scenes):
        for sample in range(samples):
            became = (status or {}).get((name, sample), "made")
            sha = digest(name, sample) if became == "made" else None
            row = {"record_id": name, "index": place, "sample": sample, "seed": sample, "file": "x", "sha256": sha, "status": became}
            rows.append(row | {"reason": "", "details": ""})
    return pa.Table.from_pylist(rows, media_schema())


def answer_table(scenes: Mapping[str, Asks], said: Mapping[tuple[str, str], Any], sample: int = 0) -> pa.Table:
    """Answers from (scene, question id): a probability of yes, a status, a list of probabilities, or (for open questions) {"text": ...}."""
    rows = []
    for (name, id), value in said.items():
        asked = next(one for one in scenes[name] if one["id"] == id)
        row: dict[str, Any] = {
            "media_sha256": digest(name, sample),
            "question_key": question_key(asked["form"], asked["text"], asked["choices"]),
            "judge": "j",
            "revision": "",
            "template": "t1",
            "p_yes": None,
            "label_mass": 0.9,
            "text": "",
            "status": "answered",
            "probabilities": [],
        }
        if isinstance(value, str):
            row["status"] = value
        elif isinstance(value, list):
            row["probabilities"] = value
        elif isinstance(value, Mapping):
            row |= value
        else:
            row["p_yes"] = float(value)
        rows.append(row)
    return pa.Table.from_pylist(rows, answer_schema())


class Run:
    """What a test needs to build tables; a fixture, because test files do not import each other."""

    question = staticmethod(question)
    records = staticmethod(record_table)
    media = staticmethod(media_table)
    answers = staticmethod(answer_table)
    digest = staticmethod(digest)


@pytest.fixture
def build() -> type[Run]:
    return Run


@pytest.fixture
def keys() -> Callable[[Mapping[str, Any]], str]:
    return lambda one: question_key(one["form"], one["text"], one["choices"])
