"""Evidence of every kind goes through JSON and comes back the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from anyscene.benchmarks import Note, Replies, Reply
from anyscene.benchmarks.boxes import Box, Detections, Seen
from anyscene.benchmarks.evidence_json import evidence_from_json, evidence_to_json
from anyscene.benchmarks.t2i_compbench import MetricScores
from anyscene.benchmarks.vbench import Measured, VideoScores
from anyscene.errors import RecordError

NOTES = (Note("odd", 2, ("here",)),)
KINDS: dict[str, Any] = {
    "answers": Replies(
        {
            ("a", 0): {"q1": Reply("Yes", 0.9), "q2": Reply("b", None, "answered", (0.25, 0.75)), "q3": Reply(None, status="failed")},
            ("a", 1): {},
            ("b", 0): {"q1": Reply("tree", mapped="a tree")},
        },
        "m",
        "j",
        2,
        NOTES,
    ),
    "detections": Detections(
        {("a", 3): Seen((Box("cup", 0.5, 0, 1, 2.5, 3, "red"),), None, (64, 64)), ("b", 0): Seen((), True)}, "m", "j", 4, NOTES
    ),
    "metric scores": MetricScores({"blip": {("a", 0): 0.25, ("b", 1): 1.0}}, "m", notes=NOTES),
    "video scores": VideoScores({"color": Measured(0.5, {("a", 0): 1.0}, 1)}, "m", notes=NOTES),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_comes_back_the_same(kind: str) -> None:
    text = json.dumps(evidence_to_json(KINDS[kind]), allow_nan=False)
    assert json.loads(text)["kind"] == kind
    assert evidence_from_json(json.loads(text), "here") == KINDS[kind]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "lacks the field 'kind'"),
        ({"kind": "os:system"}, "of the kind 'os:system'"),
        ({"kind": "detections", "value": {"by_media": {"pairs": [[["a", 0], {"boxes": 3}]]}}}, "boxes"),
        ({"kind": "detections", "value": {"by_media": {"pairs": [1]}}}, "cannot be read"),
        ({"kind": "metric scores", "value": {"by_metric": 1}}, "by_metric"),
        ({"kind": "answers"}, "lacks the field"),
    ],
)
def test_what_is_no_evidence_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(RecordError, match=said) as caught:
        evidence_from_json(given, "result.json")
    assert str(caught.value).startswith("result.json") and len(str(caught.value).splitlines()) == 1
