from __future__ import annotations

import json

import pytest

from anyscene.errors import RecordError
from anyscene.language.question import Question
from anyscene.sandbox import load_model
from anyscene.sandbox.truth import read_seen, seen_to_dict, true_answer, true_answers


def ask(text, answer="yes", choices=(), form=None):
    return Question("q0", "relation", form or ("choice" if choices else "yes_no"), text, answer, tuple(choices))


def picture(caption, **flaws):
    options = {"drop": 0, "swap": 0, "reverse": 0, "miscount": 0, **flaws}
    return load_model("flawed", **options).drawn(caption, 3).seen


@pytest.mark.parametrize("modality", ["image", "video", "3d"])
def test_the_right_answers_are_true_of_a_picture_without_flaws(sandbox_records, modality):
    painter, questions = load_model("renderer", modality=modality), 0
    for seed, record in enumerate(sandbox_records(500, seed=12, modality=modality)):
        seen = painter.drawn(record["caption"], seed).seen
        for question in map(Question.from_dict, record["questions"]):
            questions += 1
            assert true_answer(question, seen) == question.answer, (record["caption"], question)
    assert questions > 7000


def test_flaws_make_the_answers_wrong_that_they_are_about():
    caption = "A red star is to the left of three hearts. The scene is shown on a black background."
    assert true_answer(ask("Is the star red?"), picture(caption)) == "yes"
    assert true_answer(ask("Is the star red?"), picture(caption, swap=1)) == "no"
    assert true_answer(ask("Is the background black?"), picture(caption, swap=1)) == "no"
    assert true_answer(ask("Is the star to the left of the three hearts?"), picture(caption, reverse=1)) == "no"
    assert true_answer(ask("Are the three hearts to the left of the star?", "no"), picture(caption, reverse=1)) == "yes"
    assert true_answer(ask("Are there exactly three hearts?"), picture(caption, miscount=1)) == "no"
    assert true_answer(ask("Is there a star?"), picture(caption, drop=1)) == "no"
    assert true_answer(ask("Is there exactly one star?"), picture(caption)) == "yes"
    assert true_answer(ask("Is there exactly one heart?", "no"), picture(caption)) == "no"
    next_to = "A star is next to a ring."
    assert true_answer(ask("Is the star next to the ring?"), picture(next_to)) == "yes"
    assert true_answer(ask("Is the star next to the ring?"), picture(next_to, reverse=1)) == "no"


def test_nothing_holds_of_what_is_not_there():
    seen = picture("There is a red star.")
    assert true_answer(ask("Is the ring red?"), seen) == "no"
    assert true_answer(ask("Is the star above the ring?"), seen) == "no"
    assert true_answer(ask("Is the second star red?"), seen) == "no"
    assert true_answer(ask("Is there a second star?"), seen) == "no"
    assert true_answer(ask("What color is the ring?", "red", ["red", "blue"]), seen) is None
    assert true_answers(ask("Which of these is in the picture?", "ring", ["ring", "heart"]), seen) == ()


def test_open_questions_may_have_several_true_answers():
    seen = picture("A star is above a ring and is above a heart. The ring is above the heart.")
    asked = ask("What is the star above?", "heart", form="open")
    assert set(true_answers(asked, seen)) == {"ring", "heart"}
    assert true_answer(asked, seen) == "heart"


def test_ordinals_follow_the_graph():
    seen = picture("There is a red star, along with a second star that is blue.")
    assert true_answer(ask("Is the first star red?"), seen) == "yes"
    assert true_answer(ask("Is the second star red?"), seen) == "no"


def test_what_was_drawn_can_be_stored_and_read_back():
    seen = picture("There is a red star, along with two striped rings. The scene is shown on a black background, inside a red frame.")
    assert read_seen(json.loads(json.dumps(seen_to_dict(seen)))) == seen
    details = load_model("flawed").details("There is a red star.", 0)
    assert read_seen(json.loads(json.dumps(details))["seen"]) == load_model("flawed").drawn("There is a red star.", 0).seen


@pytest.mark.parametrize(
    "damage", [lambda data: data.pop("frame"), lambda data: data.update(sky="blue"), lambda data: data["things"][0].pop("x")]
)
def test_damaged_contents_are_refused(damage):
    data = seen_to_dict(picture("There is a red star."))
    damage(data)
    with pytest.raises(RecordError, match="is unknown or missing"):
        read_seen(data)


def test_questions_of_other_vocabularies_are_refused():
    with pytest.raises(RecordError, match="'Is there a dog\\?' is not in the words"):
        true_answer(ask("Is there a dog?"), picture("There is a red star."))
