from __future__ import annotations

import asyncio
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

if str(Path(__file__).parents[1]) not in sys.path:
    sys.path.append(str(Path(__file__).parents[1]))

from anyscene.errors import JudgeError, RecordError, RunError, SpecError
from anyscene.rewards.protocol import Score
from anyscene.rewards.server import RewardServer, ServerConfig, is_loopback
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

TOKEN = "a-token-that-is-long-enough"


def serving(reward: Any, **options: Any) -> RewardServer:
    return RewardServer(reward, ServerConfig(port=0, **options))


def until(true: Callable[[], bool], within_s: float = 5.0) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(scope="module")
def plain() -> Iterator[RewardServer]:
    limits = Limits(body_bytes=200_000, images=4, pixels=64 * 64, questions=3, values=1000)
    with serving(PixelReward(), limits=limits) as server:
        yield server


# Right answers under load


def test_two_hundred_clients_at_once_each_get_the_score_of_their_own_picture() -> None:
    reward = PixelReward(batch_s=0.02)

    async def client(url: str, number: int) -> list[tuple[int, list[float | None]]]:
        async with Connection(url) as connection:
            return [(one, (await connection.ask(one_request(one))).values) for one in range(3 * number, 3 * number + 3)]

    async def all_of_them(url: str) -> list[list[tuple[int, list[float | None]]]]:
        return await asyncio.gather(*(client(url, number) for number in range(200)))

    with serving(reward) as server:
        answers = asyncio.run(all_of_them(server.url))
    flat = [one for own in answers for one in own]
    assert len(flat) == 600
    assert [number for number, values in flat if values != [right_value(number)]] == []
    assert len(reward.threads) == 1
    assert len(reward.batches) < 100
    assert max(map(len, reward.batches)) == 32


def test_many_clients_are_served_ten_times_as_fast_as_one_after_the_other() -> None:
    reward = PixelReward(batch_s=0.15)  # long beside what a request costs, also on a busy machine

    async def one_by_one(url: str) -> float:
        async with Connection(url) as connection:
            started = time.monotonic()
            for number in range(10):
                assert (await connection.ask(one_request(number))).status == 200
            return 10 / (time.monotonic() - started)

    async def together(url: str) -> float:
        bodies = [one_request(number) for number in range(64)]

        async def client(number: int) -> None:
            async with Connection(url) as connection:
                for _ in range(4):
                    assert (await connection.ask(bodies[number])).status == 200

        started = time.monotonic()
        await asyncio.gather(*map(client, range(64)))
        return 256 / (time.monotonic() - started)

    with serving(reward) as server:
        slow, fast = asyncio.run(one_by_one(server.url)), asyncio.run(together(server.url))
    assert slow > 2
    assert fast > 10 * slow


def test_a_request_of_several_pictures_keeps_their_order_and_says_whose_they_are(plain: RewardServer) -> None:
    pictures, records = [picture(number) for number in (3, 1, 2)], [record(number) for number in (3, 1, 2)]
    reply = ask(plain.url, request_of(pictures, records))
    assert reply.values == [right_value(3), right_value(1), right_value(2)]
    assert [one["record_id"] for one in reply.json["scores"]] == ["r3", "r1", "r2"]
    assert reply.json["sha256"] == [one.sha256 for one in pictures]
    assert reply.json["reward"] == "pixels"


def test_what_cannot_be_scored_is_null_and_never_zero() -> None:
    class Unsure(PixelReward):
        def score(self, images: Any, records: Any) -> list[Score | None]:
            return [
                None if one["id"] == "r1" else Score(math.nan if one["id"] == "r2" else 0.5, one["id"], figures={"x": math.inf})
                for one in records
            ]

    with serving(Unsure()) as server:
        reply = ask(server.url, request_of([picture(0)] * 3, [record(number) for number in range(3)]))
    assert reply.values == [0.5, None, None]
    assert reply.json["scores"][0]["figures"] == {}


# What goes wrong in the reward


def test_a_record_that_the_reward_refuses_spoils_no_other_request() -> None:
    class Picky(PixelReward):
        def score(self, images: Any, records: Any) -> list[Score | None]:
            if any(one["id"] == "r5" for one in records):
                raise RecordError("r5 is not wanted")
            if any(one["id"] == "r6" for one in records):
                raise ZeroDivisionError("a fault")
            return super().score(images, records)

    async def all_of_them(url: str) -> list[Answered]:
        async def client(number: int) -> Answered:
            async with Connection(url) as connection:
                return await connection.ask(one_request(number))

        return await asyncio.gather(*map(client, range(12)))

    with serving(Picky(), max_wait_s=0.2) as server:
        replies = asyncio.run(all_of_them(server.url))
    assert [reply.status for reply in replies] == [200] * 5 + [400, 500] + [200] * 5
    assert (replies[5].code, replies[6].code) == ("bad_record", "score_failed")
    assert [reply.values for reply in replies[7:]] == [[right_value(number)] for number in range(7, 12)]


