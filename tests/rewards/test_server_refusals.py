from __future__ import annotations

import asyncio
import base64
import json
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

if str(Path(__file__).parents[1]) not in sys.path:
    sys.path.append(str(Path(__file__).parents[1]))

from anyscene.rewards.server import RewardServer, ServerConfig
from anyscene.rewards.wire import Limits
from reward_servers import (
    Answered,
    Connection,
    PixelReward,
    ask,
    get,
    one_request,
    picture,
    post_head,
    read_answer,
    record,
    request_of,
    right_value,
)


def serving(reward: Any, **options: Any) -> RewardServer:
    return RewardServer(reward, ServerConfig(port=0, **options))


@pytest.fixture(scope="module")
def plain() -> Iterator[RewardServer]:
    limits = Limits(body_bytes=200_000, images=4, pixels=64 * 64, questions=3, values=1000)
    with serving(PixelReward(), limits=limits) as server:
        yield server


def changed(**fields: Any) -> bytes:
    return json.dumps({**json.loads(one_request(0)), **fields}).encode()


def with_question(**fields: Any) -> bytes:
    return changed(records=[{**record(0), "questions": [{**record(0)["questions"][0], **fields}]}])


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "bad_json"),
        (b"{", 400, "bad_json"),
        (b"\xff\xfe", 400, "bad_json"),
        (b"[" * 900, 400, "bad_json"),
        (b'{"images": [NaN], "records": []}', 400, "bad_json"),
        (b"[]", 400, "bad_request"),
        (b'{"images": []}', 400, "bad_request"),
        (b'{"images": {}, "records": []}', 400, "bad_request"),
        (b'{"images": [], "records": []}', 400, "bad_request"),
        (changed(extra=1), 400, "bad_request"),
        (changed(records=[]), 400, "bad_request"),
        (changed(images=[3]), 400, "bad_image"),
        (changed(images=["$$$"]), 400, "bad_image"),
        (changed(images=["é"]), 400, "bad_image"),
        (changed(images=[base64.b64encode(b"GIF89a").decode()]), 400, "bad_image"),
        (changed(images=[base64.b64encode(picture(0).data[:60]).decode()]), 400, "bad_image"),
        (changed(images=[base64.b64encode(picture(0).data[:300]).decode()]), 400, "bad_image"),
        (changed(records=["r0"]), 400, "bad_record"),
        (changed(records=[{"questions": []}]), 400, "bad_record"),
        (changed(records=[{"id": 5}]), 400, "bad_record"),
        (changed(records=[{**record(0), "questions": {}}]), 400, "bad_record"),
        (changed(records=[{**record(0), "questions": [1]}]), 400, "bad_record"),
        (changed(records=[{**record(0), "questions": [{}]}]), 400, "bad_record"),
        (changed(records=[{**record(0), "modality": "smell"}]), 400, "bad_record"),
        (with_question(text=""), 400, "bad_record"),
        (with_question(colour="red"), 400, "bad_record"),
        (with_question(choices="ab"), 400, "bad_record"),
        (with_question(choices=[1]), 400, "bad_record"),
        (with_question(text="x" * 5000), 413, "too_long"),
        (changed(records=[{**record(0), "questions": record(0)["questions"] * 4}]), 413, "too_many_questions"),
        (request_of([picture(0)] * 5, [record(0)] * 5), 413, "too_many_images"),
        (request_of([picture(0, side=65)], [record(0)]), 413, "too_many_pixels"),
        (b'{"images": [' + b"{}," * 5000 + b"{}]}", 413, "too_many_values"),
        (b" " * 200_001, 413, "too_large"),
    ],
)
def test_a_bad_request_gets_one_clear_error(plain: RewardServer, body: bytes, status: int, code: str) -> None:
    reply = ask(plain.url, body)
    assert (reply.status, reply.code) == (status, code)
    assert 10 < len(reply.json["error"]["message"]) < 1000
    assert reply.headers["content-type"] == "application/json"


def test_a_picture_that_would_unpack_to_gigabytes_is_refused_by_its_head(plain: RewardServer) -> None:
    small = bytearray(picture(0).data)
    small[16:24] = (60_000).to_bytes(4, "big") * 2
    small[29:33] = zlib.crc32(small[12:29]).to_bytes(4, "big")
    reply = ask(plain.url, changed(images=[base64.b64encode(small).decode()]))
    assert (reply.status, reply.code) == (413, "too_many_pixels")


def test_a_body_that_is_announced_too_large_is_refused_before_it_is_read(plain: RewardServer) -> None:
    async def go() -> Answered:
        async with Connection(plain.url) as connection:
            await connection.send(post_head(10**9))
            return await asyncio.wait_for(read_answer(connection.reader), 5)

    assert asyncio.run(go()).code == "too_large"


def test_a_body_of_unknown_length_is_cut_at_the_limit(plain: RewardServer) -> None:
    async def go() -> Answered:
        async with Connection(plain.url) as connection:
            await connection.send(
                b"POST /score HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            for _ in range(6):
                await connection.send(b"c350\r\n" + b" " * 50_000 + b"\r\n")
            return await asyncio.wait_for(read_answer(connection.reader), 5)

    assert asyncio.run(go()).code == "too_large"


def test_other_paths_methods_and_content_types_are_refused(plain: RewardServer) -> None:
    assert [(one.status, one.code) for one in (get(plain.url, "/nothing"), get(plain.url, "/score"))] == [
        (404, "not_found"),
        (405, "bad_method"),
    ]
    reply = ask(plain.url, one_request(0), Content_Type="text/plain")
    assert (reply.status, reply.code) == (415, "bad_content_type")
    assert ask(plain.url, b"", "/pickle").code == "not_found"


def test_after_all_that_it_still_answers_and_holds_nothing(plain: RewardServer) -> None:
    assert ask(plain.url, one_request(7)).values == [right_value(7)]
    assert "held_bytes 0\n" in plain.telemetry.text()
    assert "active_requests 0\n" in plain.telemetry.text()


def test_more_bytes_than_the_server_may_hold_are_refused_and_given_back() -> None:
    limits = Limits(body_bytes=100_000)

    async def go(url: str) -> tuple[Answered, Answered]:
        async with Connection(url) as greedy, Connection(url) as late, Connection(url) as after:
            await greedy.send(post_head(100_000) + b" " * 90_000)
            while "held_bytes 90000\n" not in server.telemetry.text():
                await asyncio.sleep(0.005)
            refused = await late.ask(b" " * 50_000)
            await greedy.send(b" " * 10_000)
            await read_answer(greedy.reader)
            return refused, await after.ask(one_request(0))

    with serving(PixelReward(), limits=limits, max_bytes=120_000) as server:
        refused, served = asyncio.run(go(server.url))
    assert (refused.status, refused.code) == (503, "busy")
    assert served.status == 200
