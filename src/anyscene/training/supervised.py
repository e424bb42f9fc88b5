"""Fine-tuning on pictures that are there already: supervised, weighted by reward, by preference between two (Diffusion-DPO), or towards the
good and away from the bad (DiffusionNFT).

Noise, noise level and dropped captions of a picture are drawn from the update's number and the picture's place in it, whatever stands
beside it: in passes of any size, by any number of processes, and after an interruption the same is learnt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from anyscene.errors import SpecError
from anyscene.media import read_media
from anyscene.models.diffusers import DiffusersModel
from anyscene.models.painting import media_seed
from anyscene.training.config import Learning
from anyscene.training.examples import Batch, Batches, Example, Size, buckets, read_size
from anyscene.training.loop import Learner, check_libraries, parts
from anyscene.training.policies import Trained
from anyscene.training.run_folder import TrainingRun
from anyscene.training.selection import ADVANTAGE_CLIP

if TYPE_CHECKING:
    from torch import Tensor

    from anyscene.training.denoiser import Denoiser, Request

__all__ = ["check_supervised", "train_supervised"]

KEPT_BYTES = 2**30
"""Of latents, so that a picture is encoded once and not each time it is learnt from."""
OF_REINFORCEMENT = ("kl", "clip_range", "advantage_clip", "scale", "inner_updates")
"""Keys of ``optimization`` that learning from examples does not know."""


def train_supervised(
    model: DiffusersModel,
    base: Trained,
    examples: Sequence[Example],
    config: Learning,
    run: TrainingRun,
    *,
    start: Path | None = None,
) -> Trained:
    """Fine-tunes a pipeline's denoiser on examples.

    Args:
        model: the pipeline.
        base: how it is loaded untrained.
        examples: pictures or clips with captions, in an order that is always the same. ``weighted`` reads their weights, of which only the
            proportions count; ``nft`` reads them as twice the probability of a picture to be good; ``dpo`` reads their rejected pictures.
        config: its ``fine_tuning``, ``optimization``, ``lora``, ``ema`` and ``seed``. Give each of several rounds a seed of its own.
        run: its folder; it goes on from its newest checkpoint.
        start: LoRA weights of an earlier round to go on from; None starts anew. With ``dpo`` and
            ``nft``, what is learnt is held to these.

    Returns:
        What is in the run's ``policy``, and how it is loaded.

    Raises:
        SpecError: the model cannot be trained so, or there is no example, or one lacks what the method needs.
        MissingExtraError: a library is not installed.
        MediaError: a picture cannot be read.
        Interrupted: the user stopped it.
        AnySceneError: the gradient is no number.
    """
    check_supervised(model, config)
    if run.updates != config.fine_tuning.updates:
        raise SpecError(f"a run of {run.updates} updates, where fine_tuning.updates is {config.fine_tuning.updates}")
    learner = Learner(model, config, run, start=start)
    learner.learn(_Lesson(learner, examples, config).update)
    return learner.finish(base)


def check_supervised(model: DiffusersModel, config: Learning) -> None:
    """Could the model be trained so? To be asked before anything is painted.

    Raises:
        SpecError: no, or a key that was set has no effect.
        MissingExtraError: a library is not installed.
    """
    check_libraries(model)
    from anyscene.training.denoiser import Denoiser
    from anyscene.training.latents import size_grid

    denoiser, tuning = Denoiser(model.pipe), config.fine_tuning
    kind = denoiser.predicts(model.pipe.scheduler)
    if kind == "velocity":
        _levels(model.pipe.scheduler)
    elif not hasattr(model.pipe.scheduler, "alphas_cumprod"):
        raise SpecError(f"{type(model.pipe.scheduler).__name__}: it has no noise levels to learn at")
    size_grid(model.pipe, denoiser).check(_target(model, denoiser, tuning.size), "fine_tuning.size")
    without_effect = {
        "dpo": ("caption_dropout", "min_snr", "nft_strength"),
        "nft": ("caption_dropout", "min_snr", "dpo_beta"),
        "sft": ("dpo_beta", "nft_strength"),
        "weighted": ("dpo_beta", "nft_strength"),
    }[tuning.method]
    unused = [f"optimization.{key}" for key in OF_REINFORCEMENT if key in config.optimization.model_fields_set]
    unused += [f"fine_tuning.{key}" for key in without_effect if key in tuning.model_fields_set]
    if unused:
        raise SpecError(f"{', '.join(unused)}: it has no effect on {tuning.method}; leave it out")
    if kind != "velocity" and "noise_shift" in tuning.model_fields_set:
        raise SpecError("fine_tuning.noise_shift: it has no effect on models that are no flows; leave it out")
    if kind == "velocity" and tuning.min_snr is not None and "min_snr" in tuning.model_fields_set:
        raise SpecError("fine_tuning.min_snr: it has no effect on flow models; leave it out")


def _target(model: DiffusersModel, denoiser: Denoiser, side: int | None) -> Size:
    """The size of pictures like the model's own; its own, or with a shorter side of this."""
    from anyscene.training.latents import native_size, size_grid

    own = native_size(model)
    if side is None:
        return own
    step = size_grid(model.pipe, denoiser).pixels
    height, width = (side if one == min(own[:2]) else round(one * side / min(own[:2]) / step) * step for one in own[:2])
    return Size(height, width, own.frames)


