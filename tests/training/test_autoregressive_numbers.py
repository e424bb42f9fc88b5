"""GRPO of a tiny random Qwen2 by hand: log-probabilities, advantages, divergence, loss and step, beside what the trainer does."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("trl")
pytest.importorskip("peft")

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "models")]
from autoregressive_runs import Paid, blue, config_of, records, start  # noqa: E402
from test_autoregressive import save_simplear, save_vqmodel  # noqa: E402

from anyscene.models import load_model  # noqa: E402
from anyscene.rewards import Score  # noqa: E402
from anyscene.training.autoregressive_policy import policy_of  # noqa: E402
from anyscene.training.autoregressive_trainer import GroupTrainer, RecordedSampling, settled, tied_rows  # noqa: E402
from anyscene.training.policies import rollout_seed  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simplear")
    save_simplear(folder)
    save_vqmodel(folder / "vqmodel")
    return folder


class Steps:
    """What every pass of the trainer was given and gave, with the weights that it was done with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.inputs: list[dict[str, Any]] = []
        self.losses: list[float] = []
        self.models: list[Any] = []
        own = GroupTrainer._compute_loss

        def kept(trainer: Any, model: Any, inputs: Any) -> Any:
            self.models.append(copy.deepcopy(trainer.model.language))
            loss = own(trainer, model, inputs)
            self.inputs.append(dict(inputs))
            self.losses.append(loss.item())
            return loss

        monkeypatch.setattr(GroupTrainer, "_compute_loss", kept)


def log_probs_by_hand(model: Any, inputs: dict[str, Any], temperature: float = 1.0) -> Any:
    """Log-softmax over the 32 picture codes, which begin at token 259, row by row without any filling."""
    found = []
    for prompt, mask, codes in zip(inputs["prompt_ids"], inputs["prompt_mask"], inputs["completion_ids"], strict=True):
        prompt = prompt[mask.bool()]
        with torch.no_grad():
            logits = model(torch.cat([prompt, codes + 259])[None]).logits[0, len(prompt) - 1 : -1, 259:291] / temperature
        found.append(logits.log_softmax(-1).gather(-1, codes[:, None])[:, 0])
    return torch.stack(found)


