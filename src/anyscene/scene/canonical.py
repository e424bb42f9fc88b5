"""Canonical keys of labelled graphs: equal exactly for isomorphic graphs, and quick for those with many twins.

Colour refinement settles most nodes. What it leaves open falls into connected pieces that have nothing to do with each other; a
piece that refinement cannot split is tried with each node of its smallest cell in turn given a colour of its own.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

Around = Mapping[str, Sequence[tuple[str, str, str]]]
Key = tuple[Any, ...]


def canonical_key(labels: Mapping[str, Any], edges: Sequence[tuple[str, str, str]]) -> Key:
    """A key of a graph with labelled nodes and labelled directed edges.

    Args:
        labels: node -> label; labels can be sorted.
        edges: (subject, label, object).
    """
    around: dict[str, list[tuple[str, str, str]]] = {node: [] for node in labels}
    for subject, label, target in edges:
        around[subject].append((">", label, target))
        around[target].append(("<", label, subject))
    rank = {label: i for i, label in enumerate(sorted(set(labels.values())))}
    key = _key(list(labels), {node: rank[label] for node, label in labels.items()}, around)
    return tuple(sorted(labels.values())), key


def _key(nodes: list[str], colors: Mapping[str, int], around: Around) -> Key:
    own = set(nodes)
    colors = _refined(nodes, colors, {node: [way for way in around[node] if way[2] in own] for node in nodes})
    cells: dict[int, list[str]] = {}
    for node in nodes:
        cells.setdefault(colors[node], []).append(node)
    seen = sorted((colors[node], way, label, colors[other]) for node in nodes for way, label, other in around[node] if other in own)
    summary = (tuple(sorted(colors.values())), tuple(seen))
    rest = [node for node in nodes if len(cells[colors[node]]) > 1]
    pieces = _pieces(rest, around)
    if len(pieces) == 1 and len(rest) == len(nodes):
        cell = min(cells.values(), key=lambda cell: (len(cell), colors[cell[0]]))
        twins = {tuple(sorted(around[node])): node for node in cell}
        return summary, (min(_key(nodes, {**colors, node: -1}, around) for node in twins.values()),)
    return summary, tuple(sorted(_key(piece, {node: colors[node] for node in piece}, around) for piece in pieces))


def _refined(nodes: list[str], colors: Mapping[str, int], around: Around) -> Mapping[str, int]:
    """Colours split by the colours around each node, until nothing changes."""
    while True:
        signs: dict[str, Hashable] = {
            node: (colors[node], tuple(sorted((way, label, colors[other]) for way, label, other in around[node]))) for node in nodes
        }
        rank = {sign: i for i, sign in enumerate(sorted(set(signs.values())))}  # type: ignore[type-var]
        refined = {node: rank[sign] for node, sign in signs.items()}
        if len(rank) == len(set(colors.values())):
            return refined
        colors = refined


def _pieces(nodes: list[str], around: Around) -> list[list[str]]:
    """Connected pieces of what is left open."""
    rest = dict.fromkeys(nodes)
    found = []
    while rest:
        piece, frontier = [], [next(iter(rest))]
        while frontier:
            node = frontier.pop()
            if node in rest:
                del rest[node]
                piece.append(node)
                frontier += [other for _, _, other in around[node]]
        found.append(piece)
    return found
