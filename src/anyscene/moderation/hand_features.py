"""Simple numbers about a picture's file, its past and its looks, by which a lazy detector could tell two sides apart.

Three kinds. **File**: what a file says of itself. **Past**: what encoders and scaling left in the pixels. **Looks**: what a picture shows;
there generators may truly differ from cameras.

References: Fan and de Queiroz, IEEE Transactions on Image Processing 12 (2003) (differences across the borders of blocks); Lukas and
Fridrich, DFRWS (2003), and Farid, IEEE TIFS 4 (2009) (coefficients that cluster at multiples of an earlier quantisation); Gallagher, CRV
(2005) (scaling leaves a period in the variance of second differences).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from anyscene.media import Media
from anyscene.moderation.encoding import Decoded, Head, decode, quality_tables
from anyscene.moderation.marks import Corners, corners_of
from anyscene.rewards.picture_statistics import picture_statistics

__all__ = ["FEATURES", "HAND_NAMES", "MARK", "QUALITIES", "Feature", "Value", "features_and_corners", "features_of", "hand_features"]

Floats = NDArray[np.float64]
Value = float | str
"""Numbers are compared by size, words by whether they are the same."""
QUALITIES = (50, 60, 70, 75, 80, 85, 90, 95)
"""Of earlier encodings that are looked for, with the usual tables."""
MOST = 1024
"""Side of the part of a picture whose pixels are looked at."""
FLAT, EDGE = 4.0, 16.0
"""Grey levels: a row of a border departs less from its colour, most pixels of the row behind it depart more."""
NOTHING = 2.0
"""Standard errors that are no evidence of an earlier encoding: small pictures in which few things are drawn reach as much."""
ROWS, COLUMNS = (0, 1, 1, 0, 2, 1, 2, 2, 0, 3), (1, 0, 1, 2, 0, 2, 1, 2, 3, 0)
"""Of the frequencies whose coefficients are looked at: below, quantisation is fine; above, hardly any differ from 0."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One of the numbers.

    Attributes:
        kind: ``file``, ``past`` or ``looks``.
        words: what it is, as a noun.
        cure: what would make both sides alike.
    """

    kind: str
    words: str
    cure: str


_REBUILD = "build the data set with anyscene moderate build: both sides are written anew"
_ENCODE = "give both sides one encoding: --encoding real, or the same --encoding jpeg:QUALITY"
_PAST = (
    "generated pictures need one encoding with the photographs' own tables before anything else, which anyscene moderate build gives them; "
    "where that was done, the sides differ so much in detail that one encoder leaves different traces: "
    "build with --scale 1.2-2 --encoding png"
)
_SCALE = "cut, do not scale, or scale both sides by the same factors (--scale)"
_LOOKS = "none is needed if generators truly differ so; else match captions and scenes better, and test detectors on degraded pictures"

_MARKS = "cut the corners off both sides, or have the model leave its mark out; else a detector learns to read it"

FEATURES: dict[str, Feature] = {
    "format": Feature("file", "file format", _ENCODE),
    "encoding": Feature("file", "quantisation tables", _ENCODE),
    "quantisation": Feature("file", "mean quantisation step of luma (JPEG quality)", _ENCODE),
    "subsampling": Feature("file", "chroma subsampling", _ENCODE),
    "progressive": Feature("file", "progressive or interlaced encoding", _REBUILD),
    "mode": Feature("file", "colour mode", _REBUILD),
    "depth": Feature("file", "bits for each colour, or a palette", _REBUILD),
    "metadata": Feature("file", "metadata (EXIF, comments, text, resolution)", _REBUILD),
    "profile": Feature("file", "colour profile", _REBUILD),
    "size": Feature("file", "picture size", "cut both sides to one size: build with real and generated pictures paired"),
    "width": Feature("file", "width", "cut both sides to one size: build with real and generated pictures paired"),
    "height": Feature("file", "height", "cut both sides to one size: build with real and generated pictures paired"),
    "aspect": Feature("file", "aspect ratio", "cut both sides to one size: build with real and generated pictures paired"),
    "border": Feature("file", "border or letterbox", "cut the borders off the pictures before they are built in"),
    "blocks_x": Feature("past", "grid of 8-pixel blocks, across", _PAST),
    "blocks_y": Feature("past", "grid of 8-pixel blocks, down", _PAST),
    "shifted_blocks": Feature("past", "grid of 8-pixel blocks away from the corner (encoded, then cut)", _PAST),
    "requantised": Feature("past", "gaps in the coefficients (encoded twice)", _PAST),
    **{f"quality_{quality}": Feature("past", f"an earlier JPEG of quality {quality} or so", _PAST) for quality in QUALITIES},
    "resampled": Feature("past", "a period in the second differences (scaled)", _SCALE),
    **{name: Feature("looks", f"mean {name}", _LOOKS) for name in ("red", "green", "blue", "brightness", "saturation")},
    **{name: Feature("looks", name, _LOOKS) for name in ("contrast", "entropy", "sharpness", "noise")},
    "detail_low": Feature("looks", "detail of 4 to 8 pixels", _LOOKS),
    "detail_middle": Feature("looks", "detail of 3 to 4 pixels", _LOOKS),
    "detail_high": Feature("looks", "detail of 2 to 3 pixels", _LOOKS),
    "tones": Feature("looks", "gaps and spikes in the histogram (levels stretched, reduced or painted flat)", _LOOKS),
    "colour_detail": Feature("looks", "fine detail of colours against that of brightness (chroma was subsampled)", _LOOKS),
    "bytes_per_pixel": Feature("looks", "bytes of the file for each pixel", _LOOKS),
}
"""By name, in the order in which they are told."""
MARK = Feature("looks", "something at one place in the corners (a watermark, a logo, a date, a grid)", _MARKS)
"""What no number of one picture shows: see `marks`."""
_WORDS = ("encoding", "size")
_PLAIN = {
    "format": "PNG",
    "subsampling": "-1",
    "progressive": "False",
    "mode": "colour",
    "depth": "8",
    "metadata": "none",
    "profile": "False",
}
"""Of the features that are words, those with a plainest case."""
HAND_NAMES = (*(name for name in FEATURES if name not in _WORDS and name not in _PLAIN), *_PLAIN)
"""Of the numbers of `hand_features`."""


def features_of(data: bytes, name: str = "the picture") -> dict[str, Value]:
    """All features of a picture's file, by name; those of its pixels are of at most 1024 x 1024 of them, from the middle.

    Raises:
        MediaError: it cannot be read.
    """
    return _features(decode(data, name), data)[0]


def features_and_corners(data: bytes, name: str = "the picture") -> tuple[dict[str, Value], Corners]:
    """All features of a picture's file, and what `marks` looks at.

    Raises:
        MediaError: it cannot be read.
    """
    return _features(decode(data, name), data)


def _features(decoded: Decoded, data: bytes) -> tuple[dict[str, Value], Corners]:
    head, image = decoded.head, decoded.image
    statistics = picture_statistics(Media((image.convert("RGB"),), data))
    middle = _middle(image)
    luma = _luma(middle)
    found = {**_of_file(head, image), **_of_past(luma, head), **_of_looks(middle, luma, statistics)}
    return found, corners_of(luma if middle.size == image.size else _luma(image))


def _luma(image: Image.Image) -> Floats:
    return np.asarray(image.convert("YCbCr").getchannel(0) if image.mode == "RGB" else image, dtype=np.float64)


def hand_features(data: bytes, name: str = "the picture") -> Floats:
    """``(features,)`` the same as numbers, always equally many: a word is 1 where it is the one that differs from the plainest case.

    Raises:
        MediaError: it cannot be read.
    """
    found = features_of(data, name)
    return np.array([float(found[key] != _PLAIN[key]) if key in _PLAIN else float(found[key]) for key in HAND_NAMES])


# ---- file -----------------------------------------------------------------------------------------------------------------------


def _of_file(head: Head, image: Image.Image) -> dict[str, Value]:
    encoding, traces = head.encoding, set(head.traces)
    metadata = sorted(traces & {"exif", "comment", "text", "resolution"})
    return {
        "format": head.format,
        "encoding": encoding.digest,
        "quantisation": float(np.mean(encoding.tables[0])) if encoding.tables else 0.0,
        "subsampling": str(encoding.subsampling),
        "progressive": str("progressive" in traces),
        "mode": ("grey" if head.grey else "colour") + (" transparent" if "transparent" in traces else ""),
        "depth": head.depth,
        "metadata": "+".join(metadata) or "none",
        "profile": str("icc" in traces),
        "size": f"{head.width}x{head.height}",
        "width": float(head.width),
        "height": float(head.height),
        "aspect": float(np.log(head.width / head.height)),
        "border": _border(np.asarray(image.convert("L"), dtype=np.float64)),
    }


def _border(grey: Floats) -> float:
    """Largest share of a side that is a border of one colour with a straight inner edge."""
    return max(float(_rows_of_border(np.rot90(grey, turn)) / grey.shape[turn % 2]) for turn in range(4))


def _rows_of_border(grey: Floats) -> int:
    colour = float(np.median(grey[0]))
    away = np.abs(grey - colour)
    flat = away.mean(axis=1) < FLAT
    rows = int(np.argmin(flat)) if not flat.all() else 0
    return rows if rows and float((away[rows : rows + 2].max(axis=0) > EDGE).mean()) >= 0.5 else 0


# ---- past -----------------------------------------------------------------------------------------------------------------------


def _of_past(luma: Floats, head: Head) -> dict[str, Value]:
    """Each is 0 on average where there is no such past, whatever the picture shows: it is held against the picture itself, shifted."""
    own = np.array(head.encoding.tables[0], dtype=np.float64).reshape(8, 8) if head.encoding.tables else np.ones((8, 8))
    across, down = _grid(luma), _grid(luma.T)
    found: dict[str, Value] = {
        "blocks_x": float(across[0]),
        "blocks_y": float(down[0]),
        "shifted_blocks": max(0.0, float(max(across[1:].max(), down[1:].max())) - NOTHING),
    }
    steps = own[ROWS, COLUMNS]
    elsewhere = np.rint(_coefficients(luma[4:, 4:]) / steps) * steps  # as if it had been encoded there, once
    corners = [_coefficients(part) for part in _corners(luma)]
    found["requantised"] = float(np.mean([_roughness(one, steps) for one in corners])) - _roughness(elsewhere, steps)
    evidence = _evidence(np.mean([_combs(one, steps) for one in corners], axis=0), _combs(elsewhere, steps))
    found |= {f"quality_{quality}": float(one) for quality, one in zip(QUALITIES, evidence, strict=True)}
    found["resampled"] = max(_period(luma), _period(luma.T))
    return found


def _corners(luma: Floats) -> list[Floats]:
    """As many whole blocks as the picture has when it is shifted by half a block, from each of its corners."""
    high, wide = ((side - 4) // 8 * 8 for side in luma.shape)
    top, left = (side // 8 * 8 - kept for side, kept in zip(luma.shape, (high, wide), strict=True))
    return [luma[y : y + high, x : x + wide] for y in sorted({0, top}) for x in sorted({0, left})]


def _grid(luma: Floats) -> Floats:
    """``(8,)`` how much more neighbours differ across every eighth border of columns than across those beside it, in standard errors.

    The first is the grid of blocks that begins in the corner.
    """
    change = np.log(np.abs(np.diff(luma, axis=1)).mean(axis=0) + 0.5)
    if len(change) < 2 * 8:
        return np.zeros(8)
    more = change[1:-1] - (change[:-2] + change[2:]) / 2
    place = (np.arange(len(more)) + 2) % 8
    number = np.bincount(place, minlength=8)
    spread = float(more.std()) + 1e-3
    return np.bincount(place, more, minlength=8) / np.sqrt(number) / spread


def _coefficients(luma: Floats) -> Floats:
    """``(blocks, frequencies)`` cosine transform of whole blocks, as JPEG has it; of the frequencies that are looked at."""
    height, width = (side // 8 * 8 for side in luma.shape)
    blocks = luma[:height, :width].reshape(height // 8, 8, width // 8, 8).swapaxes(1, 2).reshape(-1, 8, 8) - 128
    return np.asarray((_cosines() @ blocks @ _cosines().T)[:, ROWS, COLUMNS], dtype=np.float64)


@cache
def _cosines() -> Floats:
    place, frequency = np.arange(8)[None, :], np.arange(8)[:, None]
    found = np.cos((2 * place + 1) * frequency * np.pi / 16) / 2
    found[0] /= np.sqrt(2)
    return np.asarray(found, dtype=np.float64)


@cache
def _steps() -> Floats:
    """``(qualities, frequencies)`` of the usual tables."""
    tables = [np.array(quality_tables(quality).tables[0], dtype=np.float64).reshape(8, 8) for quality in QUALITIES]
    return np.array([table[ROWS, COLUMNS] for table in tables])


def _combs(coefficients: Floats, own: Floats) -> Floats:
    """``(2, qualities)`` how closely coefficients cluster at multiples of steps, 1 exactly and around 0 not at all; and how many say so.

    Those that round to 0 say nothing; nor do frequencies whose steps are hardly above the file's own: whatever an earlier encoding left
    between those is gone.
    """
    found = np.zeros((2, len(QUALITIES)))
    for place, steps in enumerate(_steps()):
        kept = steps >= 1.5 * own
        turns = coefficients[:, kept] / steps[kept]
        turns = turns[np.abs(turns) > 0.5]
        found[:, place] = (np.cos(2 * np.pi * turns).mean() if len(turns) else 0.0), len(turns)
    return found


def _evidence(there: Floats, elsewhere: Floats) -> Floats:
    """``(qualities,)`` by how many standard errors coefficients cluster more than elsewhere; only what is beyond ``NOTHING`` counts."""
    error = np.sqrt(0.5 / np.maximum(there[1], 1e-9) + 0.5 / np.maximum(elsewhere[1], 1e-9))
    return np.where((there[1] > 0) & (elsewhere[1] > 0), np.maximum(0.0, (there[0] - elsewhere[0]) / error - NOTHING), 0.0)


def _roughness(coefficients: Floats, own: Floats) -> float:
    """How jagged the histogram of coefficients is, in units of the file's own steps."""
    values = np.minimum(np.abs(np.rint(coefficients / own)), 24).astype(np.int64)
    counts = np.bincount((values + 25 * np.arange(len(ROWS))).ravel(), minlength=25 * len(ROWS)).reshape(-1, 25)[:, 1:24]
    return float(np.abs(np.diff(counts, 2, axis=1)).sum() / (counts.sum() + 8))


