"""What runs in a process of `openers.Openers`: one file after the other, within limits of memory that the system keeps.

It needs Pillow alone. Requests come over standard input and replies leave over what was standard output; nothing else is written.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import IO, Any

from PIL import Image

from anyscene.moderation.opening import Opened, OpeningLimits, open_picture, read_file

__all__ = ["serve", "strips"]


STRIP_BYTES = 4 * 2**20


def strips(width: int, height: int) -> Iterator[tuple[int, int]]:
    """Top and bottom of the strips in which a picture travels, so that it is not there twice."""
    rows = max(1, STRIP_BYTES // (3 * width))
    return ((top, min(top + rows, height)) for top in range(0, height, rows))


def serve() -> None:
    """Answers until its input ends."""
    source, to = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    limits = OpeningLimits(**json.loads(_read(source)))
    _prepare()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # decoders in C print warnings
        os.dup2(nowhere, stream)
    _limit(limits)
    _say(to, {})
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            _answer(json.loads(_read(source)), _read(source), limits, to)


def _answer(asked: dict[str, Any], given: bytes, limits: OpeningLimits, to: IO[bytes]) -> None:
    data = read_file(Path(os.fsdecode(given)), limits) if asked["path"] else given
    del given
    if isinstance(data, Opened):
        found = data
        _say(to, {})
    else:
        sha256 = hashlib.sha256(data).hexdigest() if len(data) <= limits.file_bytes else ""
        _say(to, {"sha256": sha256, "size": len(data)})  # known also of a file that ends us
        if sha256 and sha256 == asked["known"]:
            found = Opened("ok", size=len(data), sha256=sha256)
        else:
            found = open_picture(data, limits, name=asked["name"], decode=asked["decode"], sha256=sha256)
    del data
    said = {one.name: getattr(found, one.name) for one in fields(Opened) if one.name != "pictures"}
    _say(to, {**said, "sizes": [one.size for one in found.pictures]})
    for one in found.pictures:
        for top, bottom in strips(*one.size):
            to.write(one.crop((0, top, one.width, bottom)).tobytes())
    to.flush()


def _prepare() -> None:
    """Brings in the decoders; how large a picture may be is for us to say, and one thread decodes it."""
    Image.init()
    Image.MAX_IMAGE_PIXELS = None
    with contextlib.suppress(ImportError):
        from PIL import AvifImagePlugin

        AvifImagePlugin.DEFAULT_MAX_THREADS = 1


def _limit(limits: OpeningLimits) -> None:
    """No more memory than is allowed, no files written, no core dumps: as far as the system knows such limits."""
    try:
        import resource
    except ImportError:  # Windows
        return
    used = 0
    with contextlib.suppress(OSError):
        used = int(Path("/proc/self/statm").read_bytes().split()[0]) * resource.getpagesize()
    for name, most in (("RLIMIT_AS", used + limits.memory_bytes if used else 0), ("RLIMIT_FSIZE", 0), ("RLIMIT_CORE", 0)):
        kind = getattr(resource, name, None)
        if kind is None or (name == "RLIMIT_AS" and not most):
            continue
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (most, most))


def _read(source: IO[bytes]) -> bytes:
    head = source.read(8)
    length = int.from_bytes(head, "big")
    data = source.read(length) if len(head) == 8 else b""
    if len(head) < 8 or len(data) < length:
        raise EOFError
    return data


def _say(to: IO[bytes], said: dict[str, Any]) -> None:
    data = json.dumps(said).encode()
    to.write(len(data).to_bytes(8, "big") + data)
    to.flush()
