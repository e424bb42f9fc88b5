"""A run that looks like a real one: scenes drawn with Pillow by a painter that errs, a judge that errs, and scores of the contract's shape."""

from __future__ import annotations

import hashlib
import io
import json
import random
from typing import Any

import pyarrow as pa
from PIL import Image, ImageDraw

from anyscene.dataset import record_schema
from anyscene.language.question import Question
from anyscene.report import RunContents

COLOURS = {"red": "#d1495b", "blue": "#2b6cb0", "green": "#3a9d5d", "yellow": "#edae49", "purple": "#7d5ba6", "white": "#f4f1ea"}
SHAPES = ("circle", "square", "triangle", "star")
SIZES = ("small", "large")
PREDICATES = {"left of": (1, 0), "above": (0, 1), "right of": (-1, 0), "below": (0, -1)}
GROUNDS = {"sand": "#efe3c8", "night sky": "#1b2440", "meadow": "#cfe5c0"}
JUDGE = {"name": "sandbox", "revision": "1", "template": "plain-1"}

ANSWERS = pa.schema(
    [
        ("media_sha256", pa.string()),
        ("question_key", pa.string()),
        ("judge", pa.string()),
        ("revision", pa.string()),
        ("template", pa.string()),
        ("p_yes", pa.float64()),
        ("label_mass", pa.float64()),
        ("text", pa.string()),
        ("status", pa.string()),
        ("probabilities", pa.list_(pa.float64())),
    ]
)
MEDIA = pa.schema(
    [
        ("record_id", pa.string()),
        ("index", pa.int64()),
        ("sample", pa.int32()),
        ("seed", pa.int64()),
        ("file", pa.string()),
        ("sha256", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("details", pa.string()),
    ]
)


def estimate(value: float | None, half: float = 0.02, n: int = 400) -> dict[str, Any]:
    if value is None:
        return {"value": None, "low": None, "high": None, "n": 0}
    return {"value": value, "low": max(0.0, value - half), "high": min(1.0, value + half), "n": n}


def question(identity: str, kind: str, text: str, answer: str = "yes", **more: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {"form": "yes_no", "choices": [], "depends_on": [], "elements": [], "foil": None}
    return {"id": identity, "kind": kind, "text": text, "answer": answer, **empty, **more}


def scene(index: int, seed: int, modality: str = "image") -> dict[str, Any]:
    """One record with one to four shapes in a row of relations."""
    draw = random.Random(f"{seed}/{index}")
    names = draw.sample(SHAPES, draw.choice((1, 2, 2, 2, 3, 3, 4)))
    objects, questions = [], []
    for place, name in enumerate(names):
        attributes = [{"type": "color", "value": draw.choice(list(COLOURS)[:5])}]
        if draw.random() < 0.4:
            attributes.append({"type": "size", "value": draw.choice(SIZES)})
        objects.append({"id": f"o{place}", "name": name, "attributes": attributes})
        questions.append(question(f"q{len(questions)}", "existence", f"Is there a {name}?", elements=[f"o{place}"]))
    for place, one in enumerate(objects):
        for k, attribute in enumerate(one["attributes"]):
            text = f"Is the {one['name']} {attribute['value']}?"
            questions.append(question(f"q{len(questions)}", "attribute", text, depends_on=[f"q{place}"], elements=[f"o{place}.a{k}"]))
    relations = [
        {"subject": f"o{k}", "predicate": draw.choice(list(PREDICATES)), "object": f"o{k + 1}"}
        for k in range(len(names) - 1)
        if draw.random() < 0.85
    ]
    for place, one in enumerate(relations):
        subject, other = int(one["subject"][1:]), int(one["object"][1:])
        text = f"Is the {names[subject]} {one['predicate']} the {names[other]}?"
        questions.append(question(f"q{len(questions)}", "relation", text, depends_on=[f"q{subject}", f"q{other}"], elements=[f"r{place}"]))
    ground = draw.choice(list(GROUNDS)) if draw.random() < 0.4 else None
    scene_attributes = [{"type": "background", "value": ground}] if ground else []
    if ground:
        questions.append(question(f"q{len(questions)}", "scene_attribute", f"Is the background {ground}?", elements=["s0"]))
    absent = draw.choice(("heart", "moon", "ring"))
    questions.append(question(f"q{len(questions)}", "existence", f"Is there a {absent}?", "no", elements=["o0"], foil="absent_object"))
    colour = objects[0]["attributes"][0]["value"]
    choices = draw.sample([colour, *draw.sample([c for c in list(COLOURS)[:5] if c != colour], 3)], 4)
    text = f"What color is the {names[0]}?"
    questions.append(
        question(f"q{len(questions)}", "attribute", text, colour, form="choice", choices=choices, depends_on=["q0"], elements=["o0.a0"])
    )
    complexity = len(objects) + sum(len(one["attributes"]) for one in objects) + len(relations)
    described = [" ".join(["a", *(a["value"] for a in reversed(one["attributes"])), one["name"]]) for one in objects]
    related = [f"the {names[int(r['subject'][1:])]} is {r['predicate']} the {names[int(r['object'][1:])]}" for r in relations]
    caption = (
        f"There is {', '.join(described)}"
        + (f"; {' and '.join(related)}" if related else "")
        + (f". The background is {ground}." if ground else ".")
    )
    graph = {"objects": objects, "relations": relations, "scene_attributes": scene_attributes}
    return {
        "id": f"{seed:04x}-{index:06d}",
        "index": index,
        "caption": caption,
        "graph": graph,
        "complexity": complexity,
        "modality": modality,
        "plausibility": None,
        "spec_digest": "568e54d3192129b1",
        "seed": seed,
        "questions": questions,
    }


def painted(record: dict[str, Any], size: int, phase: float = 0.0) -> Image.Image:
    """A picture of a scene, good enough to look at."""
    values = {one["type"]: one["value"] for one in record["graph"]["scene_attributes"]}
    image = Image.new("RGB", (4 * size, 4 * size), GROUNDS.get(values.get("background", ""), "#f6f6f4"))
    draw = ImageDraw.Draw(image)
    objects = record["graph"]["objects"]
    for place, one in enumerate(objects):
        own = {a["type"]: a["value"] for a in one["attributes"]}
        side = 4 * size * {"small": 0.09, "large": 0.2}.get(own.get("size", ""), 0.14)
        x = 4 * size * (place + 0.5) / len(objects) + 4 * phase
        y = 4 * size * (0.35 + 0.3 * (place % 2))
        fill = COLOURS[own["color"]]
        box = (x - side, y - side, x + side, y + side)
        if one["name"] == "circle":
            draw.ellipse(box, fill=fill)
        elif one["name"] == "square":
            draw.rectangle(box, fill=fill)
        elif one["name"] == "triangle":
            draw.polygon([(x, y - side), (x - side, y + side), (x + side, y + side)], fill=fill)
        else:
            draw.polygon(
                [
                    (x, y - side),
                    (x + 0.35 * side, y),
                    (x + side, y),
                    (x + 0.4 * side, y + 0.4 * side),
                    (x + 0.7 * side, y + side),
                    (x, y + 0.6 * side),
                    (x - 0.7 * side, y + side),
                    (x - 0.4 * side, y + 0.4 * side),
                    (x - side, y),
                    (x - 0.35 * side, y),
                ],
                fill=fill,
            )
    return image.resize((size, size), Image.Resampling.LANCZOS)


def png(frames: list[Image.Image]) -> bytes:
    buffer = io.BytesIO()
    more = {"save_all": True, "append_images": frames[1:], "duration": 120, "loop": 0} if len(frames) > 1 else {}
    frames[0].save(buffer, "PNG", **more)
    return buffer.getvalue()


def answer_row(sha256: str, asked: dict[str, Any], draw: random.Random, skill: float) -> dict[str, Any] | None:
    """The judge's answer: right with the painter's skill at this kind, sometimes none at all."""
    own = Question.from_dict(asked)
    row = {
        "media_sha256": sha256,
        "question_key": own.key,
        "judge": JUDGE["name"],
        "revision": JUDGE["revision"],
        "template": JUDGE["template"],
    }
    luck = draw.random()
    if luck < 0.004:
        return None
    if luck < 0.02:
        return {**row, "p_yes": None, "label_mass": None, "text": "I cannot tell.", "status": "unsure", "probabilities": []}
    right = draw.random() < skill
    sure = 0.5 + 0.5 * draw.random() ** 0.35
    if own.form == "choice":
        says = own.answer if right else draw.choice([one for one in own.choices if one != own.answer])
        chances = [sure if one == says else (1 - sure) / (len(own.choices) - 1) for one in own.choices]
        return {**row, "p_yes": None, "label_mass": 0.98, "text": says, "status": "answered", "probabilities": chances}
    p_yes = sure if (own.answer == "yes") == right else 1 - sure
    return {**row, "p_yes": p_yes, "label_mass": 0.98, "text": "yes" if p_yes > 0.5 else "no", "status": "answered", "probabilities": []}


SKILLS = {"existence": 0.95, "attribute": 0.85, "relation": 0.6, "scene_attribute": 0.92}


def fake_run(
    scenes: int = 60, seed: int = 7, size: int = 64, modality: str = "image", better: float = 0.0, model: str = "sandbox:flawed"
) -> RunContents:
    """A run of so many scenes; `better` is added to the painter's skill."""
    records = [scene(index, seed, modality) for index in range(scenes)]
    files: dict[str, bytes] = {}
    media, answers = [], []
    for record in records:
        draw = random.Random(f"paint/{seed}/{record['index']}/{better}")
        made = draw.random() > 0.03
        name = f"{record['id']}-0.png"
        row: dict[str, Any] = {
            "record_id": record["id"],
            "index": record["index"],
            "sample": 0,
            "seed": draw.randrange(10**9),
            "file": name,
            "sha256": None,
            "status": "failed",
            "reason": "out of memory",
            "details": "",
        }
        if made:
            wrong = json.loads(json.dumps(record))
            if better < 0.1 and draw.random() < 0.5:
                wrong["graph"]["objects"].reverse()
            files[name] = png([painted(wrong, size, phase=size * 0.02 * k) for k in range(8 if modality != "image" else 1)])
            row |= {"sha256": hashlib.sha256(files[name]).hexdigest(), "status": "made", "reason": ""}
            for asked in record["questions"]:
                one = answer_row(row["sha256"], asked, draw, min(1.0, SKILLS[asked["kind"]] + better))
                if one:
                    answers.append(one)
        media.append(row)
    return RunContents(
        scores=fake_scores(model, scenes, media, answers),
        records=pa.Table.from_pylist(records, record_schema()),
        media=pa.Table.from_pylist(media, MEDIA),
        answers=pa.Table.from_pylist(answers, ANSWERS),
        read_media=files.__getitem__,
        provenance={
            "kind": "eval",
            "command": "anyscene eval scenes --model sandbox:flawed --judge sandbox --seed 7 --out run",
            "scenes": {"spec_digest": "568e54d3192129b1", "seed": seed, "n": scenes},
            "model": {"name": model, "revision": "", "settings": {"size": size, "drop": 0.05, "swap": 0.1, "reverse": 0.35}},
            "judge": dict(JUDGE),
            "versions": {"anyscene": "0.1.0", "numpy": "2.1.3", "pyarrow": "18.0.0", "pillow": "11.0.0"},
        },
    )


def fake_scores(model: str, scenes: int, media: list[dict[str, Any]], answers: list[dict[str, Any]]) -> dict[str, Any]:
    """Scores of the contract's shape with plausible numbers."""
    made = sum(row["status"] == "made" for row in media)
    answered = sum(row["status"] == "answered" for row in answers)
    unsure = len(answers) - answered

    def skill(value: float | None, half: float = 0.03, questions: int = 500, balanced: bool = True) -> dict[str, Any]:
        strict = None if value is None else value + 0.012
        return {
            "soft": estimate(value, half),
            "strict": estimate(strict, half),
            "balanced_accuracy": estimate(value - 0.03, half) if balanced and value else None,
            "questions": questions,
        }

    names = "circle square triangle star heart moon ring cross arrow drop leaf cloud house tree boat fish bird cup key bell".split()
    return {
        "model": model,
        "judge": dict(JUDGE),
        "scenes": scenes,
        "samples": 1,
        "media": {"expected": len(media), "made": made, "failed": len(media) - made, "refused": 0, "missing": 0},
        "questions": {
            "expected": len(answers) + 9,
            "answered": answered,
            "unsure": unsure,
            "unparsed": 0,
            "refused": 0,
            "failed": 0,
            "missing": 9,
        },
        "headline": "soft",
        "scores": {
            "soft": estimate(0.7243, 0.0193),
            "strict": estimate(0.7411, 0.0201),
            "library": estimate(0.7302, 0.0207),
            "in_place": estimate(0.7291, 0.0208),
            "fixpoint": estimate(0.7288, 0.0208),
            "paper": estimate(0.7357, 0.0203),
            "all_correct": estimate(0.3125, 0.0452),
            "soft_arithmetic": estimate(0.7243, 0.0193),
            "soft_geometric": estimate(0.6104, 0.0288),
            "balanced_accuracy": estimate(0.8012, 0.0177),
        },
        "by": {
            "kind": {
                "existence": skill(0.931, 0.012),
                "attribute": skill(0.846, 0.021),
                "count": skill(0.702, 0.041, 120),
                "relation": skill(0.583, 0.034),
                "scene_attribute": skill(0.912, 0.03, 90),
                "motion": skill(None, questions=0),
            },
            "attribute_type": {"color": skill(0.872), "size": skill(0.794), "pattern": skill(0.661, 0.05)},
            "relation_type": {"spatial": skill(0.583)},
            "complexity": {str(k): skill(0.93 - 0.045 * (k - 2), 0.015 + 0.004 * k) | {"questions": 900 - 70 * k} for k in range(2, 13)},
            "object_class": {name: skill(0.95 - 0.021 * k, 0.04, 60 + k) for k, name in enumerate(names)},
            "form": {"yes_no": skill(0.73), "choice": skill(0.69, balanced=False)},
            "foil": {"absent_object": skill(0.961), "swapped_attribute": skill(0.83), "reversed_relation": skill(0.61)},
        },
        "judge_quality": {
            "source": "truth",
            "calibration_error": 0.027,
            "by_kind": {
                "existence": {"sensitivity": estimate(0.991, 0.006), "specificity": estimate(0.968, 0.011)},
                "attribute": {"sensitivity": estimate(0.972, 0.01), "specificity": estimate(0.903, 0.021)},
                "relation": {"sensitivity": estimate(0.951, 0.02), "specificity": estimate(0.718, 0.045)},
                "scene_attribute": {"sensitivity": estimate(0.99, 0.01), "specificity": None},
            },
            "reliability": [
                {
                    "low": k / 10,
                    "high": (k + 1) / 10,
                    "mean_p": k / 10 + 0.05 if k != 4 else None,
                    "share_right": (k / 10 + 0.05) ** 1.25 if k != 4 else None,
                    "n": (900, 240, 90, 60, 0, 70, 120, 200, 420, 1900)[k],
                }
                for k in range(10)
            ],
        },
        "corrected": {
            "existence": {
                "raw": estimate(0.931, 0.012),
                "rogan_gladen": estimate(0.937, 0.014),
                "prediction_powered": estimate(0.935, 0.016),
            },
            "attribute": {
                "raw": estimate(0.846, 0.021),
                "rogan_gladen": estimate(0.857, 0.025),
                "prediction_powered": estimate(0.851, 0.028),
            },
            "relation": {"raw": estimate(0.583, 0.034), "rogan_gladen": estimate(0.451, 0.061), "prediction_powered": None},
        },
        "noise_floor": {
            "samples": 2,
            "soft": {"half_width": 0.011, "seed_sd": 0.004, "scenes": 400},
            "strict": {"half_width": 0.013, "seed_sd": 0.005, "scenes": 400},
        },
        "scenes_needed": {"0.01": 3700, "0.02": 930, "0.05": 150},
        "label_mass": {"mean": 0.982, "low_share": 0.004},
    }


def fake_comparison() -> dict[str, Any]:
    """What `scoring.compare_runs` says of two runs, as JSON."""

    def gap(a: float, b: float, half: float, p: float, adjusted: float) -> dict[str, Any]:
        ends = {"difference": b - a, "low": b - a - half, "high": b - a + half}
        return {"a": a, "b": b, **ends, "n": 400, "effect_size": 0.31, "p": p, "p_adjusted": adjusted}

    nothing = dict.fromkeys(gap(0, 0, 0, 0, 0), None)
    return {
        "models": ["sandbox:flawed", "sandbox:better"],
        "judges": [dict(JUDGE), dict(JUDGE)],
        "same_judge": True,
        "scenes": {"common": 400, "a": 400, "b": 400},
        "level": 0.95,
        "headline": "soft",
        "scores": {"soft": gap(0.7243, 0.7621, 0.0168, 0.0002, 0.001), "strict": gap(0.7411, 0.7702, 0.0181, 0.0004, 0.001)},
        "by": {
            "kind": {
                "existence": gap(0.931, 0.935, 0.012, 0.51, 1.0),
                "attribute": gap(0.846, 0.867, 0.024, 0.09, 0.36),
                "relation": gap(0.583, 0.711, 0.031, 0.00001, 0.00006),
                "motion": nothing,
            },
            "attribute_type": {},
            "complexity": {"3": gap(0.885, 0.896, 0.03, 0.4, 1.0), "6": gap(0.75, 0.689, 0.028, 0.001, 0.004)},
            "object_class": {"star": gap(0.8, 0.9, 0.028, 0.001, 0.004)},
        },
    }