def _period(luma: Floats) -> float:
    """The strongest period of how much second differences vary along rows, against others like it; those of 8, 4 and 2 are left out."""
    if luma.shape[1] < 64:
        return 0.0
    varies = np.log(np.abs(np.diff(luma, 2, axis=1)).mean(axis=0) + 0.5)
    varies = varies[: len(varies) // 8 * 8]
    spectrum = np.abs(np.fft.rfft((varies - varies.mean()) * np.hanning(len(varies))))
    place = np.arange(len(spectrum)) * 8 / len(varies)
    keep = np.flatnonzero((np.abs(place - np.rint(place)) * len(varies) / 8 > 2.5) & (place > 0.5))
    around = [np.median(spectrum[max(0, one - 8) : one + 9]) for one in keep]
    return float(np.log(max(1.0, np.max(spectrum[keep] / (np.array(around) + 1e-9))))) if len(keep) else 0.0


# ---- looks ----------------------------------------------------------------------------------------------------------------------


def _of_looks(image: Image.Image, luma: Floats, statistics: Mapping[str, float]) -> dict[str, Value]:
    colours = np.asarray(image.convert("RGB"), dtype=np.float64).mean(axis=(0, 1)) / 255
    low, middle, high = _bands(luma)
    colour = np.asarray(image.convert("YCbCr"), dtype=np.float64)[..., 1:] if image.mode == "RGB" else np.zeros((*luma.shape, 2))
    second = luma[:, 1:-1] * 2 - luma[:, :-2] - luma[:, 2:] if luma.shape[1] > 2 else np.zeros(1)
    return {
        "red": float(colours[0]),
        "green": float(colours[1]),
        "blue": float(colours[2]),
        "brightness": statistics["brightness"],
        "saturation": statistics["saturation"],
        "contrast": statistics["contrast"],
        "entropy": statistics["entropy"],
        "sharpness": statistics["sharpness"],
        "noise": float(np.log(np.median(np.abs(second)) + 0.5)),
        "detail_low": low,
        "detail_middle": middle,
        "detail_high": high,
        "tones": _tones(image),
        "colour_detail": float(np.log(_fine(colour[..., 0]) + _fine(colour[..., 1]) + 0.1) - np.log(_fine(luma) + 0.1)),
        "bytes_per_pixel": statistics["file_size"],
    }


def _tones(image: Image.Image) -> float:
    """How much the number of pixels of each level departs from the mean of the levels beside it; of the channel that does so most."""
    found = []
    for channel in image.split():
        counts = np.array(channel.histogram(), dtype=np.float64)
        share = np.cumsum(counts) / counts.sum()
        used = counts[int(np.argmax(share > 0.01)) : int(np.argmax(share >= 0.99)) + 1]
        if len(used) < 3:
            return 5.0  # hardly any levels at all
        found.append(float(np.abs(np.log((used[1:-1] + 1) / ((used[:-2] + used[2:]) / 2 + 1))).mean()))
    return max(found)


def _fine(values: Floats) -> float:
    """Mean second difference along rows."""
    return float(np.abs(np.diff(values, 2, axis=1)).mean()) if values.shape[1] > 2 else 0.0


def _bands(luma: Floats) -> tuple[float, float, float]:
    """Logarithm of the energy in three bands of frequency, against all but the mean."""
    window = np.outer(np.hanning(luma.shape[0] + 2)[1:-1], np.hanning(luma.shape[1] + 2)[1:-1])
    power = np.abs(np.fft.rfft2((luma - luma.mean()) * window)) ** 2
    frequency = np.hypot(np.fft.fftfreq(luma.shape[0])[:, None], np.fft.rfftfreq(luma.shape[1])[None, :])
    total = power.sum() + 1.0
    edges = ((0.125, 0.25), (0.25, 0.34), (0.34, 0.71))
    low, middle, high = (float(np.log(power[(frequency >= one) & (frequency < other)].sum() / total + 1e-9)) for one, other in edges)
    return low, middle, high


def _middle(image: Image.Image) -> Image.Image:
    """The part whose pixels are looked at; it begins at a corner of blocks."""
    corner = [max(0, side - MOST) // 2 // 16 * 16 for side in image.size]
    return image.crop((corner[0], corner[1], min(image.width, corner[0] + MOST), min(image.height, corner[1] + MOST)))
