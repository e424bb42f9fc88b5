"""Rows of a dataset: row ``k`` is a pure function of (spec, vocabulary, seed, ``k``), made many at a time.

A schedule says which frame a row has and the how-manieth row of that frame it is. Within a frame:

* nouns are the digits of that number, passed through a keyed bijection, so no two rows have the same nouns in the same places.
  Places that a symmetry of the frame exchanges draw from separate slices of the shuffled vocabulary, so that no two rows are
  the same scene seen another way;
* when all nouns have come round once, the *visit* number goes into the digits of attributes and relations (``choices``).

A frame where this reaches few scenes (it has few, or pairs of classes that no relation joins) is instead drawn by a keyed
permutation of its exact numbering, so that its very last scene is reached.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from anyscene.errors import CapacityError, EmptySpaceError
from anyscene.scene.batch import SceneBatch, Shape, owners, starts_of
from anyscene.scene.keyed import U64, key_of, mix, permutation, permute_int, shuffle_digits
from anyscene.space.choices import Menus, build_menus
from anyscene.space.counting import Counter
from anyscene.space.frames import Frame, noun_slices
from anyscene.space.indexing import Filling, Indexer
from anyscene.space.realism import beta_of, width_of, winners
from anyscene.space.scene_sets import SceneSets
from anyscene.space.schedule import ENDLESS, Node
from anyscene.space.spec import SceneSpec
from anyscene.space.tables import Tables

IntArray = NDArray[np.int64]
_Score = Callable[[IntArray, IntArray], NDArray[np.float32]]
EXACT_BELOW = 1 << 20
SHUFFLES = 16
DEALS = 4
COUNT_WEIGHT = 4.0
RELATION_TYPE_WEIGHT = np.array([3.0, 3.0, 1.5, 1.0, 0.75, 0.5, 0.5, 0.75])
"""How often each relation type is drawn, in the order of ``RELATION_TYPES``."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class _Pools:
    """Shuffled nouns for the free places: ``first[a]`` and ``size[a]`` of the pool for ``a`` attributes, in each of the shuffles."""

    nouns: IntArray
    first: dict[int, IntArray]
    size: dict[int, int]
    classes: dict[int, IntArray]
    menus_from: dict[int, float]


