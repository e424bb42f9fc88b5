"""Policy gradients along a noisy sampler: Flow-GRPO (arXiv 2505.05470) for flows, DDPO (arXiv 2305.13301) for noise-predicting models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from anyscene.errors import SpecError
from anyscene.media import Media
from anyscene.models.diffusers import DiffusersModel
from anyscene.models.painting import media_seed
from anyscene.models.protocol import Failure
from anyscene.training.config import GrpoConfig
from anyscene.training.denoiser import Denoiser, Request, check_requests
from anyscene.training.losses import clipped_policy_loss, gaussian_kl, gaussian_log_prob
from anyscene.training.recording import FlowSde, NoisyDdim, Recording, Step
from anyscene.training.trainable import Trainable

__all__ = ["FlowGrpo", "recording_scheduler"]

CLIP_RANGE = 1e-4


@dataclass(frozen=True, slots=True)
class _Path:
    """How a batch of pictures was made: what the denoiser was asked at each noisy step, and what came of it."""

    requests: Sequence[Request]
    steps: Sequence[Step]


class FlowGrpo:
    """The algorithm ``flow_grpo``.

    Args:
        model: the policy. Its pipeline gets a scheduler that records; `close` gives the old one back.
        denoiser: of its pipeline.
        trainable: what is trained of it.
        config: of the run.

    Raises:
        SpecError: the policy cannot be trained so.
    """

    def __init__(self, model: DiffusersModel, denoiser: Denoiser, trainable: Trainable, config: GrpoConfig) -> None:
        self._model, self._denoiser, self._trainable, self._config = model, denoiser, trainable, config
        self._arguments, self._guidance = denoiser.guided_by(config.rollout.guidance, learns=True)
        if self._guidance is None and denoiser.family.unguided is not None:
            self._arguments["negative_prompt"] = None
        self._scheduler = recording_scheduler(model.pipe, denoiser, config.rollout.noise)
        self._stock, model.pipe.scheduler = model.pipe.scheduler, self._scheduler
        self._reference = trainable.copy() if config.optimization.kl else None
        self._learnt: list[int] = []

    def close(self) -> None:
        """Gives the pipeline its own scheduler back."""
        self._model.pipe.scheduler = self._stock

    def draw(self, captions: Sequence[str], generators: Sequence[torch.Generator], places: Sequence[int], round_: int) -> tuple[Any, _Path]:
        """A batch of pictures, and how they were made.

        Args:
            captions: one for each picture.
            generators: of the noise, one for each.
            places: of the pictures among all of the round.
            round_: number of the round of rollouts; it decides which steps are learnt from.
        """
        self._scheduler.start(generators)
        steps = {} if self._config.rollout.steps is None else {"num_inference_steps": self._config.rollout.steps}
        with torch.no_grad(), self._denoiser.recording() as requests:
            pictures: list[Media | Failure] = self._model.draw(captions, generators, **self._arguments, **steps)
        check_requests(self._denoiser, requests, len(self._scheduler.timesteps), len(captions) * (1 if self._guidance is None else 2))
        self._learnt = self._choose(round_)
        recorded = {one.index: one for one in self._scheduler.steps}
        return pictures, _Path([requests[index] for index in self._learnt], [recorded[index] for index in self._learnt])

    def _choose(self, round_: int) -> list[int]:
        noisy = self._scheduler.noisy_steps()
        if not noisy:
            raise SpecError(
                f"{len(self._scheduler.timesteps)} denoising steps leave none with noise to learn from; set rollout.steps higher"
            )
        wanted = self._config.rollout.trained_steps
        if wanted is None or wanted >= len(noisy):
            return noisy
        source = torch.Generator().manual_seed(media_seed(self._config.seed, f"steps/{round_}", 0))
        return sorted(noisy[at] for at in torch.randperm(len(noisy), generator=source)[:wanted].tolist())

    @property
    def passes(self) -> int:
        """How often the denoiser is asked about each picture in learning."""
        return len(self._learnt)

    def loss(self, memory: _Path, advantages: Tensor, number: int, module: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of one pass over a batch.

        Args:
            memory: how it was made.
            advantages: ``(batch,)``.
            number: of the pass.
            module: the denoiser, as it is called to learn.

        Returns:
            ``(batch,)`` losses; and figures: ``kl``, ``clipped`` (a share) and ``deviation`` (the largest of the ratio from 1).
        """
        request, step = memory.requests[number], memory.steps[number]
        settings = self._config.optimization
        clip = CLIP_RANGE if settings.clip_range is None else settings.clip_range
        mean, std = self._scheduler.transition(step.index, self._denoiser.ask(request, self._guidance, module), step.before)
        log_prob = gaussian_log_prob(step.after, mean, std)
        loss = clipped_policy_loss(log_prob, step.log_prob, advantages, clip)
        deviation = (torch.exp(log_prob.detach() - step.log_prob) - 1).abs()
        figures = {"ratio_max_deviation": deviation.max(), "clipped": (deviation > clip).float().mean()}
        if self._reference is not None:
            with torch.no_grad(), self._trainable.swapped(self._reference):
                there, _ = self._scheduler.transition(step.index, self._denoiser.ask(request, self._guidance), step.before)
            kl = gaussian_kl(mean, there, std)
            figures["kl"] = kl.detach().mean()
            loss = loss + settings.kl * kl
        return loss, figures

    def stepped(self) -> None:
        """Nothing is to be done after a gradient step."""

    def updated(self, rounds: int) -> None:
        """Nothing is to be done after a round."""

    def state(self) -> dict[str, Any]:
        """Nothing is to be remembered."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Nothing was."""


def recording_scheduler(pipe: Any, denoiser: Denoiser, noise: float) -> Recording:
    """A scheduler that records, set up as the pipeline's own.

    Args:
        pipe: the pipeline.
        denoiser: its denoiser.
        noise: level of the flow SDE, or DDIM's eta.

    Raises:
        SpecError: there is none for this pipeline.
    """
    kind = denoiser.predicts(pipe.scheduler)
    if kind == "velocity":
        if not isinstance(pipe.scheduler, FlowMatchEulerDiscreteScheduler):
            name = type(pipe.scheduler).__name__
            raise SpecError(f"{name}: flow_grpo learns along FlowMatchEulerDiscreteScheduler; set model_options.scheduler to it")
        made: Recording = FlowSde.from_config(pipe.scheduler.config)
    else:
        if noise > 1:
            raise SpecError(f"rollout.noise = {noise}: it is DDIM's eta here, at most 1")
        made = NoisyDdim.from_config(pipe.scheduler.config, clip_sample=False, thresholding=False)
    made.noise = noise
    made.start([])
    return made
