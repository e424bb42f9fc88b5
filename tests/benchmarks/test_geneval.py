"""GenEval: the rule on synthetic boxes, the means, the released results, and files with every fault."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from anyscene.benchmarks.benchmark import Items, Replies, Reply
from anyscene.benchmarks.boxes import Box, Detections, Seen
from anyscene.benchmarks.geneval import GENEVAL, TAGS, judge_picture, relations_of
from anyscene.errors import RecordError, SpecError

DATA = Path(__file__).parents[3] / "shared" / "data" / "geneval" / "evaluation_metadata.jsonl"
needs_data = pytest.mark.skipif(not DATA.is_file(), reason="the prompts of GenEval are not here")
ROWS: list[dict[str, Any]] = [
    {"tag": "single_object", "include": [{"class": "bench", "count": 1}], "prompt": "a photo of a bench"},
    {"tag": "two_object", "include": [{"class": "cow", "count": 1}, {"class": "cup", "count": 1}], "prompt": "a photo of a cow and a cup"},
    {
        "tag": "counting",
        "include": [{"class": "clock", "count": 2}],
        "exclude": [{"class": "clock", "count": 3}],
        "prompt": "a photo of two clocks",
    },
    {"tag": "colors", "include": [{"class": "car", "count": 1, "color": "red"}], "prompt": "a photo of a red car"},
    {
        "tag": "position",
        "include": [{"class": "bear", "count": 1}, {"class": "dog", "count": 1, "position": ["left of", 0]}],
        "prompt": "a photo of a dog left of a bear",
    },
    {
        "tag": "color_attr",
        "include": [{"class": "car", "count": 1, "color": "red"}, {"class": "bus", "count": 1, "color": "blue"}],
        "prompt": "a photo of a red car and a blue bus",
    },
]


def box(name: str, x: float, y: float, *, side: float = 100, score: float = 0.95, color: str | None = None) -> Box:
    """A square around a centre."""
    return Box(name, score, x - side / 2, y - side / 2, x + side / 2, y + side / 2, color)


def write(folder: Path, rows: list[dict[str, Any]], name: str = "metadata.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def items(tmp_path: Path) -> Items:
    return GENEVAL.import_items(write(tmp_path, ROWS))


def correct(tag: str, *boxes: Box, **options: Any) -> bool | None:
    return judge_picture(next(row for row in ROWS if row["tag"] == tag), boxes, **options).correct


# ---- where things lie -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "y", "holds"),
    [(-300, 0, "left of"), (300, 0, "right of"), (0, -300, "above"), (0, 300, "below")],
)
def test_each_relation_in_both_directions(x: float, y: float, holds: str) -> None:
    opposite = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
    a, b = box("a", 500 + x, 500 + y), box("b", 500, 500)
    assert relations_of(a, b) == {holds} and relations_of(b, a) == {opposite[holds]}


def test_two_relations_hold_on_a_diagonal_of_small_things() -> None:
    assert relations_of(box("a", 100, 100, side=10), box("b", 500, 500, side=10)) == {"left of", "above"}


def test_the_margin_is_a_tenth_of_both_sizes() -> None:
    there = box("b", 500, 500)
    assert relations_of(box("a", 480, 500), there) == frozenset()  # 20 apart, a tenth of 100 + 100
    assert relations_of(box("a", 500 - 40.1, 500), there) == {"left of"}  # what is left is more than half of the distance
    assert relations_of(box("a", 460, 500), there) == frozenset()  # just half is not enough
    assert relations_of(box("a", 480, 500), there, margin=0) == {"left of"}
    assert relations_of(there, there) == frozenset()


def test_on_a_steep_slope_only_the_larger_part_counts() -> None:
    a = box("a", 500 + 100, 500 - 400, side=10)
    assert relations_of(a, box("b", 500, 500, side=10)) == {"above"}


# ---- one picture ------------------------------------------------------------------------------------------------------------


def test_boxes_must_score_above_the_threshold() -> None:
    assert correct("single_object", box("bench", 0, 0, score=0.31)) is True
    assert correct("single_object", box("bench", 0, 0, score=0.3)) is False
    assert correct("single_object", box("chair", 0, 0)) is False
    assert correct("single_object") is False


def test_counting_has_a_threshold_of_its_own_and_wants_the_exact_number() -> None:
    two = (box("clock", 0, 0, score=0.91), box("clock", 300, 0, score=0.92))
    assert correct("counting", *two) is True
    assert correct("counting", *two, box("clock", 600, 0, score=0.9)) is True  # not above 0.9: it is not there
    assert correct("counting", *two, box("clock", 600, 0, score=0.91)) is False
    assert correct("counting", two[0], box("clock", 300, 0, score=0.9)) is False
    assert correct("counting", *two, box("clock", 600, 0, score=0.5), counting_threshold=0.3) is False


def test_what_was_not_asked_for_does_no_harm_elsewhere() -> None:
    assert correct("single_object", *(box("bench", x, 0) for x in range(9)), box("dog", 0, 0)) is True
    assert correct("two_object", box("cow", 0, 0), box("cup", 0, 0), box("cow", 9, 9)) is True
    assert correct("two_object", box("cow", 0, 0)) is False


def test_no_more_than_sixteen_boxes_of_a_class_are_kept() -> None:
    asked = {"tag": "counting", "include": [], "exclude": [{"class": "clock", "count": 17}]}
    many = [box("clock", x, 0) for x in range(30)]
    assert judge_picture(asked, many).correct is True
    assert judge_picture({**asked, "exclude": [{"class": "clock", "count": 16}]}, many).correct is False


def test_the_surest_boxes_alone_are_looked_at_for_colors() -> None:
    blue, red = box("car", 0, 0, score=0.9, color="blue"), box("car", 300, 0, score=0.8, color="red")
    assert correct("colors", blue, red) is False and correct("colors", red) is True
    assert correct("colors", blue, red, any_boxes=True) is True


def test_of_equal_scores_the_box_found_last_comes_first() -> None:
    blue, red = box("car", 0, 0, color="blue"), box("car", 300, 0, color="red")
    assert correct("colors", blue, red) is True and correct("colors", red, blue) is False


def test_a_color_that_nobody_looked_for_is_not_known_rather_than_wrong() -> None:
    assert correct("colors", box("car", 0, 0)) is None
    assert correct("colors", box("bus", 0, 0)) is False  # no car: that much is known
    assert correct("color_attr", box("car", 0, 0, color="blue"), box("bus", 0, 0)) is False
    assert correct("color_attr", box("car", 0, 0, color="red"), box("bus", 0, 0, color="blue")) is True


def test_positions_hold_for_every_pair_and_need_their_target() -> None:
    bear = box("bear", 500, 500)
    assert correct("position", bear, box("dog", 100, 500)) is True
    assert correct("position", bear, box("dog", 900, 500)) is False
    assert correct("position", box("dog", 100, 500)) is False
    wrong_first = (bear, box("dog", 900, 500, score=0.99), box("dog", 100, 500, score=0.5))
    assert correct("position", *wrong_first) is False and correct("position", *wrong_first, any_boxes=True) is True


def test_a_target_of_the_wrong_color_is_no_target() -> None:
    asked = {
        "tag": "position",
        "include": [{"class": "bear", "count": 1, "color": "red"}, {"class": "dog", "count": 1, "position": ["left of", 0]}],
    }
    found = judge_picture(asked, [box("bear", 500, 500, color="blue"), box("dog", 100, 500)])
    assert found.correct is False and any("nothing for dog" in reason for reason in found.reasons)


# ---- means ------------------------------------------------------------------------------------------------------------------


def verdicts(items: Items, right: dict[str, list[bool]]) -> Detections:
    """By tag, a verdict for each sample of its one item."""
    by_tag = {items.extras[record["id"]]["tag"]: record["id"] for record in items.records}
    by_media = {(by_tag[tag], sample): Seen((), one) for tag, own in right.items() for sample, one in enumerate(own)}
    return Detections(by_media, "m", "d", 4)


def test_the_score_is_the_mean_over_the_kinds(items: Items) -> None:
    right = {tag: [True] * (place % 5) + [False] * (4 - place % 5) for place, tag in enumerate(TAGS)}
    found = GENEVAL.score(items, verdicts(items, right))
    shares = [place % 5 / 4 for place in range(6)]
    assert found.official.headline.value == pytest.approx(sum(shares) / 6)
    assert found.fixed.headline.value == pytest.approx(sum(shares) / 6)
    assert [found.official.by["tag"][tag].value for tag in TAGS] == pytest.approx(shares)
    assert found.official.columns["prompts_any"].value == pytest.approx(4 / 6)
    assert found.counts.media == found.counts.media_found == 24 and not found.notes
    assert {fault.name: fault.effect for fault in found.faults} == {"pictures-not-prompts": 0, "tags-that-are-there": 0}


def test_a_kind_without_pictures_vanishes_officially_and_is_missing_when_fixed(items: Items) -> None:
    found = GENEVAL.score(items, verdicts(items, {"colors": [True, True], "counting": [False]}))
    assert found.official.headline.value == 0.5 and found.fixed.headline.value is None
    assert found.counts.media_found == 3 and found.counts.items_scored == 2
    assert {fault.name: fault.effect for fault in found.faults}["tags-that-are-there"] is None
    assert any("4 kinds" in note.line() for note in found.notes) and any("21 pictures" in note.line() for note in found.notes)


def test_prompts_with_fewer_pictures_weigh_less_officially(tmp_path: Path) -> None:
    rows = [{**ROWS[0], "prompt": f"a photo of a bench {at}"} for at in range(2)]
    items = GENEVAL.import_items(write(tmp_path, rows))
    seen = {("00000", sample): Seen((), True) for sample in range(4)} | {("00001", 0): Seen((), False)}
    found = GENEVAL.score(items, Detections(seen, samples=4))
    assert found.official.headline.value == pytest.approx(0.8) and found.fixed.headline.value == pytest.approx(0.5)
    assert found.faults[0].effect == pytest.approx(0.3)


def test_a_judge_of_questions_can_stand_in_and_is_said_to(items: Items) -> None:
    record = items.records[3]
    said = {
        (record["id"], 0): {"q1": Reply("yes", 0.9), "q2": Reply("no", 0.2)},
        (record["id"], 1): {"q1": Reply("yes", 0.9), "q2": Reply("yes", 0.8)},
        (record["id"], 2): {"q1": Reply("yes", 0.9), "q2": Reply("", None, "failed")},
        (record["id"], 3): {"q1": Reply("no", 0.1), "q2": Reply("", None, "failed")},
    }
    found = GENEVAL.score(items, Replies(said, "m", "vlm", 4))
    assert found.official.by["tag"]["colors"].value == pytest.approx(
        1 / 3
    )  # the third is not known, the fourth is wrong whatever is missing
    assert "another measurement" in found.judge_note and any("1 pictures lack answers" in note.line() for note in found.notes)


def test_evidence_about_something_else_is_refused(items: Items) -> None:
    with pytest.raises(RecordError, match="no verdict on any of the 1 pictures: none is of these 6 items"):
        GENEVAL.score(items, Detections({("nobody", 0): Seen((), True)}))


# ---- files ------------------------------------------------------------------------------------------------------------------


def test_items_are_records_with_graphs_and_questions(items: Items) -> None:
    counted, placed = items.records[2], items.records[4]
    assert [one["id"] for one in items.records] == [f"{at:05d}" for at in range(6)]
    assert [one["name"] for one in counted["graph"]["objects"]] == ["clock", "clock"]
    assert counted["questions"][0]["text"] == "Are there exactly two clocks in the image?"
    assert placed["graph"]["relations"] == [{"subject": "o1", "predicate": "left of", "object": "o0"}]
    assert [one["text"] for one in placed["questions"]][-1] == "Is the dog to the left of the bear?"
    assert placed["questions"][-1]["depends_on"] == ["q2", "q1"]


def test_boxes_of_a_file_give_the_same_as_boxes_in_memory(items: Items, tmp_path: Path) -> None:
    rows = [
        {"item": "00000", "sample": 0, "detector": "d", "boxes": [{"name": "bench", "score": 0.9, "box": [0, 0, 5, 5]}]},
        {"item": "00003", "sample": 0, "detector": "d", "boxes": [{"name": "car", "score": 0.9, "box": [0, 0, 5, 5], "color": "red"}]},
        {"item": "00003", "sample": 1, "detector": "d", "boxes": []},
        {"item": "nobody", "sample": 1, "detector": "d", "boxes": []},
    ]
    seen = GENEVAL.read_evidence(write(tmp_path, rows, "boxes.jsonl"), items)
    found = GENEVAL.score(items, seen)
    assert found.judge == "d" and found.official.by["tag"]["single_object"].value == 1 and found.official.by["tag"]["colors"].value == 0.5
    assert "any_boxes" not in found.official.columns  # a mean of six kinds, and four have no pictures
    assert any("1 lines about items" in note.line() for note in found.notes)


def test_any_boxes_are_told_beside_the_surest(items: Items) -> None:
    found = {
        "a photo of a bench": [box("bench", 0, 0)],
        "a photo of a cow and a cup": [box("cow", 0, 0), box("cup", 0, 0)],
        "a photo of two clocks": [box("clock", 0, 0)],
        "a photo of a red car": [box("car", 0, 0, score=0.9, color="blue"), box("car", 0, 0, score=0.8, color="red")],
        "a photo of a dog left of a bear": [],
        "a photo of a red car and a blue bus": [],
    }
    seen = {(record["id"], 0): Seen(tuple(found[record["caption"]])) for record in items.records}
    result = GENEVAL.score(items, Detections(seen))
    assert result.official.headline.value == pytest.approx(2 / 6)
    assert result.official.columns["any_boxes"].value == pytest.approx(3 / 6)


def results(folder: Path, rows: list[dict[str, Any]]) -> Path:
    whole = [{"reason": "", "tag": "", "metadata": "{}", "details": "{}", **row} for row in rows]
    return write(folder, whole, "results.jsonl")


def test_the_released_results_are_read(items: Items, tmp_path: Path) -> None:
    path = results(
        tmp_path,
        [
            {
                "filename": "out/00000/samples/0000.png",
                "prompt": ROWS[0]["prompt"],
                "correct": True,
                "details": '{"bench": [[0, 0, 9, 9, 0.8]]}',
            },
            {
                "filename": "out/00000/samples/0001.png",
                "prompt": ROWS[0]["prompt"],
                "correct": True,
                "details": '{"dog": [[0, 0, 9, 9, 0.8]]}',
            },
            {"filename": "out/00000/samples/0002.png", "prompt": ROWS[0]["prompt"], "correct": False},
        ],
    )
    found = GENEVAL.score(items, GENEVAL.read_evidence(path, items, model="m"))
    assert found.official.by["tag"]["single_object"].value == pytest.approx(2 / 3) and found.judge_note == ""
    assert any("1 verdicts of the file differ" in note.line() for note in found.notes)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"filename": "a.png", "prompt": "p", "correct": True}, "does not end in NUMBER"),
        ({"filename": "0/samples/0.png", "prompt": "p", "correct": "yes"}, "correct must be true or false"),
        ({"filename": "0/samples/0.png", "prompt": ROWS[0]["prompt"], "correct": True, "details": "{"}, "details cannot be read"),
        ({"filename": "0/samples/0.png", "prompt": ROWS[0]["prompt"], "correct": True, "details": '{"a": [[1, 2]]}'}, "four numbers"),
        (
            {"filename": "0/samples/0.png", "prompt": ROWS[0]["prompt"], "correct": True, "details": '{"a": [[5, 0, 1, 1, 0.5]]}'},
            "a box of score",
        ),
    ],
)
def test_wrong_results_name_their_line(items: Items, tmp_path: Path, row: dict[str, Any], said: str) -> None:
    with pytest.raises(RecordError, match="line 1") as caught:
        GENEVAL.read_evidence(results(tmp_path, [row]), items)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tag": "other"}, "tag 'other'"),
        ({"include": []}, "include names nothing"),
        ({"include": [{"class": "a", "count": 0}]}, "0 of 'a'"),
        ({"include": [{"class": "a", "count": True}]}, "count must be a whole number"),
        ({"include": [{"class": "a", "count": 1, "color": "beige"}]}, "color 'beige'"),
        ({"include": [{"class": "a", "count": 1, "position": ["left of", 0]}]}, "the number of an entry before"),
        ({"include": [{"class": "a", "count": 1}, {"class": "b", "count": 1, "position": ["near", 0]}]}, "position"),
        ({"prompt": "  "}, "an empty prompt"),
    ],
)
def test_wrong_prompts_name_their_line(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(RecordError, match="line 2") as caught:
        GENEVAL.import_items(write(tmp_path, [ROWS[1], {**ROWS[0], **change}]))
    assert said in str(caught.value)


def test_one_prompt_with_two_demands_is_refused_and_a_repeated_one_left_out(tmp_path: Path) -> None:
    found = GENEVAL.import_items(write(tmp_path, [*ROWS, ROWS[0]]))
    assert len(found.records) == 6 and any("1 lines that repeat" in note.line() for note in found.notes)
    with pytest.raises(RecordError, match="line 7: the prompt 'a photo of a bench' stands in line 1"):
        GENEVAL.import_items(write(tmp_path, [*ROWS, {**ROWS[0], "include": [{"class": "cow", "count": 1}]}]))


def test_models_of_one_file_are_told_apart(items: Items, tmp_path: Path) -> None:
    rows = [{"item": "00000", "sample": 0, "model": name, "boxes": []} for name in ("a", "b")]
    path = write(tmp_path, rows, "boxes.jsonl")
    with pytest.raises(SpecError, match="the file has a, b"):
        GENEVAL.read_evidence(path, items)
    with pytest.raises(SpecError, match="nothing about 'c'"):
        GENEVAL.read_evidence(path, items, model="c")
    assert len(GENEVAL.read_evidence(path, items, model="b").by_media) == 1


# ---- the released prompts ---------------------------------------------------------------------------------------------------


@needs_data
def test_the_released_prompts() -> None:
    found = GENEVAL.import_items(DATA)
    counted = {tag: sum(extra["tag"] == tag for extra in found.extras.values()) for tag in TAGS}
    assert counted == dict(zip(TAGS, (80, 99, 80, 94, 100, 100), strict=True)) and not found.notes
    assert all(one["questions"] and one["graph"]["objects"] for one in found.records)


@needs_data
def test_the_interval_is_that_of_dependent_pictures() -> None:
    items = GENEVAL.import_items(DATA)
    shares = dict(zip(TAGS, (0.98, 0.74, 0.39, 0.85, 0.15, 0.23), strict=True))  # SDXL, of the paper's README
    place: dict[str, int] = {}
    number = {tag: sum(extra["tag"] == tag for extra in items.extras.values()) for tag in TAGS}
    seen = {}
    for record in items.records:
        tag = items.extras[record["id"]]["tag"]
        place[tag] = place.get(tag, 0) + 1
        seen |= {(record["id"], sample): Seen((), place[tag] <= shares[tag] * number[tag]) for sample in range(4)}
    found = GENEVAL.score(items, Detections(seen, samples=4)).official.headline
    assert found.value == pytest.approx(0.55, abs=0.01) and found.low is not None and found.high is not None
    expected = 1.96 * math.sqrt(sum(p * (1 - p) / number[tag] for tag, p in shares.items())) / 6  # 0.0157 standard errors
    assert (found.high - found.low) / 2 == pytest.approx(expected, rel=0.1)


@needs_data
def test_the_released_prompts_in_another_order_are_refused(tmp_path: Path) -> None:
    """Folders and boxes go by the number of a prompt: shuffled, each would be taken for another's."""
    lines = DATA.read_text().splitlines()
    (tmp_path / "shuffled.jsonl").write_text("\n".join([*lines[1:], lines[0]]) + "\n")
    with pytest.raises(RecordError, match="the prompts of the release in another order"):
        GENEVAL.import_items(tmp_path / "shuffled.jsonl")
    (tmp_path / "part.jsonl").write_text("\n".join(lines[:5]) + "\n")
    assert len(GENEVAL.import_items(tmp_path / "part.jsonl").records) == 5
