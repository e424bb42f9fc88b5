"""Training a detector: what is checked first, what is learnt from, and how the threshold is set.

Real and generated pictures come in equal numbers, the generated ones in equal numbers from each generator, and what is done to them at
random is drawn without a look at which they are. The weights that do best on the validation split are kept; on its real pictures, one for
each source image, the threshold is set.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from anyscene import __version__
from anyscene.errors import MissingExtraError, ModelError, RunError, SpecError
from anyscene.evaluation.run import json_bytes, parquet_bytes
from anyscene.moderation.calibration import calibrate, check_rate
from anyscene.moderation.dataset import GENERATED, REAL, DetectorData, Picture, open_dataset
from anyscene.moderation.degrade import Augmentation
from anyscene.moderation.detector import DETECTOR, KIND, SEEN, VERSION, Detector, Scorer, load_detector, logits_of, sigmoid, weight_digests
from anyscene.moderation.metrics import Scored, measure
from anyscene.runs import (
    differences,
    lock_folder,
    normalized,
    open_folder,
    read_manifest,
    remove_temporaries,
    say,
    write_atomic,
    write_manifest,
)
from anyscene.weights import library_versions

__all__ = ["Lessons", "TrainOptions", "read_options", "train_detector"]

ROUNDING = 1e-4
"""By so much a logit may differ where the same picture is looked at again, in other company or on another machine."""
METRICS, CHECKPOINT = "metrics.jsonl", "checkpoint.pt"


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """How a detector is trained.

    Attributes:
        backbone: see `backbones`.
        size: of the square that it sees, in pixels; None is the backbone's own.
        patch: of a vision transformer from scratch; None is 16, or 4 for tiny pictures.
        pretrained: with timm's weights.
        generators: those whose pictures are learnt from; empty is all.
        steps: updates at most.
        batch: pictures of an update, half of them real.
        learning_rate: after warming up; it falls to 0 along a cosine.
        warmup: share of the steps.
        weight_decay: of AdamW.
        precision: ``no``, ``bf16`` or ``fp16``.
        augmentation: how often pictures are changed at random.
        views: of a linear model on frozen features: changed copies of each picture beside the picture itself.
        validate_every: steps between two looks at the validation split, after each of which the run can go on.
        patience: looks without a better one after which it ends; 0 goes on to the last step.
        false_positive_rate: for which the threshold is set.
        widen: where there are too few real pictures for that rate, take the smallest that they bear.
        workers: processes that read pictures.
        seed: of all that is drawn.
    """

    backbone: str = "vit-tiny"
    size: int | None = None
    patch: int | None = None
    pretrained: bool = True
    generators: tuple[str, ...] = ()
    steps: int = 2000
    batch: int = 64
    learning_rate: float = 3e-4
    warmup: float = 0.05
    weight_decay: float = 0.05
    precision: str = "no"
    augmentation: Augmentation = field(default_factory=Augmentation)
    views: int = 2
    validate_every: int = 100
    patience: int = 10
    false_positive_rate: float = 0.01
    widen: bool = False
    workers: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("batch", 2), ("validate_every", 1), ("patience", 0), ("views", 0), ("workers", 0)):
            if getattr(self, name) < least:
                raise SpecError(f"{name} = {getattr(self, name)}: at least {least}")
        if self.batch % 2:
            raise SpecError(f"batch = {self.batch}: it must be even, for half of it is real")
        if self.precision not in ("no", "bf16", "fp16"):
            raise SpecError(f"precision = {self.precision!r}: it must be no, bf16 or fp16")
        if not 0 < self.learning_rate < math.inf or not 0 <= self.warmup < 1 or not 0 <= self.weight_decay < math.inf:
            raise SpecError("learning_rate must be above 0, warmup from 0 to below 1, weight_decay at least 0")


def read_options(given: Mapping[str, Any]) -> TrainOptions:
    """Options from keys and values, as a command line has them; ``augmentation.blur`` is a key too.

    Raises:
        SpecError: an unknown key, or a value of the wrong kind.
    """
    from pydantic import TypeAdapter, ValidationError

    own = {name.removeprefix("augmentation."): value for name, value in given.items() if name.startswith("augmentation.")}
    values = {name: value for name, value in given.items() if not name.startswith("augmentation.")} | ({"augmentation": own} if own else {})
    for keys, kind in ((values, TrainOptions), (own, Augmentation)):
        known = [one.name for one in fields(kind)]
        if unknown := [name for name in keys if name not in known]:
            raise SpecError(f"unknown key {unknown[0]!r}; the keys are {', '.join(known)}")
    try:
        return TypeAdapter(TrainOptions).validate_python(values)
    except ValidationError as invalid:
        first = invalid.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SpecError(f"{where} = {first['input']!r}: {first['msg']}") from None


@dataclass(frozen=True)
class Lessons:
    """What is learnt from, and what it is held against.

    Attributes:
        reals: real pictures to learn from.
        fakes: generated ones, by generator.
        validation: real and generated pictures to choose the weights by.
        of: the data set of each picture, by digest.
    """

    reals: tuple[Picture, ...]
    fakes: Mapping[str, tuple[Picture, ...]]
    validation: tuple[Picture, ...]
    of: Mapping[str, DetectorData]

    @classmethod
    def from_data(cls, data: DetectorData, extra: Sequence[DetectorData], generators: Sequence[str]) -> Lessons:
        """The training and validation splits; of the extra sets all generated pictures, for training.

        Raises:
            SpecError: there is no such generator, or a side or split has no pictures.
        """
        if unknown := [name for name in generators if name not in data.generators]:
            raise SpecError(f"generator {unknown[0]!r}: {data.folder} has {', '.join(data.generators)}")
        chosen = tuple(generators) or data.generators
        fakes = {name: list(data.select(generator=name, split="train")) for name in chosen}
        of = {one.id: data for one in data.pictures}
        for other in extra:
            for one in other.select(label=GENERATED):
                if one.generator not in fakes:
                    raise SpecError(f"{other.folder} has pictures of {one.generator}, which {data.folder} does not train on")
                if one.id not in of:
                    fakes[one.generator].append(one)
                    of[one.id] = other
        validation = [one for one in data.select(split="validation") if one.label == REAL or one.generator in chosen]
        found = cls(data.select(label=REAL, split="train"), {name: tuple(ones) for name, ones in fakes.items()}, tuple(validation), of)
        found._check(data)
        return found

    def _check(self, data: DetectorData) -> None:
        sides = {"real pictures to train on": self.reals, **{f"pictures of {name} to train on": ones for name, ones in self.fakes.items()}}
        sides["real pictures to validate on"] = tuple(one for one in self.validation if one.label == REAL)
        sides["generated pictures to validate on"] = tuple(one for one in self.validation if one.label == GENERATED)
        if empty := [what for what, ones in sides.items() if not ones]:
            raise SpecError(f"{data.folder} has no {empty[0]}; build it from more pictures, or with other --shares")

    def calibration(self) -> tuple[Picture, ...]:
        """Real pictures of the validation split, the first of each source image."""
        first: dict[str, Picture] = {}
        for one in self.validation:
            if one.label == REAL:
                first.setdefault(one.group, one)
        return tuple(first.values())

    @property
    def learnt_from(self) -> tuple[Picture, ...]:
        """All that is learnt from or tuned on."""
        return (*self.reals, *(one for ones in self.fakes.values() for one in ones), *self.validation)


def train_detector(
    data: DetectorData | str | Path,
    out: str | Path,
    options: TrainOptions | None = None,
    *,
    extra: Sequence[DetectorData | str | Path] = (),
    device: str = "auto",
    allow_biased: bool = False,
    quiet: bool = False,
) -> Detector:
    """Trains a detector, or goes on with it; one that is there already is loaded.

    Args:
        data: the data set.
        out: the folder to write into.
        options: how.
        extra: more data sets whose generated pictures are learnt from.
        device: of torch, or ``auto``.
        allow_biased: train on a data set whose audit found a shortcut, or that was not audited.
        quiet: show no progress.

    Raises:
        SpecError: the data cannot be learnt from so, or bear no threshold at that rate; nothing was trained.
        ModelError: what was learnt gives all pictures the same score, or none.
        RunError: the folder holds another detector, or cannot be written.
        Interrupted: stopped by Ctrl-C; the same command goes on.
        MissingExtraError: a library is not installed.
    """
    options = options or TrainOptions()
    data = data if isinstance(data, DetectorData) else open_dataset(data)
    others = [one if isinstance(one, DetectorData) else open_dataset(one) for one in extra]
    check_audit(data, allow_biased)
    lessons = Lessons.from_data(data, others, options.generators)
    check_rate(len(lessons.calibration()), options.false_positive_rate, options.widen)
    out = Path(out)
    open_folder(out)
    asked = normalized(
        {
            "kind": "detector-training",
            "data": data.digest,
            "extra": [one.digest for one in others],
            "options": {**asdict(options), "workers": 0},
            "versions": {"anyscene": __version__, **library_versions("torch", "transformers", "timm", "scikit-learn", "pillow")},
        }
    )
    with lock_folder(out):
        remove_temporaries(out)
        if _is_there(out, asked):
            say(f"{out} is trained already; nothing to do", quiet=quiet)
            return load_detector(out, device=device)
        write_manifest(out, asked)
        learnt = learn(lessons, out, options, device, quiet)
        _finish(out, learnt, lessons, data, others, options)
        (out / CHECKPOINT).unlink(missing_ok=True)
    return load_detector(out, device=device)


def check_audit(data: DetectorData, allow_biased: bool = False) -> None:
    """Refuses a data set in which hand features tell real from generated, or that nobody has audited.

    Raises:
        SpecError: that is so, and is not allowed.
    """
    found = data.audit
    if allow_biased or (found is not None and not found["biased"]):
        return
    what = "has not been audited" if found is None else "has a shortcut that its audit found"
    raise SpecError(f"{data.folder} {what}: run anyscene moderate audit {data.folder}; --allow-biased trains on it all the same")


def _is_there(out: Path, asked: Mapping[str, Any]) -> bool:
    found = read_manifest(out)
    if found is None:
        if (out / DETECTOR).exists() or (out / METRICS).exists():
            raise RunError(f"{out} holds a detector without its run.json; take an empty folder")
        return False
    there, here = ({key: value for key, value in one.items() if key != "versions"} for one in (found, asked))
    begun = any((out / name).exists() for name in (DETECTOR, METRICS, CHECKPOINT))
    if begun and (differing := differences(there, here)):
        raise RunError(f"{out} holds another detector ({'; '.join(differing[:3])}). Take another folder for another one.")
    return (out / DETECTOR).is_file()


@dataclass(frozen=True)
class Learnt:
    """What came out of learning.

    Attributes:
        scorer: what looks at pictures.
        backbone: what it is.
        preprocessing: size, mean and standard deviation; empty where there are none.
        training: how it went.
    """

    scorer: Scorer
    backbone: Mapping[str, Any]
    preprocessing: Mapping[str, Any]
    training: Mapping[str, Any]


def learn(lessons: Lessons, out: Path, options: TrainOptions, device: str, quiet: bool) -> Learnt:
    """Learns with whatever the backbone is."""
    if options.backbone == "hand" or options.backbone.startswith("frozen:"):
        from anyscene.moderation.linear import learn_linear

        return learn_linear(lessons, out, options, device, quiet)
    try:
        from anyscene.moderation.learning import learn_network
    except ImportError:
        raise MissingExtraError("Training a detector", "moderation") from None
    return learn_network(lessons, out, options, device, quiet)


def _finish(out: Path, learnt: Learnt, lessons: Lessons, data: DetectorData, extra: Sequence[DetectorData], options: TrainOptions) -> None:
    """Sets the threshold, and writes the detector; its manifest comes last."""
    logits = logits_of(learnt.scorer, (lessons.of[one.id].data(one) for one in lessons.validation), options.batch)
    by_id = dict(zip((one.id for one in lessons.validation), logits.tolist(), strict=True))
    found = calibrate([by_id[one.id] for one in lessons.calibration()], options.false_positive_rate, widen=options.widen, slack=ROUNDING)
    calibration = replace(found, threshold=sigmoid(found.threshold) or 0.0)
    kinds, groups = [one.label == GENERATED for one in lessons.validation], [one.group for one in lessons.validation]
    truth = Scored.of([sigmoid(one) for one in logits.tolist()], kinds, groups)
    validation = measure(truth, calibration.threshold, seed=options.seed)
    if validation.problem:
        raise ModelError(f"{out}: on the validation split {validation.problem}; nothing was written")
    learnt.scorer.save(out)
    seen = pa.table({"id": [one.id for one in lessons.learnt_from], "group": [one.group for one in lessons.learnt_from]})
    write_atomic(out / SEEN, parquet_bytes(seen))
    facts = {
        "kind": KIND,
        "version": VERSION,
        "backbone": dict(learnt.backbone),
        "preprocessing": dict(learnt.preprocessing),
        "threshold": calibration.threshold,
        "calibration": {**calibration.to_dict(), "words": calibration.words},
        "data": {
            "digest": data.digest,
            "extra": [one.digest for one in extra],
            "generators": list(lessons.fakes),
            "pictures": {REAL: len(lessons.reals), **{name: len(ones) for name, ones in lessons.fakes.items()}},
            "audit": _audit_words(data),
        },
        "options": {**asdict(options), "workers": 0},
        "training": dict(learnt.training),
        "validation": validation.to_dict(),
        "weights": weight_digests(out),
        "versions": {"anyscene": __version__, **library_versions("torch", "transformers", "timm", "scikit-learn", "pillow")},
    }
    write_atomic(out / DETECTOR, json_bytes(normalized(facts)))


def _audit_words(data: DetectorData) -> str:
    return "none" if data.audit is None else "a shortcut was found" if data.audit["biased"] else "passed"
