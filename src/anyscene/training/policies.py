"""What training a policy needs whatever its kind: seeds of rollouts, the learning rate of an update, and what is kept in the end."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from anyscene.errors import RunError
from anyscene.models.painting import SEEDS
from anyscene.runs import write_atomic
from anyscene.training.config import Optimization

__all__ = ["POLICY", "TIE", "Trained", "learning_rate_factor", "rollout_seed"]

POLICY = "policy"
"""The folder of the trained weights in the folder of a run."""
TIE = 1e-6
"""Rewards of a group that deviate by less are alike: what is between them is rounding."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained policy on the disk: ``load_model(trained.load, **trained.options)`` gives it.

    Attributes:
        load: what ``load_model`` takes.
        options: of the model, such that it draws as the model that was trained, but for its weights.
    """

    load: str
    options: Mapping[str, object] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Says in ``folder/policy.json`` how the policy is loaded; written last, it marks the folder as whole."""
        text = json.dumps({"load": self.load, "options": dict(self.options)}, indent=1, ensure_ascii=False)
        write_atomic(folder / "policy.json", text.encode() + b"\n")

    @classmethod
    def read(cls, folder: Path) -> Trained:
        """What `write` wrote.

        Raises:
            RunError: it is damaged.
        """
        path = folder / "policy.json"
        try:
            found = json.loads(path.read_text("utf-8"))
            return cls(str(found["load"]), dict(found["options"]))
        except (OSError, ValueError, KeyError, TypeError):
            raise RunError(f"{path} is damaged; remove {folder}, and the same command makes it again") from None


def rollout_seed(seed: int, update: int, place: int) -> int:
    """The seed of one rollout, below 2^31: a hash of the run's seed, the update (from 0) and the rollout's place among all of the update.

    Which process makes a rollout, and whether the run was interrupted before, changes nothing.
    """
    return int.from_bytes(hashlib.sha256(f"rollout/{seed}/{update}/{place}".encode()).digest()[:8], "big") % SEEDS


def learning_rate_factor(optimization: Optimization, updates: int) -> Callable[[int], float]:
    """The share of the highest learning rate with which an update learns, by its number from 0.

    It rises in equal steps over the warm-up; then it stays, or falls along half a cosine to a tenth.

    Args:
        optimization: its ``warmup`` and ``schedule``.
        updates: how many there are in all.
    """
    warmup = optimization.warmup

    def factor(update: int) -> float:
        if update < warmup:
            return (update + 1) / (warmup + 1)
        if optimization.schedule == "constant":
            return 1.0
        progress = min(1.0, (update - warmup) / max(1, updates - 1 - warmup))
        return 0.1 + 0.45 * (1 + math.cos(math.pi * progress))

    return factor
