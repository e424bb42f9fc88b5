"""Painters: models that take captions and draw them, perfectly or with stated flaws. What they really drew is known.

``sandbox:renderer`` draws every caption of the sandbox's vocabulary. ``sandbox:flawed`` makes mistakes of four kinds, each at its own
rate, so that every score, interval and calibration of the project can be held against the truth.

Every flaw is a draw of its own: a hash of the seed, the caption and the element, so that errors of one element say nothing of another.
The one exception is geometry: relations of a scene that close a circle ("a is left of b, b of c, and a of c") are reversed all together
or not at all, since nothing else can be drawn; each of them still has the stated rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Annotated, Protocol, runtime_checkable

from pydantic import Field

from anyscene.errors import CaptionParseError, SpecError
from anyscene.language import parse
from anyscene.media import Media
from anyscene.media.media import MODALITIES
from anyscene.models import Failure
from anyscene.sandbox.layout import AXES, UnsatisfiableSceneError, copies, lay_out
from anyscene.sandbox.loading import load_sandbox_taxonomy
from anyscene.sandbox.looks import Seen
from anyscene.sandbox.renderer import MIN_SIZE, describe, empty_scene, render_seen
from anyscene.sandbox.truth import seen_to_dict
from anyscene.scene.graph import Attribute, Object, Relation, SceneAttribute, SceneGraph
from anyscene.scene.keyed import key_of
from anyscene.taxonomy import COUNT_TYPE, NUMERALS

__all__ = ["FRAMES", "Drawn", "Flaw", "FlawRates", "KnowsTruth", "Painter", "draw_with_flaws", "load_flawed", "load_renderer"]

VERSION = 1
"""Raised when the same caption and seed would give other pixels than before."""
FRAMES = 8
FPS = 8.0
KEPT = 4096
"""How many drawn scenes are remembered between drawing them and being asked for the truth."""
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, slots=True)
class FlawRates:
    """How often a painter goes wrong.

    Attributes:
        drop: chance of each object not to be drawn.
        swap: chance of each attribute, and of each scene attribute, to be another value of its type.
        reverse: chance of each relation to be drawn the other way round; a symmetric one is drawn not to hold.
        miscount: chance of each counted object to be one too many or one too few.
    """

    drop: float = 0.1
    swap: float = 0.1
    reverse: float = 0.1
    miscount: float = 0.1

    def __post_init__(self) -> None:
        for name in ("drop", "swap", "reverse", "miscount"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise SpecError(f"{name} = {getattr(self, name)}: a rate must be from 0 to 1")


PERFECT = FlawRates(0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Flaw:
    """One mistake on purpose.

    Attributes:
        element: of the caption's graph: ``o0``, ``o0.a1``, ``r0``, ``s0``.
        kind: ``drop``, ``swap``, ``reverse`` or ``miscount``.
        drawn: what is there instead: a value, a numeral or "one", the relation; empty for a dropped object.
    """

    element: str
    kind: str
    drawn: str = ""


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a painter made of a caption.

    Attributes:
        asked: the caption's graph.
        graph: what is really drawn; None where nothing is left of it. Object ids are those of ``asked``.
        flaws: how the two differ.
        seen: the picture, thing by thing.
    """

    asked: SceneGraph
    graph: SceneGraph | None
    flaws: tuple[Flaw, ...]
    seen: Seen


@runtime_checkable
class KnowsTruth(Protocol):
    """A model that can say what its media really show."""

    def details(self, caption: str, seed: int) -> Mapping[str, object]:
        """As plain JSON values: ``truth`` (the graph really drawn, as in a record), ``flaws``, and ``seen`` (``truth.read_seen``)."""
        ...


