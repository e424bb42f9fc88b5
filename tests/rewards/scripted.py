"""A judge that says what a test wants, and small scenes and pictures for it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from anyscene.judges import Answer
from anyscene.language.question import Question
from anyscene.media import Media


class ScriptedJudge:
    """Answers from a table of question text to Answer or P(yes); counts what it is asked."""

    name, revision, template = "scripted", "", "scripted-1"

    def __init__(self, answers: Mapping[str, Answer | float], workers: int = 1) -> None:
        self.answers, self.workers = answers, workers
        self.calls: list[tuple[str, tuple[str, ...]]] = []
        self.lock = threading.Lock()

    def answer(self, media: Media, questions: Sequence[Question]) -> list[Answer]:
        with self.lock:
            self.calls.append((media.sha256, tuple(one.text for one in questions)))
        found = [self.answers[one.text] for one in questions]
        return [one if isinstance(one, Answer) else Answer(one, 1.0, "yes" if one > 0.5 else "no") for one in found]


def question(id: str, text: str, answer: str = "yes", **fields: Any) -> dict[str, Any]:
    return {
        "id": id,
        "kind": "existence",
        "form": "yes_no",
        "text": text,
        "answer": answer,
        "choices": [],
        "depends_on": [],
        "elements": [],
        "foil": None,
        **fields,
    }


def scene(id: str, *questions: dict[str, Any], caption: str = "A ball.") -> dict[str, Any]:
    return {"id": id, "caption": caption, "questions": list(questions)}


def flat(grey: int = 128, size: int = 8) -> Media:
    return Media.of_image(np.full((size, size, 3), grey, dtype=np.uint8))
