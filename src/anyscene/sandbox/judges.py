"""Judges of the sandbox by name: one that looks, one that always says yes, one that is wrong as often as it is told to be.

The last two are there to try the rest of the project on: a doctor must refuse the second, and the error rates that a calibration finds
must be those that the third was given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from anyscene.errors import SpecError
from anyscene.judges.protocol import Answer
from anyscene.language.question import Question
from anyscene.media import Media
from anyscene.sandbox.pixels import REVISION, PixelJudge
from anyscene.scene.keyed import mix_int

__all__ = ["NoisyJudge", "YesJudge", "load_noisy", "load_pixels", "load_yes"]


class YesJudge:
    """Always says yes, and takes the first choice; to an open question it has nothing to say."""

    name = "sandbox:yes"
    revision = "1"
    template = "yes-1"
    workers = 1

    def answer(self, media: Media, questions: Sequence[Question]) -> list[Answer]:
        """One answer for each question, whatever the media shows."""
        return [self._answer(question) for question in questions]

    @staticmethod
    def _answer(question: Question) -> Answer:
        if question.form == "yes_no":
            return Answer(1.0, 1.0, "yes")
        if question.choices:
            shares = tuple(float(place == 0) for place in range(len(question.choices)))
            return Answer(None, 1.0, question.choices[0], probabilities=shares)
        return Answer(None, None, "yes", "unparsed")


class NoisyJudge:
    """The pixel judge, wrong at stated rates.

    Whether an answer is turned is a hash of the media, the question and the seed: asked again, it errs again in the same places.

    Args:
        sensitivity: share of its yes that stay yes; also the share of choices that stay.
        specificity: share of its no that stay no.
        seed: another seed errs in other places.

    Raises:
        SpecError: a rate is not from 0 to 1.
    """

    template = "noisy-1"
    workers = 1

    def __init__(self, sensitivity: float = 0.9, specificity: float = 0.8, seed: int = 0) -> None:
        for name, rate in (("sensitivity", sensitivity), ("specificity", specificity)):
            if not 0.0 <= rate <= 1.0:
                raise SpecError(f"sandbox:noisy, {name} {rate}: it must be from 0 to 1")
        self.name = "sandbox:noisy"
        self.revision = f"{REVISION}, sensitivity {sensitivity:g}, specificity {specificity:g}, seed {seed}"
        self.sensitivity, self.specificity, self.seed = sensitivity, specificity, seed
        self._looks = PixelJudge()

    def answer(self, media: Media, questions: Sequence[Question]) -> list[Answer]:
        """One answer for each question; those that are not answers (``unsure``) and open ones stay as they are."""
        answers = self._looks.answer(media, questions)
        return [self._turned(media, question, answer) for question, answer in zip(questions, answers, strict=True)]

    def _turned(self, media: Media, question: Question, answer: Answer) -> Answer:
        if answer.status != "answered":
            return answer
        draw = self._draw(media, question)
        chance = (draw >> 11) / (1 << 53)
        if question.form == "yes_no" and answer.p_yes is not None:
            if chance < (self.sensitivity if answer.p_yes > 0.5 else self.specificity):
                return answer
            return Answer(1 - answer.p_yes, answer.label_mass, "no" if answer.p_yes > 0.5 else "yes")
        if len(answer.probabilities) > 1 and chance >= self.sensitivity:
            shift = 1 + mix_int(draw + 1) % (len(answer.probabilities) - 1)
            shares = answer.probabilities[-shift:] + answer.probabilities[:-shift]
            return Answer(None, answer.label_mass, question.choices[int(np.argmax(shares))], probabilities=shares)
        return answer

    def _draw(self, media: Media, question: Question) -> int:
        words = f"{media.sha256}\0{question.key}\0{self.seed}".encode()
        return int.from_bytes(hashlib.blake2b(words, digest_size=8).digest(), "little")


def load_pixels() -> PixelJudge:
    """``sandbox:pixels``."""
    return PixelJudge()


def load_yes() -> YesJudge:
    """``sandbox:yes``."""
    return YesJudge()


def load_noisy(*, sensitivity: float = 0.9, specificity: float = 0.8, seed: int = 0) -> NoisyJudge:
    """``sandbox:noisy``, with its rates (``NoisyJudge``)."""
    return NoisyJudge(sensitivity, specificity, seed)
