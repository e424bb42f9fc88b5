"""T2I-CompBench and T2I-CompBench++ (Huang et al., NeurIPS 2023, TPAMI 2025): eight categories of prompts, each with a metric of its own.

Scores are taken from what the released scripts wrote (``annotation_*/vqa_result.json``), computed from boxes of any detector (two
dimensions and numbers) or from a judge's answers about the phrases of a prompt (colour, shape, texture). Depth and CLIPScore are read, not
measured. The benchmark publishes a number for each category and none over all; the headline here is the mean of the categories that have
one, and is ours.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anyscene.benchmarks.asking import fixed_yes, sheet
from anyscene.benchmarks.benchmark import (
    About,
    BenchmarkResult,
    Counts,
    Fault,
    Items,
    Note,
    Numbers,
    Replies,
    Reply,
    make_record,
    result_of,
)
from anyscene.benchmarks.boxes import Detections, read_detections
from anyscene.benchmarks.compbench_phrases import count_things, is_plain, noun_phrases, read_objects, relation_of
from anyscene.benchmarks.compbench_rules import FAULTS, MEND_ALL, numeracy_score, phrase_product, spatial_score, three_in_one
from anyscene.benchmarks.reading import field, in_release_order, json_lines, json_value, read_text, text_lines
from anyscene.errors import RecordError
from anyscene.language.english import takes_an
from anyscene.scoring.statistics import Estimate, Mean, bootstrap

__all__ = ["CATEGORIES", "METRICS", "T2I_COMPBENCH", "MetricScores", "T2ICompBench"]

CATEGORIES = {
    "color": "blip",
    "shape": "blip",
    "texture": "blip",
    "spatial": "spatial",
    "3d_spatial": "depth",
    "numeracy": "numeracy",
    "non_spatial": "clip",
    "complex": "three_in_one",
}
"""The metric of each category."""
METRICS = ("blip", "spatial", "depth", "numeracy", "clip", "three_in_one")
PROMPTS = 300
ORDER = {
    "color": ("6c7600e00d888ffb", "c735840f3de60531"),
    "shape": ("ef9fc91bce8b2887", "bf557e22414dbc69"),
    "texture": ("a89a9a5a378d4596", "fa60c83f215a8753"),
    "spatial": ("e51b615080b68e82", "ae35e77cafeffb07"),
    "3d_spatial": ("ac8855123b0f617b", "c9953597315f36a5"),
    "numeracy": ("628480c823947a2c", "dad8df141604b70b"),
    "non_spatial": ("85211f812d821c9a", "2b9c2b1a26350308"),
    "complex": ("8ff5eb2d203beea8", "e23a7dfb80d4a4ee"),
}
"""Beginnings of the digests of the released prompts for validation, sorted and in their order."""
SAMPLES = 10
_FOLDERS = {
    "annotation_blip": "blip",
    "annotation_obj_detection_2d": "spatial",
    "annotation_obj_detection": "spatial",
    "annotation_obj_detection_3d": "depth",
    "annotation_num": "numeracy",
    "annotation_clip": "clip",
    "annotation_3_in_1": "three_in_one",
}
_SUBSETS = {"complex_val_spatial": "spatial", "complex_val_action": "action", "complex_val_spatialaction": "spatialaction"}
_FILE = re.compile(rf"({'|'.join(CATEGORIES)})(?:_(val|train))?")

ABOUT = About(
    name="t2i-compbench",
    title="T2I-CompBench++ (Huang et al.: T2I-CompBench++, NeurIPS 2023 and TPAMI 2025)",
    licence="MIT; two files of UniDet_eval are under a non-commercial licence and are not used",
    home="Karine-Huang/T2I-CompBench",
    files="examples/dataset, or one of its files such as color_val.txt",
    evidence=("scores", "detections", "answers"),
    stored="a folder with CATEGORY/annotation_*/vqa_result.json, boxes as anyscene bench detect writes them, or lines of scores",
    layouts=("t2i-compbench",),
    samples=SAMPLES,
    modality="image",
    official_judge="BLIP-VQA (capfilt large), UniDet (RS200, R50), DPT, CLIP ViT-B/32",
    judge_note="not the official models: numbers of BLIP-VQA and UniDet do not compare with those of others",
)


@dataclass(frozen=True)
class MetricScores:
    """Scores of single pictures as the released scripts wrote them.

    Attributes:
        by_metric: one of ``METRICS`` -> (record id, sample) -> score.
        model: whose pictures.
        judge: what measured.
        samples: pictures expected for each item.
        notes: what the reader repaired or did not know.
    """

    by_metric: Mapping[str, Mapping[tuple[str, int], float]]
    model: str = ""
    judge: str = "released scripts"
    samples: int = SAMPLES
    notes: tuple[Note, ...] = ()


class T2ICompBench:
    """T2I-CompBench++."""

    about = ABOUT

    def import_items(self, path: Path) -> Items:
        """The prompts of ``{category}_val.txt`` (or ``_train``, or ``{category}.txt``), one file or a folder of them.

        ``complex_val_spatial.txt``, ``_action`` and ``_spatialaction`` in the folder tell how complex prompts are scored;
        ``new_objects.txt`` holds singulars and plurals.

        Raises:
            RecordError: no such files, or one that is cut off or no list of prompts; the message names the line.
        """
        files = _files(path)
        objects = read_objects(path / "new_objects.txt") if path.is_dir() and (path / "new_objects.txt").is_file() else {}
        subsets = _read_subsets(path) if path.is_dir() else {}
        records: list[dict[str, Any]] = []
        extras: dict[str, dict[str, Any]] = {}
        notes: list[Note] = []
        seen: dict[str, str] = {}
        for category, split, file in files:
            prompts, repeated = _prompts(file)
            in_release_order(file, prompts, *ORDER[category])
            if repeated:
                notes.append(Note(f"prompts of {file.name} stand there twice, left out", len(repeated), tuple(repeated[:3])))
            if split in ("", "val") and len(prompts) != PROMPTS:
                notes.append(Note(f"prompts are in {file.name}; the release has {PROMPTS}", len(prompts)))
            unread = 0
            for at, prompt in enumerate(prompts):
                if seen.setdefault(prompt, category) != category:
                    raise RecordError(f"{file}: the prompt {prompt[:60]!r} stands in {seen[prompt]} as well; whose pictures are whose?")
                item = f"{category}-{at:04d}"
                asked, extra = _asked(category, prompt, objects)
                unread += not asked
                records.append(make_record(ABOUT.name, item, len(records), prompt, asked, complexity=len(asked)))
                subset = {"subset": subsets[_bare(prompt)]} if category == "complex" and _bare(prompt) in subsets else {}
                extras[records[-1]["id"]] = {"item_id": item, "category": category, "split": split, **subset, **extra}
            free = sum(not is_plain(prompt) for prompt in prompts) if CATEGORIES[category] == "blip" or category == "complex" else 0
            if free:
                notes.append(Note(f"prompts of {file.name} are free sentences: their noun phrases may differ from spaCy's", free))
            if unread:
                notes.append(Note(f"prompts of {file.name} from which no question could be made", unread))
        lost = sum(own["category"] == "complex" and "subset" not in own for own in extras.values())
        if lost:
            notes.append(
                Note("complex prompts are in none of complex_val_spatial.txt, _action and _spatialaction: 3-in-1 cannot be computed", lost)
            )
        return Items(ABOUT.name, tuple(records), extras, tuple(notes))

    def read_evidence(self, path: Path, items: Items, *, model: str | None = None) -> MetricScores | Detections:
        """A folder of the released scripts' results, one file of them, or boxes (see `anyscene.benchmarks.boxes`).

        In a folder, results lie in ``{category}/annotation_*/vqa_result.json``, or without the category where the items have only one.
        A file ``.jsonl`` holds boxes, or lines with ``item``, ``sample``, ``metric`` and ``value``.

        Raises:
            RecordError: it cannot be read, or its numbers cannot be told apart; the message names the place.
            SpecError: which model is not said.
        """
        if path.is_file() and path.suffix == ".jsonl":
            first = json_lines(path)[0][1]
            if isinstance(first, dict) and "boxes" in first:
                return read_detections(path, items, SAMPLES, model)
            return _read_lines(path, items, model or "")
        return _read_results(path, items, model or "")

    def score(self, items: Items, evidence: MetricScores | Detections | Replies, *, seed: int = 0) -> BenchmarkResult:
        """Both readings.

        Args:
            items: from `import_items`.
            evidence: scores of pictures, boxes, or a judge's answers.
            seed: of the bootstrap over prompts.

        Raises:
            RecordError: none of the evidence is about these items.
        """
        tables = {compat: _Table.of(items, evidence, mend) for compat, mend in (("official", frozenset()), ("fixed", MEND_ALL))}
        if not tables["official"].values:
            raise RecordError(f"nothing in the evidence gives a score of these {len(items.records):,} items of {ABOUT.name}")
        numbers = {compat: table.numbers(compat, seed) for compat, table in tables.items()}
        expected = len(items.records) * evidence.samples
        missing = [name for name in CATEGORIES if name in tables["fixed"].categories and name not in numbers["fixed"].by["category"]]
        notes = []
        if missing:
            notes.append(Note("categories have no score, and are not in the mean", len(missing), tuple(missing[:3])))
        found = len(tables["official"].values)
        if found < expected:
            notes.append(Note("pictures have no score: the number is of a part of the benchmark", expected - found))
        return result_of(
            ABOUT,
            items,
            evidence,
            numbers["official"],
            numbers["fixed"],
            headline="mean of the categories (not published)",
            unit="fraction",
            faults=_faults(items, evidence, tables["official"]),
            counts=Counts(
                items=len(items.records),
                items_scored=len({id for id, _ in tables["fixed"].values}),
                media=expected,
                media_found=found,
            ),
            notes=notes,
            judge_note="" if isinstance(evidence, MetricScores) else ABOUT.judge_note,
        )


@dataclass(frozen=True)
class _Table:
    """The score of every picture that has one, in one reading."""

    order: Mapping[str, int]
    category: Mapping[str, str]
    values: Mapping[tuple[str, int], float]

    @classmethod
    def of(cls, items: Items, evidence: MetricScores | Detections | Replies, mend: Collection[str]) -> _Table:
        order = {str(record["id"]): at for at, record in enumerate(items.records)}
        category = {id: str(items.extras[id]["category"]) for id in order}
        if isinstance(evidence, MetricScores):
            values = _given(items, evidence)
        elif isinstance(evidence, Detections):
            values = _of_boxes(items, evidence, mend)
        else:
            values = _of_replies(items, evidence, mend)
        return cls(order, category, {key: value for key, value in sorted(values.items()) if key[0] in order and not math.isnan(value)})

    @property
    def categories(self) -> list[str]:
        """Of the items, in the order of the release."""
        return [name for name in CATEGORIES if name in self.category.values()]

    def means(self, compat: str) -> dict[str, Mean]:
        """Of each category: over pictures officially, over prompts of means over their pictures when fixed."""
        found = {}
        for name in self.categories:
            own = [(self.order[id], value) for (id, _), value in self.values.items() if self.category[id] == name]
            if not own:
                continue
            owner, values = np.array([at for at, _ in own], dtype=np.int64), np.array([value for _, value in own])
            mean = Mean.over(owner, values, len(self.order))
            if compat == "fixed":
                mean = Mean(mean.scenes, mean.place, mean.total / mean.weight, np.ones(len(mean.place)))
            found[name] = mean
        return found

    def headline(self, compat: str = "official") -> float:
        """The mean of the categories."""
        means = self.means(compat)
        return math.fsum(mean.value for mean in means.values()) / len(means) if means else math.nan

    def numbers(self, compat: str, seed: int) -> Numbers:
        """With intervals."""
        means = self.means(compat)
        every = {"": [(1 / len(means), mean) for mean in means.values()], **{name: [(1.0, mean)] for name, mean in means.items()}}
        found = bootstrap(every, seed=seed)
        whole = found.pop("")
        scored = len({id for id, _ in self.values})
        return Numbers(compat, Estimate(whole.value, whole.low, whole.high, scored), {}, {"category": found})


def _given(items: Items, evidence: MetricScores) -> dict[tuple[str, int], float]:
    """Each picture's score by the metric of its category; 3-in-1 from its parts where it was not given."""
    values: dict[tuple[str, int], float] = {}
    for category, metric in CATEGORIES.items():
        for key, value in evidence.by_metric.get(metric, {}).items():
            if items.extras.get(key[0], {}).get("category") == category:
                values[key] = value
    parts = [evidence.by_metric.get(name, {}) for name in ("blip", "spatial", "clip")]
    for key in sorted({key for own in parts for key in own}):
        extra = items.extras.get(key[0], {})
        if extra.get("category") == "complex" and key not in values and "subset" in extra:
            values[key] = three_in_one(extra["subset"], *(own.get(key, math.nan) for own in parts))
    return values


