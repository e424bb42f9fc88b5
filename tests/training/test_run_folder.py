"""A run's folder: what is logged, what is forgotten on going on, which checkpoints stay, how it stops."""

from __future__ import annotations

import io
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anyscene.errors import Interrupted, RewardHackedError, RunError
from anyscene.media import Media
from anyscene.rewards import Guards, Score
from anyscene.rewards.guard_rules import FoilGuard
from anyscene.rewards.protocol import QuestionScore
from anyscene.training import Rollouts, TrainingRun
from anyscene.training.sheets import contact_sheet


def picture(value: int) -> Media:
    return Media.of_image(np.full((8, 8, 3), value, dtype=np.uint8))


def rollouts(*values: float | None, group: int = 2) -> Rollouts:
    records = [{"id": f"s{place // group}", "caption": f"caption {place // group}"} for place in range(len(values))]
    scores = [
        None if one is None else Score(one, record["id"], figures={"foils": one}) for one, record in zip(values, records, strict=True)
    ]
    return Rollouts([picture(10 * place) for place in range(len(values))], records, scores)


def test_figures_of_rollouts_are_those_of_what_was_scored() -> None:
    found = rollouts(0.0, 1.0, 0.5, 0.5, None, 0.3).figures()
    assert found["reward"] == pytest.approx(2.3 / 5)
    assert found["reward_std"] == pytest.approx(0.25)  # (0.5 + 0) / 2: a group with one score has no spread
    assert found["zero_variance"] == 0.5
    assert found["unscored"] == pytest.approx(1 / 6)
    assert found["reward/foils"] == pytest.approx(2.3 / 5)


def test_what_was_logged_after_the_checkpoint_is_forgotten(tmp_path: Path) -> None:
    run = TrainingRun(tmp_path, 6, quiet=True, checkpoint_every=2)
    assert run.resume() is None
    for update in (1, 2, 3):
        run.log(update, {"loss": update}, rollouts(0.1, 0.2))
        if run.checkpoint_due(update):
            with run.checkpoint(update) as folder:
                (folder / "weights").write_text(str(update))
    again = TrainingRun(tmp_path, 6, quiet=True, checkpoint_every=2)
    found = again.resume()
    assert found is not None and found[0] == 2 and (found[1] / "weights").read_text() == "2"
    assert [one["update"] for one in again.metrics()] == [1, 2]


def test_a_checkpoint_that_was_not_finished_does_not_count(tmp_path: Path) -> None:
    run = TrainingRun(tmp_path, 6, quiet=True)
    with run.checkpoint(1) as folder:
        (folder / "weights").write_text("1")
    with pytest.raises(KeyboardInterrupt), run.checkpoint(2) as folder:
        (folder / "weights").write_text("2")
        raise KeyboardInterrupt
    found = TrainingRun(tmp_path, 6, quiet=True).resume()
    assert found is not None and found[0] == 1


def test_only_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    run = TrainingRun(tmp_path, 6, quiet=True, checkpoints_kept=2)
    for update in (1, 2, 3, 4):
        with run.checkpoint(update):
            pass
    assert sorted(one.name for one in (tmp_path / "checkpoints").iterdir()) == ["update-00003", "update-00004"]


def test_the_newest_checkpoint_is_that_of_the_largest_number(tmp_path: Path) -> None:
    run = TrainingRun(tmp_path, 200_000, quiet=True)
    for update in (99_999, 100_000):
        with run.checkpoint(update):
            pass
    found = run.newest_checkpoint()
    assert found is not None and found[0] == 100_000


def test_a_checkpoint_that_cannot_be_written_is_an_error_and_the_old_one_stays(tmp_path: Path) -> None:
    run = TrainingRun(tmp_path, 6, quiet=True)
    with run.checkpoint(1):
        pass
    with pytest.raises(RunError, match=r"update-00002.*cannot be written"), run.checkpoint(2):
        raise OSError(28, "No space left on device")
    found = run.newest_checkpoint()
    assert found is not None and found[0] == 1


