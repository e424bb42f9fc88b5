"""The reward server under load: many clients at once beside one request at a time, with a reward that takes 50 ms a batch.

    python perf/reward_server.py [--clients N] [--requests N] [--side PIXELS] [--batch-ms MS] [--batch N]

The server runs in a process of its own; each client has one connection and sends one picture a request, the next when the last is
answered. Every score is a function of the pixels and is compared with what it must be.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anyscene.media import Media
from anyscene.rewards.protocol import Record, Score
from anyscene.rewards.server import RewardServer, ServerConfig


class PixelReward:
    """A function of the pixels that takes as long as it is told, by the batch."""

    name = "pixels"

    def __init__(self, batch_s: float) -> None:
        self.batch_s = batch_s

    def score(self, images: Sequence[Any], records: Sequence[Record]) -> list[Score | None]:
        """One score for each picture."""
        time.sleep(self.batch_s)
        return [Score(value_of(image), str(record["id"])) for image, record in zip(images, records, strict=True)]


def value_of(image: Media) -> float:
    """A number that only these pixels have."""
    return int.from_bytes(hashlib.sha256(image.array().tobytes()).digest()[:6], "big") / 2**48


def requests_of(number: int, side: int) -> list[tuple[bytes, float]]:
    """Requests of one picture each, and the score that each must get: blocks of colour with some noise, as PNG packs paintings."""
    found = []
    for seed in range(number):
        draw = np.random.default_rng(seed)
        blocks = draw.integers(0, 240, (8, 8, 3), dtype=np.uint8).repeat(side // 8, 0).repeat(side // 8, 1)
        media = Media.of_image(blocks + draw.integers(0, 4, blocks.shape, dtype=np.uint8))
        record = {"id": str(seed), "questions": []}
        body = json.dumps({"images": [base64.b64encode(media.data).decode()], "records": [record]}).encode()
        head = f"POST /score HTTP/1.1\r\nHost: perf\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        found.append((head.encode() + body, value_of(media)))
    return found


async def client(port: int, jobs: Sequence[tuple[bytes, float]], seconds: list[float]) -> None:
    """One connection, one request after the other."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for data, value in jobs:
        started = time.perf_counter()
        writer.write(data)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split()[0])
        reply = json.loads(await reader.readexactly(length))
        seconds.append(time.perf_counter() - started)
        if reply["scores"][0]["value"] != value:
            raise SystemExit(f"a wrong answer: {reply}")
    writer.close()


async def load(port: int, clients: int, jobs: Sequence[tuple[bytes, float]]) -> tuple[float, list[float]]:
    """Pictures a second, and the seconds of each request."""
    seconds: list[float] = []
    started = time.perf_counter()
    await asyncio.gather(*(client(port, jobs[own::clients], seconds) for own in range(clients)))
    return len(jobs) / (time.perf_counter() - started), seconds


def memory_mb(process: int) -> float:
    """The most memory that a process has had, as Linux counts it; 0 elsewhere."""
    path = Path(f"/proc/{process}/status")
    return int(path.read_text().partition("VmHWM:")[2].split()[0]) / 1000 if path.exists() else 0.0


def main() -> None:
    """Start a server, load it in both ways, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--requests", type=int, default=4000, help="of all clients together")
    parser.add_argument("--side", type=int, default=256, help="of a picture, in pixels")
    parser.add_argument("--batch-ms", type=float, default=50.0, help="what the reward takes for a batch")
    parser.add_argument("--batch", type=int, default=32, help="pictures in a batch")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        config = ServerConfig(port=0, max_batch=given.batch)
        RewardServer(PixelReward(given.batch_ms / 1000), config).run(lambda url: print(url.rpartition(":")[2], flush=True))
        return
    options = ["--batch-ms", str(given.batch_ms), "--batch", str(given.batch)]
    server = subprocess.Popen([sys.executable, __file__, "--serve", *options], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        port = int(server.stdout.readline())
        jobs = requests_of(min(given.requests, 256), given.side)
        jobs = [jobs[place % len(jobs)] for place in range(given.requests)]
        print(
            f"{len(jobs[0][0]) / 1000:.0f} kB a request, {given.side} x {given.side} pixels, {given.batch_ms:g} ms a batch of {given.batch}"
        )
        asyncio.run(load(port, 1, jobs[:5]))
        idle_mb = memory_mb(server.pid)
        slow, alone = asyncio.run(load(port, 1, jobs[:60]))
        fast, together = asyncio.run(load(port, given.clients, jobs))
        for name, rate, seconds in (("one at a time", slow, alone), (f"{given.clients} clients", fast, together)):
            cuts = statistics.quantiles(seconds, n=100)
            print(f"{name:>14}: {rate:7.1f} pictures/s, median {1000 * cuts[49]:.0f} ms, 99 % within {1000 * cuts[98]:.0f} ms")
        print(f"{fast / slow:.1f} times as fast; no wrong answer; memory {idle_mb:.0f} MB before, {memory_mb(server.pid):.0f} MB at most")
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    main()
