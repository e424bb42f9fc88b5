"""TIFA: its complete sample, and a few questions by hand."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from anyscene.benchmarks import Items, Replies, Reply, load_benchmark
from anyscene.benchmarks.choices import named_choice, nearest_choice
from anyscene.errors import RecordError, SpecError

DATA = Path(__file__).parents[3] / "shared" / "data" / "tifa"


TIFA = load_benchmark("tifa")


def items(folder: Path, *entries: dict[str, Any]) -> Items:
    path = folder / "questions.json"
    path.write_text(json.dumps(entries))
    return TIFA.import_items(path)


def entry(id: str, question: str, choices: list[str], answer: str, kind: str = "object") -> dict[str, Any]:
    return {"id": id, "caption": f"caption {id}", "question": question, "choices": choices, "answer": answer, "element_type": kind}


def said(own: Items, texts: dict[str, str], **more: Any) -> Replies:
    """Free answers by the question's text, about the one picture of every item."""
    return Replies(
        {
            (record["id"], 0): {one["id"]: Reply(texts[one["text"]]) for one in record["questions"] if one["text"] in texts}
            for record in own.records
        },
        **more,
    )


def test_means_over_captions_and_over_questions_of_a_type_by_hand(tmp_path: Path) -> None:
    both = ["yes", "no"]
    rows = [("a", "1?", "yes", "object"), ("a", "2?", "no", "color"), ("b", "1?", "no", "animal"), ("b", "3?", "no", "human")]
    own = items(tmp_path, *(entry(id, text, both, gold, kind) for id, text, gold, kind in rows), entry("c", "4?", both, "yes", "food"))
    found = TIFA.score(own, said(own, {"1?": "yes", "2?": "yes", "3?": "no"}))
    assert found.official.headline.value == 0.5 and found.official.columns["tifa_stdev"].value == 0.0
    types = {kind: one.value for kind, one in found.official.by["element_type"].items()}
    assert types == {"object": 1.0, "color": 0.0, "animal/human": 0.5} and found.official.headline.n == 2


@pytest.mark.skipif(not DATA.is_dir(), reason="the data of the TIFA release are not here")
def test_the_released_sample_comes_out() -> None:
    own = TIFA.import_items(DATA / "sample_question_answers.json")
    assert sum(len(one["questions"]) for one in own.records) == 19
    assert {one["form"] for record in own.records for one in record["questions"]} == {"yes_no", "choice"}
    found = TIFA.score(own, TIFA.read_evidence(DATA / "sample_evaluation_result.json", own))
    result = json.loads((DATA / "sample_evaluation_result.json").read_text())
    for reading in (found.official, found.fixed):
        assert reading.headline.value == 0.8125
        assert reading.columns["tifa_stdev"].value == pytest.approx(0.26517, abs=5e-6)
        types = {kind: one.value for kind, one in reading.by["element_type"].items()}
        assert types == pytest.approx(result["accuracy_by_type"])
    assert not found.judge_note and [one.effect for one in found.faults] == [0, 0]


def test_an_answer_that_is_no_choice_is_the_nearest_one_officially_and_wrong_else(tmp_path: Path) -> None:
    own = items(tmp_path, entry("a", "who?", ["surfer", "diver"], "surfer"), entry("a", "where?", ["on a beach", "in town"], "on a beach"))
    found = TIFA.score(own, said(own, {"who?": "surfing man", "where?": "beach"}))
    assert (found.official.headline.value, found.fixed.headline.value) == (1.0, 0.0)
    assert found.faults[0].effect == 1.0
    assert [note.line() for note in found.notes] == [
        "2 free answers were mapped to choices by their letters, officially by sentence embeddings (--encoder)"
    ]


def test_an_encoder_decides_as_the_released_scorer_lets_it(tmp_path: Path) -> None:
    own = items(tmp_path, entry("a", "who?", ["surfer", "diver"], "surfer"))
    towards_diver = {"surfing man": [0.0, 1.0], "surfer": [1.0, 0.0], "diver": [0.0, 1.0]}
    found = TIFA.score(own, said(own, {"who?": "surfing man"}), encoder=lambda texts: [towards_diver[text] for text in texts])  # type: ignore[call-arg]
    assert found.official.headline.value == 0.0


