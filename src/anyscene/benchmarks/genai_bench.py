"""GenAI-Bench (Li et al., 2024): 1,600 prompts tagged with skills; VQAScore, the probability that a picture shows its whole prompt.

One question a prompt. The score of a skill is the mean over its prompts, "all" the mean over the prompts of any skill. Ratings of six
models by people come with the prompts and are kept in the extras, so that a judge can be held against them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from anyscene.benchmarks.answer_files import read_answer_rows
from anyscene.benchmarks.asking import Sheet, count_replies, estimates, part, part_notes, sheet
from anyscene.benchmarks.benchmark import About, BenchmarkResult, Fault, Items, Note, Numbers, Replies, Reply, make_record, result_of
from anyscene.benchmarks.reading import field, json_value, whole_number
from anyscene.errors import RecordError
from anyscene.judges.prompts import parse_yes_no
from anyscene.scoring.agreement import calibrate_ties, kendall_tau_b, pearson
from anyscene.scoring.question_bank import Bools, Floats
from anyscene.scoring.scores import mean_by
from anyscene.scoring.statistics import Estimate, Mean

__all__ = ["GENAI_BENCH", "GenAiBench"]

ITEMS = (1_600, 527)
PROMPTS, SKILLS = "genai_image.json", "genai_skills.json"
_ID = re.compile(r"[0-9]{1,6}")

ABOUT = About(
    name="genai-bench",
    title="GenAI-Bench (Li et al., Evaluating and Improving Compositional Text-to-Visual Generation, 2024), by VQAScore (Lin et al., 2024)",
    licence="Apache-2.0 (code and skill files)",
    home="BaiqiL/GenAI-Bench-1600 (data), linzhiqiu/t2v_metrics (code)",
    files=f"the folder with {PROMPTS} and {SKILLS}, or {PROMPTS} with the other beside it",
    evidence=("answers",),
    stored="a CSV file with item_id, score",
    layouts=("stems",),
    samples=1,
    modality="image",
    official_judge="CLIP-FlanT5-XXL: geometric mean of the probabilities of 'Yes' and of the end of the answer",
    judge_note="not CLIP-FlanT5-XXL: the value is P(yes) over P(yes) + P(no), in the judge's own words; published numbers do not compare",
)


class GenAiBench:
    """GenAI-Bench, pictures."""

    about = ABOUT

    def import_items(self, path: Path) -> Items:
        """The prompts with their skills and ratings.

        Raises:
            RecordError: a file is missing or cannot be read; the message names file and entry.
        """
        prompts = path / PROMPTS if path.is_dir() else path
        entries = json_value(prompts)
        if not isinstance(entries, dict) or not entries:
            raise RecordError(f'{prompts}: an object of prompts is wanted, {{"00000": {{"prompt": ..., "models": ...}}}}')
        notes: list[Note] = []
        skills, untagged = _skills(prompts.parent / SKILLS, set(entries), notes), []
        seen: dict[int, str] = {}
        records: list[dict[str, Any]] = []
        extras: dict[str, dict[str, Any]] = {}
        for index, (item, entry) in enumerate(sorted(entries.items())):
            where = f"{prompts}, {item!r}"
            if not _ID.fullmatch(item):
                raise RecordError(f"{where}: a key must be a number like '00000'")
            if seen.setdefault(int(item), item) != item:
                raise RecordError(f"{where}: {seen[int(item)]!r} is the same number; the two cannot be told apart")
            prompt = field(entry, "prompt", str, where).strip()
            if not prompt:
                raise RecordError(f"{where}: an empty prompt")
            question = {
                "id": "shows",
                "kind": "existence",
                "form": "yes_no",
                "text": f'Does this figure show "{prompt}"?',
                "answer": "yes",
            }
            records.append(make_record(ABOUT.name, item, index, prompt, [question], complexity=len(skills.get(item, ()))))
            extras[item] = {"item_id": item, "skills": skills.get(item, []), "people": _ratings(entry, where)}
            if item not in skills:
                untagged.append(item)
        if untagged:
            notes.append(Note("prompts have no skill: official 'all' leaves them out", len(untagged), tuple(untagged[:3])))
        if len(records) not in ITEMS:
            notes.insert(0, Note(f"prompts are in the file; the release has {ITEMS[0]:,} (its first part {ITEMS[1]})", len(records)))
        return Items(ABOUT.name, tuple(records), extras, tuple(notes))

    def read_evidence(self, path: Path, items: Items, *, model: str | None = None) -> Replies:
        """Scores as a CSV file with the columns ``item_id`` and ``score`` (0 to 1; empty: none), perhaps ``sample``, ``model``, ``judge``.

        Raises:
            RecordError: it cannot be read; the message names the line.
            SpecError: the model is not in it, or none is named and there are several.
        """
        known = {int(extra["item_id"]): str(extra["item_id"]) for extra in items.extras.values()}

        def item_of(text: str, where: str) -> str:
            number = whole_number(text)
            if number is None:
                raise RecordError(f"{where}: item_id {text[:40]!r} is no number of a prompt")
            return known.get(number, "")

        return read_answer_rows(
            path,
            items,
            model,
            columns=("item_id", "score"),
            questions=lambda record, row, where: ("shows",),
            reply=lambda row, where: _score(row["score"], where),
            item_of=item_of,
        )

    def score(self, items: Items, evidence: Replies, *, seed: int = 0) -> BenchmarkResult:
        """Both readings.

        Args:
            items: from `import_items`.
            evidence: answers; the probability of yes is the score.
            seed: of the bootstrap over prompts.

        Raises:
            RecordError: none of the answers is about these items.
        """
        lined = sheet(items, evidence, lambda _, reply: _value(reply))
        zeros = sheet(items, evidence, lambda _, reply: 0.0 if reply is None or math.isnan(_value(reply)) else _value(reply))
        tagged = np.array([bool(items.extras[id]["skills"]) for id in lined.items], dtype=np.bool_)
        values, officially = _by_prompt(lined), _by_prompt(zeros)
        shifted = _shifted(items, officially)
        people = _people(items, evidence.model, values)
        official = _numbers(items, shifted, "official", tagged, seed, people)
        fixed = _numbers(items, values, "fixed", np.ones(len(tagged), dtype=np.bool_), seed, people)
        headline = official.headline.value

        def effect(mended: Floats, mask: Bools) -> float | None:
            other = part(Mean.of(mended), mask)
            return None if headline is None or not other.n else headline - other.value

        counts = count_replies(items, evidence, lambda _, reply: not math.isnan(_value(reply)), fixed.headline.n)
        return result_of(
            ABOUT,
            items,
            evidence,
            official,
            fixed,
            headline="VQAScore, all",
            unit="fraction",
            faults=[
                Fault(
                    "untagged-prompts",
                    "'all' is the mean over prompts of any skill: those without a skill are painted and scored, and do not count.",
                    effect(shifted, np.ones(len(tagged), dtype=np.bool_)),
                ),
                Fault(
                    "position-for-name",
                    "The number in a prompt's name is used as its place in the list of scores: where names do not start at 0 without a "
                    "gap, skills get the scores of other prompts.",
                    effect(officially, tagged),
                ),
                Fault(
                    "silence-is-zero",
                    "A judge that fails, or whose first words hold neither yes nor no, scores 0.",
                    effect(_shifted(items, values), tagged),
                ),
            ],
            counts=counts,
            notes=part_notes(ABOUT, evidence, counts),
            judge_note="" if "flant5" in evidence.judge.casefold().replace("-", "") else ABOUT.judge_note,
        )


def _skills(path: Path, known: set[str], notes: list[Note]) -> dict[str, list[str]]:
    """Skills of each prompt, by its key."""
    given = json_value(path)
    if not isinstance(given, dict) or not given:
        raise RecordError(f"{path}: an object of skills is wanted, each with a list of numbers of prompts")
    found: dict[str, list[str]] = {}
    strangers: list[str] = []
    width = {int(one): one for one in sorted(known) if _ID.fullmatch(one)}
    for skill, numbers in given.items():
        if not isinstance(numbers, list):
            raise RecordError(f"{path}, {skill!r}: a list of numbers of prompts is wanted")
        for number in dict.fromkeys(map(str, numbers)):
            if not _ID.fullmatch(number):
                raise RecordError(f"{path}, {skill!r}: {number[:40]!r} is no number of a prompt")
            if int(number) not in width:
                strangers.append(number)
                continue
            found.setdefault(width[int(number)], []).append(skill)
    if strangers:
        notes.append(Note(f"numbers in {path.name} are of no prompt", len(strangers), tuple(strangers[:3])))
    return {item: sorted(own) for item, own in found.items()}


def _ratings(entry: Mapping[str, Any], where: str) -> dict[str, list[float]]:
    """People's ratings of each model's picture, 1 to 5; none where the file has none."""
    models = entry.get("models", {})
    if not isinstance(models, Mapping):
        raise RecordError(f"{where}: models must be an object of lists of ratings")
    for name, own in models.items():
        if not isinstance(own, list) or not all(
            isinstance(one, int | float) and not isinstance(one, bool) and 1 <= one <= 5 for one in own
        ):
            raise RecordError(f"{where}: the ratings of {name} must be numbers from 1 to 5, not {str(own)[:60]}")
    return {name: [float(one) for one in own] for name, own in models.items()}


def _score(text: str, where: str) -> Reply:
    if not text.strip():
        return Reply(None, status="failed")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise RecordError(f"{where}: score {text[:40]!r} is no number from 0 to 1")
    return Reply(None, value)


def _value(reply: Reply | None) -> float:
    """The probability of yes; NaN where there is none."""
    if reply is None or reply.status != "answered":
        return math.nan
    if reply.p_yes is not None:
        return reply.p_yes
    said = parse_yes_no(reply.text or "")
    return math.nan if said is None else float(said)


def _by_prompt(lined: Sheet) -> Floats:
    return mean_by(lined.item[lined.media], lined.credit, len(lined.items))


def _shifted(items: Items, values: Floats) -> Floats:
    """Scores as the released script finds them: that of the prompt whose place is the number in a prompt's name, NaN beyond the end."""
    places = [int(str(items.extras[record["id"]]["item_id"])) for record in items.records]
    return np.array([values[place] if place < len(values) else math.nan for place in places])


