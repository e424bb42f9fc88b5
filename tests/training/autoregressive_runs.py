"""Tiny training runs of token-by-token policies: records, planted rewards, one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from anyscene.models import load_model
from anyscene.rewards import Score
from anyscene.training.autoregressive import train_autoregressive
from anyscene.training.config import GrpoConfig
from anyscene.training.policies import Trained
from anyscene.training.run_folder import TrainingRun

CAPTIONS = ("two tacos", "a row of boots beside a wall with graffiti", "a taxi", "boots")


def records(start: int, count: int) -> list[dict[str, Any]]:
    """Training records by number."""
    return [{"id": f"r{number}", "index": number, "caption": CAPTIONS[number % 4]} for number in range(start, start + count)]


class Paid:
    """A reward that a function of (picture, record, place in the batch) gives; it counts its calls."""

    name = "paid"

    def __init__(self, value: Callable[[Any, dict[str, Any], int], float | None]) -> None:
        self.value, self.calls, self.seen = value, 0, []

    def score(self, images: Sequence[Any], records: Sequence[Any]) -> list[Score | None]:
        self.calls += 1
        self.seen.append(list(zip(images, records, strict=True)))
        values = [self.value(*one, place) for place, one in enumerate(self.seen[-1])]
        return [None if one is None else Score(one, record["id"]) for one, record in zip(values, records, strict=True)]


def blue(image: Any, record: Any, place: int) -> float:
    """How blue a picture is, from 0 to 1."""
    return float(image.array()[..., 2].mean() / 255)


def config_of(folder: Path, updates: int = 2, **given: Any) -> GrpoConfig:
    """A config of two captions with four pictures each; sections are given as dicts, which add to these."""
    sections: dict[str, Any] = {
        "rollout": {"captions": 2, "group_size": 4},
        "optimization": {"learning_rate": 3e-3},
    }
    for name, value in given.items():
        sections[name] = {**sections.get(name, {}), **value} if isinstance(value, dict) else value
    sections.setdefault("model_options", {"guidance": 1.0, "device": "cpu"})
    return GrpoConfig(model=f"autoregressive:{folder}", updates=updates, seed=7, **sections)


def start(config: GrpoConfig, out: Path, reward: Any, **settings: Any) -> tuple[Trained, Any, TrainingRun]:
    """Trains a freshly loaded model; gives how it is loaded, the model as it was trained, and the run."""
    model = load_model(config.model, **config.model_options)
    run = TrainingRun(out, config.updates, quiet=True, checkpoint_every=config.checkpoint_every, **settings)
    return train_autoregressive(model, reward, records, config, run), model, run


def blue_above(image: Any, record: Any, place: int) -> float:
    """How much bluer a picture is above than below. (Decoders that normalise hardly change the whole's mean.)"""
    half = image.array().shape[0] // 2
    return float(image.array()[:half, :, 2].mean() - image.array()[half:, :, 2].mean()) / 255
