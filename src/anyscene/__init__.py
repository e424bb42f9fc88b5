"""Anyscene: every scene is a number. Scene graphs, captions and questions for text-to-vision models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from anyscene.dataset import RecordOptions, SceneSpace, describe, generate, read_records
    from anyscene.errors import AnySceneError
    from anyscene.language import QuestionOptions, parse
    from anyscene.scene import Attribute, Object, Relation, SceneAttribute, SceneGraph, load_graph
    from anyscene.space import Holdout, SceneSpec
    from anyscene.taxonomy import Taxonomy, load_taxonomy

__all__ = [
    "AnySceneError",
    "Attribute",
    "Holdout",
    "Object",
    "QuestionOptions",
    "RecordOptions",
    "Relation",
    "SceneAttribute",
    "SceneGraph",
    "SceneSpace",
    "SceneSpec",
    "Taxonomy",
    "describe",
    "generate",
    "load_graph",
    "load_taxonomy",
    "parse",
    "read_records",
]
_HOMES = {
    "AnySceneError": "errors",
    "Attribute": "scene",
    "Holdout": "space",
    "Object": "scene",
    "QuestionOptions": "language",
    "RecordOptions": "dataset",
    "Relation": "scene",
    "SceneAttribute": "scene",
    "SceneGraph": "scene",
    "SceneSpace": "dataset",
    "SceneSpec": "space",
    "Taxonomy": "taxonomy",
    "describe": "dataset",
    "generate": "dataset",
    "load_graph": "scene",
    "load_taxonomy": "taxonomy",
    "parse": "language",
    "read_records": "dataset",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import anyscene`` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'anyscene' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"anyscene.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
