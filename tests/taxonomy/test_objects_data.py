"""The shipped object vocabulary: complete, unique, inoffensive, and right on the words that everybody knows."""

import csv
import re
from pathlib import Path

import pytest

from anyscene.taxonomy import regular_plural

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "src" / "anyscene" / "taxonomy" / "data"
REVIEW = ROOT / "tools" / "taxonomy" / "review"
CLASSES = {
    *(
        "person",
        "animal",
        "plant",
        "food",
        "body_part",
        "clothing",
        "fabric",
        "vehicle",
        "furniture",
        "container",
        "tool",
        "weapon",
        "instrument",
        "machine",
        "device",
    ),
    *(
        "toy",
        "building",
        "room",
        "structure",
        "covering",
        "document",
        "artwork",
        "artifact",
        "landform",
        "water",
        "natural_object",
        "substance",
        "place",
        "thing",
    ),
}

# name: (number, plural, class)
GOLD = {
    "dog": ("count", "dogs", "animal"),
    "cat": ("count", "cats", "animal"),
    "mouse": ("count", "mice", "animal"),
    "wolf": ("count", "wolves", "animal"),
    "goose": ("count", "geese", "animal"),
    "sheep": ("count", "sheep", "animal"),
    "deer": ("count", "deer", "animal"),
    "octopus": ("count", "octopuses", "animal"),
    "butterfly": ("count", "butterflies", "animal"),
    "alligator": ("count", "alligators", "animal"),
    "goldfish": ("count", "goldfish", "animal"),
    "cattle": ("plural", "cattle", "animal"),
    "woman": ("count", "women", "person"),
    "child": ("count", "children", "person"),
    "police officer": ("count", "police officers", "person"),
    "fisherman": ("count", "fishermen", "person"),
    "chef": ("count", "chefs", "person"),
    "cactus": ("count", "cacti", "plant"),
    "sunflower": ("count", "sunflowers", "plant"),
    "lily of the valley": ("count", "lilies of the valley", "plant"),
    "moss": ("mass", "", "plant"),
    "apple": ("count", "apples", "food"),
    "potato": ("count", "potatoes", "food"),
    "strawberry": ("count", "strawberries", "food"),
    "beer": ("either", "beers", "food"),
    "cake": ("either", "cakes", "food"),
    "pizza": ("either", "pizzas", "food"),
    "steak": ("either", "steaks", "food"),
    "rice": ("mass", "", "food"),
    "bread": ("mass", "", "food"),
    "milk": ("mass", "", "food"),
    "cheese": ("mass", "", "food"),
    "spaghetti": ("mass", "", "food"),
    "water": ("mass", "", "substance"),
    "sand": ("mass", "", "substance"),
    "snow": ("mass", "", "substance"),
    "gold": ("mass", "", "substance"),
    "jewelry": ("mass", "", "clothing"),
    "underwear": ("mass", "", "clothing"),
    "velvet": ("mass", "", "fabric"),
    "scissors": ("plural", "scissors", "tool"),
    "tweezers": ("plural", "tweezers", "tool"),
    "jeans": ("plural", "jeans", "clothing"),
    "pajamas": ("plural", "pajamas", "clothing"),
    "sunglasses": ("plural", "sunglasses", "clothing"),
    "binoculars": ("plural", "binoculars", "device"),
    "stairs": ("plural", "stairs", "structure"),
    "scarf": ("count", "scarves", "clothing"),
    "shoe": ("count", "shoes", "clothing"),
    "wedding ring": ("count", "wedding rings", "clothing"),
    "tractor": ("count", "tractors", "vehicle"),
    "bicycle": ("count", "bicycles", "vehicle"),
    "bus": ("count", "buses", "vehicle"),
    "sailboat": ("count", "sailboats", "vehicle"),
    "helicopter": ("count", "helicopters", "vehicle"),
    "aircraft carrier": ("count", "aircraft carriers", "vehicle"),
    "guitar": ("count", "guitars", "instrument"),
    "trumpet": ("count", "trumpets", "instrument"),
    "piano": ("count", "pianos", "instrument"),
    "sword": ("count", "swords", "weapon"),
    "cannon": ("count", "cannons", "weapon"),
    "hammer": ("count", "hammers", "tool"),
    "knife": ("count", "knives", "tool"),
    "toothbrush": ("count", "toothbrushes", "tool"),
    "chair": ("count", "chairs", "furniture"),
    "bookshelf": ("count", "bookshelves", "furniture"),
    "toilet": ("count", "toilets", "furniture"),
    "bottle": ("count", "bottles", "container"),
    "suitcase": ("count", "suitcases", "container"),
    "wineglass": ("count", "wineglasses", "container"),
    "chest of drawers": ("count", "chests of drawers", "furniture"),
    "refrigerator": ("count", "refrigerators", "machine"),
    "washing machine": ("count", "washing machines", "machine"),
    "laptop": ("count", "laptops", "device"),
    "camera": ("count", "cameras", "device"),
    "church": ("count", "churches", "building"),
    "kitchen": ("count", "kitchens", "room"),
    "bridge": ("count", "bridges", "structure"),
    "street": ("count", "streets", "structure"),
    "fence": ("count", "fences", "structure"),
    "park": ("count", "parks", "place"),
    "volcano": ("count", "volcanoes", "landform"),
    "mountain": ("count", "mountains", "landform"),
    "lake": ("count", "lakes", "water"),
    "waterfall": ("count", "waterfalls", "water"),
    "cloud": ("count", "clouds", "natural_object"),
    "statue": ("count", "statues", "artwork"),
    "book": ("count", "books", "document"),
    "teddy bear": ("count", "teddy bears", "toy"),
    "foot": ("count", "feet", "body_part"),
    "tooth": ("count", "teeth", "body_part"),
}
MODERN = [
    "smartphone",
    "laptop",
    "tablet computer",
    "drone",
    "selfie stick",
    "hoverboard",
    "smartwatch",
    "e-reader",
    "USB flash drive",
    "wireless earbud",
    "ramen",
    "bubble tea",
    "yoga mat",
    "hoodie",
    "onesie",
    "food truck",
    "game console",
    "lava lamp",
    "traffic cone",
    "rice cooker",
    "nightstand",
    "whiteboard",
    "potted plant",
    "stop sign",
    "cell phone",
    "electric car",
    "solar panel",
    "wind turbine",
    "webcam",
    "VR headset",
    "air fryer",
    "robot vacuum",
    "electric scooter",
    "power bank",
]  # COCO's 80 classes, by name or close variant
COCO = [
    "person",
    "bicycle",
    "car",
    "motorcycle",
    "airplane",
    "bus",
    "train",
    "truck",
    "boat",
    "traffic light",
    "fire hydrant",
    "stop sign",
    "parking meter",
    "bench",
    "bird",
    "cat",
    "dog",
    "horse",
    "sheep",
    "cow",
    "elephant",
    "bear",
    "zebra",
    "giraffe",
    "backpack",
    "umbrella",
    "handbag",
    "necktie",
    "suitcase",
    "frisbee",
    "ski",
    "snowboard",
    "soccer ball",
    "kite",
    "baseball bat",
    "baseball glove",
    "skateboard",
    "surfboard",
    "tennis racket",
    "bottle",
    "wineglass",
    "cup",
    "fork",
    "knife",
    "spoon",
    "bowl",
    "banana",
    "apple",
    "sandwich",
    "orange",
    "broccoli",
    "carrot",
    "hot dog",
    "pizza",
    "donut",
    "cake",
    "chair",
    "couch",
    "potted plant",
    "bed",
    "dining table",
    "toilet",
    "television",
    "laptop",
    "computer mouse",
    "remote control",
    "computer keyboard",
    "cell phone",
    "microwave",
    "oven",
    "toaster",
    "sink",
    "refrigerator",
    "book",
    "clock",
    "vase",
    "scissors",
    "teddy bear",
    "hair dryer",
    "toothbrush",
]


