"""``anyscene moderate scan`` and ``serve`` with a detector that was really trained, if briefly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import command, run_here

pytestmark = pytest.mark.torch
pytest.importorskip("torch")
pytest.importorskip("sklearn")
pytest.importorskip("accelerate")
pytest.importorskip("transformers")
if str(Path(__file__).parents[1] / "moderation") not in sys.path:
    sys.path.append(str(Path(__file__).parents[1] / "moderation"))
if str(Path(__file__).parents[1]) not in sys.path:
    sys.path.append(str(Path(__file__).parents[1]))

from hostile import hostile  # noqa: E402
from planted import write  # noqa: E402

from anyscene.moderation.detector import load_detector  # noqa: E402
from anyscene.moderation.findings import read_findings  # noqa: E402
from anyscene.moderation.opening import SCORED, open_picture  # noqa: E402
from anyscene.moderation.training import TrainOptions, train_detector  # noqa: E402
from reward_servers import ask  # noqa: E402

OPTIONS = TrainOptions("resnet", size=32, steps=8, batch=16, validate_every=8, false_positive_rate=0.1, patience=0)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write(tmp_path_factory.mktemp("cue") / "data", {"train": 40, "validation": 40, "test": 10}, {"blue": 60.0})


@pytest.fixture(scope="module")
def detector(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "detector"
    train_detector(data, folder, OPTIONS, device="cpu", quiet=True)
    return folder


@pytest.fixture
def uploads(tmp_path):
    (tmp_path / "uploads").mkdir()
    for name, (content, _) in hostile().items():
        (tmp_path / "uploads" / name).write_bytes(content)
    return tmp_path / "uploads"


def test_scan_writes_a_line_a_file_and_says_what_it_came_to(detector, uploads, tmp_path):
    outcome = run_here("moderate", "scan", uploads, "--detector", detector, "--out", tmp_path / "r.parquet", "--device", "cpu", "-q")
    assert (outcome.code, outcome.err) == (0, "")
    found = {Path(one.path).name: one for one in read_findings(tmp_path / "r.parquet")}
    assert {name: one.verdict for name, one in found.items()} == {name: verdict for name, (_, verdict) in hostile().items()}
    loaded = load_detector(detector, device="cpu")
    for name, (content, verdict) in hostile().items():
        assert (found[name].score is not None) == (verdict in SCORED), name
        if verdict in SCORED:
            (score,) = loaded.score(list(open_picture(content).pictures))
            assert found[name].score == pytest.approx(score, abs=1e-5)
            assert found[name].generated == (found[name].score > loaded.threshold)
    words = " ".join(outcome.out.split())
    scored = sum(one.score is not None for one in found.values())
    assert f"of {scored} scored pictures" in words
    assert f"Were all of them real, {scored * loaded.facts['calibration']['rate']:,.1f} would be expected above it" in words
    assert "bomb more pixels, text or profile than are taken" in words


def test_json_says_the_same_and_a_threshold_is_ones_own(detector, uploads, tmp_path):
    shared = ("moderate", "scan", uploads, "--detector", detector, "--out", tmp_path / "r.csv", "--device", "cpu", "-q", "--json")
    first = json.loads(run_here(*shared).out)
    assert first["files"] == sum(first["verdicts"].values()) == len(hostile())
    assert first["expected"]["pictures"] == pytest.approx(first["expected"]["rate"] * first["scored"])
    second = json.loads(run_here(*shared, "--threshold", "0").out)
    assert (second["reused"], second["expected"]) == (len(hostile()), None)
    assert second["generated"] == second["scored"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--out", "r.xlsx"), "must end with one of them"),
        (("--out", "r.csv", "--frames", "0"), "must be above 0"),
        (("--out", "r.csv", "--max-mb", "nan"), "must be above 0"),
        (("--out", "r.csv", "--threshold", "7"), "from 0 to 1"),
        (("--out", "r.csv", "--workers", "0"), "1 to 256"),
        (("--out", "r.csv", "--batch", "0"), "at least 1"),
    ],
)
def test_options_out_of_range_are_one_line(detector, uploads, tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    outcome = run_here("moderate", "scan", uploads, "--detector", detector, "--device", "cpu", "-q", *options)
    assert outcome.refused
    assert said in outcome.err


def test_what_is_not_there_and_a_baseline_are_one_line(data, detector, uploads, tmp_path):
    outcome = run_here("moderate", "scan", tmp_path / "nowhere", "--detector", detector, "--out", tmp_path / "r.csv", "--device", "cpu")
    assert outcome.refused
    assert "no such file or folder" in outcome.err
    outcome = run_here("moderate", "scan", uploads, "--detector", uploads, "--out", tmp_path / "r.csv")
    assert outcome.refused
    assert "no detector" in outcome.err
    options = TrainOptions("hand", false_positive_rate=0.1)
    train_detector(data, tmp_path / "hand", options, device="cpu", quiet=True)
    for words in (("scan", uploads, "--out", tmp_path / "r.csv"), ("serve", "--port", "0")):
        outcome = run_here("moderate", *words, "--detector", tmp_path / "hand", "--device", "cpu")
        assert outcome.refused
        assert "how files are encoded" in outcome.err


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_serve_says_what_scan_says_and_stops_at_ctrl_c(detector, tmp_path):
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    content = hostile()["fine.png"][0]
    (tmp_path / "x").write_bytes(content)
    run_here("moderate", "scan", tmp_path / "x", "--detector", detector, "--out", tmp_path / "r.jsonl", "--device", "cpu", "-q")
    scanned = json.loads((tmp_path / "r.jsonl").read_text())
    process = subprocess.Popen(
        command("moderate", "serve", "--detector", detector, "--port", 0, "--device", "cpu"), stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    with process.stderr as told:
        line = told.readline()
        assert "detector is served at http://127.0.0.1:" in line
        answered = ask(line.split()[4].removesuffix("/scan;"), content, "/scan", Content_Type="image/png")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) != 0
    assert answered.status == 200
    assert {name: value for name, value in scanned.items() if name not in ("path", "score")}.items() <= answered.json.items()
    assert answered.json["score"] == pytest.approx(scanned["score"], abs=1e-6)


def test_beyond_this_machine_a_token_is_needed_before_anything_is_loaded(tmp_path):
    outcome = run_here("moderate", "serve", "--detector", tmp_path, "--host", "0.0.0.0")
    assert outcome.refused
    assert "token" in outcome.err
