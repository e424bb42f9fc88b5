from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")
pytest.importorskip("peft")

MODELS = str(Path(__file__).parents[1] / "models")
if MODELS not in sys.path:
    sys.path.insert(0, MODELS)

import numpy as np  # noqa: E402
from tiny_pipelines import BUILD, save  # noqa: E402

from anyscene.errors import AnySceneError, Interrupted, SpecError  # noqa: E402
from anyscene.media import Media  # noqa: E402
from anyscene.models import load_model  # noqa: E402
from anyscene.rewards import Score  # noqa: E402
from anyscene.training import GrpoConfig, TrainingRun, read_config  # noqa: E402
from anyscene.training.diffusion import train_diffusion  # noqa: E402
from anyscene.training.launch import launch_config  # noqa: E402
from anyscene.training.policies import Trained  # noqa: E402

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

OPTIONS: dict[str, dict[str, Any]] = {
    "sd": {"height": 16, "width": 16},
    "sdxl": {"height": 16, "width": 16},
    "sd3": {"height": 16, "width": 16, "guidance": 3.0, "call": {"max_sequence_length": 77}},
    "flux": {"height": 16, "width": 16, "call": {"max_sequence_length": 48}},
}
STEPS = 4
Folder = Callable[[str], Path]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    made: dict[str, Path] = {}

    def find(kind: str) -> Path:
        if kind not in made:
            made[kind] = save(kind, tmp_path_factory.mktemp("pipelines") / kind)
        return made[kind]

    return find


class Blue:
    """Pays for blue."""

    name = "blue"

    def __init__(self, without: Sequence[int] = (), tied: bool = False) -> None:
        self.without, self.tied, self.paid = without, tied, []

    def score(self, images: Sequence[Any], records: Sequence[Any]) -> list[Score | None]:
        found: list[Score | None] = []
        for place, (image, record) in enumerate(zip(images, records, strict=True)):
            assert isinstance(image, Media)
            value = 0.3 if self.tied else float(image.array()[..., 2].mean()) / 255
            found.append(None if place in self.without else Score(value, record_id=str(record["id"])))
        self.paid.append([None if one is None else one.value for one in found])
        return found


def records(start: int, count: int) -> list[dict[str, Any]]:
    return [{"id": f"r{at}", "caption": f"a ball, number {at % 3}"} for at in range(start, start + count)]


def configure(kind: str, folder: Folder, **given: Any) -> GrpoConfig:
    plain = {
        "model": f"diffusers:{folder(kind)}",
        "model_options": {**OPTIONS[kind], "device": "cpu"},
        "updates": 2,
        "checkpoint_every": 1,
        "rollout.captions": 2,
        "rollout.group_size": 2,
        "rollout.steps": STEPS,
        "optimization.learning_rate": 1e-3,
    }
    return read_config(None, {**plain, **given})


def train(config: GrpoConfig, out: Path, reward: Any = None, stop_after: int | None = None) -> tuple[Trained, TrainingRun, Any]:
    model = load_model(config.model, **config.model_options)
    run = TrainingRun(out, config.updates, quiet=True, checkpoint_every=config.checkpoint_every)
    if stop_after is not None:
        log = run.log

        def ask(update: int, *args: Any) -> None:
            log(update, *args)
            if update == stop_after:
                run._asked.set()

        run.log = ask  # type: ignore[method-assign]
    return train_diffusion(model, reward or Blue(), records, config, run), run, model


def weights(out: Path) -> list[Any]:
    newest = sorted((out / "checkpoints").glob("update-*"))[-1]
    return list(torch.load(newest / "state.pt", weights_only=True)["weights"])


