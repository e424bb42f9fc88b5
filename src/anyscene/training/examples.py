"""What supervised learning learns from: captions with pictures or clips, on the disk, in batches of one size.

Pictures of several shapes are not squeezed into one: each goes into the bucket of the shape nearest to its own, is scaled until it covers
it and cut around its centre. Which examples are learnt from at an update is a pure function of the seed and the update's number.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from anyscene.errors import MediaError, RecordError, RunError, SpecError
from anyscene.media import Media

__all__ = ["Batch", "Batches", "Example", "Grid", "Size", "buckets", "fit", "read_examples", "read_size", "write_examples"]

SIDE_STEPS = 16
"""Buckets' sides go in steps of about this part of a square's, so that there are tens of shapes and not thousands."""
WIDEST = 2.0
"""Of a bucket, longer side to shorter."""


class Size(NamedTuple):
    """Of a picture or clip.

    Attributes:
        height: in pixels.
        width: in pixels.
        frames: 1 for a picture.
    """

    height: int
    width: int
    frames: int = 1


class Grid(NamedTuple):
    """Sizes that a pipeline takes.

    Attributes:
        pixels: heights and widths are multiples of this.
        frames: frame counts are 1 more than multiples of this.
    """

    pixels: int
    frames: int = 1

    def check(self, size: Size, who: str) -> None:
        """Is this size on the grid?

        Raises:
            SpecError: no.
        """
        if min(size) < 1 or size.height % self.pixels or size.width % self.pixels:
            raise SpecError(f"{who} with {size.height} x {size.width} pixels: height and width must be multiples of {self.pixels}")
        if (size.frames - 1) % self.frames:
            near = self.frames_within(size.frames)
            raise SpecError(f"{who} with {size.frames} frames: it takes 1 more than a multiple of {self.frames}, such as {near}")

    def frames_within(self, most: int) -> int:
        """The largest frame count up to this."""
        return max(1, (most - 1) // self.frames * self.frames + 1)


@dataclass(frozen=True, slots=True)
class Example:
    """A caption with a picture or clip to learn from.

    Attributes:
        scene: id of the scene it shows.
        caption: what it shows, in words.
        path: of the file.
        weight: of its loss.
        rejected: another picture of the same caption that is worse, for learning by preference.
    """

    scene: str
    caption: str
    path: Path
    weight: float = 1.0
    rejected: Path | None = None


# ---- files ----------------------------------------------------------------------------------------------------------------------


def write_examples(path: Path, examples: Iterable[Example]) -> None:
    """Writes examples as JSON lines; their files stay where they are and are named from the folder of this one, with their SHA-256.

    Raises:
        RecordError: a file of an example is missing.
        RunError: the file cannot be written.
    """
    lines = []
    for one in examples:
        line: dict[str, Any] = {"scene": one.scene, "caption": one.caption, **_named(one.path, path), "weight": one.weight}
        if one.rejected is not None:
            line["rejected"] = _named(one.rejected, path)
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    unfinished = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text("".join(lines), "utf-8")
        unfinished.replace(path)
    except OSError as error:
        raise RunError(f"{path}: the examples cannot be written ({error.strerror or error})") from None


def _named(file: Path, beside: Path) -> dict[str, str]:
    return {"file": Path(os.path.relpath(file.absolute(), beside.parent.absolute())).as_posix(), "sha256": _digest(file)}


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise RecordError(f"{file}: the picture of an example cannot be read ({error.strerror or error})") from None


def read_examples(path: Path, verify: bool = True) -> list[Example]:
    """Reads what `write_examples` wrote.

    Args:
        path: the file.
        verify: the files of the examples are there and have the bytes that they had.

    Raises:
        RecordError: a line is damaged, or a file is missing or another.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{path}: the examples cannot be read ({getattr(error, 'strerror', None) or error})") from None
    return [_read_line(line, path, number, verify) for number, line in enumerate(lines, 1)]


def _read_line(line: str, path: Path, number: int, verify: bool) -> Example:
    try:
        read = json.loads(line)
        rejected = read.get("rejected")
        example = Example(
            str(read["scene"]),
            str(read["caption"]),
            path.parent / read["file"],
            float(read["weight"]),
            None if rejected is None else path.parent / rejected["file"],
        )
        digests = [(example.path, read["sha256"])] + ([] if rejected is None else [(path.parent / rejected["file"], rejected["sha256"])])
        if not (math.isfinite(example.weight) and example.weight >= 0):
            raise ValueError(f"weight {example.weight}")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RecordError(f"{path}, line {number}: no example ({type(error).__name__}: {error})") from None
    for file, digest in digests if verify else ():
        if _digest(file) != digest:
            raise RecordError(f"{path}, line {number}: {file} is another file than it was when the examples were written")
    return example


# ---- sizes ----------------------------------------------------------------------------------------------------------------------


