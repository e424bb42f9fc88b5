from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from anyscene.training.losses import (  # noqa: E402
    clipped_policy_loss,
    gaussian_kl,
    gaussian_log_prob,
    goodness,
    group_advantages,
    nft_loss,
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
