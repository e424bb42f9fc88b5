"""GenEval 2: Soft-TIFA by hand, the released score lists, and files with every fault. All items here are made up."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from anyscene.benchmarks.benchmark import Items, Replies, Reply
from anyscene.benchmarks.geneval2 import GENEVAL2, NUMBERS, geometric_mean
from anyscene.errors import RecordError

ROWS: list[dict[str, Any]] = [
    {
        "prompt": "two red tins beside a jug",
        "atom_count": 5,
        "vqa_list": [
            ["How many tins are there?", "two"],
            ["Are the tins red?", "Yes"],
            ["Are there tins?", "Yes"],
            ["Are the tins beside the jug?", "Yes"],
            ["How many jugs are there?", "a"],
            ["Is there a jug?", "Yes"],
        ],
        "skills": ["count", "attribute", "object", "position", "count", "object"],
    },
    {
        "prompt": "a jug",
        "atom_count": 3,
        "vqa_list": [["Is there a jug?", "Yes"], ["Is it tall?", "Yes"]],
        "skills": ["object", "attribute"],
    },
]


def write(folder: Path, rows: list[Any]) -> Path:
    path = folder / "geneval2_data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def items(tmp_path: Path) -> Items:
    return GENEVAL2.import_items(write(tmp_path, ROWS))


def answers(items: Items, *values: list[float | None]) -> Replies:
    """Probabilities of the right answers, None for one that failed; one list an item."""
    by_media = {}
    for record, own in zip(items.records, values, strict=True):
        said = {}
        for one, value in zip(record["questions"], own, strict=True):
            if value is None:
                said[one["id"]] = Reply("", None, "failed")
            elif one["form"] == "choice":
                rest = (1 - value) / (len(NUMBERS) - 1)
                said[one["id"]] = Reply("", None, probabilities=tuple(value if name == one["answer"] else rest for name in NUMBERS))
            else:
                said[one["id"]] = Reply("", value)
        by_media[record["id"], 0] = said
    return Replies(by_media, "m", "j")


def test_geometric_mean_is_zero_with_a_single_zero() -> None:
    assert geometric_mean([0.25, 1.0]) == pytest.approx(0.5)
    assert geometric_mean([0.9, 0.0, 0.9]) == 0.0
    assert geometric_mean([0.3]) == pytest.approx(0.3)
    assert math.isnan(geometric_mean([])) and math.isnan(geometric_mean([0.5, math.nan, 0.0]))


def test_both_means_by_hand(items: Items) -> None:
    first, second = [0.5, 1.0, 1.0, 0.25, 0.8, 0.9], [0.36, 1.0]
    found = GENEVAL2.score(items, answers(items, first, second))
    gm = (math.prod(first) ** (1 / 6) + 0.6) / 2
    assert found.official.headline.value == pytest.approx(100 * gm) and found.fixed.headline.value == pytest.approx(100 * gm)
    assert found.official.columns["soft_tifa_am"].value == pytest.approx(100 * (sum(first) / 6 + 0.68) / 2)
    assert found.official.columns["tifa"].value == pytest.approx(
        100 * (5 / 6 + 1 / 2) / 2
    )  # of eleven numbers one with 0.5 is the likeliest
    assert found.official.by["atom_count"]["3"].value == pytest.approx(60)
    assert found.official.by["skill"]["count"].value == pytest.approx(100 * (0.5 + 0.8) / 2)
    assert found.official.by["skill"]["object"].value == pytest.approx(100 * (1.0 + 0.9 + 0.36) / 3)  # over atoms, not prompts
    assert found.headline == "Soft-TIFA GM" and found.unit == "percent"


def test_the_likeliest_number_is_the_answer_and_of_score_lists_what_is_above_one_half(items: Items, tmp_path: Path) -> None:
    record = items.records[0]
    count = record["questions"][0]["id"]
    for shares, right in (((0.3, 0.2), 1), ((0.3, 0.31), 0), ((0.3, 0.3), 0)):
        rest = tuple({"two": shares[0], "three": shares[1]}.get(name, 0.01) for name in NUMBERS)
        found = GENEVAL2.score(items, Replies({(record["id"], 0): {count: Reply(None, None, probabilities=rest)}}))
        assert found.fixed.columns["tifa"].value == 100 * right
    path = tmp_path / "score_lists.json"
    path.write_text(json.dumps([[0.3, 1, 1, 1, 0.6, 1], [1, 1]]))  # the mass of the other words is not told
    said = GENEVAL2.read_evidence(path, items)
    assert GENEVAL2.score(items, said).official.columns["tifa"].value == pytest.approx(100 * (5 / 6 + 1) / 2)
    assert any("go by their order alone" in note.what for note in said.notes)


def test_a_zero_makes_the_whole_prompt_zero(items: Items) -> None:
    found = GENEVAL2.score(items, answers(items, [1.0, 1.0, 0.0, 1.0, 1.0, 1.0], [1.0, 1.0]))
    assert found.official.headline.value == pytest.approx(50)
    assert found.official.columns["soft_tifa_am"].value == pytest.approx(100 * (5 / 6 + 1) / 2)


def test_what_failed_is_missing_and_not_zero(items: Items) -> None:
    found = GENEVAL2.score(items, answers(items, [None, 1.0, 1.0, 1.0, 1.0, 1.0], [0.36, 1.0]))
    assert found.fixed.headline.value == pytest.approx(60) and found.counts.items_scored == 1
    assert found.counts.answered == 7 and found.counts.missing == 1


def test_words_without_probabilities_count_all_or_nothing(items: Items) -> None:
    record = items.records[0]
    words = dict(zip((one["id"] for one in record["questions"]), ("2", "Yes", "no", "perhaps", "One", "yes."), strict=True))
    said = {(record["id"], 0): {id: Reply(text) for id, text in words.items()}}
    found = GENEVAL2.score(items, Replies(said, "m", "j"))
    assert found.official.columns["soft_tifa_am"].value == pytest.approx(100 * 3 / 6)  # "yes." is not in the official list
    assert found.fixed.by["skill"]["count"].value == pytest.approx(100)
    assert found.fixed.by["skill"]["position"].value is None  # "perhaps" is no answer
    assert found.fixed.by["skill"]["object"].value == pytest.approx(50)
    assert found.counts.unparsed == 1


def test_half_the_benchmark_is_said_to_be_half(items: Items) -> None:
    whole = answers(items, [1.0] * 6, [1.0] * 2)
    half = Replies({key: own for key, own in whole.by_media.items() if key[0].endswith("000")}, "m", "j")
    found = GENEVAL2.score(items, half)
    assert found.counts.media_found == 1 and any("part of the benchmark" in note.line() for note in found.notes)
    with pytest.raises(RecordError, match="none of the"):
        GENEVAL2.score(items, Replies({("nobody", 0): {}}))


def test_questions_go_into_records(items: Items) -> None:
    record = items.records[0]
    assert [one["kind"] for one in record["questions"]] == ["count", "attribute", "existence", "relation", "count", "existence"]
    assert record["questions"][0]["choices"] == list(NUMBERS) and record["questions"][0]["answer"] == "two"
    assert record["questions"][4]["answer"] == "one"  # "a" is asked as one
    assert record["complexity"] == 5 and items.extras[record["id"]]["skills"] == ROWS[0]["skills"]
    assert items.notes[0].line() == "2 prompts with 8 questions are in the file; the release has 800 prompts with 6,012 questions"


@pytest.mark.parametrize("by_name", [True, False])
def test_the_released_score_lists(items: Items, tmp_path: Path, by_name: bool) -> None:
    lists = [[0.5, 1, 1, 0.25, 0.8, 0.9], [0.36, 1.0]]
    path = tmp_path / "score_lists.json"
    path.write_text(json.dumps(dict(zip((row["prompt"] for row in ROWS), lists, strict=True)) if by_name else lists))
    found = GENEVAL2.score(items, GENEVAL2.read_evidence(path, items, model="m"))
    assert found.official.headline.value == pytest.approx(GENEVAL2.score(items, answers(items, *lists)).official.headline.value)
    assert found.judge_note == "" and found.model == "m"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([[0.5]], "a list of 1 prompts; these items are 2"),
        ([[0.5] * 5, [0.5] * 2], "entry 1: 5 scores for 6 questions"),
        ([[0.5] * 6, [0.5, 1.5]], "entry 2: 1.5 is no probability"),
        ([[0.5] * 6, [0.5, True]], "entry 2: True is no probability"),
        ([[0.5] * 6, 0.5], "entry 2: no list of scores"),
        ("text", "a list of lists"),
    ],
)
def test_wrong_score_lists_are_refused(items: Items, tmp_path: Path, value: Any, said: str) -> None:
    path = tmp_path / "score_lists.json"
    path.write_text(json.dumps(value))
    with pytest.raises(RecordError) as caught:
        GENEVAL2.read_evidence(path, items)
    assert said in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prompt": " "}, "an empty prompt"),
        ({"atom_count": 0}, "atom_count 0"),
        ({"atom_count": "3"}, "atom_count must be a whole number"),
        ({"skills": ["object"]}, "2 questions and 1 skills"),
        ({"skills": ["object", "smell"]}, "skill 'smell'"),
        ({"vqa_list": [["Is there a jug?", "Yes"], ["Is it tall?"]]}, "entry 2 of vqa_list is no pair"),
        (
            {"vqa_list": [["Is there a jug?", "Yes"], ["Is it tall?", "perhaps"]]},
            "the answer 'perhaps' to question 2 (attribute); it is Yes or No",
        ),
        ({"skills": ["object", "count"]}, "a number in words up to ten"),
    ],
)
def test_wrong_rows_name_their_line(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(RecordError, match="line 2") as caught:
        GENEVAL2.import_items(write(tmp_path, [ROWS[0], {**ROWS[1], **change}]))
    assert said in str(caught.value)


def test_one_prompt_with_other_questions_is_refused_and_a_repeated_one_left_out(tmp_path: Path) -> None:
    assert len(GENEVAL2.import_items(write(tmp_path, [*ROWS, ROWS[1]])).records) == 2
    with pytest.raises(RecordError, match="line 3: the prompt 'a jug' stands in line 2 with other questions"):
        GENEVAL2.import_items(write(tmp_path, [*ROWS, {**ROWS[1], "atom_count": 4}]))
