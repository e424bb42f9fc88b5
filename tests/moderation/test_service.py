from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

if str(Path(__file__).parent) not in sys.path:
    sys.path.append(str(Path(__file__).parent))
if str(Path(__file__).parents[1]) not in sys.path:
    sys.path.append(str(Path(__file__).parents[1]))

from hostile import hostile, picture, pixels, png_of, saved
from standins import Redness, red_of

from anyscene.errors import ModelError, SpecError
from anyscene.moderation.opening import SCORED, OpeningLimits
from anyscene.moderation.scan import scan_pictures
from anyscene.moderation.service import ScanServer
from anyscene.rewards.server import ServerConfig
from anyscene.rewards.wire import Limits
from reward_servers import Answered, Connection, ask, get, post_head, read_answer

HOSTILE = hostile()
TOKEN = "a-token-that-is-long-enough"


def serving(detector: Any, *, limits: OpeningLimits | None = None, workers: int = 2, **options: Any) -> ScanServer:
    return ScanServer(detector, ServerConfig(port=0, **options), limits=limits, workers=workers)


@pytest.fixture(scope="module")
def plain() -> Iterator[ScanServer]:
    with serving(Redness(), limits=None) as server:
        yield server


def post(url: str, data: bytes, kind: str = "image/png", **headers: str) -> Answered:
    return ask(url, data, "/scan", Content_Type=kind, **headers)


def listed(*files: bytes) -> bytes:
    return json.dumps({"images": [base64.b64encode(one).decode() for one in files]}).encode()


def until(true: Callable[[], bool], within_s: float = 10.0) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


# Right answers


def test_results_are_those_of_a_scan(plain: ScanServer, tmp_path: Path) -> None:
    for name, (data, _) in HOSTILE.items():
        (tmp_path / name.replace(".", "_")).write_bytes(data)  # without extensions, which a body has none of
    scanned = {Path(one.path).name: {**one.to_dict()} for one in scan_pictures([tmp_path], Redness())}
    for one in scanned.values():
        del one["path"]
    for name, (data, verdict) in HOSTILE.items():
        answered = post(plain.url, data, "application/octet-stream") if data else None
        if answered is not None:
            assert answered.status == 200, name
            assert answered.json == {**scanned[name.replace(".", "_")], "threshold": 0.5}, name
            assert answered.json["verdict"] == verdict
    files = list(HOSTILE)[:60]
    answered = post(plain.url, listed(*(HOSTILE[name][0] for name in files)), "application/json")
    assert answered.json == {"results": [scanned[name.replace(".", "_")] for name in files], "threshold": 0.5}


def test_fifty_clients_at_once_each_get_the_score_of_their_own_picture() -> None:
    detector = Redness()
    files = [saved(picture(32, 32, seed=number)) for number in range(50)]
    wanted = [red_of(picture(32, 32, seed=number)) for number in range(50)]
    assert len(set(wanted)) == 50

    async def client(url: str, number: int) -> list[float]:
        async with Connection(url) as connection:
            return [(await connection.ask(files[number], "/scan", Content_Type="image/png")).json["score"] for _ in range(3)]

    async def all_of_them(url: str) -> list[list[float]]:
        return await asyncio.gather(*(client(url, number) for number in range(50)))

    with serving(detector, max_wait_s=0.05) as server:
        found = asyncio.run(all_of_them(server.url))
    assert found == [[one] * 3 for one in wanted]
    assert sum(map(len, detector.asked)) == 150
    assert len(detector.asked) < 75


def test_a_threshold_of_ones_own_and_frames_are_honoured() -> None:
    detector = Redness()
    with ScanServer(detector, ServerConfig(port=0), threshold=0.1, limits=OpeningLimits(frames=5), workers=1) as server:
        moving = post(server.url, HOSTILE["moving.png"][0]).json
    assert (moving["verdict"], moving["generated"], moving["threshold"]) == ("animated", True, 0.1)
    assert moving["score"] == pytest.approx(80 / 255)
    assert moving["notes"] == ["5 of 5 frames taken"]


