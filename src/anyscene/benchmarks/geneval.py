"""GenEval (Ghosh, Hajishirzi, Schmidt; NeurIPS 2023): 553 prompts of six kinds, judged by a detector and a classifier of colours.

A picture is right if every thing asked for is there often enough, with its colour and its place, and what must not be there is not. The
score is the mean over the six kinds of the share of right pictures. The scorer here takes boxes as they are given: by `ObjectDetector`, by
any other detector, or by the released script (``results.jsonl``). A judge that answers questions can stand in for the detector too; that is
another measurement, and is said to be one.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from anyscene.benchmarks.asking import fixed_yes, sheet
from anyscene.benchmarks.benchmark import About, BenchmarkResult, Counts, Fault, Items, Note, Numbers, Replies, make_record, result_of
from anyscene.benchmarks.boxes import Box, Detections, Seen, best_first, make_box, read_detections
from anyscene.benchmarks.reading import field, in_release_order, json_lines, read_text
from anyscene.errors import RecordError
from anyscene.language.english import takes_an
from anyscene.scoring.question_bank import Bools, Floats, Ints
from anyscene.scoring.statistics import Estimate, Mean, bootstrap

__all__ = ["COLORS", "GENEVAL", "TAGS", "GenEval", "Verdict", "judge_picture", "relations_of"]

TAGS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")
COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
RELATIONS = ("left of", "right of", "above", "below")
ITEMS = 553
ORDER = ("db13d3b9aa8c6628", "4de60dfc3c29f9d3")
"""Beginnings of the digests of the released prompts, sorted and in their order."""
SAMPLES = 4
THRESHOLD = 0.3
COUNTING_THRESHOLD = 0.9
MAX_OBJECTS = 16
"""Boxes of one class that are kept."""
MARGIN = 0.1
"""Share of both sizes by which centres must part before there is a relation."""
SHARE = 0.5
"""Of the distance of the centres that must lie along an axis, after the margin."""
_PHRASES = {"left of": "to the left of", "right of": "to the right of", "above": "above", "below": "below"}
_PLURAL = ("skis", "scissors")
_RESULT = re.compile(r"(?:^|[/\\])(\d{1,9})[/\\](?:samples[/\\])?(\d{1,9})\.\w+$")

ABOUT = About(
    name="geneval",
    title="GenEval (Ghosh, Hajishirzi, Schmidt: GenEval, NeurIPS 2023)",
    licence="MIT",
    home="djghosh13/geneval",
    files="prompts/evaluation_metadata.jsonl",
    evidence=("detections", "answers"),
    stored="results.jsonl of the released script, or boxes as anyscene bench detect writes them",
    layouts=("geneval",),
    samples=SAMPLES,
    modality="image",
    official_judge="Mask2Former Swin-S of mmdet 2 (lsj_8x2_50e_coco), colours by CLIP ViT-L/14 (openai)",
    judge_note="not the official detector: boxes of mmdet's Mask2Former and of others differ, and so do their scores at the thresholds",
)
QUESTIONS_NOTE = "questions answered by a judge in place of a detector: another measurement; a picture is right if all of its answers are"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a picture is right.

    Attributes:
        correct: None where a colour was needed and is not known.
        reasons: what is wrong, or what is not known; empty for a right picture.
    """

    correct: bool | None
    reasons: tuple[str, ...] = ()


def relations_of(a: Box, b: Box, margin: float = MARGIN) -> frozenset[str]:
    """Where box a lies from box b: ``left of``, ``right of``, ``above``, ``below``; two of these on a diagonal, none where they overlap.

    The offset of the centres is shortened by a share of both sizes on each axis. A relation holds where what is left is more than half of
    the whole distance.

    Args:
        a: of which the relation is told.
        b: to which.
        margin: share of the widths and heights.
    """
    (ax, ay), (bx, by) = a.centre, b.centre
    distance = math.hypot(ax - bx, ay - by)

    def left_over(offset: float, sizes: float) -> float:
        return math.copysign(max(abs(offset) - margin * sizes, 0.0), offset)

    x, y = left_over(ax - bx, a.width + b.width), left_over(ay - by, a.height + b.height)
    if abs(x) < 1e-3 and abs(y) < 1e-3:
        return frozenset()
    found = {
        "left of": x / distance < -SHARE,
        "right of": x / distance > SHARE,
        "above": y / distance < -SHARE,
        "below": y / distance > SHARE,
    }
    return frozenset(name for name, holds in found.items() if holds)


