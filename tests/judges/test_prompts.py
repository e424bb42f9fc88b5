"""Prompts, and the reading of replies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyscene.judges.prompts import (
    instruction,
    lead_in,
    letter,
    letter_variants,
    parse_choice,
    parse_yes_no,
    plain_words,
    reply_status,
    word_variants,
)
from anyscene.language.question import Question

COLORS = ("red", "dark red", "blue", "green")


@pytest.mark.parametrize(
    "text",
    [
        "yes", "Yes", "YES.", " yes", "**Yes**", "`yes`", "Yes, there is a bus.", "yes 1000000000000", "yes yes", "Answer: Yes", "The answer is yes.",
        "<think>No wait, no.</think>Yes", "<answer>yes</answer>", '{"answer": "yes"}', "Yes<|im_end|>", "Ｙｅｓ", "y", "True", "yeah", "So, yes.",
        "The dog is brown. Yes.", "I would say yes", '"Yes"', "Final answer: Yes", "Yes, no doubt.", "\n\nYes\n", "✅ Yes",
    ],
)  # fmt: skip
def test_a_plain_yes_is_read_as_yes(text: str) -> None:
    assert parse_yes_no(text) is True


@pytest.mark.parametrize(
    "text",
    [
        "no", "No.", "NO", "no bus", "no kite", "No, I cannot see a bus.", "no 10000000", "The answer is No.", "nope", "false", "n", "**No**, yes would be wrong",
        "There is a cat. So, no.", "No, it is not.", "no no", "_No_",
    ],
)  # fmt: skip
def test_a_plain_no_is_read_as_no(text: str) -> None:
    assert parse_yes_no(text) is False


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "unsuitable", "stat stat", "1" + "0" * 40, "yes or no", "Yes/No", "no and yes", "not sure", "No idea.", "no way to tell", "I cannot tell.", "maybe",
        "bus", "nothing", "none", "November", "yesterday", "noon", "There is no doubt about the bus", "The answer is yes. The answer is no.", "n dogs", "y axis",
        "1", "0", "I'm sorry, but I can't help with that.", "<think>yes</think>", "Answer:", "?!", "No, I'm not sure.",
    ],
)  # fmt: skip
def test_anything_else_is_neither_yes_nor_no(text: str) -> None:
    assert parse_yes_no(text) is None


@given(st.text())
def test_no_reply_whatever_breaks_the_reading(text: str) -> None:
    assert parse_yes_no(text) in (True, False, None)
    found = parse_choice(text, COLORS)
    assert found is None or 0 <= found < len(COLORS)
    assert reply_status(text) in ("unsure", "refused", "unparsed")


@given(
    st.sampled_from([(True, "yes"), (False, "no")]),
    st.text(alphabet="*_`\"'.!? \n", max_size=4),
    st.text(alphabet="*_`\"'.!? \n", max_size=4),
)
def test_marks_around_the_word_do_not_matter(case: tuple[bool, str], before: str, after: str) -> None:
    assert parse_yes_no(before + case[1] + after) is case[0]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("A", 0), ("b", 1), ("(C)", 2), ("D.", 3), ("B) dark red", 1), ("Answer: C", 2), ("The answer is (D)", 3), ("**A**", 0), ("Option B", 1), ("red", 0),
        ("dark red", 1), ("It is dark red.", 1), ("The ball is blue", 2), ("C: blue", 2), ("Green!", 3), ("<think>A or B</think>C", 2), ("A\nbecause it is red", 0),
        ("a dark red one", 1), ("D, green", 3),
    ],
)  # fmt: skip
def test_a_choice_is_read_by_letter_or_words(text: str, place: int) -> None:
    assert parse_choice(text, COLORS) == place


@pytest.mark.parametrize(
    "text", ["", "E", "purple", "red or blue", "A blue one and a green one", "A) blue", "A or B", "12", "blueish", "AB"]
)
def test_no_choice_or_several_are_none(text: str) -> None:
    assert parse_choice(text, COLORS) is None


def test_numbers_are_read_in_digits_and_words() -> None:
    counts = ("two", "four", "five", "three")
    assert parse_choice("3", counts) == 3
    assert parse_choice("There are Four apples.", counts) == 1
    assert parse_choice("three", ("1", "2", "3")) == 2
    assert parse_choice("13", counts) is None


def test_a_choice_that_is_a_letter_is_meant_as_itself() -> None:
    assert parse_choice("B", ("B", "A")) == 0


def test_two_equal_choices_are_never_told_apart_by_their_words() -> None:
    assert parse_choice("red", ("red", "Red", "blue")) is None
    assert parse_choice("B. Red", ("red", "Red", "blue")) == 1


@given(st.permutations(COLORS))
def test_every_choice_is_found_by_what_the_prompt_calls_it(choices: list[str]) -> None:
    for place, choice in enumerate(choices):
        assert parse_choice(f"{letter(place)}. {choice}", choices) == place
        assert parse_choice(choice, choices) == place


def test_why_a_reply_could_not_be_read() -> None:
    assert reply_status("I cannot tell from this picture.") == "unsure"
    assert reply_status("I'm sorry, but I can't assist with that request.") == "refused"
    assert reply_status("unsuitable") == "unparsed"
    assert reply_status("") == "unparsed"


def test_prompts_end_with_the_question_and_show_every_choice() -> None:
    choice = Question("q0", "attribute", "choice", "What color is the ball?", "blue", COLORS)
    assert (
        instruction(choice)
        == "What color is the ball?\nA. red\nB. dark red\nC. blue\nD. green\nAnswer with the letter of the right choice only."
    )
    yes_no = Question("q1", "existence", "yes_no", "Is there a ball?", "no")
    assert instruction(yes_no) == "Is there a ball? Answer with one word, Yes or No."
    assert "short phrase" in instruction(Question("q2", "count", "open", "How many balls are there?", "three"))


def test_several_frames_are_said_to_belong_together() -> None:
    assert lead_in("image", 1) == ""
    assert "4 frames" in lead_in("video", 4)
    assert "6 views" in lead_in("3d", 6)
    assert "one frame" in lead_in("video", 1)


def test_variants_cover_case_and_space() -> None:
    assert set(word_variants(["yes"])) == {"Yes", " Yes", "yes", " yes", "YES", " YES"}
    assert letter_variants(1) == ("B", " B")
    assert [letter(place) for place in (0, 25, 26, 27, 52)] == ["A", "Z", "AA", "AB", "BA"]


def test_short_answers_are_compared_by_their_words() -> None:
    assert plain_words("The Owl.") == plain_words("an owl") == "owl"
    assert plain_words("three") == plain_words("3")
    assert plain_words("X-ray machine") == "x-ray machine"
