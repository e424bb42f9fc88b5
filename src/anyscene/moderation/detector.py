"""A detector: what gives pictures scores, and the threshold above which it calls one generated.

DETECTOR/
  detector.json      what it is, what it learnt from, its threshold and the false-positive rate that this is for
  network/           the network, as its library writes it
  linear.safetensors of a linear model on fixed features: means, deviations, weights, bias
  seen.parquet       digests and groups of the pictures that it learnt from or was tuned on
  run.json, metrics.jsonl
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from anyscene.errors import MissingExtraError, RecordError, RunError, SpecError
from anyscene.evaluation.run import json_bytes, read_json
from anyscene.media import Media
from anyscene.moderation.opening import Opened, OpeningLimits, open_image, open_picture, read_file
from anyscene.runs import sha256_of
from anyscene.scoring.question_bank import Floats
from anyscene.weights import pick_device

__all__ = ["Detector", "Given", "Scorer", "Shown", "load_detector", "logits_of", "shown_of", "sigmoid", "weight_digests"]

DETECTOR, SEEN, LINEAR, NETWORK = "detector.json", "seen.parquet", "linear.safetensors", "network"
KIND, VERSION = "detector", 1
Given = Media | Image.Image | str | Path | bytes
"""A picture as a detector takes it; a ``str`` is a path."""
AT_ONCE_BYTES = 2**27
"""Of files and pixels that are looked at together; a single picture may have more."""
LIMITS = OpeningLimits(least_side=1)


@dataclass(frozen=True)
class Shown:
    """A picture as it is looked at.

    Attributes:
        image: RGB, upright, without a profile.
        file: that it came from; empty where there is none.
    """

    image: Image.Image
    file: bytes = b""

    @property
    def data(self) -> bytes:
        """The file, or where there is none the picture as a PNG: for those who look at files."""
        return self.file or Media.of_image(self.image).data


class Scorer(Protocol):
    """What looks at pictures."""

    def logits(self, pictures: Sequence[Shown], batch: int) -> Floats:
        """``(pictures,)`` the logit of each; NaN where there is none."""

    def save(self, folder: Path) -> None:
        """Writes its weights into a detector's folder."""


@dataclass(frozen=True)
class Detector:
    """A detector, loaded.

    Attributes:
        folder: its path.
        facts: what ``detector.json`` holds.
        scorer: what looks at pictures.
    """

    folder: Path
    facts: Mapping[str, Any]
    scorer: Scorer

    def score(self, pictures: Iterable[Given], *, batch: int = 64) -> list[float | None]:
        """How likely each picture is generated, if half of all pictures were; None where it cannot be read or gets no number.

        A picture has one score, however it is given: files, their bytes and PIL images are opened as a scan opens them (`opening`), but in
        this process. For strangers' files, `scan.scan_pictures` opens them in others.

        Args:
            pictures: paths, bytes of files, PIL images, or media.
            batch: pictures at a time; fewer where the memory does not suffice, or where they are large.

        Raises:
            SpecError: one is none of these.
        """
        return [sigmoid(one) for one in logits_of(self.scorer, pictures, batch).tolist()]

    def verdict(self, score: float | None) -> str | None:
        """``generated`` where the score is above the threshold, else ``real``; None without a score."""
        return None if score is None else "generated" if score > self.threshold else "real"

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.folder.resolve().name

    @property
    def threshold(self) -> float:
        """A picture with a higher score is called generated."""
        return float(self.facts["threshold"])

    @property
    def generators(self) -> tuple[str, ...]:
        """Those whose pictures it learnt from."""
        return tuple(self.facts["data"]["generators"])

    @cached_property
    def digest(self) -> str:
        """Names the detector: ``detector.json`` with the digests of its weights."""
        return hashlib.sha256(json_bytes(self.facts)).hexdigest()

    @cached_property
    def seen(self) -> tuple[frozenset[str], frozenset[str]]:
        """Digests and groups of the pictures that it learnt from or was tuned on.

        Raises:
            RecordError: the list is missing or damaged.
        """
        path = self.folder / SEEN
        if not path.is_file() or sha256_of(path) != self.facts["weights"].get(SEEN):
            raise RecordError(f"{path} is missing or damaged, so what the detector has seen is not known; train it again")
        table = pq.read_table(path)
        return frozenset(table["id"].to_pylist()), frozenset(table["group"].to_pylist())


def sigmoid(logit: float) -> float | None:
    """A logit as a probability; None where it is no number."""
    if math.isnan(logit):
        return None
    return 1 / (1 + math.exp(-logit)) if logit > -700 else 0.0