def test_too_much_at_once_for_the_reward_is_scored_in_halves() -> None:
    class Small(PixelReward):
        def score(self, images: Any, records: Any) -> list[Score | None]:
            if len(images) > 3:
                raise MemoryError("out of memory")
            return super().score(images, records)

    with serving(Small()) as server:
        reply = ask(server.url, request_of([picture(number) for number in range(16)], [record(number) for number in range(16)]))
    assert reply.values == [right_value(number) for number in range(16)]


def test_a_judge_that_cannot_be_used_is_said_and_forgotten_when_it_can() -> None:
    class Broken(PixelReward):
        broken = True

        def score(self, images: Any, records: Any) -> list[Score | None]:
            if self.broken:
                raise JudgeError("there is no credit left")
            return super().score(images, records)

    reward = Broken()
    with serving(reward) as server:
        reply = ask(server.url, one_request(0))
        assert (reply.status, reply.code) == (503, "judge_failed")
        assert "no credit" in reply.json["error"]["message"]
        assert get(server.url, "/ready").status == 503
        assert get(server.url, "/health").status == 200
        reward.broken = False
        assert ask(server.url, one_request(0)).values == [right_value(0)]
        assert get(server.url, "/ready").status == 200


def test_a_reward_that_gives_too_few_scores_is_a_fault_and_not_an_answer() -> None:
    class Short(PixelReward):
        def score(self, images: Any, records: Any) -> list[Score | None]:
            return []

    with serving(Short()) as server:
        assert (reply := ask(server.url, one_request(0))).status == 500
        assert reply.code == "score_failed"


# Full queues, time limits, senders that leave


def test_a_full_queue_says_so_at_once_and_when_to_come_back() -> None:
    reward = PixelReward()
    reward.gate.clear()
    limits = Limits(images=4)

    async def go(url: str) -> tuple[Answered, Answered, list[Answered]]:
        async with Connection(url) as first, Connection(url) as second, Connection(url) as third, Connection(url) as fourth:
            running = asyncio.create_task(first.ask(one_request(0)))
            while not reward.batches:
                await asyncio.sleep(0.01)
            waiting = asyncio.create_task(second.ask(request_of([picture(1)] * 4, [record(1)] * 4)))
            while server.telemetry.text().find("queue_pictures 4\n") < 0:
                await asyncio.sleep(0.01)
            refused = await third.ask(one_request(2))
            ready = await fourth.get("/ready")
            reward.gate.set()
            return refused, ready, [await running, await waiting]

    with serving(reward, limits=limits, max_queue=4) as server:
        refused, ready, served = asyncio.run(go(server.url))
    assert (refused.status, refused.code, ready.status) == (503, "busy", 503)
    assert int(refused.headers["retry-after"]) >= 1
    assert 0 < int(refused.headers["retry-after-ms"]) <= 1000 * int(refused.headers["retry-after"])
    assert [one.status for one in served] == [200, 200]


def test_a_client_that_leaves_frees_its_place_and_is_never_scored() -> None:
    reward = PixelReward()
    reward.gate.clear()

    async def go(url: str) -> None:
        async with Connection(url) as first:
            running = asyncio.create_task(first.ask(one_request(0)))
            while not reward.batches:
                await asyncio.sleep(0.01)
            for number in range(1, 9):
                async with Connection(url) as leaving:
                    body = request_of([picture(number)] * 4, [record(number)] * 4)
                    await leaving.send(post_head(len(body)) + body)
                    while "queue_pictures 4\n" not in server.telemetry.text():
                        await asyncio.sleep(0.005)
                while "queue_pictures 0\n" not in server.telemetry.text():
                    await asyncio.sleep(0.005)
            reward.gate.set()
            assert (await running).values == [right_value(0)]
            assert (await first.ask(one_request(9))).values == [right_value(9)]

    with serving(reward, limits=Limits(images=4), max_queue=4) as server:
        asyncio.run(go(server.url))
        assert "held_bytes 0\n" in server.telemetry.text()
    assert reward.batches == [["r0"], ["r9"]]


