"""What a benchmark of others is to Anyscene: items imported as ordinary records, and a score with and without the official faults.

A benchmark is four things: facts about it (`About`), an importer (a file that the user has -> `Items`), a reader of what was found out
about the pictures (a file in the benchmark's own format -> evidence), and a scorer, a pure function of items and evidence. Evidence is
`Replies` (a judge's answers) for the benchmarks that ask questions; others define a type of their own (boxes, scores by dimension).

Every score is computed twice and told side by side: ``official`` does what the released code does, faults included, so that published
numbers come out; ``fixed`` does what was meant. Each fault is named, with how far it moves the number.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from anyscene.benchmarks.reading import field as field_of
from anyscene.errors import SpecError
from anyscene.scoring.statistics import LEVEL, Estimate

__all__ = [
    "MAX_SAMPLES",
    "About",
    "Benchmark",
    "BenchmarkResult",
    "Counts",
    "Evidence",
    "Fault",
    "Items",
    "Note",
    "Numbers",
    "Replies",
    "Reply",
    "benchmark_names",
    "items_digest",
    "load_benchmark",
    "make_record",
    "record_id_of",
    "result_of",
]

MAX_SAMPLES = 1_000
"""Pictures of one item that evidence may tell of."""
_TABLE = {
    "dpg": "anyscene.benchmarks.dpg:DPG",
    "geneval": "anyscene.benchmarks.geneval:GENEVAL",
    "geneval2": "anyscene.benchmarks.geneval2:GENEVAL2",
    "tifa": "anyscene.benchmarks.tifa:TIFA",
    "dsg": "anyscene.benchmarks.dsg:DSG",
    "t2i-compbench": "anyscene.benchmarks.t2i_compbench:T2I_COMPBENCH",
    "genai-bench": "anyscene.benchmarks.genai_bench:GENAI_BENCH",
    "conceptmix": "anyscene.benchmarks.conceptmix:CONCEPTMIX",
    "vbench": "anyscene.benchmarks.vbench:VBENCH",
}
_SAFE_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,119}")
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_SEED = 0


@dataclass(frozen=True, slots=True)
class About:
    """Facts about a benchmark.

    Attributes:
        name: short, as on the command line.
        title: full, with authors and venue.
        licence: of its files.
        home: where its files are found: owner and name of the repository, or the data set's.
        files: what the user gives to the importer, in words.
        evidence: what its scorer takes, the official kind first: ``answers``, ``detections``, ``scores``.
        stored: the files that `read_evidence` takes, in words.
        layouts: names of the output folders that are read for it, see `layouts`.
        samples: pictures that it asks for, for each item.
        modality: ``image`` or ``video``.
        official_judge: what its authors let answer or detect.
        judge_note: how any other judge differs from that one.
    """

    name: str
    title: str
    licence: str
    home: str
    files: str
    evidence: tuple[str, ...]
    stored: str
    layouts: tuple[str, ...]
    samples: int
    modality: str
    official_judge: str
    judge_note: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something that an importer or scorer repaired, dropped, or found worth saying.

    Attributes:
        what: in words, without the number.
        count: how often.
        examples: the first few places.
    """

    what: str
    count: int
    examples: tuple[str, ...] = ()

    @classmethod
    def read(cls, value: object, where: str) -> Note:
        """A note from what `dataclasses.asdict` made of one.

        Raises:
            RecordError: it is none.
        """
        examples = field_of(value, "examples", list, where)
        return cls(field_of(value, "what", str, where), field_of(value, "count", int, where), tuple(map(str, examples)))

    def line(self) -> str:
        """One line for the user."""
        shown = f" ({', '.join(self.examples)}{', ...' if self.count > len(self.examples) else ''})" if self.examples else ""
        return f"{self.count:,} {self.what}{shown}"


