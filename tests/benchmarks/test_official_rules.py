"""Scorers against the official rules written out a second time, the slow way, on random answers, graphs, boxes and scores."""

from __future__ import annotations

import csv
import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anyscene.benchmarks import Items, Replies, Reply, load_benchmark
from anyscene.benchmarks.boxes import Box
from anyscene.benchmarks.compbench_rules import RELATIONS_2D, numeracy_score, phrase_product, spatial_score
from anyscene.benchmarks.geneval import COLORS, RELATIONS, judge_picture
from anyscene.benchmarks.vbench import DIMENSIONS, total_of

COLUMNS = "item_id,text,keywords,proposition_id,dependency,category_broad,category_detailed,tuple,question_natural_language".split(",")
SAID = {"yes": True, "no": False, "Yes.": True, "": None, "unsuitable": None}
Graph = dict[str, dict[int, str]]
Said = dict[tuple[str, int], dict[int, str]]


def propositions(rng: random.Random, dirty: bool) -> Graph:
    """Item -> question -> dependency as it stands in the file: forward, on itself, on nothing, in circles, malformed."""
    found: Graph = {}
    for item in ("partiprompts97", "vrd_1", "tifa_2", "whoops_3", "drawtext_4")[: rng.randint(1, 5)]:
        size = rng.randint(1, 6)
        own = {}
        for number in range(1, size + 1):
            parents = [str(rng.randint(0, size + (rng.random() < 0.1))) for _ in range(rng.randint(1, 2))]
            own[number] = ", ".join(parents) + (", right" if dirty and rng.random() < 0.1 else "")
        found[item] = own
    return found


def written(folder: Path, graph: Graph) -> Path:
    path = folder / "questions.csv"
    kinds = ("entity - whole (a)", "attribute - color (a, b)", "attribute - size (a, b)", "relation - spatial (a, b, on)")
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for item, own in graph.items():
            for number, dependency in own.items():
                kind = kinds[number % 4]
                writer.writerow([item, f"text {item}", "", number, dependency, kind.split(" - ")[0], "", kind, f"Is it {number}?"])
    return path


def answered(rng: random.Random, graph: Graph, samples: int) -> Said:
    """Answers; some pictures and some questions have none."""
    found: Said = {}
    for item, own in graph.items():
        for sample in range(samples):
            if rng.random() < 0.9:
                found[item, sample] = {number: rng.choice(["yes"] * 5 + list(SAID)) for number in own if rng.random() < 0.97}
    return {key: own for key, own in found.items() if own}


def replies(said: Said, samples: int) -> Replies:
    return Replies({key: {f"q{number}": Reply(text) for number, text in own.items()} for key, own in said.items()}, samples=samples)


def parents_in(text: str) -> list[int]:
    return [int(one) for one in text.split(",") if one.strip().lstrip("+-").isdigit() and int(one) != 0]