# ---- the importance ratio -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [0, 4])
@pytest.mark.parametrize(("kind", "guidance"), [("sd", 5.0), ("sdxl", 5.0), ("sd3", 1.0), ("sd3", 4.0), ("flux", 1.0)])
def test_before_an_update_the_ratio_is_exactly_1(kind: str, guidance: float, rank: int, folder: Folder, tmp_path: Path) -> None:
    _, run, _ = train(configure(kind, folder, **{"rollout.guidance": guidance, "lora.rank": rank, "optimization.kl": 0.01}), tmp_path)
    figures = run.metrics()
    assert [one["ratio_max_deviation"] for one in figures] == [0.0, 0.0]
    assert figures[0]["kl"] == 0.0
    assert figures[1]["kl"] > 0
    assert all(one["grad_norm"] > 0 for one in figures)


def test_after_an_update_on_the_same_rollouts_the_ratio_is_not_1(folder: Folder, tmp_path: Path) -> None:
    _, run, _ = train(configure("sd3", folder, **{"optimization.inner_updates": 2, "lora.rank": 4}), tmp_path)
    first, second = run.metrics()
    assert first["ratio_max_deviation"] == 0.0
    assert second["ratio_max_deviation"] > 0
    assert "reward" in first
    assert "reward" not in second


def test_a_policy_that_learns_otherwise_than_it_drew_is_found_out(folder: Folder, tmp_path: Path) -> None:
    config = configure("sd3", folder)
    model = load_model(config.model, **config.model_options)
    model.pipe.transformer.register_forward_hook(  # type: ignore[attr-defined]
        lambda module, args, output: (output[0] * (1 + 1e-3), *output[1:]) if torch.is_grad_enabled() else output
    )
    with pytest.raises(AnySceneError, match=r"importance ratio is off by .* before the first update.*dropout"):
        train_diffusion(model, Blue(), records, config, TrainingRun(tmp_path, 2, quiet=True))  # type: ignore[arg-type]


def test_some_steps_are_learnt_from_and_others_for_another_update(folder: Folder, tmp_path: Path) -> None:
    from anyscene.training.flow_grpo import FlowGrpo

    chosen = []
    step = FlowGrpo.loss

    def keep(self: Any, path: Any, *args: Any) -> Any:
        chosen.append([one.index for one in path.steps])
        return step(self, path, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FlowGrpo, "loss", keep)
        train(configure("flux", folder, **{"rollout.steps": 8, "rollout.trained_steps": 3, "updates": 3}), tmp_path)
    assert len(chosen) == 9
    assert all(len(one) == 3 and max(one) < 7 for one in chosen)
    assert len({tuple(one) for one in chosen}) > 1


# ---- what is learnt -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["flow_grpo", "nft"])
def test_groups_that_tie_teach_nothing(algorithm: str, folder: Folder, tmp_path: Path) -> None:
    config = configure("sd3", folder, algorithm=algorithm, updates=1)
    before = [one.detach().clone() for one in load_model(config.model, **config.model_options).pipe.transformer.parameters()]  # type: ignore[attr-defined]
    _, run, _ = train(config, tmp_path, Blue(tied=True))
    assert run.metrics()[0]["grad_norm"] == 0.0
    assert run.metrics()[0]["zero_variance"] == 1.0
    assert all(torch.equal(one, other) for one, other in zip(before, weights(tmp_path), strict=True))


@pytest.mark.parametrize("algorithm", ["flow_grpo", "nft"])
def test_a_rollout_without_a_score_is_as_if_it_were_not_there(algorithm: str, folder: Folder, tmp_path: Path) -> None:
    """The others of its group are compared without it, and its own error is no part of the loss."""
    given = {"updates": 1, "rollout.captions": 1, "optimization.scale": "none"}
    config = configure("sd3", folder, algorithm=algorithm, **given, **{"rollout.group_size": 3})
    _, run, _ = train(config, tmp_path / "three", Blue(without=[2]))
    _, two, _ = train(configure("sd3", folder, algorithm=algorithm, **given, **{"rollout.group_size": 2}), tmp_path / "two")
    (first,), (second,) = run.metrics(), two.metrics()
    assert first["unscored"] == pytest.approx(1 / 3)
    assert first["reward"] == pytest.approx(second["reward"])
    assert first["grad_norm"] == pytest.approx(second["grad_norm"] * 2 / 3, rel=1e-3)


