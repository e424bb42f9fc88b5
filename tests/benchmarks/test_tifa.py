"""TIFA: its complete sample, and a few questions by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from anyscene.benchmarks import score_tifa
from anyscene.errors import RecordError

DATA = Path(__file__).parents[3] / "shared" / "data" / "tifa"


def ask(id: str, question: str, answer: str, kind: str = "object") -> dict[str, Any]:
    return {"id": id, "question": question, "choices": ["yes", "no", "red"], "answer": answer, "element_type": kind}


def test_scores_by_hand() -> None:
    questions = [ask("a", "1?", "yes"), ask("a", "2?", "red", "color"), ask("b", "1?", "no", "animal"), ask("b", "3?", "yes", "human")]
    found = score_tifa(questions, {("a", "1?"): "yes", ("a", "2?"): "reddish", ("b", "1?"): "no"})
    assert (found.average, found.deviation) == (0.75, pytest.approx(0.5**0.5 / 2))
    assert found.by_type == {"object": 1.0, "color": 0.0, "animal/human": 1.0}
    assert (found.captions, found.questions, found.unanswered, found.unmatched) == (2, 3, 1, 1)


def test_nothing_answered_is_no_zero() -> None:
    found = score_tifa([ask("a", "1?", "yes")], {})
    assert (found.average, found.deviation, found.unanswered) == (None, None, 1)


def test_a_question_without_a_field_is_refused() -> None:
    with pytest.raises(RecordError, match="question 2 of TIFA lacks the field 'answer'"):
        score_tifa([ask("a", "1?", "yes"), {"id": "a", "question": "2?", "choices": []}], {("a", "1?"): "yes"})


@pytest.mark.skipif(not DATA.is_dir(), reason="the data of the TIFA release are not here")
def test_the_released_sample_comes_out() -> None:
    questions = json.loads((DATA / "sample_question_answers.json").read_text())
    result = json.loads((DATA / "sample_evaluation_result.json").read_text())
    details = [one for own in result["question_details"].values() for one in own.values()]
    found = score_tifa(questions, {(one["id"], one["question"]): one["multiple_choice_vqa"] for one in details})
    assert (found.average, found.deviation) == (0.8125, pytest.approx(result["tifa_stdev"]))
    assert round(found.deviation or 0, 5) == 0.26517
    assert found.by_type == pytest.approx(result["accuracy_by_type"])
    assert found.questions == 19 and found.unanswered == 0
