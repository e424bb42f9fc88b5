"""DSG-1k as a benchmark: its file as records, answers of any judge scored by every official rule (`dsg`)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from anyscene.benchmarks.answer_files import read_answer_rows
from anyscene.benchmarks.asking import (
    PERCENT,
    Sheet,
    count_replies,
    estimates,
    exact_yes,
    fixed_yes,
    item_means,
    part,
    part_note,
    sheet,
)
from anyscene.benchmarks.benchmark import About, BenchmarkResult, Fault, Items, Numbers, Replies, Reply
from anyscene.benchmarks.dsg import CATEGORIES, COLUMNS, OTHER, category_of
from anyscene.benchmarks.propositions import read_propositions
from anyscene.scoring.question_bank import Bools, Floats
from anyscene.scoring.scores import fixpoint, in_place, library
from anyscene.scoring.statistics import LEVEL, NOTHING, Mean

__all__ = ["DSG", "DsgBench"]

ITEMS, QUESTIONS = 1_060, 8_182
HEADLINE = "library"

ABOUT = About(
    name="dsg",
    title="DSG-1k (Cho et al., Davidsonian Scene Graph, ICLR 2024)",
    licence="Apache-2.0",
    home="j-min/DSG",
    files="dsg/data/dsg-1k-anns.csv",
    evidence=("answers",),
    layouts=("stems",),
    samples=1,
    modality="image",
    official_judge="PaLI-17B (published table), mPLUG-large or InstructBLIP; greedy text, exactly 'yes' counts",
    judge_note="not the published judge: P(yes) over P(no) above one half counts as 'yes'; judges move this score by more than models do",
)


class DsgBench:
    """DSG-1k."""

    about = ABOUT

    def import_items(self, path: Path) -> Items:
        """The prompts of ``dsg-1k-anns.csv``.

        Raises:
            RecordError: it cannot be read as one; the message names the line.
        """
        items = read_propositions(path, ABOUT.name, items=ITEMS, questions=QUESTIONS)
        extras = {id: {**own, "category": category_of(own["item_id"])} for id, own in items.extras.items()}
        for own in extras.values():
            own.pop("first_row", None)  # nothing here depends on which row is the first
        return replace(items, extras=extras, digest="")

    def read_evidence(self, path: Path, items: Items, *, model: str | None = None) -> Replies:
        """Answers of the release, or any CSV file of `read_answer_rows`.

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
        official, headline = _official(items, evidence, seed)
        fixed = _fixed(items, evidence, seed)
        counts = count_replies(items, evidence, lambda _, reply: not math.isnan(fixed_yes(reply)), fixed.headline.n)
        return BenchmarkResult(
            benchmark=ABOUT.name,
            model=evidence.model,
            judge=evidence.judge,
            official_judge=ABOUT.official_judge,
            judge_note="" if any(one in evidence.judge.casefold() for one in ("pali", "mplug", "instructblip")) else ABOUT.judge_note,
            headline=HEADLINE,
            unit="percent",
            level=LEVEL,
            official=official,
            fixed=fixed,
            faults=_faults(items, evidence, headline),
            counts=counts,
            notes=[*part_note(counts), *evidence.notes],
            items_digest=items.digest,
        )


def _fixed(items: Items, replies: Replies, seed: int) -> Numbers:
    """What was not answered is missing; prompts without answers are left out."""
    lined = sheet(items, replies, lambda _, reply: fixed_yes(reply))
    return _told("fixed", items, lined, *_columns(lined, None), seed)


def _official(
    items: Items, replies: Replies, seed: int | None, *, malformed: bool = True, exact: bool = True, zeros: bool = True
) -> tuple[Numbers, float]:
    """As the released code scores; each of its faults can be left out.

    Args:
        items: the benchmark.
        replies: the answers.
        seed: of the intervals; None leaves them out.
        malformed: an item with any malformed dependency loses all of them.
        exact: only the exact text ``yes`` counts.
        zeros: a prompt without answers scores 0.

    Returns:
        The numbers, and the headline.
    """

    def parents(question: Mapping[str, Any], record: Mapping[str, Any]) -> Sequence[str]:
        extra = items.extras[record["id"]]
        return () if malformed and extra["malformed"] else tuple(question["depends_on"])

    def credit(_: Mapping[str, Any], reply: Reply | None) -> float:
        if not exact:
            return fixed_yes(reply)
        return 0.0 if reply is None or reply.status == "failed" else exact_yes(reply)

    lined = sheet(items, replies, credit, parents=parents)
    by_item, micro = _columns(lined, _covered(items, lined) if zeros else None)
    headline = PERCENT * Mean.of(by_item[HEADLINE]).value
    return (Numbers("official", NOTHING) if seed is None else _told("official", items, lined, by_item, micro, seed)), headline


def _columns(lined: Sheet, covered: Bools | None) -> tuple[dict[str, Floats], Mean]:
    """``(items,)`` scores of each column but micro, and micro. Prompts that are covered and have no score get 0."""
    rules = {"library": library, "in_place": in_place, "fixpoint": fixpoint}
    after = {name: rule(lined.credit, lined.child, lined.parent) for name, rule in rules.items()}
    by_item = {name: item_means(lined, values) for name, values in after.items()}
    by_item["no_dependency"] = item_means(lined, lined.credit)
    by_item["paper"] = (by_item["library"] + by_item["no_dependency"]) / 2
    by_item["all_correct"] = lined.by_item(lined.all_right())
    if covered is not None:
        by_item = {name: np.where(covered & np.isnan(values), 0.0, values) for name, values in by_item.items()}
    return by_item, Mean.over(lined.item[lined.media], after["library"], len(lined.items))


def _categories(items: Items) -> tuple[str, ...]:
    return tuple(str(items.extras[record["id"]]["category"]) for record in items.records)


def _covered(items: Items, lined: Sheet) -> Bools:
    """``(items,)`` those of categories with any answer: a model judged on TIFA-160 alone is scored on its 160 prompts."""
    category = _categories(items)
    with_answers = {category[item] for item in lined.item.tolist()}
    return np.array([one in with_answers for one in category], dtype=np.bool_)


def _told(compat: str, items: Items, lined: Sheet, by_item: Mapping[str, Floats], micro: Mean, seed: int) -> Numbers:
    """Columns and categories with intervals."""
    means = {name: Mean.of(values) for name, values in by_item.items()} | {"micro": micro}
    category = np.array(_categories(items))
    wanted = {name: means[name] for name in COLUMNS}
    for name in (*CATEGORIES, OTHER):
        own = part(means[HEADLINE], category == name)
        if own.n:
            wanted[f"category\0{name}"] = own
    found = estimates(wanted, seed=seed)
    by = {name.partition("\0")[2]: one for name, one in found.items() if "\0" in name}
    return Numbers(compat, found[HEADLINE], {name: found[name] for name in COLUMNS}, {"category": by})


def _faults(items: Items, replies: Replies, headline: float) -> list[Fault]:
    return [
        Fault(
            "malformed-dependencies",
            "A prompt with one dependency that is no number loses all its dependencies.",
            headline - _official(items, replies, None, malformed=False)[1],
        ),
        Fault(
            "exact-yes",
            "Only an answer that is exactly 'yes' counts as yes; another spelling of it, or an empty, unreadable or absent one, is a no.",
            headline - _official(items, replies, None, exact=False)[1],
        ),
        Fault(
            "silence-is-zero",
            "A prompt without any answer scores 0 and stays in the mean.",
            headline - _official(items, replies, None, zeros=False)[1],
        ),
    ]


DSG = DsgBench()