@pytest.mark.parametrize("algorithm", ["flow_grpo", "nft"])
def test_pictures_get_bluer_when_blue_is_paid(algorithm: str, folder: Folder, tmp_path: Path) -> None:
    given = {"updates": 8, "checkpoint_every": 100, "optimization.learning_rate": 3e-3, "rollout.group_size": 8}
    _, run, _ = train(configure("sd3", folder, algorithm=algorithm, **given), tmp_path)
    rewards = [one["reward"] for one in run.metrics()]
    assert np.mean(rewards[-2:]) > np.mean(rewards[:2]) + 0.015, rewards  # 0.025 and more when this was written


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["flow_grpo", "nft"])
def test_noise_predicting_models_get_bluer_too(algorithm: str, tmp_path: Path) -> None:
    """On weights that know how to denoise: learning on the forward process starts from a policy whose own pictures it can predict."""
    torch.manual_seed(0)
    pipe = BUILD["sd"]()
    optimizer = torch.optim.AdamW(pipe.unet.parameters(), lr=2e-3)
    for _ in range(100):
        plain, noise, times = torch.randn(32, 4, 1, 1).expand(-1, -1, 8, 8), torch.randn(32, 4, 8, 8), torch.randint(0, 1000, (32,))
        mixed = pipe.scheduler.add_noise(plain, noise, times)
        (pipe.unet(mixed, times, encoder_hidden_states=torch.zeros(32, 77, 32)).sample - noise).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    pipe.save_pretrained(tmp_path / "sd")
    given = {"updates": 10, "checkpoint_every": 100, "optimization.learning_rate": 3e-3, "rollout.group_size": 8, "rollout.steps": 6}
    config = configure("sd", lambda kind: tmp_path / kind, algorithm=algorithm, **given)
    _, run, _ = train(config, tmp_path / "run")
    rewards = [one["reward"] for one in run.metrics()]
    assert np.mean(rewards[-2:]) > np.mean(rewards[:2]) + 0.01, rewards


# ---- rollouts -------------------------------------------------------------------------------------------------------------------


def test_pictures_of_a_group_differ_and_are_the_same_in_other_batches(folder: Folder, tmp_path: Path) -> None:
    paid = []
    for name, batch in (("whole", None), ("halves", 2)):
        reward = Blue()
        train(configure("sd3", folder, updates=1, **{"rollout.batch_size": batch}), tmp_path / name, reward)
        paid.append(reward.paid[0])
    assert len(set(paid[0])) == 4
    assert paid[0] == pytest.approx(paid[1], abs=1e-3)


# ---- interruption ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "rank", "more"),
    [
        ("flow_grpo", 4, {"optimization.kl": 0.1, "ema.decay": 0.9, "optimization.inner_updates": 2, "rollout.trained_steps": 2}),
        ("flow_grpo", 0, {"optimization.schedule": "cosine", "optimization.warmup": 1, "optimization.weight_decay": 0.1}),
        ("nft", 4, {"optimization.kl": 0.1, "ema.decay": 0.9, "nft.old_ramp": 0.3}),
        ("nft", 0, {"optimization.kl": 0.1, "nft.samples": 2}),
    ],
)
def test_an_interrupted_run_ends_in_the_weights_of_an_unbroken_one(
    algorithm: str, rank: int, more: dict[str, Any], folder: Folder, tmp_path: Path
) -> None:
    config = configure("sd3", folder, algorithm=algorithm, updates=4, checkpoint_every=100, **{"lora.rank": rank, **more})
    whole, _, _ = train(config, tmp_path / "whole")
    with pytest.raises(Interrupted, match="stopped after 2 of 4 updates"):
        train(config, tmp_path / "broken", stop_after=2)
    broken, run, _ = train(config, tmp_path / "broken")
    assert [one["update"] for one in run.metrics()] == [1, 2, 3, 4]
    for one, other in zip(weights(tmp_path / "whole"), weights(tmp_path / "broken"), strict=True):
        assert torch.equal(one, other)
    pictures = []
    for trained in (whole, broken):
        made = load_model(trained.load, **trained.options).generate(["a ball"], [1])[0]
        assert isinstance(made, Media)
        pictures.append(made.data)
    assert pictures[0] == pictures[1]