def test_log_probabilities_are_of_picture_codes_alone_and_are_those_that_were_drawn_from(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = Steps(monkeypatch)
    _, _, run = start(config_of(folder, 2, rollout={"temperature": 0.7}), tmp_path, Paid(blue))
    assert len(steps.inputs) == 2
    for inputs, model, figures in zip(steps.inputs, steps.models, run.metrics(), strict=True):
        by_hand = log_probs_by_hand(model, inputs, 0.7)
        assert inputs["completion_ids"].shape == (8, 16) and len(inputs["completion_ids"].unique()) > 8
        assert torch.allclose(inputs["sampling_per_token_logps"], by_hand, atol=2e-4)
        assert 0 <= figures["ratio_max_deviation"] < 2e-4
        assert figures["clip_ratio"] == 0 and abs(figures["loss"]) < 1e-4  # the ratio is 1, and advantages add up to 0


def test_advantages_are_rewards_minus_the_mean_over_the_deviation_of_their_group(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = Steps(monkeypatch)
    wanted = [0.0, 0.0, 1.0, 1.0, None, 0.2, 0.4, 0.9]
    start(config_of(folder, 1), tmp_path, Paid(lambda image, record, place: wanted[place]))
    # The first group: mean 1/2, unbiased deviation 1/sqrt(3). The second, without the unknown one: mean 1/2, deviation sqrt(0.13).
    by_hand = [-0.86588, -0.86588, 0.86588, 0.86588, 0.0, -0.83182, -0.27727, 1.10909]
    assert sorted(steps.inputs[0]["advantages"].tolist()) == pytest.approx(sorted(by_hand), abs=1e-5)


@pytest.mark.parametrize(("scale", "divisor"), [("none", 1.0), ("batch", 0.39279 + 1e-4)])
def test_rewards_may_be_scaled_by_the_batch_or_not_at_all(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scale: str, divisor: float
) -> None:
    steps = Steps(monkeypatch)
    wanted = [0.0, 0.0, 1.0, 1.0, 0.3, 0.3, 0.3, 0.3]  # all of them: mean 0.4, unbiased deviation 0.39279
    start(config_of(folder, 1, optimization={"scale": scale}), tmp_path, Paid(lambda image, record, place: wanted[place]))
    by_hand = [one / divisor for one in (-0.5, -0.5, 0.5, 0.5)] + [0.0] * 4
    assert sorted(steps.inputs[0]["advantages"].tolist()) == pytest.approx(sorted(by_hand), abs=1e-4)


def test_loss_divergence_and_clipping_are_those_of_the_formulas(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Steps(monkeypatch)
    config = config_of(folder, 4, optimization={"inner_updates": 2, "kl": 0.3, "clip_range": 0.1, "learning_rate": 1e-2})
    _, _, run = start(config, tmp_path, Paid(blue))
    figures = run.metrics()
    assert len(steps.inputs) == len(figures) == 4
    first = steps.models[0]
    for place, (inputs, model) in enumerate(zip(steps.inputs, steps.models, strict=True)):
        new = log_probs_by_hand(model, inputs)
        old = log_probs_by_hand(steps.models[place // 2 * 2], inputs)
        reference = log_probs_by_hand(first, inputs)
        ratio, advantages = (new - old).exp(), inputs["advantages"][:, None]
        clipped = torch.minimum(ratio * advantages, ratio.clamp(0.9, 1.1) * advantages)
        divergence = (reference - new).exp() - (reference - new) - 1
        loss = (-clipped + 0.3 * divergence).mean(1).mean()  # every picture has 16 tokens
        assert steps.losses[place] == pytest.approx(loss.item(), abs=2e-4), place
        assert figures[place]["loss"] == pytest.approx(steps.losses[place], abs=1e-6)
        assert figures[place]["kl"] == pytest.approx(divergence.mean().item(), rel=1e-3, abs=1e-6)
        cut = ((ratio < 0.9) & (advantages < 0)) | ((ratio > 1.1) & (advantages > 0))
        assert figures[place]["clip_ratio"] == pytest.approx(cut.float().mean().item(), abs=0.02)
    assert figures[0]["kl"] == pytest.approx(0, abs=1e-6) and figures[1]["kl"] > 1e-4
    assert figures[0]["clip_ratio"] == 0 and figures[1]["clip_ratio"] > 0.02
    assert "reward" in figures[0] and "reward" not in figures[1]  # the second learns from the same pictures
    assert "ratio_max_deviation" in figures[2] and "ratio_max_deviation" not in figures[3]


def test_a_step_is_that_of_adamw_on_the_gradient_of_the_log_probabilities(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = Steps(monkeypatch)
    config = config_of(folder, 1, optimization={"learning_rate": 1e-3, "weight_decay": 0.1, "max_grad_norm": 0.05})
    _, model, run = start(config, tmp_path, Paid(blue))
    by_hand = load_model(config.model, **config.model_options).shape.model
    inputs = steps.inputs[0]
    total = 0.0
    for prompt, mask, codes, advantage in zip(
        *(inputs[name] for name in ("prompt_ids", "prompt_mask", "completion_ids", "advantages")), strict=True
    ):
        prompt = prompt[mask.bool()]
        logits = by_hand(torch.cat([prompt, codes + 259])[None]).logits[0, len(prompt) - 1 : -1, 259:291]
        total = total - advantage * logits.log_softmax(-1).gather(-1, codes[:, None]).mean() / 8
    total.backward()
    norm = torch.nn.utils.clip_grad_norm_(by_hand.parameters(), 0.05)
    assert run.metrics()[0]["grad_norm"] == pytest.approx(norm.item(), rel=1e-4)
    torch.optim.AdamW(by_hand.parameters(), 1e-3, weight_decay=0.1).step()
    trained = dict(model.shape.model.named_parameters())
    apart = [(one - trained[name]).abs().max().item() for name, one in by_hand.named_parameters()]
    assert max(apart) < 2e-4 and sum(one < 1e-5 for one in apart) > len(apart) / 2


def test_a_group_whose_rewards_are_all_alike_moves_nothing(folder: Path, tmp_path: Path) -> None:
    wanted = [0.1, 0.1 + 1e-9, 0.1, 0.1 - 1e-9, None, 0.7, None, None]  # rounding; and one known alone
    config = config_of(folder, 2)
    _, model, run = start(config, tmp_path, Paid(lambda image, record, place: wanted[place]))
    assert [one["grad_norm"] for one in run.metrics()] == [0.0, 0.0]
    before = load_model(config.model, **config.model_options).shape.model.state_dict()
    assert all(torch.equal(one, before[name]) for name, one in model.shape.model.state_dict().items())


def test_ties_are_told_by_the_known_rewards_of_each_group() -> None:
    assert tied_rows([0.1, 0.1, 0.5, 0.5 + 1e-5], 2) == [True, True, False, False]
    assert tied_rows([None, 0.5, 0.6, None, None, 0.5], 3) == [True, False, False, True, True, True]
    scores = [Score(0.1), Score(0.1), Score(0.2), None]
    assert settled(torch.tensor([1e-3, -1e-3, 2.0, 1.0]), scores, 2).tolist() == [0, 0, 0, 0]
    assert settled(torch.tensor([1.0, -1.0]), [Score(0.1), Score(0.2)], 2).tolist() == [1.0, -1.0]


def test_passes_of_few_pictures_add_up_to_one_of_all(folder: Path, tmp_path: Path) -> None:
    metrics = []
    for micro in (None, 4, 2):
        _, _, run = start(config_of(folder, 2, optimization={"micro_batch": micro, "kl": 0.1}), tmp_path / str(micro), Paid(blue))
        metrics.append(run.metrics())
    for others in metrics[1:]:
        for one, other in zip(metrics[0], others, strict=True):
            for name in ("reward", "kl", "entropy", "grad_norm"):
                assert other[name] == pytest.approx(one[name], rel=2e-3, abs=1e-6), name


def test_what_is_drawn_is_what_the_model_draws_with_these_seeds(folder: Path, tmp_path: Path) -> None:
    reward = Paid(blue)
    state = torch.get_rng_state()
    start(config_of(folder, 1, rollout={"batch_size": 3}), tmp_path, reward)
    assert torch.equal(torch.get_rng_state(), state)
    model = load_model(f"autoregressive:{folder}", guidance=1.0, device="cpu")
    captions = [one["caption"] for one in records(0, 2) for _ in range(4)]
    expected = model.generate(captions, [rollout_seed(7, 0, place) for place in range(8)])
    assert [one.sha256 for one, _ in reward.seen[0]] == [one.sha256 for one in expected]
    assert [record["caption"] for _, record in reward.seen[0]] == captions


def test_recorded_noise_draws_the_same_tokens_and_knows_their_probabilities(folder: Path) -> None:
    shape = load_model(f"autoregressive:{folder}", guidance=1.0, device="cpu").shape
    prompts = [shape.encode(caption) for caption in ("boots", "two tacos")]
    plain = shape.sample(prompts, [1, 2])
    shape.sampling = RecordedSampling()
    assert torch.equal(shape.sample(prompts, [1, 2]), plain)
    policy, width = policy_of(shape), max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(one)) + one for one in prompts])
    mask = torch.tensor([[0] * (width - len(one)) + [1] * (len(one) + 16) for one in prompts])
    with torch.no_grad():
        logits = policy(torch.cat([ids, plain - 259], 1), mask)
    assert logits.shape == (2, 16, 32)
    by_hand = logits.log_softmax(-1).gather(-1, (plain - 259)[..., None])[..., 0]
    assert torch.allclose(shape.sampling.log_probs(), by_hand, atol=2e-4)
