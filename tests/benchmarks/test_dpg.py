"""DPG-Bench: both readings by hand, every official fault alone, the released script's own file of answers, a full-size stand-in."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from anyscene.benchmarks import BenchmarkResult, Items, Replies, Reply, load_benchmark
from anyscene.errors import RecordError

DATA = Path(__file__).parents[3] / "shared" / "data"
COLUMNS = "item_id,text,keywords,proposition_id,dependency,category_broad,category_detailed,tuple,question_natural_language".split(",")
DPG = load_benchmark("dpg")


def items(folder: Path, rows: list[tuple[str, int, str, str]]) -> Items:
    """(item, number, dependency, tuple) rows."""
    path = folder / "dpg.csv"
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for item, number, dependency, words in rows:
            broad, _, rest = words.partition(" - ")
            cells = [item, f"prompt {item}", "", number, dependency, broad, rest.split(" (")[0], words, f"Is it {number}?"]
            writer.writerow(cells)
    return DPG.import_items(path)


def replies(said: dict[str, list[str]], samples: int = 1) -> Replies:
    """For each item the answers of each picture, as letters y, n, ? (neither), or . (not answered)."""
    words = {"y": "yes", "n": "no", "?": "maybe"}
    return Replies(
        {
            (item, sample): {f"q{place}": Reply(words[one]) for place, one in enumerate(own, 1) if one != "."}
            for item, tiles in said.items()
            for sample, own in enumerate(tiles)
        },
        samples=samples,
    )


def numbers(result: BenchmarkResult) -> tuple[float | None, float | None]:
    return result.official.headline.value, result.fixed.headline.value


def effect(result: BenchmarkResult, name: str) -> float | None:
    return next(one.effect for one in result.faults if one.name == name)


WHOLE, COLOR, SPATIAL = "entity - whole (cube)", "attribute - color (cube, red)", "relation - spatial (cube, box, on)"
TOY = [
    ("partiprompts97", 1, "0", WHOLE),
    ("partiprompts97", 2, "0", COLOR),
    ("whoops1", 1, "0", WHOLE),
    ("whoops1", 2, "1", COLOR),
    ("whoops1", 3, "2", SPATIAL),
    ("vrd1", 1, "0", WHOLE),
    ("vrd1", 2, "1", COLOR),
]


def test_the_first_row_is_skipped(tmp_path: Path) -> None:
    found = DPG.score(items(tmp_path, TOY), replies({"partiprompts97": ["ny"], "whoops1": ["yyy"], "vrd1": ["yy"]}))
    assert numbers(found) == (100.0, pytest.approx(100 * 2.5 / 3))  # the lost question was the only wrong one
    assert effect(found, "first-row") == pytest.approx(100 - 250 / 3)
    assert effect(found, "dropped-prompts") == 0


def test_where_another_question_depends_on_the_first_the_prompt_is_dropped(tmp_path: Path) -> None:
    toy = [("partiprompts97", 1, "0", WHOLE), ("partiprompts97", 2, "1", COLOR), *TOY[2:]]
    found = DPG.score(items(tmp_path, toy), replies({"partiprompts97": ["nn"], "whoops1": ["yyy"], "vrd1": ["yy"]}))
    assert found.official.headline.n == 2 and found.fixed.headline.n == 3
    assert numbers(found) == (100.0, pytest.approx(200 / 3))
    assert any("dropped by the official reading (partiprompts97)" in note.line() for note in found.notes)


def test_a_parent_that_is_not_there_does_no_harm_behind_one_that_is_wrong(tmp_path: Path) -> None:
    toy = [("a", 1, "0", WHOLE), ("b", 1, "0", WHOLE), ("b", 2, "1,9", COLOR)]
    wrong, right = (DPG.score(items(tmp_path, toy), replies({"a": ["y"], "b": [said]})) for said in ("ny", "yy"))
    assert (wrong.official.headline.n, wrong.official.headline.value) == (1, 0.0)  # a lost its only question; b is scored
    assert right.official.headline.value is None  # here the loop comes to question 9, and stops


def test_zeros_pass_on_in_the_order_of_the_file(tmp_path: Path) -> None:
    found = DPG.score(items(tmp_path, TOY), replies({"partiprompts97": ["yy"], "whoops1": ["nyy"], "vrd1": ["yy"]}))
    assert numbers(found) == (pytest.approx(200 / 3), pytest.approx(200 / 3))
    columns = {name: one.value for name, one in found.fixed.columns.items()}
    assert columns == pytest.approx(
        {"in_place": 200 / 3, "fixpoint": 200 / 3, "library": 100 * (2 + 1 / 3) / 3, "no_dependency": 100 * (2 + 2 / 3) / 3}
    )


def test_pictures_of_a_prompt_count_alike(tmp_path: Path) -> None:
    said = {"partiprompts97": ["yy", "yy"], "whoops1": ["yyy", "nnn"], "vrd1": ["yy", "yn"]}
    assert numbers(DPG.score(items(tmp_path, TOY), replies(said, 2))) == (pytest.approx(75.0), pytest.approx(75.0))


def test_categories_come_from_the_last_picture_before_dependencies(tmp_path: Path) -> None:
    said = {"partiprompts97": ["yy", "yy"], "whoops1": ["yyy", "nyy"], "vrd1": ["nn", "yy"]}
    found = DPG.score(items(tmp_path, TOY), replies(said, 2))
    official = {name: one.value for name, one in found.official.by["L1"].items()}
    assert official == {"entity": 50.0, "attribute": 100.0, "relation": 100.0}  # of the second pictures, without the first row
    fixed = {name: one.value for name, one in found.fixed.by["L1"].items()}
    assert fixed == pytest.approx({"entity": 100 * 4 / 6, "attribute": 100 * 4 / 6, "relation": 50.0})
    assert set(found.official.by["L2"]) == {"entity - whole", "attribute - color", "relation - spatial"}


@pytest.mark.parametrize("whoops", [["yy."], ["yyy", "yy."], ["yyy"]])
def test_a_prompt_with_anything_missing_is_dropped_officially_and_kept_else(whoops: list[str], tmp_path: Path) -> None:
    said = {"partiprompts97": ["yy", "yy"], "whoops1": whoops, "vrd1": ["yn", "yn"]}
    found = DPG.score(items(tmp_path, TOY), replies(said, 2))
    assert numbers(found) == (75.0, pytest.approx(250 / 3))
    assert effect(found, "dropped-prompts") == pytest.approx(75 - 250 / 3)
    assert found.counts.missing > 0 and found.counts.items_scored == 3


def test_an_answer_that_is_neither_is_a_no_officially_and_missing_else(tmp_path: Path) -> None:
    found = DPG.score(items(tmp_path, TOY), replies({"partiprompts97": ["yy"], "whoops1": ["yy?"], "vrd1": ["yy"]}))
    assert numbers(found) == (pytest.approx(100 * (2 + 2 / 3) / 3), 100.0)
    assert (found.counts.answered, found.counts.unparsed, found.counts.missing) == (6, 1, 0)


def test_a_judge_with_probabilities_is_read_by_the_likelier_word(tmp_path: Path) -> None:
    own = items(tmp_path, TOY[:2])
    said = Replies({("partiprompts97", 0): {"q1": Reply("Yes.", 0.9), "q2": Reply("No", 0.2)}}, judge="other")
    found = DPG.score(own, said)
    assert numbers(found) == (0.0, 50.0) and "mPLUG" in found.judge_note
    assert not DPG.score(own, Replies(said.by_media, judge="mplug-large")).judge_note


def test_nothing_about_these_items_is_no_score(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="none of the 1 pictures answered about belongs to the 3 items of dpg"):
        DPG.score(items(tmp_path, TOY), replies({"other": ["y"]}))


def test_the_file_of_answers_of_the_released_script_is_read(tmp_path: Path) -> None:
    own = items(tmp_path, TOY)
    lines = []
    for item, tiles in {"partiprompts97": ["yy", "yy"], "whoops1": ["yyy", "nyn"], "vrd1": ["yy", "yn"], "stranger": ["y", "y"]}.items():
        for tile, said in enumerate(tiles):
            for number, one in enumerate(said, 1):
                box = (512 * tile, 0, 512 * (tile + 1), 512)
                lines.append(f"/pictures/{item}.png, {box}, Is it {number}?, {'yes' if one == 'y' else 'no, not'}")
    path = tmp_path / "dpg_detail.txt"
    path.write_text("\n".join(lines))
    found = DPG.read_evidence(path, own)
    assert found.samples == 2 and found.judge == "mplug-large" and len(found.by_media) == 6
    assert found.by_media["whoops1", 1]["q3"].text == "no, not"
    assert [note.count for note in found.notes] == [2]
    assert numbers(DPG.score(own, found)) == (pytest.approx(100 * (1 + 0.5 + 0.75) / 3), pytest.approx(100 * (1 + 0.5 + 0.75) / 3))
    path.write_text("something else\n")
    with pytest.raises(RecordError, match="line 1: not 'path"):
        DPG.read_evidence(path, own)
    path.write_text("\n".join(lines * 2))  # the script goes on at the end of the file that is there
    twice = DPG.read_evidence(path, own)
    assert twice.by_media == found.by_media and [note.count for note in twice.notes] == [4, len(lines) - 2]
    path.write_text("\n".join([*lines, lines[0].replace("yes", "no")]))
    with pytest.raises(RecordError, match=f"line {len(lines) + 1}: partiprompts97 has another answer to 'Is it 1"):
        DPG.read_evidence(path, own)
    path.write_text(f"/p/whoops1.png, ({'9' * 5000}, 0, 1, 1), Is it 1?, yes\n")
    with pytest.raises(RecordError, match="line 1: not 'path"):
        DPG.read_evidence(path, own)


@pytest.mark.skipif(not (DATA / "dsg").is_dir(), reason="the data of the DSG release are not here")
@pytest.mark.parametrize("judge", ["pali17b", "mplug"])
def test_a_file_of_full_size_agrees_with_the_scorer_of_dsg(judge: str) -> None:
    """DSG-1k has the same columns; on it the in-place rule of both must agree where the faults of either play no part."""
    own = DPG.import_items(DATA / "dsg" / "dsg-1k-anns.csv")
    said = DPG.read_evidence(DATA / "dsg" / f"{judge}_dsg.csv", own, model="sd2dot1")
    found = DPG.score(own, said)
    wanted = load_benchmark("dsg").score(load_benchmark("dsg").import_items(DATA / "dsg" / "dsg-1k-anns.csv"), said).fixed.columns
    assert {name: one.value for name, one in found.fixed.columns.items()} == pytest.approx(
        {name: wanted[name].value for name in found.fixed.columns}
    )
    assert found.official.headline.n == 1058  # without answers: tifa160_134; first row, with dependants: whoops_5
    assert 80 < (found.official.headline.value or 0) < 84


@pytest.mark.skipif(not (DATA / "dpg").is_dir(), reason="the prompts of DPG-Bench are not here")
def test_the_prompts_that_are_at_hand_are_as_many_as_the_release_has() -> None:
    prompts = json.loads((DATA / "dpg" / "prompts.json").read_text())
    counted = Counter(re.sub(r"\d+$", "", name) for name in prompts)
    forty = ("countbench", "diffusiondb", "drawtext", "midjourney", "posescript", "stanford", "vrd", "whoops")
    assert counted == {"": 299, "partiprompts": 324, "COCOval": 100, "localized": 22, **dict.fromkeys(forty, 40)}
    assert len(prompts) == 1065 and "partiprompts97" in prompts
