from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import pytest
from typer.testing import CliRunner

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("httpx")

from anyscene import SceneSpace
from anyscene.cli.reward import app, make_reward
from anyscene.errors import SpecError
from anyscene.judges import load_judge
from anyscene.models import load_model
from anyscene.rewards import SceneReward
from anyscene.rewards.client import RewardClient
from anyscene.sandbox import load_sandbox_taxonomy

PROGRAM = "from anyscene.cli.reward import app; app()"


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_the_command_serves_what_the_reward_gives_here() -> None:
    space = SceneSpace(taxonomy=load_sandbox_taxonomy(), complexity=(2, 4))
    records = list(space.records(6, seed=0))
    media = load_model("sandbox:flawed", drop="0.3").generate([record["caption"] for record in records], list(range(6)))
    command = [sys.executable, "-c", PROGRAM, "serve", "--judge", "sandbox:pixels", "--port", "0", "--no-doctor", "-r", "foil_weight=0.25"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process.stderr as told:
        line = told.readline()
        assert line.startswith("scene is served at http://127.0.0.1:")
        client = RewardClient(line.split()[4].removesuffix("/score;"))
        assert client.score(media, records) == SceneReward(load_judge("sandbox:pixels"), foil_weight=0.25).score(media, records)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) != 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "asks a judge"),
        (["--judge", "sandbox:pixels", "--host", "0.0.0.0"], "token"),
        (["--judge", "sandbox:pixels", "--scenes", "here"], "--allow-pickle"),
        (["--judge", "sandbox:pixels", "-r", "colour=red"], "no option 'colour'"),
        (["--judge", "sandbox:pixels", "-r", "foil_weight=much"], "foil_weight=much"),
        (["--judge", "sandbox:pixels", "-r", "kind_weights=relation"], "JSON"),
        (["--reward", "clipscore", "--judge", "sandbox:pixels"], "asks no judge"),
        (["--reward", "applause"], "it must be scene, or one of"),
        (["--judge", "nobody:x", "--no-doctor"], "there is no back-end"),
        (["--judge", "sandbox:pixels", "--max-images", "0"], "at least 1"),
    ],
)
def test_what_cannot_be_served_is_said_before_anything_is_loaded(given: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["serve", "--port", "0", *given])
    assert isinstance(result.exception, SpecError)
    with pytest.raises(SpecError, match=said):
        raise result.exception


def test_options_of_the_reward_are_read_as_what_they_are() -> None:
    options = ["soft=false", "forms=yes_no,choice", 'kind_weights={"relation": 2}', "foil_weight=0"]
    reward: Any = make_reward("scene", options, "sandbox:pixels", None, doctor=False, quiet=True)
    assert (reward.soft, reward.forms, reward.kind_weights, reward.foil_weight) == (False, ("yes_no", "choice"), {"relation": 2.0}, 0.0)


def test_the_help_shows_a_command_that_can_be_copied() -> None:
    result = CliRunner().invoke(app, ["serve", "--help"])
    assert result.exit_code == 0
    assert "anyscene reward serve --judge" in result.output
