"""What the tiny models of the sandbox learn from: rendered pictures with captions that are partly wrong.

    python tools/sandbox/captions.py pairs.npz 40000      (the training pairs with seed 0: under a minute)

Models trained on these pairs draw single things well and several badly, and are not sure of colours: there is room for self-improvement,
distillation and reinforcement learning to show what they do.

The distribution, exactly. A scene is drawn by a generator that is seeded with (seed, index):

- Things: 70 % one; 20 % two nouns with a relation; 5 % two nouns without one; 5 % two or three of one noun.
- Nouns: all eleven alike; two in one scene differ.
- Attributes of each noun: a colour with 0.8 (one thing) or 0.6 (several), all eight alike. One thing only: a size with 0.2 where its noun
  takes one; a pattern with 0.05 and a material with 0.05 where there are fewer than two attributes so far.
- Relations: all alike; ``larger than`` only between nouns that have no sizes.
- Scene attributes: a background with 0.15; else a background pattern with 0.03, else a frame with 0.03.

The picture is the renderer's, with 32 x 32 pixels; what the scene leaves open (colour, background, places) is drawn by its seed. The
*caption* is that of the scene after noise: every attribute of a thing or of the scene is dropped with 0.10, replaced by another value of
its type with 0.10, and else right; a relation is replaced by another with 0.20. Nouns and numbers of things stay right.

The ``.npz`` file holds ``images`` ``(n, 32, 32, 3) uint8``, ``captions`` ``(n,)`` text and ``graphs`` ``(n,)`` JSON text of what is
truly drawn.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyscene.language import QuestionOptions, batch_of_graphs, lexicon_of, realize_captions, realize_questions
from anyscene.sandbox import load_sandbox_taxonomy, looks
from anyscene.sandbox.renderer import render
from anyscene.scene.graph import Attribute, Object, Relation, SceneAttribute, SceneGraph

SIZE = 32
RELATIONS = ("to the left of", "above", "to the upper left of", "next to", "larger than")
VALUES = {
    "color": tuple(looks.COLORS),
    "size": looks.SIZES,
    "pattern": looks.PATTERNS,
    "material": looks.MATERIALS,
    "count": ("two", "three"),
    "background": tuple(looks.BACKGROUNDS),
    "background_pattern": looks.BACKGROUND_PATTERNS,
    "frame": tuple(looks.FRAMES),
}
DROPPED, SWAPPED, WRONG_RELATION = 0.10, 0.10, 0.20

Draw = np.random.Generator


def draw_scene(draw: Draw) -> SceneGraph:
    """One scene of the distribution."""
    kind = draw.random()
    if kind < 0.7:
        things = [_thing(draw, 0, _pick(draw, looks.SHAPES), alone=True)]
    elif kind < 0.95:
        first = _pick(draw, looks.SHAPES)
        second = _pick(draw, tuple(shape for shape in looks.SHAPES if shape != first))
        things = [_thing(draw, 0, first), _thing(draw, 1, second)]
    else:
        thing = _thing(draw, 0, _pick(draw, looks.SHAPES))
        things = [replace(thing, attributes=(Attribute("count", _pick(draw, VALUES["count"])), *thing.attributes))]
    relations = (Relation("o0", _pick(draw, _relations_of(things)), "o1"),) if 0.7 <= kind < 0.9 else ()
    return SceneGraph(tuple(things), relations, _scene_attributes(draw))


def _thing(draw: Draw, place: int, shape: str, alone: bool = False) -> Object:
    own = []
    if draw.random() < (0.8 if alone else 0.6):
        own.append(Attribute("color", _pick(draw, VALUES["color"])))
    if alone and shape in looks.SIGNS and draw.random() < 0.2:
        own.append(Attribute("size", _pick(draw, VALUES["size"])))
    for kind in ("pattern", "material"):
        if alone and len(own) < 2 and draw.random() < 0.05:
            own.append(Attribute(kind, _pick(draw, VALUES[kind])))
    return Object(f"o{place}", shape, tuple(own))


def _relations_of(things: Sequence[Object]) -> tuple[str, ...]:
    return RELATIONS if all(thing.name in looks.FIGURES for thing in things) else RELATIONS[:-1]


def _scene_attributes(draw: Draw) -> tuple[SceneAttribute, ...]:
    for kind, share in (("background", 0.15), ("background_pattern", 0.03), ("frame", 0.03)):
        if draw.random() < share:
            return (SceneAttribute(kind, _pick(draw, VALUES[kind])),)
    return ()


def _pick(draw: Draw, values: Sequence[str]) -> str:
    return values[int(draw.integers(len(values)))]


def with_noise(graph: SceneGraph, draw: Draw) -> SceneGraph:
    """The scene that the caption tells of: some attributes dropped or swapped, some relations others."""
    things = tuple(
        replace(thing, attributes=tuple(one for attribute in thing.attributes for one in _noisy(attribute, draw)))
        for thing in graph.objects
    )
    relations = tuple(
        replace(one, predicate=_pick(draw, tuple(word for word in _relations_of(graph.objects) if word != one.predicate)))
        if draw.random() < WRONG_RELATION
        else one
        for one in graph.relations
    )
    return SceneGraph(things, relations, tuple(one for attribute in graph.scene_attributes for one in _noisy(attribute, draw)))


def _noisy(attribute: Any, draw: Draw) -> tuple[Any, ...]:
    fate = draw.random()
    if attribute.type == "count" or fate >= DROPPED + SWAPPED:
        return (attribute,)
    if fate < DROPPED:
        return ()
    return (replace(attribute, value=_pick(draw, tuple(value for value in VALUES[attribute.type] if value != attribute.value))),)


def captions_of(graphs: Sequence[SceneGraph]) -> list[str]:
    """Captions as the data engine writes them."""
    taxonomy = load_sandbox_taxonomy()
    captions: list[str] = realize_captions(batch_of_graphs(graphs, taxonomy), lexicon_of(taxonomy)).to_pylist()
    return captions


def training_pairs(seed: int, n: int) -> tuple[NDArray[np.uint8], list[str], list[SceneGraph]]:
    """Pictures ``(n, 32, 32, 3) uint8``, their noisy captions, and the scenes that they truly show."""
    graphs, told, images = [], [], np.zeros((n, SIZE, SIZE, 3), dtype=np.uint8)
    for index in range(n):
        draw = np.random.default_rng([seed, index])
        graph = draw_scene(draw)
        graphs.append(graph)
        told.append(with_noise(graph, draw))
        images[index] = render(graph, seed=int(draw.integers(2**31)), size=SIZE).image
    return images, captions_of(told), graphs


def test_records(seed: int, n: int) -> list[dict[str, Any]]:
    """Scenes of the same distribution with their true captions and yes/no questions (``caption``, ``graph``, ``questions``).

    Give a seed other than that of training.
    """
    graphs = [draw_scene(np.random.default_rng([seed, index])) for index in range(n)]
    taxonomy = load_sandbox_taxonomy()
    batch = batch_of_graphs(graphs, taxonomy)
    asked = realize_questions(batch, lexicon_of(taxonomy), QuestionOptions(forms=("yes_no",), seed=seed)).to_pylist()
    return [
        {"caption": caption, "graph": graph.to_dict(), "questions": questions}
        for caption, graph, questions in zip(captions_of(graphs), graphs, asked, strict=True)
    ]


def main() -> None:
    """Write the training pairs with seed 0."""
    path, n = Path(sys.argv[1]), int(sys.argv[2])
    images, captions, graphs = training_pairs(0, n)
    part = path.with_suffix(".part.npz")
    np.savez_compressed(part, images=images, captions=np.array(captions), graphs=np.array([graph.to_json() for graph in graphs]))
    part.rename(path)


if __name__ == "__main__":
    main()
