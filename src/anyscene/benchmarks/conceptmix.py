"""ConceptMix (Wu et al., 2024): prompts that combine k visual concepts beside a first object; a picture counts if every question is yes.

The score of a k is the share of pictures with all questions answered yes; the share of questions answered yes is told beside it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anyscene.benchmarks.answer_files import read_answer_rows
from anyscene.benchmarks.asking import PERCENT, Sheet, count_replies, estimates, fixed_yes, item_means, part, part_note, scaled, sheet
from anyscene.benchmarks.benchmark import About, BenchmarkResult, Fault, Items, Note, Numbers, Replies, Reply, make_record
from anyscene.benchmarks.reading import field, json_value
from anyscene.errors import RecordError
from anyscene.scoring.question_bank import Floats
from anyscene.scoring.statistics import LEVEL, NOTHING, Mean, bootstrap

__all__ = ["CONCEPTMIX", "ConceptMixBench"]

PER_K, LARGEST_K = 300, 7
_FILE = re.compile(r".*sentences_k=([1-9])\.json")

ABOUT = About(
    name="conceptmix",
    title="ConceptMix (Wu et al., ConceptMix: A Compositional Image Generation Benchmark with Controllable Difficulty, NeurIPS 2024)",
    licence="MIT by its README; no licence file: nothing of it is shipped here",
    home="princetonvisualai/ConceptMix",
    files="the folder sentence_collection with 300_sentences_k=1.json to 300_sentences_k=7.json, or one of these files",
    evidence=("answers",),
    layouts=("stems",),
    samples=1,
    modality="image",
    official_judge="GPT-4o-2024-05-13, one token; 'Yes' anywhere in it counts",
    judge_note="not GPT-4o-2024-05-13: P(yes) over P(no) above one half counts as yes; the all-correct rate falls with every wrong 'no'",
)


class ConceptMixBench:
    """ConceptMix."""

    about = ABOUT

    def import_items(self, path: Path) -> Items:
        """The prompts of each k.

        Raises:
            RecordError: a file is missing or cannot be read; the message names file and entry.
        """
        files = sorted(one for one in path.iterdir() if _FILE.fullmatch(one.name)) if path.is_dir() else [path]
        if not files:
            raise RecordError(f"{path}: there is no file 300_sentences_k=1.json to 300_sentences_k={LARGEST_K}.json")
        records: list[dict[str, Any]] = []
        extras: dict[str, dict[str, Any]] = {}
        notes: dict[str, list[str]] = {}
        for file in files:
            named = _FILE.fullmatch(file.name)
            entries = json_value(file)
            if not isinstance(entries, list) or not entries:
                raise RecordError(f"{file}: a list of prompts is wanted, with the fields index, sentence, question")
            for number, entry in enumerate(entries, 1):
                _add(entry, f"{file}, entry {number}", int(named[1]) if named else None, records, extras, notes)
        found = [Note(what, len(places), tuple(places[:3])) for what, places in notes.items()]
        by_k = {k: sum(extra["k"] == k for extra in extras.values()) for k in sorted({extra["k"] for extra in extras.values()})}
        if by_k != dict.fromkeys(range(1, LARGEST_K + 1), PER_K):
            shown = ", ".join(f"k={k}: {number:,}" for k, number in by_k.items())
            found.insert(
                0, Note(f"prompts are in the files ({shown}); the release has {PER_K} of each k from 1 to {LARGEST_K}", len(records))
            )
        order = sorted(range(len(records)), key=lambda at: (extras[records[at]["id"]]["k"], extras[records[at]["id"]]["index"]))
        return Items(ABOUT.name, tuple({**records[at], "index": place} for place, at in enumerate(order)), extras, tuple(found))

    def read_evidence(self, path: Path, items: Items, *, model: str | None = None) -> Replies:
        """Answers as a CSV file of `read_answer_rows`; items are called ``k3-17``, questions are numbered from 1, empty ones included.

        Raises:
            RecordError: it cannot be read; the message names the line.
            SpecError: the model is not in it, or none is named and there are several.
        """
        return read_answer_rows(path, items, model, id_of=lambda number: f"q{number}")

    def score(self, items: Items, evidence: Replies, *, seed: int = 0) -> BenchmarkResult:
        """Both readings.

        Args:
            items: from `import_items`.
            evidence: answers.
            seed: of the bootstrap over prompts.

        Raises:
            RecordError: none of the answers is about these items.
        """
        fixed_sheet = sheet(items, evidence, lambda _, reply: fixed_yes(reply))
        fixed = _numbers(items, fixed_sheet, "fixed", seed)
        official = _numbers(items, sheet(items, evidence, _official), "official", seed)
        counts = count_replies(items, evidence, lambda _, reply: not math.isnan(fixed_yes(reply)), fixed.headline.n)
        headline = official.headline.value

        def effect(*, cased: bool, zeros: bool) -> float | None:
            mended = _mean_over_k(
                items, sheet(items, evidence, lambda question, reply: _official(question, reply, cased=cased, zeros=zeros))
            )
            return None if headline is None or math.isnan(mended) else headline - mended

        return BenchmarkResult(
            benchmark=ABOUT.name,
            model=evidence.model,
            judge=evidence.judge,
            official_judge=ABOUT.official_judge,
            judge_note="" if "gpt-4o-2024-05-13" in evidence.judge.casefold() else ABOUT.judge_note,
            headline="all correct, mean over k",
            unit="percent",
            level=LEVEL,
            official=official,
            fixed=fixed,
            faults=[
                Fault("cased-yes", "Only 'Yes' with a capital letter counts; 'yes' is a no.", effect(cased=False, zeros=True)),
                Fault(
                    "silence-is-zero",
                    "A question at which the judge fails is answered no, so its picture is wrong.",
                    effect(cased=True, zeros=False),
                ),
            ],
            counts=counts,
            notes=[*part_note(counts), *evidence.notes],
            items_digest=items.digest,
        )


def _add(
    entry: object,
    where: str,
    k: int | None,
    records: list[dict[str, Any]],
    extras: dict[str, dict[str, Any]],
    notes: dict[str, list[str]],
) -> None:
    """One prompt as a record."""
    number = field(entry, "index", int, where)
    sentence, given = field(entry, "sentence", str, where).strip(), field(entry, "question", list, where)
    if not sentence or number < 0:
        raise RecordError(f"{where}: an empty sentence, or an index below 0")
    if not all(isinstance(one, str) for one in given):
        raise RecordError(f"{where}: question must be a list of texts")
    texts = {f"q{place}": one.strip() for place, one in enumerate(given, 1) if one.strip()}
    if not texts:
        raise RecordError(f"{where}: no question")
    if len(texts) < len(given):
        notes.setdefault("empty questions, left out", []).append(where.rpartition(", ")[2])
    skills = [str(one) for one in entry.get("skills", [])] if isinstance(entry, Mapping) and isinstance(entry.get("skills"), list) else []
    k = k if k is not None else len(skills)
    if not 1 <= k <= LARGEST_K:
        raise RecordError(f"{where}: k is not known; call the file 300_sentences_k=3.json, or give as many skills")
    item = f"k{k}-{number}"
    questions = [{"id": id, "kind": "attribute", "form": "yes_no", "text": text, "answer": "yes"} for id, text in texts.items()]
    record = make_record(ABOUT.name, item, len(records), sentence, questions, complexity=k + 1)
    categories = entry.get("categories") if isinstance(entry, Mapping) else None
    extra = {"item_id": item, "k": k, "index": number, "skills": skills, "categories": categories if isinstance(categories, list) else []}
    if item in extras:
        old = next(one for one in records if one["id"] == item)
        if {**old, "index": 0} != {**record, "index": 0}:
            raise RecordError(f"{where}: another prompt with the index {number} and k={k} stands before")
        notes.setdefault("entries that repeat another one, left out", []).append(where.rpartition(", ")[2])
        return
    records.append(record)
    extras[item] = extra


def _official(question: Mapping[str, Any], reply: Reply | None, *, cased: bool = True, zeros: bool = True) -> float:
    if reply is None or reply.status == "failed":
        return 0.0 if zeros else math.nan
    if reply.p_yes is not None:
        return float(reply.p_yes > 0.5)
    text = reply.text or ""
    return float("Yes" in text if cased else "yes" in text.casefold())


def _ks(items: Items) -> Sequence[int]:
    return [int(items.extras[record["id"]]["k"]) for record in items.records]


def _scores(items: Items, lined: Sheet) -> tuple[Floats, Floats]:
    """``(items,)`` all questions right, and the share of questions."""
    return lined.by_item(lined.all_right()), item_means(lined, lined.credit)


def _mean_over_k(items: Items, lined: Sheet) -> float:
    ks, values = np.array(_ks(items)), _scores(items, lined)[0]
    means = [np.nanmean(values[ks == k]) for k in sorted(set(ks.tolist())) if not np.isnan(values[ks == k]).all()]
    return PERCENT * float(np.mean(means)) if means else math.nan


def _numbers(items: Items, lined: Sheet, compat: str, seed: int) -> Numbers:
    ks = np.array(_ks(items))
    right, share = (Mean.of(values) for values in _scores(items, lined))
    by_k = {f"{k}": part(right, ks == k) for k in sorted(set(ks.tolist()))}
    by_k = {k: mean for k, mean in by_k.items() if mean.n}
    shares = {k: part(share, ks == int(k)) for k in by_k}
    found = estimates(
        {**{f"k\0{k}": mean for k, mean in by_k.items()}, **{f"q\0{k}": mean for k, mean in shares.items() if mean.n}}, seed=seed
    )
    whole = bootstrap({"": [(1 / len(by_k), mean) for mean in by_k.values()]}, seed=seed)[""] if by_k else NOTHING
    columns = estimates({"questions": share}, seed=seed)
    by = {"k": {k: found[f"k\0{k}"] for k in by_k}, "questions of k": {k: found[f"q\0{k}"] for k in shares if f"q\0{k}" in found}}
    return Numbers(compat, scaled(whole), columns, by)


CONCEPTMIX = ConceptMixBench()
