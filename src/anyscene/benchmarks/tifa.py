"""TIFA v1.0 (Hu et al., ICCV 2023): accuracy of answers to questions with choices, by caption and by type of element.

The released scorer asks freely and then maps what it hears to the nearest choice (`choices`); a judge here sees the choices, or is asked
yes or no where these are the choices. There is no dependency rule.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from anyscene.benchmarks.answer_files import read_answer_rows, reader_notes
from anyscene.benchmarks.asking import Sheet, count_replies, estimates, item_means, part_notes, sheet
from anyscene.benchmarks.benchmark import About, BenchmarkResult, Fault, Items, Note, Numbers, Replies, Reply, make_record, result_of
from anyscene.benchmarks.choices import Encoder, literal_choice, named_choice, nearest_choice
from anyscene.benchmarks.reading import MAX_CHARS, field, json_value
from anyscene.errors import RecordError
from anyscene.judges.prompts import reply_status
from anyscene.scoring.question_bank import Floats
from anyscene.scoring.statistics import Estimate, Mean

__all__ = ["TIFA", "TifaBench"]

QUESTIONS = 25_829
_KINDS = {
    "object": "existence",
    "animal/human": "existence",
    "animal": "existence",
    "human": "existence",
    "food": "existence",
    "activity": "relation",
    "spatial": "relation",
    "counting": "count",
    "location": "scene_attribute",
}
ABOUT = About(
    name="tifa",
    title="TIFA v1.0 (Hu et al., TIFA: Accurate and Interpretable Text-to-Image Faithfulness Evaluation, ICCV 2023)",
    licence="Apache-2.0",
    home="Yushi-Hu/tifa",
    files="tifa_v1.0/tifa_v1.0_question_answers.json",
    evidence=("answers",),
    stored="a result file of the released script (question_details), or a CSV file with id, question, answer",
    layouts=("map", "stems"),
    samples=1,
    modality="image",
    official_judge="mPLUG-large, asked without the choices; its answer is mapped to the nearest choice by all-mpnet-base-v2",
    judge_note="not mPLUG-large: the judge sees the choices (or answers yes or no) and its likeliest one counts; no embedding is used",
)


class TifaBench:
    """TIFA v1.0."""

    about = ABOUT

    def import_items(self, path: Path) -> Items:
        """The questions of ``tifa_v1.0_question_answers.json``, or of a file like it, by caption.

        A question whose right answer is none of its choices cannot be asked: it is left out of the record, and kept in the extras, for the
        official score counts it as wrong.

        Raises:
            RecordError: it cannot be read as one; the message names the entry.
        """
        entries = json_value(path)
        if not isinstance(entries, list) or not entries:
            raise RecordError(
                f"{path}: a list of questions is wanted, with the fields id, caption, question, choices, answer, element_type"
            )
        notes: dict[str, list[str]] = {}
        captions: dict[str, dict[str, dict[str, Any]]] = {}
        texts: dict[str, str] = {}
        for number, entry in enumerate(entries, 1):
            item, question = _question(entry, f"{path}, entry {number}", notes)
            caption = field(entry, "caption", str, f"{path}, entry {number}").strip()
            if texts.setdefault(item, caption) != caption:
                raise RecordError(f"{path}, entry {number}: another caption for {item!r} than in an earlier entry")
            own = captions.setdefault(item, {})
            if question["id"] in own:
                notes.setdefault("entries that repeat another one, left out", []).append(f"entry {number}")
            own[question["id"]] = question
        records: list[dict[str, Any]] = []
        extras: dict[str, dict[str, Any]] = {}
        for index, (item, own) in enumerate(captions.items()):
            asked = [one for one in own.values() if one["answer"] in one["choices"]]
            elements = {one["element"].casefold() for one in own.values() if one["element"]}
            record = make_record(ABOUT.name, item, index, texts[item], [_asked(one) for one in asked], complexity=len(elements))
            if record["id"] in extras:
                raise RecordError(f"{path}: the captions {extras[record['id']]['item_id']!r} and {item!r} cannot be told apart")
            records.append(record)
            extras[record["id"]] = {
                "item_id": item,
                "category": item.split("_")[0],
                "questions": {one["id"]: {"element_type": one["type"], "element": one["element"]} for one in asked},
                "impossible": [one["type"] for one in own.values() if one["answer"] not in one["choices"]],
            }
        found = [Note(what, len(places), tuple(places[:3])) for what, places in notes.items()]
        if (counted := sum(map(len, captions.values()))) != QUESTIONS:
            found.insert(0, Note(f"questions are in the file; the release has {QUESTIONS:,}", counted))
        return Items(ABOUT.name, tuple(records), extras, tuple(found))

    def read_evidence(self, path: Path, items: Items, *, model: str | None = None) -> Replies:
        """Answers: a result file of the released scorer (``question_details``), or a CSV file with the columns ``id``, ``question`` and
        ``answer`` (perhaps ``sample``, ``model`` or ``t2i_model``).

        Raises:
            RecordError: it cannot be read; the message names the place.
            SpecError: the model is not in it, or none is named and there are several.
        """
        if path.suffix.lower() == ".csv":
            return read_answer_rows(path, items, model, columns=("id", "question", "answer"), questions=_asked_as)
        return _read_result(path, items, model or "")

    def score(self, items: Items, evidence: Replies, *, seed: int = 0, encoder: Encoder | None = None) -> BenchmarkResult:
        """Both readings.

        Args:
            items: from `import_items`.
            evidence: answers.
            seed: of the bootstrap over captions.
            encoder: maps free answers as the released scorer does; without one they are mapped by their letters.

        Raises:
            RecordError: none of the answers is about these items.
        """
        official_sheet = sheet(items, evidence, lambda question, reply: _official(question, reply, encoder))
        fixed_sheet = sheet(items, evidence, _fixed)
        official = _numbers(items, official_sheet, "official", seed, impossible=True)
        fixed = _numbers(items, fixed_sheet, "fixed", seed, impossible=False)
        strict = sheet(items, evidence, lambda question, reply: _official(question, reply, encoder, nearest=False))
        headline = official.headline.value or 0.0
        counts = count_replies(items, evidence, lambda question, reply: not math.isnan(_fixed(question, reply)), fixed.headline.n)
        notes = part_notes(ABOUT, evidence, counts)
        if missing := int(np.isnan(official_sheet.credit).sum()):
            notes.append(Note("answers are missing; the released script stops at the first missing picture", missing))
        if encoder is None and (mapped := _by_letters(items, evidence)):
            notes.append(
                Note("free answers were mapped to choices by their letters, officially by sentence embeddings (--encoder)", mapped)
            )
        return result_of(
            ABOUT,
            items,
            evidence,
            official,
            fixed,
            headline="tifa_average",
            unit="fraction",
            faults=[
                Fault(
                    "nearest-choice",
                    "An answer that is none of the choices is taken for the nearest one, and so is sometimes right by chance.",
                    headline - _average(items, strict, impossible=True).value,
                ),
                Fault(
                    "impossible-questions",
                    "A question whose right answer is none of its choices is always answered wrong.",
                    headline - _average(items, official_sheet, impossible=False).value,
                ),
            ],
            counts=counts,
            notes=notes,
            judge_note="" if _is_official(evidence) else ABOUT.judge_note,
        )


def _question(entry: object, where: str, notes: dict[str, list[str]]) -> tuple[str, dict[str, Any]]:
    """(id of the caption, question) of an entry."""
    text, answer, kind = (field(entry, name, str, where).strip() for name in ("question", "answer", "element_type"))
    item = str(field(entry, "id", (str, int), where))
    given = field(entry, "choices", list, where)
    if not item.strip() or not text or not answer:
        raise RecordError(f"{where}: an empty id, question or answer")
    if len(given) < 2 or not all(isinstance(one, str) and one.strip() and len(one) <= MAX_CHARS for one in given):
        raise RecordError(f"{where}: choices must be two or more texts, not {str(given)[:60]}")
    choices = list(dict.fromkeys(one.strip() for one in given))
    if len(choices) < len(given):
        notes.setdefault("questions with one choice twice; it is given once", []).append(item)
    if answer not in choices:
        notes.setdefault("questions whose right answer is none of the choices; officially wrong, else left out", []).append(item)
    element = entry.get("element") if isinstance(entry, Mapping) else None
    element = element if isinstance(element, str) else ""
    digest = hashlib.sha256("\0".join((text, answer, kind, element, *choices)).encode()).hexdigest()[:10]
    return item, {"id": f"q-{digest}", "text": text, "choices": choices, "answer": answer, "type": kind, "element": element}


def _asked(question: Mapping[str, Any]) -> dict[str, Any]:
    """A question as it stands in a record: yes or no where these are the choices."""
    plain = set(question["choices"]) == {"yes", "no"}
    return {
        "id": question["id"],
        "kind": _KINDS.get(question["type"], "attribute"),
        "form": "yes_no" if plain else "choice",
        "text": question["text"],
        "answer": question["answer"],
        "choices": [] if plain else question["choices"],
    }


def _asked_as(record: Mapping[str, Any], row: Mapping[str, str], _: str) -> list[str]:
    """The questions with the words of a row; there may be several about one element each."""
    return [one["id"] for one in record["questions"] if one["text"] == row["question"].strip()]


def _read_result(path: Path, items: Items, model: str) -> Replies:
    """``question_details`` of the released scorer's result: caption -> question -> what was said, and which choice was made of it."""
    records = items.by_item_id()
    by_media: dict[tuple[str, int], dict[str, Reply]] = {}
    unknown = 0
    for item, own in field(json_value(path), "question_details", dict, str(path)).items():
        if not isinstance(own, Mapping):
            raise RecordError(f"{path}, {item[:60]!r}: an object of questions is wanted")
        for text, entry in own.items():
            where = f"{path}, {item[:60]!r}, {text[:60]!r}"
            free, mapped = (field(entry, name, str, where) for name in ("free_form_vqa", "multiple_choice_vqa"))
            ids = _asked_as(records[item], {"question": text}, where) if item in records else []
            unknown += not ids
            by_media.setdefault((records[item]["id"], 0), {}).update(dict.fromkeys(ids, Reply(free, mapped=mapped))) if ids else None
    return Replies(by_media, model, path.stem, 1, reader_notes(unknown, 0))


