"""Build ``objects.tsv``, ``hypernyms.tsv`` and ``classes.tsv`` of the shipped taxonomy from the fetched sources and the reviewed lists.

    python tools/taxonomy/build_objects.py CACHE [--out src/anyscene/taxonomy/data]

The default vocabulary (visuality of at least 0.5) is what a person has accepted: the reviewed ids less the rejects, under their
reviewed names, and the supplement. Below it come all other noun senses under ``physical_entity`` whose name means chiefly them.
Every choice that is not a rule is in ``review/``; the result depends on nothing but the cache and that folder.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import classes
import number
import numpy as np
import scores
from safety import Safety, is_people_name, read_safety
from word_data import WordData, read_word_data
from wordnet import WordNet

from anyscene.taxonomy import regular_plural

HERE = Path(__file__).resolve().parent
REVIEW = HERE / "review"
OUT = HERE.parent.parent / "src" / "anyscene" / "taxonomy" / "data"
DROPPED_REASONS = ("offensive", "duplicate")
USABLE_LEXNAMES = frozenset(
    [
        "Tops",
        "animal",
        "artifact",
        "body",
        "communication",
        "event",
        "food",
        "group",
        "location",
        "object",
        "person",
        "phenomenon",
        "plant",
        "possession",
        "shape",
        "substance",
    ]
)
MASS_BRANCHES = {
    "fabric": "artifact",
    "beverage": "food",
    "substance": "substance",
    "foodstuff": "food",
    "meat": "food",
    "condiment": "food",
    "sweet": "food",
    "paint": "artifact",
    "paper": "substance",
    "cheese": "food",
    "bread": "food",
    "building_material": "substance",
    "grass": "plant",
    "coating": "artifact",
    "precipitation": "phenomenon",
    "thread": "artifact",
    "fuel": "substance",
    "soup": "food",
    "feed": "food",
    "animal_product": "substance",
    "mixture": "substance",
    "material": "substance",
    "lotion": "artifact",
    "cosmetic": "artifact",
    "moss": "plant",
    "drug": "artifact",
    "food": "food",
    "nutriment": "food",
    "body_substance": "body",
}
FAMILIAR = 0.48
"""Fitted familiarity that becomes 0.5: chosen by reading names around it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of ``objects.tsv``."""

    id: str
    name: str
    plural: str = ""
    number: str = "count"
    kind: str = "thing"
    parents: tuple[str, ...] = ()
    visuality: float = 1.0
    familiarity: float = 1.0


def read_table(pattern: str) -> Iterator[dict[str, str]]:
    """Rows of every review file that matches the pattern, in the order of the file names."""
    paths = sorted(REVIEW.glob(pattern))
    if not paths:
        raise FileNotFoundError(f"no {pattern} in {REVIEW}")
    for path in paths:
        with path.open(encoding="utf-8", newline="") as stream:
            yield from csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)


class Builder:
    """Holds the sources and what has been decided so far."""

    def __init__(self, cache: Path) -> None:
        self.wordnet = WordNet(cache / "wordnet")
        self.data: WordData = read_word_data(cache)
        latin = (
            lemma.removeprefix("genus_")
            for node in self.wordnet.synsets.values()
            if node.lexname in ("plant", "animal")
            for lemma in node.lemmas
        )
        genera = {lemma.lower() for lemma in latin if lemma[:1].isupper() and "_" not in lemma}
        irregular = {row["singular"]: row["plural"] for row in read_table("irregular_plurals.tsv")}
        heads = {row["head"]: row["rule"] for row in read_table("number_heads.tsv")}
        self.inflector = number.Inflector(self.data, frozenset(genera), irregular, heads)
        self.safety: Safety = read_safety(REVIEW, self.wordnet)
        self.rejects = {row["id"]: row["reason"] for row in read_table("objects_reject*.tsv")}
        self.renames = {row["id"]: row for row in read_table("objects_rename*.tsv")}
        self.numbers = {row["id"]: row for row in read_table("number_overrides*.tsv")}
        self.roots = {row["id"]: row["class"] for row in read_table("class_roots.tsv")}
        self.kinds = {row["id"]: row["class"] for row in read_table("class_overrides*.tsv")}
        self.mass = frozenset().union(*(self.wordnet.closure(self.wordnet.sense(*pair)) for pair in MASS_BRANCHES.items()))
        self.familiarity = {row["id"]: float(row["familiarity"]) for row in read_table("familiarity_overrides*.tsv")}
        self.taken: set[str] = set()

    def accepted(self) -> list[Entry]:
        """The reviewed WordNet senses under their reviewed names."""
        added = {row["id"]: row["display"] for row in read_table("objects_accept*.tsv")}
        reviewed = [s for s in (REVIEW / "reviewed_ids.txt").read_text().split() if s not in self.rejects and s not in self.safety.single]
        entries = []
        for synset in [*added, *(s for s in reviewed if s not in added)]:
            name = added.get(synset) or (self.renames.get(synset) or {}).get("display") or plain(self.wordnet.synsets[synset].lemmas[0])
            if self.safety.is_denied(name) or not self.take(name):
                print(f"left out of the accepted list: {synset} {name!r} (denied or taken)")
                continue
            entries.append(self.entry(synset, name))
        return entries

    def supplement(self) -> list[Entry]:
        """The reviewed nouns that WordNet lacks; in the reject and rename files they are called ``s:LEMMA``."""
        entries = []
        for row in read_table("objects_supplement*.tsv"):
            reviewed = "s:" + row["lemma"]
            key = re.sub(r"[^a-z0-9]+", "-", row["lemma"].lower()).strip("-")
            given = self.renames.get(reviewed) or row
            name = given.get("display") or row["lemma"]
            if reviewed in self.rejects:
                continue
            if self.safety.is_denied(name) or not self.take(name):
                print(f"left out of the supplement: {name!r} (denied or taken)")
                continue
            if row["parent_id"] not in self.wordnet.synsets:
                raise ValueError(f"supplement: {name!r} has the parent {row['parent_id']!r}, which is no noun synset")
            given = self.numbers.get(key) or given
            counted = given["number"]
            plural = given["plural"] or self.inflector.plural(name, self.wordnet.synsets[row["parent_id"]].lexname)
            plural = {"mass": "", "plural": name}.get(counted, plural)
            familiarity = self.familiarity.get(key) or self.supplement_familiarity(row)
            entries.append(Entry(key, name, plural, counted, self.supplement_class(key, row), (row["parent_id"],), 0.95, familiarity))
        return entries

    def supplement_class(self, key: str, row: Mapping[str, str]) -> str:
        """The class of a supplement row: reviewed, else as written; ``artifact`` was written loosely, so its parent may say more."""
        given = SUPPLEMENT_CLASSES.get(row["class"], row["class"])
        if given == "artifact":
            above = classes.class_of(row["parent_id"], self.wordnet, self.roots)
            given = above if above not in ("thing", "substance", "place", "natural_object") else given
        return self.kinds.get(key, given)

    def supplement_familiarity(self, row: Mapping[str, str]) -> float:
        """The reviewer's coarse value, a little higher when all words of the name are frequent, and lower when one is rare."""
        rarest: float = min(self.data.zipf(word) for word in re.split("[ -]", row["lemma"]))
        return round(min(0.98, max(0.02, float(row["familiarity"]) - SUPPLEMENT_SHIFT + 0.1 * (min(rarest, 5.0) - 4.0))), 2)

    def others(self, accepted: Iterable[Entry]) -> list[Entry]:
        """Every other usable sense, most dominant first, so that an ambiguous name goes to its chief sense."""
        done = {entry.id for entry in accepted}
        ranked = []
        for synset in self.wordnet.closure(self.wordnet.sense("physical_entity", "Tops")) - done:
            node = self.wordnet.synsets[synset]
            if self.rejects.get(synset) in DROPPED_REASONS or synset in self.safety.blocked or node.lexname not in USABLE_LEXNAMES:
                continue
            for at, lemma in enumerate(node.lemmas):
                latin = at > 0 and self.inflector.is_binomial(plain(lemma))
                if self.is_chiefly(lemma, synset) and not latin and not is_people_name(plain(lemma), node.lexname):
                    ranked.append((at > 0, -self.wordnet.dominance(lemma, synset), synset, plain(lemma)))
        entries = []
        for _, _, synset, name in sorted(ranked):
            if synset in done or self.safety.is_denied(name):
                continue
            entry = self.entry(synset, name)
            if not self.safety.is_denied(entry.plural) and self.take(name):
                done.add(synset)
                entries.append(entry)
        return entries

    def is_chiefly(self, lemma: str, synset: str) -> bool:
        """Whether the word means this sense more than its others."""
        if len(lemma) < 3 or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.'/-]*", lemma) or not self.wordnet.is_mainly_noun(lemma):
            return False
        share = self.wordnet.dominance(lemma, synset)
        first = self.wordnet.senses[lemma.lower()][0] == synset
        return share >= (0.4 if first else 0.6)

    def take(self, name: str) -> bool:
        """Reserve a name; False if another object has it."""
        key = name.lower()
        if key in self.taken:
            return False
        self.taken.add(key)
        return True

    def entry(self, synset: str, name: str) -> Entry:
        """The row of a WordNet sense, scores still missing."""
        node = self.wordnet.synsets[synset]
        kind = self.kinds.get(synset) or classes.class_of(synset, self.wordnet, self.roots)
        renamed = self.renames.get(synset) or {}
        given = self.numbers.get(synset) or (renamed if renamed.get("display") == name else {})
        counted = given.get("number") or self.inflector.number(name, node.lexname, synset in self.mass)
        plural = given.get("plural") or self.inflector.plural(name, node.lexname)
        plural = {"mass": "", "plural": name}.get(counted, plural)
        return Entry(synset, name, plural, counted, kind, node.hypernyms)

    def scored(self, entries: list[Entry], accepted: frozenset[str]) -> list[Entry]:
        """The WordNet rows with their two scores."""
        labels = {row["id"]: int(row["label"]) for row in read_table("visuality_labels*.tsv")}
        reviewed = dict.fromkeys(accepted, 1) | {
            s: 0 for s, reason in self.rejects.items() if reason in ("unpicturable", "too_generic") and s in self.wordnet.synsets
        }
        maker = scores.FeatureMaker(self.wordnet, self.data)
        order = sorted({entry.id for entry in entries} | set(labels) | set(reviewed))
        features = maker.matrix(order)
        features = (features - features.mean(0)) / (features.std(0) + 1e-6)
        shown = [labels.get(s, reviewed.get(s, -1)) for s in order]
        weights = np.array([0.0 if s < 0 else 4.0 if order[i] in labels else 0.2 for i, s in enumerate(shown)])
        visuality = scores.predict(features, scores.fit_logistic(features, np.minimum(shown, 1).clip(0), weights, 20.0))
        known = [i for i, s in enumerate(order) if s in labels]
        target = np.array([float(labels[order[i]] == 2) for i in known])
        familiarity = scores.predict(features, scores.fit_logistic(features[known], target, np.ones(len(known)), 30.0))
        place = {synset: i for i, synset in enumerate(order)}
        result = []
        for entry in entries:
            at = place[entry.id]
            seen = max(visuality[at], 0.5) if entry.id in accepted else min(visuality[at], 0.49)
            result.append(
                replace(entry, visuality=round(float(seen), 2), familiarity=self.familiarity.get(entry.id, rescale(float(familiarity[at]))))
            )
        return result

    def hypernyms(self, entries: list[Entry]) -> tuple[list[Entry], list[tuple[str, str, tuple[str, ...]]]]:
        """The rows with their parents, and the inner nodes above them.

        A node without an inoffensive name is left out, and its parents are put in its place.
        """
        objects = {entry.id for entry in entries}
        rows = {entry.id: replace(entry, parents=self.lifted(entry.parents, objects)) for entry in entries}
        inner: dict[str, tuple[str, str, tuple[str, ...]]] = {}
        todo = [parent for entry in rows.values() for parent in entry.parents]
        while todo:
            node = todo.pop()
            if node in objects or node in inner:
                continue
            parents = self.lifted(self.wordnet.synsets[node].hypernyms, objects)
            inner[node] = (node, self.inner_name(node), parents)
            todo.extend(parents)
        return [rows[key] for key in sorted(rows)], [inner[key] for key in sorted(inner)]

    def lifted(self, parents: tuple[str, ...], objects: set[str]) -> tuple[str, ...]:
        """The parents, each that may not be named replaced by its own parents."""
        found: list[str] = []
        for parent in parents:
            if parent in objects or self.inner_name(parent):
                found.append(parent)
            else:
                found.extend(self.lifted(self.wordnet.synsets[parent].hypernyms, objects))
        return tuple(dict.fromkeys(found))

    def inner_name(self, node: str) -> str:
        """The first lemma that may be shown, or nothing."""
        if node in self.safety.blocked:
            return ""
        return next((plain(lemma) for lemma in self.wordnet.synsets[node].lemmas if not self.safety.is_denied(plain(lemma))), "")


