from __future__ import annotations

import base64
import io
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

if str(Path(__file__).parents[1]) not in sys.path:
    sys.path.append(str(Path(__file__).parents[1]))

from anyscene.errors import ModelError, SpecError
from anyscene.media import Media, MediaFolder
from anyscene.models import Failure, Model, load_model
from anyscene.models.openai import OpenAIModel
from anyscene.models.painting import paint as paint_run
from servers import Asked, Reply, Server, caption_colour, error_reply, in_turn, picture_reply, png, serving


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("httpx")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-the-test")


def model(server: Server, name: str = "gpt-image-1", **options: Any) -> OpenAIModel:
    return OpenAIModel(name, base_url=server.url, **{"backoff_s": 0.001, "timeout_s": 5.0, **options})


def paint(asked: Asked) -> Reply:
    return picture_reply(png(caption_colour(asked.body["prompt"])))


CAPTIONS = [f"a picture of {number} cats" + "!" * number for number in range(12)]


def colours(results: list[Media | Failure]) -> list[tuple[int, ...] | str]:
    return [tuple(int(value) for value in one.array()[0, 0]) if isinstance(one, Media) else one.status for one in results]


def test_every_caption_gets_its_own_picture_in_order_though_replies_come_in_any_order() -> None:
    def slowly(asked: Asked) -> Reply:
        first = asked.body["prompt"] == CAPTIONS[0]
        return Reply(paint(asked).body, delay_s=0.2 if first else 0.01)

    with serving(slowly) as server:
        one = model(server, workers=4)
        assert isinstance(one, Model)
        assert colours(one.generate(CAPTIONS, range(12))) == [caption_colour(caption) for caption in CAPTIONS]
        assert 1 < server.most_at_once <= 4


def test_what_is_asked_for_is_sent_and_nothing_else() -> None:
    with serving(paint) as server:
        model(server).generate(["a cat"], [5])
        assert server.asked[0].body == {"model": "gpt-image-1", "n": 1, "prompt": "a cat"}
        assert server.asked[0].path == "/v1/images/generations"
        full = load_model(
            "openai:dall-e-3", base_url=server.url, size="1024x1024", quality="hd", style="vivid", send_seed="true", body='{"user": "me"}'
        )
        full.generate(["a cat"], [2**40 + 5])
        assert server.asked[1].body == {
            "model": "dall-e-3",
            "n": 1,
            "prompt": "a cat",
            "size": "1024x1024",
            "quality": "hd",
            "style": "vivid",
            "response_format": "b64_json",
            "user": "me",
            "seed": 5,
        }
        assert full.settings == {
            "size": "1024x1024",
            "quality": "hd",
            "style": "vivid",
            "user": "me",
            "server": "127.0.0.1",
            "seed": "sent",
        }
        assert "another picture each time" in str(model(server).settings["seed"])
        assert "secret" not in repr(vars(full))


def test_pictures_come_as_addresses_too() -> None:
    def answer(asked: Asked) -> Reply:
        if asked.method == "GET":
            return Reply(png((1, 2, 3)))
        if asked.body["prompt"] == "data":
            return Reply({"data": [{"url": "data:image/png;base64," + base64.b64encode(png((4, 5, 6))).decode()}]})
        return Reply({"data": [{"url": "/files/1.png"}]})

    with serving(answer) as server:
        assert colours(model(server).generate(["address", "data"], [0, 1])) == [(1, 2, 3), (4, 5, 6)]


def test_a_busy_or_broken_server_loses_nothing() -> None:
    counts: dict[str, int] = {}
    lock = threading.Lock()
    troubles = [
        error_reply(429, "slow down", retry_after="0.02"),
        error_reply(500, "oops"),
        Reply(b'{"data": [{"b64_json": "'),
        Reply({"data": []}),
        picture_reply(png()[:40]),
        Reply({"data": [{"b64_json": "%%%"}]}),
        Reply(picture_reply().body, cut_after=30),
        Reply(picture_reply().body, delay_s=0.6),
    ]

    def answer(asked: Asked) -> Reply:
        caption = asked.body["prompt"]
        with lock:
            counts[caption] = counts.get(caption, 0) + 1
            return troubles[CAPTIONS.index(caption) % len(troubles)] if counts[caption] == 1 else paint(asked)

    with serving(answer) as server:
        results = model(server, timeout_s=0.4).generate(CAPTIONS, range(12))
        assert colours(results) == [caption_colour(caption) for caption in CAPTIONS]
        assert set(counts.values()) == {2}


