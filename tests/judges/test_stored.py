"""Answers taken from a store instead of a judge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anyscene.errors import JudgeError, RecordError, SpecError
from anyscene.judges import Answer, Judge, load_judge
from anyscene.judges.store import AnswerRow, answer_table, write_answers
from anyscene.language.question import Question
from anyscene.media import Media

QUESTIONS = (
    Question("q0", "existence", "yes_no", "Is there a ball?", "yes"),
    Question("q1", "attribute", "choice", "What color is it?", "red", ("red", "blue")),
    Question("q2", "count", "open", "How many balls are there?", "three"),
    Question("q3", "existence", "yes_no", "Is there a cat?", "no"),
)
GIVEN = (
    Answer(0.75, 0.9, "Yes"),
    Answer(None, 0.8, "B", "answered", (0.25, 0.75)),
    Answer(None, None, "3"),
    Answer(None, 0.1, "hm", "unsure"),
)


def picture(seed: int) -> Media:
    return Media.of_image(np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8))


def rows(seed: int, answers: tuple[Answer, ...] = GIVEN) -> list[AnswerRow]:
    return [AnswerRow(picture(seed).sha256, question.key, answer) for question, answer in zip(QUESTIONS, answers, strict=False)]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for judge, revision, flip in (("sandbox:pixels", "1", False), ("openai:big", "r7", True)):
        folder = tmp_path / "answers" / judge.replace(":", "-")
        folder.mkdir(parents=True)
        for part in range(2):
            made = [row for seed in range(part * 3, part * 3 + 3) for row in rows(seed, (Answer(0.1, None, "No"),) if flip else GIVEN)]
            write_answers(folder / f"part-0000{part}.parquet", answer_table(made, judge, revision, "plain-1"))
    return tmp_path


def test_what_was_answered_comes_back_as_it_was(run: Path) -> None:
    judge = load_judge(f"stored:{run}/answers/sandbox-pixels")
    assert isinstance(judge, Judge)
    assert (judge.template, judge.revision) == ("plain-1", "sandbox:pixels 1")
    for seed in range(6):
        assert judge.answer(picture(seed), QUESTIONS) == list(GIVEN)
    assert judge.answer(picture(1), QUESTIONS[::-1]) == list(GIVEN)[::-1]


def test_one_file_is_a_store_too(run: Path) -> None:
    judge = load_judge(f"stored:{run}/answers/openai-big/part-00000.parquet")
    assert judge.answer(picture(0), QUESTIONS[:1])[0].p_yes == 0.1
    assert judge.answer(picture(4), QUESTIONS[:1])[0].status == "failed"


def test_what_is_not_there_is_missing_not_wrong(run: Path) -> None:
    judge = load_judge(f"stored:{run}/answers/openai-big")
    assert [answer.status for answer in judge.answer(picture(0), QUESTIONS)] == ["answered", "failed", "failed", "failed"]
    assert judge.answer(picture(99), QUESTIONS[:1]) == [Answer(None, None, "not in the store", "failed")]


def test_of_several_judges_one_must_be_chosen(run: Path) -> None:
    with pytest.raises(SpecError, match=r"answers of 2 judges.*judge=openai:big revision=r7.*sandbox:pixels"):
        load_judge(f"stored:{run}")
    assert load_judge(f"stored:{run}", judge="openai:big").answer(picture(5), QUESTIONS[:1])[0].p_yes == 0.1
    assert load_judge(f"stored:{run}", revision="1").answer(picture(5), QUESTIONS[:1])[0].p_yes == 0.75
    with pytest.raises(JudgeError, match="holds no answers of judge=human"):
        load_judge(f"stored:{run}", judge="human")


def test_places_without_answers_are_told(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "none", tmp_path / "none.parquet"):
        with pytest.raises(RecordError):
            load_judge(f"stored:{place}")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(RecordError, match=r"bad\.parquet"):
        load_judge(f"stored:{tmp_path}/bad.parquet")
    with pytest.raises(SpecError, match="needs a store"):
        load_judge("stored")