# ---- what is kept ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sd", "sdxl", "sd3", "flux"])
def test_lora_weights_give_the_same_pictures_when_stock_diffusers_loads_them(kind: str, folder: Folder, tmp_path: Path) -> None:
    config = configure(kind, folder, **{"lora.rank": 4, "lora.alpha": 16, "optimization.learning_rate": 0.05})
    trained, _, model = train(config, tmp_path)
    assert trained.load == config.model
    assert trained.options["lora"] == str(tmp_path / "policy")
    wanted = model.generate(["a ball", "a box"], [1, 2])
    found = load_model(trained.load, **trained.options).generate(["a ball", "a box"], [1, 2])
    assert [one.data for one in found] == [one.data for one in wanted]
    base = load_model(config.model, **config.model_options)
    assert [one.data for one in base.generate(["a ball", "a box"], [1, 2])] != [one.data for one in wanted]
    base.pipe.load_lora_weights(str(tmp_path / "policy"))  # type: ignore[attr-defined]
    assert [one.data for one in base.generate(["a ball", "a box"], [1, 2])] == [one.data for one in wanted]


@pytest.mark.parametrize("algorithm", ["flow_grpo", "nft"])
def test_all_weights_are_kept_as_a_pipeline_that_paints_as_its_model_did(algorithm: str, folder: Folder, tmp_path: Path) -> None:
    config = configure("sd3", folder, algorithm=algorithm, **{"optimization.learning_rate": 0.01})
    trained, _, model = train(config, tmp_path)
    assert trained.load == f"diffusers:{tmp_path / 'policy'}"
    again = load_model(trained.load, **trained.options)
    wanted, found = model.generate(["a ball"], [1]), again.generate(["a ball"], [1])
    assert [one.data for one in found] == [one.data for one in wanted]
    assert type(again.pipe.scheduler).__name__ == "FlowMatchEulerDiscreteScheduler"  # type: ignore[attr-defined]
    assert again.settings["guidance_scale"] == 3.0


def test_with_a_moving_average_its_weights_are_kept(folder: Folder, tmp_path: Path) -> None:
    plain, _, _ = train(configure("sd3", folder, **{"lora.rank": 4}), tmp_path / "plain")
    averaged, _, _ = train(configure("sd3", folder, **{"lora.rank": 4, "ema.decay": 0.5}), tmp_path / "averaged")
    assert all(torch.equal(one, other) for one, other in zip(weights(tmp_path / "plain"), weights(tmp_path / "averaged"), strict=True))
    from safetensors.torch import load_file

    last, mean = (load_file(tmp_path / name / "policy" / "pytorch_lora_weights.safetensors") for name in ("plain", "averaged"))
    moved = [name for name in last if not torch.equal(last[name], mean[name])]
    assert moved
    assert plain.options.keys() == averaged.options.keys()


# ---- several processes, precision -----------------------------------------------------------------------------------------------