@dataclass(frozen=True)
class Items:
    """The items of a benchmark as records.

    Attributes:
        benchmark: its short name.
        records: ordinary records (docs/record-format.md), in the benchmark's order; ``id`` is the item's own where it can name a file.
        extras: for each record id what else the benchmark says: always ``item_id`` (its own id, letter for letter); categories, tags,
            skills; under ``questions`` what it says of single ones, by question id. JSON values.
        notes: repairs and drops, counted.
        digest: of records and extras (`items_digest`): the same items from files in any order, with any line ends.
    """

    benchmark: str
    records: tuple[Mapping[str, Any], ...]
    extras: Mapping[str, Mapping[str, Any]]
    notes: tuple[Note, ...] = ()
    digest: str = ""

    def __post_init__(self) -> None:
        if not self.digest:
            object.__setattr__(self, "digest", items_digest(self.records, self.extras))

    def by_item_id(self) -> dict[str, Mapping[str, Any]]:
        """The records by the benchmark's own ids."""
        return {str(self.extras[record["id"]]["item_id"]): record for record in self.records}


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer about one picture.

    Attributes:
        text: letter for letter; None where there is no text (probabilities alone).
        p_yes: of a yes/no question: P(yes) / (P(yes) + P(no)), None where it is not known.
        status: as of `anyscene.judges.Answer`; only ``answered`` counts in the fixed reading.
        probabilities: of the choices.
        mapped: the choice that a released scorer made of the text, where its file says it.
    """

    text: str | None
    p_yes: float | None = None
    status: str = "answered"
    probabilities: tuple[float, ...] = ()
    mapped: str | None = None


@dataclass(frozen=True)
class Replies:
    """A judge's answers about one model's pictures.

    Attributes:
        by_media: (record id, number of the sample) -> question id -> answer. A picture that was not made, or about which nothing was
            answered, is not in it.
        model: whose pictures.
        judge: who answered.
        samples: pictures expected for each item.
        notes: what the reader of a file repaired, dropped or did not know.
    """

    by_media: Mapping[tuple[str, int], Mapping[str, Reply]]
    model: str = ""
    judge: str = ""
    samples: int = 1
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of the official code, which is part of the official number.

    Attributes:
        name: short, as in docs/benchmarks.md.
        what: one sentence.
        effect: official number minus the number with only this fault mended, in the unit of the result; 0 where it did nothing here, None
            where it cannot be told from this evidence.
    """

    name: str
    what: str
    effect: float | None


