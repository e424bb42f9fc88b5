"""A grammar checker of its own over rows of the vocabulary that ships: articles, agreement, punctuation."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pytest

from anyscene.dataset import RecordOptions, SceneSpace
from anyscene.language import STYLES, QuestionOptions
from anyscene.taxonomy import MASS, PLURAL, Taxonomy, load_taxonomy

ROWS = 5000
ASKED = 1200
NUMERALS = "two|three|four|five|six"
ORDINALS = "first|second|third|fourth|fifth|sixth|seventh|eighth"
_ARTICLE = re.compile(r"(?<![\w'’-])(an?|An?) (?=([^\s,.?]+))")
_YOO = re.compile(r"uni(?!n|m)|unan|eu|ewe|ura|ure|uri|uro|use|usu|ut[aeio]|uv|uk|ub|uak|uin|utr", re.IGNORECASE)
_LETTER_NAMES = "AEFHILMNORSX"


def needs_an(word: str) -> bool | None:
    """By other rules than those of `anyscene.language.english`; None where they do not say."""
    if word[0].isdigit():
        return True if re.match(r"8|11\b|18\b", word) else False if re.match(r"[2-7]|9|10\b|1[2-7]\b|19", word) else None
    if re.match(r"[A-Z]($|[-.'])", word):
        return word[0] in _LETTER_NAMES
    if re.match(r"[A-Z]{2}", word):
        return None
    if re.match(r"[a-z]-", word):
        return None
    if re.match(r"(hour|hono|heir|herb|hors$|urial|unin|ununb|oui|one)", word, re.IGNORECASE):
        return None
    if not word[0].isascii() or word[0] in "yY":
        return None
    if word[0].lower() in "aeio":
        return None if re.match(r"eu|ew", word, re.IGNORECASE) else True
    if word[0] in "uU":
        return None if _YOO.match(word) else True
    return False


@cache
def records() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = space().source(3, RecordOptions(questions=QuestionOptions(foils=0.3))).table(0, ASKED).to_pylist()
    return rows


@cache
def captions(style: str) -> list[str]:
    column: list[str] = space().source(3, RecordOptions(style=style)).table(0, ROWS, questions=False)["caption"].to_pylist()
    return column


@cache
def space() -> SceneSpace:
    return SceneSpace(complexity=(1, 8), scene_attributes=(0, 2), counts=True)


def texts(where: str) -> list[str]:
    return captions(where) if where in STYLES else [q["text"] for record in records() for q in record["questions"]]


@pytest.mark.parametrize("where", [*STYLES, "questions"])
def test_articles_agree_with_the_next_word(where: str) -> None:
    wrong, checked = [], 0
    for text in texts(where):
        for match in _ARTICLE.finditer(text):
            if match[1][0] == "A" and match.start() and text[match.start() - 2] not in ".;":
                continue  # a name: in the style of An Gyeon
            wanted = needs_an(match[2])
            if wanted is not None:
                checked += 1
                if wanted != (match[1].lower() == "an"):
                    wrong.append(f"{match[0]}{match[2]}")
    assert not wrong, sorted(set(wrong))[:20]
    assert checked > (0 if where == "tags" else ROWS)


@pytest.mark.parametrize("where", [*STYLES, "questions"])
def test_punctuation(where: str) -> None:
    bad = re.compile(r"  | [,.;?]|,,|\.\.|,\.|;;|[,.;?](?=[^\s\d])|^\s|\s$|[{}]|(?<!\w)(?:a|an|the|some) (?:a|an|the|some) ", re.IGNORECASE)
    for text in texts(where):
        found = bad.search(text)
        assert not found or re.search(r"\.\w|\w\.-", text), f"{found} in {text}"  # U.S., F.5: a full stop within a word


@pytest.mark.parametrize("style", ["plain", "dense"])
def test_sentences_start_with_a_capital_and_end_with_a_full_stop(style: str) -> None:
    for text in captions(style):
        assert text[0].isupper(), text
        assert text.endswith("."), text
        assert not re.search(r"(?<!St)\. [a-z]", text), text


def nouns(record: dict[str, Any], taxonomy: Taxonomy) -> list[tuple[str, bool, bool]]:
    """(the noun as it stands, does it take "are" on its own, is it one of several) of every object."""
    names = [one["name"] for one in record["graph"]["objects"]]
    found = []
    for one in record["graph"]["objects"]:
        place = taxonomy.object_index[one["name"].casefold()]
        counted = any(value["type"] == "count" for value in one["attributes"])
        word = taxonomy.objects.plurals[place] if counted else one["name"]
        found.append((word, counted or taxonomy.objects.number[place] == PLURAL, names.count(one["name"]) > 1))
    return found


def test_verbs_agree_with_their_subjects() -> None:
    """In dense captions and questions every subject is a definite noun phrase, so its verb is easily found."""
    taxonomy = space().taxonomy
    checked = {True: 0, False: 0}
    for record, dense in zip(records(), captions("dense")[:ASKED], strict=True):
        asked = "\n".join(q["text"] for q in record["questions"])
        for word, plural, several in nouns(record, taxonomy):
            group = rf"(?:(?:{ORDINALS}) )(?P<group>(?:group|set|portion) of )?" if several else rf"(?P<group>)(?:(?:{NUMERALS}) )?"
            for pattern, text in (
                (rf"The {group}{re.escape(word)} (?P<be>is|are) ", dense),
                (rf"^(?P<be>Is|Are) the {group}{re.escape(word)} ", asked),
            ):
                for match in re.finditer(pattern, text, re.MULTILINE):
                    wanted = plural and not match["group"]
                    if several and not match["group"] and plural:
                        continue  # a noun that is both counted and not, in one scene
                    checked[wanted] += 1
                    assert match["be"].lower() == ("are" if wanted else "is"), f"{match[0]!r} in {text}"
    assert checked[True] > 100
    assert checked[False] > 1000


@pytest.mark.parametrize("style", ["plain", "dense"])
def test_there_is_and_there_are(style: str) -> None:
    taxonomy = load_taxonomy()
    plurals = {name for name, number in zip(taxonomy.objects.names, taxonomy.objects.number, strict=True) if number == PLURAL}
    masses = {name for name, number in zip(taxonomy.objects.names, taxonomy.objects.number, strict=True) if number == MASS}
    some = 0
    for text in captions(style):
        for match in re.finditer(rf"There (is|are) (?:also )?(a|an|some|{NUMERALS}) ([^,.]*)", text):
            be, head, rest = match.groups()
            if head in ("a", "an"):
                assert be == "is", text
            elif head != "some":
                assert be == "are", text
            else:
                words = rest.split(" that ")[0].split(" ")
                ends = {" ".join(words[i:]) for i in range(len(words))}
                if ends & plurals and not ends & masses:
                    some += 1
                    assert be == "are", text
                elif ends & masses and not ends & plurals:
                    some += 1
                    assert be == "is", text
    assert some > 100


def test_plain_subjects_agree_with_their_verbs() -> None:
    some = 0
    for text in captions("plain"):
        for match in re.finditer(rf"(?:^|\. )(A|An|{NUMERALS.title()}) (?!group of )([^,.]*?) (is|are) ", text):
            if " that " in match[2]:
                continue
            some += 1
            assert match[3] == ("is" if match[1] in ("A", "An") else "are"), text
    assert some > 1000


def test_what_the_checker_is_for() -> None:
    """It finds faults where there are some."""
    assert needs_an("owl") and needs_an("8-ball") and needs_an("X-ray") and needs_an("udder")
    assert needs_an("fox") is False and needs_an("3D") is False
    assert [match[0] + match[2] for match in _ARTICLE.finditer("An owl near a fox.")] == ["An owl", "a fox"]
