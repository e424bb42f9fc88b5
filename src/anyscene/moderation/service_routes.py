"""The routes of a server that scans. Imported by `service` alone, when there is something to serve: it needs FastAPI.

Limits, token, queue, time-outs and metrics are those of every server of pictures (`rewards.app`); here is what a request is made of. The
head of each picture is read by a process of `openers` before it queues, so that the queue knows how large it will be; it is decoded by one
while it waits for its batch.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from fastapi import Request, Response

from anyscene.moderation.findings import Finding
from anyscene.moderation.openers import Openers
from anyscene.moderation.opening import SCORED, Opened
from anyscene.moderation.scan import Scorer, finding_of
from anyscene.rewards.app import Routes, Settings
from anyscene.rewards.batcher import Batcher
from anyscene.rewards.wire import Refusal, decoded, read_json

__all__ = ["FindingScores", "ScanRoutes", "Upload"]


@dataclass(frozen=True, slots=True)
class Upload:
    """A picture of a request.

    Attributes:
        data: the file.
        head: what its head says.
        openers: decode it.
    """

    data: bytes
    head: Opened
    openers: Openers

    @property
    def record(self) -> None:
        """Nothing: a picture is looked at by itself."""
        return

    @property
    def pixels(self) -> int:
        """Of all its frames, once they are decoded."""
        return self.head.pixels

    def media(self) -> Opened:
        """Decoded, or a verdict that its head did not show."""
        return self.openers.open(self.data)


class FindingScores:
    """A detector as a `Batcher` asks it (`batcher.Scores`).

    Args:
        scorer: asks the detector.
    """

    name = "the detector"

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def score(self, images: Sequence[Opened], records: Sequence[None]) -> list[Finding]:
        """The finding of each picture."""
        return [one for one, _ in self._scorer.lines([("", opened, None) for opened in images])]


class ScanRoutes(Routes):
    """The handlers of a server that scans.

    Args:
        batcher: before the detector.
        settings: limits and the like.
        openers: of the pictures; closed with the server.
        threshold: above which a picture is called generated.
    """

    title: ClassVar[str] = "Anyscene moderation server"

    def __init__(self, batcher: Batcher[Finding], settings: Settings, openers: Openers, threshold: float) -> None:
        super().__init__(batcher, settings, parsers=openers.workers)
        self.openers, self.threshold = openers, threshold

    def posts(self) -> dict[str, Callable[[Request], Awaitable[Response]]]:
        return {"/scan": self.scan}

    def close(self) -> None:
        super().close()
        self.openers.close()

    async def scan(self, request: Request) -> Response:
        """One picture as the body, or several in JSON; a finding for each."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        bare = kind.startswith("image/") or kind == "application/octet-stream"

        def check() -> None:
            if not bare and kind != "application/json":  # a web page can send none of these to another site unasked
                said = f"Content-Type must be image/..., application/octet-stream or application/json, not {kind[:60] or 'left out'}"
                raise Refusal(415, "bad_content_type", said)

        return await self.served(
            request, check, self.one if bare else self.several, self.reply if bare else self.replies, "application/json"
        )

    def one(self, body: bytearray) -> list[Upload]:
        """A body that is a picture."""
        return [self.upload(bytes(body))]

    def several(self, body: bytearray) -> list[Upload]:
        """The pictures of a JSON request."""
        data = read_json(body, self.settings.limits)
        if not isinstance(data, dict) or set(data) != {"images"} or not isinstance(data["images"], list):
            raise Refusal(400, "bad_request", 'a request is {"images": ["<base64 of a file>", ...]}')
        if not 1 <= len(data["images"]) <= self.settings.limits.images:
            number, most = len(data["images"]), self.settings.limits.images
            raise Refusal(413 if number else 400, "too_many_images" if number else "bad_request", f"{number} images; 1 to {most} are taken")
        return [self.upload(decoded(image, place)) for place, image in enumerate(data["images"])]

    def upload(self, data: bytes) -> Upload:
        return Upload(data, self.openers.open(data, decode=False), self.openers)

    async def scored(self, request: Request, items: Sequence[Upload]) -> list[Finding]:
        """The findings; only what is a picture by its head goes to the detector."""
        found = await super().scored(request, [one for one in items if one.head.verdict in SCORED]) if _any_picture(items) else []
        scored = iter(found)
        findings = [next(scored) if one.head.verdict in SCORED else finding_of("", one.head, ()) for one in items]
        for one in findings:
            self.telemetry.count("verdicts", f'verdict="{one.verdict}"')
            if one.score is not None:
                self.telemetry.count("scored", f'generated="{str(one.score > self.threshold).lower()}"')
        return findings

    def reply(self, findings: Sequence[Finding], items: Sequence[Upload]) -> bytes:
        """What is said of one picture."""
        return json.dumps(self.said(findings[0]) | {"threshold": self.threshold}, allow_nan=False).encode()

    def replies(self, findings: Sequence[Finding], items: Sequence[Upload]) -> bytes:
        """What is said of several."""
        return json.dumps({"results": [self.said(one) for one in findings], "threshold": self.threshold}, allow_nan=False).encode()

    def said(self, finding: Finding) -> dict[str, Any]:
        return {name: value for name, value in finding.judged(self.threshold).to_dict().items() if name != "path"}


def _any_picture(items: Sequence[Upload]) -> bool:
    return any(one.head.verdict in SCORED for one in items)