def load_renderer(*, size: Annotated[int, Field(ge=MIN_SIZE, le=4096)] = 64, modality: str = "image") -> Painter:
    """The painter without flaws, ``sandbox:renderer``.

    Args:
        size: side of its pictures, in pixels.
        modality: ``image``, ``video`` (clips of 8 frames) or ``3d`` (8 views).

    Raises:
        SpecError: an option is out of its range.
    """
    return Painter("sandbox:renderer", PERFECT, size, modality)


def load_flawed(
    *,
    drop: Share = 0.1,
    swap: Share = 0.1,
    reverse: Share = 0.1,
    miscount: Share = 0.1,
    size: Annotated[int, Field(ge=MIN_SIZE, le=4096)] = 64,
    modality: str = "image",
    refuse: Share = 0.0,
    fail: Share = 0.0,
) -> Painter:
    """The painter with flaws at stated rates, ``sandbox:flawed``.

    Args:
        drop: see ``FlawRates``.
        swap: see ``FlawRates``.
        reverse: see ``FlawRates``.
        miscount: see ``FlawRates``.
        size: side of its pictures, in pixels.
        modality: ``image``, ``video`` (clips of 8 frames) or ``3d`` (8 views).
        refuse: chance of each caption to be refused.
        fail: chance of each caption to fail.

    Raises:
        SpecError: an option is out of its range.
    """
    return Painter("sandbox:flawed", FlawRates(drop, swap, reverse, miscount), size, modality, refuse, fail)


@dataclass(frozen=True)
class Painter:
    """A model that draws captions (``models.Model``), and knows what it drew (``KnowsTruth``).

    Attributes:
        name: ``sandbox:renderer`` or ``sandbox:flawed``.
        rates: how often it goes wrong.
        size: side of its pictures, in pixels.
        modality: ``image``, ``video`` or ``3d``.
        refuse: chance of each caption to be refused.
        fail: chance of each caption to fail.
        batch_size: how many captions it likes at once.
    """

    name: str
    rates: FlawRates = PERFECT
    size: int = 64
    modality: str = "image"
    refuse: float = 0.0
    fail: float = 0.0
    batch_size: int = field(default=64, init=False)

    def __post_init__(self) -> None:
        if self.modality not in MODALITIES:
            raise SpecError(f"{self.name}, modality {self.modality!r}: it must be one of {', '.join(MODALITIES)}")
        if self.size < MIN_SIZE:
            raise SpecError(f"{self.name}, size {self.size}: at least {MIN_SIZE} pixels are drawn")

    @property
    def revision(self) -> str:
        """The vocabulary's digest."""
        return load_sandbox_taxonomy().digest

    @property
    def settings(self) -> Mapping[str, object]:
        """All that its media depend on."""
        return {**asdict(self.rates), "size": self.size, "refuse": self.refuse, "fail": self.fail, "version": VERSION}

    def generate(self, captions: Sequence[str], seeds: Sequence[int]) -> list[Media | Failure]:
        """One media, or why there is none, for each caption, in order."""
        return [self._one(caption, seed) for caption, seed in zip(captions, seeds, strict=True)]

    def _one(self, caption: str, seed: int) -> Media | Failure:
        if _chance(self.refuse, seed, caption, "refuse"):
            return Failure("refused", "the painter would not draw this caption (option refuse)")
        if _chance(self.fail, seed, caption, "fail"):
            return Failure("failed", "the painter failed on this caption (option fail)")
        try:
            seen = draw_with_flaws(caption, seed, self.rates).seen
        except (CaptionParseError, UnsatisfiableSceneError) as error:
            return Failure("failed", f"the sandbox cannot draw this caption: {error}")
        frames = [one.image for one in render_seen(seen, self.size, self.modality, FRAMES)]
        return Media.of_frames(frames, self.modality, FPS if self.modality == "video" else None)

    def drawn(self, caption: str, seed: int) -> Drawn:
        """What its picture of a caption shows, without painting it.

        Raises:
            CaptionParseError: the text is no caption of the sandbox.
            UnsatisfiableSceneError: it cannot be drawn.
        """
        return draw_with_flaws(caption, seed, self.rates)

    def truth(self, caption: str, seed: int) -> SceneGraph | None:
        """The graph really drawn; None where no object is left. Raises as ``drawn`` does."""
        return self.drawn(caption, seed).graph

    def details(self, caption: str, seed: int) -> Mapping[str, object]:
        """As ``KnowsTruth`` has it. Raises as ``drawn`` does."""
        drawn = self.drawn(caption, seed)
        nothing: dict[str, object] = {"objects": [], "relations": [], "scene_attributes": []}
        return {
            "truth": nothing if drawn.graph is None else drawn.graph.to_dict(),
            "flaws": [asdict(one) for one in drawn.flaws],
            "seen": seen_to_dict(drawn.seen),
        }


