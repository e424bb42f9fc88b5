"""Fresh scenes like a benchmark: the same mix of skills and complexity, none of its prompts.

For every profile of the benchmark (`anyscene.benchmarks.skills`) scenes are drawn from the space that has just so many things, attributes
and relations, in that space's keyed order, and kept where the kinds agree and nothing of the benchmark comes near (`leaks`). How many of
each is the benchmark's share, to one scene. Same items, same seed, same number: same rows.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from anyscene.benchmarks.benchmark import Items
from anyscene.benchmarks.leaks import THRESHOLD, LeakIndex
from anyscene.benchmarks.skills import ANY, ATTRIBUTES, RELATIONS, Profile, attribute_kind, fitted, profiles_of, skill_shares
from anyscene.dataset import RecordOptions, SceneRecords, record_schema
from anyscene.dataset.scene_space import row_ids
from anyscene.errors import CapacityError, EmptySpaceError, SpecError
from anyscene.scene.batch import SceneBatch
from anyscene.scene.keyed import mix
from anyscene.space import SceneSpec, Space
from anyscene.taxonomy import RELATION_TYPES, Taxonomy, load_taxonomy

__all__ = ["LikeReport", "LikeSource", "quotas", "scenes_like"]

CHUNK = 2048
PATIENCE = 400
"""Rows that are looked at for each that is wanted, before a profile's kinds are loosened."""
LEAST_PATIENCE = 4_000
SHARED = 4
"""Vocabularies that are kept while profiles of their kinds are drawn; each is large."""


@dataclass(frozen=True)
class LikeReport:
    """How the scenes agree with the benchmark.

    Attributes:
        benchmark: short name.
        scenes: made.
        profiles: different ones of the benchmark.
        silent: items that say too little to have a profile; they are not in the mix.
        shrunk: items that ask for more than a scene can hold; theirs are smaller.
        loosened: scenes whose attributes or relations are of other kinds, since there are none of the kinds asked for.
        overlaps: scenes that were drawn and left out, because they are or are near a prompt of the benchmark.
        wanted: share of the benchmark's prompts that ask for each skill.
        got: share of the scenes that do.
        complexity: (benchmark's, scenes') mean number of elements.
    """

    benchmark: str
    scenes: int
    profiles: int
    silent: int
    shrunk: int
    loosened: int
    overlaps: int
    wanted: Mapping[str, float]
    got: Mapping[str, float]
    complexity: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "benchmark": self.benchmark,
            "scenes": self.scenes,
            "profiles": self.profiles,
            "items_without_profile": self.silent,
            "items_shrunk": self.shrunk,
            "scenes_loosened": self.loosened,
            "overlaps_left_out": self.overlaps,
            "skills": {
                name: {"benchmark": self.wanted.get(name, 0.0), "scenes": self.got.get(name, 0.0)}
                for name in sorted({*self.wanted, *self.got})
            },
            "complexity": {"benchmark": self.complexity[0], "scenes": self.complexity[1]},
        }


@dataclass
class LikeSource:
    """The scenes as a source of rows for `anyscene.dataset.generate`; all of them are held in memory.

    Attributes:
        rows: the records, indices from 0.
        origin: what identifies them.
    """

    rows: pa.Table
    origin: Mapping[str, object]

    def table(self, start: int, stop: int, *, questions: bool = True) -> pa.Table:
        """Rows ``start`` to ``stop - 1``."""
        return self.rows.slice(start, stop - start).select(record_schema(questions).names)

    @property
    def capacity(self) -> int:
        """How many there are."""
        return int(self.rows.num_rows)

    def manifest(self) -> dict[str, object]:
        """What identifies them."""
        return dict(self.origin)


