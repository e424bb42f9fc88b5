from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import run_here

GIVEN = ("--pictures", 4, "--picture-seconds", 2.5, "--question-seconds", 0.05, "--gpu-price", 2, "--picture-bytes", 1e6)


def cost(*arguments: object) -> dict[str, Any]:
    done = run_here("cost", "--json", *arguments)
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_hand_worked_numbers() -> None:
    (row,) = cost("-n", 9000, "--questions", 10, "--rows-per-second", 5, "--record-bytes", 300, *GIVEN)["rows"]
    assert row == {
        "scenes": 9000,
        "record_bytes": 2_700_000,
        "pictures": 36_000,
        "picture_bytes": 36e9,
        "questions": 360_000,
        "cpu_hours": 0.5,
        "painting_gpu_hours": 25,
        "judging_gpu_hours": 5,
        "gpu_hours": 30,
        "cost": 60,
    }


def test_what_nobody_measured_is_not_known() -> None:
    found = cost()
    assert [one["scenes"] for one in found["rows"]] == [10**4, 10**5, 10**6, 10**7, 10**8]
    assert set(found["assumed"]) == {"pictures", "questions", "rows_per_second", "record_bytes"}
    unknown = ("picture_bytes", "painting_gpu_hours", "judging_gpu_hours", "gpu_hours", "cost")
    assert all(row[name] is None for row in found["rows"] for name in unknown)
    (row,) = cost("-n", 10, "--picture-seconds", 1, "--gpu-price", 1)["rows"]
    assert row["painting_gpu_hours"] is not None
    assert row["gpu_hours"] is row["cost"] is None  # painting alone is not the whole


def test_what_is_assumed_is_what_the_engine_makes(datasets: dict[str, Path], tmp_path: Path) -> None:
    """The defaults are figures of the engine, and are to be changed when it changes."""
    assert run_here("generate", "-n", 2000, "--complexity", "4-8", "--out", tmp_path / "scenes", "--quiet").code == 0
    assumed, counted = cost()["assumed"], cost("--like", tmp_path / "scenes")["assumed"]
    assert counted["questions"]["source"] == f"counted in {tmp_path / 'scenes'}"
    assert counted["questions"]["value"] == pytest.approx(assumed["questions"]["value"], rel=0.03)
    assert counted["record_bytes"]["value"] == pytest.approx(assumed["record_bytes"]["value"], rel=0.25)  # few rows share less
    assert cost("--like", tmp_path / "scenes", "--questions", 3)["assumed"]["questions"] == {"value": 3, "source": "given"}
    assert "questions" in cost("--like", datasets["jsonl"])["assumed"]


def test_a_run_of_eval_tells_how_many_pictures_it_has_and_their_size(tmp_path: Path) -> None:
    assert run_here("generate", "-n", 5, "--taxonomy", "sandbox", "--complexity", "2-4", "--out", tmp_path / "scenes", "--quiet").code == 0
    sandbox = ("--model", "sandbox:flawed", "--judge", "sandbox:pixels", "--samples", 2, "--out", tmp_path / "run", "--quiet")
    done = run_here("eval", tmp_path / "scenes", *sandbox, "--no-doctor")
    assert done.code == 0, done.err
    assumed = cost("--like", tmp_path / "run")["assumed"]
    sizes = [one.stat().st_size for one in (tmp_path / "run" / "media").rglob("*.png")]
    assert len(sizes) == 10 and assumed["picture_bytes"]["value"] == sum(sizes) / len(sizes)
    assert assumed["pictures"] == {"value": 2, "source": f"counted in {tmp_path / 'run'}"}


def test_the_table_says_what_is_assumed_and_what_is_missing() -> None:
    said = run_here("cost", "-n", 1_000_000).out
    assert "14.2 M" in said
    assert "67,800 (measured" in said
    assert "--picture-seconds" in said
    assert "?" not in run_here("cost", *GIVEN).out


@pytest.mark.parametrize("given", [("-n", 0), ("--gpu-price", -1), ("--picture-seconds", "nan"), ("--like", "nowhere")])
def test_what_makes_no_sense_is_refused(given: tuple[object, ...]) -> None:
    assert run_here("cost", *given).refused
