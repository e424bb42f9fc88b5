"""From indices back to words: scene graphs out of fillings and batches."""

from __future__ import annotations

from collections.abc import Sequence

from anyscene.scene.batch import SceneBatch
from anyscene.scene.graph import Attribute, Object, Relation, SceneAttribute, SceneGraph
from anyscene.scene.structure import Edge
from anyscene.taxonomy import Taxonomy


def to_graph(
    taxonomy: Taxonomy,
    nouns: Sequence[int],
    attributes: Sequence[Sequence[int]],
    edges: Sequence[Edge],
    relations: Sequence[int],
    scene_attributes: Sequence[int],
) -> SceneGraph:
    """A scene graph with object ids ``o0``, ``o1``, ... out of taxonomy indices."""
    kinds, values = taxonomy.attributes.type_index, taxonomy.attributes.values
    scene_kinds, scene_values = taxonomy.scene_attributes.type_index, taxonomy.scene_attributes.values
    return SceneGraph(
        tuple(
            Object(
                f"o{i}", taxonomy.objects.names[noun], tuple(Attribute(taxonomy.attribute_types.names[kinds[a]], values[a]) for a in own)
            )
            for i, (noun, own) in enumerate(zip(nouns, attributes, strict=True))
        ),
        tuple(Relation(f"o{a}", taxonomy.relations.names[r], f"o{b}") for (a, b), r in zip(edges, relations, strict=True)),
        tuple(SceneAttribute(taxonomy.scene_attribute_types.names[scene_kinds[s]], scene_values[s]) for s in scene_attributes),
    )


def graph_of_row(taxonomy: Taxonomy, batch: SceneBatch, row: int) -> SceneGraph:
    """The scene graph of one row of a batch."""
    first, last = batch.object_start[row], batch.object_start[row + 1]
    start, stop = batch.relation_start[row], batch.relation_start[row + 1]
    return to_graph(
        taxonomy,
        batch.objects[first:last].tolist(),
        [batch.attributes[batch.attribute_start[i] : batch.attribute_start[i + 1]].tolist() for i in range(first, last)],
        list(zip(batch.subjects[start:stop].tolist(), batch.targets[start:stop].tolist(), strict=True)),
        batch.relations[start:stop].tolist(),
        batch.scene_attributes[batch.scene_start[row] : batch.scene_start[row + 1]].tolist(),
    )