def _is_official(evidence: Replies) -> bool:
    return any(reply.mapped is not None for own in evidence.by_media.values() for reply in own.values())


def _by_letters(items: Items, evidence: Replies) -> int:
    """Free answers that are none of the choices, and of which no released scorer has made one."""
    asked = {record["id"]: {one["id"]: one for one in record["questions"]} for record in items.records}
    pairs = ((asked.get(record, {}).get(id), reply) for (record, _), own in evidence.by_media.items() for id, reply in own.items())
    return sum(
        reply.mapped is None
        and reply.text is not None
        and _likeliest(question, reply) is None
        and literal_choice(reply.text, _choices(question)) is None
        for question, reply in pairs
        if question is not None
    )


def _choices(question: Mapping[str, Any]) -> list[str]:
    return list(question["choices"]) or ["yes", "no"]


def _likeliest(question: Mapping[str, Any], reply: Reply) -> float | None:
    """The credit that probabilities give: 1, 0, or a share among equals; None without probabilities."""
    if question["form"] == "yes_no" and reply.p_yes is not None:
        right = reply.p_yes if question["answer"] == "yes" else 1 - reply.p_yes
        return 1.0 if right > 0.5 else 0.0 if right < 0.5 else 0.5
    if len(reply.probabilities) == len(question["choices"]) > 0:
        best = [one for one, p in zip(question["choices"], reply.probabilities, strict=True) if p >= max(reply.probabilities) - 1e-9]
        return 1 / len(best) if question["answer"] in best else 0.0
    return None


