"""DiffusionNFT (arXiv 2509.16117): learning from pictures and rewards on the forward process, whatever sampler made the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from anyscene.media import Media
from anyscene.models.diffusers import DiffusersModel
from anyscene.models.painting import media_seed
from anyscene.models.protocol import Failure
from anyscene.training.config import GrpoConfig
from anyscene.training.denoiser import Denoiser, Request, check_requests
from anyscene.training.losses import goodness, nft_loss
from anyscene.training.sharding import placed
from anyscene.training.trainable import Trainable

__all__ = ["Nft"]


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A batch of pictures as latents, with the conditioning that they were made with."""

    latents: Tensor
    request: Request
    times: Tensor
    places: Sequence[int]
    round: int


class Nft:
    """The algorithm ``nft``.

    Args:
        model: the policy.
        denoiser: of its pipeline.
        trainable: what is trained of it.
        config: of the run.

    Raises:
        SpecError: the policy cannot be trained so.
    """

    def __init__(self, model: DiffusersModel, denoiser: Denoiser, trainable: Trainable, config: GrpoConfig) -> None:
        self._model, self._denoiser, self._trainable, self._config = model, denoiser, trainable, config
        self._arguments, _ = denoiser.guided_by(config.rollout.guidance, learns=False)
        if denoiser.family.unguided is not None:
            self._arguments["negative_prompt"] = None
        self._kind = denoiser.predicts(model.pipe.scheduler)
        self._reference = trainable.copy() if config.optimization.kl else None
        self._old = trainable.copy()
        self._fresh = True

    def close(self) -> None:
        """Nothing of the pipeline was changed."""

    def draw(
        self, captions: Sequence[str], generators: Sequence[torch.Generator], places: Sequence[int], round_: int
    ) -> tuple[Any, _Drawn]:
        """A batch of pictures by the old policy, and what is needed to learn from them. Arguments as `FlowGrpo.draw`."""
        kept: dict[str, Tensor] = {}

        def keep(pipe: Any, index: int, time: Any, values: dict[str, Any]) -> dict[str, Any]:
            kept["latents"] = values["latents"]
            return {"latents": self._denoiser.in_pipeline(values["latents"], requests[0])}

        steps = {} if self._config.rollout.steps is None else {"num_inference_steps": self._config.rollout.steps}
        with torch.no_grad(), self._trainable.swapped(self._old), self._denoiser.recording(first=True) as requests:
            pictures: list[Media | Failure] = self._model.draw(captions, generators, **self._arguments, **steps, callback_on_step_end=keep)
        check_requests(self._denoiser, requests, 1, len(captions))
        scheduler = self._model.pipe.scheduler
        times = scheduler.sigmas[:-1] if self._kind == "velocity" else scheduler.timesteps
        return pictures, _Drawn(kept["latents"].float(), requests[0], times.float().cpu(), tuple(places), round_)

    @property
    def passes(self) -> int:
        """How often the denoiser is asked about each picture in learning."""
        return self._config.nft.samples

    def loss(self, memory: _Drawn, advantages: Tensor, number: int, module: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of one pass over a batch, at one moment of the path for each picture. As `FlowGrpo.loss`, with the figure ``kl``."""
        settings, strength = self._config.optimization, self._config.nft.strength
        times, noise = self._mix(memory, number)
        shares = self._denoiser.mixing(self._model.pipe.scheduler, times)
        wide = [one.reshape(-1, *[1] * (noise.ndim - 1)) for one in shares]
        latents = wide[0] * memory.latents + wide[1] * noise
        request = self._denoiser.at(memory.request, latents, times)
        prediction = self._denoiser.ask(request, module=module).float()
        new = self._denoiser.clean(prediction, latents, shares, self._kind)
        old = new.detach()
        if not self._fresh:
            with torch.no_grad(), self._trainable.swapped(self._old):
                old = self._denoiser.clean(self._denoiser.ask(request).float(), latents, shares, self._kind)
        clip = settings.advantage_clip
        loss = clip * nft_loss(new, old, memory.latents, goodness(advantages, clip), strength)
        if self._kind == "epsilon":  # an error in the noise is one in the picture times noise over signal, without end as signal ends
            loss = loss * shares[0]
        figures: dict[str, Tensor] = {}
        if self._reference is not None:
            with torch.no_grad(), self._trainable.swapped(self._reference):
                reference = self._denoiser.ask(request).float()
            kl = (prediction - reference).square().flatten(1).mean(1)
            figures["kl"] = kl.detach().mean()
            loss = loss + settings.kl * kl
        return loss, figures

    def _mix(self, drawn: _Drawn, number: int) -> tuple[Tensor, Tensor]:
        """A time for each picture, one pass's times in one part of the path, and noise. A picture's own, whatever stands beside it."""
        times, noise = [], []
        for place in drawn.places:
            source = torch.Generator().manual_seed(media_seed(self._config.seed, f"nft/{drawn.round}/{number}", place))
            at = (number + float(torch.rand((), generator=source))) / self.passes * (len(drawn.times) - 1)
            before, part = int(at), at - int(at)
            after = min(before + 1, len(drawn.times) - 1)
            times.append(float(drawn.times[before]) * (1 - part) + float(drawn.times[after]) * part)
            noise.append(torch.randn(drawn.latents.shape[1:], generator=source))
        device = drawn.latents.device
        found = torch.tensor(times, device=device)
        return (found if self._kind == "velocity" else found.round().long()), torch.stack(noise).to(device)

    def stepped(self) -> None:
        """After a gradient step the policy is no longer the old one."""
        self._fresh = False

    def updated(self, rounds: int) -> None:
        """After a round the old policy moves towards the new one.

        Args:
            rounds: done so far.
        """
        decay = min(self._config.nft.old_ramp * rounds, self._config.nft.old_decay)
        if not decay:
            self._old, self._fresh = self._trainable.copy(), True
            return
        for old, new in zip(self._old, self._trainable.parameters, strict=True):
            old.lerp_(new.detach(), 1 - decay)
        self._fresh = False

    def state(self) -> dict[str, Any]:
        """What a checkpoint remembers."""
        return {"old": self._old, "fresh": self._fresh}

    def load_state(self, state: dict[str, Any]) -> None:
        """What a checkpoint remembered."""
        self._old = [placed(one, mine) for one, mine in zip(state["old"], self._old, strict=True)]
        self._fresh = bool(state["fresh"])
