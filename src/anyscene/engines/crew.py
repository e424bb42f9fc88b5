"""A crew: copies of one thing on workers, of which every one must be the same thing, and what they cost together."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from anyscene.engines.engine import Engine
from anyscene.errors import AnySceneError

__all__ = ["Crew", "Member"]


class Member(Protocol):
    """What a worker of a crew holds."""

    def facts(self) -> Mapping[str, Any]:
        """What must be the same for all, as plain JSON values."""
        ...


@dataclass(frozen=True, slots=True)
class _Reply:
    value: Any
    facts: str
    worker: tuple[str, int]
    age_s: float


class _Hand:
    """Holds a member where it works, and says with every reply whose it is."""

    def __init__(self, make: Callable[..., Member], arguments: tuple[Any, ...]) -> None:
        self.began_s = time.monotonic()
        try:
            self.member = make(*arguments)
        except AnySceneError as error:
            if len(error.args) != 1:
                raise
            raise type(error)(f"on {socket.gethostname()}: {error}") from error

    def do(self, method: str, *arguments: Any) -> _Reply:
        value = getattr(self.member, method)(*arguments)
        facts = json.dumps(self.member.facts(), sort_keys=True, ensure_ascii=False)
        return _Reply(value, facts, (socket.gethostname(), os.getpid()), time.monotonic() - self.began_s)


class Crew:
    """Workers of an engine that hold the same thing. Safe to use from as many threads as there are workers.

    Args:
        engine: where the workers are.
        make: makes the thing, on each worker; a function or class of a module.
        arguments: of ``make``.
        what: the thing's name, for messages.
        error: what is raised when two workers hold different things.
        number: of workers; as many as the engine has, by default.

    Attributes:
        facts: what all of them hold.

    Raises:
        RunError: there is no room for a worker. An error of ``make`` comes out as itself.
    """

    def __init__(
        self,
        engine: Engine,
        make: Callable[..., Member],
        arguments: tuple[Any, ...],
        *,
        what: str,
        error: type[AnySceneError],
        number: int | None = None,
    ) -> None:
        self._what, self._error = what, error
        self._first: _Reply | None = None
        self._ages_s: dict[tuple[str, int], float] = {}
        self._lock = threading.Lock()
        self._group = engine.actors(_Hand, (make, arguments), number=number)
        self.number = self._group.number
        try:
            self.facts: Mapping[str, Any] = self.ask("facts")
        except BaseException:
            self.close()
            raise

    def ask(self, method: str, *arguments: Any) -> Any:
        """What a method of the thing gives, on the next worker that is free. An error of it comes out as itself.

        Raises:
            RunError: workers were lost, again and again, with this call.
            AnySceneError: this worker holds another thing than the first (of the kind that was given as ``error``).
        """
        reply: _Reply = self._group.call("do", method, *arguments)
        with self._lock:
            first = self._first = self._first or reply
            self._ages_s[reply.worker] = max(reply.age_s, self._ages_s.get(reply.worker, 0.0))
        if reply.facts != first.facts:
            raise self._error(
                f"{self._what} is not the same on all nodes: {self._differing(first, reply)}. Nothing of two of them is mixed: give every "
                "node the same weights and libraries, and run the same command again"
            )
        return reply.value

    @staticmethod
    def _differing(one: _Reply, other: _Reply) -> str:
        here, there = json.loads(one.facts), json.loads(other.facts)
        key = next(name for name in here if here[name] != there.get(name))
        return f"its {key} is {here[key]!r} on {one.worker[0]} and {there.get(key)!r} on {other.worker[0]}"

    @property
    def workers(self) -> list[tuple[str, int]]:
        """Host and process of those that were heard of."""
        with self._lock:
            return sorted(self._ages_s)

    @property
    def worker_seconds(self) -> float:
        """For how long its workers were there, from the loading of each until its last reply, all added up."""
        with self._lock:
            return sum(self._ages_s.values())

    def close(self) -> None:
        """Ends the workers. Calls under way fail."""
        self._group.close()