def judge_picture(
    asked: Mapping[str, Any],
    boxes: Sequence[Box],
    *,
    threshold: float = THRESHOLD,
    counting_threshold: float = COUNTING_THRESHOLD,
    margin: float = MARGIN,
    any_boxes: bool = False,
) -> Verdict:
    """GenEval's rule on given boxes.

    Args:
        asked: a line of ``evaluation_metadata.jsonl``: ``tag``, ``include``, perhaps ``exclude``.
        boxes: all that was detected.
        threshold: boxes must score above it.
        counting_threshold: the same for the tag ``counting``.
        margin: see `relations_of`.
        any_boxes: let any boxes of a class have the colour or the place; officially only the surest ones may.

    Returns:
        The verdict. Things that were not asked for do not count against a picture, except where ``exclude`` names them.
    """
    least = counting_threshold if asked["tag"] == "counting" else threshold
    found = {name: own[:MAX_OBJECTS] for name, own in best_first(tuple(box for box in boxes if box.score > least)).items()}
    wrong: list[str] = []
    unknown: list[str] = []
    groups: list[list[Box] | None] = []
    for one in asked["include"]:
        name, count = one["class"], one["count"]
        own = found.get(name, [])
        if len(own) < count:
            wrong.append(f"{count} {name} wanted, {len(own)} found")
            groups.append(None)
            continue
        own = own if any_boxes else own[:count]
        group: list[Box] | None = own
        if "color" in one:
            fitting = [box for box in own if box.color == one["color"]]
            unseen = sum(box.color is None for box in own)
            if len(fitting) + unseen < count:
                wrong.append(f"{count} {one['color']} {name} wanted, {', '.join(str(box.color) for box in own)} found")
                group = None
            elif len(fitting) < count:
                unknown.append(f"the color of {name} is not known")
            elif any_boxes:
                group = fitting
        if "position" in one and group is not None:
            group = _placed(one, group, groups, margin, any_boxes, wrong)
        groups.append(group)
    for one in asked.get("exclude", ()):
        if len(own := found.get(one["class"], [])) >= one["count"]:
            wrong.append(f"fewer than {one['count']} {one['class']} wanted, {len(own)} found")
    return Verdict(False if wrong else None if unknown else True, tuple(wrong or unknown))


def _placed(
    one: Mapping[str, Any], group: list[Box], groups: Sequence[list[Box] | None], margin: float, any_boxes: bool, wrong: list[str]
) -> list[Box] | None:
    """The boxes that stand as asked; None where they do not."""
    relation, target = one["position"]
    others = groups[target]
    if others is None:
        wrong.append(f"nothing for {one['class']} to be {relation}")
        return None
    if any_boxes:
        group = [box for box in group if any(relation in relations_of(box, other, margin) for other in others)]
        holds = len(group) >= one["count"]
    else:
        holds = all(relation in relations_of(box, other, margin) for box in group for other in others)
    if not holds:
        wrong.append(f"{one['class']} is not {relation} what it should be")
    return group if holds else None


