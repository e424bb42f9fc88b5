"""T2I-CompBench++: every rule on synthetic boxes in both readings, phrases, released results, files with every fault."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from anyscene.benchmarks.benchmark import Items, Replies, Reply
from anyscene.benchmarks.boxes import Box, Detections, Seen
from anyscene.benchmarks.compbench_phrases import count_things, is_plain, noun_phrases, relation_of, singular
from anyscene.benchmarks.compbench_rules import (
    FAULTS,
    MEND_ALL,
    RELATIONS_2D,
    depth_score,
    numeracy_score,
    phrase_product,
    position_score,
    spatial_score,
    three_in_one,
)
from anyscene.benchmarks.t2i_compbench import CATEGORIES, T2I_COMPBENCH
from anyscene.errors import RecordError, SpecError

DATA = Path(__file__).parents[3] / "shared" / "data" / "t2i-compbench"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the prompts of T2I-CompBench are not here")
PROMPTS = {
    "color": ["a green bench and a blue bowl", "a red cup and a black cow"],
    "spatial": ["a cup on the left of a cow", "a dog on top of a dog"],
    "numeracy": ["two boys and one cat", "three televisions"],
    "complex": ["The red hat was on top of the brown coat rack.", "The dog chased the cat."],
}


def box(name: str, x: float, y: float, *, score: float = 1.0, side: float = 40) -> Box:
    return Box(name, score, x - side / 2, y - side / 2, x + side / 2, y + side / 2)


def write(folder: Path, prompts: dict[str, list[str]]) -> Path:
    folder.mkdir(exist_ok=True)
    for category, own in prompts.items():
        (folder / f"{category}_val.txt").write_text("".join(f"{prompt}\n" for prompt in own))
    return folder


@pytest.fixture
def items(tmp_path: Path) -> Items:
    return T2I_COMPBENCH.import_items(write(tmp_path / "prompts", PROMPTS))


def score(a: Box, b: Box, relation: str, mend: Any = ()) -> float:
    return spatial_score([a, b], a.name, b.name, relation, mend=mend)


# ---- two dimensions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mend", [(), MEND_ALL])
@pytest.mark.parametrize(
    ("relation", "x", "y"),
    [("on the left of", -100, 0), ("on the right of", 100, 0), ("on the top of", 0, -100), ("on the bottom of", 0, 100)],
)
def test_each_relation_in_both_directions(relation: str, x: float, y: float, mend: Any) -> None:
    a, b = box("a", 200 + x, 200 + y), box("b", 200, 200)
    assert position_score(relation, a, b, mend) == 1.0 and position_score(relation, b, a, mend) == 0.0
    across = box("a", 200 + y, 200 + x)
    assert position_score(relation, across, b, mend) == 0.0
    diagonal = box("a", 200 + x + y, 200 + x + y)
    assert position_score(relation, diagonal, b, mend) == 0.0  # as far aside as along


def test_overlap_makes_a_position_worth_less() -> None:
    a, b = box("a", 190, 200), box("b", 200, 200)  # 30 x 40 shared of 2,000
    assert position_score("on the left of", a, b) == pytest.approx(0.1 / 0.6)


@pytest.mark.parametrize("relation", ["next to", "on side of", "near"])
def test_nearness_in_pixels(relation: str) -> None:
    b = box("b", 500, 500)
    assert position_score(relation, box("a", 149, 149), box("b", 0, 0)) == 1.0
    assert position_score(relation, box("a", 500, 100), b) == 1.0  # aligned on one axis
    assert position_score(relation, box("a", 200, 100), b) == pytest.approx(150 / 400)
    assert position_score(relation, box("a", 350, 350), b) == pytest.approx(1.0)


def test_on_top_of_has_no_branch_officially() -> None:
    a, b = box("a", 200, 100), box("b", 200, 200)
    assert position_score("on top of", a, b) == 0.0 and position_score("on top of", a, b, {"on-top-of"}) == 1.0
    with pytest.raises(SpecError, match="relation 'inside'"):
        position_score("inside", a, b)


def test_confidence_and_the_cut_at_one_half() -> None:
    b = box("b", 200, 200, score=0.6)
    assert score(box("a", 100, 200, score=0.8), b, "on the left of") == pytest.approx(0.2 + 0.15 + 0.5)
    assert score(box("a", 300, 200, score=0.8), b, "on the left of") == 0.0  # 0.35 is below one half
    assert score(box("a", 300, 200, score=1.0), box("b", 200, 200, score=1.0), "on the left of") == 0.5
    assert spatial_score([b], "a", "b", "near") == 0.0 and spatial_score([], "a", "b", "near") == 0.0


def test_the_first_box_of_a_name_counts_and_people_are_persons() -> None:
    boxes = [box("person", 100, 200), box("person", 300, 200), box("cow", 200, 200)]
    assert spatial_score(boxes, "girl", "cow", "on the left of") == 1.0
    assert spatial_score(boxes, "man", "cow", "on the right of") == 0.5


def test_two_things_of_one_name_are_one_box_officially() -> None:
    boxes = [box("dog", 100, 200), box("dog", 300, 200)]
    assert spatial_score(boxes, "dog", "dog", "on the left of") == 0.5
    assert spatial_score(boxes, "dog", "dog", "on the left of", mend={"same-thing-twice"}) == 1.0
    assert spatial_score(boxes[:1], "dog", "dog", "on the left of", mend={"same-thing-twice"}) == 0.0


def test_boxes_are_brought_to_pictures_of_480() -> None:
    a, b = box("a", 0, 0), box("b", 300, 300)
    assert spatial_score([a, b], "a", "b", "near") == pytest.approx(0.5 + 0.25)
    assert spatial_score([a, b], "a", "b", "near", longer_side=1024) == 1.0  # 141 pixels apart
    assert spatial_score([a, b], "a", "b", "near", longer_side=400) == pytest.approx(0.75)  # smaller ones stay


def test_depth_by_its_sign_and_the_overlap() -> None:
    a, b, far = box("a", 200, 200), box("b", 200, 200), box("b", 220, 200)
    assert depth_score([a, b], [2.0, 1.0], "a", "b", "in front of") == 1.0
    assert depth_score([a, b], [2.0, 1.0], "a", "b", "behind") == 0.5
    assert depth_score([a, b], [1.0, 2.0], "a", "b", "hidden by") == 1.0
    assert depth_score([a, b], [1.0, 1.0], "a", "b", "in front of") == 0.5
    assert depth_score([a, far], [2.0, 1.0], "a", "b", "in front of") == pytest.approx(0.5 + (800 / 2400) / 0.5 / 2)
    assert depth_score([a], [1.0], "a", "b", "in front of") == 0.25  # no cut at one half
    with pytest.raises(SpecError, match="relation 'near'"):
        depth_score([a], [1.0], "a", "b", "near")


# ---- numbers ----------------------------------------------------------------------------------------------------------------


def test_half_for_being_there_and_half_for_the_number() -> None:
    cats = [box("cat", 100 * at, 0) for at in range(3)]
    assert numeracy_score(cats, [("cat", 3)]) == 1.0
    assert numeracy_score(cats, [("cat", 2)]) == 0.5
    assert numeracy_score(cats, [("cat", 3), ("dog", 1)]) == 0.5
    assert numeracy_score([], [("cat", 1)]) == 0.0
    assert math.isnan(numeracy_score(cats, []))


def test_boxes_that_are_nearly_the_same_count_once() -> None:
    one, same, inside = box("cat", 100, 100, side=100), box("cat", 101, 100, side=100), box("cat", 100, 100, side=30)
    assert numeracy_score([one, same, inside], [("cat", 1)]) == 1.0
    assert numeracy_score([one, box("dog", 101, 100, side=100)], [("cat", 1), ("dog", 1)]) == 1.0
    assert numeracy_score([one, box("cat", 115, 100, side=100)], [("cat", 2)]) == 1.0


def test_letters_within_a_name_are_enough_officially() -> None:
    boxes = [box("cattle", 0, 0), box("cattle", 100, 0)]
    assert numeracy_score(boxes, [("cat", 2)]) == 1.0 and numeracy_score(boxes, [("cat", 2)], {"part-of-a-word"}) == 0.0
    assert numeracy_score([box("wild cat", 0, 0)], [("cat", 1)], {"part-of-a-word"}) == 1.0


def test_synonyms_and_the_misspelt_one() -> None:
    assert numeracy_score([box("person", 0, 0)], [("woman", 1)]) == 1.0
    assert numeracy_score([box("boat", 0, 0)], [("ship", 1)]) == 1.0
    assert numeracy_score([box("tv", 0, 0)], [("television", 1)]) == 0.0
    assert numeracy_score([box("tv", 0, 0)], [("television", 1)], {"television"}) == 1.0


# ---- phrases ----------------------------------------------------------------------------------------------------------------


def test_the_product_of_phrases() -> None:
    assert phrase_product([0.5, 0.25]) == 0.125
    assert phrase_product([1 / 3, 1 / 3]) == 0.1111 and phrase_product([1 / 3, 1 / 3], MEND_ALL) == pytest.approx(1 / 9)
    nine = [1.0] * 8 + [0.0]
    assert phrase_product(nine) == 1.0 and phrase_product(nine, {"eight-phrases"}) == 0.0
    assert math.isnan(phrase_product([0.5, math.nan], MEND_ALL))


def test_three_in_one_by_the_kind_of_prompt() -> None:
    assert three_in_one("spatial", 0.2, 0.6, math.nan) == pytest.approx(0.4)
    assert three_in_one("action", 0.2, math.nan, 0.3) == pytest.approx(0.25)
    assert three_in_one("spatialaction", 0.2, 0.6, 0.4) == pytest.approx(0.4)
    with pytest.raises(SpecError, match="subset 'other'"):
        three_in_one("other", 0, 0, 0)


@pytest.mark.parametrize(
    ("prompt", "phrases"),
    [
        ("a green bench and a blue bowl", ["a green bench", "a blue bowl"]),
        ("rubber sole shoes and fluffy clouds", ["rubber sole shoes", "fluffy clouds"]),
        ("The red hat was on top of the brown coat rack.", ["The red hat", "the brown coat rack"]),
        ("The white cat is lying on the brown sofa.", ["The white cat", "the brown sofa"]),
        ("The metallic whisk and wooden bowl mix the fluffy batter.", ["The metallic whisk", "wooden bowl", "the fluffy batter"]),
        ("The sharp, angular lines of the sculpture", ["The sharp angular lines", "the sculpture"]),
    ],
)
def test_noun_phrases(prompt: str, phrases: list[str]) -> None:
    assert noun_phrases(prompt) == phrases
    assert is_plain(prompt) == (prompt[0] in "ar")


def test_relations_and_numbers_are_read_from_prompts() -> None:
    assert relation_of("a giraffe next to a lamp") == ("giraffe", "next to", "lamp")
    assert relation_of("a phone in front of a phone") == ("phone", "in front of", "phone")
    assert relation_of("a giraffe eats a lamp") is None
    assert count_things("two boys, three knives and one sheep", {}) == [
        ("two boys", "boy", 2),
        ("three knives", "knife", 3),
        ("one sheep", "sheep", 1),
    ]
    assert count_things("three bees created a warm atmosphere", {}) == [("three bees", "bee", 3)]
    assert count_things("a turtle", {}) == [("a turtle", "turtle", 1)]
    known = {"hot dogs": "hot dog", "hot dog": "hot dog"}
    assert count_things("two hot dogs and three fires", known) == [("two hot dogs", "hot dog", 2)]
    assert [singular(noun) for noun in ("couches", "butterflies", "mice", "glass", "tomatoes", "people")] == [
        "couch",
        "butterfly",
        "mouse",
        "glass",
        "tomato",
        "person",
    ]


# ---- the benchmark ----------------------------------------------------------------------------------------------------------


def results(folder: Path, category: str, kind: str, values: list[float], *, text: bool = False) -> None:
    own = folder / category / kind
    own.mkdir(parents=True)
    rows = [{"question_id": at, "answer": f"{value:.4f}" if text else value} for at, value in enumerate(values)]
    (own / "vqa_result.json").write_text(json.dumps(rows))


def test_results_of_the_released_scripts(items: Items, tmp_path: Path) -> None:
    out = tmp_path / "out"
    results(out, "color", "annotation_blip", [0.5, 0.7, 0.1, 0.3], text=True)
    results(out, "spatial", "annotation_obj_detection_2d", [1.0, 1.0, 0.0, 0.0])
    results(out, "color", "annotation1_blip", [0.0] * 4)  # single phrases are not the score
    found = T2I_COMPBENCH.score(items, T2I_COMPBENCH.read_evidence(out, items, model="m"))
    assert found.official.by["category"]["color"].value == pytest.approx(0.4)
    assert found.official.by["category"]["spatial"].value == pytest.approx(0.5)
    assert found.official.headline.value == pytest.approx(0.45) and found.judge_note == ""
    assert found.counts.media == 8 * 2 and found.counts.media_found == 8
    assert any("2 categories have no score" in note.line() for note in found.notes)


def test_three_in_one_is_computed_where_the_kind_of_prompt_is_known(tmp_path: Path) -> None:
    folder = write(tmp_path / "prompts", {"complex": PROMPTS["complex"]})
    (folder / "complex_val_spatial.txt").write_text("The red hat was on top of the brown coat rack\n")
    (folder / "complex_val_action.txt").write_text("the dog chased the cat.\n")
    items = T2I_COMPBENCH.import_items(folder)
    out = tmp_path / "out"
    for kind, values in (("annotation_blip", [0.2, 0.4]), ("annotation_obj_detection", [0.6, 0.0]), ("annotation_clip", [0.9, 0.3])):
        results(out, "complex", kind, values)
    found = T2I_COMPBENCH.score(items, T2I_COMPBENCH.read_evidence(out, items))
    assert found.official.by["category"]["complex"].value == pytest.approx((0.4 + 0.35) / 2)


def test_scores_of_a_file(items: Items, tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    rows = [{"item": "color-0000", "sample": at, "metric": "blip", "value": at / 2} for at in range(3)]
    rows += [
        {"item": "color-0001", "sample": 0, "metric": "blip", "value": 1.0},
        {"item": "nobody", "sample": 0, "metric": "blip", "value": 1.0},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = T2I_COMPBENCH.score(items, T2I_COMPBENCH.read_evidence(path, items))
    assert found.official.by["category"]["color"].value == pytest.approx(2.5 / 4)
    assert found.fixed.by["category"]["color"].value == pytest.approx(0.75)  # prompts count alike
    assert found.faults[0].name == "pictures-not-prompts" and found.faults[0].effect == pytest.approx(-0.125)


def test_boxes_are_scored_and_each_fault_has_its_effect(items: Items) -> None:
    ids = {record["caption"]: record["id"] for record in items.records}
    seen = {
        (ids["a cup on the left of a cow"], 0): Seen((box("cup", 100, 100), box("cow", 300, 100))),
        (ids["a dog on top of a dog"], 0): Seen((box("dog", 100, 100), box("dog", 100, 300))),
        (ids["two boys and one cat"], 0): Seen((box("person", 0, 0), box("person", 100, 0), box("cattle", 200, 0))),
        (ids["three televisions"], 0): Seen(tuple(box("tv", 100 * at, 0) for at in range(3))),
    }
    found = T2I_COMPBENCH.score(items, Detections(seen, "m", "d", 1))
    assert found.official.by["category"]["spatial"].value == pytest.approx((1.0 + 0.5) / 2)
    assert found.official.by["category"]["numeracy"].value == pytest.approx((1.0 + 0.0) / 2)
    assert found.fixed.by["category"]["spatial"].value == pytest.approx(1.0)
    assert found.fixed.by["category"]["numeracy"].value == pytest.approx((0.5 + 1.0) / 2)
    effects = {fault.name: fault.effect for fault in found.faults}
    assert effects["on-top-of"] == 0 and effects["same-thing-twice"] == 0  # only both together move it
    assert effects["part-of-a-word"] == pytest.approx(0.125) and effects["television"] == pytest.approx(-0.25)
    assert effects["depth-axes"] is None and set(FAULTS) <= set(effects)


def test_a_judge_answers_the_phrases(items: Items) -> None:
    said = {("color-0000", 0): {"q1": Reply("", 0.5), "q2": Reply("", 0.5)}, ("color-0001", 0): {"q1": Reply("", 0.9)}}
    found = T2I_COMPBENCH.score(items, Replies(said, "m", "j"))
    assert found.official.by["category"]["color"].value == 0.25 and found.counts.media_found == 1  # half answered is missing
    assert "not the official models" in found.judge_note
    with pytest.raises(RecordError, match="nothing in the evidence"):
        T2I_COMPBENCH.score(items, Detections({}))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({}, "a list of question_id and answer"),
        ([{"question_id": 0}], "entry 1: it lacks the field 'answer'"),
        ([{"question_id": "0", "answer": 1}], "question_id must be a whole number"),
        ([{"question_id": 0, "answer": "none"}], "'none' is no score"),
        ([{"question_id": 0, "answer": 2.0}], "'2.0' is no score"),
        ([{"question_id": 0, "answer": 0.5}, {"question_id": 0, "answer": 0.6}], "entry 2: another score of 0"),
        ([{"question_id": at, "answer": 0.5} for at in range(3)], "3 scores for 2 prompts"),
        ([{"question_id": at, "answer": 0.5} for at in (0, 2)], "no number can be told to belong to a prompt"),
    ],
)
def test_wrong_results_are_refused(items: Items, tmp_path: Path, rows: Any, said: str) -> None:
    own = tmp_path / "color" / "annotation_blip"
    own.mkdir(parents=True)
    (own / "vqa_result.json").write_text(json.dumps(rows))
    with pytest.raises(RecordError) as caught:
        T2I_COMPBENCH.read_evidence(tmp_path / "color", items)
    assert said in str(caught.value) and "vqa_result.json" in str(caught.value)


def test_results_without_a_category_need_items_of_one(items: Items, tmp_path: Path) -> None:
    own = tmp_path / "out" / "annotation_blip"
    own.mkdir(parents=True)
    (own / "vqa_result.json").write_text(json.dumps([{"question_id": 0, "answer": 0.5}, {"question_id": 1, "answer": 0.7}]))
    with pytest.raises(RecordError, match="of which category"):
        T2I_COMPBENCH.read_evidence(tmp_path / "out", items)
    single = T2I_COMPBENCH.import_items(tmp_path / "prompts" / "color_val.txt")
    assert T2I_COMPBENCH.score(single, T2I_COMPBENCH.read_evidence(tmp_path / "out", single)).official.headline.value == pytest.approx(0.6)


def test_prompts_of_two_categories_and_folders_without_any_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="stands in color as well"):
        T2I_COMPBENCH.import_items(write(tmp_path / "a", {"color": ["a red cup"], "shape": ["a red cup"]}))
    (tmp_path / "b").mkdir()
    with pytest.raises(RecordError, match="none of color_val"):
        T2I_COMPBENCH.import_items(tmp_path / "b")
    (tmp_path / "mine.txt").write_text("a red cup\n")
    with pytest.raises(RecordError, match="does not say its category"):
        T2I_COMPBENCH.import_items(tmp_path / "mine.txt")


def test_a_prompt_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "color_val.txt"
    path.write_text("a red cup and a black cow\na gre")
    with pytest.raises(RecordError, match=r"line 2: fewer than 300 prompts, and the last line has no end.*'a gre'"):
        T2I_COMPBENCH.import_items(path)
    path.write_text("a red cup and a black cow\na gre\n")
    assert T2I_COMPBENCH.import_items(path).notes[0].line().startswith("2 prompts are in color_val.txt; the release has 300")


@needs_data
def test_the_released_prompts() -> None:
    found = T2I_COMPBENCH.import_items(DATA)
    counted = {name: sum(extra["category"] == name for extra in found.extras.values()) for name in CATEGORIES}
    assert counted == dict.fromkeys(CATEGORIES, 300)
    assert all(record["questions"] for record in found.records)
    assert all("relation" in extra for extra in found.extras.values() if extra["category"] in ("spatial", "3d_spatial"))
    on_top = sum("on top of" in record["caption"] for record in found.records if found.extras[record["id"]]["category"] == "complex")
    assert on_top == 33 and "on top of" in RELATIONS_2D
    assert all(extra["things"] for extra in found.extras.values() if extra["category"] == "numeracy")
    prompts = [record["caption"] for record in found.records]  # names of files hold them up to the first "_"
    assert max(map(len, prompts)) <= 151 and not any("_" in prompt or "/" in prompt for prompt in prompts)


@needs_data
def test_released_prompts_in_another_order_are_refused(tmp_path: Path) -> None:
    """Scores of the released scripts go by number."""
    lines = (DATA / "color_val.txt").read_text().split("\n")
    (tmp_path / "color_val.txt").write_text("\n".join(reversed(lines)) + "\n")
    with pytest.raises(RecordError, match=r"color_val\.txt: the prompts of the release in another order"):
        T2I_COMPBENCH.import_items(tmp_path / "color_val.txt")
