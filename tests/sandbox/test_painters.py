from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from anyscene.errors import CaptionParseError, SpecError
from anyscene.media import Media, read_media
from anyscene.models import Failure, Model
from anyscene.sandbox import load_model, load_sandbox_taxonomy
from anyscene.sandbox.painters import FlawRates, KnowsTruth, draw_with_flaws
from anyscene.sandbox.renderer import render
from anyscene.scene.graph import SceneGraph

CAPTION = "A red star is to the left of three large hearts. There is also a ring. The scene is shown on a black background."
KINDS = ("drop", "swap", "reverse", "miscount")


def elements_of(drawn):
    """Elements that can go wrong, by the kind of flaw; those of dropped objects are left out."""
    gone = {flaw.element for flaw in drawn.flaws if flaw.kind == "drop"}
    found = {"drop": [one.id for one in drawn.asked.objects], "swap": [], "miscount": [], "reverse": []}
    for one in drawn.asked.objects:
        if one.id not in gone:
            for number, attribute in enumerate(one.attributes):
                found["miscount" if attribute.type == "count" else "swap"].append(f"{one.id}.a{number}")
    found["swap"] += [f"s{number}" for number in range(len(drawn.asked.scene_attributes))]
    found["reverse"] = [f"r{number}" for number, one in enumerate(drawn.asked.relations) if not gone & {one.subject, one.object}]
    return found


@pytest.mark.parametrize("rate", [0.05, 0.3])
def test_flaws_come_at_the_stated_rates(sandbox_records, rate):
    able, wrong = Counter(), Counter()
    for number, record in enumerate(sandbox_records(2000, seed=5)):
        drawn = draw_with_flaws(record["caption"], number, FlawRates(rate, rate, rate, rate))
        able.update({kind: len(own) for kind, own in elements_of(drawn).items()})
        wrong.update(flaw.kind for flaw in drawn.flaws)
    for kind in KINDS:
        assert able[kind] > 300
        assert abs(wrong[kind] - able[kind] * rate) < 4 * np.sqrt(able[kind] * rate * (1 - rate)), kind


def test_a_flaw_of_one_element_says_nothing_of_another(sandbox_records):
    rate, both, pairs = 0.3, 0, 0
    for number, record in enumerate(sandbox_records(1500, seed=6)):
        drawn = draw_with_flaws(record["caption"], number, FlawRates(rate, rate, rate, rate))
        hit = {flaw.element for flaw in drawn.flaws}
        own = elements_of(drawn)
        for one, other in combinations(own["drop"] + [name for name in own["swap"] if name[0] == "s"], 2):
            pairs += 1
            both += one in hit and other in hit
    chance = rate * rate
    assert pairs > 3000
    assert abs(both - pairs * chance) < 5 * np.sqrt(pairs * chance * (1 - chance))


@pytest.mark.parametrize("kind", KINDS)
def test_a_rate_of_one_turns_every_element_of_its_kind_and_no_other(sandbox_records, kind):
    rates = FlawRates(**{name: float(name == kind) for name in KINDS})
    turned = 0
    for record in sandbox_records(300, seed=8, complexity=(3, 8)):
        drawn = draw_with_flaws(record["caption"], 1, rates)
        assert {flaw.element for flaw in drawn.flaws} == set(elements_of(drawn)[kind])
        assert {flaw.kind for flaw in drawn.flaws} <= {kind}
        turned += len(drawn.flaws)
    assert turned > 30


def test_what_is_drawn_differs_from_the_caption_by_the_flaws_alone(sandbox_records):
    for number, record in enumerate(sandbox_records(300, seed=9)):
        drawn = draw_with_flaws(record["caption"], number, FlawRates(0.2, 0.2, 0.2, 0.2))
        flaws = {flaw.element: flaw for flaw in drawn.flaws}
        if drawn.graph is None:
            continue
        there = {one.id: one for one in drawn.graph.objects}
        for one in drawn.asked.objects:
            assert (one.id in there) == (one.id not in flaws)
            for place, attribute in enumerate(one.attributes if one.id in there else ()):
                flaw = flaws.get(f"{one.id}.a{place}")
                if flaw is None:
                    assert attribute in there[one.id].attributes
                elif flaw.kind == "swap":
                    assert flaw.drawn != attribute.value
                    assert load_sandbox_taxonomy().find_attribute(attribute.type, flaw.drawn) >= 0
                    assert flaw.drawn in {other.value for other in there[one.id].attributes}
        for place, attribute in enumerate(drawn.asked.scene_attributes):
            assert (drawn.graph.scene_attributes[place] != attribute) == (f"s{place}" in flaws)


