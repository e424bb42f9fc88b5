"""What an engine is: where the work of a long command is done.

A command says what is to be done with each item and takes the results as they come; the engine does it, in this process, in processes of
this machine, or on the machines of a Ray cluster. No engine changes a result: that is a pure function of the item.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Protocol, TypeVar, runtime_checkable

from anyscene.errors import SpecError

__all__ = ["ENGINES", "ActorGroup", "Engine", "open_engine"]

ENGINES = ("local", "ray")

Common = TypeVar("Common")
Item = TypeVar("Item")
Result = TypeVar("Result")


@runtime_checkable
class ActorGroup(Protocol):
    """Some copies of one object, each in a worker of its own, of which any may take a call."""

    @property
    def number(self) -> int:
        """How many copies there are to be: so many calls are worth making at the same time."""
        ...

    def call(self, method: str, *arguments: Any) -> Any:
        """`object.method(*arguments)` on the next copy that is free. Waits; to be called from as many threads as there are copies.

        An error of the method comes out as itself.

        Raises:
            RunError: Workers were lost, again and again, with this call.
        """
        ...

    def close(self) -> None:
        """Ends the copies. Calls under way fail."""
        ...


@runtime_checkable
class Engine(Protocol):
    """Where the work is done."""

    @property
    def workers(self) -> int:
        """How many items are worked on at the same time, as things stand."""
        ...

    @property
    def shares_disk(self) -> bool:
        """Whether a worker sees this machine's files under the same paths."""
        ...

    def imap_unordered(
        self, function: Callable[[Common, Item], Result], common: Common, items: Iterable[Item], *, ahead: int = 0
    ) -> Generator[tuple[Item, Result], None, None]:
        """`(item, function(common, item))` for every item, in the order in which they are done.

        Args:
            function: What is done; a function of a module, for it is sent to workers by its name.
            common: What every call needs. It is sent to a worker once, not once per item.
            items: Taken as they are needed: never are more than `workers + ahead` under way.
            ahead: How many items wait at the workers, so that none of them waits for this process.

        Raises:
            RunError: Workers were lost, again and again, with one item. Any error of the function comes out as itself.
        """
        ...

    def stream(
        self, function: Callable[[Common, Item], Iterator[Result]], common: Common, items: Iterable[Item], *, ahead: int = 0
    ) -> Generator[tuple[Item, Result], None, None]:
        """`(item, part)` for every part that the generator `function(common, item)` gives: those of one item in their order, once each.

        A worker that is lost is replaced, and the parts that were not taken yet are made again: a generator must give the same parts
        every time. A worker runs ahead of who takes the parts by a few of them at most. The rest is as with `imap_unordered`.
        """
        ...

    def actors(self, make: Callable[..., Any], arguments: tuple[Any, ...] = (), *, number: int | None = None) -> ActorGroup:
        """`number` copies of `make(*arguments)`, by default one per worker; each is made where it works.

        Raises:
            RunError: There is no room for even one. An error of `make` comes out as itself.
        """
        ...


@contextlib.contextmanager
def open_engine(
    name: str = "local", *, address: str | None = None, workers: int | None = None, cpus: float = 1, gpus: float = 0
) -> Iterator[Engine]:
    """The engine of this name, for the length of a `with` block.

    Args:
        name: "local" or "ray".
        address: Of a Ray cluster: "auto", "host:port" or "ray://host:port". Without, and without the variable RAY_ADDRESS, one of this
            machine alone is started, and stopped at the end.
        workers: How many items are worked on at the same time; by default one, with Ray as many as the cluster has room for.
        cpus: The cores that Ray sets aside for a worker.
        gpus: The GPUs that Ray sets aside for a worker.

    Raises:
        SpecError: There is no such engine, or an option is out of range.
        MissingExtraError: Ray is not installed.
        RunError: The cluster cannot be reached, or has no room for a worker.
    """
    if workers is not None and workers < 1:
        raise SpecError(f"workers is {workers}; it must be at least 1.")
    if name == "local":
        from anyscene.engines.local_engine import LocalEngine

        yield LocalEngine(workers or 1)
    elif name == "ray":
        from anyscene.engines.ray_engine import RayEngine

        with RayEngine(address, workers, cpus=cpus, gpus=gpus) as engine:
            yield engine
    else:
        raise SpecError(f"There is no engine {name!r}. The engines are {', '.join(ENGINES)}.")
