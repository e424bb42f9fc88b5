"""The scene-graph reward: how much of what was asked for a judge finds in the picture, question by question.

Every question about a picture has a *value*: the probability that the judge gives to the right answer. What the value of a question counts
for depends on the questions that it depends on ("is the ball red?" has no sense without a ball):

| ``dependencies`` | soft (the default) | hard |
| --- | --- | --- |
| ``none`` | the value | the credit: 1 if the right answer is the likeliest, a share where several are, else 0 |
| ``library`` | times the values of the questions that it directly depends on | 0 if one of these has credit 0 (DSG's published rule) |
| ``fixpoint`` | times the values of all that it depends on, each once, directly or through others | 0 if any of these has credit 0 |

The soft product is the judge's probability that the parents hold *and* this question is answered right, since the judge answers the
question for a picture in which they hold; on answers that are sure it is the hard rule. So a foil about an object ("is the ball blue?",
no) pays nothing where the ball is missing: an empty picture earns no more than the foils about absent objects.

The score is the mean of what counts, with weights: 1, or ``foil_weight`` for foils, times the weight of the kind of question. What has no
answer, or depends on what has none, is left out of the sum and of the weights; it is no zero. Below a share of ``min_answered`` of the
weights there is no score at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from anyscene.errors import AnySceneError, RecordError, SpecError
from anyscene.http import run_together
from anyscene.judges import Answer, Judge
from anyscene.judges.judging import questions_of
from anyscene.judges.prompts import plain_words
from anyscene.language.question import Question
from anyscene.language.questions import FORMS
from anyscene.media import Media
from anyscene.rewards.pictures import media_of
from anyscene.rewards.protocol import QuestionScore, Record, Score
from anyscene.scoring.scores import fixpoint, library

__all__ = ["AGGREGATES", "DEPENDENCIES", "SceneReward", "answer_value", "checked_batch"]

DEPENDENCIES = ("none", "library", "fixpoint")
AGGREGATES = ("mean", "geometric", "all")
_TOLERANCE = 1e-9


class SceneReward:
    """A reward out of a scene's questions and a judge (the paper's reward for GRPO, section 5, with probabilities in place of yes and no).

    Args:
        judge: who answers.
        soft: take probabilities; otherwise right or wrong, where whole groups often tie, which then teach nothing.
        dependencies: ``none``, ``library`` or ``fixpoint``; see the table above.
        foil_weight: of questions whose right answer is "no" on purpose, beside 1 for the others. 0 asks them and pays nothing; None
            does not ask them at all.
        kind_weights: weight of each kind of question (``{"relation": 2.0}``), 1 where it is not named.
        forms: which forms of questions are asked.
        aggregate: ``mean``; ``geometric``, the weighted geometric mean, 0 where one question counts 0; ``all``, the product of the values
            (hard: 1 if all are right), which needs every answer, takes each question with a weight above 0 once, and no dependencies.
        min_answered: share of the weights that must be known.
        unsure: what the value of a question is where the judge says that it cannot tell; None leaves it out like other missing answers.
            Where a policy can make pictures that the judge gives up on, 0.5 or 0 stops that from being free.
        name: for logs.

    Raises:
        SpecError: an option is out of its range.
    """

    def __init__(
        self,
        judge: Judge,
        *,
        soft: bool = True,
        dependencies: str = "library",
        foil_weight: float | None = 0.5,
        kind_weights: Mapping[str, float] | None = None,
        forms: Sequence[str] = ("yes_no",),
        aggregate: str = "mean",
        min_answered: float = 0.5,
        unsure: float | None = None,
        name: str = "scene",
    ) -> None:
        for what, chosen, known in (("dependencies", dependencies, DEPENDENCIES), ("aggregate", aggregate, AGGREGATES)):
            if chosen not in known:
                raise SpecError(f"{what} {chosen!r}: it must be one of {', '.join(known)}")
        if not forms or set(forms) - set(FORMS):
            raise SpecError(f"forms {', '.join(forms) or 'none'}: they must be some of {', '.join(FORMS)}")
        weights = {"foil_weight": foil_weight or 0.0} | {f"kind_weights[{kind!r}]": one for kind, one in (kind_weights or {}).items()}
        for what, weight in weights.items():
            if not (weight >= 0 and math.isfinite(weight)):
                raise SpecError(f"{what} {weight}: a weight is a number from 0 up")
        for what, share in (("min_answered", min_answered), ("unsure", 0.0 if unsure is None else unsure)):
            if not 0 <= share <= 1:
                raise SpecError(f"{what} {share}: it must be from 0 to 1")
        self.judge, self.name = judge, name
        self.soft, self.dependencies, self.aggregate = soft, dependencies, aggregate
        self.foil_weight, self.kind_weights, self.forms = foil_weight, dict(kind_weights or {}), tuple(forms)
        self.min_answered, self.unsure = min_answered, unsure

    def score(self, images: Sequence[Any], records: Sequence[Record]) -> list[Score | None]:
        """One score for each picture, in order; see `Reward.score`."""
        checked_batch(images, records, "id", "questions")
        media = [media_of(image) for image in images]
        asked = [self.questions(record) for record in records]
        answers = self._ask(media, asked)
        return [
            None if one is None else self._scored(record, questions, [answers[one.sha256, question.key] for question in questions])
            for one, record, questions in zip(media, records, asked, strict=True)
        ]

    def questions(self, record: Record) -> list[Question]:
        """The questions that are put about a record."""
        found = questions_of(record, self.forms)
        return found if self.foil_weight is not None else [one for one in found if one.foil is None]

    def weight(self, question: Question) -> float:
        """With which a question enters the score."""
        return self.kind_weights.get(question.kind, 1.0) * (1.0 if question.foil is None else self.foil_weight or 0.0)

    def _ask(self, media: Sequence[Media | None], asked: Sequence[Sequence[Question]]) -> dict[tuple[str, str], Answer]:
        """The answer to every (picture, question); each distinct one is asked once, all those of a picture together."""
        pictures: dict[str, Media] = {}
        wanted: dict[str, dict[str, Question]] = {}
        for one, questions in zip(media, asked, strict=True):
            if one is not None and questions:
                pictures.setdefault(one.sha256, one)
                own = wanted.setdefault(one.sha256, {})
                for question in questions:
                    own.setdefault(question.key, question)

        def call(sha256: str) -> list[Answer]:
            questions = list(wanted[sha256].values())
            answers = self.judge.answer(pictures[sha256], questions)
            if len(answers) != len(questions):
                raise AnySceneError(
                    f"{self.judge.name} gave {len(answers)} answers to {len(questions)} questions; a judge gives one for each"
                )
            return answers

        if self.judge.workers <= 1 or len(pictures) <= 1:
            given = [call(sha256) for sha256 in pictures]
        else:
            with ThreadPoolExecutor(min(self.judge.workers, len(pictures))) as pool:
                given = run_together(pool, call, list(pictures))
        return {
            (sha256, key): answer
            for sha256, answers in zip(pictures, given, strict=True)
            for key, answer in zip(wanted[sha256], answers, strict=True)
        }

    def _scored(self, record: Record, questions: Sequence[Question], answers: Sequence[Answer]) -> Score | None:
        value, credit, statuses = self._values(questions, answers)
        weight = np.array([self.weight(question) for question in questions])
        base = value if self.soft else credit
        counted = base if self.aggregate == "all" else self._after_parents(base, questions)
        known = ~np.isnan(counted)
        total = float(weight.sum())
        answered = float(weight[known].sum()) / total if total else 0.0
        if not answered or answered < (1 if self.aggregate == "all" else self.min_answered) - _TOLERANCE:
            return None
        shown = tuple(
            QuestionScore(one.id, one.kind, one.form, one.foil, _or_none(v), _or_none(c), float(w), status)
            for one, v, c, w, status in zip(questions, value, counted, weight, statuses, strict=True)
        )
        result = self._aggregated(counted[known], weight[known])
        return Score(result, str(record["id"]), shown, _figures(shown, answered))

    def _values(self, questions: Sequence[Question], answers: Sequence[Answer]) -> tuple[Any, Any, list[str]]:
        value, credit = np.full(len(questions), np.nan), np.full(len(questions), np.nan)
        statuses = []
        for place, (question, answer) in enumerate(zip(questions, answers, strict=True)):
            found = answer_value(question, answer)
            if found is not None:
                value[place], credit[place] = found
            elif answer.status == "unsure" and self.unsure is not None:
                value[place] = credit[place] = self.unsure
            statuses.append("unparsed" if found is None and answer.status == "answered" else answer.status)
        return value, credit, statuses

    def _after_parents(self, base: Any, questions: Sequence[Question]) -> Any:
        place_of = {question.id: place for place, question in enumerate(questions)}
        parents = [[place_of[one] for one in question.depends_on if one in place_of] for question in questions]
        if self.dependencies == "none" or not any(parents):
            return base
        if not self.soft:
            child = np.array([place for place, own in enumerate(parents) for _ in own], dtype=np.int64)
            parent = np.array([one for own in parents for one in own], dtype=np.int64)
            return (library if self.dependencies == "library" else fixpoint)(base, child, parent)
        reach = _ancestors(parents) if self.dependencies == "fixpoint" else [set(own) for own in parents]
        return np.array([base[place] * math.prod(base[one] for one in sorted(own - {place})) for place, own in enumerate(reach)])

    def _aggregated(self, counted: Any, weight: Any) -> float:
        paid = counted[weight > 0]
        if self.aggregate == "all":
            return float(np.prod(paid)) if self.soft else float((paid == 1).all())
        if self.aggregate == "geometric":
            if (paid <= 0).any():
                return 0.0
            return math.exp(float(np.average(np.log(paid), weights=weight[weight > 0])))
        return float(np.average(counted, weights=weight))


def answer_value(question: Question, answer: Answer) -> tuple[float, float] | None:
    """(value, credit) of an answer, as the stored ones are scored (`scoring.rows`); None where it says nothing.

    The value is the probability of the right answer; the credit is 1 if that is the likeliest, a share where several are, else 0.
    """
    if answer.status != "answered":
        return None
    if question.form == "yes_no":
        if answer.p_yes is None or not 0 <= answer.p_yes <= 1:
            return None
        value = answer.p_yes if question.answer == "yes" else 1 - answer.p_yes
        return value, 1.0 if value > 0.5 else 0.0 if value < 0.5 else 0.5
    if question.form == "choice":
        return _choice_value(question, answer)
    said = plain_words(answer.text)
    right = float(said == plain_words(question.answer))
    return (right, right) if said else None


def _choice_value(question: Question, answer: Answer) -> tuple[float, float] | None:
    shares = answer.probabilities
    if question.answer not in question.choices:
        raise RecordError(f"question {question.id!r}: the right answer {question.answer!r} is not among its choices")
    if not shares:
        said = plain_words(answer.text)
        if not said or said not in map(plain_words, question.choices):
            return None
        right = float(said == plain_words(question.answer))
        return right, right
    if len(shares) != len(question.choices) or not all(0 <= share <= 1 for share in shares):
        return None
    own, best = shares[question.choices.index(question.answer)], max(shares)
    ties = sum(share >= best - _TOLERANCE for share in shares)
    return own, 1 / ties if own >= best - _TOLERANCE else 0.0


def checked_batch(images: Sequence[Any], records: Sequence[Record], *columns: str) -> None:
    """Checks that a batch can be scored.

    Raises:
        SpecError: pictures and records differ in number.
        RecordError: a record lacks a column.
    """
    if len(images) != len(records):
        raise SpecError(f"{len(images)} pictures and {len(records)} records: each picture needs the record of its scene")
    for place, record in enumerate(records):
        for column in columns:
            if record.get(column) is None:
                raise RecordError(
                    f"record {record.get('id', place)!r} has no {column!r}, which the reward needs; it has {', '.join(record)}"
                )


def _ancestors(parents: Sequence[Sequence[int]]) -> list[set[int]]:
    """Everything that each question depends on, directly or through others."""
    found = [set(own) for own in parents]
    while True:
        wider = [own.union(*(found[one] for one in own)) for own in found]
        if wider == found:
            return found
        found = wider


def _figures(questions: Sequence[QuestionScore], answered: float) -> dict[str, float]:
    """The share answered, and mean values: over foils, over the others, and over those by kind."""
    groups: dict[str, list[float]] = {}
    for one in questions:
        if one.value is not None:
            groups.setdefault("foils" if one.foil else "plain", []).append(one.value)
            if not one.foil:
                groups.setdefault(one.kind, []).append(one.value)
    return {"answered": answered} | {name: sum(values) / len(values) for name, values in groups.items()}


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
