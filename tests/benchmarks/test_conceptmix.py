"""ConceptMix: all-correct by k by hand, its official faults, its published intervals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anyscene.benchmarks import BenchmarkResult, Items, Replies, Reply, load_benchmark
from anyscene.errors import RecordError

CONCEPTMIX = load_benchmark("conceptmix")


def items(folder: Path, per_k: dict[int, int], empty: bool = False) -> Items:
    for k, number in per_k.items():
        rows = [
            {
                "index": place,
                "sentence": f"prompt {k} {place}",
                "skills": ["color"] * k,
                "question": [f"Is {one} there in {place}? " for one in range(k + 1)] + ([""] if empty else []),
            }
            for place in range(number)
        ]
        (folder / f"300_sentences_k={k}.json").write_text(json.dumps(rows))
    return CONCEPTMIX.import_items(folder)


def told(said: dict[str, str]) -> Replies:
    """Answers as letters Y (Yes), y (yes), n, . (failed)."""
    words = {"Y": Reply("Yes"), "y": Reply("yes"), "n": Reply("No"), ".": Reply(None, status="failed")}
    return Replies({(item, 0): {f"q{place}": words[one] for place, one in enumerate(own, 1)} for item, own in said.items()})


def effect(result: BenchmarkResult, name: str) -> float | None:
    return next(one.effect for one in result.faults if one.name == name)


def test_a_picture_counts_only_if_every_question_is_yes(tmp_path: Path) -> None:
    own = items(tmp_path, {1: 2, 3: 2}, empty=True)
    assert [len(record["questions"]) for record in own.records] == [2, 2, 4, 4]
    assert [note.count for note in own.notes if "empty" in note.what] == [4]
    found = CONCEPTMIX.score(own, told({"k1-0": "YY", "k1-1": "Yn", "k3-0": "YYYY", "k3-1": "nnYY"}))
    for reading in (found.official, found.fixed):
        assert {k: one.value for k, one in reading.by["k"].items()} == {"1": 50.0, "3": 50.0}
        assert {k: one.value for k, one in reading.by["questions of k"].items()} == {"1": 75.0, "3": 75.0}
        assert (reading.headline.value, reading.columns["questions"].value) == (50.0, 75.0)


def test_the_mean_over_k_weighs_every_k_alike(tmp_path: Path) -> None:
    own = items(tmp_path, {1: 3, 2: 1})
    found = CONCEPTMIX.score(own, told({"k1-0": "YY", "k1-1": "YY", "k1-2": "YY", "k2-0": "YYn"}))
    assert found.official.headline.value == 50.0


def test_only_yes_with_a_capital_counts_officially(tmp_path: Path) -> None:
    found = CONCEPTMIX.score(items(tmp_path, {1: 2}), told({"k1-0": "Yy", "k1-1": "YY"}))
    assert (found.official.headline.value, found.fixed.headline.value, effect(found, "cased-yes")) == (50.0, 100.0, -50.0)


def test_a_failure_is_a_no_officially_and_missing_else(tmp_path: Path) -> None:
    found = CONCEPTMIX.score(items(tmp_path, {1: 2}), told({"k1-0": "Y.", "k1-1": "YY"}))
    assert (found.official.headline.value, found.fixed.headline.value, effect(found, "silence-is-zero")) == (50.0, 100.0, -50.0)
    assert found.counts.items_scored == 1


def test_the_published_intervals(tmp_path: Path) -> None:
    """0.52 of 300 has an interval of about 0.06 to either side."""
    own = items(tmp_path, {1: 300})
    found = CONCEPTMIX.score(own, told({f"k1-{place}": "YY" if place < 156 else "Yn" for place in range(300)}))
    one = found.official.by["k"]["1"]
    assert one.value == pytest.approx(52.0) and one.low is not None and one.high is not None
    assert (one.high - one.low) / 2 == pytest.approx(5.65, abs=0.25)


def test_the_k_comes_from_the_name_or_the_skills(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    row = {"index": 0, "sentence": "a", "skills": ["color", "size"], "question": ["?"]}
    path.write_text(json.dumps([row]))
    assert CONCEPTMIX.import_items(path).extras["k2-0"]["k"] == 2
    path.write_text(json.dumps([{**row, "skills": []}]))
    with pytest.raises(RecordError, match="entry 1: k is not known"):
        CONCEPTMIX.import_items(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordError, match="there is no file 300_sentences"):
        CONCEPTMIX.import_items(tmp_path / "empty")


def test_answers_as_csv(tmp_path: Path) -> None:
    own = items(tmp_path, {1: 1})
    path = tmp_path / "answers.csv"
    path.write_text("item_id,question_id,answer\nk1-0,1,Yes\nk1-0,2,Yes\nk1-0,3,Yes\n")
    found = CONCEPTMIX.read_evidence(path, own)
    assert CONCEPTMIX.score(own, found).official.headline.value == 100.0 and [note.count for note in found.notes] == [1]