def read_size(path: Path, modality: str = "image") -> Size:
    """Size of a picture or clip, from the head of its file.

    Raises:
        MediaError: it is missing or no picture.
    """
    try:
        with Image.open(path) as opened:
            return Size(opened.height, opened.width, 1 if modality == "image" else int(getattr(opened, "n_frames", 1)))
    except FileNotFoundError:
        raise MediaError(f"{path}: no such file") from None
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError) as error:
        raise MediaError(f"{path}: cannot be read as a picture ({error})") from None


def buckets(sizes: Sequence[Size], target: Size, grid: Grid) -> list[Size]:
    """For each size, that of the bucket it goes into: nearest in shape, about as large as the target, on the grid.

    Args:
        sizes: of pictures or clips.
        target: the model's own size, itself a bucket; clips get at most its frames.
        grid: that of the pipeline.

    Raises:
        SpecError: the target is not on the grid.
    """
    grid.check(target, "fine-tuning")
    shapes = _shapes(target, grid)
    found = {}
    for size in sorted(set(sizes)):
        aspect = math.log(size.width / size.height)
        height, width = min(shapes, key=lambda shape: (abs(math.log(shape[1] / shape[0]) - aspect), -shape[0] * shape[1], shape))
        found[size] = Size(height, width, grid.frames_within(min(size.frames, target.frames)))
    return [found[size] for size in sizes]


def _shapes(target: Size, grid: Grid) -> list[tuple[int, int]]:
    """Heights and widths on the grid: the target's, and for each other height the widest that is no larger in area."""
    area = target.height * target.width
    step = grid.pixels * max(1, round(math.sqrt(area) / SIDE_STEPS / grid.pixels))
    found = {(target.height, target.width)}
    for height in range(step, target.height * target.width // step + 1, step):
        width = area // height // step * step
        if width and max(height / width, width / height) <= WIDEST:
            found |= {(height, width), (width, height)}
    return sorted(found)


def fit(media: Media, size: Size) -> tuple[Image.Image, ...]:
    """Frames of this size: scaled until they cover it, without distortion, and cut around the centre; the first frames of a clip.

    Raises:
        MediaError: it has fewer frames.
    """
    frames = media.frames[: size.frames]
    if len(frames) < size.frames:
        raise MediaError(f"a clip of {len(frames)} frames where {size.frames} are learnt from")
    wanted = (size.width, size.height)
    return tuple(one if one.size == wanted else _covering(one, size.width, size.height) for one in frames)


def _covering(picture: Image.Image, width: int, height: int) -> Image.Image:
    part_width = min(picture.width, picture.height * width / height)
    part_height = min(picture.height, picture.width * height / width)
    left, top = (picture.width - part_width) / 2, (picture.height - part_height) / 2
    return picture.resize((width, height), Image.Resampling.LANCZOS, box=(left, top, left + part_width, top + part_height))


# ---- batches --------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples that are learnt from at one update.

    Attributes:
        examples: all of them, of all processes.
        size: to which `fit` brings their pictures.
    """

    examples: tuple[Example, ...]
    size: Size


class Batches:
    """The order in which examples are learnt from. Within its bucket, every example comes once before any comes again.

    Each update takes from one bucket, each bucket in proportion to its examples.

    Args:
        examples: in an order that is always the same.
        sizes: of their buckets, from `buckets`.
        count: examples in a batch.
        seed: of the order.

    Raises:
        SpecError: there are no examples.
    """

    def __init__(self, examples: Sequence[Example], sizes: Sequence[Size], count: int, seed: int) -> None:
        if not examples:
            raise SpecError("there are no examples to learn from")
        self._examples, self._count, self._seed = tuple(examples), count, seed
        self._members: dict[Size, list[int]] = {}
        for place, (_, size) in enumerate(zip(examples, sizes, strict=True)):
            self._members.setdefault(size, []).append(place)
        self._taken: list[tuple[Size, int]] = []
        self._counts = dict.fromkeys(self._members, 0)
        self._orders: dict[tuple[Size, int], Any] = {}

    def at(self, update: int) -> Batch:
        """The batch of an update; the first is 0. The same whatever was asked for before."""
        while len(self._taken) <= update:
            wanted = {size: len(places) / len(self._examples) * (len(self._taken) + 1) for size, places in self._members.items()}
            size = max(sorted(wanted), key=lambda one: wanted[one] - self._counts[one])
            self._taken.append((size, self._counts[size]))
            self._counts[size] += 1
        size, number = self._taken[update]
        first = number * self._count
        return Batch(tuple(self._examples[self._place(size, at)] for at in range(first, first + self._count)), size)

    def _place(self, size: Size, at: int) -> int:
        members = self._members[size]
        epoch, within = divmod(at, len(members))
        if (size, epoch) not in self._orders:
            if len(self._orders) > 2 * len(self._members):
                self._orders.clear()
            self._orders[size, epoch] = self._order(size, epoch)
        return members[int(self._orders[size, epoch][within])]

    def _order(self, size: Size, epoch: int) -> Any:
        digest = hashlib.sha256(f"{self._seed}/examples/{tuple(size)}/{epoch}".encode()).digest()
        return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big"))).permutation(len(self._members[size]))