class Sampler:
    """Makes rows of one space in the ``balanced`` order.

    Raises:
        EmptySpaceError: no frame has any scene.
    """

    def __init__(
        self,
        spec: SceneSpec,
        tables: Tables,
        frames: dict[int, tuple[Frame, ...]],
        counter: Counter,
        indexer: Indexer,
        sets: SceneSets,
        seed: int,
    ) -> None:
        self.spec, self.tables, self.seed, self.sets = spec, tables, seed, sets
        self.key = key_of("rows", seed)
        self.counter, self.indexer = counter, indexer
        self.width, self.beta = width_of(spec.realism), beta_of(spec.realism)
        self.frames = [frame for c in sorted(frames) for frame in frames[c]]
        self.set_sizes = [s for s in range(spec.scene_attributes[0], spec.scene_attributes[1] + 1) if sets.count(s) > 0]
        if not self.frames or not self.set_sizes:
            raise EmptySpaceError(f"no scene meets all the constraints together: {spec.constraints}")
        self._lay_out()
        if not any(self._capacity):
            raise EmptySpaceError(f"no scene meets all the constraints together: {spec.constraints}")
        self._schedule()

    @property
    def capacity(self) -> int:
        """How many rows there are, all different."""
        return self._root.capacity

    # ---- set-up -----------------------------------------------------------------------------------------------------------

    @cached_property
    def _owners(self) -> int:
        """Profiles, then one for each object of the contained graph (whose attributes are partly given)."""
        return len(self.tables.nouns)

    def _lists(self, owner: int) -> list[IntArray]:
        """Attribute values by type of a profile, or of an object of the contained graph beside what it has."""
        tables = self.tables
        if owner < self._owners:
            return list(tables.attributes[owner])
        assert tables.seed is not None
        seed = owner - self._owners
        taken = tables.seed.attributes[seed]
        pairs = (tables.values(tables.seed_profile[seed], kind, taken) for kind in range(len(tables.taxonomy.attribute_types)))
        return [np.sort(np.concatenate(pair)) for pair in pairs]

    def _lay_out(self) -> None:
        """Attribute menus of every owner and number of attributes, noun pools, relation menus."""
        most = max(max(frame.structure.attributes) for frame in self.frames)
        made = self.tables.laid_out
        attributes, relations = ("attributes", self.seed, self.width), ("relations", self.width)
        if attributes not in made or made[attributes][2].shape[1] <= most:
            made[attributes] = self._deal(most)
        if relations not in made:
            made[relations] = self._relation_cells()
        self._attribute_menus, self._menu, self._least = made[attributes]
        self._relation_menus = made[relations]
        self._pools = self._make_pools(sorted({a for frame in self.frames for a in frame.structure.attributes}))
        self._frame_columns()

    def _deal(self, most: int) -> tuple[Menus, IntArray, NDArray[np.object_]]:
        """Attribute menus of every owner for up to so many attributes, where each begins, and the smallest number of picks of each."""
        tables, spec = self.tables, self.spec
        seeds = len(tables.seed.nouns) if tables.seed else 0
        weights = tables.taxonomy.attribute_types.weight.copy()
        if spec.counts:
            weights[tables.taxonomy.attribute_types.names.index("count")] = COUNT_WEIGHT
        lists: list[list[IntArray]] = []
        menu = np.full((self._owners + seeds, most + 1, DEALS), -1, dtype=np.int64)
        least = np.zeros((self._owners + seeds, most + 1), dtype=object)
        bounds = []
        for owner in range(self._owners + seeds):
            own = self._lists(owner)
            used = np.array([kind for kind, values in enumerate(own) if len(values)], dtype=np.int64)
            least[owner, 0] = 1
            for count in range(1, min(most, len(used)) + 1):
                for deal in range(DEALS):
                    order = used[permutation(len(used), key_of("deal", self.seed, count, deal))]
                    menu[owner, count, deal] = len(lists)
                    for slot in range(count):
                        dealt = set(order[slot::count].tolist())
                        lists.append([values if kind in dealt else values[:0] for kind, values in enumerate(own)])
                bounds.append((owner, count))
        menus = build_menus(lists, weights, self.width)
        radix = menus.radix
        for owner, count in bounds:
            least[owner, count] = min(prod(int(radix[start + slot]) for slot in range(count)) for start in menu[owner, count])
        return menus, menu, least

    def _relation_cells(self) -> Menus:
        """The relation menu of every pair of classes."""
        kinds = self.tables.taxonomy.relations.type_index
        cells = [cell for row in self.tables.relations for cell in row]
        used = [[cell[kinds[cell] == kind] for kind in range(len(RELATION_TYPE_WEIGHT))] for cell in cells]
        return build_menus(used, RELATION_TYPE_WEIGHT, self.width)

    def _make_pools(self, counts: list[int]) -> _Pools:
        """For each number of attributes, the nouns that can have so many, shuffled in 16 ways."""
        tables = self.tables
        chunks: list[IntArray] = []
        first, size, classes, least = {}, {}, {}, {}
        filled = 0
        for count in counts:
            owners_in = [p for p in range(self._owners) if self._least[p, count] > 0 and len(tables.nouns[p])]
            nouns = np.sort(np.concatenate([tables.nouns[p] for p in owners_in])) if owners_in else np.zeros(0, dtype=np.int64)
            classes[count] = np.unique([tables.profile_class[p] for p in owners_in]).astype(np.int64)
            least[count] = min((self._least[p, count] for p in owners_in), default=0)
            size[count] = len(nouns)
            first[count] = filled + np.arange(SHUFFLES, dtype=np.int64) * len(nouns)
            if (pool := ("pool", self.seed, self.width, count)) not in tables.laid_out:
                shuffled = [nouns[permutation(len(nouns), key_of("nouns", self.seed, count, turn))] for turn in range(SHUFFLES)]
                tables.laid_out[pool] = np.concatenate(shuffled)
            chunks.append(tables.laid_out[pool])
            filled += SHUFFLES * len(nouns)
        anything = np.concatenate([*tables.nouns, *([np.array(tables.seed.nouns)] if tables.seed else [])])[:1]
        nouns = np.concatenate([*chunks, anything])
        if tables.seed:
            nouns = np.concatenate([nouns, np.array(tables.seed.nouns, dtype=np.int64)])
        return _Pools(nouns, first, size, classes, least)

    def _frame_columns(self) -> None:
        """Per frame: where each place draws its noun from, and how many rows it has."""
        count = len(self.frames)
        width = max(frame.structure.num_objects for frame in self.frames)
        edges = max(max(len(frame.structure.edges) for frame in self.frames), 1)
        self._size = np.ones((count, width), dtype=np.int64)
        self._base = np.zeros((count, width), dtype=np.int64)
        self._seed_at = np.full((count, width), -1, dtype=np.int64)
        self._num_attributes = np.zeros((count, width), dtype=np.int64)
        self._num_objects = np.array([frame.structure.num_objects for frame in self.frames], dtype=np.int64)
        self._num_relations = np.array([len(frame.structure.edges) for frame in self.frames], dtype=np.int64)
        self._ends = np.zeros((count, edges, 2), dtype=np.int64)
        self._given = np.full((count, edges), -1, dtype=np.int64)
        self._key = np.array([key_of(self.key, frame.code) for frame in self.frames], dtype=np.uint64)
        self._around = np.zeros(count, dtype=np.uint64)
        self._exact = np.zeros(count, dtype=np.bool_)
        self._capacity: list[int] = []
        self._least_menus: dict[tuple[tuple[int, int], ...], int] = {}
        self._shapes = tuple(Shape(frame.structure.edges, frame.structure.attributes) for frame in self.frames)
        for row, frame in enumerate(self.frames):
            self._one_frame(row, frame)

    def _one_frame(self, row: int, frame: Frame) -> None:
        structure, pools = frame.structure, self._pools
        shuffle = int(self._key[row]) % SHUFFLES
        visits = 1
        for part in frame.parts:
            slices = noun_slices(part)
            for number, copy in enumerate(part.copies):
                for node, position in enumerate(copy):
                    attributes = part.component.attributes[node]
                    self._num_attributes[row, position] = attributes
                    seed = part.seeds[node]
                    if seed >= 0:
                        assert self.tables.seed is not None
                        self._seed_at[row, position] = seed
                        self._base[row, position] = len(pools.nouns) - len(self.tables.seed.nouns) + seed
                        visits *= int(self._least[self._owners + seed, attributes - len(self.tables.seed.attributes[seed])])
                        continue
                    own, ways, by_copy = slices[node]
                    if by_copy:
                        own, ways = own + number * ways, ways * len(part.copies)
                    length = pools.size[attributes] // ways
                    self._size[row, position] = length // self.width
                    self._base[row, position] = pools.first[attributes][shuffle] + own * length
                    visits *= int(pools.menus_from[attributes])
                for edge, given in zip(part.component.edges, part.given, strict=True):
                    place = structure.edges.index((copy[edge[0]], copy[edge[1]]))
                    self._given[row, place] = given
        for place, (a, b) in enumerate(structure.edges):
            self._ends[row, place] = a, b
            if self._given[row, place] < 0:
                visits *= self._least_relations(row, a, b)
        around = prod(int(size) for size in self._size[row, : structure.num_objects])
        self._exact[row] = around * visits < (EXACT_BELOW if self.width == 1 else 1)
        self._around[row] = min(max(around, 1), ENDLESS)
        if self._exact[row]:
            self._base[row] = 0
            self._size[row] = 1
        self._capacity.append(self.counter.frame(frame) if self._exact[row] else around * visits)

    def _least_relations(self, row: int, a: int, b: int) -> int:
        """The smallest relation menu between the classes that may stand at two places."""
        key = tuple((int(self._seed_at[row, end]), int(self._num_attributes[row, end])) for end in (a, b))
        if key not in self._least_menus:
            self._least_menus[key] = self._least_menu(row, a, b)
        return self._least_menus[key]

    def _least_menu(self, row: int, a: int, b: int) -> int:
        sides = []
        for position in (a, b):
            seed = self._seed_at[row, position]
            if seed >= 0:
                sides.append(np.array([self.tables.profile_class[self.tables.seed_profile[seed]]]))
            else:
                sides.append(self._pools.classes[int(self._num_attributes[row, position])])
        menus = (sides[0][:, None] * len(self.tables.taxonomy.classes) + sides[1][None, :]).ravel()
        return int(self._relation_menus.radix[menus].min()) if len(menus) else 0

    def _schedule(self) -> None:
        """Rows go round over complexity, split, number of scene attributes, frame."""
        tree: dict[int, dict[tuple[int, int, int], list[int]]] = {}
        for row, frame in enumerate(self.frames):
            if not self._capacity[row]:
                continue
            structure = frame.structure
            tree.setdefault(structure.complexity, {}).setdefault(structure.split, []).append(row)
        self._leaves: list[IntArray] = []
        self._leaf_size: list[int] = []
        self._leaf_nodes: list[Node] = []
        top: list[Node] = []
        self._splits: list[tuple[Node, list[int]]] = []
        self._sizes: list[tuple[Node, list[int]]] = []
        self._tops: list[list[int]] = []
        for complexity, splits in tree.items():
            split_nodes = []
            for split, rows in splits.items():
                leaves = []
                for size in self.set_sizes:
                    leaves.append(len(self._leaf_nodes))
                    sets = self.sets.count(size)
                    capacities = [self._capacity[row] * (sets if self._exact[row] else 1) for row in rows]
                    self._leaf_nodes.append(Node(capacities, [1] * len(rows), key_of(self.key, "leaf", split, size)))
                    self._leaves.append(np.array(rows, dtype=np.int64))
                    self._leaf_size.append(size)
                node = Node([self._leaf_nodes[leaf].capacity for leaf in leaves], [1] * len(leaves), key_of(self.key, "sets", split))
                split_nodes.append(len(self._sizes))
                self._sizes.append((node, leaves))
            weights = [_split_weight(split) for split in splits]
            node = Node([self._sizes[i][0].capacity for i in split_nodes], weights, key_of(self.key, "splits", complexity))
            top.append(node)
            self._splits.append((node, split_nodes))
        self._root = Node([node.capacity for node in top], [1] * len(top), key_of(self.key, "complexity"))

    # ---- rows -------------------------------------------------------------------------------------------------------------

    def _locate(self, rows: IntArray) -> tuple[IntArray, IntArray, IntArray]:
        """(frame, row within the frame and set size, number of scene attributes) of each row."""
        frame, inner, size = (np.empty(len(rows), dtype=np.int64) for _ in range(3))
        child, left = self._root.locate(rows)
        for c in np.unique(child):
            at_c = np.flatnonzero(child == c)
            node, splits = self._splits[c]
            split, left_c = node.locate(left[at_c])
            for s in np.unique(split):
                at_s = np.flatnonzero(split == s)
                node, leaves = self._sizes[splits[s]]
                leaf, left_s = node.locate(left_c[at_s])
                for number in np.unique(leaf):
                    at_l = np.flatnonzero(leaf == number)
                    where = at_c[at_s[at_l]]
                    chosen, last = self._leaf_nodes[leaves[number]].locate(left_s[at_l])
                    frame[where] = self._leaves[leaves[number]][chosen]
                    inner[where] = last
                    size[where] = self._leaf_size[leaves[number]]
        return frame, inner, size

    def rows(self, start: int, stop: int) -> SceneBatch:
        """Rows ``start`` to ``stop - 1``; ``stop`` is at most ``capacity``."""
        check_rows(start, stop, self.capacity)
        index = np.arange(start, stop, dtype=np.int64)
        frame, inner, set_size = self._locate(index)
        used, shape = np.unique(frame, return_inverse=True)
        object_start = starts_of(self._num_objects[frame])
        row_of = owners(object_start)
        place = np.arange(object_start[-1]) - object_start[row_of]
        attribute_start = starts_of(self._num_attributes[frame[row_of], place])
        relation_start = starts_of(self._num_relations[frame])
        rel_row = owners(relation_start)
        ends = self._ends[frame[rel_row], np.arange(relation_start[-1]) - relation_start[rel_row]]
        around = self._around[frame]
        turn = inner.astype(np.uint64) % around
        visit = (inner.astype(np.uint64) // around).astype(np.int64)
        visit[self._exact[frame]] = 0
        leaf = mix(self._key[frame] + set_size.astype(np.uint64))
        key = mix(turn * _GOLDEN + leaf)
        objects = self._nouns(frame, turn, object_start, leaf)
        frame_batch = _Draft(frame, key, visit, row_of, place, object_start, attribute_start, relation_start, rel_row, ends, objects)
        if self.width > 1:
            self._compete_nouns(frame_batch)
        attribute_slots, relation_slots = self._digits(frame_batch)
        attributes = self._attributes(frame_batch, attribute_slots)
        relations = self._relations(frame_batch, relation_slots)
        scene, sizes = self.sets.draw(set_size, mix(key + np.uint64(77)))
        scene_start = starts_of(sizes)
        for row in np.flatnonzero(self._exact[frame]):
            values = self._exact_row(frame_batch, int(row), int(inner[row]), int(leaf[row]), int(set_size[row]), attributes, relations)
            scene[scene_start[row] : scene_start[row + 1]] = values
        return SceneBatch(
            index=index,
            shapes=tuple(self._shapes[i] for i in used),
            shape_index=shape.ravel().astype(np.int64),
            objects=objects,
            object_start=object_start,
            attributes=attributes,
            attribute_start=attribute_start,
            relations=relations,
            relation_start=relation_start,
            subjects=ends[:, 0],
            targets=ends[:, 1],
            scene_attributes=scene,
            scene_start=scene_start,
        )

    def _nouns(self, frame: IntArray, turn: U64, object_start: IntArray, leaf: U64) -> IntArray:
        """The nouns of every scene: digits of its number, shuffled by a keyed bijection, looked up in the shuffled pools."""
        objects = np.empty(object_start[-1], dtype=np.int64)
        count = self._num_objects[frame]
        for size in np.unique(count):
            rows = np.flatnonzero(count == size)
            own = frame[rows]
            sizes = [self._size[own, i].astype(np.uint64) for i in range(size)]
            rest = turn[rows]
            digits = []
            for own_size in sizes:
                digits.append(rest % own_size)
                rest = rest // own_size
            digits = shuffle_digits(digits, sizes, leaf[rows])
            for i in range(size):
                objects[object_start[rows] + i] = self._base[own, i] + digits[i].astype(np.int64) * self.width
        return self._pools.nouns[objects] if self.width == 1 else objects

    def _compete_nouns(self, draft: _Draft) -> None:
        """Of the nouns that compete for a place, the one that fits what is there already; places in order of mention."""
        nouns = self._pools.nouns
        chosen = draft.objects.copy()
        free = self._seed_at[draft.frame[draft.row_of], draft.place] < 0
        chosen[~free] = nouns[draft.objects[~free]]
        anchor = np.full(len(chosen), -1, dtype=np.int64)
        starts = draft.object_start[draft.rel_row]
        late = np.maximum(draft.ends[:, 0], draft.ends[:, 1])
        early = np.minimum(draft.ends[:, 0], draft.ends[:, 1])
        anchor[(starts + late)[::-1]] = (starts + early)[::-1]
        plausibility = self.tables.taxonomy.plausibility
        for position in range(int(draft.place.max(initial=0)) + 1):
            own = np.flatnonzero((draft.place == position) & free)
            options = nouns[draft.objects[own][:, None] + np.arange(self.width)[None, :]]
            scores = np.zeros(options.shape, dtype=np.float32)
            tied = np.flatnonzero(anchor[own] >= 0)
            if len(tied):
                flat = options[tied].ravel()
                scores[tied] = plausibility.object_scores(flat, np.repeat(chosen[anchor[own[tied]]], self.width)).reshape(-1, self.width)
            keys = mix(draft.key[draft.row_of[own]] + np.uint64(1000 + position))
            chosen[own] = options[np.arange(len(own)), winners(scores, self.beta, keys)]
        draft.objects[:] = chosen

    def _digits(self, draft: _Draft) -> tuple[_Slots, _Slots]:
        """Attribute and relation slots: their menus, and the digits of the visit number over them."""
        owner_rows = draft.frame[draft.row_of]
        seed = self._seed_at[owner_rows, draft.place]
        taken = self._taken[seed]
        owner = np.where(seed >= 0, self._owners + seed, self.tables.profile_of[draft.objects])
        counts = np.diff(draft.attribute_start)
        deal = (mix(draft.key[draft.row_of] + draft.place.astype(np.uint64)) & np.uint64(DEALS - 1)).astype(np.int64)
        object_of = owners(draft.attribute_start)
        slot = np.arange(draft.attribute_start[-1]) - draft.attribute_start[object_of]
        slot = slot - taken[object_of]
        menu = self._menu[owner[object_of], (counts - taken)[object_of], deal[object_of]] + slot
        menu[slot < 0] = -1
        classes = self.tables.taxonomy.objects.class_index
        starts = draft.object_start[draft.rel_row]
        a = classes[draft.objects[starts + draft.ends[:, 0]]].astype(np.int64)
        b = classes[draft.objects[starts + draft.ends[:, 1]]].astype(np.int64)
        menu_r = a * len(self.tables.taxonomy.classes) + b
        given = self._given[draft.frame[draft.rel_row], np.arange(len(draft.rel_row)) - draft.relation_start[draft.rel_row]]
        menu_r = np.where(given >= 0, -1, menu_r)
        digits_a, digits_r = np.zeros(len(menu), dtype=np.int64), np.zeros(len(menu_r), dtype=np.int64)
        salts_a, salts_r = np.zeros(len(menu), dtype=np.uint64), np.zeros(len(menu_r), dtype=np.uint64)
        if draft.visit.any():
            row_starts = draft.attribute_start[draft.object_start]
            again, rest, salt = np.flatnonzero(draft.visit), draft.visit.copy(), np.zeros(len(draft.visit), dtype=np.uint64)
            _spread(again, rest, salt, row_starts, menu, self._attribute_menus, digits_a, salts_a)
            _spread(again, rest, salt, draft.relation_start, menu_r, self._relation_menus, digits_r, salts_r)
        return _Slots(menu, slot, digits_a, salts_a), _Slots(menu_r, slot[:0], digits_r, salts_r)

    @cached_property
    def _taken(self) -> IntArray:
        """How many attributes are given to each object of the contained graph; the last entry, for -1, is 0."""
        seed = self.tables.seed
        return np.array([*(len(own) for own in seed.attributes), 0] if seed else [0], dtype=np.int64)

    def _attributes(self, draft: _Draft, slots: _Slots) -> IntArray:
        """Attribute values, in word order within each object."""
        menu, slot, digits = slots.menu, slots.number, slots.digit
        values = np.empty(len(menu), dtype=np.int64)
        object_of = owners(draft.attribute_start)
        row = draft.row_of[object_of]
        free = np.flatnonzero((menu >= 0) & ~self._exact[draft.frame[row]])
        key = mix(draft.key[row] + (draft.place[object_of] * 64 + slot + 5000).astype(np.uint64) + slots.salt)
        scores = self.tables.taxonomy.plausibility.attribute_scores
        values[free] = self._pick(
            self._attribute_menus,
            menu[free],
            digits[free],
            key[free],
            lambda option, own: scores(draft.objects[object_of[free[own]]], option),
        )
        known = ~self._exact[draft.frame[row]]
        if self.tables.seed:
            flat = np.concatenate([np.array(own, dtype=np.int64) for own in self.tables.seed.attributes])
            first = starts_of(self._taken[:-1])
            given = np.flatnonzero((slot < 0) & known)
            seed = self._seed_at[draft.frame[row[given]], draft.place[object_of[given]]]
            values[given] = flat[first[seed] + slot[given] + self._taken[seed]]
        return self._word_order(np.where(known, values, 0), object_of)

    def _word_order(self, values: IntArray, object_of: IntArray) -> IntArray:
        """Sort the attributes of each object by type (types are numbered in word order), then by value."""
        if not len(values):
            return values
        kinds = self.tables.taxonomy.attributes.type_index[values].astype(np.int64)
        rank = (object_of * len(self.tables.taxonomy.attribute_types) + kinds) * len(self.tables.taxonomy.attributes) + values
        return np.asarray(values[np.argsort(rank, kind="stable")], dtype=np.int64)

    def _relations(self, draft: _Draft, slots: _Slots) -> IntArray:
        """Predicates in caption order."""
        menu, digits = slots.menu, slots.digit
        number = np.arange(len(draft.rel_row)) - draft.relation_start[draft.rel_row]
        values: IntArray = self._given[draft.frame[draft.rel_row], number].copy()
        free = np.flatnonzero((menu >= 0) & ~self._exact[draft.frame[draft.rel_row]])
        key = mix(draft.key[draft.rel_row] + (number + 9000).astype(np.uint64) + slots.salt)
        scores = self.tables.taxonomy.plausibility.relation_scores
        starts = draft.object_start[draft.rel_row]
        subjects, targets = draft.objects[starts + draft.ends[:, 0]], draft.objects[starts + draft.ends[:, 1]]
        values[free] = self._pick(
            self._relation_menus,
            menu[free],
            digits[free],
            key[free],
            lambda option, own: scores(subjects[free[own]], option, targets[free[own]]),
        )
        return values

    def _pick(self, menus: Menus, menu: IntArray, digit: IntArray, key: U64, score: _Score) -> IntArray:
        """One value a slot; where values compete, the winner."""
        place, begin, length = menus.pick(menu, digit, key)
        if self.width == 1:
            return np.asarray(menus.values[begin + place], dtype=np.int64)
        steps = np.arange(self.width, dtype=np.int64)
        options = menus.values[begin[:, None] + (place[:, None] + steps) % length[:, None]]
        rows = np.repeat(np.arange(len(menu)), self.width)
        scores = score(options.ravel(), rows).reshape(options.shape)
        scores[steps[None, :] >= np.minimum(length, self.width)[:, None]] = -1e4 * np.sign(self.beta)
        return np.asarray(options[np.arange(len(menu)), winners(scores, self.beta, mix(key + np.uint64(3)))], dtype=np.int64)

    def _exact_row(
        self, draft: _Draft, row: int, inner: int, key: int, set_size: int, attributes: IntArray, relations: IntArray
    ) -> tuple[int, ...]:
        """Fill a row of a frame that is drawn from its exact numbering; its scene attributes are returned."""
        frame = self.frames[int(draft.frame[row])]
        sets = self.sets.count(set_size)
        rank, scene = divmod(permute_int(inner, self.counter.frame(frame) * sets, key), sets)
        filling = self.indexer.unrank(frame, rank)
        put_filling(filling, row, draft.object_start, draft.attribute_start, draft.relation_start, draft.objects, attributes, relations)
        return self.sets.unrank(set_size, scene)


@dataclass(frozen=True)
class _Slots:
    """Slots to fill: the menu of each (-1 for none), its number within its object, its digit and what its key is salted with."""

    menu: IntArray
    number: IntArray
    digit: IntArray
    salt: U64


@dataclass(frozen=True)
class _Draft:
    """A batch while it is being filled."""

    frame: IntArray
    key: U64
    visit: IntArray
    row_of: IntArray
    place: IntArray
    object_start: IntArray
    attribute_start: IntArray
    relation_start: IntArray
    rel_row: IntArray
    ends: IntArray
    objects: IntArray


def check_rows(start: int, stop: int, capacity: int) -> None:
    """Raise ``CapacityError`` unless ``start`` to ``stop - 1`` are rows."""
    if not 0 <= start <= stop <= capacity:
        raise CapacityError(f"rows {start} to {stop} were asked for; there are the rows 0 to {capacity}")


def put_filling(
    filling: Filling,
    row: int,
    object_start: IntArray,
    attribute_start: IntArray,
    relation_start: IntArray,
    objects: IntArray,
    attributes: IntArray,
    relations: IntArray,
) -> None:
    """Write one filling into the flat columns of a batch."""
    first = object_start[row]
    for place, (noun, values) in enumerate(zip(filling.nouns, filling.attributes, strict=True)):
        objects[first + place] = noun
        attributes[attribute_start[first + place] : attribute_start[first + place + 1]] = values
    relations[relation_start[row] : relation_start[row + 1]] = filling.relations


def _spread(
    rows: IntArray, rest: IntArray, salt: U64, starts: IntArray, menu: IntArray, menus: Menus, digits: IntArray, salts: U64
) -> None:
    """Write the mixed-radix digits of a number into the slots of ``rows``, and into ``rest`` what is left over.

    ``salt`` is a hash of the digits above 0 of the slots before: it goes into the key of a slot, so that the slots after the first
    change with every visit, too. The same digits before give the same salt, so all visits of a row's nouns stay different.
    """
    counts = np.diff(starts)
    radix = menus.radix
    for place in range(int(counts[rows].max(initial=0))):
        rows = rows[counts[rows] > place]
        slot = starts[rows] + place
        salts[slot] = salt[rows]
        free = menu[slot] >= 0
        slot, own = slot[free], rows[free]
        rest[own], digits[slot] = np.divmod(rest[own], radix[menu[slot]])
        salt[own] = np.where(digits[slot] > 0, mix(salt[own] + digits[slot].astype(np.uint64)), salt[own])


def _split_weight(split: tuple[int, int, int]) -> int:
    """Rows that a split gets in a lap: relations are present in most scenes of two or more objects."""
    objects, relations, _ = split
    if objects == 1:
        return 2
    return 4 if relations else 1
