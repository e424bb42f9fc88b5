"""anyscene bench list, import, run, score and check on the command line: what works, and one line for what does not."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from command_line import Outcome, run_here
from PIL import Image

from anyscene.benchmarks import benchmark_names, items_of, paint_benchmark
from anyscene.models import load_model

COLUMNS = "item_id,text,keywords,proposition_id,dependency,category_broad,category_detailed,tuple,question_natural_language".split(",")
SCENE = "A red circle is to the left of a blue ring."
ROWS = [
    ["whoops1", SCENE, "", 1, "0", "entity", "whole", "entity - whole (circle)", "Is there a circle?"],
    ["whoops1", SCENE, "", 2, "1", "attribute", "color", "attribute - color (circle, red)", "Is the circle red?"],
    ["stanford1", "There is a green heart.", "", 1, "0", "entity", "whole", "entity - whole (heart)", "Is there a heart?"],
    ["stanford1", "There is a green heart.", "", 2, "1", "attribute", "color", "attribute - color (heart, green)", "Is the heart green?"],
]
GENEVAL = {"tag": "single_object", "include": [{"class": "heart", "count": 1}], "prompt": "There is a green heart."}
VBENCH = [
    {"prompt_en": "a red cup", "dimension": ["color"], "auxiliary_info": {"color": {"color": "red"}}},
    {"prompt_en": "a still alley", "dimension": ["temporal_flickering"]},
]


def bench(*arguments: object) -> Outcome:
    return run_here("bench", *arguments)


def told(*arguments: object) -> str:
    done = bench(*arguments)
    assert done.code == 0, done.err
    return done.out


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file of DPG-Bench, its import and a run of it."""
    folder = tmp_path_factory.mktemp("bench")
    with open(folder / "dpg.csv", "w", newline="") as out:
        csv.writer(out).writerows([COLUMNS, *ROWS])
    said = told("import", "dpg", folder / "dpg.csv", "--out", folder / "items")
    assert "2 items of dpg with 4 questions" in said and "the release has 1,065" in said
    run(folder, folder / "items", "--json")
    return folder


def run(folder: Path, items: Path, *more: object) -> Outcome:
    return bench("run", "dpg", items, "--model", "sandbox:flawed", "--judge", "sandbox:pixels", "--out", folder / "run", "-q", *more)


def test_the_list_says_what_each_takes_and_what_it_is_scored_from() -> None:
    text = told("list")
    assert all(f"{name}\n" in text for name in benchmark_names()) and "bench score takes results.jsonl" in text
    assert len(json.loads(told("list", "--json"))) == len(benchmark_names())


def test_a_run_is_scored_again_from_its_folder_and_from_its_result_alone(made: Path, tmp_path: Path) -> None:
    first = json.loads(run(made, made / "items", "--json").out)  # all there: nothing is made or asked again
    assert json.loads(told("score", "dpg", made / "run", "--json", "--out", tmp_path / "copy.json")) == first
    again = told("score", "dpg", tmp_path / "copy.json")
    assert "the numbers are those of the file" in again and again.splitlines()[0].startswith("dpg: sandbox:flawed, judged by")
    for wrong in (None, []):
        document = json.loads((tmp_path / "copy.json").read_text())
        document["result"] = wrong
        (tmp_path / "copy.json").write_text(json.dumps(document))
        assert "the file says None official" in told("score", "dpg", tmp_path / "copy.json")


def test_stored_answers_become_a_table_and_a_result(made: Path, tmp_path: Path) -> None:
    answers = tmp_path / "answers.csv"
    answers.write_text("item_id,question_id,answer\nwhoops1,1,yes\nwhoops1,2,no\nstanford1,1,yes\nstanford1,2,yes\n")
    table = told("score", "dpg", answers, "--items", made / "dpg.csv", "--model", "mine", "--out", tmp_path / "result.json")
    assert "dpg: mine, judged by answers" in table and "75.00" in table and "2 of 2 items scored" in table
    assert "1 pictures of each item were looked at; the benchmark asks for 4" in table and "first-row" in table
    assert "the numbers are those of the file" in told("score", "dpg", tmp_path / "result.json")