# Hostile requests


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"", "application/json", 400, "bad_json"),
        (b"{", "application/json", 400, "bad_json"),
        (b"\xff\xfe", "application/json", 400, "bad_json"),
        (b"[]", "application/json", 400, "bad_request"),
        (b"[" * 5000, "application/json", 400, "bad_json"),
        (b'{"images": []}', "application/json", 400, "bad_request"),
        (b'{"images": {}}', "application/json", 400, "bad_request"),
        (b'{"images": [], "records": []}', "application/json", 400, "bad_request"),
        (b'{"images": [5]}', "application/json", 400, "bad_image"),
        (b'{"images": ["$$$"]}', "application/json", 400, "bad_image"),
        (b'{"images": ["\xc3\xa9"]}', "application/json", 400, "bad_image"),
        (listed(*[b"x"] * 65), "application/json", 413, "too_many_images"),
        (b'{"images": [' + b"{}," * 600_000 + b"{}]}", "application/json", 413, "too_many_values"),
        (b"x", "text/plain", 415, "bad_content_type"),
        (b"x", "multipart/form-data", 415, "bad_content_type"),
        (b"x", "", 415, "bad_content_type"),
    ],
)
def test_a_bad_request_gets_one_clear_error(plain: ScanServer, body: bytes, kind: str, status: int, code: str) -> None:
    answered = post(plain.url, body, kind)
    assert (answered.status, answered.code) == (status, code)
    assert 10 < len(answered.json["error"]["message"]) < 1000


def test_an_empty_body_is_an_empty_file(plain: ScanServer) -> None:
    answered = post(plain.url, b"")
    assert (answered.status, answered.json["verdict"], answered.json["score"]) == (200, "empty", None)


def test_what_is_no_address_says_what_there_is(plain: ScanServer) -> None:
    assert "POST /scan" in ask(plain.url, b"{}", "/score").json["error"]["message"]
    assert get(plain.url, "/scan").status == 405
    assert get(plain.url, "/health").json == {"status": "ok"}
    assert get(plain.url, "/ready").status == 200


def test_too_large_too_slow_and_half_a_body_cost_nothing() -> None:
    async def go(url: str) -> list[Answered]:
        found = []
        async with Connection(url) as connection:  # announced too large: refused before it is read
            await connection.send(post_head(10**9, "/scan", Content_Type="image/png"))
            found.append(await asyncio.wait_for(read_answer(connection.reader), 5))
        async with Connection(url) as connection:  # of unknown length
            head = b"POST /scan HTTP/1.1\r\nHost: t\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
            await connection.send(head + b"20000\r\n" + bytes(0x20000) + b"\r\n")
            found.append(await asyncio.wait_for(read_answer(connection.reader), 5))
        async with Connection(url) as connection:  # a drop at a time
            await connection.send(post_head(1000, "/scan", Content_Type="image/png") + b"x")
            found.append(await asyncio.wait_for(read_answer(connection.reader), 5))
        async with Connection(url) as connection:  # goes away in the middle
            await connection.send(post_head(1000, "/scan", Content_Type="image/png") + b"x")
        async with Connection(url) as connection:
            found.append(await connection.ask(HOSTILE["fine.png"][0], "/scan", Content_Type="image/png"))
        return found

    options = ServerConfig(port=0, limits=Limits(body_bytes=100_000), body_timeout_s=0.5)
    with ScanServer(Redness(), options, workers=1) as server:
        found = asyncio.run(go(server.url))
        assert [(one.status, one.code if one.status != 200 else one.json["verdict"]) for one in found] == [
            (413, "too_large"),
            (413, "too_large"),
            (408, "slow_body"),
            (200, "ok"),
        ]
        until(lambda: "anyscene_moderation_active_requests 0" in get(server.url, "/metrics").body.decode())


def test_a_full_queue_tells_to_come_back_and_loses_nobody() -> None:
    detector = Redness()
    detector.gate.clear()
    data = HOSTILE["fine.png"][0]

    async def go(url: str) -> list[Answered]:
        jobs = [asyncio.ensure_future(client(url)) for _ in range(30)]
        while sum(one.done() for one in jobs) < 30 - 6:  # four wait, and one batch of two is at the detector
            await asyncio.sleep(0.01)
        detector.gate.set()
        return await asyncio.gather(*jobs)

    async def client(url: str) -> Answered:
        async with Connection(url) as connection:
            return await connection.ask(data, "/scan", Content_Type="image/png")

    options = ServerConfig(port=0, limits=Limits(images=4), max_batch=2, max_queue=4, max_wait_s=0)
    with ScanServer(detector, options, workers=1) as server:
        found = asyncio.run(asyncio.wait_for(go(server.url), 30))
    busy = [one for one in found if one.status == 503]
    assert {one.code for one in busy} == {"busy"}
    assert all("retry-after" in one.headers for one in busy)
    assert [one.json["score"] for one in found if one.status == 200] == [red_of(picture())] * (30 - len(busy))
    assert 1 <= 30 - len(busy) <= 8


