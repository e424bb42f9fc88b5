from __future__ import annotations

import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image, ImageFilter

from anyscene.language.question import Question
from anyscene.media import Media
from anyscene.sandbox import load_judge, load_model
from anyscene.sandbox.truth import read_seen, true_answers


def right(question, answer, gold=None):
    """Is it answered, and rightly?"""
    gold = question.answer if gold is None else gold
    if answer.status != "answered":
        return False
    if question.form == "yes_no":
        return (answer.p_yes > 0.5) == (gold == "yes")
    if question.form == "choice":
        return question.choices[int(np.argmax(answer.probabilities))] == gold
    return answer.text == gold


def shares(records, size, modality="image", spoil=None):
    """Share of questions rightly answered: all, those with a gold yes, those with a gold no."""
    painter, judge = load_model("renderer", size=size, modality=modality), load_judge("pixels")
    asked, held = Counter(), Counter()
    for seed, record in enumerate(records):
        media = painter.generate([record["caption"]], [seed])[0]
        if spoil is not None:
            media = Media.of_image(spoil(media.array(), seed))
        questions = [Question.from_dict(one) for one in record["questions"]]
        for question, answer in zip(questions, judge.answer(media, questions), strict=True):
            for key in ("all", question.answer):
                asked[key] += 1
                held[key] += right(question, answer)
    return [held[key] / asked[key] for key in ("all", "yes", "no")]


@pytest.mark.parametrize(("size", "least"), [(32, 0.97), (64, 0.99), (128, 0.99)])
def test_clean_pictures_are_judged_rightly(sandbox_records, size, least):
    records = sandbox_records(150, seed=21, complexity=(1, 8))
    assert min(shares(records, size)) >= least


@pytest.mark.parametrize(("modality", "least"), [("video", 0.985), ("3d", 0.985)])
def test_clips_and_views_are_judged_rightly(sandbox_records, modality, least):
    records = sandbox_records(60, seed=22, complexity=(1, 8), modality=modality)
    assert min(shares(records, 64, modality)) >= least


def noisy(pixels, seed):
    return np.clip(pixels + np.random.default_rng(seed).normal(0, 10, pixels.shape), 0, 255).astype(np.uint8)


def blurred(pixels, seed):
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(0.8)))


def compressed(pixels, seed):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=80)
    return np.asarray(Image.open(buffer).convert("RGB"))


@pytest.mark.parametrize(("spoil", "least"), [(noisy, 0.97), (blurred, 0.97), (compressed, 0.95)])
def test_noise_blur_and_compression_mislead_little(sandbox_records, spoil, least):
    assert min(shares(sandbox_records(50, seed=23, complexity=(1, 8)), 64, spoil=spoil)) >= least


def test_wrong_pictures_are_judged_by_what_they_show(sandbox_records):
    painter = load_model("flawed", drop=0.25, swap=0.25, reverse=0.25, miscount=0.25)
    judge, outcomes = load_judge("pixels"), Counter()
    for seed, record in enumerate(sandbox_records(120, seed=24)):
        made = painter.generate([record["caption"]], [seed])[0]
        if not isinstance(made, Media):
            continue
        seen = read_seen(painter.details(record["caption"], seed)["seen"])
        questions = [Question.from_dict(one) for one in record["questions"]]
        for question, answer in zip(questions, judge.answer(made, questions), strict=True):
            true = true_answers(question, seen)
            if question.form == "yes_no":
                outcomes[true[0], right(question, answer, true[0])] += 1
            elif not true:
                outcomes["none", answer.status == "unsure"] += 1
            else:
                outcomes[question.form, answer.text in true] += 1
    for what in ("yes", "no", "choice", "open", "none"):
        assert outcomes[what, True] + outcomes[what, False] > 60
        assert outcomes[what, True] / (outcomes[what, True] + outcomes[what, False]) >= 0.97, what


def ask(media, *texts):
    return load_judge("pixels").answer(media, [Question("q0", "existence", "yes_no", text, "?") for text in texts])


def test_it_says_when_it_cannot_tell():
    noise = Media.of_image(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8))
    assert {answer.status for answer in ask(noise, "Is there a circle?", "Is the background white?")} == {"unsure"}
    empty = Media.of_image(np.full((64, 64, 3), 250, dtype=np.uint8))
    there, background = ask(empty, "Is there a circle?", "Is the background white?")
    assert (there.status, there.text, background.text) == ("answered", "no", "yes")
    assert ask(empty, "Is there a dragon?")[0].status == "unsure"


def test_what_is_not_there_has_no_attributes():
    media = load_model("renderer").generate(["There is a red star."], [0])[0]
    assert [answer.text for answer in ask(media, "Is the heart red?", "Is the heart blue?", "Is the star red?")] == ["no", "no", "yes"]
    choice = Question("q0", "attribute", "choice", "What color is the heart?", "red", ("red", "blue"))
    assert load_judge("pixels").answer(media, [choice])[0].status == "unsure"


def test_doubt_grows_with_the_damage():
    judge = load_judge("pixels")
    doubts = []
    for spread in (0, 25, 60):
        unsure = []
        for seed in range(12):
            media = load_model("renderer", size=32).generate(["There is a red star, along with a blue heart."], [seed])[0]
            pixels = np.clip(media.array() + np.random.default_rng(seed).normal(0, spread, (32, 32, 3)), 0, 255).astype(np.uint8)
            question = Question("q0", "existence", "yes_no", "Is there a star?", "yes")
            answer = judge.answer(Media.of_image(pixels), [question])[0]
            unsure.append(0.5 if answer.p_yes is None else min(answer.p_yes, 1 - answer.p_yes))
        doubts.append(np.mean(unsure))
    assert doubts[0] < 0.01 < doubts[1] < doubts[2]
