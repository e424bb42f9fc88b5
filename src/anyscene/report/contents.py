"""What a report is made of: plain data of one run, and one question of one picture as the report sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from anyscene.language.question import Question

__all__ = ["Asked", "Example", "RunContents"]


@dataclass(frozen=True, slots=True)
class RunContents:
    """One evaluation run, as plain data.

    Attributes:
        scores: what `scores.json` holds.
        records: the scenes (docs/record-format.md).
        media: one row per picture asked for (`manifest.jsonl`).
        answers: the judge's answers; rows of other judges are passed over.
        read_media: from the name of a file in the media table to its bytes; an `OSError` leaves the picture out and says so.
        provenance: what `run.json` holds; a key ``command`` is shown as the command that repeats the run.
    """

    scores: Mapping[str, Any]
    records: pa.Table
    media: pa.Table
    answers: pa.Table
    read_media: Callable[[str], bytes]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """The model's name."""
        return _name(self.scores.get("model")) or _name(self.provenance.get("model")) or "a model without a name"

    @property
    def judge(self) -> str:
        """The judge's name."""
        return _name(self.scores.get("judge")) or _name(self.provenance.get("judge")) or "a judge without a name"


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about a picture with what the judge said.

    Attributes:
        question: as it stands in the record.
        status: of the answer (`judges.STATUSES`), or ``missing`` where there is none.
        value: probability that the judge gives to the right answer; None unless answered.
        right: whether its answer is the right one; None unless answered, and where the judge gives both answers the same probability.
        said: its answer in words.
        text: its raw reply.
    """

    question: Question
    status: str
    value: float | None = None
    right: bool | None = None
    said: str = ""
    text: str = ""

    @property
    def verdict(self) -> str:
        """``right``, ``wrong``, or ``open`` where it is neither."""
        return "open" if self.right is None else "right" if self.right else "wrong"


@dataclass(frozen=True, slots=True)
class Example:
    """One picture of the report.

    Attributes:
        group: ``best``, ``worst``, ``instructive`` or ``sample``.
        why: one sentence: what there is to see.
        record: the scene.
        media: its row of the media table.
        asked: its questions.
    """

    group: str
    why: str
    record: Mapping[str, Any]
    media: Mapping[str, Any]
    asked: tuple[Asked, ...]

    @property
    def soft(self) -> float | None:
        """Mean probability of the right answers about what should be there; None where nothing was answered."""
        values = [one.value for one in self._counted() if one.value is not None]
        return sum(values) / len(values) if values else None

    @property
    def strict(self) -> float | None:
        """Share of what should be there that is answered right; None where nothing was answered."""
        known = [one for one in self._counted() if one.value is not None]
        return sum(0.5 if one.right is None else float(one.right) for one in known) / len(known) if known else None

    def _counted(self) -> list[Asked]:
        """The questions that faithfulness is measured on, as `scoring.scores` has them: foils would reward an empty picture."""
        plain = [one for one in self.asked if not one.question.foil]
        asked = [one for one in plain if one.question.form == "yes_no" and one.question.answer == "yes"]
        return asked or [one for one in plain if one.question.form != "yes_no"]


def _name(value: Any) -> str:
    if isinstance(value, Mapping):
        value = value.get("name")
    return str(value) if value else ""
