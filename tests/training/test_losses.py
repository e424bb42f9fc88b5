from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from anyscene.training.losses import (  # noqa: E402
    clipped_policy_loss,
    flow_level,
    gaussian_kl,
    gaussian_log_prob,
    goodness,
    group_advantages,
    min_snr_weights,
    nft_loss,
    preference_loss,
    regression_error,
    regression_target,
)

pytestmark = pytest.mark.torch


def near(found: torch.Tensor, wanted: list[float]) -> None:
    assert found.tolist() == pytest.approx(wanted, rel=1e-5, abs=1e-7)


def test_an_advantage_is_the_distance_from_the_groups_mean_in_standard_deviations() -> None:
    near(group_advantages([1.0, 2.0, 3.0, 0.0, 0.5, 1.0], 3), [-1 / 1.0001, 0, 1 / 1.0001, -0.5 / 0.5001, 0, 0.5 / 0.5001])


def test_advantages_of_a_batch_are_divided_by_the_deviation_of_all_rewards() -> None:
    # rewards 0 1 4 5: mean 2.5, squares 6.25 + 2.25 + 2.25 + 6.25 = 17, over 3
    wanted = 0.5 / (math.sqrt(17 / 3) + 1e-4)
    near(group_advantages([0.0, 1.0, 4.0, 5.0], 2, "batch"), [-wanted, wanted, -wanted, wanted])
    near(group_advantages([0.0, 1.0, 4.0, 5.0], 2, "none"), [-0.5, 0.5, -0.5, 0.5])


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_a_group_that_ties_but_for_rounding_has_no_advantage_at_all(scale: str) -> None:
    tied = [0.1 + 0.2, 0.3, 0.3]
    assert tied[0] != tied[1]
    assert group_advantages([*tied, 0.0, 0.5, 1.0], 3, scale)[:3].tolist() == [0.0, 0.0, 0.0]  # type: ignore[arg-type]


def test_a_rollout_without_a_reward_counts_in_no_mean_and_has_no_advantage() -> None:
    wanted = 1 / (math.sqrt(2) + 1e-4)
    near(group_advantages([1.0, None, 3.0], 3), [-wanted, 0, wanted])
    near(group_advantages([None, 5.0, None, None, None, None], 3), [0] * 6)
    near(
        group_advantages([1.0, None, 3.0, 2.0, 2.0, None], 3, "batch"),
        [-1 / (math.sqrt(2 / 3) + 1e-4), 0, 1 / (math.sqrt(2 / 3) + 1e-4), 0, 0, 0],
    )


def test_advantages_are_cut() -> None:
    near(group_advantages([0.0, 100.0], 2, "none", clip=5.0), [-5, 5])


def test_rewards_that_are_no_whole_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="5 rewards"):
        group_advantages([0.0] * 5, 2)


def test_a_log_probability_is_the_mean_over_dimensions() -> None:
    value, mean = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.zeros(2, 2)
    constant = -math.log(2) - 0.5 * math.log(2 * math.pi)
    near(gaussian_log_prob(value, mean, torch.tensor(2.0)), [constant - (1 / 8) / 2, constant - (4 / 8) / 2])
    exact = torch.distributions.Normal(mean, 2.0).log_prob(value).mean(1)
    near(gaussian_log_prob(value, mean, torch.tensor(2.0)), exact.tolist())


def test_a_divergence_is_half_the_squared_distance_in_standard_deviations() -> None:
    near(gaussian_kl(torch.tensor([[1.0, 3.0]]), torch.tensor([[0.0, 0.0]]), torch.tensor(2.0)), [(1 / 8 + 9 / 8) / 2])


@pytest.mark.parametrize(
    ("ratio", "advantage", "wanted"),
    [(1.0, 2.0, -2.0), (1.5, 1.0, -1.2), (1.5, -1.0, 1.5), (0.5, 1.0, -0.5), (0.5, -1.0, 0.8)],
)
def test_the_policy_loss_is_pessimistic(ratio: float, advantage: float, wanted: float) -> None:
    log_prob = torch.tensor([math.log(ratio)])
    near(clipped_policy_loss(log_prob, torch.zeros(1), torch.tensor([advantage]), 0.2), [wanted])


