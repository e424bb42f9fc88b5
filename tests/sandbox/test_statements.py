from __future__ import annotations

import pytest

from anyscene.language.question import Question
from anyscene.sandbox import load_sandbox_taxonomy
from anyscene.sandbox.looks import Thing
from anyscene.sandbox.queries import read_question
from anyscene.sandbox.statements import Sight


def thing(shape, x, y=0.5, color="red", width=0.2, chances=None):
    return Thing(shape, color, "plain", "paper", x, y, width, width, chances=chances or {})


def chance(text, *things, there=None, whole=None):
    sight = Sight(tuple(things), tuple(there or [1.0] * len(things)), whole or {}, load_sandbox_taxonomy())
    asked = read_question(Question("q0", "existence", "yes_no", text, "?"), load_sandbox_taxonomy())
    return sight.probability(asked.candidates[0][1])


def test_existence_is_the_chance_that_any_thing_is_one():
    assert chance("Is there a star?") == 0
    assert chance("Is there a star?", thing("star", 0.2), there=[0.7]) == pytest.approx(0.7)
    doubtful = thing("star", 0.2, chances={"shape": {"star": 0.6, "cross": 0.4}})
    assert chance("Is there a cross?", doubtful) == pytest.approx(0.4)
    assert chance("Is there a star?", doubtful, doubtful) == pytest.approx(1 - 0.4 * 0.4)


def test_counts_add_up_over_things_that_may_be_there():
    stars = [thing("star", 0.1), thing("star", 0.4), thing("star", 0.7)]
    assert chance("Are there exactly three stars?", *stars) == pytest.approx(1)
    assert chance("Are there exactly two stars?", *stars) == pytest.approx(0)
    assert chance("Are there exactly three stars?", *stars, there=[1, 1, 0.3]) == pytest.approx(0.3)
    assert chance("Are there exactly two stars?", *stars, there=[1, 1, 0.3]) == pytest.approx(0.7)


def test_an_attribute_must_be_that_of_all_and_of_something():
    red, blue = thing("star", 0.2), thing("star", 0.6, color="blue")
    assert chance("Are the two stars red?", red, thing("star", 0.6)) == pytest.approx(1)
    assert chance("Are the two stars red?", red, blue) == pytest.approx(0)
    assert chance("Is the heart red?", red, blue) == 0
    assert chance("Is the star large?", thing("star", 0.2)) > 0.99
    assert chance("Is the star small?", thing("star", 0.2, width=0.12)) > 0.99


def test_ordinals_count_from_the_left():
    right, left = thing("star", 0.8, color="blue"), thing("star", 0.2)
    assert chance("Is the first star red?", right, left) > 0.99
    assert chance("Is the second star blue?", right, left) > 0.99
    assert chance("Is the second star red?", right, left) < 0.01
    assert chance("Is there a third star?", right, left) == 0


def test_groups_of_one_noun_are_told_by_their_looks():
    row = [thing("star", 0.1), thing("star", 0.3, color="blue"), thing("star", 0.5, color="blue"), thing("star", 0.7, color="blue")]
    assert chance("Is there a second group of stars?", *row) > 0.9
    assert chance("Is the second group of stars blue?", *row) > 0.9
    assert chance("Is the first star red?", *row) > 0.9
    assert chance("Is there a second group of stars?", thing("star", 0.1)) == 0


@pytest.mark.parametrize(
    ("text", "subject", "target", "holds"),
    [
        ("Is the star to the left of the heart?", (0.3, 0.5), (0.36, 0.9), True),
        ("Is the star to the left of the heart?", (0.36, 0.5), (0.3, 0.5), False),
        ("Is the star to the left of the heart?", (0.30, 0.1), (0.31, 0.9), False),
        ("Is the star above the heart?", (0.3, 0.2), (0.3, 0.7), True),
        ("Is the star above the heart?", (0.3, 0.7), (0.3, 0.2), False),
        ("Is the star to the upper left of the heart?", (0.3, 0.2), (0.6, 0.7), True),
        ("Is the star to the upper left of the heart?", (0.3, 0.7), (0.6, 0.2), False),
        ("Is the star next to the heart?", (0.2, 0.5), (0.5, 0.5), True),
        ("Is the star next to the heart?", (0.2, 0.5), (0.6, 0.5), False),
    ],
)
def test_relations_of_places(text, subject, target, holds):
    found = chance(text, thing("star", *subject), thing("heart", *target))
    assert found > 0.95 if holds else found < 0.1


def test_relations_hold_for_every_member():
    stars = [thing("star", 0.1), thing("star", 0.8)]
    heart = thing("heart", 0.5, 0.9)
    assert chance("Are the two stars to the left of the heart?", *stars, heart) < 0.01
    assert chance("Are the two stars above the heart?", *stars, heart) > 0.99


def test_larger_than_compares_diameters():
    big, little = thing("circle", 0.2, width=0.24), thing("square", 0.7, width=0.2)
    assert chance("Is the circle larger than the square?", big, little) > 0.99
    assert chance("Is the square larger than the circle?", big, little) < 0.01
    assert chance("Is the circle larger than the square?", thing("circle", 0.2, width=0.2), little) < 0.02


def test_a_bound_is_soft():
    near, just, far = (chance("Is the star above the heart?", thing("star", 0.2, 0.5), thing("heart", 0.2, y)) for y in (0.5, 0.53, 0.6))
    assert near < 0.01 < just < 0.99 < far
    assert just == pytest.approx(0.5, abs=0.01)


def test_scene_attributes_are_looked_up():
    whole = {"background": {"white": 0.8, "light grey": 0.2}}
    assert chance("Is the background white?", whole=whole) == pytest.approx(0.8)
    assert chance("Is the background black?", whole=whole) == 0
    assert chance("Is there a red frame around everything?", whole=whole) == 0