def test_relations_in_a_circle_are_reversed_together_and_can_always_be_drawn():
    caption = "A star is to the left of a heart and is to the left of an arrow. The heart is to the left of the arrow."
    seen = Counter()
    for seed in range(400):
        drawn = draw_with_flaws(caption, seed, FlawRates(0, 0, 0.3, 0))
        seen[len(drawn.flaws)] += 1
    assert set(seen) == {0, 3}
    assert abs(seen[3] - 120) < 4 * np.sqrt(400 * 0.3 * 0.7)


def test_a_painter_is_a_model_that_knows_the_truth():
    for name in ("renderer", "flawed"):
        painter = load_model(name)
        assert isinstance(painter, Model) and isinstance(painter, KnowsTruth)
    assert load_model("flawed").settings == {
        "drop": 0.1,
        "swap": 0.1,
        "reverse": 0.1,
        "miscount": 0.1,
        "size": 64,
        "refuse": 0.0,
        "fail": 0.0,
        "version": 1,
    }


def test_the_renderer_paints_what_render_draws(sandbox_records):
    records = sandbox_records(20, seed=1)
    made = load_model("renderer", size=48).generate([record["caption"] for record in records], list(range(20)))
    for seed, (record, media) in enumerate(zip(records, made, strict=True)):
        assert np.array_equal(media.array(), render(SceneGraph.from_dict(record["graph"]), seed, 48).image)
        assert read_media(media.data).sha256 == media.sha256


def test_media_do_not_depend_on_their_neighbours(sandbox_records):
    captions = [record["caption"] for record in sandbox_records(10, seed=1)]
    painter = load_model("flawed")
    together = painter.generate(captions, list(range(10)))
    alone = [painter.generate([caption], [seed])[0] for seed, caption in enumerate(captions)]
    assert [one.sha256 for one in together] == [one.sha256 for one in alone]


@pytest.mark.parametrize(("modality", "frames"), [("image", 1), ("video", 8), ("3d", 8)])
def test_all_modalities_are_painted(modality, frames):
    (media,) = load_model("flawed", modality=modality).generate([CAPTION], [0])
    assert isinstance(media, Media)
    assert (media.modality, len(media.frames), media.frames[0].size) == (modality, frames, (64, 64))


def test_details_are_json_and_hold_the_graph_really_drawn():
    painter = load_model("flawed", drop=0.5, swap=0.5)
    for seed in range(30):
        details, truth = painter.details(CAPTION, seed), painter.truth(CAPTION, seed)
        if truth is None:
            assert details["truth"]["objects"] == []
        else:
            assert SceneGraph.from_dict(details["truth"]) == truth


def test_an_empty_picture_is_painted_where_every_object_is_dropped():
    painter = load_model("flawed", drop=1, swap=0)
    (media,) = painter.generate([CAPTION], [0])
    assert painter.truth(CAPTION, 0) is None
    assert np.unique(media.array().reshape(-1, 3), axis=0).tolist() == [[22, 22, 22]]


def test_refusals_and_failures_come_at_their_rates_and_say_why():
    painter = load_model("flawed", refuse=0.2, fail=0.25)
    made = painter.generate([CAPTION] * 400, list(range(400)))
    counts = Counter(one.status if isinstance(one, Failure) else "made" for one in made)
    assert abs(counts["refused"] - 80) < 32
    assert abs(counts["failed"] - 80) < 32
    assert (
        next(one.reason for one in made if isinstance(one, Failure) and one.status == "refused")
        == "the painter would not draw this caption (option refuse)"
    )


def test_captions_of_other_vocabularies_fail_one_by_one():
    good, bad = load_model("renderer").generate([CAPTION, "A dog is on a mat."], [0, 0])
    assert isinstance(good, Media)
    assert isinstance(bad, Failure) and bad.status == "failed"
    assert bad.reason.startswith("the sandbox cannot draw this caption: not a caption")
    with pytest.raises(CaptionParseError):
        load_model("renderer").truth("A dog is on a mat.", 0)


def test_rates_out_of_range_are_refused():
    with pytest.raises(SpecError, match=r"swap = 1.2: a rate must be from 0 to 1"):
        FlawRates(swap=1.2)
