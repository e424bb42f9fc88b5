"""What a judge is to Anyscene: one media and all its questions in, one answer each out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from anyscene.language.question import Question
from anyscene.media import Media

__all__ = ["STATUSES", "Answer", "Judge"]

STATUSES = ("answered", "unsure", "unparsed", "refused", "failed")
"""Only ``answered`` counts. ``unsure``: the judge says that it cannot tell; ``unparsed``: its text is no answer; ``refused``: it would
not; ``failed``: an error. The last is asked again by the next run."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A judge's reply to one question.

    Attributes:
        p_yes: of a yes/no question: P(yes) / (P(yes) + P(no)); None where it has no meaning or is not known.
        label_mass: probability of all labels (yes and no, or the choices) together before normalising; low mass means that the judge
            did not really answer. None where the judge gives no probabilities.
        text: the raw reply.
        status: one of ``STATUSES``.
        probabilities: of a question with choices: one for each choice, in order, sum 1.
    """

    p_yes: float | None
    label_mass: float | None
    text: str
    status: str = "answered"
    probabilities: tuple[float, ...] = ()


@runtime_checkable
class Judge(Protocol):
    """Answers questions about media. It never sees the graph, the caption, or the right answers (``Question.answer``).

    Attributes:
        name: how it was asked for: ``transformers:Qwen/Qwen3-VL-8B-Instruct``.
        revision: of its weights or of the served model, where known; else empty.
        template: id of the way it is asked, changed whenever the words of the instruction change.
        workers: how many calls of ``answer`` may run at once, in threads.
    """

    name: str
    revision: str
    template: str
    workers: int

    def answer(self, media: Media, questions: Sequence[Question]) -> list[Answer]:
        """One answer for each question, in order. A question that cannot be answered gets an answer that says so.

        Raises:
            JudgeError: nothing can be answered at all (no key, no server, no weights); the run stops.
        """
        ...
