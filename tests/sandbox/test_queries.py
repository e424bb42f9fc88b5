from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from anyscene.dataset import SceneSpace
from anyscene.language.question import Question
from anyscene.sandbox import load_sandbox_taxonomy
from anyscene.sandbox.queries import Counted, Exists, Has, Noun, Relates, SceneHas, read_question
from anyscene.taxonomy import load_taxonomy

GOLDEN = Path(__file__).parents[1] / "golden" / "taxonomy"


def ask(text, choices=(), form=None):
    question = Question("q0", "existence", form or ("choice" if choices else "yes_no"), text, "?", tuple(choices))
    return read_question(question, load_sandbox_taxonomy())


def noun(name):
    return load_sandbox_taxonomy().object_index[name]


def attribute(kind, value):
    return load_sandbox_taxonomy().find_attribute(kind, value)


def relation(name):
    return load_sandbox_taxonomy().relation_index[name]


@pytest.mark.parametrize("modality", ["image", "video", "3d"])
def test_every_question_is_understood_and_has_its_right_answer_among_the_candidates(sandbox_records, modality):
    asked = 0
    for record in sandbox_records(250, seed=2, modality=modality, complexity=(1, 10)):
        for question in map(Question.from_dict, record["questions"]):
            found = read_question(question, load_sandbox_taxonomy())
            assert found is not None, question
            answers = [answer for answer, _ in found.candidates]
            if question.form == "yes_no":
                assert answers == ["yes"]
            else:
                assert question.answer in answers
            if question.form == "choice":
                assert tuple(answers) == question.choices
            asked += 1
    assert asked > 3500


def test_only_what_a_judge_is_given_is_read(sandbox_records):
    for record in sandbox_records(60, seed=5):
        for question in map(Question.from_dict, record["questions"]):
            blind = replace(question, id="x", kind="?", answer="?", depends_on=(), elements=(), foil=None)
            assert read_question(blind, load_sandbox_taxonomy()) == read_question(question, load_sandbox_taxonomy())


def test_statements_hold_the_words_of_the_question():
    star, heart = noun("star"), noun("heart")
    assert ask("Is there a star?").candidates[0][1] == Exists(Noun(star))
    assert ask("Is there a third star?").candidates[0][1] == Exists(Noun(star, order=3))
    assert ask("Are there any hearts?").candidates[0][1] == Exists(Noun(heart, plural=True))
    assert ask("Are the four hearts blue?").candidates[0][1] == Has(Noun(heart, count=4, plural=True), attribute("color", "blue"))
    assert ask("Are there exactly two hearts?").candidates[0][1] == Counted(Noun(heart, plural=True), 2)
    assert ask("Is there exactly one heart?").candidates[0][1] == Counted(Noun(heart), 1)
    assert ask("Is the second group of stars above the first heart?").candidates[0][1] == Relates(
        Noun(star, order=2, plural=True), relation("above"), Noun(heart, order=1)
    )
    assert isinstance(ask("Is the background white?").candidates[0][1], SceneHas)


def test_open_questions_have_every_answer_of_the_vocabulary():
    colors = [answer for answer, _ in ask("What color is the star?", form="open").candidates]
    assert colors == ["red", "orange", "yellow", "green", "turquoise", "blue", "purple", "pink"]
    targets = dict(ask("What is the star above?", form="open").candidates)
    assert targets["hearts"].target == Noun(noun("heart"), plural=True)
    assert targets["heart"].target == Noun(noun("heart"))


@pytest.mark.parametrize(
    ("text", "choices", "form"),
    [
        ("Is there a dragon?", (), "yes_no"),
        ("Is the star sad?", (), "yes_no"),
        ("Describe the picture.", (), "open"),
        ("", (), "yes_no"),
        ("What color is the star?", ("red", "mauve"), "choice"),
        ("What color is the star?", (), "choice"),
        ("Is there a star? Is there a heart?", (), "yes_no"),
        ("Is there a star?", (), "riddle"),
    ],
)
def test_other_words_are_not_understood(text, choices, form):
    assert ask(text, choices, form) is None


def test_another_vocabulary_is_read_by_the_same_grammar():
    taxonomy = load_taxonomy(GOLDEN)
    asked = 0
    for record in SceneSpace(taxonomy=taxonomy, complexity=(3, 6)).records(80, seed=1):
        for question in map(Question.from_dict, record["questions"]):
            assert read_question(question, taxonomy) is not None, question.text
            asked += 1
    assert asked > 500