@lru_cache(maxsize=KEPT)
def draw_with_flaws(caption: str, seed: int, rates: FlawRates = PERFECT) -> Drawn:
    """Reads a caption, draws the flaws, and lays out what is left.

    Raises:
        CaptionParseError: the text is no caption of the sandbox.
        UnsatisfiableSceneError: it cannot be drawn.
    """
    asked = parse(caption, load_sandbox_taxonomy())
    drawer = _FlawDrawer(asked, rates, seed, caption)
    objects = drawer.objects()
    kept = {one.id for one in objects}
    relations, apart = drawer.relations(kept)
    scene = drawer.scene_attributes()
    flaws = tuple(drawer.flaws)
    if not objects:
        return Drawn(asked, None, flaws, empty_scene(scene, key_of("empty", seed, caption)))
    graph = SceneGraph(objects, relations, scene)
    return Drawn(asked, graph, flaws, describe(graph, seed, lay_out(graph, seed, apart)))


def _chance(rate: float, *parts: object) -> bool:
    """A draw that comes out true with a rate, by a hash."""
    return key_of("sandbox flaw", *parts) < rate * 2.0**64


class _FlawDrawer:
    """Draws the flaws of one picture, element by element."""

    def __init__(self, asked: SceneGraph, rates: FlawRates, seed: int, caption: str) -> None:
        self.asked, self.rates, self.origin = asked, rates, (seed, caption)
        self.taxonomy = load_sandbox_taxonomy()
        self.flaws: list[Flaw] = []

    def _hit(self, rate: float, element: str, kind: str) -> bool:
        return _chance(rate, *self.origin, element, kind)

    def _pick(self, values: Sequence[str], element: str) -> str:
        return values[key_of("sandbox pick", *self.origin, element) % len(values)]

    def objects(self) -> tuple[Object, ...]:
        """The objects that are drawn, as they are drawn."""
        kept = []
        for place, one in enumerate(self.asked.objects):
            if self._hit(self.rates.drop, one.id, "drop"):
                self.flaws.append(Flaw(one.id, "drop"))
                continue
            attributes = []
            for number, attribute in enumerate(one.attributes):
                element = f"{one.id}.a{number}"
                if attribute.type == COUNT_TYPE:
                    attributes += self._counted(copies(self.asked, place), attribute, element)
                else:
                    attributes.append(self._swapped(one, attribute, element))
            kept.append(replace(one, attributes=tuple(attributes)))
        return tuple(kept)

    def _counted(self, number: int, attribute: Attribute, element: str) -> list[Attribute]:
        """The numeral that is drawn; none for a single thing."""
        if not self._hit(self.rates.miscount, element, "miscount"):
            return [attribute]
        number += 1 if self._pick(("more", "less"), element) == "more" else -1
        word = "one" if number == 1 else NUMERALS[number - 2] if number - 2 < len(NUMERALS) else str(number)
        self.flaws.append(Flaw(element, "miscount", word))
        return [Attribute(COUNT_TYPE, word)] if number > 1 else []

    def _swapped(self, one: Object, attribute: Attribute, element: str) -> Attribute:
        if not self._hit(self.rates.swap, element, "swap"):
            return attribute
        table, types = self.taxonomy.attributes, self.taxonomy.attribute_types.names
        class_index = self.taxonomy.objects.class_index[self.taxonomy.object_index[one.name.casefold()]]
        held = {other.value for other in one.attributes}
        others = [
            value
            for place, value in enumerate(table.values)
            if types[table.type_index[place]] == attribute.type and table.fits[place, class_index] and value not in held
        ]
        drawn = replace(attribute, value=self._pick(others, element))
        self.flaws.append(Flaw(element, "swap", drawn.value))
        return drawn

    def scene_attributes(self) -> tuple[SceneAttribute, ...]:
        """The scene attributes that are drawn."""
        table, types = self.taxonomy.scene_attributes, self.taxonomy.scene_attribute_types.names
        drawn = []
        for number, one in enumerate(self.asked.scene_attributes):
            if self._hit(self.rates.swap, f"s{number}", "swap"):
                others = [v for v, kind in zip(table.values, table.type_index, strict=True) if types[kind] == one.type and v != one.value]
                one = replace(one, value=self._pick(others, f"s{number}"))
                self.flaws.append(Flaw(f"s{number}", "swap", one.value))
            drawn.append(one)
        return tuple(drawn)

    def relations(self, kept: set[str]) -> tuple[tuple[Relation, ...], list[tuple[str, str]]]:
        """The relations between objects that are drawn, and the pairs that a broken symmetric one keeps apart."""
        table = self.taxonomy.relations
        drawn, apart = [], []
        for number, (one, unit) in enumerate(zip(self.asked.relations, _units(self.asked), strict=True)):
            if one.subject not in kept or one.object not in kept:
                continue
            if not self._hit(self.rates.reverse, f"r{unit}", "reverse"):
                drawn.append(one)
                continue
            if table.symmetric[self.taxonomy.relation_index[one.predicate.casefold()]]:
                apart.append((one.subject, one.object))
                self.flaws.append(Flaw(f"r{number}", "reverse", f"not {one.predicate}"))
            else:
                drawn.append(replace(one, subject=one.object, object=one.subject))
                self.flaws.append(Flaw(f"r{number}", "reverse", one.predicate))
        return tuple(drawn), apart