def test_a_detector_that_hangs_is_a_timeout_and_not_the_end() -> None:
    detector = Redness()
    detector.gate.clear()
    with serving(detector, timeout_s=0.3) as server:
        answered = post(server.url, HOSTILE["fine.png"][0])
        assert (answered.status, answered.code) == (504, "timeout")
        detector.gate.set()
        until(lambda: post(server.url, HOSTILE["fine.png"][0]).status == 200)


def test_a_picture_at_which_the_detector_fails_spoils_no_other() -> None:
    class Failing(Redness):
        def score(self, pictures: Any) -> list[float | None]:
            if any(one.size == (33, 33) for one in pictures):
                raise ZeroDivisionError("a fault")
            return super().score(pictures)

    with serving(Failing()) as server:
        found = post(server.url, listed(saved(picture()), saved(picture(33, 33)), saved(picture())), "application/json").json["results"]
    assert [one["verdict"] for one in found] == ["ok", "not_scored", "ok"]
    assert found[1]["score"] is None


def test_a_detector_that_cannot_be_used_is_an_error_of_the_server() -> None:
    class Gone(Redness):
        def score(self, pictures: Any) -> list[float | None]:
            raise ModelError("no device")

    with serving(Gone()) as server:
        answered = post(server.url, HOSTILE["fine.png"][0])
        assert (answered.status, answered.code) == (500, "score_failed")
        assert post(server.url, HOSTILE["drawing.svg"][0]).json["verdict"] == "not_a_picture"  # never reaches the detector


def test_bombs_among_good_pictures_delay_nobody() -> None:
    bombs = [data for data, verdict in HOSTILE.values() if verdict in ("bomb", "truncated", "damaged", "not_a_picture")]
    good = saved(picture())

    async def client(url: str, data: bytes) -> dict[str, Any]:
        async with Connection(url) as connection:
            return (await connection.ask(data, "/scan", Content_Type="image/png")).json  # type: ignore[no-any-return]

    async def go(url: str) -> list[dict[str, Any]]:
        return await asyncio.gather(*(client(url, data) for pair in zip(bombs, [good] * len(bombs), strict=True) for data in pair))

    with serving(Redness()) as server:
        started = time.monotonic()
        found = asyncio.run(go(server.url))
        assert time.monotonic() - started < 10
    assert {one["verdict"] for one in found[1::2]} == {"ok"}
    assert not {one["verdict"] for one in found[::2]} & set(SCORED)


# Tokens and metrics


def test_beyond_this_machine_a_token_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match="token"):
        ServerConfig(host="0.0.0.0")
    with pytest.raises(SpecError, match="takes none"):
        ScanServer(Redness(), ServerConfig(pickles=True))
    monkeypatch.setenv("MODERATION_TOKEN", TOKEN)
    with serving(Redness(), token_env="MODERATION_TOKEN") as server:
        assert post(server.url, b"x").status == 401
        assert post(server.url, b"x", Authorization="Bearer wrong").status == 401
        assert post(server.url, b"x", Authorization=f"Bearer {TOKEN}").status == 200
        assert get(server.url, "/metrics").status == 401
        assert get(server.url, "/health").status == 200


def test_metrics_count_verdicts_and_what_is_called_generated() -> None:
    reds = png_of(np.concatenate([pixels()[..., :1] * 0 + 255, pixels()[..., 1:]], -1), 8, 2)
    with serving(Redness()) as server:
        post(server.url, listed(reds, HOSTILE["fine.png"][0], HOSTILE["cut.png"][0]), "application/json")
        lines = dict(line.rsplit(" ", 1) for line in get(server.url, "/metrics").body.decode().splitlines() if line[0] != "#")
    assert lines['anyscene_moderation_verdicts_total{verdict="ok"}'] == "2"
    assert lines['anyscene_moderation_verdicts_total{verdict="truncated"}'] == "1"
    assert lines['anyscene_moderation_scored_total{generated="true"}'] == "1"
    assert lines['anyscene_moderation_scored_total{generated="false"}'] == "1"
    assert lines['anyscene_moderation_replies_total{status="200"}'] == "1"
    assert lines["anyscene_moderation_batch_pictures_sum"] == "3"


def test_a_server_that_stops_listens_no_more() -> None:
    with serving(Redness()) as server:
        assert post(server.url, HOSTILE["fine.png"][0]).status == 200
    with pytest.raises(ConnectionRefusedError):
        post(server.url, HOSTILE["fine.png"][0])
