"""A model on the workers of an engine: each loads it by its name where it works, and is given whole batches of captions."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anyscene.engines import Engine
from anyscene.engines.crew import Crew
from anyscene.errors import AnySceneError, ModelError, SpecError
from anyscene.media import Media
from anyscene.media.unread import UnreadMedia
from anyscene.models.loading import load_model, model_names
from anyscene.models.protocol import Failure, Finds, KnowsTruth

__all__ = ["RemoteModel", "RemotePainter", "check_remote", "load_remote_model"]

_STAYS_HERE = {
    "folder": "takes pictures from a folder of this machine",
    "openai": "asks a server over HTTP, and keeps its budget here",
}
_REMEMBERED = 1 << 14
"""Media of which is known what they show and nobody has asked yet."""


@dataclass(frozen=True, slots=True)
class _Painted:
    """What a worker made of a batch."""

    media: Sequence[Media | Failure]
    details: Sequence[Mapping[str, object] | None]
    batch_size: int
    stopped: str | None


class _Easel:
    """The model on a worker."""

    def __init__(self, name: str, options: Mapping[str, object]) -> None:
        self.model = load_model(name, **options)

    def facts(self) -> dict[str, object]:
        model = self.model
        return {
            "name": model.name,
            "revision": model.revision,
            "modality": model.modality,
            "settings": dict(model.settings),
            "finds": isinstance(model, Finds),
            "knows_truth": isinstance(model, KnowsTruth),
        }

    def batch_size(self) -> int:
        return self.model.batch_size

    def paint(self, captions: Sequence[str], seeds: Sequence[int]) -> _Painted:
        model = self.model
        made = model.generate(captions, seeds)
        details: list[Mapping[str, object] | None] = [None] * len(made)
        if isinstance(model, KnowsTruth):
            for place, (one, caption, seed) in enumerate(zip(made, captions, seeds, strict=False)):
                details[place] = None if isinstance(one, Failure) else model.details(caption, seed)
        stopped = getattr(model, "stopped", None)
        return _Painted([_light(one) for one in made], details, model.batch_size, None if stopped is None else str(stopped))

    def details(self, caption: str, seed: int) -> Mapping[str, object]:
        model = self.model
        assert isinstance(model, KnowsTruth)
        return model.details(caption, seed)


def _light(one: Media | Failure) -> Media | Failure:
    """Without its frames, which are in the file's bytes."""
    return UnreadMedia(one.data, one.modality, one.suffix, one.fps) if isinstance(one, Media) else one


class RemoteModel:
    """A model (`Model`) whose pictures are made by the workers of a crew. Safe to use from as many threads as it has ``workers``.

    Attributes:
        name, revision, modality, settings, batch_size: those of the model.
        workers: how many batches are worth giving at once.
        stopped: why nothing more can be made, where a worker says so.
        served: how many media came back so far.
    """

    def __init__(self, crew: Crew) -> None:
        facts: Mapping[str, Any] = crew.facts
        self.crew = crew
        self.name, self.revision, self.modality = str(facts["name"]), str(facts["revision"]), str(facts["modality"])
        self.settings: Mapping[str, object] = facts["settings"]
        self.batch_size: int = crew.ask("batch_size")
        self.workers = crew.number
        self.stopped: ModelError | None = None
        self.served = 0
        self._known: OrderedDict[tuple[str, int], Mapping[str, object]] = OrderedDict()
        self._lock = threading.Lock()

    def generate(self, captions: Sequence[str], seeds: Sequence[int]) -> list[Media | Failure]:
        """One media, or the reason why there is none, for each caption, in order.

        Raises:
            ModelError: the model cannot be used, or is not the same on all nodes.
            RunError: workers were lost, again and again, with these captions.
        """
        painted: _Painted = self.crew.ask("paint", list(captions), list(seeds))
        with self._lock:
            self.served += len(painted.media)
            self.batch_size = min(self.batch_size, painted.batch_size)
            if painted.stopped is not None and self.stopped is None:
                self.stopped = ModelError(painted.stopped)
            for key, details in zip(zip(captions, seeds, strict=False), painted.details, strict=False):
                if details is not None:
                    self._known[key] = details
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return list(painted.media)

    def close(self) -> None:
        """Ends the workers."""
        self.crew.close()


class RemotePainter(RemoteModel):
    """A model that knows what its media really show (`KnowsTruth`), on workers."""

    def details(self, caption: str, seed: int) -> Mapping[str, object]:
        """What the media of a caption and a seed really shows; it came with the media."""
        with self._lock:
            known = self._known.pop((caption, seed), None)
        found: Mapping[str, object] = self.crew.ask("details", caption, seed) if known is None else known
        return found


def check_remote(name: str) -> None:
    """Sees at once, without loading anything, whether a model may be used on workers.

    Raises:
        SpecError: there is no such back-end, or it works where the command runs and nowhere else.
    """
    backend = name.partition(":")[0]
    if backend in _STAYS_HERE:
        raise SpecError(f"model {name} {_STAYS_HERE[backend]}: it does not run on other machines. Leave --engine out")
    if backend not in model_names():
        raise SpecError(f"model {name!r}: there is no back-end {backend!r}; there are {', '.join(model_names())}")


def load_remote_model(engine: Engine, name: str, options: Mapping[str, object], *, number: int | None = None) -> RemoteModel:
    """A model on the workers of an engine.

    Args:
        engine: where the workers are.
        name: as `load_model` takes it.
        options: likewise; paths must be there on every node.
        number: of workers; as many as the engine has, by default.

    Raises:
        SpecError: the model cannot be used on workers, there is no such back-end, or an option that it does not have.
        ModelError: it cannot be loaded on a worker.
        RunError: there is no room for a worker.
    """
    check_remote(name)
    try:
        crew = Crew(engine, _Easel, (name, dict(options)), what=f"model {name}", error=ModelError, number=number)
    except ModelError as error:
        raise ModelError(f"model {name} cannot be used on a worker: {error}") from error
    try:
        if crew.facts["finds"]:
            raise SpecError(f"model {name} finds its pictures where they lie: it does not run on other machines. Leave --engine out")
        return RemotePainter(crew) if crew.facts["knows_truth"] else RemoteModel(crew)
    except AnySceneError:
        crew.close()
        raise
