from __future__ import annotations

import numpy as np
import pytest

from anyscene.errors import SpecError
from anyscene.media import Media
from anyscene.models import Failure, Model, load_model
from anyscene.sandbox import load_judge
from anyscene.sandbox.camera import Optics, photograph
from anyscene.sandbox.painters import KnowsTruth

CAPTION = "A large red star is to the left of three blue rings. The scene is shown on a white background."
NONE = Optics(0, 0, 0, 0, 0, 0)
GREY = np.full((64, 64, 3), 128, np.uint8)


def camera(**options):
    return load_model("sandbox:camera", **options)


def taken(seed=7, **options):
    (media,) = camera(**options).generate([CAPTION], [seed])
    return media


def only(**parts):
    return Optics(**{"illumination": 0, "blur": 0, "vignette": 0, "shot": 0, "read": 0, "balance": 0, **parts})


def test_it_is_a_model_that_knows_what_it_shows():
    model = camera()
    assert isinstance(model, Model)
    assert isinstance(model, KnowsTruth)
    assert (model.name, model.modality) == ("sandbox:camera", "image")
    assert model.details(CAPTION, 7)["truth"] == load_model("sandbox:renderer").details(CAPTION, 7)["truth"]
    assert model.settings != camera(strength=0.5).settings


def test_a_photograph_is_a_function_of_its_caption_and_seed_alone():
    alone = taken().sha256
    among = camera().generate(["A red ring.", CAPTION, "A pink heart."], [1, 7, 2])[1]
    assert alone == among.sha256
    assert taken(seed=8).sha256 != alone


def test_every_level_of_colour_survives_a_perfect_camera():
    levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    assert (photograph(levels, 3, NONE) == levels).all()


def test_at_strength_nothing_it_is_the_renderer():
    (plain,) = load_model("sandbox:renderer").generate([CAPTION], [7])
    assert taken(strength=0).sha256 == plain.sha256
    assert np.abs(taken().array().astype(int) - plain.array()).mean() > 1


def test_shot_noise_grows_with_the_light_as_stated_and_read_noise_does_not():
    for level in (60, 200):
        light = ((level / 255 + 0.055) / 1.055) ** 2.4
        found = photograph(np.full((200, 200, 3), level, np.uint8), 5, only(shot=0.03)) / 255
        spread = (((found + 0.055) / 1.055) ** 2.4).std()
        assert abs(spread / (0.03 * np.sqrt(light)) - 1) < 0.05
        found = photograph(np.full((200, 200, 3), level, np.uint8), 5, only(read=0.02)) / 255
        assert abs((((found + 0.055) / 1.055) ** 2.4).std() / 0.02 - 1) < 0.05


def test_noise_of_neighbours_and_colours_has_nothing_in_common():
    noise = photograph(np.full((128, 128, 3), 128, np.uint8), 9, only(shot=0.05)).astype(float)
    noise -= noise.mean((0, 1))
    for one, other in ((noise[:, 1:], noise[:, :-1]), (noise[1:], noise[:-1]), (noise[..., 1:], noise[..., :-1])):
        assert abs((one * other).mean() / noise.var()) < 0.03


def test_the_lens_darkens_corners_and_never_the_middle():
    pictures = [photograph(GREY, key, only(vignette=0.5)).astype(int) for key in range(20)]
    assert {int(abs(one[31, 31, 0] - 128)) for one in pictures} == {0}
    corners = [int(one[0, 0, 0]) for one in pictures]
    assert max(corners) <= 128
    assert min(corners) < 105
    assert len(set(corners)) > 10


def test_light_comes_from_any_side():
    tilts = [photograph(GREY, key, only(illumination=0.4)).astype(int) for key in range(40)]
    down = [one[-1].mean() - one[0].mean() for one in tilts]
    across = [one[:, -1].mean() - one[:, 0].mean() for one in tilts]
    for side in (down, across):
        assert min(side) < -8
        assert max(side) > 8


def test_blur_keeps_the_light_and_softens_edges():
    edge = np.zeros((32, 32, 3), np.uint8)
    edge[:, 16:] = 255
    found = photograph(edge, 1, only(blur=2.0))
    row = found[16, :, 1].astype(int)
    assert (np.diff(row) >= 0).all()
    assert ((row > 5) & (row < 250)).sum() >= 3
    assert (photograph(GREY, 1, only(blur=2.0)) == GREY).all()


def test_white_balance_moves_red_and_blue_and_leaves_green():
    found = np.array([photograph(GREY, key, only(balance=0.2))[0, 0] for key in range(40)]).astype(int)
    assert set(found[:, 1]) == {128}
    for channel in (0, 2):
        assert found[:, channel].min() < 122
        assert found[:, channel].max() > 134


@pytest.mark.parametrize("modality", ["video", "3d"])
def test_frames_share_the_lens_and_not_the_noise(modality):
    media = taken(modality=modality, size=32, shot=0, read=0)
    noisy = taken(modality=modality, size=32)
    (plain,) = load_model("sandbox:renderer", modality=modality, size=32).generate([CAPTION], [7])
    assert len(media.frames) == len(plain.frames) == 8
    assert isinstance(media, Media)
    assert media.modality == modality
    spoilt = [noisy.array(place).astype(int) - media.array(place) for place in range(2)]
    assert (spoilt[0] != spoilt[1]).mean() > 0.3


def test_a_caption_that_cannot_be_drawn_is_no_photograph():
    found = camera().generate(["Nothing of the sandbox."], [1])[0]
    assert isinstance(found, Failure)
    assert "cannot draw" in found.reason


def test_the_judge_of_pixels_still_reads_most_photographs(sandbox_records):
    """The default camera disturbs pictures slightly: what they show can still be read."""
    from anyscene.language.question import Question
    from anyscene.sandbox.truth import read_seen, true_answer

    judge, model, right, asked = load_judge("pixels"), camera(), 0, 0
    for number, record in enumerate(sandbox_records(40, seed=3)):
        (media,) = model.generate([record["caption"]], [number])
        seen = read_seen(model.details(record["caption"], number)["seen"])
        questions = [Question.from_dict(one) for one in record["questions"] if one["form"] == "yes_no"]
        for question, answer in zip(questions, judge.answer(media, questions), strict=True):
            truth = true_answer(question, seen)
            if truth is not None and answer.p_yes is not None:
                asked += 1
                right += (answer.p_yes > 0.5) == (truth == "yes")

    assert asked > 300
    assert right / asked > 0.8


@pytest.mark.parametrize("options", [{"strength": 5}, {"blur": -1}, {"vignette": 0.5, "strength": 2}, {"grain": 1}, {"modality": "smell"}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(SpecError):
        camera(**options)


@pytest.mark.torch
def test_what_a_trained_model_draws_is_photographed_alike():
    pytest.importorskip("torch")
    drawn, model = load_model("sandbox:autoregressive"), camera(of="autoregressive")
    assert isinstance(model, Model)
    assert not isinstance(model, KnowsTruth)  # nobody knows what it drew
    assert (model.name, model.modality) == ("sandbox:camera-of-autoregressive", "image")
    assert {**drawn.settings}.items() <= {**model.settings}.items()
    (plain,), (photo,) = (one.generate(["A red ring."], [5]) for one in (drawn, model))
    (bare,) = camera(of="autoregressive", strength=0).generate(["A red ring."], [5])
    assert bare.sha256 == plain.sha256
    assert 1 < np.abs(photo.array().astype(int) - plain.array()).mean() < 40
    with pytest.raises(SpecError, match="leave out size"):
        camera(of="autoregressive", size=64)