def _levels(scheduler: Any) -> Tensor:
    """The noise levels of a flow's scheduler at all its training timesteps, with its shift.

    Raises:
        SpecError: they are none of a flow.
    """
    import torch

    fresh = type(scheduler).from_config(scheduler.config)  # the pipeline's own has the levels of its last call
    count = int(fresh.config.num_train_timesteps)
    if len(fresh.sigmas) != count or not 0 < float(fresh.sigmas.min()) < float(fresh.sigmas.max()) <= 1:
        fresh.set_timesteps(count)
    found = torch.as_tensor(fresh.sigmas[:count]).float().cpu()
    if len(found) != count or not 0 < float(found.min()) < float(found.max()) <= 1:
        raise SpecError(f"{type(scheduler).__name__}: its noise levels are none of a flow; use FlowMatchEulerDiscreteScheduler")
    return found


class _Moment(NamedTuple):
    """Where on the way between picture and noise one example is learnt."""

    caption: str
    time: Tensor
    noise: Tensor


class _Kept(dict[Any, Any]):
    """Latents by their pictures; the oldest go when there are too many bytes."""

    def __setitem__(self, key: Any, latents: Tensor) -> None:
        super().__setitem__(key, latents)
        while len(self) > 1 and len(self) * latents.nbytes > KEPT_BYTES:
            del self[next(iter(self))]