class GenEval:
    """GenEval."""

    about = ABOUT

    def import_items(self, path: Path) -> Items:
        """The prompts of ``evaluation_metadata.jsonl``; an item's id is its number in five digits, as folders are called.

        Raises:
            RecordError: it cannot be read as one; the message names the line.
        """
        rows: dict[str, tuple[int, Mapping[str, Any]]] = {}
        repeated: list[str] = []
        for line, row in json_lines(path):
            clean = _checked(row, f"{path}, line {line}")
            before = rows.get(clean["prompt"])
            if before and before[1] != clean:
                raise RecordError(f"{path}, line {line}: the prompt {clean['prompt'][:60]!r} stands in line {before[0]} with other demands")
            if before:
                repeated.append(f"line {line}")
                continue
            rows[clean["prompt"]] = (line, clean)
        in_release_order(path, list(rows), *ORDER)
        records, extras = [], {}
        for index, (_, row) in enumerate(rows.values()):
            record, extra = _item(index, row)
            records.append(record)
            extras[record["id"]] = extra
        notes = [Note("lines that repeat another one, left out", len(repeated), tuple(repeated[:3]))] if repeated else []
        if len(records) != ITEMS:
            notes.insert(0, Note(f"prompts are in the file; the release has {ITEMS}", len(records)))
        return Items(ABOUT.name, tuple(records), extras, tuple(notes))

    def read_evidence(self, path: Path, items: Items, *, model: str | None = None) -> Detections:
        """Boxes (see `anyscene.benchmarks.boxes`), or ``results.jsonl`` of the released script.

        Raises:
            RecordError: it cannot be read; the message names the line.
            SpecError: which model is not said.
        """
        first = next(iter(json_lines(path)), (0, None))[1]
        if isinstance(first, dict) and "correct" in first and "filename" in first:
            return _read_results(path, items, model or "")
        return read_detections(path, items, SAMPLES, model)

    def score(self, items: Items, evidence: Detections | Replies, *, seed: int = 0) -> BenchmarkResult:
        """Both readings.

        Args:
            items: from `import_items`.
            evidence: boxes or verdicts; or a judge's answers to the items' questions.
            seed: of the bootstrap over prompts.

        Raises:
            RecordError: none of the evidence is about these items.
        """
        verdicts, any_boxes, notes = _verdicts(items, evidence)
        if not verdicts:
            what = "; ".join(note.line() for note in notes) or f"none is of these {len(items.records):,} items of {ABOUT.name}"
            raise RecordError(f"no verdict on any of the {len(evidence.by_media):,} pictures: {what}")
        table = _Table.of(items, verdicts)
        official, fixed = table.official(), table.fixed()
        terms = {
            "official": official,
            "fixed": fixed,
            "column\0pictures": [(1.0, table.pictures())],
            "column\0prompts_any": [(1.0, Mean.of(table.any_right()))],
            "column\0any_boxes": _Table.of(items, any_boxes).fixed() if any_boxes else [],
            **{f"official\0{tag}": [(1.0, table.pictures(tag))] for tag in table.tags},
            **{f"fixed\0{tag}": [(1.0, table.prompts(tag))] for tag in table.tags},
        }
        found = bootstrap({name: own for name, own in terms.items() if own}, seed=seed)
        scored = int((~np.isnan(table.by_item())).sum())
        for name in ("official", "fixed"):  # of a mean of six means the bootstrap tells the smallest number of prompts
            found[name] = replace(found[name], n=scored) if name in found else Estimate(None, None, None, 0)
        shared = {name.partition("\0")[2]: one for name, one in found.items() if name.startswith("column\0")}
        expected = len(items.records) * evidence.samples
        return result_of(
            ABOUT,
            items,
            evidence,
            Numbers("official", found["official"], shared, {"tag": _tags(found, "official", table)}),
            Numbers("fixed", found["fixed"], shared, {"tag": _tags(found, "fixed", table)}),
            headline="overall",
            unit="fraction",
            faults=_faults(table, official, fixed),
            counts=Counts(items=len(items.records), items_scored=scored, media=expected, media_found=len(table.right)),
            notes=[*notes, *_gaps(table, expected)],
            judge_note=QUESTIONS_NOTE if isinstance(evidence, Replies) else "" if _is_official(evidence) else ABOUT.judge_note,
        )


