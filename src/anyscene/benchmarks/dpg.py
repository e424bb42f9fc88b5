"""DPG-Bench (Hu et al., ELLA, 2024): 1,065 long prompts, four pictures of each, yes/no questions with dependencies.

The score of a picture is the share of its questions answered "yes", where a question counts 0 if one that it depends on does; zeros pass on
in the order of the file (`anyscene.scoring.scores.in_place`). Prompts count alike. The official reading also skips the first row of the
file, takes the categories from the last picture alone, before dependencies, and drops every prompt at which anything went wrong.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from anyscene.benchmarks.answer_files import read_answer_rows, reader_notes
from anyscene.benchmarks.asking import Sheet, count_replies, estimates, exact_yes, fixed_yes, item_means, part_notes, sheet
from anyscene.benchmarks.benchmark import About, BenchmarkResult, Fault, Items, Note, Numbers, Replies, Reply, result_of
from anyscene.benchmarks.propositions import parents_of, read_propositions
from anyscene.benchmarks.reading import text_lines
from anyscene.errors import RecordError
from anyscene.scoring.question_bank import Floats
from anyscene.scoring.scores import fixpoint, in_place, library
from anyscene.scoring.statistics import Mean

__all__ = ["DPG", "DpgBench"]

ITEMS = 1_065
FIRST_ROW = ("partiprompts97", "q1")
"""Of the released file; a copy in another order is read as the released one."""
SAMPLES = 4
_DETAIL = re.compile(r"(.*), \((\d{1,6}), (\d{1,6}), (\d{1,6}), (\d{1,6})\), (.*)")
_CATEGORY = re.compile(r"\s*([^(]*?)\s*(?:\(|\Z)")

ABOUT = About(
    name="dpg",
    title="DPG-Bench (Hu et al., ELLA: Equip Diffusion Models with LLM for Enhanced Semantic Alignment, 2024)",
    licence="Apache-2.0",
    home="TencentQQGYLab/ELLA",
    files="dpg_bench/dpg_bench.csv",
    evidence=("answers",),
    stored="the _detail.txt of the released script, or a CSV file with item_id, question_id, answer",
    layouts=("dpg",),
    samples=SAMPLES,
    modality="image",
    official_judge="mPLUG-large (damo/mplug_visual-question-answering_coco_large_en), greedy text, exactly 'yes' counts",
    judge_note="not mPLUG-large: P(yes) over P(no) above one half counts as 'yes'; published numbers do not compare",
)


class DpgBench:
    """DPG-Bench."""

    about = ABOUT

    def import_items(self, path: Path) -> Items:
        """The prompts of ``dpg_bench.csv``.

        Raises:
            RecordError: it cannot be read as one; the message names the line.
        """
        items = read_propositions(path, ABOUT.name, items=ITEMS, questions=None)
        first = items.extras.get(FIRST_ROW[0], {})
        if FIRST_ROW[1] not in first.get("questions", {}):
            return items
        extras = {id: {key: value for key, value in own.items() if key != "first_row"} for id, own in items.extras.items()}
        extras[FIRST_ROW[0]]["first_row"] = FIRST_ROW[1]
        return replace(items, extras=extras, digest="")

    def read_evidence(self, path: Path, items: Items, *, model: str | None = None) -> Replies:
        """Answers: the ``_detail.txt`` that the released script writes, or a CSV file (`read_answer_rows`).

        Raises:
            RecordError: it cannot be read; the message names the line.
            SpecError: which model is not said.
        """
        if path.suffix.lower() == ".txt":
            return _read_detail(path, items, model or "")
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
        lined = sheet(items, evidence, lambda _, reply: fixed_yes(reply))
        rules = {"in_place": in_place, "library": library, "fixpoint": fixpoint}
        after = {name: rule(lined.credit, lined.child, lined.parent) for name, rule in rules.items()}
        means = {name: Mean.of(item_means(lined, values)) for name, values in after.items()}
        means["no_dependency"] = Mean.of(item_means(lined, lined.credit))
        categories = {
            f"{level}\0{name}": mean for level, own in _categories(items, lined, after["in_place"]).items() for name, mean in own.items()
        }
        found = estimates(means | categories, seed=seed)
        fixed = Numbers("fixed", found["in_place"], {name: found[name] for name in means}, _by(found))
        official, tiles = _official(items, evidence)
        own = estimates(
            {"": Mean.of(official), **{f"{level}\0{name}": mean for level, by in tiles.items() for name, mean in by.items()}}, seed=seed
        )
        counts = count_replies(items, evidence, lambda _, reply: not math.isnan(fixed_yes(reply)), means["in_place"].n)
        return result_of(
            ABOUT,
            items,
            evidence,
            Numbers("official", own[""], {}, _by(own)),
            fixed,
            headline="DPG score",
            unit="percent",
            faults=_faults(items, evidence, official),
            counts=counts,
            notes=[*part_notes(ABOUT, evidence, counts), *_dropped(items, official, evidence)],
            judge_note="" if "mplug" in evidence.judge.casefold() else ABOUT.judge_note,
        )


def _by(found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    by: dict[str, dict[str, Any]] = {}
    for name, one in found.items():
        level, zero, own = name.partition("\0")
        if zero:
            by.setdefault(level, {})[own] = one
    return by


def _names(extra: Mapping[str, Any]) -> tuple[str, str]:
    """(L1, L2) of a question: the words of its tuple before the dash, and before the bracket."""
    found = _CATEGORY.match(str(extra["tuple"]))
    second = found[1] if found else ""
    return second.split("-")[0].strip(), second


def _categories(items: Items, lined: Sheet, values: Floats) -> dict[str, dict[str, Mean]]:
    """Means over questions of all pictures, by category."""
    rows: dict[str, dict[str, list[int]]] = {"L1": {}, "L2": {}}
    item = lined.item[lined.media]
    for row, (place, id) in enumerate(zip(item.tolist(), lined.question, strict=True)):
        extra = items.extras[lined.items[place]]["questions"][id]
        for level, name in zip(rows, _names(extra), strict=True):
            rows[level].setdefault(name, []).append(row)
    return {
        level: {name: Mean.over(item[own], values[own], len(lined.items)) for name, own in sorted(by.items())} for level, by in rows.items()
    }


def _official(items: Items, replies: Replies, *, skip_first: bool = True, drop: bool = True) -> tuple[Floats, dict[str, dict[str, Mean]]]:
    """``(items,)`` scores as the released script gives them, NaN for what it drops, and its categories."""
    scores = np.full(len(items.records), np.nan)
    rows: dict[str, dict[str, list[tuple[int, float]]]] = {"L1": {}, "L2": {}}
    for place, record in enumerate(items.records):
        extra = items.extras[record["id"]]
        skipped = extra.get("first_row") if skip_first else None
        ids = [one["id"] for one in record["questions"] if one["id"] != skipped]
        tiles = [replies.by_media.get((record["id"], sample), {}) for sample in range(replies.samples)]
        parents = {id: [f"q{parent}" for parent in parents_of(extra["questions"][id]["dependency"])[0]] for id in ids}
        found = [_tile([exact_yes(said.get(id)) for id in ids], ids, parents, drop) for said in tiles]
        known = [one for one in found if one is not None]
        if not ids or not known or (drop and len(known) < len(found)):
            continue
        means = [np.nanmean(after) for _, after in known]
        scores[place] = sum(means) / len(means)
        if drop:
            for id, value in zip(ids, known[-1][0], strict=True):
                for level, name in zip(rows, _names(extra["questions"][id]), strict=True):
                    rows[level].setdefault(name, []).append((place, value))
    return scores, {
        level: {
            name: Mean.over(np.array([one for one, _ in own]), np.array([value for _, value in own]), len(scores))
            for name, own in sorted(by.items())
        }
        for level, by in rows.items()
    }


def _tile(
    said: Sequence[float], ids: Sequence[str], parents: Mapping[str, Sequence[str]], drop: bool
) -> tuple[list[float], list[float]] | None:
    """(answers, answers after dependencies) of one picture, None where the script fails at it or nothing is known."""
    if drop and any(math.isnan(one) for one in said):
        return None
    after = dict(zip(ids, said, strict=True))
    for id in ids:
        for parent in parents[id]:
            if parent not in after:
                if drop:
                    return None
                continue
            if after[parent] == 0:
                after[id] = 0.0 if not math.isnan(after[id]) else after[id]
                break
    if all(math.isnan(one) for one in after.values()):
        return None
    return list(said), list(after.values())


def _faults(items: Items, replies: Replies, official: Floats) -> list[Fault]:
    def mean(values: Floats) -> float | None:
        return 100 * Mean.of(values).value if (~np.isnan(values)).any() else None

    def effect(mended: Floats) -> float | None:
        whole, other = mean(official), mean(mended)
        return None if whole is None or other is None else whole - other

    return [
        Fault(
            "first-row",
            "The loader skips the first row of the file: its prompt loses a question, and is dropped where another question depends on it.",
            effect(_official(items, replies, skip_first=False)[0]),
        ),
        Fault(
            "dropped-prompts",
            "A prompt with a missing picture, an unanswered question or a dependency that is not there leaves the mean silently.",
            effect(_official(items, replies, drop=False)[0]),
        ),
        Fault(
            "last-tile",
            "Categories are taken from the last of the four pictures alone, before dependencies; the overall score is not touched.",
            0.0,
        ),
        Fault(
            "category-order",
            "Run by several processes, categories may be mixed up, for each goes through them in an order of its own; the overall score is "
            "not touched, and the official reading here is that of one process.",
            0.0,
        ),
    ]


def _dropped(items: Items, official: Floats, replies: Replies) -> list[Note]:
    said = {record for record, _ in replies.by_media}
    lost = [
        record["id"] for record, value in zip(items.records, official.tolist(), strict=True) if math.isnan(value) and record["id"] in said
    ]
    return [Note("prompts with answers are dropped by the official reading", len(lost), tuple(lost[:3]))] if lost else []


def _read_detail(path: Path, items: Items, model: str) -> Replies:
    """The file of answers that the released script writes: ``path, (left, top, right, bottom), question, answer`` a line.

    The script goes on at the end of a file that is there: run twice, it leaves every line twice.
    """
    records = items.by_item_id()
    by_tile: dict[str, dict[tuple[int, int], dict[str, str]]] = {}
    unknown = repeated = 0
    for number, line in text_lines(path):
        found = _DETAIL.fullmatch(line)
        if not found:
            raise RecordError(f"{path}, line {number}: not 'path, (left, top, right, bottom), question, answer': {line[:60]!r}")
        item = re.split(r"[/\\]", found[1])[-1].split(".")[0]
        asked = [one["text"] for one in records[item]["questions"]] if item in records else []
        # an answer may hold a comma: the question is the longest one that the line begins with
        question = max((text for text in asked if found[6].startswith(text + ",")), key=len, default=None)
        if question is None:
            unknown += 1
            continue
        answer = found[6][len(question) + 1 :].strip()
        own = by_tile.setdefault(item, {}).setdefault((int(found[3]), int(found[2])), {})
        repeated += question in own and asked.count(question) == 1
        if own.setdefault(question, answer) != answer:
            raise RecordError(
                f"{path}, line {number}: {item} has another answer to {question[:60]!r} in an earlier line; keep the lines of one run"
            )
    by_media: dict[tuple[str, int], dict[str, Reply]] = {}
    for item, tiles in by_tile.items():
        for sample, (_, own) in enumerate(sorted(tiles.items())):
            said = {one["id"]: Reply(own[one["text"]]) for one in records[item]["questions"] if one["text"] in own}
            by_media[records[item]["id"], sample] = said
    samples = max((sample for _, sample in by_media), default=0) + 1
    return Replies(by_media, model, "mplug-large", samples, reader_notes(unknown, repeated))


DPG = DpgBench()