def scenes_like(
    items: Items,
    n: int,
    *,
    seed: int = 0,
    taxonomy: Taxonomy | str | Path | None = None,
    options: RecordOptions | None = None,
    familiar: bool = True,
    threshold: float = THRESHOLD,
    advance: Callable[[int], object] | None = None,
) -> tuple[LikeSource, LikeReport]:
    """Makes scenes like a benchmark's.

    Args:
        items: of the benchmark.
        n: how many scenes.
        seed: which of the many.
        taxonomy: the vocabulary; None for the one that ships.
        options: how scenes are put into words.
        familiar: only things that everybody knows, as benchmarks ask for; where the vocabulary has any.
        threshold: of the similarity to a prompt from which a scene is left out.
        advance: is told how many more are found.

    Raises:
        SpecError: fewer than one scene is asked for, or no item has a profile.
        CapacityError: there are not enough different scenes.
    """
    if n < 1:
        raise SpecError(f"{n} scenes: ask for at least 1")
    given, silent = profiles_of(items)
    if not given:
        raise SpecError(f"the items of {items.benchmark} say nothing of things, attributes or relations; there is no mix to follow")
    wanted: Counter[Profile] = Counter()
    for profile, number in given.items():
        wanted[fitted(profile)] += number
    vocabulary = taxonomy if isinstance(taxonomy, Taxonomy) else load_taxonomy(taxonomy)
    maker = _Maker(vocabulary, LeakIndex(items, threshold), seed, options or RecordOptions(), _modality(items), familiar)
    wished = quotas(wanted, n)
    tables: dict[Profile, list[pa.Table]] = {profile: [] for profile in wished}
    got: Counter[Profile] = Counter()
    # those of the same kinds together, the most attributes first: they share what was made of the vocabulary
    for profile in sorted(wished, key=lambda one: (_kinds(one), -len(one.attributes))):
        for table, of in maker.scenes(profile, wished[profile]):
            tables[profile].append(table)
            got[of] += table.num_rows
            if advance:
                advance(table.num_rows)
    rows = _mixed(pa.concat_tables([table for own in tables.values() for table in own]), seed)
    report = LikeReport(
        benchmark=items.benchmark,
        scenes=rows.num_rows,
        profiles=len(given),
        silent=silent,
        shrunk=sum(number for profile, number in given.items() if fitted(profile) != profile),
        loosened=maker.loosened,
        overlaps=maker.overlaps,
        wanted=skill_shares(given),
        got=skill_shares(got),
        complexity=(_mean_complexity(given), _mean_complexity(got)),
    )
    origin = {
        "like": items.benchmark,
        "items_digest": items.digest,
        "taxonomy": {"name": vocabulary.name, "digest": vocabulary.digest},
        "seed": seed,
        "scenes": n,
        "familiar": familiar,
        "threshold": threshold,
        "rows_digest": _digest(rows),
    }
    return LikeSource(rows, origin), report


def quotas(profiles: Mapping[Profile, int], n: int) -> dict[Profile, int]:
    """How many scenes of each profile make up `n`: shares rounded so that the sum is right (largest remainders), none of 0."""
    total = sum(profiles.values())
    exact = {profile: n * number / total for profile, number in sorted(profiles.items())}
    found = {profile: math.floor(share) for profile, share in exact.items()}
    rest = sorted(exact, key=lambda profile: (found[profile] - exact[profile], profile))[: n - sum(found.values())]
    return {profile: number + (profile in rest) for profile, number in found.items() if number + (profile in rest)}


@dataclass
class _Worded(SceneRecords):
    """Scenes drawn from a narrowed vocabulary in the words of the whole: a lexicon is made once, not once for each narrowing.

    Attributes:
        drawn: where the scenes come from; their ids and digests are its own.
    """

    drawn: SceneRecords | None = None

    def batch(self, start: int, stop: int) -> SceneBatch:
        """Scenes ``start`` to ``stop - 1``."""
        return self._drawn.batch(start, stop)

    @property
    def capacity(self) -> int:
        """How many there are."""
        return self._drawn.capacity

    @property
    def _drawn(self) -> SceneRecords:
        assert self.drawn is not None
        return self.drawn

    def table(self, start: int, stop: int, *, questions: bool = True) -> pa.Table:
        """Rows ``start`` to ``stop - 1`` under the ids of where they come from."""
        found = super().table(start, stop, questions=questions).cast(record_schema(questions))
        digest = self._drawn.space.digest
        index = found["index"].to_numpy()
        columns = {"id": row_ids(index, f"{digest}:{self.seed}"), "spec_digest": pa.array([digest] * len(index), pa.string())}
        for name, column in columns.items():
            found = found.set_column(found.schema.get_field_index(name), name, column)
        return found


