"""The renderer: a scene graph as a picture, a clip, or views all around a 3D arrangement, with everything that is true of them.

What a graph leaves open is drawn by a hash of the graph, the seed and the object: the colour of a thing without one, the background.
Patterns, metal, frames and movements appear only where the graph asks for them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from anyscene.errors import SpecError
from anyscene.media.media import MODALITIES
from anyscene.sandbox import looks
from anyscene.sandbox.drawing import Patch, draw, draw_solids
from anyscene.sandbox.layout import Place, UnsatisfiableSceneError, lay_out, value_of
from anyscene.sandbox.looks import Seen, Thing
from anyscene.scene.graph import SceneAttribute, SceneGraph
from anyscene.scene.keyed import key_of

__all__ = ["MIN_SIZE", "Rendering", "describe", "empty_scene", "render", "render_clip", "render_seen", "render_views"]

MIN_SIZE = 16
FRAMES, VIEWS = 8, 8
DEPTH = 0.5
"""Things of a 3D arrangement stand within so much of the picture's side in depth, half in front and half behind."""
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Rendering:
    """A drawn picture, or one frame or view, and the truth about it.

    Attributes:
        image: ``(size, size, 3) uint8`` RGB.
        seen: what is in it; things in the order of the graph's objects.
        boxes: ``(things, 4) float64``: left, top, right, bottom in pixels of each thing's square box; it may reach out of the picture.
        masks: ``(things, size, size) bool``: pixels of which at least half are the thing's.
    """

    image: NDArray[np.uint8]
    seen: Seen
    boxes: NDArray[np.float64]
    masks: NDArray[np.bool_]


def describe(graph: SceneGraph, seed: int = 0, layout: Sequence[Place] | None = None) -> Seen:
    """All that the picture of a graph will show, before it is drawn.

    Args:
        graph: a scene in the words of the sandbox.
        seed: of the layout and of what the graph leaves open.
        layout: places from ``lay_out``; by default they are made.

    Raises:
        UnsatisfiableSceneError: it cannot be drawn (see ``lay_out``), or a word is not one of the sandbox.
    """
    places = lay_out(graph, seed) if layout is None else layout
    key = key_of("looks", seed, graph.to_json())
    at = {one.id: place for place, one in enumerate(graph.objects)}
    things = []
    for place in places:
        owner = at[place.owner]
        things.append(
            Thing(
                shape=_known("shape", graph.objects[owner].name, looks.SHAPES),
                color=_known("color", value_of(graph, owner, "color") or _drawn(tuple(looks.COLORS), key, place.owner), looks.COLORS),
                pattern=_known("pattern", value_of(graph, owner, "pattern", "plain"), looks.PATTERNS),
                material=_known("material", value_of(graph, owner, "material", "paper"), looks.MATERIALS),
                x=place.x,
                y=place.y,
                width=place.diameter,
                height=place.diameter,
                depth=place.depth * DEPTH,
                owner=place.owner,
            )
        )
    return replace(empty_scene(graph.scene_attributes, key), things=tuple(things))


def empty_scene(scene_attributes: Sequence[SceneAttribute], key: int) -> Seen:
    """What a picture with these scene attributes shows when there is nothing in it; ``key`` draws what they leave open.

    Raises:
        UnsatisfiableSceneError: a word is not one of the sandbox.
    """
    whole = {one.type: one.value for one in reversed(scene_attributes)}
    return Seen(
        things=(),
        background=_known("background", whole.get("background") or _drawn(tuple(looks.BACKGROUNDS), key, ""), looks.BACKGROUNDS),
        background_pattern=_known("background pattern", whole.get("background_pattern", "plain"), looks.BACKGROUND_PATTERNS),
        frame=_known("frame", whole.get("frame", ""), ("", *looks.FRAMES)),
        camera_movement=_known("camera movement", whole.get("camera_movement", ""), ("", *looks.CAMERA_MOVEMENTS)),
        transition=_known("transition", whole.get("transition", ""), ("", *looks.TRANSITIONS)),
    )


def _known(what: str, value: str, known: Collection[str]) -> str:
    if value not in known:
        raise UnsatisfiableSceneError(f"the {what} {value!r} is not one of the sandbox; it has {', '.join(filter(None, known))}")
    return value


def _drawn(values: tuple[str, ...], *parts: object) -> str:
    return values[key_of("sandbox", *parts) % len(values)]


def render(graph: SceneGraph, seed: int = 0, size: int = 64) -> Rendering:
    """A picture of a graph in which all of it holds.

    Args:
        graph: a scene in the words of the sandbox.
        seed: another seed is another picture of the same scene.
        size: side in pixels, at least ``MIN_SIZE``.

    Raises:
        UnsatisfiableSceneError: it cannot be drawn.
        SpecError: the size is too small.
    """
    return render_seen(describe(graph, seed), size)[0]


def render_clip(graph: SceneGraph, seed: int = 0, size: int = 64, frames: int = FRAMES) -> tuple[Rendering, ...]:
    """The frames of a clip: the picture of ``render``, moved and changed as the scene attributes say; the first is ``render``'s own.

    Raises:
        UnsatisfiableSceneError: it cannot be drawn.
        SpecError: the size is too small, or there are fewer than two frames.
    """
    return render_seen(describe(graph, seed), size, "video", frames)