def mean(values: list[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


# ---- DPG-Bench --------------------------------------------------------------------------------------------------------------


def dpg_official(graph: Graph, said: Said, samples: int) -> tuple[float | None, dict[str, float | None]]:
    """The released script, line by line: without the first row, any error drops the item, categories of the last tile."""
    rows = [(item, number, dependency) for item, own in graph.items() for number, dependency in own.items()]
    first = ("partiprompts97", 1) if "partiprompts97" in graph else rows[0][:2]
    kept: dict[str, dict[int, list[int]]] = {}
    for item, number, dependency in rows:
        if (item, number) != first:
            kept.setdefault(item, {})[number] = parents_in(dependency)
    scores: list[float] = []
    categories: dict[str, list[float]] = {}
    for item in graph:
        try:
            tiles = []
            for sample in range(samples):
                own = {number: float(said[item, sample][number] == "yes") for number in kept[item]}
                raw = dict(own)
                for number, parents in kept[item].items():
                    for parent in parents:
                        if own[parent] == 0:
                            own[number] = 0.0
                            break
                tiles.append(sum(own.values()) / len(own))
            scores.append(sum(tiles) / len(tiles))
            for number, value in raw.items():
                categories.setdefault(("entity", "attribute", "attribute", "relation")[number % 4], []).append(value)
        except KeyError:
            continue
    score = mean(scores)
    return None if score is None else 100 * score, {name: 100 * (mean(own) or 0) for name, own in categories.items()}


def test_dpg_as_the_released_script_goes(tmp_path: Path) -> None:
    bench, scored = load_benchmark("dpg"), 0
    for seed in range(25):
        rng = random.Random(seed)
        graph, samples = propositions(rng, False), rng.randint(1, 4)
        if not (said := answered(rng, graph, samples)):
            continue
        found = bench.score(bench.import_items(written(tmp_path, graph)), replies(said, samples)).official
        score, categories = dpg_official(graph, said, samples)
        assert found.headline.value == (None if score is None else pytest.approx(score)), seed
        assert {name: one.value for name, one in found.by.get("L1", {}).items()} == pytest.approx(categories), seed
        scored += score is not None
    assert scored > 8


# ---- DSG-1k -----------------------------------------------------------------------------------------------------------------


def dsg_columns(graph: Graph, said: Said, fixed: bool) -> dict[str, float | None]:
    """Every column, prompt by prompt; one picture of each."""
    by_prompt: dict[str, list[float]] = {name: [] for name in ("library", "in_place", "fixpoint", "no_dependency", "paper", "all_correct")}
    micro: list[float] = []
    asked = {item: said.get((item, 0)) for item in graph}
    for item, own in graph.items():
        told = asked[item]
        if told is None:  # categories are those of the names: each of these items is its own
            continue
        malformed = any("right" in text for text in own.values())
        parents = {n: [] if malformed and not fixed else [p for p in parents_in(text) if p in own and p != n] for n, text in own.items()}
        credit: dict[int, float | None] = {
            n: (None if SAID.get(told.get(n, "")) is None else float(bool(SAID[told[n]]))) if fixed else float(told.get(n) == "yes")
            for n in own
        }

        def known(values: dict[int, float | None]) -> list[float]:
            return [value for value in values.values() if value is not None]

        def after(value: float | None, above: list[float | None]) -> float | None:
            """A question hangs on those above it: missing if one of them is, else 0 if one of them is."""
            return None if value is None or None in above else 0.0 if 0 in above else value

        library = {n: after(c, [credit[p] for p in parents[n]]) for n, c in credit.items()}
        in_place = dict(credit)
        for n in own:
            in_place[n] = after(credit[n], [in_place[p] if p < n else credit[p] for p in parents[n]])
        fixpoint = dict(credit)
        for lost in (None, 0.0):
            for _ in own:
                for n in own:
                    if lost in [fixpoint[p] for p in parents[n]] and fixpoint[n] is not None:
                        fixpoint[n] = lost
        for name, values in (("library", library), ("in_place", in_place), ("fixpoint", fixpoint), ("no_dependency", credit)):
            if known(values):
                by_prompt[name].append(sum(known(values)) / len(known(values)))
        if known(library):
            by_prompt["paper"].append((sum(known(library)) / len(known(library)) + sum(known(credit)) / len(known(credit))) / 2)
        micro += known(library)
        if any(c == 0 for c in credit.values()) or None not in credit.values():
            by_prompt["all_correct"].append(float(all(c == 1 for c in credit.values())))
    found = {name: mean(values) for name, values in by_prompt.items()} | {"micro": mean(micro)}
    return {name: None if value is None else 100 * value for name, value in found.items()}


def test_dsg_by_every_rule(tmp_path: Path) -> None:
    bench = load_benchmark("dsg")
    for seed in range(25):
        rng = random.Random(seed)
        graph = propositions(rng, True)
        if not (said := answered(rng, graph, 1)):
            continue
        found = bench.score(bench.import_items(written(tmp_path, graph)), replies(said, 1))
        for numbers, fixed in ((found.official, False), (found.fixed, True)):
            wanted = dsg_columns(graph, said, fixed)
            assert {name: one.value for name, one in numbers.columns.items()} == {
                name: None if value is None else pytest.approx(value) for name, value in wanted.items()
            }, (seed, numbers.compat)


# ---- GenEval ----------------------------------------------------------------------------------------------------------------


def geneval_official(asked: dict[str, Any], boxes: list[Box]) -> bool:
    """The released script, with numpy as there; every box has a colour."""
    least = 0.9 if asked["tag"] == "counting" else 0.3
    objects: dict[str, list[Box]] = {}
    for name in {box.name for box in boxes}:
        own = [box for box in boxes if box.name == name]
        order = np.argsort([box.score for box in own], kind="stable")[::-1]
        if kept := [own[place] for place in order if own[place].score > least][:16]:
            objects[name] = kept
    correct, groups = True, []
    for wanted in asked["include"]:
        matched, found = True, objects.get(wanted["class"], [])[: wanted["count"]]
        if len(found) < wanted["count"]:
            correct = matched = False
        else:
            if "color" in wanted and [box.color for box in found].count(wanted["color"]) < wanted["count"]:
                correct = matched = False
            if "position" in wanted and matched:
                relation, target = wanted["position"]
                if groups[target] is None or any(relation not in geneval_relations(a, b) for a in found for b in groups[target]):
                    correct = matched = False
        groups.append(found if matched else None)
    for unwanted in asked["exclude"]:
        if len(objects.get(unwanted["class"], [])) >= unwanted["count"]:
            correct = False
    return correct


def geneval_relations(a: Box, b: Box) -> set[str]:
    corners = np.array([[[box.left, box.top], [box.right, box.bottom]] for box in (a, b)])
    centres, sizes = corners.mean(axis=1), np.abs(np.diff(corners, axis=1))[:, 0]
    offset = centres[0] - centres[1]
    revised = np.maximum(np.abs(offset) - 0.1 * (sizes[0] + sizes[1]), 0) * np.sign(offset)
    if np.all(np.abs(revised) < 1e-3):
        return set()
    x, y = revised / np.linalg.norm(offset)
    return {name for name, holds in zip(RELATIONS, (x < -0.5, x > 0.5, y < -0.5, y > 0.5), strict=True) if holds}


def test_geneval_on_random_boxes() -> None:
    rng, right = random.Random(0), 0
    for _ in range(4000):
        tag = rng.choice(["counting", "colors", "position", "color_attr", "two_object"])
        include: list[dict[str, Any]] = []
        for at in range(rng.randint(1, 3)):
            one: dict[str, Any] = {"class": rng.choice("ab"), "count": rng.choice([1, 1, 1, 2])}  # classes may stand twice
            one |= {"color": rng.choice(COLORS[:2])} if rng.random() < 0.4 else {}
            one |= {"position": [rng.choice(RELATIONS), rng.randrange(at)]} if at and rng.random() < 0.5 else {}
            include.append(one)
        exclude = [{"class": rng.choice("ab"), "count": rng.randint(1, 4)}] if rng.random() < 0.3 else []
        boxes = []
        for _ in range(rng.choice([1, 2, 3, 4, 4, 20])):
            x, y, wide, high = rng.randint(0, 9), rng.randint(0, 9), rng.randint(0, 4), rng.randint(0, 4)
            score = rng.choice([0.3, 0.31, 0.5, 0.9, 0.91, 0.95])  # ties in score, and at the thresholds
            boxes.append(Box(rng.choice("abc"), score, x, y, x + wide, y + high, rng.choice(COLORS[:2])))
        asked = {"tag": tag, "include": include, "exclude": exclude}
        wanted = geneval_official(asked, boxes)
        assert judge_picture(asked, boxes).correct is wanted, (asked, boxes)
        right += wanted
    assert 200 < right < 2000


# ---- T2I-CompBench ----------------------------------------------------------------------------------------------------------


def overlap(a: Box, b: Box) -> float:
    wide, high = min(a.right, b.right) - max(a.left, b.left), min(a.bottom, b.bottom) - max(a.top, b.top)
    shared = wide * high if wide > 0 and high > 0 else 0
    union = a.width * a.height + b.width * b.height - shared
    return shared / union if union else 0.0


def compbench_position(relation: str, a: Box, b: Box) -> float:
    x, y = b.centre[0] - a.centre[0], b.centre[1] - a.centre[1]
    if relation in ("next to", "on side of", "near"):
        return 1.0 if abs(x) < 150 or abs(y) < 150 else 150 / max(abs(x), abs(y))
    sides = {"on the left of": x > 0, "on the right of": x < 0, "on the top of": y > 0, "on the bottom of": y < 0}
    if relation not in sides or not sides[relation]:
        return 0.0
    if not (abs(x) > abs(y) if "left" in relation or "right" in relation else abs(y) > abs(x)):
        return 0.0
    return 1.0 if overlap(a, b) < 0.1 else 0.1 / overlap(a, b)


def test_two_dimensions_on_random_boxes() -> None:
    rng, above = random.Random(1), 0
    for _ in range(3000):
        boxes = []
        for _ in range(rng.randint(0, 4)):
            x, y, wide, high = rng.randint(0, 300), rng.randint(0, 300), rng.randint(1, 200), rng.randint(1, 200)
            boxes.append(Box(rng.choice(["cat", "person", "dog"]), rng.random(), x, y, x + wide, y + high))
        first, second, relation = rng.choice(["cat", "girl", "dog"]), rng.choice(["cat", "man", "bird"]), rng.choice(RELATIONS_2D)
        names = ["person" if one in ("girl", "man") else one for one in (first, second)]
        own = [next((box for box in boxes if box.name == name), None) for name in names]
        a, b = own
        if a and b:
            score = 0.25 * a.score + 0.25 * b.score + 0.5 * compbench_position(relation, a, b)
        else:
            score = 0.25 * (a.score if a else b.score if b else 0.0)
        wanted = score if score >= 0.5 else 0.0
        assert spatial_score(boxes, first, second, relation) == pytest.approx(wanted)
        above += wanted > 0
    assert above > 200


def test_numbers_of_random_boxes() -> None:
    rng = random.Random(2)
    for _ in range(500):
        boxes = [Box(rng.choice(["cat", "dog"]), 0.9, 100 * at, 0, 100 * at + 50, 50) for at in range(rng.randint(0, 5))]  # all apart
        wanted = [(name, rng.randint(1, 4)) for name in rng.sample(["cat", "dog", "cow"], rng.randint(1, 3))]
        names = [box.name for box in boxes]
        score = sum(
            (0.5 if name in names else 0) + (0.5 if name in names and names.count(name) == number else 0) for name, number in wanted
        )
        assert numeracy_score(boxes, wanted) == pytest.approx(score / len(wanted))
        shares = [rng.random() for _ in range(rng.randint(1, 9))]
        assert phrase_product(shares) == round(math.prod(round(share, 4) for share in shares[:8]), 4)


# ---- VBench -----------------------------------------------------------------------------------------------------------------

BOUNDS = {
    "subject consistency": (0.1462, 1.0),
    "background consistency": (0.2615, 1.0),
    "temporal flickering": (0.6293, 1.0),
    "motion smoothness": (0.706, 0.9975),
    "scene": (0.0, 0.8222),
    "appearance style": (0.0009, 0.2855),
    "temporal style": (0.0, 0.364),
    "overall consistency": (0.0, 0.364),
}
OF_QUALITY = ("subject consistency", "background consistency", "temporal flickering", "motion smoothness", "dynamic degree")
OF_QUALITY += ("aesthetic quality", "imaging quality")


def test_the_total_of_random_scores() -> None:
    rng = random.Random(3)
    for _ in range(200):
        raw = {name: rng.random() for name in DIMENSIONS if rng.random() < 0.9}
        scaled = {}
        for name in DIMENSIONS:
            low, high = BOUNDS.get(name, (0.0, 1.0))
            scaled[name] = (raw.get(name, 0.0) - low) / (high - low) * (0.5 if name == "dynamic degree" else 1.0)
        quality = sum(scaled[name] for name in OF_QUALITY) / 6.5
        semantic = sum(value for name, value in scaled.items() if name not in OF_QUALITY) / 9
        found = total_of(dict(raw))
        assert found == pytest.approx({"quality": quality, "semantic": semantic, "total": (4 * quality + semantic) / 5})
        assert total_of(dict(raw), "fixed")["total"] == (pytest.approx(found["total"]) if len(raw) == 16 else None)


# ---- ConceptMix, GenAI-Bench, TIFA ------------------------------------------------------------------------------------------


def test_concepts_all_correct_by_k(tmp_path: Path) -> None:
    bench = load_benchmark("conceptmix")
    for seed in range(6):
        rng = random.Random(seed)
        for k in (1, 3):
            rows = [
                {"index": at, "sentence": f"{k} {at}", "question": [rng.choice([f"{one}? ", ""]) for one in range(k)] + ["last?"]}
                for at in range(4)
            ]
            (tmp_path / f"300_sentences_k={k}.json").write_text(json.dumps(rows))
        items = bench.import_items(tmp_path)
        said: dict[tuple[str, int], dict[str, Reply]] = {}
        for record in items.records:
            said[record["id"], 0] = {one["id"]: Reply(rng.choice(["Yes", "Yes", "Yes.", "yes", "No"])) for one in record["questions"]}
        found = bench.score(items, Replies(said)).official
        by_k: dict[str, list[float]] = {}
        share: list[float] = []
        for (id, _), own in said.items():
            right = ["Yes" in (one.text or "") for one in own.values()]
            by_k.setdefault(str(items.extras[id]["k"]), []).append(float(all(right)))
            share.append(sum(right) / len(right))
        assert {k: one.value for k, one in found.by["k"].items()} == pytest.approx({k: 100 * (mean(own) or 0) for k, own in by_k.items()})
        assert found.headline.value == pytest.approx(50 * sum(mean(own) or 0 for own in by_k.values()))
        assert found.columns["questions"].value == pytest.approx(100 * (mean(share) or 0)) and found.headline.n == 8


def test_a_k_without_pictures_leaves_no_fixed_mean(tmp_path: Path) -> None:
    bench = load_benchmark("conceptmix")
    for k in (1, 2):
        (tmp_path / f"300_sentences_k={k}.json").write_text(json.dumps([{"index": 0, "sentence": f"{k}", "question": ["a?"]}]))
    items = bench.import_items(tmp_path)
    found = bench.score(items, Replies({("k1-0", 0): {"q1": Reply("Yes")}}))
    assert (found.official.headline.value, found.fixed.headline.value, found.counts.items_scored) == (100.0, None, 1)
    assert any("(k=2)" in note.line() for note in found.notes)


def test_a_judge_is_held_against_people(tmp_path: Path) -> None:
    bench, rng = load_benchmark("genai-bench"), random.Random(4)
    ratings = {f"{at:05d}": [rng.randint(1, 5) for _ in range(3)] for at in range(8)}
    prompts = {name: {"prompt": f"p {name}", "models": {"SDXL": own}} for name, own in ratings.items()}
    (tmp_path / "genai_image.json").write_text(json.dumps(prompts))
    (tmp_path / "genai_skills.json").write_text(json.dumps({"basic": list(range(8))}))
    items = bench.import_items(tmp_path)
    scores = {name: rng.random() for name in ratings}
    said = {(name, 0): {"shows": Reply(None, value)} for name, value in scores.items()}
    found = bench.score(items, Replies(said, "SDXL")).fixed.columns
    people = [sum(own) / 3 for own in ratings.values()]
    assert found["people, Pearson"].value == pytest.approx(float(np.corrcoef(people, list(scores.values()))[0, 1]))
    assert found["people, Pearson"].n == 8 and 0 < (found["people, pairs with calibrated ties"].value or 0) <= 1
    assert "people, Pearson" not in bench.score(items, Replies(said, "another")).fixed.columns


def tifa(folder: Path, rows: list[dict[str, Any]]) -> Items:
    path = folder / "tifa.json"
    path.write_text(json.dumps(rows))
    return load_benchmark("tifa").import_items(path)


def test_free_answers_by_an_encoder_as_the_released_scorer_maps_them(tmp_path: Path) -> None:
    """The nearest choice by a random but fixed vector for each text; captions count alike, types by their questions."""

    def encode(texts: Any) -> np.ndarray:
        vectors = np.array([np.random.default_rng(sum(map(ord, text)) + len(text)).normal(size=6) for text in texts])
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    for seed in range(6):
        rng = random.Random(seed)
        rows, right = [], []
        for at in range(10):
            choices = rng.sample(["red", "blue", "a dog", "two", "surfer", "yes", "no"], rng.randint(2, 4))
            kind = rng.choice(["color", "animal", "human", "object"])
            row = {"id": f"c{at % 3}", "caption": f"caption {at % 3}", "question": f"q{at}?", "choices": choices}
            rows.append(row | {"answer": rng.choice(choices), "element_type": kind})
        items = tifa(tmp_path, rows)
        said: dict[tuple[str, int], dict[str, Reply]] = {}
        for row in rows:
            free = rng.choice([*row["choices"], "crimson", "a person surfing", ""])
            vectors = encode([free, *row["choices"]])
            mapped = free if free in row["choices"] else row["choices"][int(np.argmax(vectors[1:] @ vectors[0]))]
            right.append(float(mapped == row["answer"]))
            record = items.by_item_id()[row["id"]]
            question = next(one["id"] for one in record["questions"] if one["text"] == row["question"])
            said.setdefault((record["id"], 0), {})[question] = Reply(free)
        found = load_benchmark("tifa").score(items, Replies(said), encoder=encode).official  # type: ignore[call-arg]
        captions = [mean([value for row, value in zip(rows, right, strict=True) if row["id"] == id]) or 0 for id in ("c0", "c1", "c2")]
        assert found.headline.value == pytest.approx(mean(captions))
        assert found.columns["tifa_stdev"].value == pytest.approx(float(np.std(captions, ddof=1)))
        for kind in ("color", "animal/human", "object"):
            own = [value for row, value in zip(rows, right, strict=True) if row["element_type"] in kind.split("/")]
            assert kind not in found.by["element_type"] or found.by["element_type"][kind].value == pytest.approx(mean(own))
