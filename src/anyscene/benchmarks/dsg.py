"""Davidsonian Scene Graph (DSG-1k; Cho et al., ICLR 2024): answers of any judge, scored by every official rule for dependencies.

- ``official`` does what the released code does, so that published numbers come out to the digit: an item with any malformed dependency
  loses all its dependencies, an answer counts as "yes" only if it is exactly ``yes``, and a prompt without answers scores 0.
- ``fixed`` repairs what can be repaired: a dependency ``'5, right'`` is 5, ``Yes.`` is "yes", and what was not answered, or not with yes or
  no, is missing rather than wrong.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from anyscene.benchmarks.answer_files import read_answer_rows
from anyscene.benchmarks.asking import PERCENT, Sheet, count_replies, estimates, exact_yes, fixed_yes, item_means, part, part_notes, sheet
from anyscene.benchmarks.benchmark import About, BenchmarkResult, Fault, Items, Numbers, Replies, Reply, result_of
from anyscene.benchmarks.propositions import read_propositions
from anyscene.scoring.question_bank import Bools, Floats
from anyscene.scoring.scores import fixpoint, in_place, library
from anyscene.scoring.statistics import Mean

__all__ = ["CATEGORIES", "COLUMNS", "DSG", "DsgBench", "category_of", "prompt_scores"]

COLUMNS = ("library", "in_place", "fixpoint", "no_dependency", "paper", "micro", "all_correct")
"""Scores of a whole run: ``library`` (the published score), ``in_place`` and ``fixpoint`` (other readings of the dependency rule),
``no_dependency``, ``paper`` (half with, half without dependencies), all as means over prompts; ``micro``, the library rule as a mean over
the questions of prompts with answers; ``all_correct``, the share of prompts with every answer right."""
_CATEGORIES = (
    ("tifa", "tifa"),
    ("stanford", "paragraph"),
    ("localized", "paragraph"),
    ("countbench", "count"),
    ("vrd", "relation"),
    ("diffusion", "real_user"),
    ("midjourney", "real_user"),
    ("posescript", "pose"),
    ("whoops", "defying"),
    ("drawtext", "text"),
)
CATEGORIES = tuple(dict.fromkeys(category for _, category in _CATEGORIES))
OTHER = "other"
ITEMS, QUESTIONS = 1_060, 8_182
HEADLINE = "library"
JUDGES = ("pali", "mplug", "instructblip")

ABOUT = About(
    name="dsg",
    title="DSG-1k (Cho et al., Davidsonian Scene Graph, ICLR 2024)",
    licence="Apache-2.0",
    home="j-min/DSG",
    files="dsg/data/dsg-1k-anns.csv",
    evidence=("answers",),
    stored="a CSV file with item_id, question_id, answer, as those of vqa_answers_release",
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
        official = _Reading.official(items, evidence)
        fixed = _Reading.fixed(items, evidence).numbers("fixed", items, seed)
        counts = count_replies(items, evidence, lambda _, reply: not math.isnan(fixed_yes(reply)), fixed.headline.n)

        def effect(**mended: bool) -> float:
            return official.headline - _Reading.official(items, evidence, **mended).headline

        return result_of(
            ABOUT,
            items,
            evidence,
            official.numbers("official", items, seed),
            fixed,
            headline=HEADLINE,
            unit="percent",
            faults=[
                Fault(
                    "malformed-dependencies",
                    "A prompt with one dependency that is no number loses all its dependencies.",
                    effect(malformed=False),
                ),
                Fault(
                    "exact-yes",
                    "Only an answer that is exactly 'yes' counts as yes; another spelling of it, or an empty, unreadable or absent one, is "
                    "a no.",
                    effect(exact=False),
                ),
                Fault("silence-is-zero", "A prompt without any answer scores 0 and stays in the mean.", effect(zeros=False)),
            ],
            counts=counts,
            notes=part_notes(ABOUT, evidence, counts),
            judge_note="" if any(one in evidence.judge.casefold() for one in JUDGES) else ABOUT.judge_note,
        )


def category_of(item_id: str) -> str:
    """The category of a prompt, from its id; the first that matches, as in the official code."""
    return next((category for part, category in _CATEGORIES if part in item_id), OTHER)


def prompt_scores(items: Items, replies: Replies) -> dict[str, Floats]:
    """``(items,)`` official scores of each prompt, fractions of one, for each of ``COLUMNS`` but micro; NaN where a prompt does not count.

    Raises:
        RecordError: none of the answers is about these items.
    """
    return _Reading.official(items, replies).by_item


class _Reading:
    """The scores of each prompt in one reading. Prompts that are covered and have no score get 0.

    Args:
        lined: questions and their credit.
        covered: ``(items,)`` prompts that count whether or not there are answers; None: only those with answers.
    """

    def __init__(self, lined: Sheet, covered: Bools | None) -> None:
        rules = {"library": library, "in_place": in_place, "fixpoint": fixpoint}
        after = {name: rule(lined.credit, lined.child, lined.parent) for name, rule in rules.items()}
        by_item = {name: item_means(lined, values) for name, values in after.items()}
        by_item["no_dependency"] = item_means(lined, lined.credit)
        by_item["paper"] = (by_item["library"] + by_item["no_dependency"]) / 2
        by_item["all_correct"] = lined.by_item(lined.all_right())
        if covered is not None:
            by_item = {name: np.where(covered & np.isnan(values), 0.0, values) for name, values in by_item.items()}
        self.by_item = by_item
        self.micro = Mean.over(lined.item[lined.media], after["library"], len(lined.items))

    @classmethod
    def fixed(cls, items: Items, replies: Replies) -> _Reading:
        """What was not answered is missing; prompts without answers are left out."""
        return cls(sheet(items, replies, lambda _, reply: fixed_yes(reply)), None)

    @classmethod
    def official(cls, items: Items, replies: Replies, *, malformed: bool = True, exact: bool = True, zeros: bool = True) -> _Reading:
        """As the released code scores; each of its faults can be left out.

        Args:
            items: the benchmark.
            replies: the answers.
            malformed: an item with any malformed dependency loses all of them.
            exact: only the exact text ``yes`` counts.
            zeros: a prompt without answers scores 0.
        """

        def parents(question: Mapping[str, Any], record: Mapping[str, Any]) -> Sequence[str]:
            return () if malformed and items.extras[record["id"]]["malformed"] else tuple(question["depends_on"])

        def credit(_: Mapping[str, Any], reply: Reply | None) -> float:
            if not exact:
                return fixed_yes(reply)
            return 0.0 if reply is None or reply.status == "failed" else exact_yes(reply)

        lined = sheet(items, replies, credit, parents=parents)
        return cls(lined, _covered(items, lined) if zeros else None)

    @property
    def headline(self) -> float:
        """In percent."""
        return PERCENT * Mean.of(self.by_item[HEADLINE]).value

    def numbers(self, compat: str, items: Items, seed: int) -> Numbers:
        """Columns and categories with intervals."""
        means = {name: Mean.of(values) for name, values in self.by_item.items()} | {"micro": self.micro}
        category = np.array(_categories(items))
        wanted = {name: means[name] for name in COLUMNS}
        for name in (*CATEGORIES, OTHER):
            own = part(means[HEADLINE], category == name)
            if own.n:
                wanted[f"category\0{name}"] = own
        found = estimates(wanted, seed=seed)
        by = {name.partition("\0")[2]: one for name, one in found.items() if "\0" in name}
        return Numbers(compat, found[HEADLINE], {name: found[name] for name in COLUMNS}, {"category": by})


def _categories(items: Items) -> tuple[str, ...]:
    return tuple(str(items.extras[record["id"]]["category"]) for record in items.records)


def _covered(items: Items, lined: Sheet) -> Bools:
    """``(items,)`` those of categories with any answer: a model judged on TIFA-160 alone is scored on its 160 prompts."""
    category = _categories(items)
    with_answers = {category[item] for item in lined.item.tolist()}
    return np.array([one in with_answers for one in category], dtype=np.bool_)


DSG = DsgBench()