def _of_boxes(items: Items, evidence: Detections, mend: Collection[str]) -> dict[tuple[str, int], float]:
    """Scores of two dimensions and of numbers."""
    values = {}
    for key, seen in evidence.by_media.items():
        extra = items.extras.get(key[0], {})
        if extra.get("category") == "spatial" and "relation" in extra:
            first, relation, second = extra["relation"]
            side = max(seen.size) if seen.size else 0
            values[key] = spatial_score(seen.boxes, first, second, relation, longer_side=side, mend=mend)
        elif extra.get("category") == "numeracy" and extra.get("things"):
            values[key] = numeracy_score(seen.boxes, [(name, number) for name, number in extra["things"]], mend)
    return values


def _of_replies(items: Items, evidence: Replies, mend: Collection[str]) -> dict[tuple[str, int], float]:
    """Products of P(yes) over the phrases of a prompt."""
    own = [record for record in items.records if CATEGORIES.get(str(items.extras[record["id"]]["category"])) == "blip"]
    if not own:
        return {}
    lined = sheet(Items(items.benchmark, tuple(own), items.extras, digest="-"), evidence, lambda _, reply: _soft(reply))
    by_media: list[list[float]] = [[] for _ in lined.item]
    for media, value in zip(lined.media, lined.credit, strict=True):
        by_media[media].append(float(value))
    return {
        (lined.items[item], int(sample)): math.nan if any(map(math.isnan, values)) else phrase_product(values, mend)
        for item, sample, values in zip(lined.item, lined.sample, by_media, strict=True)
        if values
    }


