"""ConceptMix (Wu et al., 2024): prompts that combine k visual concepts beside a first object; a picture counts if every question is yes.

The score of a k is the share of pictures with all questions answered yes; the share of questions answered yes is told beside it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from anyscene.benchmarks.answer_files import read_answer_rows
from anyscene.benchmarks.asking import PERCENT, Sheet, count_replies, estimates, fixed_yes, item_means, part, part_notes, scaled, sheet
from anyscene.benchmarks.benchmark import About, BenchmarkResult, Fault, Items, Note, Numbers, Replies, Reply, make_record, result_of
from anyscene.benchmarks.reading import MAX_CHARS, field, json_value
from anyscene.errors import RecordError
from anyscene.scoring.question_bank import Floats
from anyscene.scoring.statistics import NOTHING, Mean, bootstrap

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
    stored="a CSV file with item_id (k3-17), question_id, answer",
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
        records: dict[str, dict[str, Any]] = {}
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
        order = sorted(records, key=lambda id: (extras[id]["k"], extras[id]["index"]))
        return Items(ABOUT.name, tuple({**records[id], "index": place} for place, id in enumerate(order)), extras, tuple(found))

    def read_evidence(self, path: Path, items: Items, *, model: str | None = None) -> Replies:
        """Answers as a CSV file of `read_answer_rows`; items are called ``k3-17``, questions are numbered from 1, empty ones included.

        Raises:
            RecordError: it cannot be read; the message names the line.
            SpecError: the model is not in it, or none is named and there are several.
        """
        return read_answer_rows(path, items, model)

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
        scored = Mean.of(_scores(items, fixed_sheet)[0]).n
        counts = count_replies(items, evidence, lambda _, reply: not math.isnan(fixed_yes(reply)), scored)
        headline = official.headline.value

        def effect(*, cased: bool, zeros: bool) -> float | None:
            mended = _mean_over_k(
                items, sheet(items, evidence, lambda question, reply: _official(question, reply, cased=cased, zeros=zeros))
            )
            return None if headline is None or math.isnan(mended) else headline - mended

        return result_of(
            ABOUT,
            items,
            evidence,
            official,
            fixed,
            headline="all correct, mean over k",
            unit="percent",
            faults=[
                Fault("cased-yes", "Only 'Yes' with a capital letter counts; 'yes' is a no.", effect(cased=False, zeros=True)),
                Fault(
                    "silence-is-zero",
                    "A question at which the judge fails is answered no, so its picture is wrong.",
                    effect(cased=True, zeros=False),
                ),
            ],
            counts=counts,
            notes=[*part_notes(ABOUT, evidence, counts), *_silent(items, fixed)],
            judge_note="" if "gpt-4o-2024-05-13" in evidence.judge.casefold() else ABOUT.judge_note,
        )


def _silent(items: Items, fixed: Numbers) -> list[Note]:
    """Says of which k no picture has been judged."""
    lost = [f"k={k}" for k in sorted(set(_ks(items))) if str(k) not in fixed.by["k"]]
    what = "kinds of prompts have no picture whose verdict is known, so there is no fixed mean over k"
    return [Note(what, len(lost), tuple(lost[:3]))] if lost else []


def _add(
    entry: object,
    where: str,
    k: int | None,
    records: dict[str, dict[str, Any]],
    extras: dict[str, dict[str, Any]],
    notes: dict[str, list[str]],
) -> None:
    """One prompt as a record."""
    number = field(entry, "index", int, where)
    sentence, given = field(entry, "sentence", str, where).strip(), field(entry, "question", list, where)
    if not sentence or number < 0:
        raise RecordError(f"{where}: an empty sentence, or an index below 0")
    if not all(isinstance(one, str) and len(one) <= MAX_CHARS for one in given):
        raise RecordError(f"{where}: question must be a list of texts of at most {MAX_CHARS:,} letters")
    texts = {f"q{place}": one.strip() for place, one in enumerate(given, 1) if one.strip()}
    if not texts:
        raise RecordError(f"{where}: no question")
    if len(texts) < len(given):
        notes.setdefault("empty questions, left out", []).append(where.rpartition(", ")[2])
    skills = _texts(entry, "skills")
    k = k if k is not None else len(skills)
    if not 1 <= k <= LARGEST_K:
        raise RecordError(f"{where}: k is not known; call the file 300_sentences_k=3.json, or give as many skills")
    item = f"k{k}-{number}"
    questions = [{"id": id, "kind": "attribute", "form": "yes_no", "text": text, "answer": "yes"} for id, text in texts.items()]
    record = make_record(ABOUT.name, item, 0, sentence, questions, complexity=k + 1)
    if item in records:
        if records[item] != record:
            raise RecordError(f"{where}: another prompt with the index {number} and k={k} stands before")
        notes.setdefault("entries that repeat another one, left out", []).append(where.rpartition(", ")[2])
        return
    records[item] = record
    extras[item] = {"item_id": item, "k": k, "index": number, "skills": skills, "categories": _texts(entry, "categories")}


def _texts(entry: object, name: str) -> list[str]:
    """A list of texts that an entry may have; none where it has something else."""
    found = entry.get(name) if isinstance(entry, Mapping) else None
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []


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
    complete = compat == "official" or len(by_k) == len(set(ks.tolist()))
    whole = bootstrap({"": [(1 / len(by_k), mean) for mean in by_k.values()]}, seed=seed)[""] if by_k and complete else NOTHING
    whole = replace(whole, n=right.n)  # of a mean of means the bootstrap tells the smallest number
    columns = estimates({"questions": share}, seed=seed)
    by = {"k": {k: found[f"k\0{k}"] for k in by_k}, "questions of k": {k: found[f"q\0{k}"] for k in shares if f"q\0{k}" in found}}
    return Numbers(compat, scaled(whole), columns, by)


CONCEPTMIX = ConceptMixBench()
