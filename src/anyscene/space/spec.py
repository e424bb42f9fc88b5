"""SceneSpec: everything that decides which scenes there are, in a few hundred bytes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from anyscene.errors import SpecError
from anyscene.scene.graph import SceneGraph
from anyscene.scene.structure import check_complexity

MODALITIES = ("image", "video", "3d")
ORDERS = ("balanced", "uniform")
MAX_SCENE_ATTRIBUTES = 4
UNIFORM_REALISM = 0.5
HOLDOUTS = ("element", "pair", "structure")

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Holdout:
    """One side of a split. Both sides share no element, no (object, attribute) pair, or no structure; or several of these.

    Attributes:
        kind: what the sides do not share: ``element``, ``pair`` or ``structure``, or several with a plus between (``pair+structure``).
        side: ``train`` or ``test``.
        test_parts: the test side has this many of ``parts`` keyed parts.
        key: which of the many splits it is.
    """

    kind: str
    side: str
    test_parts: int = 1
    parts: int = 5
    key: int = 0

    def __post_init__(self) -> None:
        if not self.kinds or self.kinds - set(HOLDOUTS):
            raise SpecError(f"split by {self.kind!r}: it must be one of {', '.join(HOLDOUTS)}, or several with a plus between")
        object.__setattr__(self, "kind", "+".join(kind for kind in HOLDOUTS if kind in self.kinds))  # one way to write it: one digest
        if self.side not in ("train", "test"):
            raise SpecError(f"side {self.side!r}: it must be train or test")
        if not 0 < self.test_parts < self.parts <= 100:
            raise SpecError(f"{self.test_parts} of {self.parts} parts for testing: there must be at least one part on each side")

    @classmethod
    def of_share(cls, kind: str, side: str, test: float, key: int = 0) -> Holdout:
        """A side of the split whose test side has a share, from 0.01 to 0.99: 0.2 is one part of five.

        Raises:
            SpecError: there is no such split.
        """
        if not 0.01 <= test <= 0.99:
            raise SpecError(f"a test share of {test}: it must be from 0.01 to 0.99")
        share = Fraction(test).limit_denominator(100)
        return cls(kind, side, share.numerator, share.denominator, key)

    @property
    def kinds(self) -> frozenset[str]:
        """What the sides do not share, one by one."""
        return frozenset(self.kind.split("+"))

    def keeps(self, part: int) -> bool:
        """Is a keyed part on this side?"""
        return (part < self.test_parts) == (self.side == "test")


@dataclass(frozen=True, slots=True)
class SceneSpec:
    """A set of scenes: with the taxonomy it fixes a finite, exactly counted space.

    Attributes:
        complexity: smallest and largest objects + attributes + relations.
        scene_attributes: smallest and largest number of scene attributes.
        modality: ``image``, ``video`` or ``3d``; decides which scene attributes apply.
        realism: 0 any combination, class rules off; 0.5 all combinations that the class rules allow, alike; 1 plausible ones only.
        familiar: only objects that everybody knows.
        only, without: taxonomy branches (classes, objects, hypernyms) to keep and to leave out.
        objects, attributes, relations: smallest and largest number of each, or ``None``.
        counts: let objects come in numbers ("three dogs"); a count is an attribute of type ``count``.
        containing: a graph that every scene has in it; its nouns occur nowhere else in the scene.
        holdout: one side of a split, or ``None``.
        order: ``balanced`` (even over complexity, then over the split into objects, relations and attributes, then over structures)
            or ``uniform`` over the whole space.
    """

    complexity: Range = (4, 8)
    scene_attributes: Range = (0, 0)
    modality: str = "image"
    realism: float = UNIFORM_REALISM
    familiar: bool = False
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    objects: Range | None = None
    attributes: Range | None = None
    relations: Range | None = None
    counts: bool = False
    containing: SceneGraph | None = None
    holdout: Holdout | None = None
    order: str = "balanced"

    def __post_init__(self) -> None:
        object.__setattr__(self, "realism", float(self.realism))  # 0 and 0.0 are one spec and have one digest
        _check_range("complexity", self.complexity, 1)
        check_complexity(self.complexity[0])
        check_complexity(self.complexity[1])
        _check_range("scene attributes", self.scene_attributes, 0)
        if self.scene_attributes[1] > MAX_SCENE_ATTRIBUTES:
            raise SpecError(f"{self.scene_attributes[1]} scene attributes: at most {MAX_SCENE_ATTRIBUTES} go together")
        for name in ("objects", "attributes", "relations"):
            limits = getattr(self, name)
            if limits is not None:
                _check_range(name, limits, 0)
        if self.modality not in MODALITIES:
            raise SpecError(f"modality {self.modality!r}: it must be one of {', '.join(MODALITIES)}")
        if not 0.0 <= self.realism <= 1.0:
            raise SpecError(f"realism {self.realism}: it must be from 0 (any combination) to 1 (plausible only)")
        if self.order not in ORDERS:
            raise SpecError(f"order {self.order!r}: it must be one of {', '.join(ORDERS)}")
        if self.order == "uniform" and self.realism not in (0.0, UNIFORM_REALISM):
            raise SpecError(
                f"order uniform draws all scenes alike, so realism {self.realism} has no effect: leave it at 0.5, or 0 without class rules"
            )

    @property
    def class_rules(self) -> bool:
        """Do the classes of the taxonomy say what goes together? Only realism 0 puts them aside."""
        return self.realism > 0.0

    @property
    def constraints(self) -> str:
        """The constraints in words, for messages."""
        ranges = {name: getattr(self, name) for name in ("complexity", "scene_attributes", "objects", "attributes", "relations")}
        said = [f"{name.replace('_', ' ')} {low}-{high}" for name, (low, high) in ((k, v) for k, v in ranges.items() if v is not None)]
        said += [f"{name} {', '.join(getattr(self, name))}" for name in ("only", "without") if getattr(self, name)]
        said += (
            ["familiar"] * self.familiar + ["containing a graph"] * (self.containing is not None) + ["holdout"] * (self.holdout is not None)
        )
        return "; ".join(said)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; ``from_dict`` reads it back."""
        data = asdict(self)
        data["containing"] = self.containing.to_dict() if self.containing else None
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SceneSpec:
        """Read ``to_dict``.

        Raises:
            SpecError: an unknown key or a value that a spec cannot have.
        """
        fields = dict(data)
        unknown = sorted(set(fields) - set(cls.__dataclass_fields__))
        if unknown:
            raise SpecError(f"unknown key {unknown[0]!r} in a scene spec; allowed are {', '.join(cls.__dataclass_fields__)}")
        _check_kinds(fields)
        for name in ("complexity", "scene_attributes", "objects", "attributes", "relations", "only", "without"):
            if fields.get(name) is not None:
                fields[name] = tuple(fields[name])
        if fields.get("containing") is not None:
            fields["containing"] = SceneGraph.from_dict(fields["containing"])
        if fields.get("holdout") is not None:
            fields["holdout"] = Holdout(**fields["holdout"])
        return cls(**fields)

    def digest(self, taxonomy_digest: str) -> str:
        """16 hex digits that name the space: the spec together with the vocabulary."""
        text = json.dumps([self.to_dict(), taxonomy_digest], sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("complexity", "scene_attributes", "objects", "attributes", "relations"), (list, tuple)),
    **dict.fromkeys(("only", "without"), (list, tuple)),
    **dict.fromkeys(("modality", "order"), (str,)),
    **dict.fromkeys(("familiar", "counts"), (bool,)),
    **dict.fromkeys(("containing", "holdout"), (dict,)),
    "realism": (int, float),
}