SCRIPT = """
import sys, json
from pathlib import Path
sys.path.insert(0, {here!r})
import torch
torch.set_num_threads(1)
from test_diffusion import Blue, records, train
from anyscene.training import GrpoConfig, TrainingRun
from anyscene.training.diffusion import train_diffusion
from anyscene.models import load_model
from accelerate import PartialState
config = GrpoConfig.model_validate_json(Path(sys.argv[1]).read_text())
state = PartialState(cpu=True)
run = TrainingRun(Path(sys.argv[2]), config.updates, main=state.is_main_process, quiet=True, checkpoint_every=1)
train_diffusion(load_model(config.model, **config.model_options), Blue(), records, config, run)
print("processes " + str(state.num_processes) + "\\n", end="", flush=True)  # in one piece: the other process writes as well
"""


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "kind"), [("flow_grpo", "ddp"), ("nft", "fsdp")])
def test_two_processes_learn_what_one_learns(algorithm: str, kind: str, folder: Folder, tmp_path: Path) -> None:
    given = {"lora.rank": 4, "optimization.kl": 0.1, "rollout.batch_size": 2, "optimization.scale": "batch"}
    config = configure("sd3", folder, algorithm=algorithm, **given)
    _, run, _ = train(config, tmp_path / "one")
    (tmp_path / "config.json").write_text(config.model_dump_json())
    (tmp_path / "script.py").write_text(SCRIPT.format(here=str(Path(__file__).parent)))
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(launch_config(kind))]
    command = [*launch, "script.py", "config.json", "two"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("processes 2") == 2
    two = [json.loads(line) for line in (tmp_path / "two" / "metrics.jsonl").read_text().splitlines()]
    for one, other in zip(run.metrics(), two, strict=True):
        assert other.get("ratio_max_deviation", 0.0) == 0.0
        assert other["reward"] == pytest.approx(one["reward"], abs=1e-4)
        assert other["kl"] == pytest.approx(one["kl"], rel=0.05, abs=1e-9)
    for a, b in zip(weights(tmp_path / "one"), weights(tmp_path / "two"), strict=True):
        torch.testing.assert_close(a, b, rtol=0.05, atol=3e-4)


@pytest.mark.parametrize("rank", [0, 4])
@pytest.mark.parametrize("algorithm", ["flow_grpo", "nft"])
def test_mixed_precision_keeps_weights_in_float32_and_the_ratio_at_1(algorithm: str, rank: int, folder: Folder, tmp_path: Path) -> None:
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()
    try:
        options = {**OPTIONS["sd3"], "device": "cpu", "dtype": "bfloat16"}
        given = {"model_options": options, "optimization.precision": "bf16", "optimization.gradient_checkpointing": True, "lora.rank": rank}
        _, run, _ = train(configure("sd3", folder, algorithm=algorithm, **given), tmp_path)
    finally:
        AcceleratorState._reset_state()
    assert all(one.dtype == torch.float32 for one in weights(tmp_path))
    assert all(one.get("ratio_max_deviation", 0.0) == 0.0 and one["grad_norm"] > 0 for one in run.metrics())


# ---- what cannot be trained -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        ("sd3", {"rollout.batch_size": 2, "optimization.micro_batch": 4}, "set one of the two"),
        ("sd3", {"algorithm": "nft", "rollout.guidance": 3.0}, "nft learns the plain denoiser"),
        ("sd3", {"lora.rank": 4, "lora.dropout": 0.1}, "lora.dropout"),
        ("sd3", {"lora.rank": 4, "lora.targets": ["nowhere"]}, "lora.targets nowhere"),
        ("sd3", {"model_options": {**OPTIONS["sd3"], "device": "cpu", "dtype": "bfloat16"}}, "model_options.dtype = float32"),
        ("sd3", {"rollout.steps": 1}, "rollout.steps higher"),
        ("sd", {"rollout.noise": 1.5}, "at most 1"),
    ],
)
def test_what_cannot_be_trained_so_is_refused_in_one_line(
    kind: str, given: dict[str, Any], said: str, folder: Folder, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=said):
        train(configure(kind, folder, **given), tmp_path)


def test_a_model_of_clips_is_refused(folder: Folder, tmp_path: Path) -> None:
    model = load_model(f"diffusers:{save('ltx', tmp_path / 'ltx')}", device="cpu")
    with pytest.raises(SpecError, match="only models that make pictures"):
        train_diffusion(model, Blue(), records, configure("sd3", folder), TrainingRun(tmp_path, 2, quiet=True))  # type: ignore[arg-type]