def _soft(reply: Reply | None) -> float:
    """P(yes), or 1 and 0 where only words are known; NaN where it is missing."""
    if reply is None or reply.status != "answered":
        return math.nan
    return reply.p_yes if reply.p_yes is not None else fixed_yes(reply)


def _faults(items: Items, evidence: MetricScores | Detections | Replies, official: _Table) -> list[Fault]:
    now = official.headline()
    found = [
        Fault(
            "pictures-not-prompts",
            "A category is a mean over whatever pictures there are: prompts with fewer of them weigh less.",
            now - official.headline("fixed"),
        )
    ]
    for name, what in FAULTS.items():
        effect = None if isinstance(evidence, MetricScores) else now - _Table.of(items, evidence, {name}).headline()
        found.append(Fault(name, what, effect))
    return [
        *found,
        Fault("depth-axes", "Depth is cut out with rows and columns exchanged.", None),
        Fault("ten-pictures", "3-in-1 takes ten pictures of each prompt for granted, and numbers that follow each other.", None),
    ]


# ---- prompts ----------------------------------------------------------------------------------------------------------------


def _files(path: Path) -> list[tuple[str, str, Path]]:
    """(category, split, file), in the order of the categories."""
    if path.is_file():
        match = _FILE.fullmatch(path.stem)
        if not match:
            raise RecordError(f"{path}: the file's name does not say its category; call it {'_val.txt, '.join(CATEGORIES)}_val.txt")
        return [(match[1], match[2] or "", path)]
    if not path.is_dir():
        raise RecordError(f"{path}: no such file or folder")
    found = [(match[1], match[2] or "", one) for one in sorted(path.glob("*.txt")) if (match := _FILE.fullmatch(one.stem))]
    splits = {split for _, split, _ in found}
    found = [one for one in found if one[1] == ("val" if "val" in splits else "" if "" in splits else "train")]
    if not found:
        raise RecordError(f"{path}: none of {', '.join(f'{name}_val.txt' for name in CATEGORIES)} is in it")
    return sorted(found, key=lambda one: list(CATEGORIES).index(one[0]))


