"""Was anything trained on that is held out? An audit of the records themselves, whatever the split promised.

`space.prove_split` says what two spaces *could* share. This says what the scenes that were trained on and those of the evaluation *do*
share: structures, (object, attribute) pairs, elements, whole scenes and captions. A run whose audit finds something claims nothing.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from anyscene.errors import GraphError, LeakageError, RecordError, RunError, SpecError
from anyscene.judges.prompts import plain_words
from anyscene.report.markup import el
from anyscene.report.shell import Section
from anyscene.report.tables import table
from anyscene.rewards.protocol import Record
from anyscene.runs import write_atomic
from anyscene.scene.graph import SceneGraph
from anyscene.space.spec import HOLDOUTS
from anyscene.space.splitting import parts_of

__all__ = ["LEAKAGE", "Leak", "LeakageReport", "audit_leakage"]

LEAKAGE = "leakage.json"
SHOWN = 20
"""Leaks of one kind that are listed; all are counted."""
_ALWAYS = ("scene", "caption")
_WORDS = {
    "element": "word",
    "pair": "(object, attribute) pair",
    "structure": "structure",
    "scene": "scene",
    "caption": "caption",
}


@dataclass(frozen=True, slots=True)
class Leak:
    """Something held out that was trained on.

    Attributes:
        kind: ``structure``, ``pair``, ``element``, ``scene`` or ``caption``.
        what: the thing itself, for people.
        trained: the first record that was trained on and has it; ``caption 3`` is the fourth of the captions without a graph.
        held_out: the first held-out record that has it.
    """

    kind: str
    what: str
    trained: str
    held_out: str


@dataclass(frozen=True, slots=True)
class LeakageReport:
    """What both sides have, and what they share.

    Attributes:
        by: what they must not share, beside scenes and captions, which they never must.
        records: how many were looked at: ``trained``, ``held_out``, and ``captions`` trained on that have no graph.
        checked: for each kind how many different ones were ``trained`` on, are ``held_out``, and are ``shared``. Kinds that the sides may
            share are counted as well.
        leaks: the first of each kind that they must not share.
    """

    by: str
    records: Mapping[str, int]
    checked: Mapping[str, Mapping[str, int]]
    leaks: tuple[Leak, ...]

    @property
    def clean(self) -> bool:
        """Is nothing shared that must not be?"""
        return not self.leaks

    @property
    def findings(self) -> list[str]:
        """A line for each kind of leak, with its first offenders."""
        found = []
        for kind in dict.fromkeys(one.kind for one in self.leaks):
            own = [one for one in self.leaks if one.kind == kind]
            count = self.checked[kind]["shared"]
            named = "; ".join(f"{one.what} ({one.trained} was trained on, {one.held_out} is held out)" for one in own[:3])
            more = f"; and {count - 3:,} more" if count > 3 else ""
            found.append(f"{count:,} held-out {_WORDS[kind]}{'s' if count > 1 else ''} trained on: {named}{more}")
        return found

    def require_clean(self) -> None:
        """To be called before anything is claimed.

        Raises:
            LeakageError: something held out was trained on; the message names the first offenders.
        """
        if not self.clean:
            raise LeakageError(". ".join(self.findings))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "clean": self.clean,
            "by": self.by,
            "records": dict(self.records),
            "checked": {kind: dict(one) for kind, one in self.checked.items()},
            "leaks": [asdict(one) for one in self.leaks],
        }

    def write(self, folder: Path) -> Path:
        """Writes ``leakage.json`` and gives its path."""
        path = folder / LEAKAGE
        write_atomic(path, (json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n").encode())
        return path

    @classmethod
    def read(cls, folder: Path) -> LeakageReport:
        """What `write` wrote.

        Raises:
            RunError: it is missing or damaged.
        """
        path = folder / LEAKAGE
        try:
            found = json.loads(path.read_text("utf-8"))
            report = cls(found["by"], found["records"], found["checked"], tuple(Leak(**one) for one in found["leaks"]))
            if found["clean"] != report.clean:
                raise ValueError
        except (OSError, ValueError, KeyError, TypeError):
            raise RunError(f"{path} is missing or damaged; audit the run again") from None
        return report

    def section(self) -> Section:
        """The audit as a section of a report."""
        names = {"trained": "records trained on", "held_out": "held-out records", "captions": "captions trained on that have no graph"}
        looked = ", ".join(f"{self.records[name]:,} {words}" for name, words in names.items() if self.records[name])
        verdict = "Nothing that is held out was trained on."
        if not self.clean:
            verdict = "What is held out was trained on: no figure here says anything."
        rows = [
            el(
                "tr",
                el("th", f"{_WORDS[kind][0].upper()}{_WORDS[kind][1:]}s", scope="row"),
                [el("td", f"{one[side]:,}", class_="number") for side in ("trained", "held_out", "shared")],
                el("td", "must share none" if kind in _forbidden(self.by) else "may share", class_="quiet"),
            )
            for kind, one in self.checked.items()
        ]
        listed = el("ul", [el("li", line) for line in self.findings]) if self.leaks else None
        counted = table(("", "Trained on", "Held out", "Shared", ""), rows, "figures", "What both sides have and share")
        note = el("p", f"Looked at: {looked}. Captions without a graph are compared word for word only.", class_="note")
        contents = el("div", el("p", el("b", verdict)), listed, counted, note)
        return "leakage", "Leakage", "Was anything held out trained on?", contents


def audit_leakage(
    trained_on: Iterable[Record],
    held_out: Iterable[Record],
    *,
    by: str = "structure+pair",
    captions: Iterable[str] = (),
    given: SceneGraph | None = None,
) -> LeakageReport:
    """Compares what was trained on with what is held out, record by record.

    Scenes are the same if their graphs are isomorphic, whatever their objects' ids; captions if they have the same words but for case,
    punctuation and articles. What structures and pairs are is what the split says (`space.splitting.parts_of`).

    Args:
        trained_on: records with ``graph`` and ``caption``, in any order, each as often as you like.
        held_out: likewise; at least one.
        by: what the sides must not share, as `Holdout.kind`. Scenes and captions they must not share in any case.
        captions: trained on without a graph: of a user's own pictures. They are held against the held-out captions.
        given: a graph that all scenes contain (``SceneSpec.containing``); what it brings itself is on both sides by will, and no leak.

    Raises:
        SpecError: there is no such split, or a side is empty: nothing can be proved of nothing.
        RecordError: a record has no graph or no caption.
    """
    if unknown := [kind for kind in by.split("+") if kind not in HOLDOUTS]:
        raise SpecError(f"leakage by {unknown[0]!r}: it must be one of {', '.join(HOLDOUTS)}, or several with a plus between")
    granted = {kind: keys for kind, keys in parts_of(given).items() if kind != "structure"} if given is not None else {}
    theirs: dict[str, dict[Hashable, str]] = {kind: {} for kind in _WORDS}
    mine: dict[str, set[Hashable]] = {kind: set() for kind in _WORDS}
    leaks: dict[str, dict[Hashable, Leak]] = {kind: {} for kind in _WORDS}
    records = {"trained": 0, "held_out": 0, "captions": 0}
    for place, record in enumerate(held_out):
        records["held_out"] += 1
        name = _name(record, place)
        for kind, keys in _keys(record, name).items():
            theirs[kind].update((key, name) for key in keys if key not in theirs[kind])

    def note(kind: str, keys: frozenset[Any], name: str, record: Record) -> None:
        mine[kind] |= keys
        both = keys & theirs[kind].keys() - leaks[kind].keys() - granted.get(kind, frozenset())
        for key in sorted(both):
            leaks[kind][key] = Leak(kind, _shown(kind, key, record), name, theirs[kind][key])

    for place, record in enumerate(trained_on):
        records["trained"] += 1
        name = _name(record, place)
        for kind, keys in _keys(record, name).items():
            note(kind, keys, name, record)
    for place, caption in enumerate(captions):
        records["captions"] += 1
        note("caption", _caption_key(caption), f"caption {place}", {"caption": caption})
    if not records["held_out"] or not records["trained"] + records["captions"]:
        side = "of the evaluation" if not records["held_out"] else "that was trained on"
        raise SpecError(f"the audit was given no record {side}: nothing can be proved of nothing")
    return LeakageReport(
        by=by,
        records=records,
        checked={kind: {"trained": len(mine[kind]), "held_out": len(theirs[kind]), "shared": len(leaks[kind])} for kind in _WORDS},
        leaks=tuple(leak for kind in _forbidden(by) for leak in list(leaks[kind].values())[:SHOWN]),
    )


def _forbidden(by: str) -> tuple[str, ...]:
    """What the sides must not share."""
    return (*by.split("+"), *_ALWAYS)


def _keys(record: Record, name: str) -> dict[str, frozenset[Any]]:
    """What a record has of each kind."""
    if not isinstance(record.get("graph"), Mapping) or not isinstance(record.get("caption"), str):
        raise RecordError(f"record {name}: it has no graph or no caption; leakage is proved from both")
    try:
        graph = SceneGraph.from_dict(record["graph"])
    except GraphError as error:
        raise RecordError(f"record {name}: {error}") from None
    return {**parts_of(graph), "scene": frozenset([graph.canonical_key()]), "caption": _caption_key(record["caption"])}


def _caption_key(caption: str) -> frozenset[str]:
    """The words of a caption; nothing where it has none."""
    return frozenset(filter(None, [plain_words(caption)]))


def _name(record: Record, place: int) -> str:
    return str(record.get("id", f"record {place}"))


def _shown(kind: str, key: Any, record: Record) -> str:
    """A leak for people."""
    if kind in ("scene", "caption"):
        return repr(str(record["caption"]))
    if kind == "structure":
        graph = SceneGraph.from_dict(record["graph"])
        place = {one.id: number for number, one in enumerate(graph.objects)}
        edges = ", ".join(f"{place[one.subject]} > {place[one.object]}" for one in graph.relations) or "no relations"
        return f"{len(graph.objects)} objects with {', '.join(str(len(one.attributes)) for one in graph.objects)} attributes and {edges}"
    return f"({key[0]}, {key[1]})" if kind == "pair" else f"{key[0]} {key[1]!r}"