def _kinds(profile: Profile) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
    """The kinds of attributes and of relations that a profile's scenes are drawn from (none: any), and whether things are counted."""
    attributes, relations = (() if ANY in own else tuple(sorted(set(own))) for own in (profile.attributes, profile.relations))
    return attributes, relations, "count" in profile.attributes


class _Maker:
    """Draws the scenes of one profile after another."""

    def __init__(self, taxonomy: Taxonomy, index: LeakIndex, seed: int, options: RecordOptions, modality: str, familiar: bool) -> None:
        self._taxonomy, self._index, self._seed, self._options, self._modality = taxonomy, index, seed, options, modality
        self._familiar = familiar
        self._narrow: dict[tuple[tuple[str, ...], tuple[str, ...], bool], Space] = {}
        self._whole: dict[bool, Space] = {}
        self._seen: set[str] = set()
        self.loosened = self.overlaps = 0

    def scenes(self, profile: Profile, quota: int) -> Iterator[tuple[pa.Table, Profile]]:
        """Tables of records, `quota` rows together, each with the profile that they have.

        Raises:
            CapacityError: there are not enough.
        """
        left = quota
        ways = [profile, replace(profile, relations=(ANY,) * len(profile.relations))]
        ways.append(replace(ways[1], attributes=tuple(one if one == "count" else ANY for one in profile.attributes)))
        ways.append(replace(ways[2], attributes=(ANY,) * len(profile.attributes), scene=0))
        for way in dict.fromkeys(ways):
            for table in self._draw(way, left):
                left -= table.num_rows
                self.loosened += table.num_rows if way != profile else 0
                yield table, way
            if not left:
                return
        kinds = ", ".join((*profile.attributes, *profile.relations)) or "nothing else"
        raise CapacityError(
            f"{quota:,} scenes of {profile.objects} things with {kinds} are wanted, {quota - left:,} were found far enough from the "
            "benchmark; ask for fewer"
        )

    def _draw(self, profile: Profile, quota: int) -> Iterator[pa.Table]:
        """Fresh scenes of just this profile, as many as patience finds."""
        try:
            source = self._source(profile)
            patience = min(source.capacity, max(LEAST_PATIENCE, PATIENCE * quota))
        except EmptySpaceError:
            return
        start = 0
        while start < patience and quota:
            stop = min(start + min(CHUNK, max(64, 2 * quota)), patience)
            fitting = start + np.flatnonzero(self._fit(source, start, stop, profile))
            while len(fitting) and quota:  # only rows that fit are put into words, no more of them than are wanted
                some, fitting = fitting[:quota], fitting[quota:]
                table = source.table(int(some[0]), int(some[-1]) + 1).take(pa.array(some - some[0]))
                bare = table.select(["caption", "graph"]).to_pylist()
                kept = [at for at, row in enumerate(bare) if self._fresh(row)]
                if kept:
                    yield table.take(pa.array(kept))
                    quota -= len(kept)
            start = stop

    def _source(self, profile: Profile) -> _Worded:
        """Scenes with just so many things, attributes, relations and scene attributes, of the kinds that the profile names.

        Raises:
            EmptySpaceError: there are none.
        """
        elements, attributes, relations = profile.complexity, len(profile.attributes), len(profile.relations)
        spec = SceneSpec(
            complexity=(elements, elements),
            objects=(profile.objects, profile.objects),
            attributes=(attributes, attributes),
            relations=(relations, relations),
            scene_attributes=(profile.scene, profile.scene),
            counts="count" in profile.attributes,
            modality=self._modality,
            familiar=self._familiar,
        )
        kinds = _kinds(profile)
        if spec.counts not in self._whole:
            self._whole[spec.counts] = Space(self._taxonomy, spec)
        whole = self._whole[spec.counts]
        if kinds not in self._narrow:
            while len(self._narrow) >= SHARED:
                self._narrow.pop(next(iter(self._narrow)))
            first = Space(narrowed(whole.taxonomy, frozenset(kinds[0]), frozenset(kinds[1])), spec)
            first.sets = whole.sets  # scene attributes are never narrowed
            self._narrow[kinds] = first
        first = self._narrow[kinds]
        space = Space(first.taxonomy, spec, sharing=first)
        drawn = SceneRecords(spec, first.taxonomy, self._seed, self._options, _space=space)
        return _Worded(spec, self._taxonomy, self._seed, self._options, _space=whole, drawn=drawn)

    def _fit(self, source: _Worded, start: int, stop: int, profile: Profile) -> NDArray[np.bool_]:
        """``(rows,)`` are the attributes of the kinds that the profile asks for? Relations are by the vocabulary that is drawn from."""
        if all(one == ANY for one in profile.attributes):
            return np.ones(stop - start, dtype=np.bool_)
        batch, taxonomy = source.batch(start, stop), source.space.taxonomy
        kinds = np.array([attribute_kind(name) for name in taxonomy.attribute_types.names])
        own = kinds[taxonomy.attributes.type_index[batch.attributes]]
        row = batch.row_of_object[batch.object_of_attribute]
        wanted = Counter(profile.attributes)
        fits: NDArray[np.bool_] = np.bincount(row, own == "count", stop - start) == wanted["count"]
        for kind, number in wanted.items():
            if kind not in (ANY, "count"):
                fits &= np.bincount(row, own == kind, stop - start) >= number
        return fits

    def _fresh(self, row: Mapping[str, Any]) -> bool:
        if row["caption"] in self._seen:
            return False
        if self._index.look(row["caption"], row["graph"]) is not None:
            self.overlaps += 1
            return False
        self._seen.add(row["caption"])
        return True