def test_pictures_that_are_there_are_judged_in_their_own_layout(made: Path, tmp_path: Path) -> None:
    items = items_of("dpg", made / "dpg.csv")
    opened = paint_benchmark(items, load_model("sandbox:renderer"), tmp_path / "source", quiet=True)
    grids = tmp_path / "grids"
    grids.mkdir()
    for record in items.records:
        tiles = [opened.media.read(one).image for one in opened.media.entries() if one.record_id == record["id"]]
        width, height = tiles[0].size
        grid = Image.new("RGB", (2 * width, 2 * height))
        for place, tile in enumerate(tiles):
            grid.paste(tile, (place % 2 * width, place // 2 * height))
        grid.save(grids / f"{record['id']}.png")
    common = (
        "run",
        "dpg",
        made / "dpg.csv",
        "--pictures",
        grids,
        "--model",
        "mine",
        "--judge",
        "sandbox:pixels",
        "--out",
        tmp_path / "run",
    )
    found = json.loads(told(*common, "-q", "--json"))
    assert found["fixed"]["headline"]["value"] == 100.0 and found["model"] == "mine" and found["counts"]["media_found"] == 8
    assert "8 of 8 expected dpg media" in told("check", "dpg", grids, "--items", made / "dpg.csv", "--strict")


def test_a_folder_is_checked_for_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "v.json").write_text(json.dumps(VBENCH))
    (tmp_path / "videos").mkdir()
    for name in ("a red cup-0", "a red cup-4", "a still alley-0", "a still alley-24", "a red cup-5"):
        (tmp_path / "videos" / f"{name}.mp4").write_bytes(b"film")
    common = ("check", "vbench", tmp_path / "videos", "--items", tmp_path / "v.json")
    found = json.loads(told(*common, "--json"))
    assert (found["expected"], found["found"], found["extra"]["count"]) == (5 + 25, 4, 1)  # of flicker there are twenty-five
    assert "26 missing" in told(*common)
    strict = bench(*common, "--strict")
    assert strict.code == 1 and strict.one_line and "4 of 30 media" in strict.err


def test_foreign_folders_of_numbers_are_no_pictures_of_a_benchmark(made: Path, tmp_path: Path) -> None:
    (tmp_path / "00000" / "samples").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "00000" / "samples" / "0000.png")
    common = ("check", "dpg", tmp_path, "--items", made / "dpg.csv")
    refused = bench(*common)
    assert refused.refused and "laid out as dpg or stems" in refused.err and "--layout" in refused.err
    assert "1 of 8 expected" in told(*common, "--layout", "geneval")  # who asks for it gets it


WRONG = [
    (("score", "dsg", "RUN"), "is a run of dpg, not of dsg"),
    (("score", "dgs", "RUN"), "there is none of that name"),
    (("score", "dpg", "CSV"), "--items"),
    (("score", "dpg", "gone"), "No such file"),
    (("score", "dpg", "RUN", "--items", "CSV"), "--items is for a file of answers"),
    (("score", "dpg", "RUN", "--model", "x"), "--model is for a file of answers"),
    (("score", "dpg", "RUN", "--encoder", "x"), "--encoder is for a file of answers"),
    (("score", "dpg", "RESULT", "--judge", "x"), "is no run in which several judges"),
    (("score", "dpg", "RESULT", "--encoder", "x"), "only tifa"),
    (("score", "dpg", "PICTURES", "--items", "CSV"), "bench run dpg ITEMS --pictures"),
    (("score", "dpg", "PICTURES"), "a folder and no run"),
    (("score", "dpg", "CSV", "--items", "CSV"), "lacks the column question_id"),
    (("import", "dpg", "ITEMS", "--out", "new"), "a folder; a file is wanted"),
    (("import", "tifa", "CSV", "--out", "new"), "no JSON; it begins with 'item_id,text"),
    (("run", "dpg", "CSV", "--judge", "sandbox:pixels", "--out", "new"), "say what paints"),
    (("run", "dpg", "CSV", "--judge", "sandbox:pixels", "--out", "new", "--model", "sandbox:flawed", "--layout", "dpg"), "--pictures"),
    (
        ("run", "dpg", "CSV", "--judge", "sandbox:pixels", "--out", "new", "--pictures", "PICTURES", "--model-option", "a=1"),
        "--model-option",
    ),
    (("run", "vbench", "CSV", "--judge", "sandbox:pixels", "--out", "new", "--model", "sandbox:flawed"), "bench score vbench FILE"),
    (("run", "dpg", "CSV", "--judge", "sandbox:pixels", "--out", "new", "--pictures", "PICTURES", "-q"), "nothing in it is laid out"),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG)
