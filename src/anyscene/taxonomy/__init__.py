"""What exists: objects, attributes, relations and scene attributes, and which of them go together."""

from anyscene.taxonomy.extend import COUNT_TYPE, NUMERALS, numeral, with_counts, with_words
from anyscene.taxonomy.loading import BASIC_COLORS, SHIPPED, check_taxonomy, load_taxonomy, regular_plural
from anyscene.taxonomy.plausibility import Plausibility
from anyscene.taxonomy.reading import Problem
from anyscene.taxonomy.taxonomy import (
    COUNT,
    EITHER,
    FAMILIAR,
    MASS,
    MODALITIES,
    NUMBERS,
    PLURAL,
    RELATION_TYPES,
    VISIBLE,
    Attributes,
    Objects,
    Relations,
    SceneAttributes,
    Taxonomy,
    Types,
    close_names,
)

__all__ = [
    "BASIC_COLORS",
    "COUNT",
    "COUNT_TYPE",
    "EITHER",
    "FAMILIAR",
    "MASS",
    "MODALITIES",
    "NUMBERS",
    "NUMERALS",
    "PLURAL",
    "RELATION_TYPES",
    "SHIPPED",
    "VISIBLE",
    "Attributes",
    "Objects",
    "Plausibility",
    "Problem",
    "Relations",
    "SceneAttributes",
    "Taxonomy",
    "Types",
    "check_taxonomy",
    "close_names",
    "load_taxonomy",
    "numeral",
    "regular_plural",
    "with_counts",
    "with_words",
]
