"""The shipped scene attributes: plain checks of the TSV files, without the loader."""

import csv
import re
from collections import Counter
from pathlib import Path

import pytest

DATA = Path(__file__).parents[2] / "src" / "anyscene" / "taxonomy" / "data"
COLUMNS = ["value", "type", "group", "phrase", "modalities", "contradicts", "visible", "question"]
MODALITIES = {"image", "video", "3d"}
GROUPS = {"style", "scene", "camera", "video", "3d"}
FORBIDDEN = re.compile(r"[,=@;:\"“”‘’«»?!()\t]")
CAMERA_DATA = ("iso", "aperture", "film", "camera", "lens", "focal_length")


def read(name):
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


ROWS = read("scene_attributes.tsv")
SETS = {row["name"]: row["members"].split(",") for row in read("sets.tsv")}
TYPES = {row["type"] for row in ROWS}
KEYS = {f"{row['type']}={row['value']}" for row in ROWS}
BY_KEY = {f"{row['type']}={row['value']}": row for row in ROWS}


def entries(row):
    return [entry for entry in row["contradicts"].split(",") if entry]


def expanded(row):
    out = set()
    for entry in entries(row):
        out.update(SETS[entry[1:]] if entry.startswith("@") else [entry])
    return out


AGAINST = {key: expanded(row) for key, row in BY_KEY.items()}


def contradict(a, b):
    """Read both ways, as the format says; a type on either side covers its values."""
    return b in AGAINST[a] or b.split("=")[0] in AGAINST[a] or a in AGAINST[b] or a.split("=")[0] in AGAINST[b]


def type_rows():
    rows = []
    for name in ("types.tsv", "types_scene.tsv"):
        if (DATA / name).exists():
            rows += [row for row in read(name) if row["kind"] == "scene_attribute"]
    return rows


def test_counts_and_size():
    assert list(ROWS[0]) == COLUMNS
    assert len(ROWS) >= 3350
    assert sum(row["visible"] == "1" for row in ROWS) >= 2280
    assert sum(row["type"] == "action" for row in ROWS) >= 60
    assert sum((DATA / name).stat().st_size for name in ("scene_attributes.tsv", "sets.tsv")) < 620_000


def test_unique():
    assert not [key for key, count in Counter((row["type"], row["value"]) for row in ROWS).items() if count > 1]
    assert not [text for text, count in Counter(row["phrase"].casefold() for row in ROWS).items() if count > 1]


def test_characters_and_columns():
    for row in ROWS:
        for column in ("value", "type", "phrase"):
            text = row[column]
            assert text and text == text.strip() and "  " not in text and not FORBIDDEN.search(text), row
        assert not row["phrase"].endswith("."), row
        assert row["group"] in GROUPS, row
        modalities = row["modalities"].split(",")
        assert modalities and set(modalities) <= MODALITIES and len(set(modalities)) == len(modalities), row


def test_questions():
    for row in ROWS:
        assert row["visible"] in ("0", "1"), row
        if row["visible"] == "1":
            assert re.fullmatch(r"[A-Z].*[^ ?]\?", row["question"]) and "  " not in row["question"], row
        else:
            assert not row["question"], row


def test_contradictions_and_sets_resolve():
    for name, members in SETS.items():
        assert re.fullmatch(r"\w+", name), name
        assert members and not [member for member in members if member not in TYPES and member not in KEYS], name
    for row in ROWS:
        for entry in entries(row):
            assert entry in TYPES or entry in KEYS or (entry.startswith("@") and entry[1:] in SETS), (row["value"], entry)
        assert row["type"] not in entries(row), row["value"]
    assert set(SETS) == {entry[1:] for row in ROWS for entry in entries(row) if entry.startswith("@")}


def test_phrases_follow_is_or_is_shown():
    participles = "set|lit|seen|shot|filmed|framed|composed|rendered|backlit|bathed|edged|striped|patterned|divided|arranged|frozen"
    adverbs = "slightly|completely|mostly|barely|strongly"
    prepositions = "in|at|on|during|under|with|from|as|over|while|against|above|after|before|through"
    pattern = re.compile(rf"({participles}|{adverbs}|{prepositions}) ")
    assert not [row["phrase"] for row in ROWS if not pattern.match(row["phrase"] + " ")]