SUPPLEMENT_SHIFT = 0.15
"""How much the reviewers' familiarity values lie above the fitted ones, read side by side."""
SUPPLEMENT_CLASSES = {"game_equipment": "toy", "musical_instrument": "instrument", "way": "structure"}


def plain(lemma: str) -> str:
    """A WordNet lemma as a person writes it."""
    return lemma.replace("_", " ")


def rescale(value: float) -> float:
    """Stretch 0..FAMILIAR to 0..0.5 and the rest to 0.5..1."""
    scaled = value / FAMILIAR / 2 if value < FAMILIAR else 0.5 + (value - FAMILIAR) / (1 - FAMILIAR) / 2
    return round(min(scaled, 0.49) if value < FAMILIAR else scaled, 2)


def write_table(path: Path, header: str, rows: Iterable[Iterable[object]]) -> None:
    r"""Write tab-separated rows with ``\\n`` ends."""
    lines = [header.replace(" ", "\t"), *("\t".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def shown_plural(entry: Entry) -> str:
    """The plural, or nothing where readers of the file find it by rule (see docs/taxonomy-format.md)."""
    by_rule = entry.name if entry.number == "plural" else regular_plural(entry.name)
    return "" if entry.plural == by_rule else entry.plural


def main() -> None:
    """Build and write the three tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path, help="the folder that fetch_sources.py filled")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    builder = Builder(arguments.cache)
    accepted = builder.accepted()
    supplement = builder.supplement()
    others = builder.others(accepted)
    senses = builder.scored(accepted + others, frozenset(entry.id for entry in accepted))
    entries, inner = builder.hypernyms(senses + supplement)
    if len(entries) != len(senses) + len(supplement):
        raise ValueError("two supplement names have the same id; rename one of them")
    rows = [
        (e.id, e.name, shown_plural(e), e.number, e.kind, ",".join(e.parents), f"{e.visuality:g}", f"{e.familiarity:g}") for e in entries
    ]
    write_table(arguments.out / "objects.tsv", "id name plural number class parents visuality familiarity", rows)
    write_table(arguments.out / "hypernyms.tsv", "id name parents", [(key, name, ",".join(parents)) for key, name, parents in inner])
    write_table(
        arguments.out / "classes.tsv",
        "class parent",
        [(kind, classes.PARENTS.get(kind, "")) for kind in sorted(classes.CLASSES)] + [("animate", "")],
    )
    shown = [e for e in entries if e.visuality >= 0.5]
    print(f"{len(entries)} objects, {len(shown)} by default, {sum(e.familiarity >= 0.5 for e in shown)} familiar; {len(inner)} hypernyms")


if __name__ == "__main__":
    main()