def test_a_request_that_takes_too_long_is_told_so_and_gives_up_its_place() -> None:
    reward = PixelReward()
    reward.gate.clear()
    with serving(reward, timeout_s=0.2) as server:
        threading.Timer(0.8, reward.gate.set).start()
        running, waiting = threading.Thread(target=ask, args=(server.url, one_request(0))), time.monotonic()
        running.start()
        until(lambda: bool(reward.batches))
        reply = ask(server.url, one_request(1))
        assert (reply.status, reply.code) == (504, "timeout")
        assert time.monotonic() - waiting < 0.8
        running.join()
        assert reward.gate.wait(5)
        assert ask(server.url, one_request(2)).values == [right_value(2)]
    assert reward.batches == [["r0"], ["r2"]]


def test_a_batch_that_never_ends_is_seen_in_the_health() -> None:
    reward = PixelReward()
    reward.gate.clear()
    with serving(reward, timeout_s=0.05) as server:
        assert ask(server.url, one_request(0)).status == 504
        until(lambda: get(server.url, "/health").status == 503)
        reward.gate.set()
        until(lambda: get(server.url, "/health").status == 200)


def test_slow_senders_keep_nobody_waiting_and_are_cut_off() -> None:
    async def go(url: str) -> tuple[list[Answered], list[Answered], float]:
        body = one_request(0)
        slow = [await Connection(url).__aenter__() for _ in range(50)]
        for one in slow:
            await one.send(post_head(len(body)) + body[:10])
        started = time.monotonic()
        async with Connection(url) as quick:
            served = [await quick.ask(one_request(number)) for number in range(10)]
        took = time.monotonic() - started
        late = await asyncio.gather(*(read_answer(one.reader) for one in slow))
        for one in slow:
            one.writer.close()
        return served, late, took

    with serving(PixelReward(), body_timeout_s=1.0) as server:
        served, late, took = asyncio.run(go(server.url))
    assert [one.values for one in served] == [[right_value(number)] for number in range(10)]
    assert took < 1
    assert {(one.status, one.code) for one in late} == {(408, "slow_body")}


def test_slow_readers_and_silent_connections_are_cut() -> None:
    class Wordy(PixelReward):
        def score(self, images: Any, records: Any) -> list[Score | None]:
            return [Score(0.5, one["id"], figures={f"{'long' * 25} {number}": 1.0 for number in range(100_000)}) for one in records]

    async def go(url: str) -> tuple[bytes, Answered]:
        import socket

        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, _, port = url.removeprefix("http://").partition(":")
        deaf.connect((host, int(port)))
        body = one_request(0)
        deaf.sendall(post_head(len(body)) + body)
        async with Connection(url) as silent, Connection(url) as half:
            await half.send(b"POST /score HTTP/1.1\r\nHost: te")
            ended = await asyncio.wait_for(silent.reader.read(), 10)
            assert await asyncio.wait_for(half.reader.read(), 10) == b""
        while server.telemetry.counted("cut_connections", 'reason="reply not taken"') < 1:
            await asyncio.sleep(0.05)
        deaf.close()
        async with Connection(url) as other:
            return ended, await other.get("/health")

    with serving(Wordy(), send_timeout_s=0.4) as server:
        ended, health = asyncio.run(asyncio.wait_for(go(server.url), 20))
    assert ended == b""
    assert health.status == 200


# Who may ask


def test_a_token_is_asked_of_everybody_but_for_the_health(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCORE_TOKEN", TOKEN)
    with serving(PixelReward(), token_env="SCORE_TOKEN") as server:
        for wrong in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}, {"Authorization": f"Basic {TOKEN}"}):
            reply = ask(server.url, one_request(0), **wrong)
            assert (reply.status, reply.code, reply.headers["www-authenticate"]) == (401, "unauthorized", "Bearer")
        assert get(server.url, "/metrics").status == 401
        assert get(server.url, "/metrics", Authorization=f"Bearer {TOKEN}").status == 200
        assert get(server.url, "/health").status == get(server.url, "/ready").status == 200
        assert ask(server.url, one_request(0), Authorization=f"Bearer {TOKEN}").status == 200


