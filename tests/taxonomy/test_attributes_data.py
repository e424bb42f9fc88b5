"""The shipped attribute table: read as plain TSV, without the package."""

import re
from collections import Counter
from pathlib import Path

import pytest

DATA = Path(__file__).parents[2] / "src" / "anyscene" / "taxonomy" / "data"
COLUMNS = ["value", "type", "fits", "exclusive", "opposite", "predicate", "hex", "basic_color"]
CLASSES = set(
    "person animal plant food body_part clothing fabric vehicle furniture container tool weapon instrument machine device toy building room "
    "structure covering document artwork artifact landform water natural_object substance place thing animate any".split()
)
BASIC_COLORS = set("black white grey red orange yellow green blue purple pink brown".split())


def read(name: str) -> tuple[list[str], list[dict[str, str]]]:
    lines = (DATA / name).read_text(encoding="utf-8").split("\n")
    assert lines.pop() == "", f"{name} must end with one newline"
    header = lines[0].split("\t")
    rows = [line.split("\t") for line in lines[1:]]
    assert all(len(row) == len(header) for row in rows)
    return header, [dict(zip(header, row, strict=True)) for row in rows]


@pytest.fixture(scope="module")
def attributes() -> list[dict[str, str]]:
    header, rows = read("attributes.tsv")
    assert header == COLUMNS
    return rows


@pytest.fixture(scope="module")
def types() -> list[dict[str, str]]:
    name = "types_attribute.tsv" if (DATA / "types_attribute.tsv").exists() else "types.tsv"
    header, rows = read(name)
    assert header == ["kind", "type", "order", "weight", "open"]
    return [row for row in rows if row["kind"] == "attribute"]


def test_there_are_enough_values(attributes):
    count = Counter(row["type"] for row in attributes)
    assert len(attributes) >= 3200
    assert count["color"] >= 600
    assert count["material"] >= 150
    assert min(count.values()) >= 5


def test_values_are_unique_whatever_their_case(attributes):
    count = Counter(row["value"].lower() for row in attributes)
    assert [value for value, n in count.items() if n > 1] == []


def test_values_can_stand_between_an_article_and_a_noun(attributes):
    bad = [
        row["value"]
        for row in attributes
        if not re.fullmatch(r"[A-Za-z0-9'-]+( [A-Za-z0-9'-]+)*", row["value"])
        or re.match(r"(a|an|the|some) ", row["value"], re.IGNORECASE)
        or " and " in row["value"]
    ]
    assert bad == []


def test_predicates_are_plain_words_that_differ_from_the_value(attributes):
    for row in attributes:
        if row["predicate"]:
            assert re.fullmatch(r"[A-Za-z0-9'-]+( [A-Za-z0-9'-]+)*", row["predicate"]), row
            assert row["predicate"] != row["value"]
            assert not row["predicate"].startswith("is "), row


def test_materials_have_a_made_of_predicate(attributes):
    assert all(row["predicate"].startswith("made of ") for row in attributes if row["type"] == "material")


def test_predicates_are_not_shared(attributes):
    count = Counter((row["predicate"] or row["value"]).lower() for row in attributes)
    assert [words for words, n in count.items() if n > 1] == []


def test_fits_are_known_classes(attributes):
    for row in attributes:
        fits = row["fits"].split(",")
        assert set(fits) <= CLASSES, row
        assert len(fits) == len(set(fits)), row
        assert fits == ["any"] or "any" not in fits, row


def test_plain_colours_are_not_said_of_persons(attributes):
    assert all(not {"person", "animate", "any"} & set(row["fits"].split(",")) for row in attributes if row["type"].startswith("color"))


def test_a_type_is_exclusive_as_a_whole(attributes):
    flags = {}
    for row in attributes:
        assert row["exclusive"] in ("0", "1"), row
        flags.setdefault(row["type"], set()).add(row["exclusive"])
    assert {t for t, f in flags.items() if len(f) > 1} == set()


def test_opposites_are_other_values_of_the_same_type(attributes):
    types_of = {row["value"]: row["type"] for row in attributes}
    for row in attributes:
        if row["opposite"]:
            assert types_of.get(row["opposite"]) == row["type"], row
            assert row["opposite"] != row["value"]


def test_opposites_fit_a_common_class(attributes):
    fits = {row["value"]: set(row["fits"].split(",")) for row in attributes}
    for row in attributes:
        if row["opposite"] and row["type"] != "shape":
            assert fits[row["opposite"]] & fits[row["value"]], row


def test_most_values_have_an_opposite(attributes):
    assert sum(bool(row["opposite"]) for row in attributes) >= 0.6 * len(attributes)


def test_colours_have_hex_and_basic_colour(attributes):
    for row in attributes:
        if row["type"] == "color":
            assert re.fullmatch(r"#[0-9a-f]{6}", row["hex"]), row
            assert row["basic_color"] in BASIC_COLORS, row
        else:
            assert row["hex"] == row["basic_color"] == ""


def test_the_opposite_of_a_colour_is_another_basic_colour(attributes):
    basic = {row["value"]: row["basic_color"] for row in attributes if row["type"] == "color"}
    assert set(basic) >= BASIC_COLORS
    for row in attributes:
        if row["type"] == "color":
            assert row["opposite"] in BASIC_COLORS, row
            assert basic[row["opposite"]] != row["basic_color"], row


@pytest.mark.parametrize(
    ("value", "basic"), [("navy blue", "blue"), ("crimson", "red"), ("lilac", "purple"), ("off-white", "white"), ("slate grey", "grey")]
)
def test_known_colours(attributes, value, basic):
    assert next(row["basic_color"] for row in attributes if row["value"] == value) == basic


def test_colour_pairs_and_their_opposites_share_no_colour(attributes):
    for row in attributes:
        if row["type"] == "color_pair":
            assert not set(row["value"].split("-and-")) & set(row["opposite"].split("-and-")), row


def test_every_type_has_one_row_in_types(attributes, types):
    assert Counter(row["type"] for row in types) == dict.fromkeys({row["type"] for row in attributes}, 1)


def test_types_have_distinct_orders_and_sound_questions(types):
    orders = [int(row["order"]) for row in types]
    assert len(set(orders)) == len(orders)
    by_type = {row["type"]: int(row["order"]) for row in types}
    assert by_type["size"] < by_type["age"] < by_type["shape"] < by_type["color"] < by_type["pattern"] < by_type["material"]
    for row in types:
        assert 0 < float(row["weight"]) <= 1, row
        if row["open"]:
            assert row["open"][0].isupper() and row["open"].endswith("?"), row
            assert "{the}" in row["open"], row
            assert ("{is}" in row["open"]) != ("{does}" in row["open"]), row
