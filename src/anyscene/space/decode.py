"""From indices back to words: scene graphs out of fillings and batches."""

from __future__ import annotations

from collections.abc import Sequence

from anyscene.scene.batch import SceneBatch
from anyscene.scene.graph import Attribute, SceneAttribute, SceneGraph
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
    return SceneGraph.of_words(
        [taxonomy.objects.names[noun] for noun in nouns],
        [[Attribute(*taxonomy.attribute_words(a)) for a in own] for own in attributes],
        edges,
        [taxonomy.relations.names[relation] for relation in relations],
        [SceneAttribute(*taxonomy.scene_attribute_words(one)) for one in scene_attributes],
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
