"""What a report says in words: names, definitions, the summary in sentences, and what a reader must be warned of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anyscene.report.contents import RunContents
from anyscene.report.estimates import Estimate, count, percent, share

__all__ = [
    "DEFINITIONS",
    "GROUPS",
    "SCORE_NAMES",
    "answer_counts",
    "headline_of",
    "interval_words",
    "label_of",
    "media_counts",
    "noise_of",
    "noun_of",
    "summary_sentences",
    "warnings_of",
]

SCORE_NAMES = {
    "soft": "Soft accuracy",
    "strict": "Strict accuracy",
    "library": "With dependencies (library)",
    "in_place": "With dependencies (in place)",
    "fixpoint": "With dependencies (fixpoint)",
    "paper": "Paper's score",
    "all_correct": "All correct",
    "soft_arithmetic": "Soft, arithmetic mean",
    "soft_geometric": "Soft, geometric mean",
    "balanced_accuracy": "Balanced accuracy",
}
DEFINITIONS = {
    "soft": "Probability that the judge gives to what should be there: averaged over a picture's questions, then over scenes. No foils.",
    "strict": "Share of what should be there that the judge finds: averaged over a picture's questions, then over scenes. No foils.",
    "library": "As strict, but a question counts as right only if every question that it directly depends on is answered right too.",
    "in_place": "As library, with failures passed on in the order in which the questions stand.",
    "fixpoint": "As library, with failures passed on along all dependencies, whatever the order of the questions.",
    "paper": "Half the score with dependencies, half the score without.",
    "all_correct": "Share of pictures in which everything is right. A picture with an unanswered question is left out.",
    "soft_arithmetic": "Arithmetic mean of the probabilities of a picture's right answers, over questions of every form that are no foils.",
    "soft_geometric": "Geometric mean of the same probabilities: one bad element costs much.",
    "balanced_accuracy": "Mean of the share right where “yes” is right and where “no” is right: a judge that always says yes gets 50%.",
}
GROUPS = {
    "kind": ("By kind of question", "What is asked about."),
    "complexity": ("By complexity", "Objects + attributes + relations of the scene."),
    "attribute_type": ("By type of attribute", "Questions about attributes."),
    "relation_type": ("By type of relation", "Questions about relations."),
    "object_class": ("By object", "Questions about an object or one of its attributes."),
    "form": ("By form of question", "How it is asked."),
    "foil": ("By foil", "Questions whose right answer is “no” on purpose: they test the judge as much as the picture."),
}
_LABELS = {
    "yes_no": "yes or no",
    "scene_attribute": "whole scene",
    "absent_object": "absent object",
    "swapped_attribute": "swapped attribute",
    "reversed_relation": "reversed relation",
    "wrong_count": "wrong count",
}
LEVEL = 0.95
"""Of all intervals, where `scores.json` says no other ``level``."""
TRUSTED = 0.8
"""A judge whose sensitivity or specificity lies below is named in a warning."""
TOLERATED = 0.02
"""A larger share of pictures or answers missing is named in a warning."""


def label_of(name: str) -> str:
    """A name of the data in words."""
    return _LABELS.get(name, name.replace("_", " "))


def noun_of(modality: str, number: int = 2) -> str:
    """What the media of a modality are called."""
    noun = {"video": "clip", "3d": "3D object"}.get(modality, "picture")
    return noun if number == 1 else noun + "s"


def headline_of(scores: Mapping[str, Any]) -> tuple[str, Estimate]:
    """Name and value of the score that is shown first."""
    name = str(scores.get("headline") or "soft")
    return name, Estimate.read((scores.get("scores") or {}).get(name))


def interval_words(estimate: Estimate, scores: Mapping[str, Any]) -> str:
    """``95% interval 70.1% to 74.6%``, or that there is none."""
    if estimate.interval is None:
        return "no interval: too few scenes" if estimate.known else "nothing could be measured"
    low, high = estimate.interval
    return f"{percent(float(scores.get('level') or LEVEL), 0)} interval {percent(low)} to {percent(high)}"


def noise_of(scores: Mapping[str, Any]) -> float | None:
    """Half-width of the noise floor of the headline: how far two runs of one model that differ in their seeds alone can lie apart."""
    floor = scores.get("noise_floor")
    if not isinstance(floor, Mapping):
        return None
    own = floor.get(headline_of(scores)[0])
    return Estimate.read({"value": own.get("half_width")}).value if isinstance(own, Mapping) else None


def media_counts(scores: Mapping[str, Any]) -> tuple[int, int, list[tuple[str, int]]]:
    """Pictures expected, pictures made, and the others by what became of them."""
    media = scores.get("media") or {}
    lost = [(key, int(media.get(key) or 0)) for key in ("failed", "refused", "missing")]
    return int(media.get("expected") or 0), int(media.get("made") or 0), [one for one in lost if one[1]]


def answer_counts(scores: Mapping[str, Any]) -> tuple[int, int, list[tuple[str, int]]]:
    """Questions expected, questions answered, and the others by what became of them."""
    questions = scores.get("questions") or {}
    lost = [(key, int(questions.get(key) or 0)) for key in ("unsure", "unparsed", "refused", "failed", "missing")]
    return int(questions.get("expected") or 0), int(questions.get("answered") or 0), [one for one in lost if one[1]]


def summary_sentences(run: RunContents, modality: str) -> list[str]:
    """The run in plain sentences: what was measured, on how much, what is missing."""
    scores = run.scores
    name, headline = headline_of(scores)
    scenes = int(scores.get("scenes") or 0)
    expected, made, _ = media_counts(scores)
    questions, answered, _ = answer_counts(scores)
    what = SCORE_NAMES.get(name, label_of(name)).lower()
    if headline.known:
        reached = f"{percent(headline.value)} {what} ({interval_words(headline, scores)})"
        first = f"On {count(scenes)} scenes, {run.model} reaches {reached}, as judged by {run.judge}."
    else:
        first = f"On {count(scenes)} scenes, nothing could be measured of {run.model} with the judge {run.judge}."
    lost = (
        f"All {count(made)} {noun_of(modality)} were made"
        if made == expected
        else f"{share(expected - made, expected)} {noun_of(modality)} are missing"
    )
    silent = (
        f"all {count(answered)} questions were answered"
        if answered == questions
        else f"{share(questions - answered, questions)} questions have no answer"
    )
    left_out = "" if made == expected and answered == questions else ": what is missing is left out, never counted as wrong"
    return [first, f"{lost}, and {silent}{left_out}."]


def warnings_of(scores: Mapping[str, Any]) -> list[str]:
    """What a reader must know before believing the numbers, the gravest first; empty where there is nothing to fear."""
    found = []
    balanced = Estimate.read((scores.get("scores") or {}).get("balanced_accuracy"))
    if balanced.interval and balanced.interval[0] <= 0.5:
        found.append(f"Balanced accuracy is {percent(balanced.value)}, no better than guessing: the scores say nothing about the model.")
    found += _judge_warnings(scores.get("judge_quality") or {}, bool(scores.get("corrected")))
    found += _missing_warnings(scores)
    mass = scores.get("label_mass")
    if isinstance(mass, Mapping):
        mean, low_share = mass.get("mean"), mass.get("low_share")
        if (isinstance(mean, (int, float)) and mean < TRUSTED) or (isinstance(low_share, (int, float)) and low_share > 0.1):
            found.append(
                f"The judge often wants to say something else (mean label mass {percent(mean)}): its probabilities may mean little."
            )
    scenes = int(scores.get("scenes") or 0)
    if scenes < 50:
        found.append(f"{count(scenes)} scenes are few: the intervals are wide, and rough themselves.")
    return found


def _judge_warnings(quality: Mapping[str, Any], corrected: bool) -> list[str]:
    """Where the judge errs often. Foils alone cannot tell a judge that errs from pictures that show the foil, and the words say so."""
    kinds = quality.get("by_kind") or {}
    known = {side: [(kind, Estimate.read((one or {}).get(side))) for kind, one in kinds.items()] for side in ("specificity", "sensitivity")}
    weak = {side: [(kind, one) for kind, one in found if one.value is not None and one.value < TRUSTED] for side, found in known.items()}
    listed = {side: ", ".join(f"{label_of(kind)} {percent(one.value, 0)}" for kind, one in found) for side, found in weak.items()}
    then = " Prefer the corrected scores." if corrected else ""
    found = []
    if listed["specificity"] and quality.get("source") == "foils":
        found.append(
            f"Few foils are denied ({listed['specificity']}): the judge says yes too easily, or the pictures show what was not asked for. "
            "True answers to some questions would tell which."
        )
    elif listed["specificity"]:
        found.append(f"The judge's specificity is low ({listed['specificity']}): it confirms what is not there.{then}")
    if listed["sensitivity"]:
        found.append(f"The judge's sensitivity is low ({listed['sensitivity']}): it misses what is there.{then}")
    if not any(one.known for _, one in known["specificity"]):
        found.append("Nothing is known about the judge's errors: without foils or labels, a judge that always says yes would look perfect.")
    return found


def _missing_warnings(scores: Mapping[str, Any]) -> list[str]:
    found = []
    cases: Sequence[tuple[str, tuple[int, int, list[tuple[str, int]]]]] = (
        ("pictures", media_counts(scores)),
        ("answers", answer_counts(scores)),
    )
    for noun, (expected, there, lost) in cases:
        if expected and (expected - there) / expected > TOLERATED:
            parts = ", ".join(f"{count(number)} {label_of(why)}" for why, number in lost)
            found.append(f"{share(expected - there, expected)} {noun} are missing ({parts}): if not at random, the scores are biased.")
    return found