@dataclass(frozen=True)
class Numbers:
    """One reading of the evidence.

    Attributes:
        compat: ``official`` or ``fixed``.
        headline: the number that is published.
        columns: other numbers over everything.
        by: dimension (category, skill, k, ...) -> name -> number.
    """

    compat: str
    headline: Estimate
    columns: Mapping[str, Estimate] = field(default_factory=dict)
    by: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON; null where something is missing."""
        return {
            "headline": self.headline.to_dict(),
            "columns": {name: one.to_dict() for name, one in self.columns.items()},
            "by": {dimension: {name: one.to_dict() for name, one in own.items()} for dimension, own in self.by.items()},
        }


@dataclass(frozen=True, slots=True)
class Counts:
    """What was expected and what was there.

    Attributes:
        items: of the benchmark.
        items_scored: of these, in the fixed mean.
        media: pictures expected.
        media_found: of these, with any evidence.
        questions: expected, over all pictures; 0 where the benchmark asks none.
        answered: of these, with an answer that can be read.
        unparsed: with a text that is no answer.
        missing: with none.
        unknown: answers to what the benchmark does not ask.
    """

    items: int
    items_scored: int
    media: int
    media_found: int
    questions: int = 0
    answered: int = 0
    unparsed: int = 0
    missing: int = 0
    unknown: int = 0


@dataclass(frozen=True)
class BenchmarkResult:
    """A benchmark's number for one model by one judge.

    Attributes:
        benchmark: short name.
        model: whose pictures.
        judge: who answered, or what detected.
        official_judge: the authors' own.
        judge_note: how `judge` differs from it; empty where it is the same.
        headline: what the first number is called.
        unit: ``percent`` or ``fraction``.
        level: of the intervals.
        official: with the faults of the released code.
        fixed: without them.
        faults: each with its effect on the headline.
        counts: what was there.
        notes: what else is to be said.
        items_digest: of the items that were scored.
    """

    benchmark: str
    model: str
    judge: str
    official_judge: str
    judge_note: str
    headline: str
    unit: str
    level: float
    official: Numbers
    fixed: Numbers
    faults: Sequence[Fault]
    counts: Counts
    notes: Sequence[Note] = ()
    items_digest: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "benchmark": self.benchmark,
            "model": self.model,
            "judge": self.judge,
            "official_judge": self.official_judge,
            "judge_note": self.judge_note,
            "headline": self.headline,
            "unit": self.unit,
            "level": self.level,
            "official": self.official.to_dict(),
            "fixed": self.fixed.to_dict(),
            "faults": [asdict(one) for one in self.faults],
            "counts": asdict(self.counts),
            "notes": [one.line() for one in self.notes],
            "items_digest": self.items_digest,
        }


class Evidence(Protocol):
    """What any evidence says of itself."""

    @property
    def model(self) -> str:
        """Whose pictures."""
        ...

    @property
    def judge(self) -> str:
        """Who answered, or what detected."""
        ...

    @property
    def notes(self) -> Sequence[Note]:
        """What its reader repaired, dropped or did not know."""
        ...


def result_of(
    about: About,
    items: Items,
    evidence: Evidence,
    official: Numbers,
    fixed: Numbers,
    *,
    headline: str,
    unit: str,
    faults: Sequence[Fault],
    counts: Counts,
    notes: Sequence[Note],
    judge_note: str,
) -> BenchmarkResult:
    """Both readings as a result, with what the benchmark and the evidence say of themselves.

    Args:
        about: the benchmark.
        items: that were scored.
        evidence: that they were scored by; its notes come last.
        official: with the faults of the released code.
        fixed: without them.
        headline: what the first number is called.
        unit: ``percent`` or ``fraction``.
        faults: each with its effect on the headline.
        counts: what was there.
        notes: what else is to be said.
        judge_note: how the judge differs from the official one; empty where it is the same.
    """
    return BenchmarkResult(
        benchmark=about.name,
        model=evidence.model,
        judge=evidence.judge,
        official_judge=about.official_judge,
        judge_note=judge_note,
        headline=headline,
        unit=unit,
        level=LEVEL,
        official=official,
        fixed=fixed,
        faults=faults,
        counts=counts,
        notes=[*notes, *evidence.notes],
        items_digest=items.digest,
    )


class Benchmark(Protocol):
    """A benchmark of others.

    Attributes:
        about: facts about it.
    """

    @property
    def about(self) -> About:
        """Facts about it."""
        ...

    def import_items(self, path: Path) -> Items:
        """The items of the user's file or folder.

        Raises:
            RecordError: it cannot be read as this benchmark's; one line with file, line and what.
        """
        ...

    def read_evidence(self, path: Path, items: Items, *, model: str | None = None) -> Any:
        """Stored answers, detections or scores in the benchmark's own format.

        Args:
            path: the file or folder.
            items: what they are about.
            model: whose pictures, where the file holds those of several.

        Raises:
            RecordError: it cannot be read.
            SpecError: the model is not in it, or none is named and there are several.
        """
        ...

    def score(self, items: Items, evidence: Any, *, seed: int = 0) -> BenchmarkResult:
        """Both readings; a pure function.

        Args:
            items: from `import_items`.
            evidence: from `read_evidence`, or (for ``answers``) `Replies` of a run.
            seed: of the bootstrap over items.

        Raises:
            RecordError: none of the evidence is about these items.
        """
        ...


def benchmark_names() -> list[str]:
    """The benchmarks that there are, in the order in which they are shown."""
    return list(_TABLE)


def load_benchmark(name: str) -> Benchmark:
    """The benchmark of a short name.

    Raises:
        SpecError: there is none.
    """
    target = _TABLE.get(name)
    if target is None:
        raise SpecError(f"benchmark {name!r}: there is none of that name; there are {', '.join(_TABLE)}")
    module, _, attribute = target.partition(":")
    found: Benchmark = getattr(import_module(module), attribute)
    return found


def record_id_of(item_id: str) -> str:
    """The item's id where it can name a file anywhere; else its letters and digits with a piece of its digest."""
    if _SAFE_ID.fullmatch(item_id):
        return item_id
    digest = hashlib.sha256(item_id.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{_UNSAFE.sub('-', item_id).strip('-')[:60] or 'item'}-{digest}"


def make_record(
    benchmark: str,
    item_id: str,
    index: int,
    caption: str,
    questions: Sequence[Mapping[str, Any]] = (),
    *,
    graph: Mapping[str, Any] | None = None,
    complexity: int | None = None,
    modality: str = "image",
) -> dict[str, Any]:
    """A record of `anyscene.dataset.record_schema` for one item.

    Args:
        benchmark: short name; stands where a spec's digest stands.
        item_id: the benchmark's own.
        index: place among the items.
        caption: the prompt.
        questions: each with at least ``id``, ``kind``, ``form``, ``text`` and ``answer``; the rest is filled in.
        graph: where one can be had; else empty.
        complexity: by default what the graph holds.
        modality: ``image`` or ``video``.
    """
    graph = graph or {"objects": [], "relations": [], "scene_attributes": []}
    held = sum(1 + len(one["attributes"]) for one in graph["objects"]) + len(graph["relations"])
    empty: dict[str, Any] = {"choices": [], "depends_on": [], "elements": [], "foil": None}
    return {
        "id": record_id_of(item_id),
        "index": index,
        "caption": caption,
        "graph": graph,
        "complexity": held if complexity is None else complexity,
        "modality": modality,
        "plausibility": None,
        "spec_digest": f"benchmark:{benchmark}",
        "seed": _SEED,
        "questions": [
            {name: {**empty, **one}[name] for name in ("id", "kind", "form", "text", "answer", "choices", "depends_on", "elements", "foil")}
            for one in questions
        ],
    }


def items_digest(records: Sequence[Mapping[str, Any]], extras: Mapping[str, Mapping[str, Any]]) -> str:
    """SHA-256 of records and extras as JSON, whatever their order: a shuffled copy of a file holds the same items."""
    own = [
        {**record, "index": 0, "questions": sorted(record["questions"], key=lambda one: str(one["id"]))}
        for record in sorted(records, key=lambda one: str(one["id"]))
    ]
    text = json.dumps([own, dict(extras)], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
