"""The engine of a Ray cluster. Ray places, restarts and retries; here is only bounded how much is under way."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import socket
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from types import TracebackType
from typing import Any, TypeVar

from anyscene.engines.ray_actors import RayActors
from anyscene.engines.ray_work import first_line, losses_told, make_task, received, versions
from anyscene.errors import MissingExtraError, RunError, SpecError

__all__ = ["RayEngine"]

RETRIES = 5
"""How often an item is begun again whose worker was lost, before that is an error."""
PARTS_AHEAD = 3
"""How many parts a worker makes that nobody has taken yet."""
_CONNECT_TIMEOUT_S = 10.0
_WAIT_S = 5.0  # how often is looked how large the cluster is
_OBJECT_STORE_BYTES = 1 << 30

Common = TypeVar("Common")
Item = TypeVar("Item")
Result = TypeVar("Result")


class RayEngine:
    """Works on a Ray cluster, from entering a `with` block to its end.

    Args:
        address: "auto", "host:port" or "ray://host:port". Without, and without the variable RAY_ADDRESS, a cluster of this machine alone is
            started, and stopped at the end.
        workers: How many items are worked on at the same time; by default as many as the cluster has room for, nodes that join it later
            included.
        cpus: The cores set aside for a worker.
        gpus: The GPUs set aside for a worker.

    Raises:
        SpecError: An option is out of range.
        MissingExtraError: Ray is not installed.
        RunError: The cluster cannot be reached, or has no room for a worker.
    """

    shares_disk = False

    def __init__(self, address: str | None = None, workers: int | None = None, *, cpus: float = 1, gpus: float = 0) -> None:
        for name, value, least in (("workers", workers, 1), ("cpus per worker", cpus, 0), ("GPUs per worker", gpus, 0)):
            if value is not None and not least <= value < 1e6:
                raise SpecError(f"{name} is {value}; it must be at least {least}.")
        if not cpus and not gpus:
            raise SpecError("A worker was given neither a core nor a GPU, so that nothing bounds how many there are; give it one of them.")
        self.address = address or os.environ.get("RAY_ADDRESS") or "local"
        self.cpus = cpus
        self.gpus = gpus
        self._asked = workers
        self._ours = False
        self._room = (0, -_WAIT_S)  # for how many workers there is room, and when that was seen

    def __enter__(self) -> RayEngine:
        try:
            import ray
        except ImportError:
            raise MissingExtraError("Working on a Ray cluster", "ray") from None
        self._restore = contextlib.ExitStack()
        try:
            if not ray.is_initialized():
                self._ours = True
                self._restore.enter_context(_signals_kept())
                self._restore.enter_context(_messages_held_back())
                self._connect()
            if not self._capacity():
                raise RunError(self._no_room())
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        import ray

        with self._restore:
            if self._ours:
                self._ours = False
                with contextlib.suppress(Exception):  # or it would hide the error that ended the work
                    ray.shutdown()

    @property
    def workers(self) -> int:
        """How many workers were asked for, or else how many the cluster has room for now."""
        return self._asked or max(1, self._capacity())

    def imap_unordered(
        self, function: Callable[[Common, Item], Result], common: Common, items: Iterable[Item], *, ahead: int = 0
    ) -> Generator[tuple[Item, Result], None, None]:
        """`(item, function(common, item))` for every item (`Engine.imap_unordered`)."""
        return self._run(function, common, items, ahead, "one")

    def stream(
        self, function: Callable[[Common, Item], Iterator[Result]], common: Common, items: Iterable[Item], *, ahead: int = 0
    ) -> Generator[tuple[Item, Result], None, None]:
        """`(item, part)` for every part of every item (`Engine.stream`).

        Ray Client (`ray://`) knows no streams: through it the parts of an item come when all of them are made.
        """
        import ray

        if not ray.util.client.ray.is_connected():
            yield from self._run(function, common, items, ahead, "stream")
            return
        for item, parts in self._run(function, common, items, ahead, "list"):
            for part in parts:
                yield item, part

    def actors(self, make: Callable[..., Any], arguments: tuple[Any, ...] = (), *, number: int | None = None) -> RayActors:
        """`number` copies of `make(*arguments)` on the cluster, by default one per worker (`Engine.actors`)."""
        return RayActors(make, arguments, number=number or self.workers, cpus=self.cpus, gpus=self.gpus)

    def _run(
        self, function: Callable[[Any, Any], Any], common: Any, items: Iterable[Any], ahead: int, how: str
    ) -> Generator[tuple[Any, Any], None, None]:
        """A task per item, never more than may be under way; those that still run at the end are cancelled."""
        import ray
        from ray import cloudpickle

        streams = how == "stream"
        options: dict[str, Any] = {"num_cpus": self.cpus, "num_gpus": self.gpus, "max_retries": RETRIES}
        if streams:
            options |= {"num_returns": "streaming", "_generator_backpressure_num_objects": PARTS_AHEAD}
        task = ray.remote(**options)(make_task(how))
        asked, shared = versions(), [ray.put(cloudpickle.dumps((function, common)))]  # in a list, or Ray would fetch it for every task
        queued = iter(items)
        under_way: dict[Any, Any] = {}
        try:
            while True:
                for item in islice(queued, max(0, self.workers + ahead - len(under_way))):
                    under_way[task.remote(asked, shared, item)] = item
                if not under_way:
                    return
                ready, _ = ray.wait(list(under_way), num_returns=1, timeout=_WAIT_S)
                for one in ready:
                    with losses_told():
                        reference = next(one, None) if streams else one
                        message = None if reference is None else ray.get(reference)
                    item = under_way[one] if streams and message else under_way.pop(one)
                    if message:
                        yield item, received(message)
                    reference = message = None  # the object store may forget it now
        finally:
            for one in under_way:
                with contextlib.suppress(Exception):  # it may have ended by itself, or the cluster with it
                    ray.cancel(one, force=True)

    def _connect(self) -> None:
        import ray

        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what Ray will do one day; it warns of it otherwise
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
        if self.address == "local":
            cores = max(1, math.ceil(self.cpus * self._asked)) if self._asked else None
            options |= {"num_cpus": cores, "include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES}
        try:
            if self.address not in ("local", "auto"):
                _knock(self.address)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Ray's, of what it will change
                ray.init(self.address, **options)
        except Exception as error:  # Ray has no kind of its own for what goes wrong here
            if self.address == "local":
                raise RunError(f"Cannot start a Ray cluster on this machine: {first_line(error)}.") from error
            raise RunError(
                f"Cannot reach a Ray cluster at {self.address!r}: {first_line(error)}. Give the address of a head node that runs (`ray "
                'start --head`): "auto" on a node of the cluster, host:port, or ray://host:port from elsewhere.'
            ) from error

    def _capacity(self) -> int:
        """How many workers the nodes that are alive have room for."""
        import ray

        number, seen = self._room
        if time.monotonic() - seen > _WAIT_S:
            number = sum(self._fitting(node["Resources"]) for node in ray.nodes() if node["Alive"])
            self._room = (number, time.monotonic())
        return number

    def _fitting(self, node: dict[str, float]) -> int:
        """How many workers one node has room for."""
        return min(int(node.get(kind, 0) / share + 1e-9) for kind, share in (("CPU", self.cpus), ("GPU", self.gpus)) if share)

    def _no_room(self) -> str:
        import ray

        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        most = {kind: max((node.get(kind, 0) for node in nodes), default=0) for kind in ("CPU", "GPU")}
        return (
            f"A worker is to have {self.cpus:g} cores and {self.gpus:g} GPUs; none of the {len(nodes)} nodes has these (at most "
            f"{most['CPU']:g} cores, at most {most['GPU']:g} GPUs). Ask for less with --cpus-per-worker or --gpus-per-worker."
        )


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """`ray.init` puts a handler of its own where the program's was."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _messages_held_back() -> Iterator[None]:
    """Ray prints on standard output how a worker was lost, whatever `log_to_driver` says. Where that matters, an error of ours tells it."""
    from ray._private import worker

    before = getattr(worker, "print_to_stdstream", None)
    if before is None:
        yield
        return
    worker.print_to_stdstream = lambda *_given, **_named: None
    try:
        yield
    finally:
        worker.print_to_stdstream = before


def _knock(address: str) -> None:
    """Sees whether anybody listens there: Ray itself would wait long, and may end the process."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdigit():
        raise ValueError("it is no host:port")
    socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_TIMEOUT_S).close()