def test_the_policy_gradient_at_ratio_1_is_the_advantage_and_a_tie_has_none() -> None:
    log_prob = torch.zeros(3, requires_grad=True)
    clipped_policy_loss(log_prob, torch.zeros(3), torch.tensor([2.0, -1.0, 0.0]), 1e-4).sum().backward()
    assert log_prob.grad is not None
    near(log_prob.grad, [-2, 1, 0])


def test_goodness_is_the_advantage_from_0_to_1() -> None:
    near(goodness(torch.tensor([-9.0, -5.0, 0.0, 2.5, 5.0]), 5.0), [0, 0, 0.5, 0.75, 1])


def test_the_forward_loss_by_hand() -> None:
    # beta 1/2: good = 1 + 1/2 * 2 = 2, bad = 0; to the picture at 4: |2| and |4|, squares over their means 2 and 4
    found = nft_loss(torch.tensor([[3.0]] * 3), torch.tensor([[1.0]] * 3), torch.tensor([[4.0]] * 3), torch.tensor([1.0, 0.0, 0.25]), 0.5)
    near(found, [2 / 0.5, 4 / 0.5, (0.25 * 2 + 0.75 * 4) / 0.5])


@pytest.mark.parametrize("strength", [0.1, 1.0])
def test_the_forward_gradient_goes_to_good_pictures_from_bad_ones_and_nowhere_at_a_tie(strength: float) -> None:
    old, target = torch.tensor([[1.0, 3.0]] * 3), torch.tensor([[4.0, 2.0]] * 3)
    new = old.clone().requires_grad_()
    good = torch.tensor([1.0, 0.0, 0.5])
    nft_loss(new, old, target, good, strength).sum().backward()
    assert new.grad is not None
    # -2 (2r - 1) (x0 - old) / w / 2 dimensions, with w = (3 + 1) / 2
    near(new.grad[0], [-2 * 3 / 2 / 2, 2 * 1 / 2 / 2])
    near(new.grad[1], [2 * 3 / 2 / 2, -2 * 1 / 2 / 2])
    assert new.grad[2].tolist() == [0.0, 0.0]


# ---- from examples --------------------------------------------------------------------------------------------------------------


def test_what_a_denoiser_should_say_by_hand() -> None:
    clean, noise = torch.tensor([[2.0], [-1.0]]), torch.tensor([[0.5], [3.0]])
    signal, level = torch.tensor([0.8, 0.6]), torch.tensor([0.6, 0.8])
    near(regression_target("velocity", clean, noise, signal, level).flatten(), [-1.5, 4.0])
    near(regression_target("epsilon", clean, noise, signal, level).flatten(), [0.5, 3.0])
    near(regression_target("v_prediction", clean, noise, signal, level).flatten(), [0.8 * 0.5 - 0.6 * 2, 0.6 * 3 + 0.8 * 1])


@pytest.mark.parametrize("kind", ["velocity", "epsilon", "v_prediction"])
def test_the_right_answer_implies_the_clean_picture(kind: str) -> None:
    """The inverse is `Denoiser.clean`, which reinforcement learning uses."""
    from anyscene.training.denoiser import Denoiser

    source = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(2, 3, 4, 4, generator=source) for _ in range(2))
    level = torch.tensor([0.6, 0.28])
    signal = 1 - level if kind == "velocity" else (1 - level**2).sqrt()
    wide = [one.reshape(-1, 1, 1, 1) for one in (signal, level)]
    mixed = wide[0] * clean + wide[1] * noise
    right = regression_target(kind, clean, noise, signal, level)
    torch.testing.assert_close(Denoiser.clean(None, right, mixed, (signal, level), kind), clean)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_the_right_answer_is_what_diffusers_says(kind: str) -> None:
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDPMScheduler(prediction_type=kind)
    clean, noise, times = torch.randn(3, 4), torch.randn(3, 4), torch.tensor([0, 500, 999])
    share = scheduler.alphas_cumprod[times]
    wanted = noise if kind == "epsilon" else scheduler.get_velocity(clean, noise, times)
    torch.testing.assert_close(regression_target(kind, clean, noise, share.sqrt(), (1 - share).sqrt()), wanted)