def test_beyond_this_machine_it_will_not_listen_without_a_token_nor_take_pickles(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match="token"):
        ServerConfig(host="0.0.0.0")
    with pytest.raises(SpecError, match="loopback only"):
        ServerConfig(host="0.0.0.0", token_env="SCORE_TOKEN", pickles=True)
    monkeypatch.delenv("SCORE_TOKEN", raising=False)
    with pytest.raises(SpecError, match="SCORE_TOKEN"):
        RewardServer(PixelReward(), ServerConfig(host="0.0.0.0", token_env="SCORE_TOKEN"))
    monkeypatch.setenv("SCORE_TOKEN", "short")
    with pytest.raises(SpecError, match="at least 16"):
        ServerConfig(token_env="SCORE_TOKEN").token()
    assert [is_loopback(one) for one in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::", "example.org")] == [True] * 3 + [False] * 3


def test_limits_that_cannot_work_are_refused() -> None:
    for wrong in (
        {"port": 70_000},
        {"timeout_s": 0},
        {"max_bytes": 5},
        {"max_queue": 5},
        {"max_requests": 0},
        {"limits": Limits(images=0)},
    ):
        with pytest.raises(SpecError):
            ServerConfig(**wrong)
    with pytest.raises(SpecError):
        serving(PixelReward(), max_batch=0)


def test_a_port_that_is_taken_is_named() -> None:
    with serving(PixelReward()) as server:
        port = int(server.url.rpartition(":")[2])
        with pytest.raises(RunError, match=str(port)):
            RewardServer(PixelReward(), ServerConfig(port=port)).run()


def test_metrics_count_what_happened() -> None:
    with serving(PixelReward(batch_s=0.02)) as server:
        ask(server.url, request_of([picture(0)] * 3, [record(0)] * 3))
        ask(server.url, b"{")
        text = get(server.url, "/metrics").body.decode()
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert lines['anyscene_reward_replies_total{status="200"}'] == "1"
    assert lines['anyscene_reward_replies_total{status="400"}'] == "1"
    assert lines['anyscene_reward_pictures_total{outcome="scored"}'] == "3"
    assert lines["anyscene_reward_batch_pictures_sum"] == "3"
    assert lines['anyscene_reward_batch_pictures_bucket{le="2"}'] == "0"
    assert lines['anyscene_reward_batch_pictures_bucket{le="4"}'] == "1"
    assert float(lines["anyscene_reward_batch_seconds_sum"]) >= 0.02
    assert lines["anyscene_reward_request_seconds_count"] == "2"
    assert lines["anyscene_reward_queue_pictures"] == "0"


# The process


SERVER = """
import sys
sys.path.insert(0, {tests!r})
from reward_servers import PixelReward
from anyscene.rewards.server import RewardServer, ServerConfig
from anyscene.rewards.wire import Limits
config = ServerConfig(port=int(sys.argv[1]), max_bytes=16_000_000, limits=Limits(body_bytes=8_000_000))
RewardServer(PixelReward(float(sys.argv[2])), config).run(lambda url: print(url, flush=True))
"""


def start(port: int = 0, batch_s: float = 0.0) -> tuple[subprocess.Popen[str], str]:
    code = SERVER.format(tests=str(Path(__file__).parents[1]))
    process = subprocess.Popen([sys.executable, "-c", code, str(port), str(batch_s)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as told:
        return process, told.readline().strip()


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_stopped_it_finishes_what_is_in_flight() -> None:
    process, url = start(batch_s=0.5)

    async def go() -> list[Answered]:
        async def client(number: int) -> Answered:
            async with Connection(url) as connection:
                return await connection.ask(one_request(number))

        clients = [asyncio.create_task(client(number)) for number in range(40)]
        await asyncio.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        return await asyncio.gather(*clients)

    replies = asyncio.run(go())
    assert process.wait(10) in (0, -signal.SIGTERM)
    assert [reply.values for reply in replies] == [[right_value(number)] for number in range(40)]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_flood_of_large_slow_and_broken_requests_does_not_fill_the_memory() -> None:
    process, url = start()

    def peak_mb() -> float:
        status = Path(f"/proc/{process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1000

    async def flood() -> list[int]:
        async def client(number: int) -> int:
            async with Connection(url) as connection:
                await connection.send(post_head(4_000_000))
                try:
                    for _ in range(40):
                        await connection.send(b" " * 100_000)
                        await asyncio.sleep(0)
                    return (await read_answer(connection.reader)).status
                except OSError:
                    return 0

        return await asyncio.gather(*map(client, range(100)))

    try:
        assert ask(url, one_request(0)).values == [right_value(0)]
        before = peak_mb()
        statuses = asyncio.run(flood())
        assert ask(url, one_request(1)).values == [right_value(1)]
        assert set(statuses) <= {400, 503}
        assert 503 in statuses
        assert peak_mb() - before < 100  # 400 MB came in
    finally:
        process.kill()
        process.wait()
