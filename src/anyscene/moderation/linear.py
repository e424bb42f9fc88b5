"""Linear models on fixed features: of a frozen network, or the hand features with which an audit looks for shortcuts.

The model is scikit-learn's logistic regression, both sides and all generators counting alike; its strength of regularization is the one
that does best on the validation split.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anyscene.errors import Interrupted, MediaError, MissingExtraError, ModelError
from anyscene.media import Media
from anyscene.moderation.dataset import GENERATED, Picture
from anyscene.moderation.degrade import augment
from anyscene.moderation.detector import LINEAR, Shown
from anyscene.moderation.hand_features import HAND_NAMES, hand_features
from anyscene.moderation.training import METRICS, Learnt, Lessons, TrainOptions
from anyscene.runs import progress, write_atomic
from anyscene.scene.keyed import key_of
from anyscene.scoring.question_bank import Bools, Floats
from anyscene.weights import load_errors, one_line, pick_device

__all__ = ["FrozenScorer", "HandScorer", "Linear", "fit_linear", "learn_linear"]

STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)
"""Inverse regularization strengths (C) that are tried."""
AT_ONCE = 64


@dataclass(frozen=True)
class Linear:
    """A logit from features.

    Attributes:
        mean: ``(features,)`` taken away first.
        scale: ``(features,)`` then divided by.
        weight: ``(features,)``.
        bias: one number.
    """

    mean: Floats
    scale: Floats
    weight: Floats
    bias: float

    def logits(self, features: Floats) -> Floats:
        """``(pictures,)`` from ``(pictures, features)``; NaN where a feature is."""
        return np.asarray(((features - self.mean) / self.scale) @ self.weight + self.bias, dtype=np.float64)

    def save(self, folder: Path) -> None:
        """Writes it into a detector's folder."""
        from safetensors.numpy import save

        values = {"mean": self.mean, "scale": self.scale, "weight": self.weight, "bias": np.array([self.bias])}
        write_atomic(folder / LINEAR, save({name: np.ascontiguousarray(one, dtype=np.float64) for name, one in values.items()}))

    @classmethod
    def load(cls, folder: Path) -> Linear:
        """What `save` wrote.

        Raises:
            ModelError: it cannot be read.
        """
        from safetensors.numpy import load

        try:
            found = load((folder / LINEAR).read_bytes())
            return cls(found["mean"], found["scale"], found["weight"], float(found["bias"][0]))
        except load_errors() as error:
            raise ModelError(f"{folder / LINEAR} cannot be loaded: {one_line(error)}") from error