def foiled(value: float) -> Rollouts:
    records = [{"id": "s", "caption": "a ball"}] * 4
    question = QuestionScore("q", "existence", "yes_no", "absent_object", value, value, 0.5, "answered")
    return Rollouts([picture(k) for k in range(4)], records, [Score(value, "s", (question,))] * 4)


def test_guards_go_on_with_what_they_knew(tmp_path: Path) -> None:
    def open_run() -> TrainingRun:
        return TrainingRun(tmp_path, 9, quiet=True, guards=Guards([FoilGuard(baseline=3, window=3)]), checkpoint_every=3)

    run = open_run()
    run.resume()
    for update in (1, 2, 3, 4):
        run.log(update, {}, foiled(0.9))
        if run.checkpoint_due(update):
            with run.checkpoint(update):
                pass
    again = open_run()
    again.resume()
    assert again.guards is not None and again.guards.step == 3


def test_a_guard_that_says_stop_ends_the_run_and_its_numbers_are_logged(tmp_path: Path) -> None:
    run = TrainingRun(tmp_path, 50, quiet=True, guards=Guards([FoilGuard(baseline=3, window=3)]))
    with pytest.raises(RewardHackedError, match=r"foils are right"):
        for update in range(1, 30):
            run.log(update, {}, foiled(0.95 if update < 6 else 0.05))
    assert [(one["cause"], one["rule"]) for one in run.warnings()] == [("foils", "stop")]
    assert len(run.metrics()) >= 6 and any(name.startswith("guard/") for name in run.metrics()[0])
    calm = TrainingRun(tmp_path, 50, quiet=True, guards=Guards([FoilGuard(baseline=3, window=3)]), stop_on_guard=False)
    for update in range(1, 12):
        calm.log(update, {}, foiled(0.95 if update < 6 else 0.05))
    assert len(calm.warnings()) == len({one["cause"] for one in calm.warnings()})  # each is said once
    again = TrainingRun(tmp_path, 50, quiet=True)
    again.resume()  # there is no checkpoint: all is forgotten
    assert again.metrics() == again.warnings() == []


def test_numbers_that_are_none_are_kept_as_missing(tmp_path: Path) -> None:
    run = TrainingRun(tmp_path, 2, quiet=True)
    run.log(1, {"loss": float("nan")}, rollouts(None, None))
    line = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert line["loss"] is None and line["reward"] is None and line["unscored"] == 1


def test_ctrl_c_waits_for_the_end_of_the_update(tmp_path: Path) -> None:
    run = TrainingRun(tmp_path, 10, quiet=True, checkpoint_every=100)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match="after 1 of 10 updates"), run.training(0):
        os.kill(os.getpid(), signal.SIGINT)
        assert run.stop_asked and run.checkpoint_due(1)
        run.stop(1)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    run = TrainingRun(tmp_path, 10, quiet=True)
    with pytest.raises(KeyboardInterrupt), run.training(0):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


def test_sheets_come_at_the_first_update_and_then_from_time_to_time(tmp_path: Path) -> None:
    run = TrainingRun(tmp_path, 10, quiet=True, pictures_every=4)
    for update in range(1, 10):
        run.log(update, {}, rollouts(0.1, 0.2))
    assert sorted(one.name for one in (tmp_path / "rollouts").iterdir()) == [f"update-{n:05d}.png" for n in (1, 4, 8)]


def test_a_sheet_shows_the_best_first_and_leaves_out_what_is_missing() -> None:
    media: list[Media | None] = [picture(50), None, picture(200)]
    records = [{"id": "s", "caption": "a very long caption " * 40}] * 3
    sheet = Image.open(io.BytesIO(contact_sheet(media, records, [Score(0.1), None, Score(0.9)]))).convert("RGB")
    middle = 6 + 16 + 56
    assert [sheet.getpixel((6 + column * 118 + 56, middle)) for column in range(3)] == [(200,) * 3, (50,) * 3, (255,) * 3]
