"""Space: all scenes that a spec allows, exactly counted and numbered."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from anyscene.errors import EmptySpaceError, SpecError
from anyscene.scene.batch import SceneBatch, Shape, starts_of
from anyscene.scene.graph import SceneGraph
from anyscene.scene.keyed import key_of, permute_int
from anyscene.scene.structure import identify
from anyscene.space.contents import Contents
from anyscene.space.counting import Counter
from anyscene.space.decode import to_graph
from anyscene.space.frames import Frame, check_fit, enumerate_frames, free_frame, lay_seed
from anyscene.space.indexing import Filling, Indexer
from anyscene.space.sampler import Sampler, check_rows, put_filling
from anyscene.space.scene_sets import SceneSets
from anyscene.space.spec import SceneSpec
from anyscene.space.tables import Tables, build_tables
from anyscene.taxonomy import Taxonomy

IntArray = NDArray[np.int64]
SIZES = ("complexity", "objects", "attributes", "relations", "scene_attributes")
"""Fields of a spec that say how large scenes are, and not which words they have."""


class Space:
    """The scenes of one spec over one taxonomy, numbered from 0 to ``size - 1``.

    The number of a scene depends on spec and taxonomy alone. Scenes are numbered by complexity, then by frame (structure, and how a
    contained graph lies in it), then by filling, then by scene attributes.

    Args:
        taxonomy: the vocabulary.
        spec: which scenes.
        sharing: a space of the same vocabulary whose spec differs in ``SIZES`` alone: what was made of the words there is not made again.

    Raises:
        EmptySpaceError: no scene meets the constraints.
        SpecError: a constraint names what the taxonomy lacks, or the space to share with is of other words.
    """

    def __init__(self, taxonomy: Taxonomy, spec: SceneSpec, *, sharing: Space | None = None) -> None:
        self.spec = spec
        self.digest = spec.digest(taxonomy.digest)
        if sharing is not None:
            alike = replace(spec, **{name: getattr(sharing.spec, name) for name in SIZES})
            if sharing.digest != alike.digest(taxonomy.digest):
                raise SpecError(f"spaces share their words only where their specs differ in nothing but {', '.join(SIZES)}")
        self.tables: Tables = build_tables(taxonomy, spec) if sharing is None else sharing.tables
        self.taxonomy = self.tables.taxonomy
        if self.tables.seed:
            check_fit(spec, self.tables.seed)
        self.counter: Counter = Counter(self.tables) if sharing is None else sharing.counter
        self.sets: SceneSets = SceneSets(self.tables) if sharing is None else sharing.sets
        self.indexer: Indexer = Indexer(self.counter) if sharing is None else sharing.indexer

    @cached_property
    def frames(self) -> dict[int, tuple[Frame, ...]]:
        """Frames by complexity."""
        low, high = self.spec.complexity
        return {c: enumerate_frames(self.spec, self.tables, c) for c in range(low, high + 1)}

    @cached_property
    def structure_counts(self) -> dict[int, int]:
        """How many different structures there are of each complexity."""
        return {c: len({frame.structure.code for frame in frames}) for c, frames in self.frames.items()}

    @cached_property
    def set_counts(self) -> dict[int, int]:
        """How many sets of scene attributes there are of each allowed size."""
        low, high = self.spec.scene_attributes
        return {size: self.sets.count(size) for size in range(low, high + 1)}

    @cached_property
    def scene_counts(self) -> dict[int, int]:
        """How many scenes there are of each complexity, exactly."""
        sets = sum(self.set_counts.values())
        return {c: sets * sum(self.counter.frame(frame) for frame in frames) for c, frames in self.frames.items()}

    @cached_property
    def size(self) -> int:
        """How many scenes there are, exactly."""
        return sum(self.scene_counts.values())

    def __getitem__(self, index: int) -> SceneGraph:
        """The scene with a number.

        Raises:
            IndexError: the number is not from 0 to ``size - 1``.
        """
        frame, filling, scene = self.unrank(index)
        return to_graph(self.taxonomy, filling.nouns, filling.attributes, frame.structure.edges, filling.relations, scene)

    def index(self, graph: SceneGraph) -> int:
        """The number of a scene: ``space[space.index(graph)]`` is the same scene.

        Raises:
            SpecError: the scene is not in this space; the message says why.
        """
        nouns, attributes, edges, scene = self._words(graph)
        frame_number, filling = self._place(nouns, attributes, edges)
        low, high = self.spec.scene_attributes
        if not low <= len(scene) <= high:
            raise SpecError(f"the scene has {len(scene)} scene attributes; this space has {low} to {high}")
        before = sum(self.set_counts[size] for size in range(low, len(scene)))
        sets = sum(self.set_counts.values())
        rank = self.indexer.rank(self._all_frames[frame_number], filling)
        number = self._starts[frame_number] + rank * sets + before + self.sets.rank(scene)
        if number >= self.size or not self[number].same_scene(graph):
            raise SpecError("the scene is not in this space: a word of it is not allowed where it stands")
        return number

    def unrank(self, index: int) -> tuple[Frame, Filling, tuple[int, ...]]:
        """(frame, words, scene attributes) of the scene with a number."""
        if not 0 <= index < self.size:
            raise IndexError(f"scene {index}: the space has the scenes 0 to {self.size - 1}")
        number = bisect_right(self._starts, index) - 1
        frame = self._all_frames[number]
        rank, scene = divmod(index - self._starts[number], sum(self.set_counts.values()))
        size = self.spec.scene_attributes[0]
        while scene >= self.set_counts[size]:
            scene -= self.set_counts[size]
            size += 1
        return frame, self.indexer.unrank(frame, rank), self.sets.unrank(size, scene)

    def rows(self, seed: int) -> Sampler | UniformRows:
        """The rows of a dataset with a seed: ``.capacity`` and ``.rows(start, stop)``.

        Raises:
            EmptySpaceError: the space has no scene.
        """
        if self.spec.order == "uniform":
            return UniformRows(self, seed)
        return Sampler(self.spec, self.tables, self.frames, self.counter, self.indexer, self.sets, seed)

    @cached_property
    def _all_frames(self) -> list[Frame]:
        return [frame for frames in self.frames.values() for frame in frames]

    @cached_property
    def _starts(self) -> list[int]:
        sets = sum(self.set_counts.values())
        return [0, *accumulate(self.counter.frame(frame) * sets for frame in self._all_frames)][: len(self._all_frames)]

    @cached_property
    def _frame_numbers(self) -> dict[str, int]:
        return {frame.code: number for number, frame in enumerate(self._all_frames)}

    def _words(self, graph: SceneGraph) -> tuple[list[int], list[tuple[int, ...]], dict[tuple[int, int], int], tuple[int, ...]]:
        """Look up the words of a graph."""

        def find(word: str, index: dict[str, int], what: str) -> int:
            if word.casefold() not in index:
                raise SpecError(f"the scene has the {what} {word!r}, which the taxonomy lacks")
            return index[word.casefold()]

        taxonomy = self.taxonomy
        place = {one.id: i for i, one in enumerate(graph.objects)}
        nouns = [find(one.name, taxonomy.object_index, "object") for one in graph.objects]
        order = Contents(self.counter).in_word_order
        attributes = []
        for owner in graph.objects:
            values = tuple(taxonomy.find_attribute(a.type, a.value) for a in owner.attributes)
            if -1 in values:
                unknown = owner.attributes[values.index(-1)]
                raise SpecError(f"the scene has the attribute {unknown.type}={unknown.value}, which the taxonomy lacks")
            attributes.append(order(values))
        edges = {(place[r.subject], place[r.object]): find(r.predicate, taxonomy.relation_index, "relation") for r in graph.relations}
        if len({frozenset(edge) for edge in edges}) < len(graph.relations):
            raise SpecError("the scene has two relations between one pair of objects; scenes of a space have at most one")
        scene = []
        for one in graph.scene_attributes:
            name = (one.type.casefold(), one.value.casefold())
            if name not in taxonomy.scene_attribute_index:
                raise SpecError(f"the scene has the scene attribute {one.type}={one.value}, which the taxonomy lacks")
            scene.append(taxonomy.scene_attribute_index[name])
        return nouns, attributes, edges, tuple(scene)

    def _place(self, nouns: list[int], attributes: list[tuple[int, ...]], edges: dict[tuple[int, int], int]) -> tuple[int, Filling]:
        """The frame of a graph and its words by position in it."""
        complexity = len(nouns) + sum(map(len, attributes)) + len(edges)
        low, high = self.spec.complexity
        if not low <= complexity <= high:
            raise SpecError(f"the scene has complexity {complexity}; this space has {low} to {high}")
        found = identify(tuple(map(len, attributes)), tuple(edges))
        if found is None:
            raise SpecError("the scene has a directed circle of relations; scenes of a space have none")
        structure, order = found
        positions = {node: position for position, node in enumerate(order)}
        frame = free_frame(structure)
        if self.tables.seed:
            at = {noun: positions[node] for node, noun in enumerate(nouns)}
            missing = [noun for noun in self.tables.seed.nouns if noun not in at]
            if missing:
                raise SpecError(f"the scene lacks {self.taxonomy.objects.names[missing[0]]!r} of the graph to contain")
            frame = lay_seed(structure, self.tables.seed, [at[noun] for noun in self.tables.seed.nouns])
        if frame.code not in self._frame_numbers:
            raise SpecError("the structure of the scene is not one that this space has")
        number = self._frame_numbers[frame.code]
        turned = dict(_same_places(frame, self._all_frames[number]))
        positions = {node: turned[position] for node, position in positions.items()}
        at_position = {position: node for node, position in positions.items()}
        moved = {(positions[a], positions[b]): r for (a, b), r in edges.items()}
        return number, Filling(
            tuple(nouns[at_position[i]] for i in range(len(nouns))),
            tuple(attributes[at_position[i]] for i in range(len(nouns))),
            tuple(moved[edge] for edge in structure.edges),
        )


def _same_places(one: Frame, other: Frame) -> Iterator[tuple[int, int]]:
    """Positions of two frames of one code that stand for each other."""
    copies = {(part.component, part.seeds, part.given): part.copies for part in other.parts}
    for part in one.parts:
        for mine, theirs in zip(part.copies, copies[part.component, part.seeds, part.given], strict=True):
            yield from zip(mine, theirs, strict=True)


class UniformRows:
    """Rows drawn alike from the whole space: a keyed permutation of all scene numbers."""

    def __init__(self, space: Space, seed: int) -> None:
        if space.size == 0:
            raise EmptySpaceError(f"no scene meets all the constraints together: {space.spec.constraints}")
        self._space = space
        self._key = key_of("uniform", seed)

    @property
    def capacity(self) -> int:
        """How many rows there are: all scenes."""
        return self._space.size

    def rows(self, start: int, stop: int) -> SceneBatch:
        """Rows ``start`` to ``stop - 1``."""
        size = self._space.size
        check_rows(start, stop, size)
        scenes = [self._space.unrank(permute_int(row, size, self._key)) for row in range(start, stop)]
        return batch_of(list(range(start, stop)), scenes)


def batch_of(index: list[int], scenes: list[tuple[Frame, Filling, tuple[int, ...]]]) -> SceneBatch:
    """A batch out of single scenes."""
    shapes: dict[Shape, int] = {}
    shape_index = [shapes.setdefault(Shape(f.structure.edges, f.structure.attributes), len(shapes)) for f, _, _ in scenes]
    object_start = starts_of(np.array([f.structure.num_objects for f, _, _ in scenes], dtype=np.int64))
    attribute_start = starts_of(np.array([count for f, _, _ in scenes for count in f.structure.attributes], dtype=np.int64))
    relation_start = starts_of(np.array([len(f.structure.edges) for f, _, _ in scenes], dtype=np.int64))
    objects, attributes, relations = (np.empty(starts[-1], dtype=np.int64) for starts in (object_start, attribute_start, relation_start))
    for row, (_, filling, _) in enumerate(scenes):
        put_filling(filling, row, object_start, attribute_start, relation_start, objects, attributes, relations)
    ends = np.array([edge for f, _, _ in scenes for edge in f.structure.edges], dtype=np.int64).reshape(-1, 2)
    return SceneBatch(
        index=np.array(index, dtype=np.int64),
        shapes=tuple(shapes),
        shape_index=np.array(shape_index, dtype=np.int64),
        objects=objects,
        object_start=object_start,
        attributes=attributes,
        attribute_start=attribute_start,
        relations=relations,
        relation_start=relation_start,
        subjects=ends[:, 0],
        targets=ends[:, 1],
        scene_attributes=np.array([value for _, _, own in scenes for value in own], dtype=np.int64),
        scene_start=starts_of(np.array([len(own) for _, _, own in scenes], dtype=np.int64)),
    )