def _units(graph: SceneGraph) -> list[int]:
    """For each relation the number of the one whose draw it shares: its own, or the first of those that it closes a circle with.

    Only relations along one axis (left to right, top to bottom, large to small) can contradict each other.
    """
    at = {one.id: place for place, one in enumerate(graph.objects)}
    unit = list(range(len(graph.relations)))
    for words in AXES:
        edges = [(number, at[r.subject], at[r.object]) for number, r in enumerate(graph.relations) if r.predicate in words]
        if len(edges) < 3:
            continue  # two relations between three objects close no circle
        for number, a, b in edges:
            for other, c, d in edges:
                if unit[other] == unit[number]:
                    continue
                rest = [(x, y) for n, x, y in edges if n not in (number, other)]
                if _on_one_circle(a, b, c, d, rest):
                    old, new = max(unit[number], unit[other]), min(unit[number], unit[other])
                    unit = [new if one == old else one for one in unit]
    return unit


def _on_one_circle(a: int, b: int, c: int, d: int, edges: Sequence[tuple[int, int]]) -> bool:
    """Are there two ways without a common node, one from each of a, b to one of c, d, other than through a-b and c-d?"""

    def ways(start: int, goal: int, banned: frozenset[int]) -> list[frozenset[int]]:
        if start == goal:
            return [frozenset([start])]
        found = []
        for x, y in edges:
            following = y if x == start else x if y == start else None
            if following is not None and following not in banned:
                found += [way | {start} for way in ways(following, goal, banned | {start})]
        return found

    return any(
        not (one & other)
        for first, second in ((c, d), (d, c))
        for one in ways(a, first, frozenset([b, second]))
        for other in ways(b, second, frozenset([a, first]))
    )