def test_wrong_requests_are_one_line(arguments: tuple[str, ...], said: str, made: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.new("RGB", (8, 8)).save(pictures / "x.png")
    named = {"RUN": made / "run", "RESULT": made / "run" / "result.json", "CSV": made / "dpg.csv", "ITEMS": made / "items"}
    named |= {"PICTURES": pictures, "new": tmp_path / "new", "gone": tmp_path / "gone"}
    more = ("-q",) if arguments[0] == "run" and "-q" not in arguments else ()
    done = bench(*(named.get(one, one) for one in arguments), *more)
    assert done.refused and said in done.err, done.err


def test_imported_items_are_no_answers(made: Path) -> None:
    done = bench("score", "dpg", made / "items")
    assert done.refused and "dataset" in done.err


def test_no_picture_at_all_is_said_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "g.jsonl").write_text(json.dumps({**GENEVAL, "prompt": "no sentence of the sandbox"}) + "\n")
    common = ("--model", "sandbox:flawed", "--judge", "sandbox:pixels", "--out", tmp_path / "run", "-q")
    done = bench("run", "geneval", tmp_path / "g.jsonl", *common)
    assert done.refused and "none of its 4 media was made; the first: failed" in done.err


def test_pictures_without_a_verdict_are_said_to_be_that(tmp_path: Path) -> None:
    (tmp_path / "g.jsonl").write_text(
        json.dumps(GENEVAL | {"tag": "colors", "include": [{"class": "heart", "count": 1, "color": "red"}]}) + "\n"
    )
    boxes = {"item": "00000", "prompt": GENEVAL["prompt"], "boxes": [{"name": "heart", "score": 0.9, "box": [0, 0, 9, 9]}]}
    (tmp_path / "boxes.jsonl").write_text(json.dumps(boxes) + "\n")
    done = bench("score", "geneval", tmp_path / "boxes.jsonl", "--items", tmp_path / "g.jsonl")
    assert done.refused and "no verdict on any of the 1 pictures: 1 pictures lack colours of boxes" in done.err
    (tmp_path / "boxes.jsonl").write_text(json.dumps(boxes | {"prompt": "There is a red heart."}) + "\n")
    other = bench("score", "geneval", tmp_path / "boxes.jsonl", "--items", tmp_path / "g.jsonl")
    assert other.refused and "00000 is 'There is a red heart.' there, and 'There is a green heart.' in the benchmark's file" in other.err


def test_a_result_whose_items_are_of_another_make_is_refused(made: Path, tmp_path: Path) -> None:
    from anyscene.benchmarks.benchmark import items_digest

    document = json.loads((made / "run" / "result.json").read_text())
    own = document["items"]
    for extra in own["extras"].values():
        del extra["questions"]
    own["digest"] = items_digest(own["records"], own["extras"])
    (tmp_path / "result.json").write_text(json.dumps(document))
    done = bench("score", "dpg", tmp_path / "result.json")
    assert done.refused and "its items or evidence are none of dpg" in done.err
