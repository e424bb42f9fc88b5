"""Davidsonian Scene Graph (DSG-1k; Cho et al., ICLR 2024): its questions, its answers, and every official way to score them.

Two ways of reading the same files:

- ``official`` does what the released code does, so that published numbers come out to the digit: an item with any malformed dependency
  loses all its dependencies, an answer counts as "yes" only if it is exactly ``yes``, and a prompt without answers scores 0.
- ``fixed`` repairs what can be repaired: a dependency ``'5, right'`` is 5, ``Yes.`` is "yes", and what was not answered, or not with yes or
  no, is missing rather than wrong.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anyscene.benchmarks.reading import csv_rows
from anyscene.errors import RecordError, SpecError
from anyscene.judges.prompts import parse_yes_no
from anyscene.scoring.question_bank import Floats, Ints
from anyscene.scoring.scores import fixpoint, in_place, library, mean_by
from anyscene.scoring.statistics import LEVEL, Mean, bootstrap

__all__ = [
    "COLUMNS",
    "COMPATS",
    "DsgAnswers",
    "DsgCounts",
    "DsgPrompt",
    "DsgQuestion",
    "DsgScores",
    "category_of",
    "parents_of",
    "read_dsg_answers",
    "read_dsg_questions",
    "score_dsg",
    "whole_number",
]

COMPATS = ("official", "fixed")
COLUMNS = ("library", "in_place", "fixpoint", "no_dependency", "paper", "micro", "all_correct")
"""Scores of a whole run, see `DsgScores`."""
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
_QUESTION_COLUMNS = ("item_id", "proposition_id", "dependency", "question_natural_language")
_ANSWER_COLUMNS = ("item_id", "question_id", "answer")
_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,9}\s*")
_WHOLE = re.compile(r"\s*([+-]?[0-9]{1,9})(?:\.0+)?\s*")


@dataclass(frozen=True, slots=True)
class DsgQuestion:
    """One proposition of a prompt; its right answer is "yes".

    Attributes:
        id: number in its prompt, from 1.
        text: the question.
        depends_on: ids of questions that must hold for it to have a sense; without 0, which stands for none.
        broad: entity, attribute, relation, global or other.
        detailed: finer category.
        proposition: the semantic tuple, ``attribute - color (cube, purple)``.
    """

    id: int
    text: str
    depends_on: tuple[int, ...]
    broad: str
    detailed: str
    proposition: str


@dataclass(frozen=True, slots=True)
class DsgPrompt:
    """A prompt with its questions, in the order of the file.

    Attributes:
        id: ``item_id``.
        text: what the picture was made from.
        category: one of eight; ``other`` for ids of somebody's own.
        questions: at least one.
        malformed: has it a dependency that is no number?
    """

    id: str
    text: str
    category: str
    questions: tuple[DsgQuestion, ...]
    malformed: bool


@dataclass(frozen=True, slots=True)
class DsgAnswers:
    """The answers of one judge about the pictures of one model.

    Attributes:
        model: name of the text-to-image model, as in the file; empty where the file names none.
        by_item: ``item_id`` to question id to the answer's text, in the order of the file.
        duplicates: rows that repeat a question; the last one counts.
    """

    model: str
    by_item: Mapping[str, Mapping[int, str]]
    duplicates: int


@dataclass(frozen=True, slots=True)
class DsgCounts:
    """What was there and what was not.

    Attributes:
        prompts: in the denominator: those of the categories that have any answer.
        prompts_without_answers: of these. Officially they score 0; fixed, they are left out.
        questions: of these prompts.
        answered: with yes or no, leniently read.
        yes: of the answered.
        empty: an answer was stored, and it is empty.
        unparsed: neither yes nor no, nor empty. Officially these and the empty ones count as "no".
        unanswered: no answer was stored, though the prompt has others.
        unknown: answers to questions or prompts that the file of questions does not hold.
        duplicates: rows that repeat a question.
        malformed_prompts: prompts with a dependency that is no number.
        dangling: dependencies on questions that are not there.
    """

    prompts: int
    prompts_without_answers: int
    questions: int
    answered: int
    yes: int
    empty: int
    unparsed: int
    unanswered: int
    unknown: int
    duplicates: int
    malformed_prompts: int
    dangling: int


@dataclass(frozen=True)
class DsgScores:
    """All scores of a run, in percent.

    Attributes:
        model: whose pictures.
        compat: ``official`` or ``fixed``.
        columns: for each of ``COLUMNS``: ``library`` (the published score), ``in_place`` and ``fixpoint`` (other readings of the dependency
            rule), ``no_dependency``, ``paper`` (half with, half without dependencies), all as means over prompts; ``micro``, the library
            rule as a mean over questions of prompts with answers; ``all_correct``, the share of prompts with every answer right. NaN where
            nothing was answered.
        intervals: of each column, at `level`, from a bootstrap over prompts.
        by_category: the library score of each category.
        categories: every column of each category.
        level: of the intervals.
        counts: what was there and what was not.
        prompts: ids of the prompts in the denominator.
        by_prompt: for each column but ``micro`` the score of each of `prompts`, fractions of one, NaN where missing.
    """

    model: str
    compat: str
    columns: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float] | None]
    by_category: Mapping[str, float]
    categories: Mapping[str, Mapping[str, float]]
    level: float
    counts: DsgCounts
    prompts: tuple[str, ...]
    by_prompt: Mapping[str, Floats]

    def to_dict(self) -> dict[str, Any]:
        """As JSON, in percent; null where nothing was answered."""

        def clean(values: Mapping[str, float]) -> dict[str, float | None]:
            return {name: None if math.isnan(value) else value for name, value in values.items()}

        return {
            "benchmark": "dsg",
            "model": self.model,
            "compat": self.compat,
            **clean(self.columns),
            "by_category": clean(self.by_category),
            "categories": {name: clean(values) for name, values in self.categories.items()},
            "level": self.level,
            "intervals": {name: None if ends is None else list(ends) for name, ends in self.intervals.items()},
            "counts": asdict(self.counts),
        }


def category_of(item_id: str) -> str:
    """The category of a prompt, from its id; the first that matches, as in the official code."""
    return next((category for part, category in _CATEGORIES if part in item_id), OTHER)


def read_dsg_questions(path: Path, compat: str = "official") -> list[DsgPrompt]:
    """The prompts of ``dsg-1k-anns.csv``, or of a file with its columns, in order.

    Raises:
        RecordError: the file cannot be read, lacks a column or has a wrong number; the message names the line.
        SpecError: no such `compat`.
    """
    _check_compat(compat)
    texts: dict[str, str] = {}
    questions: dict[str, dict[int, DsgQuestion]] = {}
    malformed: set[str] = set()
    for line, row in csv_rows(path, _QUESTION_COLUMNS):
        item, number = row["item_id"], whole_number(row["proposition_id"])
        if number is None:
            raise RecordError(f"{path}, line {line}: proposition_id {row['proposition_id']!r} is no whole number")
        parents, clean = parents_of(row["dependency"])
        if not clean:
            malformed.add(item)
        texts.setdefault(item, row.get("text", ""))
        questions.setdefault(item, {})[number] = DsgQuestion(
            number,
            row["question_natural_language"],
            parents,
            *(row.get(name, "") for name in ("category_broad", "category_detailed", "tuple")),
        )
    if not questions:
        raise RecordError(f"{path} holds no questions")
    found = []
    for item, own in questions.items():
        drop = compat == "official" and item in malformed
        kept = tuple(DsgQuestion(q.id, q.text, () if drop else q.depends_on, q.broad, q.detailed, q.proposition) for q in own.values())
        found.append(DsgPrompt(item, texts[item], category_of(item), kept, item in malformed))
    return found


def read_dsg_answers(path: Path, model: str | None = None) -> DsgAnswers:
    """The stored answers about one model's pictures: a CSV file with ``item_id``, ``question_id``, ``answer`` and perhaps ``t2i_model``.

    Args:
        path: the file.
        model: which model, as in the column ``t2i_model``; may be left out where the file has one.

    Raises:
        RecordError: the file cannot be read, lacks a column or has a wrong number; the message names the line.
        SpecError: the model is not in the file, or none is named and there are several.
    """
    by_model: dict[str, dict[str, dict[int, str]]] = {}
    duplicates: dict[str, int] = {}
    for line, row in csv_rows(path, _ANSWER_COLUMNS):
        number = whole_number(row["question_id"])
        if number is None:
            raise RecordError(f"{path}, line {line}: question_id {row['question_id']!r} is no whole number")
        name = row.get("t2i_model") or ""
        own = by_model.setdefault(name, {}).setdefault(row["item_id"], {})
        duplicates[name] = duplicates.get(name, 0) + (number in own)
        own[number] = row["answer"]
    if not by_model:
        raise RecordError(f"{path} holds no answers")
    if model is None and len(by_model) == 1:
        model = next(iter(by_model))
    if model is None or model not in by_model:
        if list(by_model) == [""] and model is not None:
            return DsgAnswers(model, by_model[""], duplicates[""])  # the file names no model: all of it is about this one
        asked = "which model is to be scored? " if model is None else f"no answers about {model!r}; "
        raise SpecError(f"{path}: {asked}the file has {', '.join(sorted(by_model))}")
    return DsgAnswers(model, by_model[model], duplicates[model])


def score_dsg(
    prompts: Sequence[DsgPrompt], answers: DsgAnswers, *, compat: str = "official", seed: int = 0, level: float = LEVEL
) -> DsgScores:
    """Every official score of one model's pictures by one judge.

    Prompts of a category about which there is no answer at all are left out: a model judged on TIFA-160 alone is scored on its 160 prompts.

    Args:
        prompts: from `read_dsg_questions`, read with the same `compat`.
        answers: from `read_dsg_answers`.
        compat: ``official`` or ``fixed``.
        seed: of the bootstrap over prompts.
        level: of the intervals.

    Raises:
        RecordError: none of the answers is about these prompts.
        SpecError: no such `compat`.
    """
    _check_compat(compat)
    covered = {prompt.category for prompt in prompts if answers.by_item.get(prompt.id)}
    if not covered:
        raise RecordError(f"none of the answers about {answers.model!r} belongs to these {len(prompts)} prompts")
    scope = [prompt for prompt in prompts if prompt.category in covered]
    table = _Table.of(scope, answers, compat)
    rules = {"library": library, "in_place": in_place, "fixpoint": fixpoint}
    after = {name: rule(table.credit, table.child, table.parent) for name, rule in rules.items()}
    by_prompt = {name: mean_by(table.owner, values, len(scope)) for name, values in after.items()}
    by_prompt["no_dependency"] = mean_by(table.owner, table.credit, len(scope))
    by_prompt["paper"] = (by_prompt["library"] + by_prompt["no_dependency"]) / 2
    by_prompt["all_correct"] = table.all_correct(len(scope))
    if compat == "official":
        by_prompt = {name: np.where(table.answered, values, 0.0) for name, values in by_prompt.items()}
    means = {name: Mean.of(values) for name, values in by_prompt.items()}
    means["micro"] = Mean.over(table.owner, after["library"], len(scope))
    estimates = bootstrap({name: [(1.0, means[name])] for name in COLUMNS}, seed=seed, level=level)
    category = np.array([prompt.category for prompt in scope])
    categories = {
        name: {column: 100 * _part(means[column], category == name).value for column in COLUMNS}
        for name in (*CATEGORIES, OTHER)
        if name in covered
    }
    return DsgScores(
        model=answers.model,
        compat=compat,
        columns={name: 100 * means[name].value for name in COLUMNS},
        intervals={name: _percent(estimates[name].low, estimates[name].high) for name in COLUMNS},
        by_category={name: values["library"] for name, values in categories.items()},
        categories=categories,
        level=level,
        counts=_counts(prompts, scope, answers, table),
        prompts=tuple(prompt.id for prompt in scope),
        by_prompt=by_prompt,
    )


@dataclass(frozen=True)
class _Table:
    """Questions of the prompts in scope, in order, with the credit of their answers; those of prompts without answers are left out."""

    owner: Ints
    credit: Floats
    child: Ints
    parent: Ints
    answered: np.ndarray[Any, np.dtype[np.bool_]]
    dangling: int
    unknown: int
    unanswered: int

    @classmethod
    def of(cls, scope: Sequence[DsgPrompt], answers: DsgAnswers, compat: str) -> _Table:
        owner: list[int] = []
        credit: list[float] = []
        edges: list[tuple[int, int]] = []
        dangling = unknown = unanswered = 0
        for place, prompt in enumerate(scope):
            said = answers.by_item.get(prompt.id) or {}
            own = {question.id: question for question in prompt.questions}
            extra = [number for number in said if number not in own]
            unknown += len(extra)
            dangling += sum(parent not in own for question in prompt.questions for parent in question.depends_on)
            if not said:
                continue
            unanswered += sum(number not in said for number in own)
            numbers = [*own, *(extra if compat == "official" else ())]  # officially, every stored answer counts
            row_of = {number: len(credit) + i for i, number in enumerate(numbers)}
            owner += [place] * len(numbers)
            credit += [_credit(said.get(number), compat) for number in numbers]
            for question in prompt.questions:
                parents = [row_of[parent] for parent in question.depends_on if parent in row_of]
                edges += [(row_of[question.id], parent) for parent in parents]
        pairs = np.array(edges, dtype=np.int64).reshape(-1, 2)
        answered = np.array([bool(answers.by_item.get(prompt.id)) for prompt in scope], dtype=np.bool_)
        return cls(np.array(owner, dtype=np.int64), np.array(credit), pairs[:, 0], pairs[:, 1], answered, dangling, unknown, unanswered)

    def all_correct(self, size: int) -> Floats:
        """``(prompts,)`` 1 or 0; NaN where an answer is missing."""
        asked, right = np.bincount(self.owner, minlength=size), np.bincount(self.owner, self.credit == 1, size)
        lost = np.bincount(self.owner, np.isnan(self.credit), size)
        return np.where((asked > 0) & (lost == 0), (asked == right).astype(np.float64), np.nan)


def _credit(answer: str | None, compat: str) -> float:
    if compat == "official":
        return float(answer == "yes")
    verdict = None if answer is None else parse_yes_no(answer)
    return math.nan if verdict is None else float(verdict)


def _counts(prompts: Sequence[DsgPrompt], scope: Sequence[DsgPrompt], answers: DsgAnswers, table: _Table) -> DsgCounts:
    known = {prompt.id: {question.id for question in prompt.questions} for prompt in scope}
    texts = [text for item, own in answers.by_item.items() for number, text in own.items() if number in known.get(item, ())]
    verdicts = [parse_yes_no(text) for text in texts]
    empty = sum(not text.strip() for text in texts)
    all_ids = {prompt.id for prompt in prompts}
    return DsgCounts(
        prompts=len(scope),
        prompts_without_answers=int((~table.answered).sum()),
        questions=sum(len(own) for own in known.values()),
        answered=sum(verdict is not None for verdict in verdicts),
        yes=sum(verdict is True for verdict in verdicts),
        empty=empty,
        unparsed=sum(verdict is None for verdict in verdicts) - empty,
        unanswered=table.unanswered,
        unknown=table.unknown + sum(len(own) for item, own in answers.by_item.items() if item not in all_ids),
        duplicates=answers.duplicates,
        malformed_prompts=sum(prompt.malformed for prompt in scope),
        dangling=table.dangling,
    )


def _part(mean: Mean, mask: np.ndarray[Any, np.dtype[np.bool_]]) -> Mean:
    own = mask[mean.place]
    return Mean(mean.scenes, mean.place[own], mean.total[own], mean.weight[own])


def _percent(low: float | None, high: float | None) -> tuple[float, float] | None:
    return None if low is None or high is None else (100 * low, 100 * high)


def _check_compat(compat: str) -> None:
    if compat not in COMPATS:
        raise SpecError(f"compat {compat!r}: it must be one of {', '.join(COMPATS)}")


def whole_number(text: str) -> int | None:
    """A number of at most nine digits, perhaps written with ``.0``; None for anything else."""
    match = _WHOLE.fullmatch(text)
    return int(match.group(1)) if match else None


def parents_of(text: str) -> tuple[tuple[int, ...], bool]:
    """The ids in a comma list, without 0, and whether all parts of it are numbers."""
    parts = [_INTEGER.fullmatch(part) for part in text.split(",")]
    numbers = [int(part[0]) if part else None for part in parts]
    return tuple(dict.fromkeys(number for number in numbers if number)), None not in numbers
