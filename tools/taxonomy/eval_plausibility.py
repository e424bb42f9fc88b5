"""Measure the plausibility scores on hand-written pairs: the area under the ROC curve by kind, for vectors, class rules and both.

    PYTHONPATH=src python tools/taxonomy/eval_plausibility.py [--vectors FILE] [--mistakes N]

"Both" is the score, less 3 where the class rules forbid the pair. The intervals are 95 % percentile intervals of 1,000 bootstrap draws of
the pairs.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyscene.taxonomy.plausibility import Plausibility

Row = Mapping[str, str]
ROOT = Path(__file__).parents[2]
DATA = ROOT / "src/anyscene/taxonomy/data"
PAIRS = ROOT / "tests/taxonomy/plausibility_pairs.tsv"
FORBIDDEN = 3.0


def read_rows(path: Path) -> list[Row]:
    """The rows of a TSV file (no quoting) by column name."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


class Vocabulary:
    """The TSV files of a taxonomy as far as plausibility needs them: positions by name, and the class rules."""

    def __init__(self, folder: Path) -> None:
        self.objects = read_rows(folder / "objects.tsv")
        self.attributes = read_rows(folder / "attributes.tsv")
        self.relations = read_rows(folder / "relations.tsv")
        self.scene_attributes = read_rows(folder / "scene_attributes.tsv")
        parents = {row["class"]: row["parent"] for row in read_rows(folder / "classes.tsv")}
        self.classes = sorted({row["class"] for row in self.objects})
        self._above = [_above(name, parents) for name in self.classes]
        self.object_class = np.array([self.classes.index(row["class"]) for row in self.objects])
        self.visible = np.array([float(row["visuality"] or 1) >= 0.5 for row in self.objects])
        self.is_location = np.array([row["type"] == "location" for row in self.scene_attributes])
        self.position = {
            "object": {row["name"]: i for i, row in enumerate(self.objects)},
            "attribute": {row["value"]: i for i, row in enumerate(self.attributes)},
            "relation": {row["relation"]: i for i, row in enumerate(self.relations)},
            "location": {row["value"]: i for i, row in enumerate(self.scene_attributes) if row["type"] == "location"},
        }

    def allowed(self, rules: list[Row], column: str) -> NDArray[np.bool_]:
        """(rules, classes): does the rule in ``column`` of each row allow an object of each class?"""
        table = np.zeros((len(rules), len(self.classes)), bool)
        for i, row in enumerate(rules):
            wanted = set((row[column] or "any").split(","))
            table[i] = [("any" in wanted) or bool(wanted & above) for above in self._above]
        return table

    def allows(self, kind: str, a: NDArray[np.int64], b: NDArray[np.int64], c: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which pairs the class rules allow: ``b`` is an attribute, relation or location, ``a`` its object or subject, ``c`` the relation's
        object.
        """
        if kind == "attribute":
            return self.allowed(self.attributes, "fits")[b, self.object_class[a]]
        if kind == "relation":
            subjects, objects = (self.allowed(self.relations, f"{role}_classes") for role in ("subject", "object"))
            return subjects[b, self.object_class[a]] & objects[b, self.object_class[c]]
        return np.ones(len(a), bool)


def _above(name: str, parents: Mapping[str, str]) -> set[str]:
    found: set[str] = set()
    while name:
        found.add(name)
        name = parents.get(name, "")
    return found


@dataclass(frozen=True, slots=True)
class Pairs:
    """The evaluation pairs of one kind whose words are all in the vocabulary, as positions; `words` for display."""

    plausible: NDArray[np.bool_]
    a: NDArray[np.int64]
    b: NDArray[np.int64]
    c: NDArray[np.int64]
    words: list[str]
    num_unknown: int


def read_pairs(path: Path, kind: str, vocabulary: Vocabulary) -> Pairs:
    """The pairs of ``kind``; those with a word that the vocabulary lacks, or that has no vector, are left out and counted."""
    rows = [row for row in read_rows(path) if row["kind"] == kind]
    places = vocabulary.position
    found = []
    for row in rows:
        a, b = places["object"].get(row["a"], -1), places[kind].get(row["b"], -1)
        c = places["object"].get(row["c"], -1) if kind == "relation" else 0
        if min(a, b, c) >= 0 and vocabulary.visible[a] and (kind != "relation" or vocabulary.visible[c]):
            found.append((int(row["label"]), a, b, c, " ".join((row["a"], row["b"], row["c"])).strip()))
    labels, a_rows, b_rows, c_rows, words = zip(*found, strict=True)
    columns = (np.array(column, np.int64) for column in (a_rows, b_rows, c_rows))
    return Pairs(np.array(labels, bool), *columns, list(words), len(rows) - len(found))


def score(plausibility: Plausibility, kind: str, pairs: Pairs) -> NDArray[np.float32]:
    """The scores of the pairs."""
    if kind == "attribute":
        return plausibility.attribute_scores(pairs.a, pairs.b)
    if kind == "location":
        return plausibility.location_scores(pairs.a, pairs.b)
    return plausibility.relation_scores(pairs.a, pairs.b, pairs.c)


def area(scores: NDArray[Any], plausible: NDArray[np.bool_]) -> float:
    """Area under the ROC curve: how often a plausible pair scores above an implausible one, ties counted half."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    yes, no = int(plausible.sum()), int((~plausible).sum())
    return float((ranks[plausible].sum() - yes * (yes + 1) / 2) / (yes * no))


def interval(scores: NDArray[Any], plausible: NDArray[np.bool_], draws: int = 1000) -> tuple[float, float]:
    """95 % bootstrap interval of the area; plausible and implausible pairs are drawn apart."""
    generator = np.random.default_rng(0)
    yes, no = np.flatnonzero(plausible), np.flatnonzero(~plausible)
    areas = []
    for _ in range(draws):
        drawn = np.concatenate([generator.choice(group, len(group)) for group in (yes, no)])
        areas.append(area(scores[drawn], plausible[drawn]))
    low, high = np.percentile(areas, [2.5, 97.5])
    return float(low), float(high)


def main() -> None:
    """Print one line per kind and scorer, then the worst mistakes if asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the taxonomy")
    parser.add_argument("--vectors", type=Path, help="default: vectors.npz in that folder")
    parser.add_argument("--pairs", type=Path, default=PAIRS)
    parser.add_argument("--mistakes", type=int, default=0, help="also show this many of the worst-ranked pairs of either label")
    arguments = parser.parse_args()
    vocabulary = Vocabulary(arguments.data)
    with np.load(arguments.vectors or arguments.data / "vectors.npz") as vectors:
        plausibility = Plausibility(dict(vectors))
    print("kind        plausible implausible unknown  allowed+ allowed-   vectors             rules               both")
    for kind in ("attribute", "relation", "location"):
        pairs = read_pairs(arguments.pairs, kind, vocabulary)
        scores, yes = score(plausibility, kind, pairs), pairs.plausible
        allowed = vocabulary.allows(kind, pairs.a, pairs.b, pairs.c)
        both = scores - FORBIDDEN * ~allowed
        columns = "  ".join(_cell(values, yes) for values in (scores, allowed.astype(np.float32), both))
        counts = f"{yes.sum():9} {(~yes).sum():11} {pairs.num_unknown:7}  {allowed[yes].mean():8.3f} {allowed[~yes].mean():8.3f}"
        print(f"{kind:11} {counts}   {columns}")
        for label, order in (("plausible", np.argsort(both)), ("implausible", np.argsort(-both))):
            for i in [i for i in order if yes[i] == (label == "plausible")][: arguments.mistakes]:
                print(f"    {label:11} {both[i]:6.2f} {'' if allowed[i] else 'forbidden '}{pairs.words[i]}")


def _cell(scores: NDArray[Any], plausible: NDArray[np.bool_]) -> str:
    low, high = interval(scores, plausible)
    return f"{area(scores, plausible):.3f} ({low:.3f}-{high:.3f})"


if __name__ == "__main__":
    main()