def _check_kinds(fields: dict[str, Any]) -> None:
    """Raise ``SpecError`` where a value of a spec, as read from JSON, is of the wrong kind."""
    for name, value in fields.items():
        fine = value is None or (isinstance(value, _KINDS[name]) and not (isinstance(value, bool) and bool not in _KINDS[name]))
        if fine and isinstance(value, (list, tuple)):
            inner = str if name in ("only", "without") else int
            fine = all(isinstance(one, inner) and not isinstance(one, bool) for one in value) and (inner is str or len(value) == 2)
        if not fine or (value is None and name not in ("objects", "attributes", "relations", "containing", "holdout")):
            raise SpecError(f"{name} of the spec is {str(value)[:60]!r}; it is of the wrong kind")
    holdout = fields.get("holdout")
    if holdout is not None:
        kinds = {"kind": str, "side": str, "test_parts": int, "parts": int, "key": int}
        for name, value in holdout.items():
            if name not in kinds or not isinstance(value, kinds[name]) or isinstance(value, bool):
                raise SpecError(f"holdout of the spec has {name} = {str(value)[:60]!r}; it takes {', '.join(kinds)}")
        if not {"kind", "side"} <= set(holdout):
            raise SpecError("holdout of the spec needs a kind and a side")


def _check_range(what: str, limits: Range, least: int) -> None:
    low, high = limits
    if not least <= low <= high:
        raise SpecError(f"{what} {low}-{high}: it must be low-high, from {least} up")
