"""What is sent to the workers of a Ray cluster, and what they send back.

The functions and the class made here go to a worker by value, for they stand inside of others, and need nothing but Python there. They see
first whether the worker's node has the versions of the process that asks. Only then is anything of Anyscene read there: with other
versions it could fail in any way, or make other bytes.

A message of a worker is a pair: ("part", a result), ("failed", a `Failure`) or ("refused", why the worker cannot be used).
"""

from __future__ import annotations

import contextlib
import platform
import sys
from collections.abc import Callable, Iterator
from typing import Any

from anyscene.engines.failures import Failure
from anyscene.errors import RunError

__all__ = ["losses_told", "make_holder", "make_task", "received", "versions", "work"]

Message = tuple[str, Any]


def versions() -> dict[str, str]:
    """What must be the same here and at the workers, or the bytes may not be."""
    import numpy
    import pyarrow

    return {
        "python": platform.python_version(),
        "anyscene": sys.modules["anyscene"].__version__,
        "numpy": numpy.__version__,
        "pyarrow": pyarrow.__version__,
    }


def make_task(how: str) -> Callable[..., Any]:
    """The function of a task: `(versions asked for, [reference of what all need], item)`.

    Args:
        how: "stream" makes a generator of messages, a part in each; "list" gives one message, with all parts; "one" one, with the result.
    """
    refusal = make_refusal()

    def stream(asked: dict[str, str], shared: list[Any], item: Any) -> Iterator[Message]:
        if reason := refusal(asked):
            yield "refused", reason
            return
        from anyscene.engines.ray_work import work

        yield from work(shared[0], item)

    def whole(asked: dict[str, str], shared: list[Any], item: Any) -> Message:
        if reason := refusal(asked):
            return "refused", reason
        from anyscene.engines.ray_work import work

        messages = list(work(shared[0], item, one=how == "one"))
        return messages[-1] if how == "one" or messages[-1:][0][0] == "failed" else ("part", [part for _, part in messages])

    return stream if how == "stream" else whole


def make_holder() -> type:
    """The class of an actor that holds one object and calls its methods. The object is made at the first call, so that errors are told."""
    refusal = make_refusal()

    class Holder:
        def __init__(self, asked: dict[str, str], pickled: bytes) -> None:
            self.asked = asked
            self.pickled = pickled
            self.held: list[Any] = []

        def call(self, method: str, *arguments: Any) -> Message:
            if reason := refusal(self.asked):
                return "refused", reason
            from anyscene.engines.ray_work import called

            return called(self.held, self.pickled, method, arguments)

    return Holder


def make_refusal() -> Callable[[dict[str, str]], str]:
    """A function that says why a worker cannot be used; an empty text where it can."""

    def refusal(asked: dict[str, str]) -> str:
        import importlib
        import platform
        import socket

        differing = []
        for name, wanted in asked.items():
            try:
                found = platform.python_version() if name == "python" else str(importlib.import_module(name).__version__)
            except ImportError as error:
                found = f"none ({error})"
            if found != wanted:
                differing.append(f"{name} is {found} there and {wanted} here")
        if not differing:
            return ""
        return (
            f"The node {socket.gethostname()} of the Ray cluster has other software than this machine: {', '.join(differing)}. What it "
            "made could differ. Install the same versions on every node."
        )

    return refusal


_held: dict[Any, Any] = {}  # what the items of the present run need, by its reference


def work(shared: Any, item: Any, *, one: bool = False) -> Iterator[Message]:
    """Does an item in a worker, one thread strong.

    Args:
        shared: The reference of the pickled function and of what is common to all items.
        item: The item.
        one: Whether the function gives one result; else it is a generator of parts.
    """
    try:
        if shared not in _held:
            _held.clear()
            _held[shared] = _fetched(shared)
        function, common = _held[shared]
        if one:
            yield "part", function(common, item)
        else:
            for part in function(common, item):
                yield "part", part
    except Exception as error:  # recorded, and raised again where it was asked for
        yield "failed", Failure.of(error)


def called(held: list[Any], pickled: bytes, method: str, arguments: tuple[Any, ...]) -> Message:
    """Calls a method of the object that `held` holds, or is to hold. No method: the object is only made."""
    from ray import cloudpickle

    try:
        if not held:
            make, made_of = cloudpickle.loads(pickled)
            held.append(make(*made_of))
        return "part", getattr(held[0], method)(*arguments) if method else None
    except Exception as error:  # recorded, and raised again where it was asked for
        return "failed", Failure.of(error)


def received(message: Message) -> Any:
    """The result that a message of a worker brings.

    Raises:
        RunError: The worker cannot be used.
        Exception: The error that it met, as itself.
    """
    kind, value = message
    if kind == "refused":
        raise RunError(value)
    if kind == "failed":
        value.reraise()
    return value


@contextlib.contextmanager
def losses_told() -> Iterator[None]:
    """Turns what Ray says of lost workers, nodes and objects into one line.

    Raises:
        RunError: Ray has given up.
    """
    from ray.exceptions import OutOfMemoryError, RayError, RayTaskError

    try:
        yield
    except RayTaskError as error:  # not met in the work itself, which catches its errors: it could not even begin
        raise RunError(f"A worker of the Ray cluster cannot be used: {first_line(error.cause or error)}.") from error
    except RayError as error:
        what = "memory ran out there" if isinstance(error, OutOfMemoryError) else f"{type(error).__name__}: {first_line(error)}"
        raise RunError(
            f"A worker of the Ray cluster was lost, again and again, with the same piece of work ({what}). What is finished is kept: run "
            "the same command again to go on."
        ) from error


def first_line(error: BaseException) -> str:
    """The first line of what an error says, without its full stop."""
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__


def _fetched(shared: Any) -> Any:
    import ray
    from ray import cloudpickle

    from anyscene.engines.local_engine import use_one_thread

    use_one_thread()
    return cloudpickle.loads(ray.get(shared))
