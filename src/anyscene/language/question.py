"""Question: one question of a record as a value, and the identity that its answers are stored under."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from anyscene.errors import RecordError

__all__ = ["Question"]


@dataclass(frozen=True)
class Question:
    """A question about a picture, with its right answer (paper, section 3.3; docs/record-format.md).

    Attributes:
        id: unique in the record.
        kind: what is asked about: existence, attribute, count, relation, scene_attribute, motion, change.
        form: ``yes_no``, ``choice`` or ``open``.
        text: the question.
        answer: the right answer.
        choices: the answers to choose from; empty where there are none.
        depends_on: ids of questions that must hold for this one to have a sense.
        elements: ids of the graph elements that it is about.
        foil: how its wrong content was made, for a question whose right answer is "no" on purpose.
    """

    id: str
    kind: str
    form: str
    text: str
    answer: str
    choices: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    elements: tuple[str, ...] = ()
    foil: str | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Question:
        """A question as it stands in a record.

        Raises:
            RecordError: a field is missing or unknown.
        """
        names = [field.name for field in fields(cls)]
        wrong = sorted(set(data) - set(names)) or [name for name in names[:5] if name not in data]
        if wrong:
            raise RecordError(f"a question with {', '.join(map(str, data))}: the field {wrong[0]!r} is unknown or missing")
        given: dict[str, Any] = {key: tuple(value) if isinstance(value, (list, tuple)) else value for key, value in data.items()}
        return cls(**given)

    @cached_property
    def key(self) -> str:
        """16 hex digits of what a judge is asked: form, text, choices. Answers are stored under it, whatever record asks."""
        return question_key(self.form, self.text, self.choices)


def question_key(form: str, text: str, choices: tuple[str, ...] | list[str]) -> str:
    """The identity of a question as a judge sees it."""
    return hashlib.sha256("\0".join((form, text, *choices)).encode()).hexdigest()[:16]