def test_other_spellings_of_a_choice_are_that_choice(tmp_path: Path) -> None:
    choices = ["2", "3", "a red dress"]
    assert [named_choice(text, choices) for text in ("two", "2", "3.", "Red dress", "the answer is 3", "2 or 3", "blue", "")] == [
        0,
        0,
        1,
        2,
        1,
        None,
        None,
        None,
    ]
    assert [nearest_choice(text, choices) for text in ("two", "red dresses", "")] == [0, 2, 0]


def test_silence_is_missing_and_says_so(tmp_path: Path) -> None:
    own = items(tmp_path, entry("a", "1?", ["yes", "no"], "yes"), entry("a", "2?", ["yes", "no"], "no"), entry("b", "3?", ["x", "y"], "x"))
    found = TIFA.score(own, said(own, {"1?": "yes", "2?": ""}))
    assert found.fixed.headline.value == 1.0
    assert (found.counts.answered, found.counts.unparsed, found.counts.missing) == (1, 1, 1)
    assert found.counts.items_scored == 1 and any("stops at the first missing" in note.what for note in found.notes)


def test_a_question_with_an_impossible_answer_is_wrong_officially_and_left_out_else(tmp_path: Path) -> None:
    own = items(tmp_path, entry("a", "1?", ["yes", "no"], "yes"), entry("a", "2?", ["red", "blue"], "green", "color"))
    assert any("none of the choices" in note.what for note in own.notes) and len(own.records[0]["questions"]) == 1
    found = TIFA.score(own, said(own, {"1?": "yes"}))
    assert (found.official.headline.value, found.fixed.headline.value) == (0.5, 1.0)
    assert found.faults[1].effect == -0.5
    assert found.official.by["element_type"]["color"].value == 0.0 and "color" not in found.fixed.by["element_type"]


def test_a_judge_that_sees_the_choices_is_read_by_the_likeliest(tmp_path: Path) -> None:
    own = items(tmp_path, entry("a", "1?", ["yes", "no"], "no"), entry("a", "2?", ["red", "blue", "green"], "blue", "color"))
    first, second = (one["id"] for one in own.records[0]["questions"])
    told = Replies({("a", 0): {first: Reply("No", 0.2), second: Reply("B", None, "answered", (0.4, 0.4, 0.2))}})
    found = TIFA.score(own, told)
    assert (found.official.headline.value, found.fixed.headline.value) == (0.5, 0.75) and found.judge_note


def test_answers_as_csv(tmp_path: Path) -> None:
    own = items(tmp_path, entry("a", "1?", ["yes", "no"], "yes"), entry("b", "2?", ["x", "y"], "x"))
    path = tmp_path / "answers.csv"
    path.write_text("id,question,answer,model\na,1?,yes,m\nb,2?,y,m\nc,3?,y,m\na,1?,no,other\n")
    found = TIFA.read_evidence(path, own, model="m")
    assert [note.count for note in found.notes] == [1]
    assert TIFA.score(own, found).official.headline.value == 0.5
    with pytest.raises(SpecError, match="m, other"):
        TIFA.read_evidence(path, own)
    path.write_text("id,question,answer\na,1?,yes\na,1?,no\n")
    with pytest.raises(RecordError, match="line 3: a has another answer"):
        TIFA.read_evidence(path, own)


@pytest.mark.skipif(not DATA.is_dir(), reason="the data of the TIFA release are not here")
def test_the_released_captions_are_as_many_of_each_kind_and_are_no_questions() -> None:
    path = DATA / "tifa_v1.0_text_inputs.json"
    kinds = Counter(row["id"].split("_")[0] for row in json.loads(path.read_text()))
    assert kinds == {"coco": 2000, "partiprompt": 1420, "paintskill": 500, "drawbench": 161}
    with pytest.raises(RecordError, match="entry 1: it lacks the field 'question'"):
        TIFA.import_items(path)
