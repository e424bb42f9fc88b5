"""How an error of a worker reaches the process that asked: as itself, with where it came about as its cause."""

from __future__ import annotations

import pickle
import traceback
from dataclasses import dataclass

from anyscene.errors import RunError

__all__ = ["Failure", "WorkerTraceback"]


class WorkerTraceback(Exception):
    """Where an error came about in a worker process."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error that a worker caught, on its way."""

    error: Exception
    trace: str

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """The error that is being handled; one that cannot be sent is told as a `RunError`."""
        trace = traceback.format_exc()
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # whatever a foreign exception does when it is pickled
            error = RunError(f"A worker process failed: {type(error).__name__}: {error}")
        return cls(error, trace)

    def reraise(self) -> None:
        """Raises the error here.

        Raises:
            Exception: the error.
        """
        raise self.error from WorkerTraceback(self.trace)
