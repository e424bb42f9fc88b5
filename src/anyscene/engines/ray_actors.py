"""Copies of an object in workers of a Ray cluster.

Ray starts an actor, and starts it again elsewhere when its worker or node is lost. A call that was under way there goes to the next copy
that is free, so that nothing waits for a node that may never come back.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from anyscene.engines.ray_work import first_line, losses_told, make_holder, received, versions
from anyscene.errors import RunError

__all__ = ["RayActors"]

ATTEMPTS = 6
"""How many copies may be lost with one call before that is an error."""
_RETURN_TIMEOUT_S = 600.0  # for so long may all copies be lost at the same time
_POLL_S = 1.0


class RayActors:
    """`number` copies of `make(*arguments)`, each in a worker of its own (`ActorGroup`).

    Each can be used as soon as it is made; this returns with the first.

    Raises:
        RunError: No copy could be started. An error of `make` comes out as itself.
    """

    def __init__(self, make: Callable[..., Any], arguments: tuple[Any, ...], *, number: int, cpus: float, gpus: float) -> None:
        import ray
        from ray import cloudpickle

        self.number = number
        self._free: queue.Queue[Any] = queue.Queue()
        self._closed = threading.Event()
        self._broken: list[BaseException] = []  # why copies could not be made
        self._missed_since = time.monotonic()
        self._using = 0
        self._lock = threading.Lock()
        remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_restarts=-1)(make_holder())
        pickled = cloudpickle.dumps((make, arguments))
        self._copies = [remote.remote(versions(), pickled) for _ in range(number)]
        for copy in self._copies:
            self._await(copy)
        try:
            self._leave(self._take())
        except BaseException:
            self.close()
            raise

    def call(self, method: str, *arguments: Any) -> Any:
        """`object.method(*arguments)` on the next copy that is free (`ActorGroup.call`)."""
        import ray
        from ray.exceptions import NodeDiedError, ObjectLostError, RayActorError, RayError

        lost: RayError | None = None
        for _ in range(ATTEMPTS):
            copy = self._take()
            try:
                message = ray.get(copy.call.remote(method, *arguments))
            except (RayActorError, ObjectLostError, NodeDiedError) as error:  # the copy, or the node with the reply that lay there
                self._leave(copy, lost=True)
                lost = error
                continue
            except BaseException:
                self._leave(copy)
                raise
            self._leave(copy)
            return received(message)
        assert lost is not None  # every attempt has ended with it
        with losses_told():
            raise lost

    def close(self) -> None:
        """Ends the copies."""
        import ray

        self._closed.set()
        for copy in self._copies:
            with contextlib.suppress(Exception):  # it may have ended by itself, or the cluster with it
                ray.kill(copy, no_restart=True)

    def _take(self) -> Any:
        """Waits for the next copy that is free."""
        while True:
            with contextlib.suppress(queue.Empty):
                copy = self._free.get(timeout=_POLL_S)
                with self._lock:
                    self._using += 1
                return copy
            if self._closed.is_set():
                raise RunError("The workers were told to end.")
            if self._broken:
                raise self._broken[0]
            with self._lock:
                if self._using:
                    self._missed_since = time.monotonic()
            if time.monotonic() - self._missed_since > _RETURN_TIMEOUT_S:
                raise RunError(
                    f"For {_RETURN_TIMEOUT_S / 60:.0f} minutes the Ray cluster had no room for a single worker. What is finished is kept: "
                    "run the same command again to go on."
                )

    def _leave(self, copy: Any, *, lost: bool = False) -> None:
        with self._lock:
            self._using -= 1
            self._missed_since = time.monotonic()
        if lost:
            self._await(copy)
        else:
            self._free.put(copy)

    def _await(self, copy: Any) -> None:
        """Puts a copy among the free as soon as Ray has started it and its object is made."""
        threading.Thread(target=self._make, args=(copy,), daemon=True).start()

    def _make(self, copy: Any) -> None:
        import ray
        from ray.exceptions import ActorDiedError, RayActorError

        while not self._closed.is_set():
            try:
                received(ray.get(copy.call.remote("")))
            except ActorDiedError as error:  # for good
                self._broken.append(RunError(f"A worker of the Ray cluster ended and cannot be started again: {first_line(error)}."))
                return
            except RayActorError:
                time.sleep(_POLL_S)
            except Exception as error:  # raised where the next copy is waited for
                self._broken.append(error)
                return
            else:
                self._free.put(copy)
                return