def test_an_error_is_a_pictures_own_mean_of_squares() -> None:
    found = regression_error(torch.tensor([[[1.0, 2.0]], [[0.0, 0.0]]]), torch.tensor([[[0.0, 0.0]], [[0.0, 4.0]]]))
    near(found, [2.5, 8.0])
    assert regression_error(torch.ones(1, 2, dtype=torch.bfloat16), torch.zeros(1, 2)).dtype == torch.float32


def test_min_snr_weights_by_hand() -> None:
    # signal² / level²: 9, 1, 1/9; then no signal at all, and no noise
    signal = torch.tensor([0.9, 0.5, 0.1, 0.0, 1.0]).sqrt()
    level = torch.tensor([0.1, 0.5, 0.9, 1.0, 0.0]).sqrt()
    near(min_snr_weights(signal, level, 5.0, "epsilon"), [5 / 9, 1, 1, 1, 0])
    near(min_snr_weights(signal, level, 5.0, "v_prediction"), [5 / 10, 1 / 2, (1 / 9) / (10 / 9), 0, 0])


def test_signal_to_noise_is_that_of_diffusers() -> None:
    """The same number from their function of the schedule as from our shares of picture and noise."""
    diffusers = pytest.importorskip("diffusers")
    from diffusers.training_utils import compute_snr

    scheduler, times = diffusers.DDPMScheduler(), torch.tensor([1, 250, 500, 900])
    share, ratio = scheduler.alphas_cumprod[times], compute_snr(scheduler, times)
    found = min_snr_weights(share.sqrt(), (1 - share).sqrt(), 5.0, "epsilon")
    torch.testing.assert_close(found, torch.minimum(ratio, torch.tensor(5.0)) / ratio)


def test_noise_levels_are_drawn_logit_normally_from_the_schedule() -> None:
    pytest.importorskip("diffusers")
    source = torch.Generator().manual_seed(0)
    levels = torch.linspace(1, 0.001, 1000)
    drawn = torch.stack([flow_level(levels, source) for _ in range(4000)])
    assert set(drawn.tolist()) <= set(levels.tolist())
    logits = torch.logit(drawn.double(), eps=1e-4)
    assert float(logits.mean()) == pytest.approx(0, abs=0.06)
    assert float(logits.std()) == pytest.approx(1, abs=0.05)
    shifted = 3 * levels / (1 + 2 * levels)  # the scheduler's shift moves them towards noise
    assert float(torch.stack([flow_level(shifted, source) for _ in range(1000)]).mean()) > 0.65
    noisier = torch.stack([flow_level(levels, source, 1.5) for _ in range(4000)])
    assert float(torch.logit(noisier.double(), eps=1e-4).mean()) == pytest.approx(1.5, abs=0.06)  # towards more noise
    again = [float(flow_level(levels, torch.Generator().manual_seed(7))) for _ in range(2)]
    assert again[0] == again[1]


def test_preferences_by_hand() -> None:
    # the chosen one's error has fallen by 0.02, the rejected one's has risen by 0.01: a margin of 0.03
    chosen, rejected = torch.tensor([0.10]), torch.tensor([0.21])
    loss, margin = preference_loss(chosen, rejected, torch.tensor([0.12]), torch.tensor([0.20]), 200.0)
    near(margin, [0.03])
    near(loss, [math.log(1 + math.exp(-100 * 0.03))])
    loss, margin = preference_loss(chosen, rejected, chosen, rejected, 200.0)
    near(margin, [0.0])
    near(loss, [math.log(2)])


def test_a_preference_pulls_to_the_chosen_and_away_from_the_rejected_as_strongly_as_beta_says() -> None:
    chosen, rejected = torch.tensor([0.1, 0.1], requires_grad=True), torch.tensor([0.2, 0.2], requires_grad=True)
    loss, _ = preference_loss(chosen, rejected, chosen.detach(), rejected.detach(), torch.tensor([8.0, 2.0]))  # a beta for each pair
    loss.sum().backward()
    assert chosen.grad is not None
    assert rejected.grad is not None
    near(chosen.grad, [2.0, 0.5])  # beta / 2 · sigmoid(0)
    near(rejected.grad, [-2.0, -0.5])
