"""Which pictures a report shows: the best, the worst, those that teach something, and a fair sample.

All choices are functions of the data alone: ties go to the earlier scene, and the fair sample is drawn by a hash of the scene's id.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from anyscene.language.question import Question
from anyscene.report.contents import Asked, Example, RunContents
from anyscene.scoring.rows import ROW_STATUSES, score_rows

__all__ = ["CONSIDERED", "judged_pictures", "select_examples", "selected_differences"]

CONSIDERED = 5000
"""Examples are chosen among the pictures of so many first scenes: reading all questions of a larger run teaches no more."""


def select_examples(run: RunContents, most: int = 24) -> tuple[Example, ...]:
    """The pictures to show, each scene once, at most so many: a quarter best, a quarter worst, a third instructive, the rest a fair sample.

    Best: most questions right, then the most complex scene. Worst: fewest right, then the simplest scene. Instructive: both objects right
    and their relation wrong; a foil confirmed, or a part seen of an object not seen (the judge is suspect); answers near one half or none.
    """
    pictures = list(judged_pictures(run))
    answered = [one for one in pictures if one.strict is not None]
    chosen: list[Example] = []
    shown: set[str] = set()

    def take(candidates: Iterable[Example], number: int, group: str) -> None:
        for one in candidates:
            if number > 0 and one.record["id"] not in shown:
                shown.add(one.record["id"])
                chosen.append(replace(one, group=group))
                number -= 1

    part = max(1, most // 4)
    take(_instructive(answered), max(1, most // 3), "instructive")
    take(sorted(answered, key=_goodness), min(part, (len(answered) - len(shown) + 1) // 2), "best")
    take(sorted(answered, key=lambda one: (one.strict or 0.0, one.record.get("complexity", 0), one.soft or 0.0)), part, "worst")
    take(sorted(pictures, key=lambda one: _lot(one.record["id"])), most - len(chosen), "sample")
    order = ("best", "worst", "instructive", "sample")
    return tuple(sorted(chosen[:most], key=lambda one: order.index(one.group)))


def selected_differences(a: RunContents, b: RunContents, most: int = 12) -> tuple[tuple[Example, Example], ...]:
    """Pairs of pictures of one scene, first those whose shares of right answers differ most; scenes that both runs judged only."""
    first: dict[str, Example] = {}
    for one in judged_pictures(a):
        if one.strict is not None:
            first.setdefault(one.record["id"], one)
    pairs = []
    seen: set[str] = set()
    for other in judged_pictures(b):
        one_id = other.record["id"]
        if other.strict is not None and one_id in first and one_id not in seen:
            seen.add(one_id)
            pairs.append((first[one_id], other))
    pairs.sort(key=lambda pair: -abs((pair[1].strict or 0.0) - (pair[0].strict or 0.0)))
    return tuple(pair for pair in pairs[:most] if pair[0].strict != pair[1].strict)


def judged_pictures(run: RunContents) -> Iterable[Example]:
    """Every picture that was made for the first `CONSIDERED` scenes, with its questions and answers, in the order of the scenes."""
    records = run.records.slice(0, CONSIDERED)
    answers = _answers_of(run)
    own_media = run.media.filter(pc.is_in(run.media["record_id"], value_set=records["id"].combine_chunks()))
    rows = score_rows(records, own_media, answers)
    media = {(row["record_id"], row["sample"]): row for row in own_media.to_pylist()}
    replies = _replies(answers, set(rows.sha256.to_pylist()))
    scenes, seen = records.to_pylist(), rows.scene.tolist()
    values, credits, statuses = rows.value.tolist(), rows.credit.tolist(), rows.status.tolist()
    first, asked_of = rows.bank.start.tolist(), rows.question.tolist()
    for place, (scene, sample, digest) in enumerate(zip(seen, rows.sample.tolist(), rows.sha256.to_pylist(), strict=True)):
        if rows.media_status[place] != "made":
            continue
        record = scenes[scene]
        asked = []
        for row in range(rows.start[place], rows.start[place + 1]):
            question = Question.from_dict(record["questions"][asked_of[row] - first[scene]])
            value = None if math.isnan(values[row]) else values[row]
            right = None if value is None or credits[row] not in (0.0, 1.0) else credits[row] == 1.0
            reply = replies.get((digest, question.key), {})
            said = _said(question, reply) if value is not None else ""
            asked.append(Asked(question, ROW_STATUSES[statuses[row]], value, right, said, reply.get("text") or ""))
        yield Example("", "", record, media[record["id"], sample], tuple(asked))


def _answers_of(run: RunContents) -> pa.Table:
    """The answers of the judge of the scores alone."""
    table, judge = run.answers, run.scores.get("judge")
    for column, key in (("judge", "name"), ("revision", "revision"), ("template", "template")):
        wanted = judge.get(key) if isinstance(judge, Mapping) else None
        if column in table.column_names and wanted is not None:
            table = table.filter(pc.equal(table[column], pa.scalar(str(wanted))))
    return table


def _replies(answers: pa.Table, digests: set[str | None]) -> dict[tuple[str, str], Mapping[str, Any]]:
    """What the judge said, by picture and question; as in the scores an answer replaces a failure, and of two the later one counts."""
    wanted = pa.array(sorted(one for one in digests if one), pa.string())
    columns = ["media_sha256", "question_key", "p_yes", "text", "status", "probabilities"]
    rows = answers.select(columns).filter(pc.is_in(answers["media_sha256"], value_set=wanted)).to_pylist()
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for row in rows:
        place = (row["media_sha256"], row["question_key"])
        if place not in found or row["status"] != "failed" or found[place]["status"] == "failed":
            found[place] = row
    return found


def _said(question: Question, reply: Mapping[str, Any]) -> str:
    """An answer in words: the likeliest, or the reply itself where there are no probabilities."""
    p_yes, chances = reply.get("p_yes"), reply.get("probabilities") or []
    if question.form == "yes_no" and p_yes is not None:
        return "yes" if p_yes > 0.5 else "no" if p_yes < 0.5 else "undecided"
    if question.form == "choice" and len(chances) == len(question.choices) > 0:
        return question.choices[chances.index(max(chances))]
    return reply.get("text") or ""


def _instructive(pictures: Sequence[Example]) -> Iterable[Example]:
    """Pictures that teach something, the clearest of each sort first, the sorts in turn."""
    sorts: list[list[tuple[float, Example]]] = [[], [], [], []]
    for one in pictures:
        for found, look in zip(sorts, _LOOKS, strict=True):
            seen = look(one)
            if seen is not None:
                found.append((seen[0], replace(one, why=seen[1])))
    ranked = [[one for _, one in sorted(found, key=lambda pair: -pair[0])] for found in sorts]
    for place in range(max(map(len, ranked), default=0)):
        yield from (found[place] for found in ranked if place < len(found))


def _relation_wrong(one: Example) -> tuple[float, str] | None:
    """Everything that a relation depends on is right, the relation is not."""
    by_id = {asked.question.id: asked for asked in one.asked}
    best: tuple[float, str] | None = None
    for asked in one.asked:
        parents = [by_id[parent] for parent in asked.question.depends_on if parent in by_id]
        if asked.question.kind != "relation" or asked.question.foil or asked.right is not False or not parents:
            continue
        if all(parent.right for parent in parents):
            strength = min(parent.value or 0.0 for parent in parents) - (asked.value or 0.0)
            strength -= asked.question.form != "yes_no"  # a plain question says more clearly what is wrong
            if best is None or strength > best[0]:
                best = (strength, f"The objects are there, the relation is not: “{asked.question.text}”")
    return best


def _foil_confirmed(one: Example) -> tuple[float, str] | None:
    """The judge confirms something that is false on purpose, about a picture that is otherwise right."""
    wrong = [asked for asked in one.asked if asked.question.foil and asked.right is False]
    if not wrong:
        return None
    plain = [asked.value for asked in one.asked if not asked.question.foil and asked.value is not None]
    worst = min(wrong, key=lambda asked: asked.value or 0.0)
    strength = (sum(plain) / len(plain) if plain else 0.0) - (worst.value or 0.0)
    foil = (worst.question.foil or "").replace("_", " ")
    return (
        strength,
        f"The judge confirms what was not asked for ({foil}): “{worst.question.text}” The picture shows it, or the judge is at fault.",
    )


def _contradiction(one: Example) -> tuple[float, str] | None:
    """A part is seen of an object that is not seen."""
    by_id = {asked.question.id: asked for asked in one.asked}
    best: tuple[float, str] | None = None
    for asked in one.asked:
        if asked.question.foil or not asked.right:
            continue
        for parent in (by_id[name] for name in asked.question.depends_on if name in by_id):
            strength = (asked.value or 0.0) - (parent.value or 0.0)
            if parent.right is False and (best is None or strength > best[0]):
                best = (strength, f"The judge contradicts itself: “{parent.question.text}” is wrong, yet “{asked.question.text}” is right.")
    return best


def _doubtful(one: Example) -> tuple[float, str] | None:
    """The judge could not tell, or was near one half."""
    plain = [asked for asked in one.asked if asked.question.form == "yes_no"]
    silent = [asked for asked in plain if asked.status in ("unsure", "unparsed", "refused")]
    torn = [asked for asked in plain if asked.value is not None and abs(asked.value - 0.5) < 0.15]
    if not silent and not torn:
        return None
    asked = min(torn, key=lambda asked: abs((asked.value or 0.0) - 0.5)) if not silent else silent[0]
    what = "could not tell" if silent else "is torn"
    return (len(silent) + len(torn)) / len(one.asked), f"The judge {what}: “{asked.question.text}”"


_LOOKS: tuple[Callable[[Example], tuple[float, str] | None], ...] = (_relation_wrong, _foil_confirmed, _contradiction, _doubtful)


def _goodness(one: Example) -> tuple[float, float, float]:
    return -(one.strict or 0.0), -float(one.record.get("complexity", 0)), -(one.soft or 0.0)


def _lot(identity: str) -> bytes:
    return hashlib.sha256(f"sample\0{identity}".encode()).digest()
