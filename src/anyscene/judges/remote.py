"""A judge on the workers of an engine: each loads it by its name where it works, and is asked about one media at a time."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from anyscene.engines import Engine
from anyscene.engines.crew import Crew
from anyscene.errors import JudgeError, SpecError
from anyscene.judges.loading import judge_names, load_judge
from anyscene.judges.protocol import Answer
from anyscene.language.question import Question
from anyscene.media import Media
from anyscene.media.unread import UnreadMedia

__all__ = ["RemoteJudge", "check_remote", "load_remote_judge", "stays_here"]

_STAYS_HERE = {
    "openai": "asks servers over HTTP; give several of them with base_url=URL1,URL2 to have more at once",
    "human": "asks people through a folder of this machine",
    "stored": "takes answers from a store of this machine",
}
_TOLD = ("examinable", "frames", "max_pixels", "mode")
"""What others read of a judge besides the protocol: the doctor, and whoever estimates what it costs."""


class _Bench:
    """The judge on a worker."""

    def __init__(self, name: str, options: Mapping[str, object]) -> None:
        self.judge = load_judge(name, **options)

    def facts(self) -> dict[str, object]:
        judge = self.judge
        told = {name: getattr(judge, name) for name in _TOLD if hasattr(judge, name)}
        return {"name": judge.name, "revision": judge.revision, "template": judge.template, **told}

    def answer(self, data: bytes, modality: str, suffix: str, questions: Sequence[Question]) -> list[Answer]:
        return self.judge.answer(UnreadMedia(data, modality, suffix), questions)


class RemoteJudge:
    """A judge (`Judge`) whose answers are given by the workers of a crew. Safe to use from as many threads as it has ``workers``.

    Attributes:
        name, revision, template: those of the judge; likewise what it has of ``examinable``, ``frames``, ``max_pixels`` and ``mode``.
        workers: how many media are worth asking about at once.
        served: how many questions came back so far.
        takes_files: media need not be decoded for it.
    """

    takes_files = True

    def __init__(self, crew: Crew) -> None:
        facts: Mapping[str, Any] = crew.facts
        self.crew = crew
        self.name, self.revision, self.template = str(facts["name"]), str(facts["revision"]), str(facts["template"])
        self.workers = crew.number
        self.served = 0
        self._lock = threading.Lock()
        for name in _TOLD:
            if name in facts:
                setattr(self, name, facts[name])

    def answer(self, media: Media, questions: Sequence[Question]) -> list[Answer]:
        """One answer for each question, in order.

        Raises:
            JudgeError: the judge cannot be used, or is not the same on all nodes.
            RunError: workers were lost, again and again, with this media.
        """
        answers: list[Answer] = self.crew.ask("answer", media.data, media.modality, media.suffix, list(questions))
        with self._lock:
            self.served += len(answers)
        return answers

    def close(self) -> None:
        """Ends the workers."""
        self.crew.close()


def stays_here(name: str) -> str | None:
    """Why a judge is asked from this process whatever the engine; None where workers can have it."""
    return _STAYS_HERE.get(name.partition(":")[0])


def check_remote(name: str) -> None:
    """Sees at once, without loading anything, whether a judge may be used on workers.

    Raises:
        SpecError: there is no such back-end, or it works where the command runs and nowhere else.
    """
    if reason := stays_here(name):
        raise SpecError(f"judge {name} {reason}: it does not run on other machines. Leave --engine out")
    if (backend := name.partition(":")[0]) not in judge_names():
        raise SpecError(f"judge {name!r}: there is no back-end {backend!r}; there are {', '.join(judge_names())}")


def load_remote_judge(engine: Engine, name: str, options: Mapping[str, object], *, number: int | None = None) -> RemoteJudge:
    """A judge on the workers of an engine.

    Args:
        engine: where the workers are.
        name: as `load_judge` takes it.
        options: likewise; paths must be there on every node.
        number: of workers; as many as the engine has, by default.

    Raises:
        SpecError: the judge cannot be used on workers, there is no such back-end, or an option that it does not have.
        JudgeError: it cannot be loaded on a worker.
        RunError: there is no room for a worker.
    """
    check_remote(name)
    try:
        return RemoteJudge(Crew(engine, _Bench, (name, dict(options)), what=f"judge {name}", error=JudgeError, number=number))
    except JudgeError as error:
        raise JudgeError(f"judge {name} cannot be used on a worker: {error}") from error