@dataclass(frozen=True)
class _Table:
    """Verdicts lined up: one row a picture of which something is known."""

    items: int
    tag: tuple[str, ...]
    owner: Ints
    right: Floats

    @classmethod
    def of(cls, items: Items, verdicts: Mapping[tuple[str, int], bool]) -> _Table:
        place = {record["id"]: at for at, record in enumerate(items.records)}
        keys = sorted(verdicts, key=lambda key: (place[key[0]], key[1]))
        return cls(
            len(place),
            tuple(str(items.extras[record["id"]]["tag"]) for record in items.records),
            np.array([place[id] for id, _ in keys], dtype=np.int64),
            np.array([verdicts[key] for key in keys], dtype=np.float64),
        )

    @property
    def tags(self) -> list[str]:
        """In the order of the release, then others."""
        return sorted(set(self.tag), key=lambda tag: (TAGS.index(tag) if tag in TAGS else len(TAGS), tag))

    def _within(self, tag: str | None) -> Bools:
        mask: Bools = np.array([tag in (None, own) for own in self.tag], dtype=bool)[self.owner]
        return mask

    def pictures(self, tag: str | None = None) -> Mean:
        """Over pictures."""
        return Mean.over(self.owner, np.where(self._within(tag), self.right, np.nan), self.items)

    def by_item(self, tag: str | None = None) -> Floats:
        """``(items,)`` share of right pictures, NaN where there is none."""
        mine = self._within(tag)
        total = np.bincount(self.owner[mine], self.right[mine], self.items)
        number = np.bincount(self.owner[mine], minlength=self.items)
        return np.where(number > 0, total / np.maximum(number, 1), np.nan)

    def any_right(self) -> Floats:
        """``(items,)`` is any picture right?"""
        share = self.by_item()
        return np.where(np.isnan(share), np.nan, (share > 0).astype(float))

    def prompts(self, tag: str) -> Mean:
        """Over prompts."""
        return Mean.of(self.by_item(tag))

    def official(self) -> list[tuple[float, Mean]]:
        """The mean over the tags that there are pictures of, each a mean over its pictures."""
        means = [mean for mean in map(self.pictures, self.tags) if mean.n]
        return [(1 / len(means), mean) for mean in means]

    def fixed(self) -> list[tuple[float, Mean]]:
        """The mean over all tags, each a mean over its prompts; nothing where a tag has none."""
        means = [self.prompts(tag) for tag in self.tags]
        return [(1 / len(means), mean) for mean in means] if all(mean.n for mean in means) else []


def _value(terms: Sequence[tuple[float, Mean]]) -> float | None:
    return sum(weight * mean.value for weight, mean in terms) if terms else None


def _faults(table: _Table, official: Sequence[tuple[float, Mean]], fixed: Sequence[tuple[float, Mean]]) -> list[Fault]:
    prompts = [mean for mean in map(table.prompts, table.tags) if mean.n]
    now, even = _value(official), _value([(1 / len(prompts), mean) for mean in prompts])
    return [
        Fault(
            "pictures-not-prompts",
            "Whatever pictures there are go into the mean: prompts with fewer of them weigh less, missing ones are not noticed.",
            None if now is None or even is None else now - even,
        ),
        Fault(
            "tags-that-are-there",
            "A kind of prompt without a single picture is left out of the mean of the six kinds without a word.",
            0.0 if fixed else None,
        ),
    ]


def _tags(found: Mapping[str, Estimate], compat: str, table: _Table) -> dict[str, Estimate]:
    return {tag: found[f"{compat}\0{tag}"] for tag in table.tags if f"{compat}\0{tag}" in found}


def _gaps(table: _Table, expected: int) -> list[Note]:
    notes = []
    if len(table.right) < expected:
        notes.append(Note("pictures have no verdict: the number is of a part of the benchmark", expected - len(table.right)))
    silent = [tag for tag in table.tags if not table.pictures(tag).n]
    if silent:
        notes.append(Note("kinds of prompts have no picture, so there is no fixed overall number", len(silent), tuple(silent[:3])))
    return notes


def _is_official(evidence: Detections) -> bool:
    return "mask2former" in evidence.judge.casefold() and "mmdet" in evidence.judge.casefold()


