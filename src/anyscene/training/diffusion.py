"""GRPO for diffusion and flow policies: one loop over stock diffusers pipelines, on accelerate and peft.

A round draws pictures, scores them, compares each with the others of its caption, and takes ``inner_updates`` gradient steps. All that is
random in a round is drawn from its number, so a run that was interrupted ends in the same weights as one that was not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from anyscene.errors import AnySceneError, SpecError
from anyscene.media import Media
from anyscene.models.diffusers import DiffusersModel
from anyscene.rewards import Reward, Score
from anyscene.training.config import GrpoConfig
from anyscene.training.loop import Learner, Memory, parts
from anyscene.training.policies import Trained, rollout_seed
from anyscene.training.run_folder import Rollouts, TrainingRun

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["train_diffusion"]

DEVIATION = "ratio_max_deviation"
"""The figure of which the largest of all passes counts."""


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
    if model.modality != "image":
        raise SpecError(f"{model.name} makes media of kind {model.modality}; only models that make pictures can be trained")
    return _Loop(model, reward, records, config, run).run()


@dataclass(frozen=True, slots=True)
class _Batch:
    """Pictures that were made together and are learnt from together."""

    memory: Any
    advantages: Tensor
    known: Tensor


class _Algorithm(Memory, Protocol):
    """What `FlowGrpo` and `Nft` have in common."""

    @property
    def passes(self) -> int: ...

    def draw(self, captions: Sequence[str], generators: Sequence[Any], places: Sequence[int], round_: int) -> tuple[Any, Any]: ...

    def loss(self, memory: Any, advantages: Tensor, number: int, module: Any) -> tuple[Tensor, dict[str, Tensor]]: ...

    def stepped(self) -> None: ...

    def updated(self, rounds: int) -> None: ...

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
        self.reward, self.records, self.config = reward, records, config
        self.learner = Learner(model, config, run)
        from anyscene.training.flow_grpo import FlowGrpo
        from anyscene.training.nft import Nft

        self.share = self.learner.share(config.rollout.captions, "rollout.captions")
        self.batch = self._batch()
        kind: Callable[..., _Algorithm] = Nft if config.algorithm == "nft" else FlowGrpo
        self.algorithm: _Algorithm = kind(model, self.learner.denoiser, self.learner.trainable, config)

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
        try:
            self.learner.learn(self._round, self.algorithm, self.config.optimization.inner_updates)
        finally:
            self.algorithm.close()
        return self.learner.finish(Trained(self.config.model, self.config.model_options))

    def _round(self, update: int) -> None:
        """Rollouts and the gradient steps on them."""
        inner = self.config.optimization.inner_updates
        batches, rollouts = self._roll_out(update // inner)
        for number in range(update, update + inner):
            first = number == update
            figures = self._step(batches, number, first)
            if number + 1 == update + inner:
                self.algorithm.updated((number + 1) // inner)
            self.learner.run.log(number + 1, figures, rollouts if first else None)

    def _roll_out(self, round_: int) -> tuple[list[_Batch], Rollouts]:
        import torch

        rollout = self.config.rollout
        captions = self.records(round_ * rollout.captions + self.share.start, len(self.share))
        wanted = [record for record in captions for _ in range(rollout.group_size)]
        places = range(self.share.start * rollout.group_size, self.share.stop * rollout.group_size)
        media: list[Media | None] = []
        memories = []
        for part in parts(len(wanted), self.batch):
            seeds = [rollout_seed(self.config.seed, round_, place) for place in places[part]]
            generators = [torch.Generator().manual_seed(one) for one in seeds]
            made, memory = self.algorithm.draw([str(one["caption"]) for one in wanted[part]], generators, places[part], round_)
            media += [one if isinstance(one, Media) else None for one in made]
            memories.append(memory)
        scores = self.reward.score(media, wanted)
        everyone = Rollouts(self.learner.gather(media), self.learner.gather(wanted), self.learner.gather(scores))
        advantages = self._advantages(everyone.scores)[places.start : places.stop]
        known = torch.tensor([float(one is not None) for one in scores])
        batches = [
            _Batch(memory, advantages[part].to(self.learner.device), known[part].to(self.learner.device))
            for memory, part in zip(memories, parts(len(wanted), self.batch), strict=True)
        ]
        return batches, everyone

    def _advantages(self, scores: Sequence[Score | None]) -> Tensor:
        from anyscene.training.losses import group_advantages

        values = [None if one is None else one.value for one in scores]
        settings = self.config.optimization
        return group_advantages(values, self.config.rollout.group_size, settings.scale, settings.advantage_clip)

    def _step(self, batches: Sequence[_Batch], step: int, first: bool) -> dict[str, float]:
        """One gradient step. ``first``: on these rollouts, so by the policy that made them."""
        passes = [partial(self._pass, batch, number) for batch in batches for number in range(self.algorithm.passes)]
        figures = self.learner.accumulate(passes, largest=(DEVIATION,))
        if first and DEVIATION in figures:
            _check_ratio(figures[DEVIATION])
        figures |= self.learner.step(step)
        self.algorithm.stepped()
        return figures

    def _pass(self, batch: _Batch, number: int) -> tuple[Tensor, dict[str, Tensor]]:
        whole = len(self.share) * self.config.rollout.group_size * self.algorithm.passes
        losses, figures = self.algorithm.loss(batch.memory, batch.advantages, number, self.learner.module)
        share = len(batch.known) / whole
        return (losses * batch.known).sum() / whole, {
            name: value if name == DEVIATION else value.float() * share for name, value in figures.items()
        }


def _check_ratio(deviation: float) -> None:
    if deviation != 0:
        raise AnySceneError(
            f"the policy that learns is not the one that drew: its importance ratio is off by {deviation:.3g} before the first update, and "
            "must be exactly 1. Usual causes: dropout or train mode, a compiled or wrapped denoiser in one of the two, batches of another "
            "size, operations of the device that are not deterministic"
        )
