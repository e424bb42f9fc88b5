"""The words that judges are asked with, and the reading of what they reply.

A prompt is a lead-in (what the pictures are), the question and an instruction. Pictures come first and the question last, so that
all questions about one media share the longest possible beginning. Whoever changes a word here changes ``TEMPLATE``.

Reading is strict: a reply counts only when it says plainly which answer it means. Anything else is None, never "no".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from anyscene.language.question import Question

__all__ = [
    "NO_WORDS",
    "TEMPLATE",
    "YES_WORDS",
    "instruction",
    "lead_in",
    "letter",
    "letter_variants",
    "parse_choice",
    "parse_yes_no",
    "plain_words",
    "reply_status",
    "word_variants",
]

TEMPLATE = "plain-1"
"""Id of the words below: it goes into every answer."""

YES_WORDS = ("yes",)
NO_WORDS = ("no",)
"""The labels whose probabilities are read, in every case and with or without a space before (`word_variants`)."""

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve".split()
_DIGITS = {word: str(number) for number, word in enumerate(_NUMBERS)}

_YES = {"yes", "yeah", "yep", "y", "true"}
_NO = {"no", "nope", "n", "false"}
_THOUGHT = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"</?[a-z_]+>|<\|[^|<>]*\|>", re.IGNORECASE)
_MARKER = re.compile(r"(?:final answer|(?:my|the|correct|right) answer|\banswer)\"?\s*(?:is|would be|:|=)+\s*", re.IGNORECASE)
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)*|\d+")
_BOTH = re.compile(r"^\W*(?:yes\W*(?:or|and|/|\|)\W*no|no\W*(?:or|and|/|\|)\W*yes)\b")
_UNSURE = re.compile(
    r"\b(?:unsure|uncertain|not (?:entirely |quite |completely )?(?:sure|certain)|(?:can ?not|can't|could not|couldn't|unable to|hard to"
    r"|impossible to|difficult to) (?:be )?(?:tell|say|determined?|answer|know|judge)|(?:do not|don't) know|no (?:idea|clue|way to)"
    r"|it depends|yes and no|not (?:possible|clear|enough))\b|^\W*(?:maybe|perhaps|unclear|unknown|possibly|n/a|not applicable)\b"
)
_REFUSED = re.compile(
    r"\b(?:(?:can ?not|can't|won't|will not|unable to|not able to) (?:help|assist|comply|provide|process|discuss|fulfil+|do that)"
    r"|against (?:my|our|the) (?:polic|guideline|rule)|content polic)"
)


def lead_in(modality: str, frames: int) -> str:
    """What the pictures are, said right after them; empty for a single picture.

    Args:
        modality: ``image``, ``video`` or ``3d``.
        frames: how many of them the judge sees.
    """
    if modality == "video":
        return "This is one frame of a clip." if frames == 1 else f"These are {frames} frames of one clip, in order of time."
    if modality == "3d":
        return "This is a view of a 3D scene." if frames == 1 else f"These are {frames} views of one 3D scene, from different sides."
    return ""


def instruction(question: Question) -> str:
    """The question and how it is to be answered."""
    if question.form == "yes_no":
        return f"{question.text} Answer with one word, Yes or No."
    if question.form == "choice":
        lines = [f"{letter(place)}. {choice}" for place, choice in enumerate(question.choices)]
        return "\n".join([question.text, *lines, "Answer with the letter of the right choice only."])
    return f"{question.text} Answer with one word or a short phrase."


def letter(place: int) -> str:
    """The label of a choice: A, B, ..., Z, AA, AB, ..."""
    return _LETTERS[place] if place < 26 else letter(place // 26 - 1) + _LETTERS[place % 26]


def word_variants(words: Sequence[str]) -> tuple[str, ...]:
    """Every spelling under which a label may stand at the start of a reply: three cases, with and without a space before."""
    cased = [form for word in words for form in (word.capitalize(), word.lower(), word.upper())]
    return tuple(dict.fromkeys(space + form for form in cased for space in ("", " ")))


def letter_variants(place: int) -> tuple[str, ...]:
    """As `word_variants`, for the letter of a choice. Lower case is left out: ``a`` is a word of its own."""
    return (letter(place), " " + letter(place))


def parse_yes_no(text: str) -> bool | None:
    """What a reply to a yes/no question says; None where it says neither, or both.

    ``no bus`` and ``Yes, there is.`` are answers, as are ``**Yes**``, ``The answer is no.`` and ``So, yes.``; an empty reply, ``1000``,
    ``unsuitable``, ``yes or no`` and ``no idea`` are not.
    """
    plain = _plain(text)
    if _BOTH.match(plain) or _UNSURE.search(plain):
        return None
    marked = _MARKER.split(plain)
    if len(marked) > 1:
        said = {_says(_first(part)) for part in marked[1:]} - {None}
        return said.pop() if len(said) == 1 else None
    first = _says(_first(plain))
    if first is not None and (len(_first(plain)) > 1 or len(_WORD.findall(plain)) == 1):
        return first
    ending = re.search(r"(?:^|[,.:;!\n-]|\bso|\bsay)\s*(yes|no)\W*$", plain)
    return _says(ending[1]) if ending else None


def parse_choice(text: str, choices: Sequence[str]) -> int | None:
    """Which choice a reply names, by its words or its letter; None where it names none, several, or a letter and other words.

    Numbers may be written in digits. Of choices that contain one another (``red``, ``dark red``) the longest one found counts.
    """
    plain = _cleaned(text)
    marked = _MARKER.split(plain)
    plain = marked[-1] if len(marked) > 1 else plain
    exact = [place for place, choice in enumerate(choices) if choice.casefold() == plain.strip(" .!\"'\n").casefold()]
    if exact:
        return exact[0] if len(exact) == 1 else None
    by_letter, rest = _letter_of(plain, len(choices))
    words, forms = plain_words(rest), [plain_words(choice) for choice in choices]
    equal = [place for place, form in enumerate(forms) if form == words]
    named = equal or _named(words, forms)
    if by_letter is None:
        return named[0] if len(named) == 1 else None
    return by_letter if named in ([], [by_letter]) or by_letter in equal else None


def reply_status(text: str) -> str:
    """Why a reply could not be read: ``unsure``, ``refused`` or ``unparsed``."""
    plain = _plain(text)
    if _REFUSED.search(plain):
        return "refused"
    return "unsure" if _UNSURE.search(plain) else "unparsed"


def plain_words(text: str) -> str:
    """A short answer brought to one form for comparing: lower case, no punctuation, no articles, numbers from zero to twelve in digits."""
    words = re.findall(r"\w+(?:['-]\w+)*", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(_DIGITS.get(word, word) for word in words if word not in ("a", "an", "the"))


def _cleaned(text: str) -> str:
    """Without thoughts, tags and marks of emphasis; in the plain forms of letters and apostrophes."""
    text = unicodedata.normalize("NFKC", _THOUGHT.sub(" ", text)).replace("\u2019", "'")
    return _TAG.sub(" ", text).replace("*", "").replace("`", "").replace("_", " ").strip()


def _plain(text: str) -> str:
    return _cleaned(text).casefold()


def _first(plain: str) -> str:
    found = _WORD.search(plain)
    return found[0] if found else ""


def _says(word: str) -> bool | None:
    return True if word in _YES else False if word in _NO else None


def _letter_of(plain: str, count: int) -> tuple[int | None, str]:
    """The choice that a leading letter names, and the words after it. ``A dog`` has no letter: that ``A`` is an article."""
    found = re.match(r"\W*(?:(?:option|choice|letter)\s+)?\(?([A-Za-z]{1,2})(?:[).:,\]]|\s*-\s|\W*$|\n)", plain, re.IGNORECASE)
    labels = {letter(place): place for place in range(count)}
    if not found or found[1].upper() not in labels:
        return None, plain
    return labels[found[1].upper()], plain[found.end() :]


def _named(words: str, forms: Sequence[str]) -> list[int]:
    """The choices that stand in the text as whole words, longest first; what one has taken is not there for the others."""
    found = []
    for place in sorted(range(len(forms)), key=lambda place: -len(forms[place])):
        pattern = rf"(?<![\w-]){re.escape(forms[place])}(?![\w-])"
        if forms[place] and re.search(pattern, words):
            found.append(place)
            words = re.sub(pattern, "|", words)
    return found