def logits_of(scorer: Scorer, pictures: Iterable[Given], batch: int) -> Floats:
    """``(pictures,)`` the logit of each picture; NaN where it cannot be read or gets no number.

    Raises:
        SpecError: one is no picture.
    """
    found: list[float] = []
    waiting: list[Shown] = []
    places: list[int] = []
    held = 0

    def look() -> None:
        for place, logit in zip(places, scorer.logits(waiting, batch).tolist() if waiting else [], strict=True):
            found[place] = logit
        waiting.clear()
        places.clear()

    for given in pictures:
        shown = shown_of(given)
        found.append(math.nan)
        if shown is None:
            continue
        own = 3 * shown.image.width * shown.image.height + len(shown.file)
        if len(waiting) >= batch or (waiting and held + own > AT_ONCE_BYTES):
            look()
            held = 0
        waiting.append(shown)
        places.append(len(found) - 1)
        held += own
    look()
    return np.array(found, dtype=np.float64)


def shown_of(picture: Given) -> Shown | None:
    """A picture, opened; None where it cannot be read.

    Raises:
        SpecError: it is no picture, nor a path or bytes.
    """
    if isinstance(picture, Image.Image):
        opened, file = open_image(picture), b""
    else:
        read = read_file(Path(picture), LIMITS) if isinstance(picture, str | Path) else picture
        if isinstance(read, Opened):
            return None
        file = read.data if isinstance(read, Media) else read
        if not isinstance(file, bytes):
            raise SpecError(f"a picture is a path, the bytes of a file, a PIL image or media, not {type(file).__name__}")
        opened = open_picture(file, LIMITS)
    return Shown(opened.pictures[0], file) if opened.pictures else None


def load_detector(folder: str | Path, *, device: str = "auto") -> Detector:
    """The detector in a folder.

    Args:
        folder: that ``anyscene moderate train`` wrote.
        device: on which it looks at pictures, as torch names it, or ``auto``.

    Raises:
        RunError: the folder holds no detector, or an unfinished one.
        RecordError: a file is damaged.
        ModelError: the weights cannot be loaded.
        MissingExtraError: a library is not installed.
    """
    folder = Path(folder)
    if not (folder / DETECTOR).is_file():
        what = "a detector that is not finished: the same command goes on" if (folder / "run.json").is_file() else "no detector"
        raise RunError(f"{folder}: {what if folder.exists() else 'no such folder'}; give a folder that anyscene moderate train wrote")
    facts = read_json(folder / DETECTOR)
    if facts.get("kind") != KIND or facts.get("version") != VERSION:
        raise RunError(f"{folder / DETECTOR}: its kind is {facts.get('kind')!r}, version {facts.get('version')!r}; not {KIND} {VERSION}")
    for name, digest in weight_digests(folder).items():
        if facts["weights"].get(name) != digest:
            raise RecordError(f"{folder / name}: its bytes are not those that were trained; copy the file back, or train again")
    if missing := set(facts["weights"]) - set(weight_digests(folder)):
        raise RecordError(f"{folder / min(missing)} is missing; copy the file back, or train again")
    return Detector(folder, facts, _scorer(folder, facts, device))


def weight_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of the files that make up a detector, by name."""
    files = [*sorted((folder / NETWORK).glob("*")), folder / LINEAR, folder / SEEN]
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in files if path.is_file()}


def _scorer(folder: Path, facts: Mapping[str, Any], device: str) -> Scorer:
    backbone = facts["backbone"]
    if backbone["name"] == "hand":
        from anyscene.moderation.linear import HandScorer

        return HandScorer.load(folder, facts)
    try:
        place = pick_device(device)
    except ImportError:
        raise MissingExtraError("A detector", "moderation") from None
    if backbone["name"].startswith("frozen:"):
        from anyscene.moderation.linear import FrozenScorer

        return FrozenScorer.load(folder, facts, place)
    return NetworkScorer.load(folder, facts, place)


@dataclass(frozen=True)
class NetworkScorer:
    """A network.

    Attributes:
        network: `backbones.Network`.
    """

    network: Any

    def logits(self, pictures: Sequence[Shown], batch: int) -> Floats:
        return np.asarray(self.network.logits([one.image for one in pictures], batch), dtype=np.float64)

    def save(self, folder: Path) -> None:
        self.network.save(folder)

    @classmethod
    def load(cls, folder: Path, facts: Mapping[str, Any], device: str) -> NetworkScorer:
        from anyscene.moderation.backbones import Network

        network = Network.load(folder, facts["backbone"], facts["preprocessing"])
        network.module.to(device)
        return cls(network)