class _Lesson:
    """The examples, and what is asked about them at each update."""

    def __init__(self, learner: Learner, examples: Sequence[Example], config: Learning) -> None:
        from anyscene.training.latents import size_grid

        self._learner, self._config, self._method = learner, config, config.fine_tuning.method
        _check_examples(examples, self._method)
        model, denoiser, tuning = learner.model, learner.denoiser, config.fine_tuning
        self._share = learner.share(tuning.batch_size, "fine_tuning.batch_size")
        sizes = [read_size(one.path, model.modality) for one in examples]
        fitted = buckets(sizes, _target(model, denoiser, tuning.size), size_grid(model.pipe, denoiser))
        self._batches = Batches(examples, fitted, tuning.batch_size, config.seed)
        self._mean_weight = math.fsum(one.weight for one in examples) / len(examples)
        self._kind = denoiser.predicts(model.pipe.scheduler)
        self._times = _levels(model.pipe.scheduler) if self._kind == "velocity" else len(model.pipe.scheduler.alphas_cumprod)
        self._kept = _Kept()
        self._reference = learner.trainable.copy() if self._method in ("dpo", "nft") else None

    def update(self, number: int) -> None:
        """One gradient step, the first is 0."""
        batch = self._batches.at(number)
        passes = [
            partial(self._pass, batch, number, self._share[part]) for part in parts(len(self._share), self._config.optimization.micro_batch)
        ]
        figures = self._learner.accumulate(passes)
        figures |= self._learner.step(number)
        self._learner.run.log(number + 1, figures)

    def _pass(self, batch: Batch, number: int, places: Sequence[int]) -> tuple[Tensor, dict[str, Tensor]]:
        examples = [batch.examples[place] for place in places]
        learn = {"dpo": self._prefer, "nft": self._move}.get(self._method, self._regress)
        losses, figures = learn(examples, batch.size, number, places)
        return losses.sum() / len(self._share), {name: value.sum() / len(self._share) for name, value in figures.items()}

    def _regress(self, examples: Sequence[Example], size: Size, number: int, places: Sequence[int]) -> tuple[Tensor, dict[str, Tensor]]:
        import torch

        from anyscene.training.losses import min_snr_weights

        clean = self._encode([one.path for one in examples], size)
        moments = [self._draw(one, clean.shape[1:], number, place) for one, place in zip(examples, places, strict=True)]
        request, target, shares = self._question(moments, clean, size)
        losses = self._errors(request, target)
        gamma = self._config.fine_tuning.min_snr
        if gamma is not None and self._kind != "velocity":
            losses = losses * min_snr_weights(*shares, gamma, self._kind)
        if self._method == "weighted":
            losses = losses * torch.tensor([one.weight / self._mean_weight for one in examples], device=losses.device)
        return losses, {}

    def _prefer(self, examples: Sequence[Example], size: Size, number: int, places: Sequence[int]) -> tuple[Tensor, dict[str, Tensor]]:
        """Both pictures of a pair in one question, with the same noise at the same time."""
        import torch

        from anyscene.training.losses import preference_loss

        assert self._reference is not None
        clean = self._encode([one.path for one in examples] + [one.rejected for one in examples if one.rejected], size)
        moments = [self._draw(one, clean.shape[1:], number, place) for one, place in zip(examples, places, strict=True)]
        request, target, _ = self._question(moments * 2, clean, size)
        with torch.no_grad(), self._learner.trainable.swapped(self._reference):
            reference = self._errors(request, target, self._learner.denoiser.module)
        errors = self._errors(request, target)
        (chosen, rejected), (was_chosen, was_rejected) = errors.chunk(2), reference.chunk(2)
        losses, margin = preference_loss(chosen, rejected, was_chosen, was_rejected, self._config.fine_tuning.dpo_beta)
        return losses, {"margin": margin, "accuracy": (margin > 0).float() + (margin == 0).float() / 2}

    def _move(self, examples: Sequence[Example], size: Size, number: int, places: Sequence[int]) -> tuple[Tensor, dict[str, Tensor]]:
        """Towards the good pictures and away from the bad ones, as `nft.Nft` does with rollouts."""
        import torch

        from anyscene.training.losses import nft_loss

        assert self._reference is not None
        denoiser = self._learner.denoiser
        clean = self._encode([one.path for one in examples], size)
        moments = [self._draw(one, clean.shape[1:], number, place) for one, place in zip(examples, places, strict=True)]
        request, _, shares = self._question(moments, clean, size)
        latents = self._mixed(clean, torch.stack([one.noise for one in moments]), shares)
        with torch.no_grad(), self._learner.trainable.swapped(self._reference):
            old = denoiser.clean(denoiser.ask(request).float(), latents, shares, self._kind)
        new = denoiser.clean(denoiser.ask(request, module=self._learner.module).float(), latents, shares, self._kind)
        good = torch.tensor([one.weight / 2 for one in examples], device=clean.device)
        losses = ADVANTAGE_CLIP * nft_loss(new, old, clean, good, self._config.fine_tuning.nft_strength)
        return (losses * shares[0] if self._kind == "epsilon" else losses), {}

    def _encode(self, paths: Sequence[Path], size: Size) -> Tensor:
        from anyscene.training.latents import encode

        model = self._learner.model
        media = [read_media(path, model.modality) for path in paths]
        return encode(model.pipe, self._learner.denoiser, media, *size, kept=self._kept)

    def _draw(self, example: Example, shape: Any, number: int, place: int) -> _Moment:
        import torch

        from anyscene.training.losses import flow_level

        source = torch.Generator().manual_seed(media_seed(self._config.seed, f"supervised/{number}", place))
        dropped = float(torch.rand((), generator=source)) < self._config.fine_tuning.caption_dropout and self._reference is None
        if isinstance(self._times, int):
            time = torch.randint(self._times, (), generator=source)
        else:
            time = flow_level(self._times, source, self._config.fine_tuning.noise_shift)
        return _Moment("" if dropped else example.caption, time, torch.randn(shape, generator=source))

    def _question(self, moments: Sequence[_Moment], clean: Tensor, size: Size) -> tuple[Request, Tensor, tuple[Tensor, Tensor]]:
        """The question to the denoiser, the right answer, and the shares of picture and noise."""
        import torch

        from anyscene.training.latents import condition
        from anyscene.training.losses import regression_target

        model, denoiser = self._learner.model, self._learner.denoiser
        times = torch.stack([one.time for one in moments]).to(clean.device)
        noise = torch.stack([one.noise for one in moments]).to(clean.device)
        signal, level = shares = denoiser.mixing(model.pipe.scheduler, times)
        request = condition(model, denoiser, [one.caption for one in moments], *size)
        return (
            denoiser.at(request, self._mixed(clean, noise, shares), times),
            regression_target(self._kind, clean, noise, signal, level),
            shares,
        )

    @staticmethod
    def _mixed(clean: Tensor, noise: Tensor, shares: tuple[Tensor, Tensor]) -> Tensor:
        """Pictures with their shares of noise."""
        signal, level = (one.reshape(-1, *[1] * (clean.ndim - 1)) for one in shares)
        return signal * clean + level * noise.to(clean.device)

    def _errors(self, request: Request, target: Tensor, module: Any = None) -> Tensor:
        from anyscene.training.losses import regression_error

        return regression_error(self._learner.denoiser.ask(request, module=module or self._learner.module), target)


def _check_examples(examples: Sequence[Example], method: str) -> None:
    if not examples:
        raise SpecError("there are no examples to learn from")
    if method == "dpo" and any(one.rejected is None for one in examples):
        scene = next(one.scene for one in examples if one.rejected is None)
        raise SpecError(f"scene {scene}: dpo learns from a better and a worse picture, and this example has no rejected one")
    if method == "nft":
        for one in examples:
            if not 0 <= one.weight <= 2:
                raise SpecError(f"scene {one.scene}: a weight of {one.weight}; with nft, weights are twice a probability, from 0 to 2")
    if method == "weighted":
        wrong = next((one for one in examples if not (math.isfinite(one.weight) and one.weight >= 0)), None)
        if wrong is not None:
            raise SpecError(f"scene {wrong.scene}: a weight of {wrong.weight}; weights are 0 or more")
        if not any(one.weight for one in examples):
            raise SpecError("all weights are 0: there is nothing to learn")
