"""What goes over the wire to a reward server and back, and what of it is refused, before it costs anything.

A request is ``{"images": ["<base64 of a PNG or JPEG file>", ...], "records": [{"id": ..., "questions": [...]}, ...]}``; its reply is
``{"scores": [<score> or null, ...], "sha256": [<of each file that was scored>, ...], "reward": <name>}``. A clip or the views of a 3D
object are one animated PNG, and their record says ``"modality": "video"`` or ``"3d"``. Everything that is wrong with a request is one
`Refusal`, which becomes ``{"error": {"code": ..., "message": ...}}``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NoReturn

from PIL import Image, UnidentifiedImageError

from anyscene.errors import MediaError, RecordError
from anyscene.language.question import Question
from anyscene.media import Media, read_media
from anyscene.media.media import MODALITIES
from anyscene.rewards.protocol import Score

__all__ = ["Item", "Limits", "Refusal", "checked_items", "decoded", "error_body", "read_json", "read_request", "write_reply"]

FORMATS = ("PNG", "JPEG")
MAX_ID_CHARS = 200
MAX_TEXT_CHARS = 4000
MAX_CAPTION_CHARS = 20_000
MAX_CHOICES = 64


class Refusal(Exception):
    """A request that is not served, and what its sender is told. It never leaves the server but as a reply.

    Attributes:
        status: of the reply.
        code: one word for programs.
        retry_after_s: when it may be worth another try; None where it is not said.
    """

    def __init__(self, status: int, code: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_after_s = status, code, retry_after_s


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may hold.

    Attributes:
        body_bytes: of the request as it comes in.
        images: pictures, and as many records.
        pixels: of one picture; of all frames of a clip together.
        frames: of one clip, or views of one object.
        questions: of one record.
        values: lists, objects and values in the JSON of a request, which may take many times its bytes in memory.
    """

    body_bytes: int = 64 * 2**20
    images: int = 64
    pixels: int = 4096 * 4096
    frames: int = 256
    questions: int = 128
    values: int = 1_000_000


@dataclass(frozen=True)
class Item:
    """A picture as its file, and the record that it is scored against.

    Attributes:
        record: with ``id`` and what the reward needs.
        data: the file.
        pixels: of all its frames.
        where: what messages call it.
    """

    record: Mapping[str, Any]
    data: bytes
    pixels: int
    where: str

    @cached_property
    def sha256(self) -> str:
        """Digest of the file, in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    def media(self) -> Media:
        """The picture, decoded.

        Raises:
            Refusal: the file is damaged.
        """
        try:
            return read_media(self.data, str(self.record.get("modality") or "image"), self.where)
        except MediaError as error:
            raise Refusal(400, "bad_image", str(error)) from None


def read_request(body: bytes | bytearray, limits: Limits) -> list[Item]:
    """The pictures and records of a JSON request.

    Raises:
        Refusal: it is no such request, or more than is taken.
    """
    data = read_json(body, limits)
    if not isinstance(data, dict) or set(data) != {"images", "records"}:
        found = ", ".join(sorted(map(str, data)))[:200] if isinstance(data, dict) else type(data).__name__
        raise Refusal(400, "bad_request", f'a request is {{"images": [...], "records": [...]}}; found {found or "no fields"}')
    images, records = data["images"], data["records"]
    if not isinstance(images, list) or not isinstance(records, list):
        raise Refusal(400, "bad_request", "images and records must be lists")
    _check_numbers(len(images), len(records), limits)
    return checked_items([decoded(image, place) for place, image in enumerate(images)], records, limits)


def read_json(body: bytes | bytearray, limits: Limits) -> Any:
    """What a body of JSON holds.

    Raises:
        Refusal: it is no JSON, or has more values than are taken.
    """
    if body.count(b",") + body.count(b"[") + body.count(b"{") > limits.values:  # base64 has none of these
        raise Refusal(413, "too_many_values", f"the JSON has more than {limits.values:,} values")
    try:
        data: Any = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:  # also of bytes that are no UTF-8
        raise Refusal(400, "bad_json", f"the body is no JSON: {str(error)[:200]}") from None
    return data


def checked_items(images: Sequence[bytes], records: Sequence[Any], limits: Limits) -> list[Item]:
    """Files and records as items.

    Raises:
        Refusal: a file is no picture that is taken, or a record is malformed; the message says which.
    """
    _check_numbers(len(images), len(records), limits)
    found = []
    for place, (data, record) in enumerate(zip(images, records, strict=True)):
        _check_record(record, place, limits)
        where = f"images[{place}] of record {record['id']!r}"
        found.append(Item(record, data, _pixels(data, record.get("modality") or "image", where, limits), where))
    return found


def write_reply(scores: Sequence[Score | None], items: Sequence[Item], reward: str) -> bytes:
    """The reply to a JSON request. A score whose value is no finite number is null, like one that there is not."""
    sound = [_sound(one) for one in scores]
    body = {
        "scores": [None if one is None else one.to_dict() for one in sound],
        "sha256": [item.sha256 for item in items],
        "reward": reward,
    }
    return json.dumps(body, allow_nan=False).encode()


def error_body(code: str, message: str) -> bytes:
    """The reply to a request that is refused."""
    return json.dumps({"error": {"code": code, "message": message}}).encode()


def _check_numbers(images: int, records: int, limits: Limits) -> None:
    if images != records:
        raise Refusal(400, "bad_request", f"{images} images and {records} records: each image needs its record")
    if not images:
        raise Refusal(400, "bad_request", "there are no images")
    if images > limits.images:
        raise Refusal(413, "too_many_images", f"{images} images; a request has at most {limits.images}")


def decoded(image: Any, place: int) -> bytes:
    """The bytes of a file that came in base64.

    Raises:
        Refusal: it did not.
    """
    if not isinstance(image, str):
        raise Refusal(400, "bad_image", f"images[{place}] is {type(image).__name__}; it must be the base64 of a file")
    if image.startswith("data:"):
        image = image.partition(",")[2]
    try:
        return base64.b64decode(image.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(400, "bad_image", f"images[{place}] is no base64") from None


def _pixels(data: bytes, modality: str, where: str, limits: Limits) -> int:
    """Pixels of all frames, by the head of the file: nothing is decoded."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            frames = 1 if modality == "image" else int(getattr(opened, "n_frames", 1))
            pixels = opened.width * opened.height * frames
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Refusal(413, "too_many_pixels", f"{where} has more than {limits.pixels:,} pixels") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError):
        raise Refusal(400, "bad_image", f"{where} is no PNG or JPEG file") from None
    if pixels > limits.pixels:
        raise Refusal(413, "too_many_pixels", f"{where} has {pixels:,} pixels; at most {limits.pixels:,} are taken")
    if frames > limits.frames:
        raise Refusal(413, "too_many_frames", f"{where} has {frames:,} frames; at most {limits.frames:,} are taken")
    return pixels


