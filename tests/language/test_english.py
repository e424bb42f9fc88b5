"""A or an by sound, ordinals, capitals."""

from __future__ import annotations

import re

import pytest

from anyscene.language.english import ORDINALS, capital, ordinal, takes_an

AN = """
apple axe elephant igloo owl umbrella udder ulna umpire uncle urchin ugly upright undershirt usher utter ultraviolet unusual
unopened unnamed unmade unlit unpainted uneven unimportant unimpressed unimaginative uninhabited uninteresting unintended
umber urn urial Umbrian urban usherette ulcer onion oven ox onyx oblong otter ouch oak ocean eight
eighteen-wheeler eel earring eye elf emu egg ear Easter
hour hourglass hourly honest honor honour honorary heir heirloom heiress herb
X-ray S-shaped L-shaped H-shaped F-16 M16 A-frame I-beam O-ring N-scale R-rated SUV MRI LED LCD NBA FBI HDMI MP3 RV SD
X A 8-ball 8 80 88 800 8,000 11 11th 18 18-wheeler 18th 11,000
Uzbek Irish Egyptian Eskimo Oscar Italian Ulster Umbrella
étagère éclair Ångström îlot ödlandish über
""".split()

A = """
dog fox table woman yo-yo yacht yellow whale wolf window
unicorn unicycle uniform unique university union unit universal unisex unified united useful used user usual usable
utensil utility utopian ukulele urine uranium ureter urologist uvula ubiquitous unanimous
European euphonium eucalyptus euro eulogy ewe ewer
one one-eyed one-legged once-over Ouija
house horse hairy hotel historic hill hare hero heron heroic honey hood hoverboard Honda
U-shaped U-boat U-turn UFO USB UV T-shirt T-shaped V-neck B-52 C-clamp D-ring K-9 P-51 Q-tip Y-shaped Z-shaped J
TV DVD CD VCR BMX PC GPS JPEG QR
3D 2-door 7-up 10 100 1 12th 110 118 180 1,100 7 4x4 1920s-style 17-year-old
RADAR LASER NATO NASA SWAT RAM
""".split()


@pytest.mark.parametrize("word", AN)
def test_an(word: str) -> None:
    assert takes_an(word), f"a {word}"


@pytest.mark.parametrize("word", A)
def test_a(word: str) -> None:
    assert not takes_an(word), f"an {word}"


@pytest.mark.parametrize("word", ["unidentified", "unironed", "unilluminated", "hors", "n-type"])
def test_an_where_the_spelling_misleads(word: str) -> None:
    assert takes_an(word), f"a {word}"


@pytest.mark.parametrize("word", ["Ukrainian", "Ugandan", "onesie"])
def test_a_where_the_spelling_misleads(word: str) -> None:
    assert not takes_an(word), f"an {word}"


def test_the_words_of_the_issue_are_enough() -> None:
    assert len(AN) + len(A) >= 120
    assert not set(AN) & set(A)


@pytest.mark.parametrize(
    ("phrase", "an"),
    [
        ("hour hand", True),
        ("unicorn horn", False),
        ("old dog", True),
        ("dog with an eye", False),
        ("X-ray machine", True),
        ("one armed man", False),
    ],
)
def test_only_the_first_word_counts(phrase: str, an: bool) -> None:
    assert takes_an(phrase) is an


def test_ordinals_in_words_and_in_digits() -> None:
    assert [ordinal(n) for n in (1, 2, 3, 5, 8, 9, 11, 12, 20)] == [
        "first", "second", "third", "fifth", "eighth", "ninth", "eleventh", "twelfth", "twentieth",
    ]  # fmt: skip
    assert [ordinal(n) for n in (21, 22, 23, 24, 30, 41, 100, 101, 111, 112, 113, 121, 1001, 1011)] == [
        "21st", "22nd", "23rd", "24th", "30th", "41st", "100th", "101st", "111th", "112th", "113th", "121st", "1001st", "1011th",
    ]  # fmt: skip


def test_ordinals_differ_and_are_words_up_to_twenty() -> None:
    assert len(ORDINALS) == 20
    assert len({ordinal(n) for n in range(1, 2001)}) == 2000
    assert all(re.fullmatch(r"[a-z]+", ordinal(n)) for n in range(1, 21))


def test_which_ordinals_take_an() -> None:
    assert [n for n in range(1, 100) if takes_an(ordinal(n))] == [8, 11, 18, *range(80, 90)]


def test_capital_changes_the_first_letter_only() -> None:
    assert capital("a big SUV") == "A big SUV"
    assert capital("7 dogs") == "7 dogs"
    assert capital("éclair") == "Éclair"
    assert capital("") == ""
