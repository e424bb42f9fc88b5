"""What the benchmarks that ask questions share: answers lined up with questions, and how an answer is read in either reading.

A picture is a pair of an item and a sample. Rows are the questions about each picture of which there is any answer; numbers are means of
rows over pictures, of pictures over items, and of items over the benchmark.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyscene.benchmarks.benchmark import About, Counts, Items, Note, Replies, Reply
from anyscene.errors import RecordError
from anyscene.judges.prompts import parse_yes_no
from anyscene.scoring.question_bank import Bools, Floats, Ints
from anyscene.scoring.scores import mean_by
from anyscene.scoring.statistics import LEVEL, Estimate, Mean, bootstrap

__all__ = [
    "PERCENT",
    "Sheet",
    "count_replies",
    "estimates",
    "exact_yes",
    "fixed_yes",
    "item_means",
    "part",
    "part_notes",
    "scaled",
    "sheet",
]

PERCENT = 100.0


@dataclass(frozen=True)
class Sheet:
    """Questions about pictures, lined up.

    Attributes:
        items: record ids, in the benchmark's order.
        item: ``(media,)`` the item of each picture.
        sample: ``(media,)`` its number.
        media: ``(rows,)`` the picture of each row.
        question: ``(rows,)`` ids.
        place: ``(rows,)`` place of the question in its record.
        credit: ``(rows,)`` 1 right, 0 wrong, NaN missing.
        child: ``(edges,)`` rows.
        parent: ``(edges,)`` rows that these depend on.
    """

    items: tuple[str, ...]
    item: Ints
    sample: Ints
    media: Ints
    question: tuple[str, ...]
    place: Ints
    credit: Floats
    child: Ints
    parent: Ints

    def by_item(self, by_media: Floats) -> Floats:
        """``(items,)`` means of the pictures of each, NaN where there is none."""
        return mean_by(self.item, by_media, len(self.items))

    def by_media(self, values: Floats) -> Floats:
        """``(media,)`` means of the rows of each, NaN where there is none."""
        return mean_by(self.media, values, len(self.item))

    def all_right(self) -> Floats:
        """``(media,)`` 1 if every question about a picture is answered right, 0 if one is not; NaN where it hangs on what is missing."""
        size = len(self.item)
        asked, right = np.bincount(self.media, minlength=size), np.bincount(self.media, self.credit == 1, size)
        wrong = np.bincount(self.media, self.credit < 1, size)  # NaN is neither
        return np.where(wrong > 0, 0.0, np.where((asked > 0) & (asked == right), 1.0, np.nan))


def sheet(
    items: Items,
    replies: Replies,
    credit: Callable[[Mapping[str, Any], Reply | None], float],
    *,
    parents: Callable[[Mapping[str, Any], Mapping[str, Any]], Sequence[str]] | None = None,
) -> Sheet:
    """Lines up answers with questions.

    Args:
        items: the benchmark.
        replies: about its pictures.
        credit: of a question (as it stands in a record) and its answer, None where there is none.
        parents: ids of the questions that one depends on, from it and its record; by default its ``depends_on``.

    Raises:
        RecordError: none of the answers is about these items.
    """
    place_of = {record["id"]: place for place, record in enumerate(items.records)}
    keys = sorted((place_of[record], sample) for record, sample in replies.by_media if record in place_of)
    if not keys:
        asked = f"the {len(items.records):,} items of {items.benchmark}"
        raise RecordError(f"none of the {len(replies.by_media):,} pictures answered about belongs to {asked}")
    media: list[int] = []
    question: list[str] = []
    place: list[int] = []
    credits: list[float] = []
    edges: list[tuple[int, int]] = []
    for number, (item, sample) in enumerate(keys):
        record = items.records[item]
        said = replies.by_media[record["id"], sample]
        first = len(media)
        row_of = {one["id"]: first + at for at, one in enumerate(record["questions"])}
        for at, one in enumerate(record["questions"]):
            media.append(number)
            question.append(one["id"])
            place.append(at)
            credits.append(credit(one, said.get(one["id"])))
            above = one["depends_on"] if parents is None else parents(one, record)
            edges += [(first + at, row_of[id]) for id in above if id in row_of]
    pairs = np.array(edges, dtype=np.int64).reshape(-1, 2)
    return Sheet(
        items=tuple(record["id"] for record in items.records),
        item=np.array([item for item, _ in keys], dtype=np.int64),
        sample=np.array([sample for _, sample in keys], dtype=np.int64),
        media=np.array(media, dtype=np.int64),
        question=tuple(question),
        place=np.array(place, dtype=np.int64),
        credit=np.array(credits, dtype=np.float64),
        child=pairs[:, 0],
        parent=pairs[:, 1],
    )


def exact_yes(reply: Reply | None) -> float:
    """1 for the exact text ``yes``, as released scorers read it, else 0; NaN where nothing was said.

    A judge that gives probabilities says ``yes`` where that is likelier: it is asked in other words than the official one, and spells its
    answers in its own way.
    """
    if reply is None or reply.status == "failed":
        return float("nan")
    if reply.p_yes is not None:
        return float(reply.p_yes > 0.5)
    return float(reply.text == "yes")


def fixed_yes(reply: Reply | None) -> float:
    """1 for yes, 0 for no, a half where both are as likely; NaN where it is missing or says neither."""
    if reply is None or reply.status != "answered":
        return float("nan")
    if reply.p_yes is not None:
        return 1.0 if reply.p_yes > 0.5 else 0.0 if reply.p_yes < 0.5 else 0.5
    said = parse_yes_no(reply.text or "")
    return float("nan") if said is None else float(said)


def item_means(lined: Sheet, values: Floats) -> Floats:
    """``(items,)`` means over rows, then pictures; NaN where nothing is known."""
    return lined.by_item(lined.by_media(values))


def part(mean: Mean, mask: Bools) -> Mean:
    """A mean over some of the items."""
    own = mask[mean.place]
    return Mean(mean.scenes, mean.place[own], mean.total[own], mean.weight[own])


def scaled(one: Estimate, factor: float = PERCENT) -> Estimate:
    """An estimate in another unit."""
    value, low, high = (None if end is None else factor * end for end in (one.value, one.low, one.high))
    return Estimate(value, low, high, one.n)


def estimates(wanted: Mapping[str, Mean], *, seed: int, level: float = LEVEL, factor: float = PERCENT) -> dict[str, Estimate]:
    """Each mean with its interval, from one bootstrap over items."""
    found = bootstrap({name: [(1.0, mean)] for name, mean in wanted.items()}, seed=seed, level=level)
    return {name: scaled(one, factor) for name, one in found.items()}


def count_replies(items: Items, replies: Replies, known: Callable[[Mapping[str, Any], Reply], bool], scored: int) -> Counts:
    """What was expected and what was there.

    Args:
        items: the benchmark.
        replies: the answers.
        known: can this answer to this question be read?
        scored: items in the fixed mean.
    """
    records = {record["id"]: {one["id"]: one for one in record["questions"]} for record in items.records}
    answered = unparsed = unknown = 0
    found = 0
    for (record, sample), said in replies.by_media.items():
        if record not in records or sample >= replies.samples:
            unknown += len(said)
            continue
        found += bool(said)
        for id, reply in said.items():
            question = records[record].get(id)
            if question is None:
                unknown += 1
            elif reply.status == "failed":
                continue
            elif known(question, reply):
                answered += 1
            else:
                unparsed += 1
    expected = sum(map(len, records.values())) * replies.samples
    return Counts(
        items=len(records),
        items_scored=scored,
        media=len(records) * replies.samples,
        media_found=found,
        questions=expected,
        answered=answered,
        unparsed=unparsed,
        missing=expected - answered - unparsed,
        unknown=unknown,
    )


def part_notes(about: About, replies: Replies, counts: Counts) -> list[Note]:
    """Says that a number is not of the whole benchmark, or of fewer pictures of each item than it asks for."""
    found = []
    if counts.media_found < counts.media:
        lost = counts.media - counts.media_found
        found.append(Note("pictures have no answers: the number is of a part of the benchmark", lost))
    if replies.samples < about.samples:
        found.append(Note(f"pictures of each item were looked at; the benchmark asks for {about.samples}", replies.samples))
    return found
