"""What a reward is to Anyscene: pictures and their records in, one score each out, with everything that it is made of.

A reward never invents a number. A picture that could not be judged has the score None, which a trainer leaves out of its update; a 0 would
teach the policy that the judge's bad connection was its own fault.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol, runtime_checkable

from anyscene.errors import RecordError

__all__ = ["QuestionScore", "Record", "Reward", "Score", "flat_figures", "questions_in"]

Record = Mapping[str, Any]
"""One row of a dataset (docs/record-format.md); a reward needs ``id`` and, by its kind, ``questions`` or ``caption``."""


@dataclass(frozen=True, slots=True)
class QuestionScore:
    """What one question contributed to a score.

    Attributes:
        id: of the question in its record.
        kind: what it asks about: existence, attribute, count, ...
        form: ``yes_no``, ``choice`` or ``open``.
        foil: how its wrong content was made, for a question whose right answer is "no" on purpose.
        value: probability that the judge gives to the right answer; None where it gave none.
        counted: what entered the score, after the questions that this one depends on; None where that is not known.
        weight: with which it enters the score; 0 for one that is only looked at.
        status: ``answered``, or why there is no value: ``unsure``, ``unparsed``, ``refused``, ``failed``.
    """

    id: str
    kind: str
    form: str
    foil: str | None
    value: float | None
    counted: float | None
    weight: float
    status: str


@dataclass(frozen=True, slots=True)
class Score:
    """The reward of one picture, and what it is made of.

    Attributes:
        value: what training maximises; from 0 to 1 for `SceneReward`, on its own scale for others.
        record_id: of the scene that was asked for. Rollouts of one group have the same.
        questions: every question that was put, in the order of the record.
        figures: named numbers worth a log: the share answered, the mean over foils, the terms of a sum.
        parts: the scores that a combined reward is made of, as they were before any normalising.
    """

    value: float
    record_id: str = ""
    questions: tuple[QuestionScore, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    parts: Mapping[str, Score | None] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; `from_dict` reads them back."""
        return {
            "value": self.value,
            "record_id": self.record_id,
            "questions": [asdict(one) for one in self.questions],
            "figures": dict(self.figures),
            "parts": {name: None if part is None else part.to_dict() for name, part in self.parts.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Score:
        """A score as `to_dict` gave it.

        Raises:
            RecordError: it is not one.
        """
        unknown = sorted(set(data) - {one.name for one in fields(cls)})
        if unknown or "value" not in data:
            raise RecordError(
                f"a score with {', '.join(map(str, data)) or 'no fields'}: {unknown[0] if unknown else 'value'!r} is not right"
            )
        try:
            return cls(
                float(data["value"]),
                str(data.get("record_id", "")),
                tuple(QuestionScore(**one) for one in data.get("questions", ())),
                {str(name): float(one) for name, one in data.get("figures", {}).items()},
                {str(name): None if one is None else cls.from_dict(one) for name, one in data.get("parts", {}).items()},
            )
        except (TypeError, ValueError, AttributeError) as error:
            raise RecordError(f"a score that cannot be read: {error}") from None


@runtime_checkable
class Reward(Protocol):
    """Scores pictures against the scenes that were asked for.

    Attributes:
        name: for logs; letters, digits, ``_``.
    """

    name: str

    def score(self, images: Sequence[Any], records: Sequence[Record]) -> list[Score | None]:
        """One score for each picture, in order; None where it could not be judged, never 0 in its place.

        Args:
            images: anything that `media_of` takes; None where there is no picture, whose score is None.
            records: the scene of each, in the same order; the same record for all rollouts of a group.

        Raises:
            SpecError: pictures and records differ in number.
            RecordError: a record lacks what the reward needs.
            MediaError: something is no picture.
            JudgeError: nothing can be judged at all.
        """
        ...


def flat_figures(score: Score, prefix: str = "") -> dict[str, float]:
    """All named numbers of a score and of its parts: ``{"answered": 1.0, "clip": 0.7, "scene": 0.9, "scene/foils": 0.95}``."""
    found = {prefix + name: value for name, value in score.figures.items()}
    for name, part in score.parts.items():
        if part is not None:
            found[prefix + name] = part.value
            found |= flat_figures(part, f"{prefix}{name}/")
    return found


def questions_in(score: Score) -> Iterator[QuestionScore]:
    """The questions of a score and of all its parts."""
    yield from score.questions
    for part in score.parts.values():
        if part is not None:
            yield from questions_in(part)
