from __future__ import annotations

import pytest

from anyscene.errors import SpecError
from anyscene.judges import Judge
from anyscene.language.question import Question
from anyscene.sandbox import load_judge, load_model


def asked(sandbox_records, n, seed=0):
    """(media, questions) of records, drawn without flaws."""
    painter = load_model("renderer", size=32)
    pairs = []
    for record in sandbox_records(n, seed=seed):
        media = painter.generate([record["caption"]], [seed])[0]
        pairs.append((media, [Question.from_dict(one) for one in record["questions"]]))
    return pairs


@pytest.mark.parametrize("name", ["pixels", "yes", "noisy"])
def test_judges_keep_the_protocol(sandbox_records, name):
    judge = load_judge(name)
    assert isinstance(judge, Judge)
    assert judge.name == f"sandbox:{name}"
    for media, questions in asked(sandbox_records, 5):
        answers = judge.answer(media, questions)
        assert len(answers) == len(questions)
        assert answers == judge.answer(media, questions)
        assert answers[::-1] == judge.answer(media, questions[::-1])
        assert judge.answer(media, []) == []


def test_yes_says_yes_and_takes_the_first_choice(sandbox_records):
    judge = load_judge("yes")
    for media, questions in asked(sandbox_records, 5):
        for question, answer in zip(questions, judge.answer(media, questions), strict=True):
            if question.form == "yes_no":
                assert (answer.p_yes, answer.status) == (1.0, "answered")
            elif question.form == "choice":
                assert answer.probabilities == (1.0, *[0.0] * (len(question.choices) - 1))
            else:
                assert answer.status == "unparsed"


def test_noisy_errs_at_the_rates_it_is_given(sandbox_records):
    judge, sure = load_judge("noisy", sensitivity=0.9, specificity=0.7), load_judge("pixels")
    kept = {"yes": [0, 0], "no": [0, 0]}
    for media, questions in asked(sandbox_records, 90):
        for right, noisy in zip(sure.answer(media, questions), judge.answer(media, questions), strict=True):
            if right.p_yes is not None and right.status == "answered":
                kept[right.text][0] += right.text == noisy.text
                kept[right.text][1] += 1
                assert noisy.p_yes in (right.p_yes, 1 - right.p_yes)
    assert kept["yes"][0] / kept["yes"][1] == pytest.approx(0.9, abs=0.04)
    assert kept["no"][0] / kept["no"][1] == pytest.approx(0.7, abs=0.07)


def test_noisy_errs_elsewhere_with_another_seed_and_nowhere_with_rates_of_one(sandbox_records):
    pairs = asked(sandbox_records, 10)

    def answers(**options):
        judge = load_judge("noisy", **options)
        return [answer for media, questions in pairs for answer in judge.answer(media, questions)]

    assert answers(seed=1) != answers(seed=2)
    plain = [answer for media, questions in pairs for answer in load_judge("pixels").answer(media, questions)]
    assert answers(sensitivity=1.0, specificity=1.0) == plain


def test_noisy_turns_choices_too(sandbox_records):
    judge, turned = load_judge("noisy", sensitivity=0.0), 0
    for media, questions in asked(sandbox_records, 10):
        for question, answer in zip(questions, judge.answer(media, questions), strict=True):
            if question.form == "choice" and answer.status == "answered":
                assert answer.text != question.answer
                assert sum(answer.probabilities) == pytest.approx(1)
                turned += 1
    assert turned > 10


def test_its_rates_are_part_of_its_identity():
    assert load_judge("noisy", sensitivity="0.5").revision != load_judge("noisy").revision


@pytest.mark.parametrize("options", [{"sensitivity": 1.5}, {"specificity": -0.1}, {"temperature": 1}])
def test_wrong_options_are_refused(options):
    with pytest.raises(SpecError):
        load_judge("noisy", **options)
