"""The formulas of learning with diffusion and flow models, from rewards and from examples, as functions of tensors that know no model.

Log-probabilities, divergences and errors are means over a picture's dimensions, not sums: a ratio of summed log-probabilities over ten
thousand dimensions leaves every sensible clip range at once (DDPO, arXiv 2305.13301; Flow-GRPO, arXiv 2505.05470).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from anyscene.training.policies import TIE

__all__ = [
    "clipped_policy_loss",
    "flow_level",
    "gaussian_kl",
    "gaussian_log_prob",
    "goodness",
    "group_advantages",
    "min_snr_weights",
    "nft_loss",
    "preference_loss",
    "regression_error",
    "regression_target",
]

EPSILON = 1e-4
"""Added to the standard deviation that advantages are divided by."""


def group_advantages(
    rewards: Sequence[float | None], group_size: int, scale: Literal["group", "batch", "none"] = "group", clip: float = math.inf
) -> Tensor:
    """How much better each rollout is than the others of its caption: ``(r - mean of the group) / (s + 1e-4)``, cut to ±clip.

    ``s`` is the standard deviation (with n - 1) of the group (GRPO, arXiv 2402.03300), of all rewards (Flow-GRPO), or nothing is divided
    (Dr. GRPO, arXiv 2503.20783). A group whose rewards tie gets exactly 0; so does a rollout without a reward, which counts in no mean, and
    one that has no other of its group to be compared with.

    Args:
        rewards: the rollouts of a group side by side; None where there is none.
        group_size: rollouts of one caption.
        scale: what ``s`` is.
        clip: the largest advantage.

    Returns:
        ``(rollouts,) float32``.

    Raises:
        ValueError: the rewards are no whole groups.
    """
    if len(rewards) % group_size:
        raise ValueError(f"{len(rewards)} rewards are no whole groups of {group_size}")
    known = torch.tensor([one is not None for one in rewards]).reshape(-1, group_size)
    values = torch.tensor([0.0 if one is None else float(one) for one in rewards], dtype=torch.float64).reshape(-1, group_size)
    count = known.sum(1, keepdim=True)
    centred = (values - (values * known).sum(1, keepdim=True) / count.clamp(min=1)) * known
    spread = (centred.square().sum(1, keepdim=True) / (count - 1).clamp(min=1)).sqrt()
    divisor = torch.ones_like(spread)
    if scale == "group":
        divisor = spread + EPSILON
    elif scale == "batch" and known.sum() > 1:
        divisor = divisor * (values[known].std() + EPSILON)
    centred[(spread < TIE).expand_as(centred)] = 0.0
    return (centred / divisor).clamp(-clip, clip).flatten().float()


def gaussian_log_prob(value: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Mean over dimensions of ``log N(value; mean, std²) = -(value - mean)² / 2 std² - log std - log(2π) / 2``.

    Args:
        value: ``(batch, ...)``.
        mean: like it.
        std: of every dimension, without axes.

    Returns:
        ``(batch,)``.
    """
    squared = (value - mean).square() / (2 * std.square())
    return -squared.flatten(1).mean(1) - torch.log(std) - 0.5 * math.log(2 * math.pi)


def gaussian_kl(mean: Tensor, reference: Tensor, std: Tensor) -> Tensor:
    """Mean over dimensions of ``KL(N(mean, std²) ‖ N(reference, std²)) = (mean - reference)² / 2 std²``: ``(batch,)``.

    Flow-GRPO leaves the step's length out of ``std²``, which makes it smaller by about the number of steps; a weight from there is to be
    divided by that number here.
    """
    return (mean - reference).square().flatten(1).mean(1) / (2 * std.square())


