"""Scenes for models to paint, one for each real picture: of the same topic where it has a caption, else as they come.

A scene is of the topic of a caption where its objects, or kinds that they belong to, are nouns of the caption. Each real caption takes the
scene that shares most of them, so a noun has the same share on both sides as far as there are scenes for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa

from anyscene.dataset import SceneSpace
from anyscene.dataset.schema import record_schema
from anyscene.errors import CapacityError, EmptySpaceError, SpecError
from anyscene.moderation.matching import Topics, match_topics
from anyscene.space import SceneSpec
from anyscene.taxonomy import Taxonomy

__all__ = ["SPEC", "Chosen", "TopicMatch", "candidate_scenes", "choose_scenes"]

SPEC = SceneSpec(complexity=(3, 7), realism=1.0, familiar=True)
"""Of scenes that are drawn for photographs, unless another is given: plausible ones of things that everybody knows."""
LOOK = 8
"""Scenes looked at for each that is wanted."""


@dataclass(frozen=True, slots=True)
class TopicMatch:
    """How well the chosen scenes match the captions.

    Attributes:
        captions: real captions.
        with_nouns: those that hold a noun of the vocabulary.
        shared: those whose scene shares a noun.
        nouns: different nouns in the captions.
        distance: total variation between the shares of nouns in the captions and in their scenes, from 0 (the same) to 1.
    """

    captions: int
    with_nouns: int
    shared: int
    nouns: int
    distance: float

    def to_dict(self) -> dict[str, Any]:
        """As it stands in ``dataset.json``."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Scenes to be painted.

    Attributes:
        scenes: the records.
        match: how well they match; None where there were no captions.
    """

    scenes: pa.Table
    match: TopicMatch | None


def candidate_scenes(
    captions: Sequence[str], taxonomy: Taxonomy, topics: Topics, *, spec: SceneSpec | None = None, seed: int = 0
) -> pa.Table:
    """Scenes of the things that captions name, several for each caption; of anything where these have no scenes.

    Raises:
        CapacityError: the spec has fewer scenes than there are captions.
    """
    nouns = sorted({noun for caption in captions for noun in topics.of(caption)})
    spec = spec or SPEC
    for only in (tuple(nouns), spec.only):
        if not only and nouns and only != spec.only:
            continue
        try:
            source = SceneSpace(replace(spec, only=only), taxonomy=taxonomy).source(seed)
        except EmptySpaceError:
            continue
        if source.capacity >= len(captions):
            return source.table(0, min(LOOK * len(captions), source.capacity)).cast(record_schema())
    raise CapacityError(f"{len(captions):,} scenes were asked for, one for each real picture, and the spec does not have so many; widen it")


def choose_scenes(captions: Sequence[str], candidates: pa.Table, topics: Topics, taxonomy: Taxonomy | None = None) -> Chosen:
    """One scene for each caption, by topic where they share one, and else the first that are left.

    Args:
        captions: of the real pictures, in the order in which they choose; those without may be empty.
        candidates: records to choose from.
        topics: finds nouns.
        taxonomy: knows what kinds things belong to; None counts only the things themselves.

    Raises:
        SpecError: there are fewer candidates than captions.
    """
    if candidates.num_rows < len(captions):
        raise SpecError(
            f"{candidates.num_rows:,} scenes for {len(captions):,} real pictures: give at least one for each, or take fewer with -n"
        )
    wanted = [topics.of(caption) for caption in captions]
    kinds = _Kinds(taxonomy)
    offered = [kinds.of(graph) for graph in candidates["graph"].to_pylist()]
    places = match_topics(wanted, offered)
    taken = {place for place in places if place is not None}
    rest = iter([place for place in range(candidates.num_rows) if place not in taken])
    chosen = [next(rest) if place is None else place for place in places]
    match = _match(captions, wanted, [offered[place] for place in chosen], len(taken)) if any(captions) else None
    return Chosen(candidates.take(sorted(chosen)), match)


def _match(captions: Sequence[str], wanted: Sequence[tuple[str, ...]], given: Sequence[tuple[str, ...]], shared: int) -> TopicMatch:
    nouns = {noun for own in wanted for noun in own}
    here, there = _shares(wanted), _shares([[noun for noun in own if noun in nouns] for own in given])
    distance = sum(abs(here.get(noun, 0.0) - there.get(noun, 0.0)) for noun in sorted(nouns)) / 2
    return TopicMatch(sum(map(bool, captions)), sum(map(bool, wanted)), shared, len(nouns), round(distance, 4))


class _Kinds:
    """The things of a scene, and the kinds that they belong to by the vocabulary."""

    def __init__(self, taxonomy: Taxonomy | None) -> None:
        self._taxonomy = taxonomy
        self._names: dict[str, str] = {}
        if taxonomy is not None:
            self._names.update({node: name for node, (name, _) in taxonomy.hypernyms.items()})
            self._names.update(zip(taxonomy.objects.ids, taxonomy.objects.names, strict=True))

    def of(self, graph: Mapping[str, Any]) -> tuple[str, ...]:
        """Names, each once."""
        found: dict[str, None] = {}
        for thing in graph["objects"]:
            found[thing["name"]] = None
            place = self._taxonomy.object_index.get(thing["name"]) if self._taxonomy is not None else None
            if self._taxonomy is not None and place is not None:
                above = sorted(self._taxonomy.ancestors[place])
                found.update(dict.fromkeys(self._names[node] for node in above if node in self._names))
        return tuple(found)


def _shares(topics: Iterable[Sequence[str]]) -> dict[str, float]:
    """The share of each noun."""
    counts = Counter(noun for nouns in topics for noun in nouns)
    total = max(1, sum(counts.values()))
    return {noun: number / total for noun, number in counts.items()}
