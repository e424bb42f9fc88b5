"""What the tests of the reward server share: a reward that is a function of the pixels, and clients that speak HTTP by hand."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyscene.media import Media
from anyscene.rewards.protocol import Record, Score

QUESTION = {"id": "q0", "kind": "existence", "form": "yes_no", "text": "Is there a dog?", "answer": "yes"}


class PixelReward:
    """A score that only this picture has, made of its pixels and its record's id. Slow by the batch, as judges are."""

    name = "pixels"

    def __init__(self, batch_s: float = 0.0) -> None:
        self.batch_s = batch_s
        self.batches: list[list[str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.threads: set[str] = set()

    def score(self, images: Sequence[Any], records: Sequence[Record]) -> list[Score | None]:
        self.threads.add(threading.current_thread().name)
        self.batches.append([record["id"] for record in records])
        assert self.gate.wait(30)
        time.sleep(self.batch_s)
        return [score_of(image, record) for image, record in zip(images, records, strict=True)]


def score_of(image: Media, record: Record) -> Score:
    return Score(pixel_value(image, record["id"]), record["id"], figures={"mean": float(image.array().mean())})


def pixel_value(image: Media, identity: str) -> float:
    digest = hashlib.sha256(image.array().tobytes() + identity.encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def picture(number: int, side: int = 16) -> Media:
    """A picture of noise, another for each number."""
    return Media.of_image(np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8))


def record(number: int) -> dict[str, Any]:
    return {"id": f"r{number}", "caption": f"scene {number}", "questions": [QUESTION]}


def request_of(pictures: Sequence[Media], records: Sequence[Record]) -> bytes:
    return json.dumps({"images": [base64.b64encode(one.data).decode() for one in pictures], "records": list(records)}).encode()


def one_request(number: int) -> bytes:
    return request_of([picture(number)], [record(number)])


def right_value(number: int) -> float:
    return pixel_value(picture(number), f"r{number}")


@dataclass(frozen=True)
class Answered:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        code: str = self.json["error"]["code"]
        return code

    @property
    def values(self) -> list[float | None]:
        return [None if one is None else one["value"] for one in self.json["scores"]]


def head(method: str, path: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: test", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def post_head(length: int, path: str = "/score", **headers: str) -> bytes:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return head("POST", path, {"Content-Type": "application/json", "Content-Length": str(length), **named})


async def read_answer(reader: asyncio.StreamReader) -> Answered:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
    return Answered(int(lines[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"])))


class Connection:
    """One connection to a server; requests go over it one after the other."""

    def __init__(self, url: str) -> None:
        self.host, _, self.port = url.removeprefix("http://").partition(":")

    async def __aenter__(self) -> Connection:
        self.reader, self.writer = await asyncio.open_connection(self.host, int(self.port), limit=2**24)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def ask(self, data: bytes, path: str = "/score", **headers: str) -> Answered:
        await self.send(post_head(len(data), path, **headers) + data)
        return await read_answer(self.reader)

    async def get(self, path: str, **headers: str) -> Answered:
        await self.send(head("GET", path, headers))
        return await read_answer(self.reader)


def ask(url: str, data: bytes, path: str = "/score", **headers: str) -> Answered:
    async def go() -> Answered:
        async with Connection(url) as connection:
            return await connection.ask(data, path, **headers)

    return asyncio.run(go())


def get(url: str, path: str, **headers: str) -> Answered:
    async def go() -> Answered:
        async with Connection(url) as connection:
            return await connection.get(path, **headers)

    return asyncio.run(go())