def fit_linear(features: Floats, generated: Bools, sides: Sequence[str], strength: float, seed: int = 0) -> Linear:
    """Fits a logistic regression.

    Args:
        features: ``(pictures, features)``.
        generated: ``(pictures,)``.
        sides: ``(pictures,)`` the generator of each, empty for real ones: all generators together count as much as all real pictures.
        strength: C of scikit-learn.
        seed: of the solver.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise MissingExtraError("A linear detector", "moderation") from None
    names = np.array(sides, dtype=np.str_)
    generators = len(set(names[generated]))
    weights = np.zeros(len(names))
    for name in sorted(set(sides)):
        own = names == name
        weights[own] = len(names) / (2 * own.sum() * (1 if name == "" else generators))
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > 1e-9, scale, 1.0)
    model = LogisticRegression(C=strength, max_iter=5000, random_state=seed).fit(
        (features - mean) / scale, generated, sample_weight=weights
    )
    return Linear(mean, scale, model.coef_[0], float(model.intercept_[0]))


def learn_linear(lessons: Lessons, out: Path, options: TrainOptions, device: str, quiet: bool) -> Learnt:
    """Trains a linear model; see `training.train_detector`."""
    from sklearn.metrics import roc_auc_score

    train = [*lessons.reals, *(one for ones in lessons.fakes.values() for one in ones)]
    scorer: HandScorer | FrozenScorer
    if options.backbone == "hand":
        rows = train
        maker = _Features(lessons, lambda media, _view, _first: HandScorer.features([one.data for one in media]), quiet)
        features = maker.of(train, 0)
        facts, preprocessing = {"name": "hand", "features": list(HAND_NAMES)}, {}
    else:
        from anyscene.moderation.backbones import load_frozen

        frozen = load_frozen(options.backbone, options.backbone.partition(":")[2], pick_device(device))

        def seen(media: Sequence[Media], view: int, first: int) -> Floats:
            images = [one.image for one in media]
            if view:
                how = options.augmentation
                images = [augment(one, frozen.size, how, options.seed, view, place) for place, one in enumerate(images, first)]
            return frozen.features(images)

        maker = _Features(lessons, seen, quiet)
        features = np.concatenate([maker.of(train, view) for view in range(options.views + 1)])
        rows = train * (options.views + 1)
        facts, preprocessing = dict(frozen.facts), {"size": frozen.size, "mean": list(frozen.mean), "std": list(frozen.std)}
    held = maker.of(lessons.validation, 0)
    truth = np.array([one.label == GENERATED for one in lessons.validation])
    generated, sides = np.array([one.label == GENERATED for one in rows]), [one.generator for one in rows]
    found = []
    for strength in STRENGTHS:
        model = fit_linear(features, generated, sides, strength, key_of(options.seed) >> 33)
        found.append((float(roc_auc_score(truth, model.logits(held))), strength, model))
    lines = [{"step": number, "C": strength, "validation/auroc": auroc} for number, (auroc, strength, _) in enumerate(found, 1)]
    write_atomic(out / METRICS, b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    auroc, strength, model = max(found, key=lambda one: (round(one[0], 4), -one[1]))
    scorer = HandScorer(model) if options.backbone == "hand" else FrozenScorer(frozen, model)
    return Learnt(scorer, facts, preprocessing, {"C": strength, "auroc": auroc, "features": features.shape[1], "views": options.views})


@dataclass(frozen=True)
class _Features:
    """Features of pictures of a data set: what ``take`` gives for some, the number of the view and that of the first of them."""

    lessons: Lessons
    take: Callable[[Sequence[Media], int, int], Floats]
    quiet: bool

    def of(self, pictures: Sequence[Picture], view: int) -> Floats:
        """``(pictures, features)``.

        Raises:
            ModelError: a feature is no number.
        """
        rows = []
        try:
            with progress(len(pictures), "pictures", quiet=self.quiet) as advance:
                for first in range(0, len(pictures), AT_ONCE):
                    media = [self.lessons.of[one.id].read(one) for one in pictures[first : first + AT_ONCE]]
                    rows.append(self.take(media, view, first))
                    advance(len(media))
        except KeyboardInterrupt:
            raise Interrupted("stopped while features were taken; the same command starts that again") from None
        found = np.concatenate(rows)
        if not np.isfinite(found).all():
            bad = int(np.flatnonzero(~np.isfinite(found).all(axis=1))[0])
            raise ModelError(f"{pictures[bad].file}: its features are no numbers")
        return found


@dataclass(frozen=True)
class FrozenScorer:
    """A linear model on the features of a network that stays as it is.

    Attributes:
        frozen: `backbones.Frozen`.
        linear: the model.
    """

    frozen: Any
    linear: Linear

    def logits(self, pictures: Sequence[Shown], batch: int) -> Floats:
        return self.linear.logits(self.frozen.features([one.image for one in pictures], batch))

    def save(self, folder: Path) -> None:
        self.frozen.save(folder)
        self.linear.save(folder)

    @classmethod
    def load(cls, folder: Path, facts: Mapping[str, Any], device: str) -> FrozenScorer:
        from anyscene.moderation.backbones import NETWORK, load_frozen

        name = str(facts["backbone"]["name"])
        return cls(load_frozen(name, str(folder / NETWORK), device, facts["preprocessing"]), Linear.load(folder))


@dataclass(frozen=True)
class HandScorer:
    """A linear model on hand features, of file and pixels.

    Attributes:
        linear: the model.
    """

    linear: Linear

    @staticmethod
    def features(files: Sequence[bytes]) -> Floats:
        """``(pictures, features)``.

        Raises:
            MediaError: one cannot be read.
        """
        return np.stack([hand_features(one) for one in files])

    def logits(self, pictures: Sequence[Shown], batch: int) -> Floats:
        return np.array([self._logit(one.data) for one in pictures], dtype=np.float64)

    def _logit(self, file: bytes) -> float:
        try:
            return float(self.linear.logits(self.features([file]))[0])
        except MediaError:  # larger than features are taken of
            return math.nan

    def save(self, folder: Path) -> None:
        self.linear.save(folder)

    @classmethod
    def load(cls, folder: Path, facts: Mapping[str, Any]) -> HandScorer:
        if facts["backbone"].get("features") != list(HAND_NAMES):
            raise ModelError(f"{folder}: it learnt from other hand features than this version has; train it again")
        return cls(Linear.load(folder))