def test_refusals_and_failures_are_told_apart_and_keep_their_reasons() -> None:
    def answer(asked: Asked) -> Reply:
        return {
            "bad": error_reply(400, "rejected as a result of our safety system", "moderation_blocked"),
            "filtered": Reply({"data": [{"content_filter_results": {"violence": {"filtered": True}}, "reason": "content_filter"}]}),
            "long": error_reply(400, "the prompt is too long"),
            "broken": picture_reply(b"this is no picture"),
        }.get(asked.body["prompt"]) or paint(asked)

    with serving(answer) as server:
        results = model(server, retries=2).generate(["bad", "a cat", "filtered", "long", "broken"], range(5))
        assert colours(results) == ["refused", caption_colour("a cat"), "refused", "failed", "failed"]
        assert "safety system" in results[0].reason
        assert "too long" in results[3].reason
        assert "no picture that can be read" in results[4].reason


def test_a_budget_is_never_exceeded_and_nothing_paid_for_is_lost() -> None:
    with serving(paint) as server:
        one = model(server, budget_usd=0.2, price_usd=0.04, workers=3)
        results = one.generate(CAPTIONS[:8], range(8))
        assert len(server.asked) == 5
        assert sum(isinstance(result, Media) for result in results) == 5
        assert all("budget is used up" in result.reason for result in results if isinstance(result, Failure))
        with pytest.raises(ModelError, match=r"5 pictures for about 0\.20 USD"):
            one.generate(CAPTIONS[8:], range(4))
        assert len(server.asked) == 5


def test_a_run_stops_at_its_budget_and_goes_on_with_a_new_one(tmp_path: Path) -> None:
    records = [{"id": f"r{place}", "index": place, "caption": caption} for place, caption in enumerate(CAPTIONS)]
    with serving(paint) as server:
        with pytest.raises(ModelError, match=r"5 pictures for about 0\.20 USD"):
            paint_run(records, model(server, budget_usd=0.2, price_usd=0.04), tmp_path, quiet=True)
        assert len(server.asked) == 5
        report = paint_run(records, model(server, budget_usd=0.28, price_usd=0.04), tmp_path, quiet=True)
        assert (report.made, len(server.asked)) == (12, 12)
        assert len({asked.body["prompt"] for asked in server.asked}) == 12
    entries = MediaFolder(tmp_path).entries()
    assert [entry.record_id for entry in entries] == [record["id"] for record in records]
    assert colours([MediaFolder(tmp_path).read(entry) for entry in entries]) == [caption_colour(caption) for caption in CAPTIONS]


def test_what_may_have_been_charged_counts_and_what_was_not_does_not() -> None:
    with serving(in_turn(error_reply(500, "no"), error_reply(429, "no"), picture_reply(b"garbled"), picture_reply())) as server:
        one = model(server, budget_usd=3, price_usd=1, workers=1)
        assert isinstance(one.generate(["a"], [0])[0], Media)
        assert isinstance(one.generate(["b"], [0])[0], Media)
        with pytest.raises(ModelError, match="budget"):
            one.generate(["c"], [0])


def test_a_lost_key_in_the_middle_keeps_what_was_made() -> None:
    with serving(in_turn(picture_reply(), picture_reply(), error_reply(401, "key revoked"))) as server:
        one = model(server, workers=1)
        results = one.generate(CAPTIONS[:6], range(6))
        assert [isinstance(result, Media) for result in results] == [True, True, False, False, False, False]
        assert len(server.asked) == 3
        with pytest.raises(ModelError, match="key revoked"):
            one.generate(CAPTIONS[6:], range(6))


def test_a_server_that_cannot_be_used_stops_at_once() -> None:
    missing = error_reply(404, "The model 'x' does not exist", "model_not_found")
    with serving(in_turn(missing)) as server, pytest.raises(ModelError, match="no such model"):
        model(server, "x").generate(CAPTIONS, range(12))


def test_bytes_are_kept_as_the_server_sent_them() -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), 200, np.uint8)).save(buffer, "JPEG")
    with serving(in_turn(picture_reply(buffer.getvalue()))) as server:
        media = model(server).generate(["a"], [0])[0]
        assert isinstance(media, Media)
        assert (media.data, media.suffix) == (buffer.getvalue(), ".jpg")


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("", {}, "which model"),
        ("m", {"budget_usd": 1.0}, "price_usd"),
        ("m", {"body": "{"}, "no JSON"),
        ("m", {"body": '{"n": 4}'}, "without"),
        ("m", {"workers": 0}, "at least one"),
    ],
)
def test_options_that_do_not_fit_are_refused(name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        OpenAIModel(name, base_url="http://localhost:1/v1", **options)


def test_the_own_server_of_openai_wants_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ModelError, match="OPENAI_API_KEY is not set"):
        OpenAIModel("gpt-image-1")