def _verdicts(items: Items, evidence: Detections | Replies) -> tuple[dict[tuple[str, int], bool], dict[tuple[str, int], bool], list[Note]]:
    """Verdicts of pictures officially and with any boxes of a class (empty where boxes are not known), and what is to be said."""
    if isinstance(evidence, Replies):
        lined = sheet(items, evidence, lambda _, reply: fixed_yes(reply))
        wrong = np.zeros(len(lined.item), dtype=bool)
        wrong[lined.media[lined.credit < 1]] = True
        unclear = np.zeros(len(lined.item), dtype=bool)
        unclear[lined.media[np.isnan(lined.credit)]] = True
        unclear &= ~wrong
        verdicts = {
            (lined.items[item], int(sample)): not bad
            for item, sample, bad, open_ in zip(lined.item, lined.sample, wrong, unclear, strict=True)
            if not open_
        }
        return verdicts, {}, _unclear(int(unclear.sum()), "answers")
    known = {record["id"] for record in items.records}
    official: dict[tuple[str, int], bool] = {}
    any_boxes: dict[tuple[str, int], bool] = {}
    unclear_ = differing = 0
    for key, seen in evidence.by_media.items():
        if key[0] not in known:
            continue
        asked = items.extras[key[0]]
        verdict = judge_picture(asked, seen.boxes)
        if seen.verdict is not None:
            differing += bool(seen.boxes) and verdict.correct is not None and verdict.correct != seen.verdict
            official[key] = seen.verdict
            continue
        loose = judge_picture(asked, seen.boxes, any_boxes=True)
        if verdict.correct is None:
            unclear_ += 1
            continue
        official[key] = verdict.correct
        if loose.correct is not None:
            any_boxes[key] = loose.correct
    notes = _unclear(unclear_, "colours of boxes")
    if differing:
        notes.append(Note("verdicts of the file differ from what its own boxes say; the verdicts count", differing))
    return official, any_boxes if len(any_boxes) == len(official) else {}, notes


def _unclear(number: int, what: str) -> list[Note]:
    return [Note(f"pictures lack {what} that their verdict hangs on; they are missing", number)] if number else []


def _checked(row: object, where: str) -> dict[str, Any]:
    """A line of the file, with everything the scorer relies on looked at."""
    tag, prompt = field(row, "tag", str, where), " ".join(field(row, "prompt", str, where).split())
    if tag not in TAGS:
        raise RecordError(f"{where}: tag {tag[:40]!r}; it is one of {', '.join(TAGS)}")
    if not prompt:
        raise RecordError(f"{where}: an empty prompt")
    assert isinstance(row, Mapping)
    include = field(row, "include", list, where)
    exclude = field(row, "exclude", list, where) if "exclude" in row else []
    if not include:
        raise RecordError(f"{where}: include names nothing")
    found: dict[str, Any] = {"tag": tag, "prompt": prompt, "include": [], "exclude": []}
    for kind, entries in (("include", include), ("exclude", exclude)):
        for at, one in enumerate(entries):
            name, count = field(one, "class", str, where).strip(), field(one, "count", int, where)
            if not name or not 1 <= count <= MAX_OBJECTS:
                raise RecordError(f"{where}: {count} of {name[:40]!r}; a class has a name and a count from 1 to {MAX_OBJECTS}")
            clean: dict[str, Any] = {"class": name, "count": count}
            if "color" in one:
                if field(one, "color", str, where) not in COLORS:
                    raise RecordError(f"{where}: color {one['color'][:40]!r}; it is one of {', '.join(COLORS)}")
                clean["color"] = one["color"]
            if "position" in one:
                place = field(one, "position", list, where)
                ok = len(place) == 2 and place[0] in RELATIONS and isinstance(place[1], int) and not isinstance(place[1], bool)
                if not ok or not 0 <= place[1] < at:
                    raise RecordError(
                        f"{where}: position {json.dumps(place)[:60]}; it is one of {', '.join(RELATIONS)} and the number of an entry before"
                    )
                clean["position"] = list(place)
            found[kind].append(clean)
    return found