def _check_record(record: Any, place: int, limits: Limits) -> None:
    where = f"records[{place}]"
    if not isinstance(record, Mapping):
        raise Refusal(400, "bad_record", f"{where} is {type(record).__name__}; it must be an object")
    _text(record.get("id"), f"{where}.id", MAX_ID_CHARS)
    if record.get("caption") is not None:
        _text(record["caption"], f"{where}.caption", MAX_CAPTION_CHARS)
    if (record.get("modality") or "image") not in MODALITIES:
        raise Refusal(400, "bad_record", f"{where}.modality must be one of {', '.join(MODALITIES)}")
    questions = record.get("questions")
    if questions is None:
        return
    if not isinstance(questions, list):
        raise Refusal(400, "bad_record", f"{where}.questions must be a list")
    if len(questions) > limits.questions:
        raise Refusal(413, "too_many_questions", f"{where} has {len(questions)} questions; at most {limits.questions} are taken")
    for number, question in enumerate(questions):
        _check_question(question, f"{where}.questions[{number}]")


def _check_question(question: Any, where: str) -> None:
    if not isinstance(question, Mapping):
        raise Refusal(400, "bad_record", f"{where} is {type(question).__name__}; it must be an object")
    try:
        Question.from_dict(question)
    except (RecordError, TypeError) as error:
        raise Refusal(400, "bad_record", f"{where}: {str(error)[:300]}") from None
    for name in ("id", "kind", "form", "text", "answer"):
        _text(question[name], f"{where}.{name}", MAX_TEXT_CHARS)
    for name in ("choices", "depends_on", "elements"):
        values = question.get(name, ())
        if not isinstance(values, (list, tuple)) or len(values) > MAX_CHOICES:
            raise Refusal(400, "bad_record", f"{where}.{name} must be a list of at most {MAX_CHOICES} texts")
        for value in values:
            _text(value, f"{where}.{name}", MAX_TEXT_CHARS)
    if question.get("foil") is not None:
        _text(question["foil"], f"{where}.foil", MAX_ID_CHARS)


def _text(value: Any, where: str, most: int) -> None:
    if not isinstance(value, str) or not value:
        raise Refusal(400, "bad_record", f"{where} must be a text that is not empty")
    if len(value) > most:
        raise Refusal(413, "too_long", f"{where} has {len(value):,} letters; at most {most:,} are taken")


def _sound(score: Score | None) -> Score | None:
    """The score without numbers that JSON has none for: a value that is no number is no score."""
    if score is None or not math.isfinite(score.value):
        return None
    return replace(
        score,
        questions=tuple(replace(one, value=_known(one.value), counted=_known(one.counted)) for one in score.questions),
        figures={name: value for name, value in score.figures.items() if math.isfinite(value)},
        parts={name: _sound(part) for name, part in score.parts.items()},
    )


def _known(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
