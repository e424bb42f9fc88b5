"""Noun phrases: how every object of a batch is named, the first time and later."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from anyscene.language import lexicon as lx
from anyscene.scene.batch import SceneBatch
from anyscene.taxonomy import MASS, PLURAL

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Phrases:
    """The grammar of all objects of a batch.

    Objects of one noun in one scene are told apart by ordinals in the order of mention ("a dog", "a second dog", "the first dog").
    Attributes stand before the noun, but after it ("a fox that is red") where they would run together with it into another
    word ("red fox"), or where a second one of a noun is introduced.
    """

    batch: SceneBatch
    lexicon: lx.Lexicon

    @cached_property
    def row_of(self) -> IntArray:
        """``(objects,)`` scene of each object."""
        return self.batch.row_of_object

    @cached_property
    def object_of(self) -> IntArray:
        """``(attributes,)`` object of each attribute."""
        return self.batch.object_of_attribute

    @cached_property
    def number(self) -> IntArray:
        """``(objects,)`` grammatical number of the noun."""
        return self.lexicon.number[self.batch.objects]

    @cached_property
    def ordinal(self) -> IntArray:
        """``(objects,)`` 0 where the noun occurs once in its scene, else 1, 2, ... in order of mention."""
        objects, row = self.batch.objects, self.row_of
        ordinal = np.zeros(len(objects), dtype=np.int64)
        most = int(np.diff(self.batch.object_start).max(initial=0))
        for step in range(1, most):
            twin = np.flatnonzero((objects[step:] == objects[:-step]) & (row[step:] == row[:-step]))
            ordinal[twin + step] += 1
        again = np.flatnonzero(ordinal)
        if len(again):
            first = np.isin(row * len(self.lexicon.number) + objects, np.unique(row[again] * len(self.lexicon.number) + objects[again]))
            ordinal[first] += 1
        return ordinal

    @cached_property
    def is_count(self) -> BoolArray:
        """``(attributes,)`` is it a numeral?"""
        return self.lexicon.count_place[self.batch.attributes] > 0

    @cached_property
    def count(self) -> IntArray:
        """``(objects,)`` place of the numeral among the lexicon's counts plus 1; 0 for none."""
        count = np.zeros(len(self.batch.objects), dtype=np.int64)
        own = np.flatnonzero(self.is_count)
        count[self.object_of[own]] = self.lexicon.count_place[self.batch.attributes[own]]
        return count

    @cached_property
    def plural(self) -> BoolArray:
        """``(objects,)`` does the phrase take "are"?"""
        single = (self.ordinal > 0) & ((self.count > 0) | (self.number == PLURAL))
        return np.asarray(((self.count > 0) | (self.number == PLURAL)) & ~single, dtype=np.bool_)

    @cached_property
    def uncounted(self) -> BoolArray:
        """``(objects,)`` "some sand", "some scissors": neither a nor a numeral."""
        return np.asarray(((self.number == MASS) | (self.number == PLURAL)) & (self.count == 0), dtype=np.bool_)

    @cached_property
    def noun(self) -> IntArray:
        """``(objects,)`` token of the noun as it stands in the scene."""
        return np.where(self.count > 0, self.lexicon.nouns, self.lexicon.noun) + self.batch.objects

    @cached_property
    def _first_attribute(self) -> IntArray:
        """``(objects,)`` the first attribute that is no numeral, or -1."""
        first = np.full(len(self.batch.objects), -1, dtype=np.int64)
        said = np.flatnonzero(~self.is_count)[::-1]
        first[self.object_of[said]] = said
        return first

    @cached_property
    def _next_joins(self) -> BoolArray:
        """``(attributes,)`` could it be read together with the attribute after it?"""
        attributes = self.batch.attributes
        joins = np.zeros(len(attributes), dtype=np.bool_)
        same = np.flatnonzero((self.object_of[1:] == self.object_of[:-1]) & ~self.is_count[:-1] & ~self.is_count[1:])
        joins[same] = _among(attributes[same] * len(self.lexicon.attribute_an) + attributes[same + 1], self.lexicon.ambiguous_attributes)
        return joins

    @cached_property
    def postposed(self) -> BoolArray:
        """``(objects,)`` do the attributes stand after the noun?"""
        last = np.full(len(self.batch.objects), -1, dtype=np.int64)
        said = np.flatnonzero(~self.is_count)
        last[self.object_of[said]] = said
        own = np.flatnonzero(last >= 0)
        after = np.zeros(len(self.batch.objects), dtype=np.bool_)
        after[own] = _among(
            self.batch.attributes[last[own]] * len(self.lexicon.number) + self.batch.objects[own], self.lexicon.ambiguous_nouns
        )
        return after | (self.ordinal > 1)

    @cached_property
    def postposed_in_tags(self) -> BoolArray:
        """``(objects,)`` the same for tags, where a comma cannot keep two attributes apart."""
        after = self.postposed.copy()
        after[self.object_of[self._next_joins]] = True
        return after

    def head(self, form: int, plain: bool = False) -> IntArray:
        """``(objects,)`` token of the words before the phrase; ``plain`` leaves attributes out of account."""
        an = self.lexicon.noun_an[self.batch.objects]
        if not plain and form in (lx.INDEFINITE, lx.INDEFINITE_CAPITAL):
            led = np.flatnonzero((self._first_attribute >= 0) & ~self.postposed)
            an[led] = self.lexicon.attribute_an[self.batch.attributes[self._first_attribute[led]]]
        return np.asarray(self.lexicon.head[form, self.number, self.count, self.ordinal, an.astype(np.int64)], dtype=np.int64)

    def adjectives(self, tags: bool = False) -> IntArray:
        """``(attributes,)`` token before the noun; empty for numerals and where attributes stand after it."""
        attributes = self.batch.attributes
        tokens = self.lexicon.adjective + attributes
        if not tags:
            tokens = np.where(self._next_joins, self.lexicon.adjective_comma + attributes, tokens)
        after = self.postposed_in_tags if tags else self.postposed
        return np.where(self.is_count | after[self.object_of], 0, tokens)

    def after_noun(self, tags: bool = False) -> IntArray:
        """``(attributes,)`` token after the noun ("that is red", "and big"); empty where attributes stand before it."""
        tokens = np.zeros(len(self.batch.attributes), dtype=np.int64)
        after = self.postposed_in_tags if tags else self.postposed
        own = np.flatnonzero(after[self.object_of] & ~self.is_count)
        attributes, objects = self.batch.attributes[own], self.object_of[own]
        first = own == self._first_attribute[objects]
        last = own == self.batch.attribute_start[objects + 1] - 1
        that = np.where(self.plural[objects], self.lexicon.that_are, self.lexicon.that_is)
        further = np.where(last, self.lexicon.and_predicate, self.lexicon.comma_predicate)
        tokens[own] = np.where(first, that, further) + attributes
        return tokens

    def be(self, singular: int, plural: int) -> IntArray:
        """``(objects,)`` one of two tokens, by the number of the phrase."""
        return np.where(self.plural, plural, singular)


def _among(codes: IntArray, sorted_codes: IntArray) -> BoolArray:
    """Which codes are in a sorted list?"""
    if not len(sorted_codes):
        return np.zeros(len(codes), dtype=np.bool_)
    place = np.searchsorted(sorted_codes, codes)
    place[place == len(sorted_codes)] = 0
    return np.asarray(sorted_codes[place] == codes, dtype=np.bool_)