def narrowed(taxonomy: Taxonomy, attributes: frozenset[str], relations: frozenset[str]) -> Taxonomy:
    """A vocabulary in which only some kinds of attributes and relations fit anything; an empty set keeps all.

    Args:
        taxonomy: the whole.
        attributes: kinds of ``ATTRIBUTES``.
        relations: kinds of ``RELATIONS``.
    """
    if not attributes and not relations:
        return taxonomy
    found = taxonomy
    if attributes:
        types = {name for kind in attributes for name in ATTRIBUTES[kind]}
        keep = np.array([name in types for name in taxonomy.attribute_types.names])[taxonomy.attributes.type_index]
        found = replace(found, attributes=replace(taxonomy.attributes, fits=taxonomy.attributes.fits & keep[:, None]))
    if relations:
        types = {name for kind in relations for name in RELATIONS[kind]}
        keep = np.array([name in types for name in RELATION_TYPES])[taxonomy.relations.type_index]
        found = replace(found, relations=replace(taxonomy.relations, subjects=taxonomy.relations.subjects & keep[:, None]))
    said = json.dumps([taxonomy.digest, sorted(attributes), sorted(relations)])
    found = replace(found, digest=hashlib.sha256(said.encode()).hexdigest()[: len(taxonomy.digest)])
    worked_out = {name: value for name, value in vars(taxonomy).items() if name not in Taxonomy.__dataclass_fields__}
    vars(found).update(worked_out)  # its cached properties are about words, which are the same
    return found


def _modality(items: Items) -> str:
    return str(items.records[0]["modality"]) if items.records else "image"


def _mean_complexity(profiles: Mapping[Profile, int]) -> float:
    return sum(profile.complexity * number for profile, number in profiles.items()) / sum(profiles.values())


def _mixed(rows: pa.Table, seed: int) -> pa.Table:
    """The rows in an order that has nothing to do with their profiles, numbered anew."""
    keys = mix(np.arange(1, rows.num_rows + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) ^ np.uint64(seed & (2**64 - 1)))
    mixed = rows.take(pa.array(np.argsort(keys, kind="stable"))).combine_chunks()
    return mixed.set_column(mixed.schema.get_field_index("index"), "index", pa.array(np.arange(rows.num_rows)))


def _digest(rows: pa.Table) -> str:
    return hashlib.sha256("\n".join(rows["id"].to_pylist()).encode()).hexdigest()[:16]
