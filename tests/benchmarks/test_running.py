"""A benchmark from its file to its number in one folder, stopped and gone on with, and scored again from the result alone."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from anyscene.benchmarks import (
    Items,
    import_benchmark,
    items_of,
    judge_benchmark,
    load_benchmark,
    paint_benchmark,
    read_items,
    read_result,
    replies_of_run,
    score_benchmark_run,
)
from anyscene.errors import RecordError, RunError, SpecError
from anyscene.evaluation import open_run
from anyscene.judges import load_judge
from anyscene.models import load_model

COLUMNS = "item_id,text,keywords,proposition_id,dependency,category_broad,category_detailed,tuple,question_natural_language".split(",")
SCENE = "A red circle is to the left of a blue ring."
ROWS = [
    ["whoops1", SCENE, "", 1, "0", "entity", "whole", "entity - whole (circle)", "Is there a circle?"],
    ["whoops1", SCENE, "", 2, "1", "attribute", "color", "attribute - color (circle, red)", "Is the circle red?"],
    ["whoops1", SCENE, "", 3, "0", "entity", "whole", "entity - whole (ring)", "Is there a ring?"],
    [
        "whoops1",
        SCENE,
        "",
        4,
        "1,3",
        "relation",
        "spatial",
        "relation - spatial (circle, ring, left)",
        "Is the circle to the left of the ring?",
    ],
    ["stanford1", "There is a green heart.", "", 1, "0", "entity", "whole", "entity - whole (heart)", "Is there a heart?"],
    ["stanford1", "There is a green heart.", "", 2, "1", "attribute", "color", "attribute - color (heart, green)", "Is the heart green?"],
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "dpg.csv"
    with open(file, "w", newline="") as out:
        csv.writer(out).writerows([COLUMNS, *ROWS])
    return file


def run(items: Items, out: Path, model: str = "sandbox:renderer", seed: int = 0) -> None:
    opened = paint_benchmark(items, load_model(model), out, seed=seed, quiet=True)
    judge_benchmark(opened, load_judge("sandbox:pixels"), quiet=True)


def test_a_folder_of_items_is_a_dataset_and_reads_back_as_the_same_items(path: Path, tmp_path: Path) -> None:
    items = import_benchmark("dpg", path, tmp_path / "items")
    assert read_items(tmp_path / "items") == items
    import_benchmark("dpg", path, tmp_path / "items")  # again: nothing to do
    path.write_text(path.read_text().replace("green", "yellow"))
    with pytest.raises(RunError, match="holds other items"):
        import_benchmark("dpg", path, tmp_path / "items")
    import_benchmark("dpg", path, tmp_path / "items", overwrite=True)
    assert "yellow" in read_items(tmp_path / "items").records[1]["caption"]


def test_items_that_were_changed_behind_the_side_file_are_refused(path: Path, tmp_path: Path) -> None:
    import_benchmark("dpg", path, tmp_path / "items")
    side = tmp_path / "items" / "benchmark.json"
    side.write_text(side.read_text().replace("color (heart", "size (heart"))
    with pytest.raises(RecordError, match="not those that"):
        read_items(tmp_path / "items")
    side.write_text('{"benchmark": "unheard-of", "digest": "", "notes": [], "items": {}}')
    with pytest.raises(RecordError, match="unheard-of"):
        read_items(tmp_path / "items")


def test_a_run_ends_with_a_result_that_can_be_scored_again_without_it(path: Path, tmp_path: Path) -> None:
    items = items_of("dpg", path)
    run(items, tmp_path / "run")
    result = score_benchmark_run(tmp_path / "run")
    assert result.fixed.headline.value == 100.0 and result.counts.answered == 6 * 4 and result.model == "sandbox:renderer"
    again, evidence, document = read_result(tmp_path / "run" / "result.json")
    assert again == items and load_benchmark("dpg").score(again, evidence).to_dict() == result.to_dict() == document["result"]
    assert evidence == replies_of_run(open_run(tmp_path / "run"), items)
    assert len(document["media"]) == 8 and {one["status"] for one in document["media"]} == {"made"}
    assert {"anyscene", "python", "numpy"} <= set(document["environment"]) and document["settings"]["seed"] == 0
    assert str(tmp_path) not in (tmp_path / "run" / "result.json").read_text()


def test_a_run_that_was_stopped_ends_with_the_bytes_of_an_unbroken_one(path: Path, tmp_path: Path) -> None:
    items = items_of("dpg", path)
    run(items, tmp_path / "whole", "sandbox:flawed")
    score_benchmark_run(tmp_path / "whole")
    run(items, tmp_path / "broken", "sandbox:flawed")
    media = next((tmp_path / "broken" / "media").iterdir())
    next(media.rglob("*.png")).unlink()
    for part in (tmp_path / "broken" / "answers").rglob("*.parquet"):
        part.unlink()
    run(items, tmp_path / "broken", "sandbox:flawed")
    score_benchmark_run(tmp_path / "broken")
    for name in ("result.json", "benchmark.json", "scenes.parquet"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_another_runs_folder_is_refused(path: Path, tmp_path: Path) -> None:
    run(items_of("dpg", path), tmp_path / "run")
    with pytest.raises(RunError, match="run of other items"):
        run(items_of("dpg", path, limit=1), tmp_path / "run")
    with pytest.raises(RunError, match="seed"):
        run(items_of("dpg", path), tmp_path / "run", seed=1)
    with pytest.raises(SpecError, match="items of dpg, not of tifa"):
        items_of("tifa", tmp_path / "run")
    with pytest.raises(SpecError, match="at least 1"):
        items_of("dpg", path, limit=0)


def test_pictures_that_could_not_be_made_are_missing_and_not_wrong(path: Path, tmp_path: Path) -> None:
    path.write_text(path.read_text().replace("There is a green heart.", "no sentence of the sandbox"))
    run(items_of("dpg", path), tmp_path / "run")
    result = score_benchmark_run(tmp_path / "run")
    assert result.fixed.headline.value == 100.0
    assert (result.counts.items_scored, result.counts.items, result.counts.media_found, result.counts.missing) == (1, 2, 4, 8)
    assert any("part of the benchmark" in note.what for note in result.notes)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"benchmark result"', '"else"', "no result of a benchmark"),
        ("There is a green heart.", "There is a red heart.", "items were changed"),
        ('"status": "answered"', '"status": "sure"', "status 'sure'"),
        ('"p_yes": 0.', '"p_yes": 7.', "no probability"),
        ('"p_yes": 0.', '"p_yes": -', ""),
        ('"question": "q2"', '"question": "q1"', "answered twice"),
        ('"samples": 4, "notes"', '"samples": "4", "notes"', "samples must be a whole number"),
        ('"evidence"', '"other"', "lacks the field 'evidence'"),
    ],
)
def test_a_result_that_was_tampered_with_is_refused_in_one_line(old: str, new: str, said: str, path: Path, tmp_path: Path) -> None:
    run(items_of("dpg", path), tmp_path / "run", "sandbox:flawed")
    score_benchmark_run(tmp_path / "run")
    file = tmp_path / "run" / "result.json"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    with pytest.raises(RecordError) as caught:
        read_result(file)
    assert said in str(caught.value) and "result.json" in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_a_judge_that_has_not_answered_is_named(path: Path, tmp_path: Path) -> None:
    run(items_of("dpg", path), tmp_path / "run")
    with pytest.raises(SpecError, match="nobody"):
        score_benchmark_run(tmp_path / "run", "nobody")
