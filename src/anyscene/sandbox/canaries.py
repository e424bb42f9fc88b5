"""Canaries of the sandbox: pictures of its own vocabulary with known answers, for judges that know no other things."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from anyscene.dataset import RecordOptions, SceneSpace
from anyscene.judges.canaries import Canary
from anyscene.judges.judging import questions_of
from anyscene.language import QuestionOptions
from anyscene.media import Media
from anyscene.sandbox.loading import load_sandbox_taxonomy
from anyscene.sandbox.painters import load_renderer
from anyscene.sandbox.truth import true_answer

__all__ = ["sandbox_canaries"]

SCENES = 24
SIZE = 128
FEW = ("count", "scene_attribute")
OTHERS = (1, 2)
"""Of these kinds a scene has few questions with the right answer "no": those of the next scenes are asked of its picture, too."""


@lru_cache(maxsize=1)
def sandbox_canaries() -> tuple[Canary, ...]:
    """Twenty-four drawn scenes with all their yes/no questions, about half of them with the right answer "no", and their choices."""
    space = SceneSpace(taxonomy=load_sandbox_taxonomy(), complexity=(2, 6), scene_attributes=(0, 1), counts=True)
    options = RecordOptions(questions=QuestionOptions(("yes_no", "choice"), foils=0.5))
    painter = load_renderer(size=SIZE)
    records = list(space.records(SCENES, seed=1, options=options))
    captions = [record["caption"] for record in records]
    drawn = painter.generate(captions, range(SCENES))
    asked = [questions_of(record) for record in records]
    canaries = []
    for place, (media, caption, own) in enumerate(zip(drawn, captions, asked, strict=True)):
        if isinstance(media, Media):
            seen = painter.drawn(caption, place).seen
            others = [one for step in OTHERS for one in asked[(place + step) % SCENES] if one.kind in FEW and one.form == "yes_no"]
            known = {one.key for one in own}
            foreign = {
                one.key: replace(one, id=f"x{one.key}", depends_on=(), answer=true_answer(one, seen) or "no")
                for one in others
                if one.key not in known
            }
            canaries.append(Canary(media, (*own, *foreign.values()), f"sandbox scene {place}"))
    return tuple(canaries)
