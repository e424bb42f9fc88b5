"""GRPO for diffusion and flow policies: one loop over stock diffusers pipelines, on accelerate and peft.

A round draws pictures, scores them, compares each with the others of its caption, and takes ``inner_updates`` gradient steps. All that is
random in a round is drawn from its number, so a run that was interrupted ends in the same weights as one that was not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from anyscene.errors import AnySceneError, MissingExtraError, SpecError
from anyscene.media import Media
from anyscene.models.diffusers import DiffusersModel
from anyscene.models.painting import media_seed
from anyscene.rewards import Reward, Score
from anyscene.training.config import GrpoConfig
from anyscene.training.policies import POLICY, Trained, learning_rate_factor, rollout_seed
from anyscene.training.run_folder import Rollouts, TrainingRun

if TYPE_CHECKING:
    from torch import Tensor

    from anyscene.training.denoiser import Denoiser

__all__ = ["train_diffusion"]

STATE = "state.pt"


def train_diffusion(
    model: DiffusersModel, reward: Reward, records: Callable[[int, int], list[dict[str, Any]]], config: GrpoConfig, run: TrainingRun
) -> Trained:
    """Trains a pipeline's denoiser against a reward.

    Args:
        model: the policy.
        reward: scores its pictures.
        records: gives training records by number of the first and count.
        config: of the run.
        run: its folder; it goes on from its newest checkpoint.

    Returns:
        What is in the run's ``policy``, and how it is loaded.

    Raises:
        SpecError: the policy cannot be trained so.
        MissingExtraError: a library is not installed.
        RewardHackedError: a guard says stop.
        Interrupted: the user stopped it.
        AnySceneError: the importance ratio before the first update is not 1, or the gradient is no number.
    """
    if not all(find_spec(library) for library in ("torch", "diffusers", "accelerate", "peft")):
        raise MissingExtraError("Training a diffusion model", "train")
    if model.modality != "image":
        raise SpecError(f"{model.name} makes media of kind {model.modality}; only models that make pictures can be trained")
    for option in ("offload", "compile"):
        if model.options.get(option) not in (None, "none", False):
            raise SpecError(f"model_options.{option}: not while a model is trained")
    return _Loop(model, reward, records, config, run).run()


@dataclass(frozen=True, slots=True)
class _Batch:
    """Pictures that were made together and are learnt from together."""

    memory: Any
    advantages: Tensor
    known: Tensor


class _Algorithm(Protocol):
    """What `FlowGrpo` and `Nft` have in common."""

    @property
    def passes(self) -> int: ...

    def draw(self, captions: Sequence[str], generators: Sequence[Any], places: Sequence[int], round_: int) -> tuple[Any, Any]: ...

    def loss(self, memory: Any, advantages: Tensor, number: int, module: Any) -> tuple[Tensor, dict[str, Tensor]]: ...

    def stepped(self) -> None: ...

    def updated(self, rounds: int) -> None: ...

    def state(self) -> dict[str, Any]: ...

    def load_state(self, state: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


class _Loop:
    def __init__(
        self,
        model: DiffusersModel,
        reward: Reward,
        records: Callable[[int, int], list[dict[str, Any]]],
        config: GrpoConfig,
        run: TrainingRun,
    ) -> None:
        import torch
        from diffusers.training_utils import EMAModel

        from anyscene.training.denoiser import Denoiser
        from anyscene.training.flow_grpo import FlowGrpo
        from anyscene.training.nft import Nft
        from anyscene.training.trainable import Trainable

        self.model, self.reward, self.records, self.config, self.training = model, reward, records, config, run
        settings = config.optimization
        self.accelerator = _accelerator(settings.precision, model.device)
        self.device = self.accelerator.device
        model.pipe.to(self.device)
        self.denoiser: Denoiser = Denoiser(model.pipe)
        self.trainable = Trainable(model.pipe, self.denoiser, config.lora, settings.precision, media_seed(config.seed, "lora", 0))
        if settings.gradient_checkpointing:
            self.denoiser.module.enable_gradient_checkpointing()
        self.rate = learning_rate_factor(settings, config.updates)
        self.share = self._share()
        self.batch = self._batch()
        kind: Callable[..., _Algorithm] = Nft if config.algorithm == "nft" else FlowGrpo
        self.algorithm: _Algorithm = kind(model, self.denoiser, self.trainable, config)
        self.module = self.accelerator.prepare(self.denoiser.module)
        optimizer = torch.optim.AdamW(
            self.trainable.parameters, lr=settings.learning_rate, betas=settings.betas, weight_decay=settings.weight_decay
        )
        self.optimizer = self.accelerator.prepare(optimizer)
        self.ema = EMAModel(self.trainable.parameters, decay=config.ema.decay) if config.ema.decay else None

    def _share(self) -> range:
        """Places of this process's groups among all."""
        count, processes = self.config.rollout.captions, self.accelerator.num_processes
        if count % processes:
            raise SpecError(f"rollout.captions = {count}: it must be a multiple of the number of processes, {processes}")
        own = count // processes
        return range(self.accelerator.process_index * own, (self.accelerator.process_index + 1) * own)

    def _batch(self) -> int:
        rollout, learning = self.config.rollout.batch_size, self.config.optimization.micro_batch
        if rollout is not None and learning is not None and rollout != learning:
            raise SpecError(
                f"rollout.batch_size = {rollout} and optimization.micro_batch = {learning}: diffusion policies learn in the batches in "
                "which they drew, since other batches give other roundings; set one of the two"
            )
        return rollout or learning or len(self.share) * self.config.rollout.group_size

    # ---- the loop -------------------------------------------------------------------------------------------------------------

    def run(self) -> Trained:
        inner = self.config.optimization.inner_updates
        try:
            found = self.training.resume()
            done = found[0] if found else 0
            if found:
                self._load(found[1] / STATE)
            with self.training.training(done):
                for update in range(done, self.config.updates, inner):
                    due = self._round(update, inner)
                    stop = self._any(self.training.stop_asked)
                    if due or stop:
                        self._save(update + inner)
                    if stop:
                        self.training.stop(update + inner)
            return self._finish()
        finally:
            self.algorithm.close()

    def _round(self, update: int, inner: int) -> bool:
        """Rollouts and the gradient steps on them. Is a checkpoint due?"""
        due = False
        batches, rollouts = self._roll_out(update // inner)
        for number in range(update + 1, update + inner + 1):
            first = number == update + 1
            figures = self._step(batches, number - 1, first)
            if number == update + inner:
                self.algorithm.updated(number // inner)
            self.training.log(number, figures, rollouts if first else None)
            due |= self.training.checkpoint_due(number)
        return due

    def _roll_out(self, round_: int) -> tuple[list[_Batch], Rollouts]:
        import torch

        rollout = self.config.rollout
        captions = self.records(round_ * rollout.captions + self.share.start, len(self.share))
        wanted = [record for record in captions for _ in range(rollout.group_size)]
        places = range(self.share.start * rollout.group_size, self.share.stop * rollout.group_size)
        media: list[Media | None] = []
        memories = []
        for part in _parts(len(wanted), self.batch):
            seeds = [rollout_seed(self.config.seed, round_, place) for place in places[part]]
            generators = [torch.Generator().manual_seed(one) for one in seeds]
            made, memory = self.algorithm.draw([str(one["caption"]) for one in wanted[part]], generators, places[part], round_)
            media += [one if isinstance(one, Media) else None for one in made]
            memories.append(memory)
        scores = self.reward.score(media, wanted)
        everyone = Rollouts(self._gather(media), self._gather(wanted), self._gather(scores))
        advantages = self._advantages(everyone.scores)[places.start : places.stop]
        known = torch.tensor([float(one is not None) for one in scores])
        batches = [
            _Batch(memory, advantages[part].to(self.device), known[part].to(self.device))
            for memory, part in zip(memories, _parts(len(wanted), self.batch), strict=True)
        ]
        return batches, everyone

    def _advantages(self, scores: Sequence[Score | None]) -> Tensor:
        from anyscene.training.losses import group_advantages

        values = [None if one is None else one.value for one in scores]
        settings = self.config.optimization
        return group_advantages(values, self.config.rollout.group_size, settings.scale, settings.advantage_clip)

    def _step(self, batches: Sequence[_Batch], step: int, first: bool) -> dict[str, float]:
        """One gradient step. ``first``: on these rollouts, so by the policy that made them."""
        rate = self.config.optimization.learning_rate * self.rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        passes = self.algorithm.passes
        pictures = len(self.share) * self.config.rollout.group_size
        found: dict[str, list[Tensor]] = {}
        rounds = [(batch, number) for batch in batches for number in range(passes)]
        for place, (batch, number) in enumerate(rounds):
            last = place + 1 == len(rounds)
            with nullcontext() if last else self.accelerator.no_sync(self.module):
                losses, figures = self.algorithm.loss(batch.memory, batch.advantages, number, self.module)
                loss = (losses * batch.known).sum() / (pictures * passes)
                self.accelerator.backward(loss)
            share = len(batch.known) / (pictures * passes)
            found.setdefault("loss", []).append(loss.detach().float())
            for name, value in figures.items():
                found.setdefault(name, []).append(value.float() if name == "deviation" else value.float() * share)
        figures = self._collect(found)
        if first and "ratio_max_deviation" in figures:
            _check_ratio(figures["ratio_max_deviation"])
        most = self.config.optimization.max_grad_norm
        norm = float(self.accelerator.clip_grad_norm_(self.trainable.parameters, most or math.inf))
        if not math.isfinite(norm) and self.accelerator.scaler is None:
            raise AnySceneError(
                f"update {step + 1}: the gradient is no number; lower optimization.learning_rate, or use precision no or bf16"
            )
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.ema is not None:
            self.ema.step(self.trainable.parameters)
        self.algorithm.stepped()
        return {**figures, "grad_norm": norm, "learning_rate": rate}

    def _collect(self, found: dict[str, list[Tensor]]) -> dict[str, float]:
        """Means over all processes; of deviations from 1, the largest."""
        import torch

        collected = {}
        for name, values in found.items():
            gathered = self.accelerator.gather(
                torch.stack(values).to(self.device).max() if name == "deviation" else torch.stack(values).sum()
            )
            known = gathered.max() if name == "deviation" else gathered.mean()
            collected["ratio_max_deviation" if name == "deviation" else name] = float(known)
        return collected

    # ---- several processes ------------------------------------------------------------------------------------------------------

    def _gather(self, values: Sequence[Any]) -> list[Any]:
        from accelerate.utils import gather_object

        return list(gather_object(list(values)))

    def _any(self, mine: bool) -> bool:
        return any(self._gather([mine]))

    # ---- checkpoints and the end ------------------------------------------------------------------------------------------------

    def _save(self, update: int) -> None:
        import torch

        if self.accelerator.is_main_process:
            state = {
                "weights": self.trainable.copy(),
                "optimizer": self.optimizer.state_dict(),
                "algorithm": self.algorithm.state(),
                "ema": self.ema.state_dict() if self.ema is not None else None,
                "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler is not None else None,
            }
            with self.training.checkpoint(update) as folder:
                torch.save(state, folder / STATE)
        self.accelerator.wait_for_everyone()

    def _load(self, path: Path) -> None:
        import torch

        state = torch.load(path, map_location=self.device, weights_only=True)
        self.trainable.set(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.algorithm.load_state(state["algorithm"])
        if self.ema is not None:
            self.ema.load_state_dict(state["ema"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])

    def _finish(self) -> Trained:
        folder = self.training.folder / POLICY
        self.algorithm.close()
        kept = self.trainable.parameters if self.ema is None else self.ema.shadow_params
        if self.accelerator.is_main_process:
            with self.trainable.swapped([one.data.to(self.device) for one in kept]):
                self.trainable.save(folder)
        self.accelerator.wait_for_everyone()
        if self.config.lora.rank:
            return Trained(self.config.model, {**self.config.model_options, "lora": str(folder)})
        return Trained(f"diffusers:{folder}", dict(self.model.options))


def _accelerator(precision: str, device: str) -> Any:
    from accelerate import Accelerator
    from accelerate.utils import DistributedDataParallelKwargs

    try:
        return Accelerator(
            cpu=device == "cpu",
            mixed_precision=precision,
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
    except ValueError as error:
        raise SpecError(f"optimization.precision = {precision}: {' '.join(str(error).split())[:200]}") from None


def _parts(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def _check_ratio(deviation: float) -> None:
    if deviation != 0:
        raise AnySceneError(
            f"the policy that learns is not the one that drew: its importance ratio is off by {deviation:.3g} before the first update, and "
            "must be exactly 1. Usual causes: dropout or train mode, a compiled or wrapped denoiser in one of the two, batches of another "
            "size, operations of the device that are not deterministic"
        )
