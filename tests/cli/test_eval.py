"""`anyscene eval` and its parts, on the sandbox, as a user runs them."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from command_line import Outcome, run_here

FLAWED = ("--model", "sandbox:flawed", "--judge", "sandbox:pixels")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes") / "scenes"
    made = run_here(
        "generate",
        "-n",
        150,
        "--taxonomy",
        "sandbox",
        "--complexity",
        "1-6",
        "--counts",
        "--scene-attributes",
        "0-1",
        "-q",
        "--out",
        folder,
    )
    assert made == Outcome(0, "", "")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, scenes: Path) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    made = run_here("eval", scenes, *FLAWED, "-m", "drop=0.2", "-q", "--out", folder)
    assert (made.code, made.err) == (0, "")
    return folder


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Iterator[Path]:
    shutil.copytree(run, tmp_path / "run")
    yield tmp_path / "run"


def everything(folder: Path) -> dict[str, str]:
    return {
        f"{path.parent.relative_to(folder)}/{name}": digest
        for path in folder.rglob("*")
        if path.is_dir()
        for name, digest in digests_of(path).items()
    }


def digests_of(folder: Path) -> dict[str, str]:
    import hashlib

    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def test_a_run_holds_what_the_docs_say(run: Path) -> None:
    assert {path.name for path in run.iterdir()} == {
        *("run.json", "scenes.parquet", "words.json", "media", "answers", "labels.parquet", "scores.json", "scores.parquet", "report.html")
    }
    assert (run / "media/sandbox-flawed/manifest.jsonl").is_file()
    assert (run / "answers/sandbox-pixels/part-00000.parquet").is_file()


def test_scores_are_near_the_rates_that_the_painter_was_given(run: Path) -> None:
    scores = json.loads((run / "scores.json").read_text())
    assert (scores["scenes"], scores["media"]["made"]) == (150, 150)
    existence = scores["corrected"]["existence"]["prediction_powered"]
    assert existence["low"] <= 0.8 <= existence["high"]
    assert existence["high"] - existence["low"] < 0.25
    assert scores["judge_quality"]["source"] == "truth"
    kinds = set(scores["by"]["kind"])
    assert {"existence", "attribute", "relation", "count", "scene_attribute"} <= kinds


def test_the_same_command_again_changes_nothing(scenes: Path, copy: Path) -> None:
    before = everything(copy)
    assert run_here("eval", scenes, *FLAWED, "-m", "drop=0.2", "-q", "--out", copy).code == 0
    assert everything(copy) == before


def test_the_parts_one_by_one_give_the_files_of_the_whole(scenes: Path, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "parts"
    for words in (
        ("paint", scenes, "--model", "sandbox:flawed", "-m", "drop=0.2", "-q", "--out", out),
        ("judge", out, "--judge", "sandbox:pixels", "-q"),
        ("score", out, "-q"),
        ("calibrate", out, "--from", "sandbox", "-q"),
        ("report", out, "-q"),
    ):
        done = run_here(*words)
        assert (done.code, done.err) == (0, ""), words
    assert everything(out) == everything(run)


@pytest.mark.parametrize("change", [("-m", "drop=0.3"), ("--seed", "1"), ("--samples", "2"), ("-n", "10")])
def test_another_run_is_never_mixed_in(scenes: Path, copy: Path, change: tuple[str, str]) -> None:
    before = everything(copy)
    options = ["-m", "drop=0.2", *change] if change[1] != "drop=0.3" else list(change)
    refused = run_here("eval", scenes, *FLAWED, *options, "-q", "--out", copy)
    assert refused.refused and "another run" in refused.err
    assert everything(copy) == before


def test_a_damaged_picture_is_named_by_judge_and_mended_by_paint(scenes: Path, copy: Path) -> None:
    victim = sorted((copy / "media").rglob("*.png"))[5]
    whole = victim.read_bytes()
    victim.write_bytes(whole[:100])
    shutil.rmtree(copy / "answers")
    judged = run_here("judge", copy, "--judge", "sandbox:pixels", "-q")
    assert judged.refused and victim.name in judged.err
    mended = run_here("paint", scenes, "--model", "sandbox:flawed", "-m", "drop=0.2", "--out", copy)
    assert mended.code == 0 and victim.name in mended.err
    assert victim.read_bytes() == whole


def test_a_damaged_file_of_answers_is_named(copy: Path) -> None:
    part = next((copy / "answers").rglob("part-00001.parquet"))
    data = bytearray(part.read_bytes())
    data[len(data) // 3] ^= 255
    part.write_bytes(bytes(data))
    scored = run_here("score", copy, "-q")
    assert scored.refused and "part-00001.parquet" in scored.err


def test_damaged_scenes_and_manifest_are_named(copy: Path) -> None:
    (copy / "scenes.parquet").write_bytes((copy / "scenes.parquet").read_bytes()[:-5])
    assert "scenes.parquet" in run_here("score", copy, "-q").err
    (copy / "run.json").write_text("{")
    refused = run_here("score", copy, "-q")
    assert refused.refused and "run.json" in refused.err


def test_missing_media_and_answers_are_counted_and_not_scored(scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    made = run_here(
        "eval", scenes, "--model", "sandbox:flawed", "-m", "refuse=0.3", "-m", "drop=0", "--judge", "sandbox:pixels", "--out", out
    )
    assert made.code == 0 and "missing, not as wrong" in made.err
    scores = json.loads((out / "scores.json").read_text())
    assert 20 <= scores["media"]["refused"] <= 70
    assert scores["media"]["made"] + scores["media"]["refused"] == 150
    assert scores["by"]["kind"]["existence"]["soft"]["value"] > 0.98  # nothing was dropped; refusals do not pull it down


def test_an_always_yes_judge_is_refused_and_scores_a_half(scenes: Path, tmp_path: Path) -> None:
    words = ("eval", scenes, "--model", "sandbox:flawed", "--judge", "sandbox:yes", "-q", "--out", tmp_path / "run")
    refused = run_here(*words)
    assert refused.refused and "sandbox:yes is refused" in refused.err
    assert not (tmp_path / "run").exists(), "the judge is examined before anything is painted"
    assert run_here("doctor", "--judge", "sandbox:yes").code == 1
    assert run_here(*words, "--no-doctor").code == 0
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["scores"]["balanced_accuracy"]["value"] == pytest.approx(0.5)


def test_the_doctor_passes_a_good_judge() -> None:
    assert run_here("doctor", "--judge", "sandbox:pixels").code == 0
    found = json.loads(run_here("doctor", "--judge", "sandbox:pixels", "--json").out)
    assert found["verdict"] == "passed"


def test_scores_are_printed_as_json_and_as_a_table(copy: Path) -> None:
    printed = json.loads(run_here("score", copy, "--json", "-q").out)
    assert printed == json.loads((copy / "scores.json").read_text())
    table = run_here("score", copy).out
    assert f"{100 * printed['scores']['soft']['value']:.1f}" in table


def test_a_large_run_is_scored_in_parts_by_several_workers(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, rows = json.loads(run_here("score", copy, "--json", "-q").out), pq.read_table(copy / "scores.parquet")
    assert "150 scenes are scored at once, in this process" in run_here("score", copy, "--workers", 2).err
    monkeypatch.setattr("anyscene.evaluation.parts.MANY_SCENES", 40)
    monkeypatch.setattr("anyscene.evaluation.parts.LEAST_SCENES", 1)
    done = run_here("score", copy, "--json")
    assert "150 scenes in" in done.err
    alone = (copy / "scores.json").read_bytes(), (copy / "scores.parquet").read_bytes()
    assert run_here("score", copy, "--workers", 2, "-q") == Outcome(0, "", "")
    assert ((copy / "scores.json").read_bytes(), (copy / "scores.parquet").read_bytes()) == alone
    assert json.loads(done.out)["scores"] == whole["scores"] and json.loads(done.out)["questions"] == whole["questions"]
    assert pq.read_table(copy / "scores.parquet").equals(rows)
    assert pq.ParquetFile(copy / "scores.parquet").num_row_groups == 4


def test_two_models_are_compared_on_the_same_scenes(scenes: Path, run: Path, tmp_path: Path) -> None:
    better = tmp_path / "better"
    assert run_here("eval", scenes, *FLAWED, "-m", "drop=0.05", "-q", "--out", better).code == 0
    page = tmp_path / "compare.html"
    found = json.loads(run_here("compare", run, better, "--json", "--html", page, "-q").out)
    soft = found["scores"][found["headline"]]
    assert soft["low"] > 0
    assert soft["p"] < 0.01
    assert "<html" in page.read_text()[:200].lower()
    assert run_here("compare", run, better).code == 0


def test_runs_of_different_judges_are_not_compared(scenes: Path, run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    judged = run_here("eval", scenes, "--model", "sandbox:flawed", "--judge", "sandbox:noisy", "--no-doctor", "-q", "--out", other)
    assert judged.code == 0
    refused = run_here("compare", run, other)
    assert refused.refused and "sandbox:noisy" in refused.err


def test_two_judges_of_one_run_are_told_apart(copy: Path) -> None:
    assert run_here("judge", copy, "--judge", "sandbox:noisy", "--no-doctor", "-q").code == 0
    refused = run_here("score", copy, "-q")
    assert refused.refused and "--judge" in refused.err
    assert run_here("score", copy, "--judge", "sandbox:noisy", "-q").code == 0
    assert json.loads((copy / "scores.json").read_text())["judge"]["name"] == "sandbox:noisy"


def test_true_answers_come_from_a_spreadsheet(copy: Path, tmp_path: Path) -> None:
    labels = pq.read_table(copy / "labels.parquet").to_pylist()
    (copy / "labels.parquet").unlink()
    path = tmp_path / "labels.csv"
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, ["media_sha256", "question_key", "answer", "rater"])
        writer.writeheader()
        writer.writerows({**row, "rater": "ann"} for row in labels)
        writer.writerow({**labels[0], "answer": "", "rater": "ann"})
    done = run_here("calibrate", copy, "--from", path, "--json", "-q")
    assert done.code == 0
    assert json.loads(done.out)["judge_quality"]["source"] == "labels"
    path.write_text(path.read_text().replace(",yes,", ",perhaps,", 1))
    refused = run_here("calibrate", copy, "--from", path)
    assert refused.refused and "perhaps" in refused.err and "line" in refused.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--model", "sandbox:nobody", "--judge", "sandbox:pixels"), "renderer"),
        (("--model", "nothing:x", "--judge", "sandbox:pixels"), "diffusers"),
        (("--model", "sandbox:flawed", "-m", "dorp=1", "--judge", "sandbox:pixels"), "drop"),
        (("--model", "sandbox:flawed", "-m", "drop=lots", "--judge", "sandbox:pixels"), "drop=lots"),
        (("--model", "sandbox:flawed", "-m", "drop", "--judge", "sandbox:pixels"), "KEY=VALUE"),
        (("--model", "sandbox:flawed", "--judge", "sandbox:oracle"), "pixels"),
        (("--model", "sandbox:flawed", "--judge", "sandbox:pixels", "--forms", "rhyme"), "rhyme"),
        (("--model", "sandbox:flawed", "-m", "modality=video", "--judge", "sandbox:pixels"), "--modality video"),
        (("--model", "folder:nowhere", "--judge", "sandbox:pixels"), "nowhere"),
        (("--model", "sandbox:flawed", "--judge", "sandbox:pixels", "-n", "0"), "at least 1"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(scenes: Path, tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    refused = run_here("eval", scenes, *words, "-q", "--out", tmp_path / "run")
    assert refused.refused, refused
    assert says in refused.err


@pytest.mark.parametrize("command", ["score", "report", "judge", "calibrate"])
def test_a_folder_that_is_no_run_is_refused(command: str, scenes: Path, tmp_path: Path) -> None:
    more = {"judge": ("--judge", "sandbox:pixels"), "calibrate": ("--from", "sandbox")}.get(command, ())
    for folder in (scenes, tmp_path, tmp_path / "none"):
        refused = run_here(command, folder, *more)
        assert refused.refused and "anyscene eval" in refused.err


@pytest.mark.parametrize("modality", ["video", "3d"])
def test_clips_and_views_are_evaluated_in_the_same_way(modality: str, tmp_path: Path) -> None:
    made = run_here(
        "generate",
        "-n",
        12,
        "--taxonomy",
        "sandbox",
        "--modality",
        modality,
        "--complexity",
        "2-4",
        "--scene-attributes",
        "0-1",
        "-q",
        "--out",
        tmp_path / "s",
    )
    assert made.code == 0
    done = run_here(
        "eval",
        tmp_path / "s",
        "--model",
        "sandbox:renderer",
        "-m",
        f"modality={modality}",
        "--judge",
        "sandbox:pixels",
        "-q",
        "--out",
        tmp_path / "r",
    )
    assert (done.code, done.err) == (0, "")
    assert json.loads((tmp_path / "r/scores.json").read_text())["scores"]["soft"]["value"] > 0.9


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("paint", "{scenes}", "--model", "sandbox:flawed", "--workers", 2, "--out", "{out}"), "--workers says something of a Ray cluster"),
        (("paint", "{scenes}", "--model", "sandbox:flawed", "--address", "auto", "--out", "{out}"), "--address says something of a Ray"),
        (("judge", "{run}", "--judge", "sandbox:pixels", "--gpus-per-worker", 1), "--gpus-per-worker says something of a Ray"),
        (("score", "{run}", "--address", "auto"), "--address says something of a Ray"),
        (("score", "{run}", "--engine", "slurm"), "one of local, ray"),
        (("paint", "{scenes}", "--model", "folder:{run}", "--engine", "ray", "--out", "{out}"), "folder of this machine"),
        (("paint", "{scenes}", "--model", "openai:gpt-image-1", "--engine", "ray", "--out", "{out}"), "keeps its budget here"),
        (("eval", "{scenes}", "--model", "difusers:x", "--judge", "sandbox:pixels", "--engine", "ray", "--out", "{out}"), "no back-end 'difusers'"),
        (("judge", "{run}", "--judge", "openai:vlm", "--engine", "ray"), "base_url=URL1,URL2"),
        (("judge", "{run}", "--judge", "stored:{run}", "--engine", "ray"), "a store of this machine"),
        (("paint", "{scenes}", "--model", "sandbox:flawed", "--engine", "slurm", "--out", "{out}"), "one of local, ray"),
    ],
)  # fmt: skip
def test_what_workers_elsewhere_cannot_do_is_refused_before_any_is_started(
    scenes: Path, run: Path, tmp_path: Path, words: tuple[object, ...], said: str
) -> None:
    places = {"{scenes}": scenes, "{run}": run, "{out}": tmp_path / "out"}
    refused = run_here(*(str(word).replace("{run}", str(run)) if word not in places else places[str(word)] for word in words))
    assert refused.refused and said in refused.err
    assert not (tmp_path / "out").exists()
