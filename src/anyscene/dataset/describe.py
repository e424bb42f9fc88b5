"""Describe: caption and questions for scene graphs that a user brings."""

from __future__ import annotations

from collections import Counter
from typing import Any

from anyscene.dataset.scene_space import RecordOptions, graph_column, plausibility_column
from anyscene.errors import SpecError
from anyscene.language import batch_of_graphs, lexicon_of, realize_captions, realize_questions
from anyscene.language.captions import STYLES
from anyscene.language.encode import taxonomy_for
from anyscene.language.lexicon import MAX_ORDINAL
from anyscene.scene.graph import SceneGraph
from anyscene.taxonomy import MODALITIES, Taxonomy, load_taxonomy, with_counts


def describe(
    graph: SceneGraph, *, taxonomy: Taxonomy | None = None, modality: str = "image", options: RecordOptions | None = None
) -> dict[str, Any]:
    """Caption (in all styles) and questions of a scene graph.

    Words that the taxonomy lacks are taken as count nouns, exclusive attributes and relations as they stand. Objects come back in the order
    in which the caption names them, with the ids ``o0``, ``o1``, ....

    Returns:
        ``caption``, ``captions`` by style, ``graph``, ``complexity``, ``modality``, ``plausibility``, ``questions``.

    Raises:
        SpecError: there is no such modality.
    """
    if modality not in MODALITIES:
        raise SpecError(f"modality {modality!r}: it must be one of {', '.join(MODALITIES)}")
    options = options or RecordOptions()
    words = taxonomy_for([graph], with_counts(taxonomy or load_taxonomy()))
    twins = max(Counter(one.name.casefold() for one in graph.objects).values())
    lexicon = lexicon_of(words, max(MAX_ORDINAL, twins))
    batch = batch_of_graphs([graph], words)
    captions = {style: realize_captions(batch, lexicon, style, modality)[0].as_py() for style in STYLES}
    return {
        "caption": captions[options.style],
        "captions": captions,
        "graph": graph_column(batch, words)[0].as_py(),
        "complexity": graph.complexity,
        "modality": modality,
        "plausibility": plausibility_column(batch, words)[0].as_py(),
        "questions": realize_questions(batch, lexicon, options.questions, modality)[0].as_py(),
    }