def _item(index: int, row: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A prompt as a record with its graph and questions, and its extras."""
    objects: list[dict[str, Any]] = []
    relations: list[dict[str, str]] = []
    questions: list[dict[str, Any]] = []
    first_of: list[int] = []
    exact = {one["class"] for one in row["exclude"]}

    def ask(kind: str, text: str, elements: list[str], depends_on: Sequence[str] = ()) -> str:
        id = f"q{len(questions) + 1}"
        asked = {"id": id, "kind": kind, "form": "yes_no", "text": text, "answer": "yes", "elements": elements}
        questions.append({**asked, "depends_on": list(depends_on)})
        return id

    there: list[str] = []
    for one in row["include"]:
        name, count, many = one["class"], one["count"], one["class"] in _PLURAL
        own = [f"o{len(objects) + at}" for at in range(count)]
        first_of.append(len(objects))
        colors = [{"type": "color", "value": one["color"]}] if "color" in one else []
        objects += [{"id": id, "name": name, "attributes": [dict(color) for color in colors]} for id in own]
        if count > 1:
            number = " ".join(row["prompt"].removeprefix("a photo of ").split())
            asked = (
                f"Are there exactly {number} in the image?" if name in exact else f"Are there at least {count} of: {name}, in the image?"
            )
            there.append(ask("count", asked, own))
        else:
            article = "any " if many else "an " if takes_an(name) else "a "
            there.append(ask("existence", f"{'Are' if many else 'Is'} there {article}{name} in the image?", own))
        be = "Are" if many or count > 1 else "Is"
        if colors:
            ask("attribute", f"{be} the {name} {one['color']}?", [f"{id}.a0" for id in own], [there[-1]])
        if "position" in one:
            relation, target = one["position"]
            relations.append({"subject": own[0], "predicate": relation, "object": f"o{first_of[target]}"})
            other = row["include"][target]["class"]
            ask(
                "relation",
                f"{be} the {name} {_PHRASES[relation]} the {other}?",
                [f"r{len(relations) - 1}"],
                [there[-1], there[target]],
            )
    graph = {"objects": objects, "relations": relations, "scene_attributes": []}
    item = f"{index:05d}"
    return (
        make_record(ABOUT.name, item, index, row["prompt"], questions, graph=graph),
        {"item_id": item, "tag": row["tag"], "category": row["tag"], "include": row["include"], "exclude": row["exclude"]},
    )


def _read_results(path: Path, items: Items, model: str) -> Detections:
    """``results.jsonl``: a verdict a picture, with the boxes that a threshold left."""
    by_prompt = {record["caption"]: record["id"] for record in items.records}
    by_media: dict[tuple[str, int], Seen] = {}
    unknown: list[str] = []
    repeated = 0
    for line, row in json_lines(path):
        where = f"{path}, line {line}"
        name, prompt = field(row, "filename", str, where), " ".join(field(row, "prompt", str, where).split())
        place = _RESULT.search(name)
        if not place:
            raise RecordError(f"{where}: filename {name[-60:]!r} does not end in NUMBER/samples/NUMBER.png")
        seen = Seen(_details(row, where), bool(field(row, "correct", bool, where)))
        id = by_prompt.get(prompt)
        if id is None:
            unknown.append(f"line {line}")
            continue
        key = (id, int(place[2]))
        if key in by_media:
            if by_media[key] != seen:
                raise RecordError(f"{where}: another verdict on {name[-60:]} than in a line before")
            repeated += 1
        by_media[key] = seen
    notes = [Note("pictures of prompts that are not in the benchmark", len(unknown), tuple(unknown[:3]))] if unknown else []
    notes += [Note("lines that repeat another one", repeated)] if repeated else []
    if not read_text(path).endswith(("\n", "\r")) and len(by_media) < len(items.records) * SAMPLES:
        notes.append(Note("file without an end of its last line and with fewer verdicts than expected: it may be cut off", 1))
    samples = max([SAMPLES, *(sample + 1 for _, sample in by_media)])
    return Detections(by_media, model, "Mask2Former of mmdet (results.jsonl)", samples, tuple(notes))


def _details(row: Mapping[str, Any], where: str) -> tuple[Box, ...]:
    """Boxes of the field ``details``, JSON within JSON: class -> [[left, top, right, bottom, score], ...]."""
    text = row.get("details") or "{}"
    try:
        value = json.loads(text) if isinstance(text, str) else text
        found = [(name, one) for name, own in value.items() for one in own]
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise RecordError(f"{where}: details cannot be read as JSON") from None
    return tuple(
        make_box(name, one[4], one[:4], None, where) if isinstance(one, list) and len(one) == 5 else make_box(name, None, one, None, where)
        for name, one in found
    )


GENEVAL = GenEval()