def _official(question: Mapping[str, Any], reply: Reply | None, encoder: Encoder | None, *, nearest: bool = True) -> float:
    if reply is None or reply.status == "failed":
        return math.nan
    likeliest = _likeliest(question, reply)
    if likeliest is not None:
        return float(likeliest == 1)
    choices, text = _choices(question), reply.text or ""
    if not nearest:
        return float(text == question["answer"])
    said = reply.mapped if reply.mapped is not None else choices[nearest_choice(text, choices, encoder)]
    return float(said == question["answer"])


def _fixed(question: Mapping[str, Any], reply: Reply | None) -> float:
    """An answer that says another thing than every choice is wrong; one that says nothing is missing."""
    if reply is None or reply.status != "answered":
        return math.nan
    likeliest = _likeliest(question, reply)
    if likeliest is not None:
        return likeliest
    text, choices = (reply.text or "").strip(), _choices(question)
    place = named_choice(text, choices)
    if place is not None:
        return float(choices[place] == question["answer"])
    return math.nan if not text or reply_status(text) != "unparsed" else 0.0


def _type_of(kind: str) -> str:
    return "animal/human" if kind in ("animal", "human") else kind


def _with_impossible(items: Items, lined: Sheet, values: Floats, impossible: bool) -> Floats:
    """``(items,)`` means over questions, those that nobody can answer as wrong where they count."""
    if not impossible:
        return item_means(lined, values)
    extra = np.array([len(items.extras[id]["impossible"]) for id in lined.items], dtype=np.float64)[lined.item]
    known = np.bincount(lined.media[~np.isnan(values)], minlength=len(lined.item))
    with np.errstate(invalid="ignore"):
        return lined.by_item(lined.by_media(values) * known / (known + extra))


def _average(items: Items, lined: Sheet, *, impossible: bool) -> Mean:
    return Mean.of(_with_impossible(items, lined, lined.credit, impossible))


def _numbers(items: Items, lined: Sheet, compat: str, seed: int, *, impossible: bool) -> Numbers:
    by_item = _with_impossible(items, lined, lined.credit, impossible)
    owner = lined.item[lined.media].tolist()
    rows: dict[str, tuple[list[int], list[float]]] = {}
    for item, id, credit in zip(owner, lined.question, lined.credit.tolist(), strict=True):
        own = rows.setdefault(_type_of(items.extras[lined.items[item]]["questions"][id]["element_type"]), ([], []))
        own[0].append(item)
        own[1].append(credit)
    for item in lined.item.tolist() if impossible else ():
        for kind in items.extras[lined.items[item]]["impossible"]:
            own = rows.setdefault(_type_of(kind), ([], []))
            own[0].append(item)
            own[1].append(0.0)
    means = {kind: Mean.over(np.array(own[0]), np.array(own[1]), len(lined.items)) for kind, own in sorted(rows.items())}
    found = estimates({"\0": Mean.of(by_item), **{kind: mean for kind, mean in means.items() if mean.n}}, seed=seed, factor=1.0)
    headline = found.pop("\0")
    known = by_item[~np.isnan(by_item)]
    deviation = Estimate(float(known.std(ddof=1)) if len(known) > 1 else None, None, None, len(known))
    return Numbers(compat, headline, {"tifa_stdev": deviation}, {"element_type": found})


TIFA = TifaBench()
