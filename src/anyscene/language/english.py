"""Small facts of English: a or an, ordinals, lists."""

from __future__ import annotations

import re

ORDINALS = (
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth",
    "eleventh", "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth", "eighteenth", "nineteenth", "twentieth",
)  # fmt: skip

_CONSONANT_SOUND = re.compile(
    r"(?:u(?:ni(?!n|mp|m[ap]|dent|r|ll)|nani|k|a|in|[bfgrstv][aeiou]|tr[ei]|-|\.|$)|eu|ew|one(?:$|-)|onesie|once|oui)", re.IGNORECASE
)  # fmt: skip
_VOWEL_AFTER_ALL = re.compile(r"urial|unin", re.IGNORECASE)
_SILENT_H = re.compile(r"hour|honest|honou?r|heir|herb|hors(?:$|[ -])", re.IGNORECASE)
_LETTERS = re.compile(r"[A-Z][A-Z0-9]*(?=$|[^a-z])")
_LETTERS_WITH_VOWEL = "AEFHILMNORSX"
_READ_AS_WORDS = ("UFO", "NATO", "NASA", "MIDI", "NADA", "NAND", "SWAT", "RAM", "LAN", "SIM", "HAZMAT", "MEDLINE", "HEPA", "SAM")
_EIGHT = re.compile(r"8|(?:11|18)(?:\D|$|\d{3}\b)")


def takes_an(phrase: str) -> bool:
    """Does the phrase take "an"? By sound: an hour, a unicorn, an X-ray, a one-eyed cat, an 18-wheeler."""
    word = phrase.split(" ", 1)[0]
    if word[:1].isdigit():
        return bool(_EIGHT.match(word))
    letters = _LETTERS.match(word)
    if letters and (len(letters[0]) > 1 or len(word) == 1 or word[1] in "-'.") and len(letters[0]) < 5:
        if letters[0] in ("U", "UFO", "USB", "UV"):
            return False
        if letters[0] not in _READ_AS_WORDS:
            return letters[0][0] in _LETTERS_WITH_VOWEL
    if _SILENT_H.match(word) or re.match(r"[fhlmnrsx]-", word):
        return True
    if word[:1].lower() not in "aeiouáàâäéèêëíìîïóòôöúùûüåøæœ":
        return False
    return bool(_VOWEL_AFTER_ALL.match(word)) or not _CONSONANT_SOUND.match(word)


def ordinal(number: int) -> str:
    """first, second, ...; from 21 on in digits."""
    if number <= len(ORDINALS):
        return ORDINALS[number - 1]
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def capital(text: str) -> str:
    """With a capital first letter."""
    return text[:1].upper() + text[1:]
