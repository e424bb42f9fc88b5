"""Pictures of strangers are opened in processes of their own, so that a hostile file can end no more than one of them.

Each process opens one file after the other with `opening.open_picture`. It may take so much memory and so much time for a file, may write
no file, and holds nothing but the decoders. One that dies or takes too long is replaced, and its file gets a verdict: ``crashed`` or
``too_slow``.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from PIL import Image

from anyscene.errors import RunError, SpecError
from anyscene.moderation.opener_process import strips
from anyscene.moderation.opening import SCORED, Opened, OpeningLimits

__all__ = ["Openers"]

_PACKAGE = Path(__file__).parent
_CHILD = f"""
import sys
sys.path[:] = sys.argv[3:]
from types import ModuleType
for name, path in (("anyscene", sys.argv[1]), ("anyscene.{_PACKAGE.name}", sys.argv[2])):
    sys.modules[name] = ModuleType(name)
    sys.modules[name].__path__ = [path]  # the packages' own front doors bring in more than a decoder needs
from anyscene.{_PACKAGE.name}.opener_process import serve
serve()
"""
STARTING_S = 60.0


class Openers:
    """Some processes that open pictures; close them, or use them in a ``with`` block. Any thread may call them.

    Args:
        workers: how many; by default one for each core, and at most 8.
        limits: of one file.

    Raises:
        SpecError: fewer than one, or more than 256.
    """

    def __init__(self, workers: int | None = None, limits: OpeningLimits | None = None) -> None:
        self.workers = min(8, os.cpu_count() or 1) if workers is None else workers
        if not 1 <= self.workers <= 256:
            raise SpecError(f"workers = {self.workers}: pictures are opened by 1 to 256 processes")
        self.limits = limits or OpeningLimits()
        self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="open")
        self._idle: queue.LifoQueue[_Process | None] = queue.LifoQueue()
        self._all: set[_Process] = set()
        self._lock, self._closed = threading.Lock(), False
        for _ in range(self.workers):
            self._idle.put(None)

    def __enter__(self) -> Openers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends the processes; what they are at is given up."""
        with self._lock:
            self._closed = True
            for process in self._all:
                process.end()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for process in self._all:
            process.bury()

    def submit(self, source: Path | bytes, *, name: str | None = None, decode: bool = True, known: str = "") -> Future[Opened]:
        """`open` when a process is free."""
        return self._threads.submit(self.open, source, name=name, decode=decode, known=known)

    def open(self, source: Path | bytes, *, name: str | None = None, decode: bool = True, known: str = "") -> Opened:
        """What `opening.open_picture` says of a file; waits until a process is free.

        Args:
            source: the file, or what it holds.
            name: what the file is called, for its extension; by default its path.
            decode: False reads no more than the head.
            known: a SHA-256. A file that has it is not opened: its verdict is ``ok``, without pictures.

        Raises:
            RunError: no process can be started, or the openers are closed.
        """
        process = self._idle.get()
        try:
            if process is None or not process.alive:
                process = self._started()
            header = {"known": known, "decode": decode}
            if isinstance(source, Path):
                path = os.fsencode(source)
                return process.ask({**header, "path": True, "name": name if name is not None else source.name}, path)
            return process.ask({**header, "path": False, "name": name or ""}, source)
        finally:
            self._idle.put(process if process is not None and process.alive else None)

    def _started(self) -> _Process:
        with self._lock:
            if self._closed:
                raise RunError("The processes that open pictures were closed.")
            gone = {one for one in self._all if not one.alive}
            self._all -= gone
            process = _Process(self.limits)
            self._all.add(process)
        for one in gone:
            one.bury()
        process.start()
        return process


class _Process:
    """One process, and what is said to it: a head in JSON and bytes, each after its length."""

    def __init__(self, limits: OpeningLimits) -> None:
        self.limits, self.alive = limits, True
        paths = [one for one in sys.path if one]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(_PACKAGE.parent), str(_PACKAGE), *paths],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for those who started us
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to: IO[bytes] = self._process.stdin
        self._from: IO[bytes] = self._process.stdout

    def start(self) -> None:
        """Waits until it is ready.

        Raises:
            RunError: it is not.
        """
        timer = threading.Timer(STARTING_S, self.end)
        timer.start()
        try:
            self._say(json.dumps(asdict(self.limits)).encode())
            self._read_json()
        except (OSError, EOFError, ValueError):
            self.end()
            said = (self._process.stderr.read() if self._process.stderr else b"").decode(errors="replace").strip().splitlines()
            raise RunError(f"A process that opens pictures could not be started: {said[-1] if said else 'it ended'}") from None
        finally:
            timer.cancel()
            timer.join()

    def ask(self, header: dict[str, Any], data: bytes) -> Opened:
        """What became of a file."""
        late = threading.Event()

        def too_slow() -> None:
            late.set()
            self.end()

        timer = threading.Timer(self.limits.timeout_s, too_slow)
        timer.start()
        read = Opened("crashed", size=0 if header["path"] else len(data))
        try:
            self._say(json.dumps(header).encode())
            self._say(data)
            read = replace(read, **self._read_json())
            return self._opened(self._read_json())
        except (OSError, EOFError, ValueError, TypeError):
            self.end()
            if late.is_set():
                return replace(read, verdict="too_slow", notes=(f"stopped after {self.limits.timeout_s:g} s",))
            code = self._process.wait()
            return replace(read, notes=(f"its decoder ended with {f'signal {-code}' if code < 0 else f'status {code}'}",))
        finally:
            timer.cancel()
            timer.join()

    def end(self) -> None:
        """Ends it at once."""
        self.alive = False
        self._process.kill()

    def bury(self) -> None:
        """What is left to do once it was ended and nobody reads from it."""
        self._process.wait()
        for stream in (self._to, self._from, self._process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):  # what was on its way to it
                    stream.close()

    def _opened(self, said: dict[str, Any]) -> Opened:
        sizes = said.pop("sizes")
        if sum(width * height for width, height in sizes) > self.limits.pixels or (said["verdict"] not in SCORED and sizes):
            raise ValueError("more pixels than were allowed")
        pictures = tuple(self._picture(width, height) for width, height in sizes)
        return Opened(**{**said, "notes": tuple(said["notes"]), "pictures": pictures})

    def _picture(self, width: int, height: int) -> Image.Image:
        picture = Image.new("RGB", (width, height))
        for top, bottom in strips(width, height):
            picture.paste(Image.frombytes("RGB", (width, bottom - top), self._read(3 * width * (bottom - top))), (0, top))
        return picture

    def _say(self, data: bytes) -> None:
        self._to.write(len(data).to_bytes(8, "big"))
        self._to.write(data)
        self._to.flush()

    def _read_json(self) -> dict[str, Any]:
        length = int.from_bytes(self._read(8), "big")
        if length > 1 << 20:
            raise ValueError("no such head")
        found: dict[str, Any] = json.loads(self._read(length))
        return found

    def _read(self, count: int) -> bytes:
        data = self._from.read(count)
        if len(data) < count:
            raise EOFError
        return data
