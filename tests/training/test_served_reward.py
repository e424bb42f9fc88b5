"""Training against reward servers that come and go."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
for library in ("diffusers", "transformers", "accelerate", "peft", "fastapi", "uvicorn", "httpx"):
    pytest.importorskip(library)

TESTS = Path(__file__).parents[1]
for folder in (TESTS, TESTS / "models"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from tiny_pipelines import save  # noqa: E402

from anyscene.errors import SpecError  # noqa: E402
from anyscene.models import load_model  # noqa: E402
from anyscene.rewards import Reward, RewardClient  # noqa: E402
from anyscene.training import TrainingRun, read_config  # noqa: E402
from anyscene.training.diffusion import train_diffusion  # noqa: E402
from anyscene.training.grpo import make_reward  # noqa: E402
from reward_servers import QUESTION, PixelReward  # noqa: E402

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

SERVE = """
import sys, time
sys.path.insert(0, sys.argv[1])
from reward_servers import PixelReward
from anyscene.rewards import RewardServer, ServerConfig
reward = PixelReward()
with RewardServer(reward, ServerConfig(port=0)) as server:
    print(server.url, flush=True)
    for _ in sys.stdin:
        print(sum(map(len, reward.batches)), flush=True)
"""


class Served:
    """A reward server in a process of its own."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", SERVE, str(TESTS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = self._line()

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def scored(self) -> int:
        """Pictures so far."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return int(self._line())

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()


def train(pipeline: Path, out: Path, reward: Reward, after: Any = None) -> list[Any]:
    """The weights after three updates of four pictures."""
    given = {"rollout.captions": 2, "rollout.group_size": 2, "rollout.steps": 4, "optimization.learning_rate": 1e-3, "lora.rank": 4}
    options = {"height": 16, "width": 16, "device": "cpu", "call": {"max_sequence_length": 77}}
    config = read_config(None, {"model": f"diffusers:{pipeline}", "model_options": options, "updates": 3, **given})
    run = TrainingRun(out, config.updates, quiet=True)
    log = run.log

    def tell(update: int, *args: Any) -> None:
        log(update, *args)
        if after is not None:
            after(update)

    run.log = tell  # type: ignore[method-assign]
    model: Any = load_model(config.model, **config.model_options)
    train_diffusion(model, reward, records, config, run)
    return list(torch.load(out / "checkpoints" / "update-00003" / "state.pt", weights_only=True)["weights"])


def records(start: int, count: int) -> list[dict[str, Any]]:
    return [{"id": f"r{at}", "caption": f"a ball, number {at}", "questions": [QUESTION]} for at in range(start, start + count)]


def test_a_server_that_dies_in_the_middle_changes_nothing_that_is_learnt(tmp_path: Path) -> None:
    pipeline = save("sd3", tmp_path / "sd3")
    here = train(pipeline, tmp_path / "here", PixelReward())
    servers = [Served(), Served()]
    scored: list[int] = []

    def kill(update: int) -> None:
        if update == 1:
            scored.extend(one.scored() for one in servers)
            servers[0].kill()

    try:
        client = RewardClient([one.url for one in servers], pictures_per_request=1, backoff_s=0.01)
        there = train(pipeline, tmp_path / "there", client, kill)
        assert min(scored) > 0
        assert sum(scored) == 4
        assert servers[1].scored() == scored[1] + 8
        client.close()
    finally:
        for one in servers:
            one.kill()
    assert all(torch.equal(one, other) for one, other in zip(here, there, strict=True))


def test_the_config_of_a_run_names_the_servers() -> None:
    config = read_config(
        None, {"model": "sandbox:diffusion", "reward": "served", "reward_servers": ["http://127.0.0.1:1", "http://127.0.0.1:2"]}
    )
    reward = make_reward(config, None)
    assert repr(reward) == "RewardClient(['http://127.0.0.1:1', 'http://127.0.0.1:2'])"
    for given in ({"reward": "served"}, {"reward_servers": ["http://127.0.0.1:1"]}):
        with pytest.raises(SpecError, match="reward = served and reward_servers go together"):
            read_config(None, {"model": "sandbox:diffusion", **given})