def read(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    for row in rows:
        if row.get("plural") == "" and row["number"] != "mass":  # left out where it follows the rule
            row["plural"] = row["name"] if row["number"] == "plural" else regular_plural(row["name"])
    return rows


@pytest.fixture(scope="module")
def objects() -> list[dict[str, str]]:
    return read("objects.tsv")


@pytest.fixture(scope="module")
def default(objects) -> dict[str, dict[str, str]]:
    return {row["name"]: row for row in objects if float(row["visuality"]) >= 0.5}


@pytest.fixture(scope="module")
def hypernyms() -> list[dict[str, str]]:
    return read("hypernyms.tsv")


def test_there_are_more_objects_than_in_the_paper_and_most_can_be_shown(objects, default):
    assert len(objects) >= 28_787
    assert len(default) >= 15_000
    assert 6_500 <= sum(float(row["familiarity"]) >= 0.5 for row in default.values()) <= 7_600


def test_ids_and_names_are_unique(objects, hypernyms):
    ids = [row["id"] for row in objects + hypernyms]
    assert len(set(ids)) == len(ids)
    names = [row["name"].lower() for row in objects]
    assert len(set(names)) == len(names)


def test_rows_are_well_formed(objects):
    for row in objects:
        assert None not in row and None not in row.values(), row
        assert re.fullmatch(r"[^\s_()]+( [^\s_()]+)*", row["name"]), row
        assert row["class"] in CLASSES, row
        assert 0 <= float(row["visuality"]) <= 1 and 0 <= float(row["familiarity"]) <= 1, row
        assert row["number"] in ("count", "mass", "plural", "either"), row
        if row["number"] == "mass":
            assert row["plural"] == "", row
        else:
            assert row["plural"], row
        if row["number"] == "plural":
            assert row["plural"] == row["name"], row


def test_rows_are_sorted_by_id(objects, hypernyms):
    for rows in (objects, hypernyms):
        ids = [row["id"] for row in rows]
        assert ids == sorted(ids)


def test_every_object_has_a_path_to_a_root_without_cycles(objects, hypernyms):
    parents = {row["id"]: [p for p in row["parents"].split(",") if p] for row in objects + hypernyms}
    state: dict[str, str] = {}

    def visit(node: str) -> None:
        assert state.get(node) != "open", f"{node} is above itself"
        if node in state:
            return
        state[node] = "open"
        for parent in parents[node]:
            visit(parent)
        state[node] = "done"

    for node in parents:
        visit(node)
    roots = {node for node in state if not parents[node]}
    assert {row["name"] for row in hypernyms if row["id"] in roots} == {"entity"}
    assert not roots & {row["id"] for row in objects}


def test_classes_are_those_of_the_format():
    rows = read("classes.tsv")
    assert {row["class"] for row in rows} == CLASSES | {"animate"}
    assert {row["class"]: row["parent"] for row in rows if row["parent"]} == {"person": "animate", "animal": "animate"}


def lines(path: Path) -> set[str]:
    return {line.split("#")[0].strip().lower() for line in path.read_text(encoding="utf-8").splitlines()} - {""}


def test_nothing_on_the_deny_list_is_in_any_name(objects, hypernyms):
    denied = lines(REVIEW / "deny_words.txt")
    allowed = lines(REVIEW / "deny_exceptions.txt")
    assert len(denied) > 400 and len(allowed) < 40
    pattern = re.compile(r"(?<!\w)(" + "|".join(re.escape(word) for word in sorted(denied) if "(" not in word) + r")s?(?!\w)")
    found = []
    for row in objects + hypernyms:
        if row["name"].lower() not in allowed:
            found += [row for form in (row["name"], row.get("plural", "")) if form.lower() in denied or pattern.search(form.lower())]
    assert not found


def test_the_deny_test_finds_a_word():
    assert lines(REVIEW / "deny_words.txt") >= {"swastika", "noose"}


@pytest.mark.parametrize("name", GOLD)
def test_gold_words_have_the_right_number_plural_and_class(name, default):
    row = default[name]
    assert (row["number"], row["plural"], row["class"]) == GOLD[name]


def test_modern_nouns_are_there(default):
    assert [name for name in MODERN if name not in default] == []


def test_basic_detection_classes_are_there_and_familiar(default):
    assert [name for name in COCO if name not in default] == []
    assert [name for name in COCO if float(default[name]["familiarity"]) < 0.5] == []


def test_the_tables_stay_small():
    assert sum((DATA / name).stat().st_size for name in ("objects.tsv", "hypernyms.tsv")) < 2_600_000
