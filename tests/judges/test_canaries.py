from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from anyscene.errors import JudgeError, SpecError
from anyscene.judges import Answer
from anyscene.judges.canaries import Canary, default_canaries, run_doctor
from anyscene.language.question import Question
from anyscene.media import Media

CANARIES = default_canaries()
GOLD = {(canary.media.sha256, question.key): question.answer for canary in CANARIES for question in canary.questions}

Change = Callable[[Media, Question, Answer], Answer]


def draw(*parts: object) -> float:
    """A number from 0 to 1 that depends on nothing else."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") / 2**64


def right_answer(media: Media, question: Question, sureness: float = 0.95, mass: float | None = 0.98) -> Answer:
    gold = GOLD[media.sha256, question.key]
    if question.form == "choice":
        return Answer(None, mass, gold, probabilities=tuple(float(choice == gold) for choice in question.choices))
    return Answer(sureness if gold == "yes" else 1 - sureness, mass, gold)


def opposite(answer: Answer) -> Answer:
    if answer.p_yes is None:
        return Answer(None, answer.label_mass, "", probabilities=answer.probabilities[1:] + answer.probabilities[:1])
    return Answer(1 - answer.p_yes, answer.label_mass, "")


def yes(p_yes: float) -> Change:
    return lambda media, question, answer: Answer(p_yes, 1.0, "") if question.form == "yes_no" else answer


class Actor:
    """A judge that knows the answers, and plays a part."""

    name, revision, template, workers = "test:actor", "7", "words-1", 1

    def __init__(self, change: Change = lambda media, question, answer: answer) -> None:
        self.change = change
        self.calls = 0
        self.told: list[Question] = []

    def answer(self, media: Media, questions: Sequence[Question]) -> list[Answer]:
        self.calls += 1
        self.told += questions
        return [self.change(media, question, right_answer(media, question)) for question in questions]


def test_a_good_judge_passes_without_a_word() -> None:
    actor = Actor()
    report = run_doctor(actor)
    assert (report.verdict, report.errors, report.warnings) == ("passed", (), ())
    assert [kind.kind for kind in report.kinds] == ["all", "existence", "attribute", "count", "relation"]
    assert all(kind.balanced_accuracy == 1.0 and kind.yes == kind.no for kind in report.kinds)
    assert report.choice_accuracy == 1.0
    assert report.says_yes == 0.5
    assert report.repeats[0] > 20
    assert report.repeats[1] == report.alone[1] == 0
    assert all(question.answer == "" and question.foil is None for question in actor.told)
    report.check()


def per_kind_error(rate: float) -> Change:
    return lambda media, question, answer: opposite(answer) if draw("err", media.sha256, question.key) < rate else answer


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (yes(1.0), "says yes to nearly everything"),
        (yes(0.501), "says yes to nearly everything"),
        (yes(0.0), "says no to nearly everything"),
        (yes(0.5), "does not look"),
        (
            lambda media, question, answer: Answer(draw(media.sha256, question.key), 1.0, "") if question.form == "yes_no" else answer,
            "as good as guessing",
        ),
        (lambda media, question, answer: Answer(draw(question.key), 1.0, "") if question.form == "yes_no" else answer, "does not look"),
        (per_kind_error(0.9), "as good as guessing"),
        (
            lambda media, question, answer: (
                Answer(draw(media.sha256, question.key), 1.0, "") if question.kind == "relation" and question.form == "yes_no" else answer
            ),
            "guessing on questions of the kind relation",
        ),
        (
            lambda media, question, answer: (
                Answer(None, 1.0, "", probabilities=(1.0,) + (0.0,) * (len(question.choices) - 1)) if question.choices else answer
            ),
            "among choices",
        ),
        (
            lambda media, question, answer: Answer(answer.p_yes, 0.01, answer.text, "answered", answer.probabilities),
            "does not really answer",
        ),
        (
            lambda media, question, answer: Answer(None, 0.001, "<think>", "unparsed"),
            "not answered, 74 of them unparsed, for example '<think>'",
        ),
        (
            lambda media, question, answer: Answer(None, None, "HTTP 500", "failed") if draw(media.sha256, question.key) < 0.4 else answer,
            "failed",
        ),
        (
            lambda media, question, answer: Answer(math.nan, 1.0, "yes") if question.form == "yes_no" else answer,
            "no probabilities that can be used",
        ),
        (
            lambda media, question, answer: Answer(7.0, 1.0, "yes") if question.form == "yes_no" else answer,
            "no probabilities that can be used",
        ),
        (
            lambda media, question, answer: (
                opposite(answer) if GOLD[media.sha256, question.key] == "yes" and draw(media.sha256, question.key) < 0.5 else answer
            ),
            "where yes is right",
        ),
    ],
    ids=[
        "always yes",
        "hardly more yes than no",
        "always no",
        "never decides",
        "guesses",
        "ignores the picture",
        "always wrong",
        "guesses relations",
        "takes the first choice",
        "low mass",
        "thinks aloud",
        "fails often",
        "not a number",
        "not a probability",
        "misses half",
    ],
)
def test_bad_judges_are_refused_with_the_reason(change: Change, said: str) -> None:
    report = run_doctor(Actor(change))
    assert report.refused
    assert any(said in error for error in report.errors), report.errors
    with pytest.raises(JudgeError, match="fails its canaries"):
        report.check()


@pytest.mark.parametrize("seed", range(30))
def test_no_guesser_passes(seed: int) -> None:
    def guess(media: Media, question: Question, answer: Answer) -> Answer:
        if question.choices:
            shares = [draw(seed, media.sha256, question.key, place) for place in range(len(question.choices))]
            return Answer(None, 1.0, "", probabilities=tuple(share / sum(shares) for share in shares))
        return Answer(draw(seed, media.sha256, question.key), 1.0, "")

    assert run_doctor(Actor(guess)).refused


def test_a_judge_that_is_right_nine_times_in_ten_is_not_refused() -> None:
    refused = 0
    for seed in range(20):

        def err(media: Media, question: Question, answer: Answer, seed: int = seed) -> Answer:
            return opposite(answer) if draw(seed, media.sha256, question.key) < 0.1 else answer

        refused += run_doctor(Actor(err)).refused
    assert refused == 0


def test_answers_that_change_when_asked_again_are_an_error() -> None:
    actor = Actor()
    actor.change = lambda media, question, answer: opposite(answer) if draw(actor.calls, question.key) < 0.25 else answer
    report = run_doctor(actor)
    assert any("change when asked again" in error for error in report.errors)


def test_answers_swayed_by_other_questions_are_an_error() -> None:
    class Swayed(Actor):
        def answer(self, media: Media, questions: Sequence[Question]) -> list[Answer]:
            answers = super().answer(media, questions)
            return [opposite(answer) for answer in answers] if len(questions) == 1 else answers

    report = run_doctor(Swayed())
    assert [error for error in report.errors if "alone" in error]
    assert not [error for error in report.errors if "again" in error]


def test_small_changes_are_a_warning() -> None:
    actor = Actor()
    actor.change = lambda media, question, answer: (
        Answer(abs(answer.p_yes - 0.08 * (actor.calls % 2)), 1.0, "") if answer.p_yes is not None else answer
    )
    report = run_doctor(actor)
    assert report.verdict == "warned"
    assert "not quite repeatable" in report.warnings[0]


def test_words_without_probabilities_and_a_weak_kind_are_warnings() -> None:
    def words(media: Media, question: Question, answer: Answer) -> Answer:
        return right_answer(media, question, sureness=1.0, mass=None)

    report = run_doctor(Actor(words))
    assert (report.verdict, report.label_mass) == ("warned", None)
    assert "only words" in report.warnings[0]
    wrong = {question.key for canary in CANARIES for question in canary.questions if question.kind == "count" and question.form == "yes_no"}
    few = sorted(wrong)[:3]
    report = run_doctor(Actor(lambda media, question, answer: Answer(1.0, 1.0, "") if question.key in few else answer))
    assert report.verdict == "warned"
    assert any(warning.startswith("count: where no is right") for warning in report.warnings)


def test_a_judge_that_loses_answers_cannot_be_examined() -> None:
    class Loses(Actor):
        def answer(self, media: Media, questions: Sequence[Question]) -> list[Answer]:
            return super().answer(media, questions)[1:]

    with pytest.raises(JudgeError, match="a judge gives one for each"):
        run_doctor(Loses())


def test_canaries_of_ones_own() -> None:
    canaries = [Canary(canary.media, canary.questions[:1]) for canary in CANARIES[:4]]
    report = run_doctor(Actor(), canaries)
    assert not report.refused
    assert any("too few canaries of the kind" in warning for warning in report.warnings)
    with pytest.raises(SpecError):
        run_doctor(Actor(), [])


def test_the_report_is_plain_json_and_readable_lines() -> None:
    report = run_doctor(Actor(yes(1.0)))
    value = json.loads(json.dumps(report.to_dict()))
    assert value["verdict"] == "refused"
    assert value["kinds"][0] == {"kind": "all", "sensitivity": 1.0, "specificity": 0.0, "yes": 32, "no": 32, "balanced_accuracy": 0.5}
    assert value["repeats"]["changed"] == 0
    lines = report.lines()
    assert lines[0] == "test:actor (7) asked with words-1"
    assert any(line.startswith("REFUSED: it says yes") for line in lines)
    assert lines[-1] == "verdict: refused"


def test_every_question_is_asked_about_pictures_of_both_answers() -> None:
    golds = defaultdict(set)
    for canary in CANARIES:
        assert canary.media.image.size == (336, 336)
        for question in canary.questions:
            if question.form == "yes_no":
                golds[question.key].add(question.answer)
            else:
                assert question.answer in question.choices
    assert set(map(frozenset, golds.values())) == {frozenset({"yes", "no"})}
    assert len(golds) > 25
    assert len({canary.media.sha256 for canary in CANARIES}) == len(CANARIES)


def test_the_pictures_show_what_their_questions_say() -> None:
    """Colours by area, sides by centres of gravity: told from the pixels alone."""
    rgb = {"red": (220, 20, 20), "green": (20, 150, 40), "blue": (30, 60, 220), "black": (10, 10, 10), "purple": (140, 30, 170)}

    def centres(name: str) -> dict[str, tuple[float, float]]:
        pixels = next(canary for canary in CANARIES if canary.name == name).media.array().astype(int)
        found = {}
        for colour, value in rgb.items():
            places = np.argwhere(np.abs(pixels - value).sum(-1) < 10)
            if len(places) > 500:
                found[colour] = (places[:, 1].mean(), places[:, 0].mean())
        return found

    square, triangle = centres("square, triangle")["blue"], centres("square, triangle")["green"]
    assert square[0] < triangle[0] - 100
    assert centres("triangle, square")["green"][0] < centres("triangle, square")["blue"][0] - 100
    assert centres("circle over star")["red"][1] < centres("circle over star")["black"][1] - 100
    assert centres("star over circle")["black"][1] < centres("star over circle")["red"][1] - 100
    assert set(centres("purple star")) == {"purple"}
    assert set(centres("blue square, red circle")) == {"blue", "red"}