def clipped_policy_loss(log_prob: Tensor, old: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """PPO's ``max(-A ρ, -A clip(ρ, 1 - clip, 1 + clip))`` with the importance ratio ``ρ = exp(log_prob - old)`` (arXiv 1707.06347).

    Args:
        log_prob: of what was done, by the policy as it is: ``(batch,)``.
        old: by the policy that did it.
        advantages: of each.
        clip: how far from 1 the ratio counts.

    Returns:
        ``(batch,)``, not yet averaged.
    """
    ratio = torch.exp(log_prob - old)
    return torch.maximum(-advantages * ratio, -advantages * ratio.clamp(1 - clip, 1 + clip))


def goodness(advantages: Tensor, clip: float) -> Tensor:
    """The probability ``r = 1/2 + clip(A, ±clip) / (2 clip)`` with which DiffusionNFT takes a rollout for a good one (arXiv 2509.16117)."""
    return 0.5 + advantages.clamp(-clip, clip) / (2 * clip)


def nft_loss(new: Tensor, old: Tensor, target: Tensor, good: Tensor, strength: float) -> Tensor:
    """DiffusionNFT's loss on the forward process (arXiv 2509.16117, eq. 5, with its self-normalised weights).

    ``[r |x₊ - x₀|² / w₊ + (1 - r) |x₋ - x₀|² / w₋] / β`` with the implied good policy ``x₊ = old + β (new - old)``, the implied bad one
    ``x₋ = old - β (new - old)``, squares averaged over dimensions, and ``w = mean |x± - x₀|`` held fixed. Where ``new`` is ``old`` its
    gradient is ``-2 (2r - 1) (x₀ - old) / w``, over the number of dimensions: towards the picture if it was good, away if it was not, and
    exactly nothing at r = 1/2.

    Args:
        new: clean pictures as the policy predicts them from noisy ones: ``(batch, ...)``.
        old: as the policy predicts them that made the pictures; no gradient.
        target: the clean pictures themselves.
        good: r, ``(batch,)``.
        strength: β.

    Returns:
        ``(batch,)``, not yet averaged.
    """
    change = strength * (new - old)

    def error(predicted: Tensor) -> Tensor:
        off = (predicted - target).flatten(1)
        return off.square().mean(1) / off.detach().abs().mean(1).clamp(min=1e-5)

    return (good * error(old + change) + (1 - good) * error(old - change)) / strength


# ---- from examples --------------------------------------------------------------------------------------------------------------


def _wide(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (like.ndim - 1))


def regression_target(kind: str, clean: Tensor, noise: Tensor, signal: Tensor, level: Tensor) -> Tensor:
    """What a denoiser should have said about ``signal · clean + level · noise``.

    Args:
        kind: ``velocity``: ``noise - clean``; ``epsilon``: the noise; ``v_prediction``: ``signal · noise - level · clean``
            (arXiv 2202.00512).
        clean: latents of pictures, ``(batch, ...)``.
        noise: like them.
        signal: share of the picture, ``(batch,)``.
        level: share of the noise, ``(batch,)``.
    """
    if kind == "velocity":
        return noise - clean
    return noise if kind == "epsilon" else _wide(signal, clean) * noise - _wide(level, clean) * clean


def regression_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean of squares over each picture's dimensions: ``(batch,)``, in float32."""
    return (prediction.float() - target.float()).square().flatten(1).mean(1)


def min_snr_weights(signal: Tensor, level: Tensor, gamma: float, kind: str) -> Tensor:
    """How much the errors at these noise levels count (min-SNR, arXiv 2303.09556): as errors in the picture would, cut at gamma.

    With ``s = (signal / level)²`` it is ``min(s, gamma) / s`` for epsilon, and ``min(s, gamma) / (s + 1)`` for v.

    Args:
        signal: share of the picture, ``(batch,)``.
        level: share of the noise, ``(batch,)``.
        gamma: the largest weight of an error in the picture; 5 in the paper.
        kind: ``epsilon`` or ``v_prediction``.
    """
    ratio = (signal / level).square()
    return (gamma / ratio).clamp(max=1) if kind == "epsilon" else ratio.clamp(max=gamma) / (ratio + 1)


def flow_level(levels: Tensor, source: torch.Generator, shift: float = 0.0) -> Tensor:
    """A noise level drawn with Stable Diffusion 3's logit-normal density (arXiv 2403.03206, section 3.1), as diffusers' own trainers do.

    The middle of the schedule comes most often. Errors at all levels then count alike (diffusers' ``compute_loss_weighting_for_sd3``
    gives 1 with this density).

    Args:
        levels: those of the scheduler at all its training timesteps, with its shift.
        source: of the draw.
        shift: how far the normal's mean lies on the side of more noise.

    Returns:
        One of the levels, without axes.
    """
    from diffusers.training_utils import compute_density_for_timestep_sampling

    share = compute_density_for_timestep_sampling("logit_normal", 1, logit_mean=-shift, logit_std=1.0, generator=source)  # highest first
    return levels[min(int(share * len(levels)), len(levels) - 1)]


def preference_loss(
    chosen: Tensor, rejected: Tensor, reference_chosen: Tensor, reference_rejected: Tensor, beta: float | Tensor
) -> tuple[Tensor, Tensor]:
    """Diffusion-DPO (arXiv 2311.12908, eq. 14): ``-log sigmoid(beta / 2 · margin)``.

    The margin is how much more the model has come down on the error of the chosen picture than on that of the rejected one:
    ``(reference_chosen - chosen) - (reference_rejected - rejected)``, with the same noise at the same time for both. Errors are those of
    `regression_error` (means, as in the authors' code and diffusers', so that beta is about 2,500), of noise or of v; of velocities it is
    Flow-DPO (arXiv 2501.13918, section 4), whose authors found that a beta without its factor ``(1 - t)²`` does better.

    Args:
        chosen: errors of the model, ``(batch,)``.
        rejected: like them.
        reference_chosen: errors of the model at the start; no gradient.
        reference_rejected: like them.
        beta: how strongly the model is held to the start; one, or one for each pair.

    Returns:
        The loss and the margin, ``(batch,)`` each.
    """
    margin = (reference_chosen - chosen) - (reference_rejected - rejected)
    return -logsigmoid(beta / 2 * margin), margin.detach()
