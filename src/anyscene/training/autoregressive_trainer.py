"""TRL's GRPO trainer with our rollouts: pictures drawn with their own seeds, scored by our reward, logged in our run.

The loss, the advantages, the clipping and the divergence are TRL's. What differs: prompts are numbers of training records; every rollout
has random numbers of its own; a group whose rewards are all alike moves nothing at all; and the log-probabilities that the trainer
computes are held against those with which the pictures were drawn.

Imports torch and trl: import this module only when training starts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from trl import GRPOConfig, GRPOTrainer

from anyscene.errors import AnySceneError
from anyscene.media import Media
from anyscene.models.image_tokens import RowNoise, Sampling
from anyscene.models.janus import Janus
from anyscene.models.simplear import SimpleAR
from anyscene.rewards import Reward, Score
from anyscene.rewards.protocol import Record
from anyscene.training.autoregressive_policy import PicturePolicy, drawing
from anyscene.training.config import GrpoConfig
from anyscene.training.policies import TIE, rollout_seed
from anyscene.training.run_folder import Rollouts

__all__ = ["GroupTrainer", "Painter", "RecordedSampling", "settled", "tied_rows"]

DEVIATION, HALF_DEVIATION = 1e-3, 0.05
"""How far the ratio of drawn and learnt probabilities may be from 1: at most in float32, on average in half precision."""


class _RecordedNoise(RowNoise):
    """`RowNoise` that also keeps the log-probability of every token that it makes the highest."""

    def __init__(self, seeds: Sequence[int], codes: tuple[int, int] | None = None) -> None:
        super().__init__(seeds, codes)
        self.log_probs: list[torch.Tensor] = []

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        noisy = super().__call__(input_ids, scores)
        scores = scores.float()
        chosen = scores.gather(-1, noisy.argmax(-1, keepdim=True)).squeeze(-1)
        self.log_probs.append(chosen - scores.logsumexp(-1))
        return noisy


@dataclass(frozen=True)
class RecordedSampling(Sampling):
    """`Sampling` that remembers the log-probabilities of what it drew last.

    Attributes:
        noises: of every batch drawn since it was made.
    """

    noises: list[_RecordedNoise] = field(default_factory=list)

    def processors(self, seeds: Sequence[int], codes: tuple[int, int] | None = None) -> list[Any]:
        """See `Sampling.processors`."""
        *warpers, _ = super().processors(seeds, codes)
        self.noises.append(_RecordedNoise(seeds, codes))
        return [*warpers, self.noises[-1]]

    def log_probs(self) -> torch.Tensor:
        """Of all rows drawn so far, ``(rows, tokens)``."""
        return torch.cat([torch.stack(one.log_probs, 1) for one in self.noises])


@dataclass
class _Batch:
    """The rollouts of an update, of this process."""

    media: list[Media | None]
    records: list[Record]
    scores: list[Score | None] = field(default_factory=list)


class Painter:
    """Draws and scores the rollouts of one process.

    Args:
        shape: the model that draws.
        policy: the same, as it is trained.
        reward: scores pictures.
        records: training records by number and count.
        config: of the run.

    Attributes:
        batch: the newest rollouts.
        seconds: spent on drawing, and on judging, since `start_clock`.
    """

    def __init__(
        self,
        shape: SimpleAR | Janus,
        policy: PicturePolicy,
        reward: Reward,
        records: Callable[[int, int], list[dict[str, Any]]],
        config: GrpoConfig,
    ) -> None:
        self._shape, self._policy, self._reward, self._records, self._config = shape, policy, reward, records, config
        self.batch = _Batch([], [])
        self.seconds = {"sample": 0.0, "judge": 0.0}

    @property
    def guided(self) -> bool:
        """Are tokens drawn with guidance, and so from other probabilities than those that are learnt?"""
        return self._config.rollout.guidance != 1

    @property
    def dropped(self) -> bool:
        """Does dropout, which is on while the policy learns, make it another from the one that drew?"""
        return self._config.lora.rank > 0 and self._config.lora.dropout > 0

    def draw(self, prompts: Sequence[str], trainer: GroupTrainer) -> dict[str, Any]:
        """TRL's ``rollout_func``.

        Args:
            prompts: numbers of training records, each repeated for its group.
            trainer: who asks.

        Returns:
            ``prompt_ids``, ``completion_ids`` (codes) and ``logprobs``, which are None where guidance changed them.
        """
        began = time.perf_counter()
        numbers = [int(prompt) for prompt in prompts]
        group, captions = self._config.rollout.group_size, self._config.rollout.captions
        least = min(numbers)
        records = dict(enumerate(self._records(least, max(numbers) - least + 1), least))
        update, first = numbers[0] // captions, numbers[0] % captions * group
        seeds = [rollout_seed(self._config.seed, update, first + place) for place in range(len(numbers))]
        encoded = {number: self._shape.encode(record["caption"]) for number, record in records.items()}
        room = self._shape.room
        ids = [encoded[number][-room:] for number in numbers]
        torch.manual_seed(
            rollout_seed(self._config.seed, update, -1 - trainer.accelerator.process_index)
        )  # for dropout and TRL's shuffling
        with drawing(self._policy), trainer.accelerator.autocast():
            tokens, log_probs = self._sample(ids, seeds)
        media = [self._decoded(one) for one in tokens]
        offset = 0 if isinstance(self._shape, Janus) else self._shape.tokens.offset
        media = [one if len(encoded[number]) <= room else None for one, number in zip(media, numbers, strict=True)]
        self.batch = _Batch(media, [records[number] for number in numbers])
        self.seconds["sample"] += time.perf_counter() - began
        return {
            "prompt_ids": ids,
            "completion_ids": (tokens - offset).tolist(),
            "logprobs": None if self.guided else log_probs.tolist(),
        }

    def score(self, **_: object) -> list[float | None]:
        """TRL's reward function: a value for each of the newest rollouts, None where there is none."""
        began = time.perf_counter()
        self.batch.scores = self._reward.score(self.batch.media, self.batch.records)
        self.seconds["judge"] += time.perf_counter() - began
        return [None if one is None else one.value for one in self.batch.scores]

    def _sample(self, prompts: Sequence[Sequence[int]], seeds: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        shape, rollout = self._shape, self._config.rollout
        sampling, own = RecordedSampling(rollout.temperature), (shape.sampling, shape.guidance)
        shape.sampling, shape.guidance = sampling, rollout.guidance
        size = rollout.batch_size or len(prompts)
        try:
            parts = [shape.sample(prompts[one : one + size], seeds[one : one + size]) for one in range(0, len(prompts), size)]
        finally:
            shape.sampling, shape.guidance = own
        return torch.cat(parts), sampling.log_probs()

    def _decoded(self, tokens: torch.Tensor) -> Media | None:
        try:
            return Media.of_image(self._shape.decode(tokens[None])[0])
        except ValueError:  # pixels that are no numbers
            return None


class GroupTrainer(GRPOTrainer):  # type: ignore[misc]
    """GRPO over pictures.

    Args:
        policy: what is trained.
        reference: what the divergence is from, or None; its weights do not change.
        kl: the divergence's weight.
        painter: draws and scores.
        done: called after every update with its number among those of this trainer, from 1, its figures, and the rollouts of all processes
            (None where older ones were learnt from again). Whatever it raises ends the training.
        arguments: TRL's own settings.
        others: of `GRPOTrainer`.
    """

    def __init__(
        self,
        policy: PicturePolicy,
        reference: Any,
        kl: float,
        painter: Painter,
        done: Callable[[int, dict[str, float], Rollouts | None], None],
        arguments: GRPOConfig,
        **others: Any,
    ) -> None:
        super().__init__(model=policy, args=arguments, reward_funcs=[painter.score], rollout_func=painter.draw, **others)
        if reference is not None:
            # Given to TRL as an instance: by itself it would load one from the place that the policy's config names.
            self.beta, self.ref_model = kl, reference
            if isinstance(reference, torch.nn.Module):
                from trl.trainer.utils import add_fused_lm_head

                add_fused_lm_head(reference, temperature=self.temperature)
        self.painter, self.done = painter, done
        self._deviations: list[tuple[float, float]] = []
        self._new_log_probs: torch.Tensor | None = None
        self._clock = time.perf_counter()

    def _send_telemetry(self) -> None:
        """Nothing is told to anybody."""

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        batch = super()._generate_and_score_completions(inputs)
        batch["advantages"] = settled(batch["advantages"], self.painter.batch.scores, self.num_generations)
        return batch

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        **_: object,
    ) -> tuple[torch.Tensor, torch.Tensor | None, None]:
        """As TRL's, without scoring the prompts: log-probabilities and entropies of codes, ``(rows, codes)``."""
        found = []
        for ids, mask in zip(
            input_ids.split(batch_size or len(input_ids)), attention_mask.split(batch_size or len(input_ids)), strict=True
        ):
            with self.accelerator.autocast():
                found.append(model(input_ids=ids, attention_mask=mask, labels=ids[:, -logits_to_keep - 1 :], fused_lm_head=True))
        log_probs = torch.cat([one.log_probs for one in found])
        self._new_log_probs = log_probs.detach()
        return log_probs, torch.cat([one.entropy for one in found]) if compute_entropy else None, None

    def _compute_loss(self, model: Any, inputs: Any) -> Any:
        loss = super()._compute_loss(model, inputs)
        drawn = inputs.get("sampling_per_token_logps")
        if drawn is not None and self.state.global_step % self.num_iterations == 0:
            ratio = (self._new_log_probs - drawn).exp()
            self._deviations.append(((ratio - 1).abs().max().item(), (ratio - 1).abs().mean().item()))
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Called by transformers' loop after every update."""
        super().log(logs, start_time)
        found = self.state.log_history[-1]
        if "grad_norm" not in found:
            return  # the summary behind the last update
        names = {"entropy": "entropy", "clip_ratio/region_mean": "clip_ratio", "kl": "kl"}
        figures = {name: float(found[name]) for name in ("loss", "grad_norm", "learning_rate")}
        figures |= {ours: float(found[theirs]) for theirs, ours in names.items() if found.get(theirs) is not None}
        self._check(figures)
        figures |= self._ratio_figures()
        first = (self.state.global_step - 1) % self.num_iterations == 0
        rollouts = self._gathered() if first else None
        now = time.perf_counter()
        spent = self.painter.seconds
        figures |= {f"seconds/{name}": value for name, value in spent.items()}
        figures["seconds/learn"] = now - self._clock - sum(spent.values())
        self.done(self.state.global_step, figures, rollouts)
        self.painter.seconds, self._clock = dict.fromkeys(spent, 0.0), time.perf_counter()

    def _check(self, figures: dict[str, float]) -> None:
        """Stops a training that has come apart.

        Raises:
            AnySceneError: a figure is no number; but a gradient too long for half precision, whose step was left out, is not meant.
        """
        skipped = {"grad_norm"} if self.accelerator.optimizer_step_was_skipped else set()
        wrong = [name for name, value in figures.items() if not math.isfinite(value) and name not in skipped]
        if wrong:
            raise AnySceneError(f"the {wrong[0]} is no number any more; try a lower optimization.learning_rate, or precision no or bf16")

    def _ratio_figures(self) -> dict[str, float]:
        """How far the probabilities that are learnt are from those that were drawn from, before anything was learnt.

        Raises:
            AnySceneError: too far for rounding.
        """
        if not self._deviations:
            return {}
        largest, mean = max(one for one, _ in self._deviations), float(np.mean([one for _, one in self._deviations]))
        self._deviations = []
        if self.accelerator.num_processes > 1:
            both = torch.tensor([largest, mean], device=self.accelerator.device)[None]
            gathered = self.accelerator.gather(both)
            largest, mean = gathered[:, 0].max().item(), gathered[:, 1].mean().item()
        exact = self.accelerator.mixed_precision == "no" and next(self.model.parameters()).dtype == torch.float32
        if (largest > DEVIATION if exact else mean > HALF_DEVIATION) and not self.painter.dropped:
            raise AnySceneError(
                f"the log-probabilities that are learnt differ from those that were drawn from (ratio off by {largest:.3g} at most, "
                f"{mean:.3g} on average): the model does not compute the same with and without its cache. Look for dropout that stays on, "
                "positions of prompts of unequal length, and an attention that takes no mask"
            )
        return {"ratio_max_deviation": largest, "ratio_mean_deviation": mean}

    def _gathered(self) -> Rollouts:
        batch = self.painter.batch
        if self.accelerator.num_processes == 1:
            return Rollouts(batch.media, batch.records, batch.scores)
        from accelerate.utils import gather_object

        rows = gather_object(list(zip(batch.media, batch.records, batch.scores, strict=True)))
        media, records, scores = zip(*rows, strict=True)
        return Rollouts(media, records, scores)


def settled(advantages: torch.Tensor, scores: Sequence[Score | None], group: int) -> torch.Tensor:
    """TRL's advantages, exactly 0 where a group's rewards are all alike: TRL divides what rounding leaves by a small number.

    Args:
        advantages: ``(rollouts,)``, the groups side by side.
        scores: of each rollout.
        group: rollouts in a group.
    """
    return advantages.masked_fill(
        torch.tensor(tied_rows([None if one is None else one.value for one in scores], group)).to(advantages.device), 0
    )


def tied_rows(values: Sequence[float | None], group: int) -> list[bool]:
    """Which rollouts have nothing to learn from: those of groups whose known rewards deviate by less than 1e-6, and those without one."""
    tied: list[bool] = []
    for start in range(0, len(values), group):
        own = values[start : start + group]
        known = [one for one in own if one is not None]
        alike = len(known) < 2 or float(np.std(known)) < TIE
        tied += [alike or one is None for one in own]
    return tied
