"""Scene graphs as values, their structures enumerated up to isomorphism, and the formats they come in."""

from anyscene.scene.formats import load_graph, read_graph, to_networkx, to_node_link
from anyscene.scene.graph import Attribute, Object, Relation, SceneAttribute, SceneGraph
from anyscene.scene.structure import Component, Structure, count_structures, enumerate_components, enumerate_structures

__all__ = [
    "Attribute",
    "Component",
    "Object",
    "Relation",
    "SceneAttribute",
    "SceneGraph",
    "Structure",
    "count_structures",
    "enumerate_components",
    "enumerate_structures",
    "load_graph",
    "read_graph",
    "to_networkx",
    "to_node_link",
]
