"""GenAI-Bench: means by skill by hand, and each official fault alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anyscene.benchmarks import BenchmarkResult, Items, Replies, Reply, load_benchmark
from anyscene.errors import RecordError, SpecError

GENAI = load_benchmark("genai-bench")


def items(folder: Path, names: list[str], skills: dict[str, list[object]]) -> Items:
    prompts = {name: {"prompt": f"prompt {name}", "models": {"SDXL_Base": [1, 3]}} for name in names}
    (folder / "genai_image.json").write_text(json.dumps(prompts))
    (folder / "genai_skills.json").write_text(json.dumps(skills))
    return GENAI.import_items(folder)


def told(values: dict[str, float | None], **more: str) -> Replies:
    return Replies(
        {(id, 0): {"shows": Reply(None, value, "failed" if value is None else "answered")} for id, value in values.items()}, **more
    )


def effect(result: BenchmarkResult, name: str) -> float | None:
    return next(one.effect for one in result.faults if one.name == name)


ABC = ["00000", "00001", "00002"]


def test_means_by_skill(tmp_path: Path) -> None:
    own = items(tmp_path, ABC, {"counting": [0, 1], "scene": ["00002"], "advanced": [0, 1]})
    found = GENAI.score(own, told({"00000": 0.2, "00001": 0.6, "00002": 1.0}))
    for reading in (found.official, found.fixed):
        assert reading.headline.value == pytest.approx(0.6)
        assert {name: one.value for name, one in reading.by["skill"].items()} == pytest.approx(
            {"counting": 0.4, "advanced": 0.4, "scene": 1.0}
        )
        assert reading.columns["std"].value == pytest.approx(0.4)
    assert [one.effect for one in found.faults] == [0, 0, 0] and "P(yes)" in found.judge_note
    assert not GENAI.score(own, told({"00000": 0.2}, judge="clip-flant5-xxl")).judge_note
    assert own.records[0]["questions"][0]["text"] == 'Does this figure show "prompt 00000"?'
    assert own.extras["00001"]["people"] == {"SDXL_Base": [1.0, 3.0]}


def test_prompts_without_a_skill_are_left_out_officially(tmp_path: Path) -> None:
    own = items(tmp_path, ABC, {"counting": [0, 1]})
    found = GENAI.score(own, told({"00000": 0.2, "00001": 0.6, "00002": 1.0}))
    assert (found.official.headline.value, found.fixed.headline.value) == (pytest.approx(0.4), pytest.approx(0.6))
    assert effect(found, "untagged-prompts") == pytest.approx(-0.2)
    assert any("no skill" in note.what for note in own.notes)


def test_a_number_is_taken_for_a_place(tmp_path: Path) -> None:
    own = items(tmp_path, ["00001", "00002", "00003"], {"counting": [1], "scene": [2], "basic": [3]})
    found = GENAI.score(own, told({"00001": 0.1, "00002": 0.5, "00003": 0.9}))
    assert {name: one.value for name, one in found.fixed.by["skill"].items()} == {"basic": 0.9, "counting": 0.1, "scene": 0.5}
    assert {name: one.value for name, one in found.official.by["skill"].items()} == {"counting": 0.5, "scene": 0.9}  # 3 is beyond the end
    assert effect(found, "position-for-name") == pytest.approx(0.7 - 0.5)


def test_a_failure_is_zero_officially_and_missing_else(tmp_path: Path) -> None:
    own = items(tmp_path, ABC, {"counting": [0, 1, 2]})
    found = GENAI.score(own, told({"00000": 0.8, "00001": None, "00002": 0.4}))
    assert (found.official.headline.value, found.fixed.headline.value) == (pytest.approx(0.4), pytest.approx(0.6))
    assert effect(found, "silence-is-zero") == pytest.approx(-0.2)
    assert (found.counts.answered, found.counts.missing) == (2, 1)


def test_several_pictures_of_a_prompt_are_a_mean(tmp_path: Path) -> None:
    own = items(tmp_path, ABC[:1], {"counting": [0]})
    said = Replies({("00000", 0): {"shows": Reply(None, 0.2)}, ("00000", 1): {"shows": Reply(None, 0.6)}}, samples=2)
    assert GENAI.score(own, said).official.headline.value == pytest.approx(0.4)


def test_scores_as_csv(tmp_path: Path) -> None:
    own = items(tmp_path, ABC, {"counting": [0, 1, 2]})
    path = tmp_path / "scores.csv"
    path.write_text("item_id,score,model,judge\n0,0.5,m,j\n00001,,m,j\n00002,1,m,j\n9,1,m,j\n0,1,other,j\n")
    found = GENAI.read_evidence(path, own, model="m")
    assert found.judge == "j" and [note.count for note in found.notes] == [1]
    assert GENAI.score(own, found).official.headline.value == 0.5
    with pytest.raises(SpecError, match="m, other"):
        GENAI.read_evidence(path, own)
    for bad, said in (("2", "no number from 0 to 1"), ("nan", "no number from 0 to 1"), ("x", "'x'")):
        path.write_text(f"item_id,score\n0,{bad}\n")
        with pytest.raises(RecordError, match=f"line 2: .*{said}"):
            GENAI.read_evidence(path, own)


@pytest.mark.parametrize(
    ("skills", "said"), [([], "an object of skills"), ({"a": 1}, "a list of numbers"), ({"a": ["x"]}, "no number of a prompt")]
)
def test_a_file_of_skills_that_is_none_is_refused(skills: object, said: str, tmp_path: Path) -> None:
    items(tmp_path, ABC, {"counting": [0]})
    (tmp_path / "genai_skills.json").write_text(json.dumps(skills))
    with pytest.raises(RecordError, match=f"genai_skills.json.*{said}"):
        GENAI.import_items(tmp_path / "genai_image.json")


def test_numbers_of_no_prompt_and_twins_are_told(tmp_path: Path) -> None:
    assert any("of no prompt" in note.what for note in items(tmp_path, ABC, {"counting": [0, 77]}).notes)
    with pytest.raises(RecordError, match="same number"):
        items(tmp_path, ["0", "00000"], {"counting": [0]})
