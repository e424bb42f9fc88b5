"""Figures of one round of selection that make collapse visible: are pictures becoming alike, and are easy scenes all that is learnt?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from anyscene.media import read_media
from anyscene.rewards.picture_statistics import group_diversity
from anyscene.rewards.protocol import Record
from anyscene.scene.keyed import key_of
from anyscene.training.policies import TIE
from anyscene.training.selection import Candidate

__all__ = ["diversity", "selection_figures"]


def selection_figures(
    candidates: Sequence[Candidate], chosen: Sequence[Candidate], records: Mapping[str, Record] | None = None
) -> dict[str, Any]:
    """What was selected from what.

    Args:
        candidates: of the round.
        chosen: those of them that are learnt from; of pairs, the better ones.
        records: of the scenes, by id; without them, nothing is said of attribute types.

    Returns:
        ``scenes`` and ``scenes_chosen``, the share of them with a picture that is learnt from; ``score`` and ``score_chosen``, means over
        pictures; ``tied``, the share of scenes whose scores are all alike, of those with at least two; ``unscored``, the share of pictures
        without a score; ``complexity`` and ``complexity_chosen``, means over pictures; and ``by``: for ``complexity`` and
        ``attribute_type`` (a scene counts under every type that it has, or under ``none``) by name the share of ``candidates``, the share
        of ``chosen``, and their ``ratio``, which is below 1 for what selection passes over. What cannot be told is None.
    """
    scores: dict[str, list[float]] = {}
    for one in candidates:
        known = scores.setdefault(one.scene, [])
        if one.score is not None:
            known.append(one.score)
    several = [values for values in scores.values() if len(values) > 1]
    sides, sizes = (candidates, chosen), (len(candidates), len(chosen))
    before, after = ([str(one.complexity) for one in side if one.complexity is not None] for side in sides)
    by = {"complexity": _shares(before, after, (len(before), len(after)))}
    if records is not None:
        types = {scene: _attribute_types(records[scene]) for scene in scores}
        before, after = ([kind for one in side for kind in types[one.scene]] for side in sides)
        by["attribute_type"] = _shares(before, after, sizes)
    return {
        "scenes": len(scores),
        "scenes_chosen": _share(len({one.scene for one in chosen}), len(scores)),
        "score": _mean(one.score for one in candidates),
        "score_chosen": _mean(one.score for one in chosen),
        "tied": _share(sum(float(np.std(values)) < TIE for values in several), len(several)),
        "unscored": _share(sum(one.score is None for one in candidates), len(candidates)),
        "complexity": _mean(one.complexity for one in candidates),
        "complexity_chosen": _mean(one.complexity for one in chosen),
        "by": by,
    }


def diversity(candidates: Sequence[Candidate], *, most: int = 100, seed: int = 0, modality: str = "image") -> dict[str, float | None]:
    """How far the pictures lie apart, as the guard against sameness measures it (`rewards.picture_statistics.group_diversity`).

    Args:
        candidates: of the round.
        most: scenes that are looked at, the same ones for one seed.
        seed: decides which.
        modality: of the files.

    Returns:
        ``within``: mean distance of the pictures of one scene. ``between``: of one picture each of different scenes. Where a model draws
        the same for every caption, both fall; where it only draws one picture a caption, ``within`` falls alone. None where there are not
        two pictures to compare.

    Raises:
        MediaError: a file cannot be read.
    """
    made = [one for one in candidates if one.path is not None]
    order = sorted(made, key=lambda one: (key_of("diversity", seed, one.scene), one.scene, one.sample))
    distances, firsts = [], []
    for place, (_, group) in enumerate(groupby(order, key=lambda one: one.scene)):
        if place == most:
            break
        media = [read_media(one.path, modality) for one in group if one.path is not None]
        firsts += media[:1]
        distance = group_diversity(media)
        if distance is not None:
            distances.append(distance)
    return {"within": _mean(distances), "between": group_diversity(firsts)}


def _attribute_types(record: Record) -> list[str]:
    types = {str(attribute["type"]) for one in record["graph"]["objects"] for attribute in one["attributes"]}
    return sorted(types) or ["none"]


def _shares(candidates: Sequence[str], chosen: Sequence[str], sizes: tuple[int, int]) -> dict[str, dict[str, float | None]]:
    """By name, the share on both sides; whole numbers in order."""
    there, taken = Counter(candidates), Counter(chosen)
    found: dict[str, dict[str, float | None]] = {}
    for name in sorted(there, key=lambda name: (len(name) if name.isdigit() else 0, name)):
        before, after = there[name] / sizes[0], _share(taken[name], sizes[1])
        found[name] = {"candidates": before, "chosen": after, "ratio": None if after is None else after / before}
    return found


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