def _people(items: Items, model: str, values: Floats) -> dict[str, Estimate]:
    """How the scores agree with people's ratings of the same pictures; nothing where people rated no model of that name."""
    rated = [items.extras[record["id"]]["people"].get(model) or [math.nan] for record in items.records]
    ratings = np.array([float(np.mean(own)) for own in rated])
    number = int((~np.isnan(ratings) & ~np.isnan(values)).sum())
    if not number:
        return {}
    pairs = calibrate_ties(ratings, values)
    found = {
        "people, Pearson": pearson(ratings, values),
        "people, Kendall tau-b": kendall_tau_b(ratings, values),
        "people, pairs with calibrated ties": None if pairs is None else pairs.accuracy,
    }
    return {name: Estimate(value, None, None, number) for name, value in found.items()}


def _numbers(items: Items, values: Floats, compat: str, counted: Bools, seed: int, people: Mapping[str, Estimate]) -> Numbers:
    mean = Mean.of(values)
    skills = sorted({skill for extra in items.extras.values() for skill in extra["skills"]})
    masks = {
        skill: np.array([skill in items.extras[record["id"]]["skills"] for record in items.records], dtype=np.bool_) for skill in skills
    }
    means = {"\0": part(mean, counted)} | {skill: part(mean, mask) for skill, mask in masks.items()}
    found = estimates({name: one for name, one in means.items() if one.n}, seed=seed, factor=1.0)
    headline = found.pop("\0", Estimate(None, None, None, 0))
    own = values[counted & ~np.isnan(values)]
    deviation = Estimate(float(own.std(ddof=1)) if len(own) > 1 else None, None, None, len(own))
    return Numbers(compat, headline, {"std": deviation, **people}, {"skill": found})


GENAI_BENCH = GenAiBench()