def test_a_and_an():
    """Ordinary lower-case words by their first letter; names and letters by a spot list."""
    silent, consonant = re.compile(r"(hour|honest|heir|herb\b)"), re.compile(r"(uni[vtfqc]|use|ut[oi]|eu|one\b|once)")
    for row in ROWS:
        for text in (row["phrase"], row["question"]):
            for article, word in re.findall(r"\b(an?) ([a-z][\w-]+)", text):
                vowel = bool(silent.match(word)) or (word[0] in "aeiou" and not consonant.match(word))
                assert (article == "an") == vowel, text
    phrases = "\n".join(row["phrase"] for row in ROWS)
    for good in ("an S-curve", "an HDR ", "an X-ray ", "an L-shaped", "a U-shaped", "an herb garden", "a university campus"):
        assert good in phrases, good
    assert not re.search(
        r"\ban (Canon|Nikon|Sony|OnePlus|U-|UV|Hasselblad|Leica|Kodak)|\ba (Olympus|iPhone|ARRI|Epson|Apple|LED|FPV|HDR|X-ray|IMAX|Insta)",
        phrases,
    )


def test_no_living_artists():
    living = {
        "Jeff Koons",
        "Damien Hirst",
        "Banksy",
        "Yayoi Kusama",
        "David Hockney",
        "Takashi Murakami",
        "Gerhard Richter",
        "Ai Weiwei",
        "Greg Rutkowski",
        "Hayao Miyazaki",
        "Annie Leibovitz",
        "Cindy Sherman",
        "Steve McCurry",
        "Wes Anderson",
        "Tim Burton",
        "Anish Kapoor",
        "Kehinde Wiley",
        "Jenny Saville",
    }
    assert not {row["value"] for row in ROWS if row["type"] == "artist"} & living


@pytest.mark.parametrize(
    "technique", ["oil painting", "watercolor painting", "woodcut print", "pencil sketch", "mosaic of glass tiles", "anime scene"]
)
def test_camera_data_never_with_drawn_media(technique):
    for row in ROWS:
        if row["type"] in CAMERA_DATA and set(row["modalities"].split(",")) & set(
            BY_KEY[f"technique={technique}"]["modalities"].split(",")
        ):
            assert contradict(f"technique={technique}", f"{row['type']}={row['value']}"), row["value"]


@pytest.mark.parametrize(
    "place", ["kitchen", "classroom", "elevator interior", "limestone cave", "coral reef", "outer space", "spaceship cockpit"]
)
def test_weather_stays_outdoors(place):
    for row in ROWS:
        if row["type"] in ("weather", "season"):
            assert contradict(f"location={place}", f"{row['type']}={row['value']}"), row["value"]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("time_of_day=night", "lighting=bright sunlight"),
        ("season=winter", "location=sandy desert"),
        ("season=winter", "location=tropical island"),
        ("season=summer", "weather=blizzard"),
        ("location=bank vault", "lighting=golden-hour light"),
        ("weather=sunny", "lighting=moonlight"),
        ("technique=oil painting", "movement=Ukiyo-e"),
        ("artist=Claude Monet", "iso=ISO 100"),
        ("genre=political cartoon", "technique=color photograph"),
        ("action=rain begins", "location=kitchen"),
        ("render_style=voxel", "technique=marble sculpture"),
    ],
)
def test_pairs_that_contradict(a, b):
    assert contradict(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("location=beach", "weather=sunny"),
        ("location=kitchen", "lighting=window light"),
        ("weather=thunderstorm", "location=castle exterior"),
        ("season=autumn", "location=city park"),
        ("shot_size=macro shot", "lens=macro lens"),
        ("time_of_day=night", "lighting=moonlight"),
        ("location=spaceship cockpit", "movement=Art Deco"),
        ("surface=rusty", "form=cylindrical"),
    ],
)
def test_pairs_that_go_together(a, b):
    assert not contradict(a, b)


def test_types():
    rows = list(type_rows())
    for name in TYPES:
        found = [row for row in rows if row["type"] == name]
        assert found, name
        assert all(0 < float(row["weight"]) <= 1 for row in found), name
        assert all(not row["open"] or row["open"].endswith("?") for row in found), name
    orders = {row["type"]: int(row["order"]) for row in rows if row["type"] in TYPES}
    assert len(set(orders.values())) == len(orders)
    assert orders["location"] < orders["weather"] < orders["lighting"] < orders["technique"] < orders["camera"] < orders["action"]
