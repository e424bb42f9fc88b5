"""GenEval 2 with Soft-TIFA (Kamath et al., 2025): 800 templated prompts of three to ten atoms, each atom a question.

The score of a picture is a mean over its questions of the probability of the right answer: the arithmetic mean (AM) for single atoms, the
geometric one (GM) for the prompt as a whole, in percent over the prompts. Nothing of the benchmark is shipped: it is CC BY-NC 4.0, and read
from the user's own file.

The official judge's probabilities are those of single words after "Answer in one word."; a judge here gives the share of a word among the
words that were offered, so the softer of two judges loses nothing to words that are no answer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anyscene.benchmarks.asking import count_replies, estimates, part_notes, sheet
from anyscene.benchmarks.benchmark import About, BenchmarkResult, Fault, Items, Note, Numbers, Replies, Reply, make_record, result_of
from anyscene.benchmarks.reading import field, json_lines, json_value
from anyscene.errors import RecordError
from anyscene.judges.prompts import parse_yes_no
from anyscene.scoring.question_bank import Floats
from anyscene.scoring.statistics import Mean

__all__ = ["GENEVAL2", "NUMBERS", "SKILLS", "GenEval2", "geometric_mean"]

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
"""What a question of a count can be answered with; prompts ask for one to seven."""
SKILLS = ("object", "attribute", "count", "position", "verb")
_KINDS = {"object": "existence", "attribute": "attribute", "count": "count", "position": "relation", "verb": "relation"}
PROMPTS, QUESTIONS = 800, 6_012
MOST_QUESTIONS = 100
_SPLIT = re.compile(r"[^a-z0-9]+")

ABOUT = About(
    name="geneval2",
    title="GenEval 2 (Kamath et al.: GenEval 2: Addressing Benchmark Drift in Text-to-Image Evaluation, 2025)",
    licence="CC BY-NC 4.0",
    home="facebookresearch/GenEval2",
    files="geneval2_data.jsonl",
    evidence=("answers",),
    stored="score_lists.json of the released script",
    layouts=("map", "stems"),
    samples=1,
    modality="image",
    official_judge="Qwen3-VL-8B-Instruct, P(first token of the answer) after 'Answer in one word.', greedy",
    judge_note="asked in other words than the official script; probabilities are shares among the answers that were offered",
)


def geometric_mean(values: Sequence[float]) -> float:
    """The n-th root of the product; 0 with a single zero, NaN of nothing or of anything that is missing."""
    if not values or any(math.isnan(value) for value in values):
        return math.nan
    return 0.0 if min(values) <= 0 else math.exp(math.fsum(math.log(value) for value in values) / len(values))


class GenEval2:
    """GenEval 2."""

    about = ABOUT

    def import_items(self, path: Path) -> Items:
        """The prompts of ``geneval2_data.jsonl``; an item's id is its number in three digits.

        Raises:
            RecordError: it cannot be read as one; the message names the line.
        """
        rows: dict[str, tuple[int, dict[str, Any]]] = {}
        repeated: list[str] = []
        for line, row in json_lines(path):
            where = f"{path}, line {line}"
            clean = _checked(row, where)
            before = rows.setdefault(clean["prompt"], (line, clean))
            if before[1] != clean:
                raise RecordError(f"{where}: the prompt {clean['prompt'][:60]!r} stands in line {before[0]} with other questions")
            if before[0] != line:
                repeated.append(f"line {line}")
        records, extras = [], {}
        for index, (_, row) in enumerate(rows.values()):
            record, extra = _item(index, row)
            records.append(record)
            extras[record["id"]] = extra
        asked = sum(len(record["questions"]) for record in records)
        notes = [Note("lines that repeat another one, left out", len(repeated), tuple(repeated[:3]))] if repeated else []
        if (len(records), asked) != (PROMPTS, QUESTIONS):
            whole = f"{PROMPTS} prompts with {QUESTIONS:,} questions"
            notes.insert(0, Note(f"prompts with {asked:,} questions are in the file; the release has {whole}", len(records)))
        return Items(ABOUT.name, tuple(records), extras, tuple(notes))

    def read_evidence(self, path: Path, items: Items, *, model: str | None = None) -> Replies:
        """``score_lists.json`` of the released script: for each prompt, by name or in order, the probability of each right answer.

        Raises:
            RecordError: it cannot be read, or has another number of scores than there are questions.
        """
        value = json_value(path)
        by_prompt = {record["caption"]: record for record in items.records}
        if isinstance(value, dict):
            pairs = [(by_prompt.get(" ".join(prompt.split())), scores, f"prompt {prompt[:60]!r}") for prompt, scores in value.items()]
        elif isinstance(value, list):
            if len(value) != len(items.records):
                raise RecordError(
                    f"{path}: a list of {len(value):,} prompts; these items are {len(items.records):,}, so no line is certain"
                )
            pairs = [(record, scores, f"entry {at}") for at, (record, scores) in enumerate(zip(items.records, value, strict=True), 1)]
        else:
            raise RecordError(f"{path}: a list of lists of scores is wanted, or an object that maps prompts to them")
        by_media: dict[tuple[str, int], Mapping[str, Reply]] = {}
        unknown: list[str] = []
        for record, scores, place in pairs:
            if record is None:
                unknown.append(place)
                continue
            by_media[record["id"], 0] = _replies(record, scores, f"{path}, {place}")
        notes = [Note("prompts that are not in the benchmark", len(unknown), tuple(unknown[:3]))] if unknown else []
        if isinstance(value, list):
            notes.append(Note("lists of scores go by their order alone: the items' file must be in the order of the release", len(value)))
        return Replies(by_media, model or "", "Qwen3-VL-8B-Instruct (score_lists.json)", 1, tuple(notes))

    def score(self, items: Items, evidence: Replies, *, seed: int = 0) -> BenchmarkResult:
        """Both readings.

        Args:
            items: from `import_items`.
            evidence: answers.
            seed: of the bootstrap over prompts.

        Raises:
            RecordError: none of the answers is about these items.
        """
        found = {compat: _Reading(items, evidence, compat) for compat in ("official", "fixed")}
        numbers = {compat: one.numbers(compat, seed) for compat, one in found.items()}
        scored = found["fixed"].means["soft_tifa_gm"].n
        counts = count_replies(items, evidence, lambda one, reply: not math.isnan(_fixed(one, reply)), scored)
        moved = 100 * (found["official"].means["soft_tifa_gm"].value - found["fixed"].means["soft_tifa_gm"].value)
        golds = [one["answer"] for record in items.records for one in record["questions"] if one["kind"] != "count"]
        notes = part_notes(ABOUT, evidence, counts)
        if golds and set(golds) == {"yes"}:
            what = "questions besides counts, all with the right answer yes: a judge that says yes to all has them right"
            notes.append(Note(what, len(golds)))
        return result_of(
            ABOUT,
            items,
            evidence,
            numbers["official"],
            numbers["fixed"],
            headline="Soft-TIFA GM",
            unit="percent",
            faults=[
                Fault(
                    "unread-answers-are-wrong",
                    "What is no answer at all has no probability, so it counts 0 like a wrong answer; fixed, it is missing.",
                    None if math.isnan(moved) else moved,
                ),
                Fault(
                    "first-token-of-the-answer",
                    "Only the first token of an answer's spellings is looked up; the mass of a blank before another word may be added.",
                    None,
                ),
            ],
            counts=counts,
            notes=notes,
            judge_note="" if "qwen3-vl-8b-instruct (score_lists" in evidence.judge.casefold() else ABOUT.judge_note,
        )


class _Reading:
    """All numbers of one reading, before intervals."""

    def __init__(self, items: Items, evidence: Replies, compat: str) -> None:
        credit = _official if compat == "official" else _fixed
        lined = sheet(items, evidence, lambda one, reply: credit(one, reply))
        number = len(lined.items)
        by_media: list[list[float]] = [[] for _ in lined.item]
        for media, value in zip(lined.media, lined.credit, strict=True):
            by_media[media].append(float(value))
        gm: Floats = np.array([geometric_mean(own) for own in by_media])
        am: Floats = np.array([float(np.mean(own)) for own in by_media])
        hard = sheet(items, evidence, lambda one, reply: _hard(one, reply, credit(one, reply))).credit
        gm_items = lined.by_item(gm)
        self.means = {
            "soft_tifa_gm": Mean.of(gm_items),
            "soft_tifa_am": Mean.of(lined.by_item(am)),
            "tifa": Mean.of(lined.by_item(lined.by_media(hard))),
        }
        skills = np.array([items.extras[record["id"]]["skills"][at] for record, at in _places(items, lined)])
        owner = lined.item[lined.media]
        self.by = {
            "skill": {
                skill: Mean.over(owner, np.where(skills == skill, lined.credit, np.nan), number)
                for skill in sorted(set(skills), key=lambda one: (SKILLS.index(one) if one in SKILLS else len(SKILLS), one))
            }
        }
        atoms = np.array([items.extras[id]["atom_count"] for id in lined.items])
        self.by["atom_count"] = {str(count): Mean.of(np.where(atoms == count, gm_items, np.nan)) for count in sorted(set(atoms))}

    def numbers(self, compat: str, seed: int) -> Numbers:
        """With intervals."""
        every = self.means | {f"{name}\0{own}": mean for name, by in self.by.items() for own, mean in by.items()}
        found = estimates(every, seed=seed)
        by = {name: {own: found[f"{name}\0{own}"] for own in means} for name, means in self.by.items()}
        return Numbers(compat, found["soft_tifa_gm"], {name: found[name] for name in self.means}, by)


def _places(items: Items, lined: Any) -> list[tuple[Mapping[str, Any], int]]:
    """The record and the place of the question of each row."""
    return [(items.records[lined.item[media]], int(at)) for media, at in zip(lined.media, lined.place, strict=True)]


def _official(one: Mapping[str, object], reply: Reply | None) -> float:
    """The probability of the right answer; 0 for what is no answer."""
    if reply is None or reply.status == "failed":
        return math.nan
    known = _probability(one, reply)
    if known is not None:
        return known
    gold = str(one["answer"])
    text = (reply.text or "").strip().lower()
    right = {gold, str(NUMBERS.index(gold))} if one["kind"] == "count" and gold in NUMBERS else {gold}
    return float(text in right)


def _fixed(one: Mapping[str, object], reply: Reply | None) -> float:
    """The probability of the right answer; missing for what is no answer."""
    if reply is None or reply.status != "answered":
        return math.nan
    known = _probability(one, reply)
    if known is not None:
        return known
    gold, text = str(one["answer"]), reply.text or ""
    if one["kind"] != "count":
        said = parse_yes_no(text)
        return math.nan if said is None else float(said == (gold == "yes"))
    named = [_number(word) for word in _SPLIT.split(text.lower()) if _number(word) is not None]
    return float(named[0] == NUMBERS.index(gold)) if len(set(named)) == 1 else math.nan


def _probability(one: Mapping[str, object], reply: Reply) -> float | None:
    gold, choices = str(one["answer"]), one["choices"]
    if reply.probabilities and isinstance(choices, (list, tuple)) and len(reply.probabilities) == len(choices):
        return float(reply.probabilities[list(choices).index(gold)])
    if reply.p_yes is not None and gold in ("yes", "no"):
        return reply.p_yes if gold == "yes" else 1 - reply.p_yes
    return None


def _hard(one: Mapping[str, object], reply: Reply | None, credit: float) -> float:
    """Is the right answer the likeliest? NaN where it is missing."""
    if reply is not None and len(reply.probabilities) > 1 and not math.isnan(credit):
        return float(credit == max(reply.probabilities) and reply.probabilities.count(credit) == 1)
    return credit if math.isnan(credit) else float(credit > 0.5)


def _number(word: str) -> int | None:
    if word.isdecimal() and word.isascii():
        return int(word)
    return NUMBERS.index(word) if word in NUMBERS else None


def _checked(row: object, where: str) -> dict[str, Any]:
    """A line of the file, with everything that the scorer relies on looked at."""
    prompt = " ".join(field(row, "prompt", str, where).split())
    atoms = field(row, "atom_count", int, where)
    pairs, skills = field(row, "vqa_list", list, where), field(row, "skills", list, where)
    if not prompt:
        raise RecordError(f"{where}: an empty prompt")
    if not 1 <= atoms <= MOST_QUESTIONS:
        raise RecordError(f"{where}: atom_count {atoms}; it is from 1 to {MOST_QUESTIONS}")
    if not pairs or len(pairs) > MOST_QUESTIONS or len(pairs) != len(skills):
        raise RecordError(f"{where}: {len(pairs)} questions and {len(skills)} skills; there is one skill for each of 1 to {MOST_QUESTIONS}")
    found = []
    for at, (pair, skill) in enumerate(zip(pairs, skills, strict=True), 1):
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(one, str) and one.strip() for one in pair)):
            raise RecordError(f"{where}: entry {at} of vqa_list is no pair of a question and an answer")
        if not isinstance(skill, str) or skill not in SKILLS:
            raise RecordError(f"{where}: skill {str(skill)[:40]!r}; it is one of {', '.join(SKILLS)}")
        answer = pair[1].strip().lower()
        answer = NUMBERS[1] if skill == "count" and answer in ("a", "an") else answer
        if answer not in (NUMBERS if skill == "count" else ("yes", "no")):
            wanted = "a number in words up to ten" if skill == "count" else "Yes or No"
            raise RecordError(f"{where}: the answer {pair[1][:40]!r} to question {at} ({skill}); it is {wanted}")
        found.append((" ".join(pair[0].split()), answer))
    return {"prompt": prompt, "atom_count": atoms, "questions": found, "skills": list(skills)}


def _item(index: int, row: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    questions = [
        {
            "id": f"q{at}",
            "kind": _KINDS[skill],
            "form": "choice" if skill == "count" else "yes_no",
            "text": text,
            "answer": answer,
            "choices": list(NUMBERS) if skill == "count" else [],
        }
        for at, ((text, answer), skill) in enumerate(zip(row["questions"], row["skills"], strict=True), 1)
    ]
    item = f"{index:03d}"
    record = make_record(ABOUT.name, f"geneval2-{item}", index, row["prompt"], questions, complexity=row["atom_count"])
    return record, {"item_id": f"geneval2-{item}", "atom_count": row["atom_count"], "skills": row["skills"]}


def _replies(record: Mapping[str, Any], scores: object, where: str) -> dict[str, Reply]:
    questions = record["questions"]
    if not isinstance(scores, list) or len(scores) != len(questions):
        held = f"{len(scores):,} scores" if isinstance(scores, list) else "no list of scores"
        raise RecordError(f"{where}: {held} for {len(questions)} questions")
    found = {}
    for one, score in zip(questions, scores, strict=True):
        if isinstance(score, bool) or not isinstance(score, (int, float)) or not 0 <= score <= 1 + 1e-6:
            raise RecordError(f"{where}: {str(score)[:40]} is no probability")
        value = min(float(score), 1.0)
        if one["form"] == "yes_no":
            found[one["id"]] = Reply(None, value if one["answer"] == "yes" else 1 - value)
        else:
            other = next(name for name in one["choices"] if name != one["answer"])  # it alone: likeliest is then what is above one half
            shares = {one["answer"]: value, other: 1 - value}
            found[one["id"]] = Reply(None, probabilities=tuple(shares.get(name, 0.0) for name in one["choices"]))
    return found


GENEVAL2 = GenEval2()
