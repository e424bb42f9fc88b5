"""From scene graphs to batches: look words up, put elements in the order in which captions say them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anyscene.errors import GraphError
from anyscene.scene.batch import SceneBatch, Shape, starts_of
from anyscene.scene.graph import Object, SceneGraph
from anyscene.scene.structure import mention_order, subject_order
from anyscene.taxonomy import COUNT_TYPE, Taxonomy, with_words


def taxonomy_for(graphs: Sequence[SceneGraph], taxonomy: Taxonomy) -> Taxonomy:
    """The taxonomy with the words added that the graphs have and it lacks."""
    return with_words(
        taxonomy,
        objects=[one.name for graph in graphs for one in graph.objects],
        attributes=[(a.type, a.value) for graph in graphs for one in graph.objects for a in one.attributes],
        relations=[relation.predicate for graph in graphs for relation in graph.relations],
        scene_attributes=[(a.type, a.value) for graph in graphs for a in graph.scene_attributes],
    )


def batch_of_graphs(graphs: Sequence[SceneGraph], taxonomy: Taxonomy) -> SceneBatch:
    """A batch of the graphs, in the given order; their words must be in the taxonomy (see ``taxonomy_for``).

    Raises:
        GraphError: an object has two numerals.
    """
    shapes: dict[Shape, int] = {}
    shape_index, objects, attributes, relations, ends, scene = [], [], [], [], [], []
    object_counts, attribute_counts, relation_counts, scene_counts = [], [], [], []
    kinds = taxonomy.attributes.type_index
    for graph in graphs:
        ordered, edges, predicates = _in_caption_order(graph)
        values = [_values(one, taxonomy) for one in ordered]
        shape = Shape(tuple(edges), tuple(map(len, values)))
        shape_index.append(shapes.setdefault(shape, len(shapes)))
        objects += [taxonomy.object_index[one.name.casefold()] for one in ordered]
        for own in values:
            attributes += sorted(own, key=lambda value: (kinds[value], value))
        relations += [taxonomy.relation_index[name.casefold()] for name in predicates]
        ends += edges
        own_scene = [taxonomy.scene_attribute_index[a.type.casefold(), a.value.casefold()] for a in graph.scene_attributes]
        scene += sorted(own_scene, key=lambda value: taxonomy.scene_attributes.type_index[value])
        object_counts.append(len(ordered))
        attribute_counts += [len(own) for own in values]
        relation_counts.append(len(edges))
        scene_counts.append(len(own_scene))
    table = np.array(ends, dtype=np.int64).reshape(-1, 2)

    def column(values: Sequence[int]) -> np.ndarray:
        return np.array(values, dtype=np.int64)

    return SceneBatch(
        index=np.arange(len(graphs), dtype=np.int64),
        shapes=tuple(shapes),
        shape_index=column(shape_index),
        objects=column(objects),
        object_start=starts_of(column(object_counts)),
        attributes=column(attributes),
        attribute_start=starts_of(column(attribute_counts)),
        relations=column(relations),
        relation_start=starts_of(column(relation_counts)),
        subjects=table[:, 0],
        targets=table[:, 1],
        scene_attributes=column(scene),
        scene_start=starts_of(column(scene_counts)),
    )


def _values(one: Object, taxonomy: Taxonomy) -> list[int]:
    """Indices of an object's attributes."""
    if sum(a.type == COUNT_TYPE for a in one.attributes) > 1:
        raise GraphError(f"the object {one.name!r} has two numerals; it can have one")
    return [taxonomy.find_attribute(a.type, a.value) for a in one.attributes]


def _in_caption_order(graph: SceneGraph) -> tuple[list[Object], list[tuple[int, int]], list[str]]:
    """Objects in order of mention, and relations in the order of the sentences, by the new positions."""
    place = {one.id: i for i, one in enumerate(graph.objects)}
    pairs = [(place[r.subject], place[r.object]) for r in graph.relations]
    order = mention_order(len(graph.objects), tuple(pairs))
    position = {node: i for i, node in enumerate(order)}
    said: dict[tuple[int, int], list[str]] = {}
    for (a, b), relation in zip(pairs, graph.relations, strict=True):
        said.setdefault((position[a], position[b]), []).append(relation.predicate)
    edges, predicates = [], []
    for subject, targets in subject_order(len(order), tuple(said)):
        for target in targets:
            edges += [(subject, target)] * len(said[subject, target])
            predicates += said[subject, target]
    return [graph.objects[node] for node in order], edges, predicates
