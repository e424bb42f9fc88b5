"""Schedulers that put noise into the sampling of a stock pipeline, and remember every step with its log-probability.

A pipeline calls ``step`` of its scheduler and asks no further; so a policy gradient needs no copy of the pipeline, only another scheduler.
The state is kept here in float32 from step to step, whatever the precision that the denoiser gets it in.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from diffusers.schedulers.scheduling_ddim import DDIMSchedulerOutput
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from anyscene.training.losses import gaussian_log_prob

__all__ = ["FlowSde", "NoisyDdim", "Recording", "Step"]

CLEAN = 0.01
"""A step that ends below this noise level is taken without noise: no later one would take it out of the picture."""


@dataclass(frozen=True, slots=True)
class Step:
    """One noisy step of a batch.

    Attributes:
        index: which of the pipeline's steps; the first is 0.
        before: latents ``(batch, ...) float32``.
        after: the latents that were drawn.
        log_prob: of them, ``(batch,) float32``, the mean over dimensions.
    """

    index: int
    before: Tensor
    after: Tensor
    log_prob: Tensor


class Recording(ABC):
    """What the recording schedulers share.

    Attributes:
        noise: how much of it; 0 is the plain deterministic sampler.
        steps: the noisy steps since `start`.
    """

    noise: float = 0.0
    timesteps: Tensor

    def start(self, generators: Sequence[torch.Generator]) -> None:
        """Forgets what was recorded; pictures to come draw their noise from these, one each."""
        self.steps: list[Step] = []
        self._generators = list(generators)
        self._count = 0
        self._latents: Tensor | None = None

    @abstractmethod
    def transition(self, index: int, prediction: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Mean ``(batch, ...)`` and standard deviation (no axes) of the latents after a step, in float32.

        Args:
            index: of the step.
            prediction: of the denoiser, guided if the pipeline guides.
            latents: before it.
        """

    @abstractmethod
    def noisy(self, index: int) -> bool:
        """Does this step draw noise?"""

    def noisy_steps(self) -> list[int]:
        """Indices of the steps that draw noise, once the pipeline has set its timesteps."""
        return [index for index in range(len(self.timesteps)) if self.noisy(index)]

    def step(self, model_output: Tensor, timestep: Any, sample: Tensor, return_dict: bool = True) -> Any:
        """As a pipeline calls it."""
        index, before = self._count, sample.float() if self._latents is None else self._latents
        after, std = self.transition(index, model_output, before)
        if self.noisy(index):
            mean = after
            after = mean + std * randn_tensor(mean.shape, generator=self._generators, device=mean.device, dtype=torch.float32)
            self.steps.append(Step(index, before, after, gaussian_log_prob(after, mean, std)))
        self._count, self._latents = index + 1, after
        given = after.to(sample.dtype)
        return DDIMSchedulerOutput(prev_sample=given) if return_dict else (given,)


class FlowSde(Recording, FlowMatchEulerDiscreteScheduler):  # type: ignore[misc,unused-ignore]
    """Rectified flow with the noise of Flow-GRPO (arXiv 2505.05470, eq. 9).

    From noise level ``t`` to ``t + dt`` with ``dt < 0`` and ``s = noise √(t / (1 - t))``: mean ``x (1 + s²/2t dt) + v (1 + s² (1 - t)/2t)
    dt``, standard deviation ``s √-dt``. At ``t = 1``, where ``s`` has no value, that of the second level stands under the root.
    """

    def transition(self, index: int, prediction: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
        level, following = self.sigmas[index].float(), self.sigmas[index + 1].float()
        length, noise = following - level, self.noise if self.noisy(index) else 0.0
        room = 1 - (self.sigmas[1].float() if level == 1 else level)
        spread = noise * torch.sqrt(level / room) if noise else torch.zeros_like(level)
        drift = spread.square() / (2 * level)
        mean = latents * (1 + drift * length) + prediction.float() * (1 + drift * (1 - level)) * length
        return mean, spread * torch.sqrt(-length)

    def noisy(self, index: int) -> bool:
        return self.noise > 0 and float(self.sigmas[index + 1]) >= CLEAN


class NoisyDdim(Recording, DDIMScheduler):  # type: ignore[misc,unused-ignore]
    """DDIM with noise (eta; arXiv 2010.02502, eq. 12 and 16), as DDPO samples: for models that predict noise or ``v``."""

    def transition(self, index: int, prediction: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
        time = int(self.timesteps[index])
        before = time - self.config.num_train_timesteps // self.num_inference_steps
        share = self.alphas_cumprod[time].float()
        after = (self.alphas_cumprod[before] if before >= 0 else self.final_alpha_cumprod).float()
        prediction = prediction.float()
        if self.config.prediction_type == "v_prediction":
            clean = share.sqrt() * latents - (1 - share).sqrt() * prediction
            prediction = share.sqrt() * prediction + (1 - share).sqrt() * latents
        else:
            clean = (latents - (1 - share).sqrt() * prediction) / share.sqrt()
        noise = self.noise if self.noisy(index) else 0.0
        std = noise * ((1 - after) / (1 - share) * (1 - share / after)).clamp(min=0).sqrt()
        return after.sqrt() * clean + (1 - after - std.square()).clamp(min=0).sqrt() * prediction, std

    def noisy(self, index: int) -> bool:
        return self.noise > 0 and index + 1 < len(self.timesteps)
