from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest

if str(Path(__file__).parents[1]) not in sys.path:
    sys.path.append(str(Path(__file__).parents[1]))

from anyscene.media import Media
from anyscene.rewards.protocol import QuestionScore, Score
from anyscene.rewards.wire import Item, Limits, Refusal, read_request, write_reply
from reward_servers import picture, record, request_of

CLIP = Media.of_frames([picture(number).array() for number in range(5)], "video", fps=8)


def test_a_request_is_read_back_as_it_was_written() -> None:
    pictures = [picture(0), picture(1)]
    items = read_request(request_of(pictures, [record(0), record(1)]), Limits())
    assert [item.data for item in items] == [one.data for one in pictures]
    assert [item.media().sha256 for item in items] == [one.sha256 for one in pictures]
    assert [item.record for item in items] == [record(0), record(1)]
    assert [item.pixels for item in items] == [256, 256]


def test_a_data_address_is_taken_too() -> None:
    data = json.loads(request_of([picture(0)], [record(0)]))
    data["images"] = ["data:image/png;base64," + data["images"][0]]
    assert read_request(json.dumps(data).encode(), Limits())[0].data == picture(0).data


def test_a_clip_is_read_with_all_its_frames_and_counted_with_them() -> None:
    (item,) = read_request(request_of([CLIP], [{**record(0), "modality": "video"}]), Limits())
    assert item.pixels == 5 * 256
    assert [frame.tobytes() for frame in item.media().frames] == [frame.tobytes() for frame in CLIP.frames]
    (first,) = read_request(request_of([CLIP], [record(0)]), Limits())
    assert len(first.media().frames) == 1


@pytest.mark.parametrize(("limits", "code"), [(Limits(pixels=4 * 256), "too_many_pixels"), (Limits(frames=4), "too_many_frames")])
def test_a_clip_that_is_too_long_is_refused(limits: Limits, code: str) -> None:
    with pytest.raises(Refusal) as refusal:
        read_request(request_of([CLIP], [{**record(0), "modality": "video"}]), limits)
    assert (refusal.value.status, refusal.value.code) == (413, code)


def test_a_picture_that_is_cut_short_is_refused_when_it_is_decoded() -> None:
    item = Item(record(0), picture(0).data[:-200], 256, "images[0]")
    with pytest.raises(Refusal, match=r"images\[0\]"):
        item.media()


def test_a_reply_has_no_number_that_json_has_not() -> None:
    question = QuestionScore("q0", "existence", "yes_no", None, math.nan, 0.5, 1.0, "answered")
    score = Score(0.5, "r0", (question,), {"bad": math.inf, "good": 1.0}, {"a": Score(math.nan), "b": None, "c": Score(0.25)})
    item = Item(record(0), picture(0).data, 256, "")
    reply = json.loads(write_reply([score, None, Score(math.nan, "r0")], [item] * 3, "scene"))
    assert reply["scores"][1:] == [None, None]
    found = reply["scores"][0]
    assert (found["questions"][0]["value"], found["questions"][0]["counted"]) == (None, 0.5)
    assert found["figures"] == {"good": 1.0}
    assert {name: one and one["value"] for name, one in found["parts"].items()} == {"a": None, "b": None, "c": 0.25}
    assert Score.from_dict(found).questions[0].status == "answered"
