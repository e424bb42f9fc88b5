"""VBench: the released constants, the total, the spatial rule in both readings, result files with every fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from anyscene.benchmarks.benchmark import Items, Replies
from anyscene.benchmarks.boxes import Box
from anyscene.benchmarks.vbench import DIMENSIONS, QUALITY, SEMANTIC, VBENCH, spatial_frame_score, spatial_score, total_of
from anyscene.errors import RecordError, SpecError

DATA = Path(__file__).parents[3] / "shared" / "data" / "vbench" / "VBench_full_info.json"
needs_data = pytest.mark.skipif(not DATA.is_file(), reason="the prompts of VBench are not here")
ROWS: list[dict[str, Any]] = [
    {"prompt_en": "a red cup", "dimension": ["color"], "auxiliary_info": {"color": {"color": "red"}}},
    {"prompt_en": "A person is riding a bike", "dimension": ["human_action"]},
    {
        "prompt_en": "a cup on the left of a cow, front view",
        "dimension": ["spatial_relationship"],
        "auxiliary_info": {
            "spatial_relationship": {"spatial_relationship": {"object_a": "cup", "object_b": "cow", "relationship": "on the left of"}}
        },
    },
    {"prompt_en": "a quiet alley", "dimension": ["temporal_flickering"]},
    {"prompt_en": "alley", "dimension": ["scene", "background_consistency"], "auxiliary_info": {"scene": {"scene": {"scene": "alley"}}}},
]
RELATIONS = ("on the left of", "on the right of", "on the top of", "on the bottom of")


def write(folder: Path, value: Any, name: str = "VBench_full_info.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(value))
    return path


@pytest.fixture
def items(tmp_path: Path) -> Items:
    return VBENCH.import_items(write(tmp_path, ROWS))


def box(x: float, y: float, name: str = "cup", side: float = 100) -> Box:
    return Box(name, 0.9, x - side / 2, y - side / 2, x + side / 2, y + side / 2)


# ---- the total --------------------------------------------------------------------------------------------------------------


def test_bounds_and_weights_of_the_released_constants() -> None:
    assert len(DIMENSIONS) == 16 and len(QUALITY) == 7 and len(SEMANTIC) == 9
    assert {name: one.weight for name, one in DIMENSIONS.items() if one.weight != 1} == {"dynamic degree": 0.5}
    bounds = {name: (one.low, one.high) for name, one in DIMENSIONS.items() if (one.low, one.high) != (0, 1)}
    assert bounds == {
        "subject consistency": (0.1462, 1),
        "background consistency": (0.2615, 1),
        "temporal flickering": (0.6293, 1),
        "motion smoothness": (0.706, 0.9975),
        "scene": (0, 0.8222),
        "appearance style": (0.0009, 0.2855),
        "temporal style": (0, 0.364),
        "overall consistency": (0, 0.364),
    }


def test_the_total_by_hand() -> None:
    scores: dict[str, float | None] = {name: one.low for name, one in DIMENSIONS.items()}
    assert total_of(scores) == pytest.approx({"quality": 0, "semantic": 0, "total": 0})
    scores = {name: one.high for name, one in DIMENSIONS.items()}
    assert total_of(scores) == pytest.approx({"quality": 1, "semantic": 1, "total": 1})
    scores["dynamic degree"] = 0.0
    assert total_of(scores)["quality"] == pytest.approx(6 / 6.5)
    scores["color"] = 0.1
    found = total_of(scores, "fixed")
    assert found["semantic"] == pytest.approx(8.1 / 9)
    assert found["total"] == pytest.approx((4 * 6 / 6.5 + 8.1 / 9) / 5)


def test_a_missing_dimension_is_a_raw_zero_officially_and_missing_when_fixed() -> None:
    scores: dict[str, float | None] = {name: one.high for name, one in DIMENSIONS.items() if name != "subject consistency"}
    below = (0 - 0.1462) / (1 - 0.1462)
    assert total_of(scores)["quality"] == pytest.approx((5.5 + below) / 6.5)
    found = total_of(scores, "fixed")
    assert found["quality"] is None and found["total"] is None and found["semantic"] == pytest.approx(1)


# ---- the spatial rule -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("relation", RELATIONS)
def test_the_official_rule_does_not_tell_a_direction_from_its_opposite(relation: str) -> None:
    beyond = (100, 0) if relation in RELATIONS[:2] else (0, 100)
    a, b = box(300, 300), box(300 + 4 * beyond[0], 300 + 4 * beyond[1])
    assert spatial_score(relation, a, b) == spatial_score(relation, b, a) == 1.0
    right_way = relation in ("on the left of", "on the top of")
    assert spatial_score(relation, a, b, "fixed") == float(right_way)
    assert spatial_score(relation, b, a, "fixed") == float(not right_way)


@pytest.mark.parametrize("compat", ["official", "fixed"])
def test_overlap_and_slope(compat: str) -> None:
    a = box(300, 300)
    half_over = box(350, 300)  # shares half of each: 5,000 of 15,000 pixels
    assert spatial_score("on the left of", a, half_over, compat) == pytest.approx(0.1 / (1 / 3))
    assert spatial_score("on the left of", a, box(400, 400), compat) == 0.0  # as far down as aside
    assert spatial_score("on the left of", a, box(400, 500), compat) == 0.0
    assert spatial_score("on the top of", a, box(400, 500), compat) == 1.0
    assert spatial_score("on the left of", a, a, compat) == 0.0


def test_officially_any_two_boxes_are_a_pair() -> None:
    cups = [box(100, 100), box(500, 100)]
    assert spatial_frame_score(cups, "cup", "cow", "on the left of") == 1.0
    assert spatial_frame_score(cups, "cup", "cow", "on the left of", "fixed") == 0.0
    pair = [box(500, 100), box(100, 100, "cow"), box(300, 300, "tree")]
    assert spatial_frame_score(pair, "cup", "cow", "on the left of") == 1.0
    assert spatial_frame_score(pair, "cup", "cow", "on the left of", "fixed") == 0.0
    assert spatial_frame_score(pair, "cup", "cow", "on the right of", "fixed") == 1.0
    assert spatial_frame_score([], "cup", "cow", "on the right of") == 0.0
    with pytest.raises(SpecError, match="relation 'near'"):
        spatial_score("near", cups[0], cups[1])


# ---- result files -----------------------------------------------------------------------------------------------------------


def result(score: float, *videos: tuple[str, float]) -> list[Any]:
    return [score, [{"video_path": f"out/{name}", "video_results": value} for name, value in videos]]


def every(change: dict[str, Any] | None = None) -> dict[str, Any]:
    return {**{name.replace(" ", "_"): result(one.high) for name, one in DIMENSIONS.items()}, **(change or {})}


def test_result_files_become_the_total(items: Items, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    write(folder, every({"color": result(0.5)}), "a_eval_results.json")
    write(folder, ROWS, "a_full_info.json")
    found = VBENCH.score(items, VBENCH.read_evidence(folder, items, model="m"))
    assert found.official.headline.value == pytest.approx((4 + 8.5 / 9) / 5) == pytest.approx(found.fixed.headline.value)
    assert found.official.by["dimension"]["color"].value == 0.5 and found.official.headline.low is None
    assert found.model == "m" and {fault.name: fault.effect for fault in found.faults}["missing-dimensions-are-zero"] == 0


def test_single_videos_give_intervals_and_what_is_missing_is_counted(tmp_path: Path) -> None:
    rows = [{"prompt_en": f"a red cup {at}", "dimension": ["color"]} for at in range(12)]
    items = VBENCH.import_items(write(tmp_path, rows))
    videos = [(f"a red cup {at}-{sample}.mp4", float(at % 2)) for at in range(12) for sample in range(4)]
    found = VBENCH.score(items, VBENCH.read_evidence(write(tmp_path, {"color": result(0.5, *videos)}, "r.json"), items))
    color = found.official.by["dimension"]["color"]
    assert color.value == 0.5 and color.low is not None and color.high is not None and color.low < 0.5 < color.high
    assert found.fixed.headline.value is None and found.official.headline.value is not None and found.official.headline.value < 0
    assert (found.counts.media, found.counts.media_found) == (60, 48)
    assert any("12 clips are in no result file" in note.line() for note in found.notes)
    assert any("15 dimensions have no score" in note.line() for note in found.notes)


def test_a_score_that_its_videos_do_not_give_gets_no_interval(items: Items, tmp_path: Path) -> None:
    path = write(tmp_path, {"color": result(0.9, ("a red cup-0.mp4", 0.1))}, "r.json")
    found = VBENCH.score(items, VBENCH.read_evidence(path, items))
    assert found.official.by["dimension"]["color"].low is None
    assert any("do not give their score" in note.line() for note in found.notes)


def test_flicker_comes_in_twenty_five(items: Items, tmp_path: Path) -> None:
    path = write(tmp_path, every(), "r.json")
    assert VBENCH.score(items, VBENCH.read_evidence(path, items)).counts.media == 4 * 5 + 25


def test_imaging_quality_from_0_to_100_is_a_fault_with_its_effect(items: Items, tmp_path: Path) -> None:
    path = write(tmp_path, every({"imaging_quality": result(60.0)}), "r.json")
    found = VBENCH.score(items, VBENCH.read_evidence(path, items))
    effect = {fault.name: fault.effect for fault in found.faults}["imaging-quality-in-percent"]
    assert effect == pytest.approx(0.8 * 59.4 / 6.5)
    assert found.fixed.headline.value == pytest.approx(1 - 0.8 * 0.4 / 6.5)
    assert found.official.headline.value == pytest.approx(found.fixed.headline.value + effect)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], "an object that maps dimensions"),
        ({"color": "0.5"}, "[score, videos] is wanted"),
        ({"color": [True, []]}, "[score, videos] is wanted"),
        ({"color": [1.5, []]}, "a score of 1.5; it is at most 1"),
        ({"imaging_quality": [101, []]}, "at most 100"),
        ({"color": [0.5, [{"video_results": 1}]]}, "video 1: it lacks the field 'video_path'"),
        ({"colour": [0.5, []]}, "no score of a dimension"),
        ({"color": result(0.5, ("a red cup-0.mp4", 0.5), ("a red cup-0.mp4", 0.6))}, "another score of"),
    ],
)
def test_wrong_results_are_refused(items: Items, tmp_path: Path, value: Any, said: str) -> None:
    with pytest.raises(RecordError) as caught:
        VBENCH.read_evidence(write(tmp_path, value, "r.json"), items)
    assert said in str(caught.value) and "r.json" in str(caught.value) and "\n" not in str(caught.value)


def test_two_files_that_disagree_are_refused(items: Items, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    write(folder, {"color": result(0.5)}, "a.json")
    write(folder, {"color": result(0.5)}, "b.json")
    assert VBENCH.read_evidence(folder, items).by_dimension["color"].score == 0.5
    write(folder, {"color": result(0.6)}, "c.json")
    with pytest.raises(RecordError, match=r"c\.json, color: 0\.6, but 0\.5"):
        VBENCH.read_evidence(folder, items)


def test_answers_to_questions_give_no_number(items: Items) -> None:
    with pytest.raises(RecordError, match="result files of the vbench package"):
        VBENCH.score(items, Replies({}))  # type: ignore[arg-type]


# ---- prompts ----------------------------------------------------------------------------------------------------------------


def test_prompts_become_records_of_clips_with_questions(items: Items) -> None:
    texts = {record["caption"]: [one["text"] for one in record["questions"]] for record in items.records}
    assert texts["a red cup"] == ["Is there a cup in the video?", "Is the cup red?"]
    assert texts["A person is riding a bike"] == ["Is a person riding a bike in the video?"]
    assert texts["a cup on the left of a cow, front view"][-1] == "Is the cup on the left of the cow?"
    assert texts["a quiet alley"] == [] and {record["modality"] for record in items.records} == {"video"}
    assert items.extras[items.records[4]["id"]]["dimensions"] == ["scene", "background consistency"]


def test_prompts_that_stand_twice_are_joined_or_left_out(tmp_path: Path) -> None:
    again = [*ROWS, {"prompt_en": "alley", "dimension": ["color"]}, ROWS[0]]
    found = VBENCH.import_items(write(tmp_path, again))
    assert len(found.records) == 5
    assert found.extras["vbench-0004"]["dimensions"] == ["scene", "background consistency", "color"]
    lines = [note.line() for note in found.notes]
    assert any(line.startswith("1 entries that repeat") for line in lines) and any(
        line.startswith("1 prompts that stand twice") for line in lines
    )
    with pytest.raises(RecordError, match="entry 6: 'a red cup' stands there already with other auxiliary_info"):
        VBENCH.import_items(write(tmp_path, [*ROWS, {**ROWS[0], "auxiliary_info": {"color": {"color": "blue"}}}]))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({}, "a list of prompts"),
        ([], "a list of prompts"),
        ([{"prompt_en": "a"}], "entry 1: it lacks the field 'dimension'"),
        ([{"prompt_en": " ", "dimension": ["color"]}], "an empty prompt_en"),
        ([{"prompt_en": "a", "dimension": []}], "an empty dimension"),
        ([{"prompt_en": "a", "dimension": ["taste"]}], "dimension 'taste' is none of VBench's"),
        ([{"prompt_en": "a", "dimension": [7]}], "dimension '7'"),
        ([{"prompt_en": "a", "dimension": ["color"], "auxiliary_info": []}], "auxiliary_info must be an object"),
        ([{"prompt_en": "a", "dimension": ["color"], "auxiliary_info": {"a": [[[[[[[[1]]]]]]]]}}], "nested too deeply"),
    ],
)
def test_wrong_prompts_are_refused(tmp_path: Path, value: Any, said: str) -> None:
    with pytest.raises(RecordError) as caught:
        VBENCH.import_items(write(tmp_path, value))
    assert said in str(caught.value)


@needs_data
def test_the_released_prompts() -> None:
    found = VBENCH.import_items(DATA)
    assert len(found.records) == 944 and [note.count for note in found.notes] == [2]
    counted = {name: sum(name in extra["dimensions"] for extra in found.extras.values()) for name in DIMENSIONS}
    assert min(counted.values()) == 72 and max(counted.values()) == 100 and counted["color"] == 85
