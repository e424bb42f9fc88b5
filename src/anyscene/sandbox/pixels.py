"""The pixel judge: answers questions about any picture from its pixels.

It knows how the words of the sandbox look (``looks``) and the grammar of questions (``queries``), and nothing of the graph, the caption or
the right answers. Its probabilities come from how much better one guess fits the pixels than the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anyscene.judges.protocol import Answer
from anyscene.language.question import Question
from anyscene.media import Media
from anyscene.sandbox.clips import movement_chances, transition_chances
from anyscene.sandbox.fitting import see
from anyscene.sandbox.loading import load_sandbox_taxonomy
from anyscene.sandbox.queries import Asked, Has, Relates, SceneHas, read_question
from anyscene.sandbox.statements import Sight
from anyscene.taxonomy import Taxonomy

__all__ = ["REVISION", "PixelJudge"]

REVISION = "1"
"""Changed whenever an answer may change."""
UNDECIDED = 0.02
"""A yes/no question whose probability is as near to a half as this is not decided."""
CERTAIN = 0.9
"""Of several answers that seem true only those count that are about as certain as the best."""
CLEAR = 0.4
"""Share of all that has colour that must be explained by things."""
SETTLED = 0.6
"""Share of the background that must have one level, for it to be called white or black, lined or plain."""
GROUND = ("background", "background_pattern")


class PixelJudge:
    """A judge that looks at the pixels (``Judge``).

    Args:
        taxonomy: the sandbox's vocabulary; by default the one that is shipped.
    """

    name = "sandbox:pixels"
    revision = REVISION
    template = "pixels-1"
    workers = 1

    def __init__(self, taxonomy: Taxonomy | None = None) -> None:
        self.taxonomy = load_sandbox_taxonomy() if taxonomy is None else taxonomy

    def answer(self, media: Media, questions: Sequence[Question]) -> list[Answer]:
        """One answer for each question, in order; status ``unsure`` where the picture or the question does not tell."""
        view = _View.of(media, self.taxonomy)
        return [view.answer(question) for question in questions]


@dataclass(frozen=True, slots=True)
class _View:
    """One media, looked at.

    Attributes:
        sight: what was seen.
        explained: share of its strong colour that things explain.
        settled: share of its background that has one level.
    """

    sight: Sight
    explained: float
    settled: float

    @classmethod
    def of(cls, media: Media, taxonomy: Taxonomy) -> _View:
        """Looks at the first frame or view, and at all frames of a clip for what happens in it."""
        looked = see(media.array(0))
        whole: dict[str, dict[str, float]] = {kind: dict(chances) for kind, chances in looked.picture.chances.items()}
        if media.modality == "video" and len(media.frames) > 1:
            movement = movement_chances(media.frames, looked.picture)
            whole["camera_movement"] = movement
            whole["transition"] = transition_chances(media.frames, max(movement, key=movement.__getitem__))
        else:
            whole["camera_movement"] = whole["transition"] = {"": 1.0}
        fits = looked.fits
        sight = Sight(tuple(fit.thing for fit in fits), tuple(fit.there for fit in fits), whole, taxonomy)
        return cls(sight, looked.explained, looked.picture.settled)

    def answer(self, question: Question) -> Answer:
        """The answer to a question."""
        asked = read_question(question, self.sight.taxonomy)
        if asked is None:
            return Answer(None, None, "the question is not in the words of the sandbox", "unsure")
        first = asked.candidates[0][1]
        if isinstance(first, SceneHas):
            kind, _ = self.sight.taxonomy.scene_attribute_words(first.value)
            if kind in GROUND and self.settled < SETTLED:
                return Answer(None, _rounded(self.settled), "the background cannot be made out", "unsure")
        elif self.explained < CLEAR:
            return Answer(None, _rounded(self.explained), "nothing can be made out", "unsure")
        if asked.form == "yes_no":
            return _yes_no(self.sight.probability(first))
        return _chosen(self.sight, asked)


def _rounded(chance: float) -> float:
    """To nine places: the last bits of a sum depend on where its terms lie in memory, and equal runs give equal bytes."""
    return round(float(chance), 9)


def _yes_no(chance: float) -> Answer:
    chance = _rounded(np.clip(chance, 0.001, 0.999))
    if abs(chance - 0.5) < UNDECIDED:
        return Answer(chance, 1.0, "cannot tell", "unsure")
    return Answer(chance, 1.0, "yes" if chance > 0.5 else "no")


def _chosen(sight: Sight, asked: Asked) -> Answer:
    """The likeliest of choices, or of the answers that an open question may have."""
    first = asked.candidates[0][1]
    if isinstance(first, (Has, Relates)):
        subject = first.noun if isinstance(first, Has) else first.subject
        if sight.presence(subject) < 0.5:
            return Answer(None, None, "there is no such thing", "unsure")
    chances = np.array([sight.probability(query) for _, query in asked.candidates], dtype=np.float64)
    if chances.max(initial=0.0) < (0.5 if asked.form == "open" else 0.05):
        return Answer(None, _rounded(chances.max(initial=0.0)), "none of the answers fits", "unsure")
    if asked.form == "open" and np.count_nonzero(chances >= 0.5) > 1:
        return Answer(None, 1.0, _nearest(sight, asked, chances))
    shares = chances / chances.sum()
    best = int(np.argmax(shares))
    if asked.form == "open":
        return Answer(None, 1.0, asked.candidates[best][0])
    return Answer(None, 1.0, asked.candidates[best][0], probabilities=tuple(map(_rounded, shares)))


def _nearest(sight: Sight, asked: Asked, chances: NDArray[np.float64]) -> str:
    """Of several true answers to an open question about a relation the one that is meant: the nearest (``looks``)."""
    true = [one for one, chance in zip(asked.candidates, chances, strict=True) if chance >= CERTAIN * chances.max()]
    return min(true, key=lambda one: sight.distance(one[1]) if isinstance(one[1], Relates) else 0.0)[0]