def render_views(graph: SceneGraph, seed: int = 0, size: int = 64, views: int = VIEWS) -> tuple[Rendering, ...]:
    """Views around the scene as solids on a turntable, in parallel projection; the first is the front, laid out as ``render`` does.

    Raises:
        UnsatisfiableSceneError: it cannot be drawn.
        SpecError: the size is too small, or there are no views.
    """
    return render_seen(describe(graph, seed), size, "3d", views)


def render_seen(seen: Seen, size: int = 64, modality: str = "image", frames: int = FRAMES) -> tuple[Rendering, ...]:
    """What ``describe`` gives, drawn: one picture, the frames of a clip, or views all around.

    Args:
        seen: what is to be drawn.
        size: side in pixels, at least ``MIN_SIZE``.
        modality: ``image``, ``video`` or ``3d``.
        frames: of a clip, at least 2; or views; a picture is one.

    Raises:
        SpecError: the size is too small, there are too few frames, or there is no such modality.
    """
    if modality not in MODALITIES:
        raise SpecError(f"modality {modality!r}: it must be one of {', '.join(MODALITIES)}")
    if size < MIN_SIZE:
        raise SpecError(f"a picture of {size} pixels a side: it needs at least {MIN_SIZE}")
    if modality == "image":
        return (_rendering(seen, size),)
    if modality == "3d":
        if frames < 1:
            raise SpecError(f"{frames} views: at least one is needed")
        return tuple(_view(seen, size, 2 * np.pi * number / frames) for number in range(frames))
    if frames < 2:
        raise SpecError(f"a clip of {frames} frames: it needs at least 2")
    parts = [number / (frames - 1) for number in range(frames)]
    return tuple(_rendering(_moved(seen, part), size, max(0.0, 2 * part - 1)) for part in parts)


def _rendering(seen: Seen, size: int, change: float = 0.0) -> Rendering:
    canvas, patches = draw(seen, size)
    _turn(canvas, seen.transition, change)
    return Rendering(_pixels(canvas), seen, _boxes(seen, size), _masks(patches, size))


def _pixels(canvas: Floats) -> NDArray[np.uint8]:
    return np.asarray(np.clip(canvas + 0.5, 0, 255).astype(np.uint8))


def _boxes(seen: Seen, size: int) -> NDArray[np.float64]:
    rows = [(one.x - abs(one.width) / 2, one.y - one.height / 2, one.x + abs(one.width) / 2, one.y + one.height / 2) for one in seen.things]
    return np.array(rows, dtype=np.float64).reshape(-1, 4) * size


def _masks(patches: Sequence[Patch | None], size: int) -> NDArray[np.bool_]:
    masks = np.zeros((len(patches), size, size), dtype=np.bool_)
    for mask, patch in zip(masks, patches, strict=True):
        if patch is not None:
            top, left, share, _ = patch
            mask[top : top + share.shape[0], left : left + share.shape[1]] = share >= 0.5
    return masks


# ---- clips ----------------------------------------------------------------------------------------------------------------------


def _moved(seen: Seen, part: float) -> Seen:
    """What the camera sees when so much of the clip is over."""
    grow = {"zoom in": looks.ZOOM, "zoom out": 1 / looks.ZOOM}.get(seen.camera_movement, 1.0) ** part
    slide = {"pan left": looks.PAN, "pan right": -looks.PAN}.get(seen.camera_movement, 0.0) * part
    if grow == 1.0 and slide == 0.0:
        return seen
    things = tuple(
        replace(one, x=0.5 + (one.x - 0.5) * grow + slide, y=0.5 + (one.y - 0.5) * grow, width=one.width * grow, height=one.height * grow)
        for one in seen.things
    )
    return replace(seen, things=things)


def _turn(canvas: Floats, transition: str, change: float) -> None:
    """Fade or wipe a frame by so much."""
    if not transition or change <= 0:
        return
    target = looks.BACKGROUNDS["white" if transition.endswith("white") else "black"][0]
    if transition.startswith("fade"):
        canvas *= 1 - change
        canvas += change * target
    else:
        size = canvas.shape[1]
        share = np.clip(change * size - np.arange(size), 0, 1).astype(np.float32)[None, :, None]
        canvas *= 1 - share
        canvas += share * target


# ---- views ----------------------------------------------------------------------------------------------------------------------


def _view(seen: Seen, size: int, turn: float) -> Rendering:
    """The arrangement turned about its upright axis."""
    cosine, sine = float(np.cos(turn)), float(np.sin(turn))
    turned = [
        replace(
            one,
            x=0.5 + (one.x - 0.5) * cosine + one.depth * sine,
            depth=one.depth * cosine - (one.x - 0.5) * sine,
            width=one.width * cosine,
        )
        for one in seen.things
    ]
    order = sorted(range(len(turned)), key=lambda place: (-turned[place].depth, place))
    canvas, drawn = draw_solids(replace(seen, things=tuple(turned[place] for place in order)), size, turn)
    masks = np.zeros((len(turned), size, size), dtype=np.bool_)
    for place, mask in zip(order, drawn, strict=True):
        masks[place] = mask
    view = replace(seen, things=tuple(turned))
    return Rendering(_pixels(canvas), view, _boxes(view, size), masks)
