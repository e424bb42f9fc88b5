"""TIFA v1.0 (Hu et al., ICCV 2023): accuracy of answers to questions with choices, by caption and by type of element."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from anyscene.errors import RecordError

__all__ = ["TifaScores", "score_tifa"]

_FIELDS = ("id", "question", "choices", "answer", "element_type")


@dataclass(frozen=True, slots=True)
class TifaScores:
    """The official numbers, fractions of one.

    Attributes:
        average: mean over captions of the share of right answers; None without any answer.
        deviation: sample standard deviation over captions; None for fewer than two.
        by_type: share of right answers of each type of element, over questions.
        captions: in the means.
        questions: answered.
        unanswered: questions without an answer; they are left out.
        unmatched: answers that are none of the choices; they count as wrong.
    """

    average: float | None
    deviation: float | None
    by_type: Mapping[str, float]
    captions: int
    questions: int
    unanswered: int
    unmatched: int


def score_tifa(questions: Sequence[Mapping[str, Any]], answers: Mapping[tuple[str, str], str]) -> TifaScores:
    """Scores answers as TIFA does. There is no dependency rule.

    The official scorer maps an answer that is none of the choices to the nearest one by sentence embeddings before it comes here
    (``multiple_choice_vqa`` in its results); an answer that was not mapped counts as wrong and is counted.

    Args:
        questions: entries of ``tifa_v1.0_question_answers.json``.
        answers: for (id of the caption, question) the choice that was made.

    Raises:
        RecordError: a question lacks a field.
    """
    by_caption: dict[str, list[float]] = {}
    by_type: dict[str, list[float]] = {}
    unanswered = unmatched = 0
    for number, question in enumerate(questions, 1):
        missing = [name for name in _FIELDS if name not in question]
        if missing:
            raise RecordError(f"question {number} of TIFA lacks the field {missing[0]!r}")
        said = answers.get((question["id"], question["question"]))
        if said is None:
            unanswered += 1
            continue
        unmatched += said not in question["choices"]
        right = float(said == question["answer"])
        by_caption.setdefault(question["id"], []).append(right)
        kind = question["element_type"]
        by_type.setdefault("animal/human" if kind in ("animal", "human") else kind, []).append(right)
    means = [fmean(own) for own in by_caption.values()]
    return TifaScores(
        average=fmean(means) if means else None,
        deviation=stdev(means) if len(means) > 1 else None,
        by_type={kind: fmean(own) for kind, own in by_type.items()},
        captions=len(means),
        questions=sum(map(len, by_caption.values())),
        unanswered=unanswered,
        unmatched=unmatched,
    )