def _prompts(file: Path) -> tuple[list[str], list[str]]:
    """The prompts of a file, and the lines that repeat one."""
    prompts: dict[str, None] = {}
    repeated = []
    lines = text_lines(file)
    for line, text in lines:
        prompt = " ".join(text.split())
        if len(prompt) > 1000 or not prompt.isprintable():
            raise RecordError(f"{file}, line {line}: no prompt: {prompt[:40]!r}")
        if prompt in prompts:
            repeated.append(f"line {line}")
        prompts[prompt] = None
    if len(prompts) != PROMPTS and len(lines) < PROMPTS and not read_text(file).endswith(("\n", "\r")):
        raise RecordError(
            f"{file}, line {lines[-1][0]}: fewer than {PROMPTS} prompts, and the last line has no end: the file may be cut off "
            f"in the middle of {lines[-1][1][-40:]!r}. If it is whole, end its last line"
        )
    return list(prompts), repeated


def _read_subsets(folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for stem, subset in _SUBSETS.items():
        if (folder / f"{stem}.txt").is_file():
            for line, prompt in text_lines(folder / f"{stem}.txt"):
                if found.setdefault(_bare(prompt), subset) != subset:
                    raise RecordError(f"{folder / stem}.txt, line {line}: the prompt stands among those of {found[_bare(prompt)]} as well")
    return found


def _bare(prompt: str) -> str:
    """A prompt as the released script compares complex ones: up to its first full stop, in small letters."""
    return prompt.split(".")[0].lower().strip()


def _asked(category: str, prompt: str, objects: Mapping[str, str]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The questions of a prompt, and what a scorer needs to know of it."""

    def yes_no(kind: str, text: str) -> dict[str, Any]:
        return {"kind": kind, "form": "yes_no", "text": text, "answer": "yes"}

    def there(name: str) -> dict[str, Any]:
        return yes_no("existence", f"Is there {'an' if takes_an(name) else 'a'} {name} in the image?")

    extra: dict[str, Any] = {}
    if category in ("spatial", "3d_spatial") and (found := relation_of(prompt)):
        first, relation, second = found
        asked = [there(first), *([there(second)] if second != first else []), yes_no("relation", f"Is a {first} {relation} a {second}?")]
        asked[-1]["text"] = f"Is {'an' if takes_an(first) else 'a'} {first} {relation} {'an' if takes_an(second) else 'a'} {second}?"
        extra = {"relation": list(found), "objects": list(dict.fromkeys((first, second)))}
    elif category == "numeracy":
        things = count_things(prompt, objects)
        asked = [yes_no("count", f"Is this how many there are in the image: {words}?") for words, _, _ in things]
        extra = {"things": [[name, number] for _, name, number in things], "objects": [name for _, name, _ in things]}
    elif category == "non_spatial":
        asked = [yes_no("relation", f"Does the image show this: {prompt.rstrip('.')}?")]
    else:
        asked = [yes_no("attribute", f"{phrase}?") for phrase in noun_phrases(prompt)]
    return [{"id": f"q{at}", **one} for at, one in enumerate(asked, 1)], extra


# ---- results ----------------------------------------------------------------------------------------------------------------


def _read_results(path: Path, items: Items, model: str) -> MetricScores:
    """``vqa_result.json`` of every category and metric that is there."""
    files = [path] if path.is_file() else sorted(path.rglob("vqa_result.json"))
    if not files:
        raise RecordError(f"{path}: no annotation_*/vqa_result.json in it" if path.exists() else f"{path}: no such folder")
    by_category: dict[str, list[str]] = {}
    for record in items.records:
        by_category.setdefault(str(items.extras[record["id"]]["category"]), []).append(str(record["id"]))
    by_metric: dict[str, dict[tuple[str, int], float]] = {}
    samples: dict[int, str] = {}
    repeated = 0
    for file in files:
        metric = _FOLDERS.get(file.parent.name)
        if metric is None:
            continue  # single phrases, and other work of the scripts
        named = [part for part in file.parts[:-2] if part in CATEGORIES]
        category = named[-1] if named else next(iter(by_category)) if len(by_category) == 1 else None
        if category is None:
            raise RecordError(f"{file}: of which category? let it lie in a folder called {', '.join(by_category)}")
        if category not in by_category:
            continue
        own = by_category[category]
        answers, doubles = _answers(file)
        repeated += doubles
        number, rest = divmod(len(answers), len(own))
        if rest or sorted(answers) != list(range(len(answers))):
            raise RecordError(
                f"{file}: {len(answers):,} scores for {len(own):,} prompts: officially they are numbered 0, 1, 2, ... "
                "with as many pictures of each; with some missing, no number can be told to belong to a prompt"
            )
        samples[number] = str(file)
        values = by_metric.setdefault(metric, {})
        values.update({(own[place // number], place % number): value for place, value in answers.items()})
    if not by_metric:
        raise RecordError(f"{path}: none of {', '.join(_FOLDERS)} with scores of these items")
    notes = (Note("entries that repeat another one", repeated),) if repeated else ()
    return MetricScores(by_metric, model, "released scripts", max(samples), notes)


def _answers(file: Path) -> tuple[dict[int, float], int]:
    """question_id -> answer, and how many stand there twice."""
    value = json_value(file)
    if not isinstance(value, list) or not value:
        raise RecordError(f"{file}: a list of question_id and answer is wanted")
    found: dict[int, float] = {}
    doubles = 0
    for at, one in enumerate(value, 1):
        where = f"{file}, entry {at}"
        id, said = field(one, "question_id", int, where), field(one, "answer", (str, int, float), where)
        try:
            answer = float(said)
        except ValueError:
            answer = math.nan
        if not -1 <= answer <= 1 + 1e-6:
            raise RecordError(f"{where}: {str(said)[:40]!r} is no score")
        if id in found:
            doubles += 1
            if found[id] != answer:
                raise RecordError(f"{where}: another score of {id} than before")
        found[id] = answer
    return found, doubles


def _read_lines(path: Path, items: Items, model: str) -> MetricScores:
    """Lines with ``item``, ``sample``, ``metric`` and ``value``."""
    own = {str(extra["item_id"]): id for id, extra in items.extras.items()} | {
        str(record["id"]): str(record["id"]) for record in items.records
    }
    by_metric: dict[str, dict[tuple[str, int], float]] = {}
    unknown = repeated = 0
    for line, row in json_lines(path):
        where = f"{path}, line {line}"
        item, metric = field(row, "item", str, where), field(row, "metric", str, where)
        sample, value = field(row, "sample", int, where), field(row, "value", (int, float), where)
        if metric not in METRICS or not 0 <= sample < 1000 or not -1 <= value <= 1 + 1e-6:
            raise RecordError(f"{where}: metric {metric[:40]!r}, sample {sample}, value {value:g}; metrics are {', '.join(METRICS)}")
        if item not in own:
            unknown += 1
            continue
        values, key = by_metric.setdefault(metric, {}), (own[item], sample)
        repeated += key in values
        if values.setdefault(key, float(value)) != float(value):
            raise RecordError(f"{where}: another score of {item[:60]}, sample {sample}, than in a line before")
    samples = max([SAMPLES, *(sample + 1 for values in by_metric.values() for _, sample in values)])
    notes = [Note("lines about items that are not in the benchmark", unknown)] if unknown else []
    notes += [Note("lines that repeat another one", repeated)] if repeated else []
    return MetricScores(by_metric, model, "scores of a file", samples, tuple(notes))


T2I_COMPBENCH = T2ICompBench()
