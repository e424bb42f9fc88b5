"""The metadata that the paper's authors released is read as a taxonomy, whatever words it holds."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from anyscene.errors import TaxonomyError
from anyscene.language.captions import realize_captions
from anyscene.language.lexicon import lexicon_of
from anyscene.space.space import Space
from anyscene.space.spec import SceneSpec
from anyscene.taxonomy import RELATION_TYPES, Taxonomy, check_taxonomy, load_taxonomy
from anyscene.taxonomy.paper import is_paper_folder, read_paper_taxonomy

RELEASED = Path(__file__).resolve().parents[3] / "shared/data/paper-metadata"
needs_release = pytest.mark.skipif(not RELEASED.is_dir(), reason="the paper's metadata is not here")
FORBIDDEN = ',;:?!()"'
FILES: dict[str, Any] = {
    "objects.json": [
        "ditty_bag",
        "general (head)",
        "general (leader)",
        "Ditty bag",
        "st._bernard",
        "a, b",
        "what?",
        "dog",
        "fox",
        "",
        "x.",
        "(head)",
    ],
    "attributes.json": {"color": ["red", " brunswick green", "Red"], "size": ["huge", "red"], "human-tall": ["huge"]},
    "relations.json": {
        "spatial": ["is mounted above", "mounted above", "next to a", "part of", "observed_by"],
        "odd": ["is is on", "asleep, not with", "is"],
        "social": ["part of"],
    },
    "scene_attributes.json": {
        "style": {
            "artist": ["Titian", "Gothic"],
            "painting style": ["Gothic", "Mannerism (Late Renaissance)"],
            "technique": ["oil painting"],
        },
        "scene setting": {
            "weather": ["foggy", "drizzly", "drizzly", "blizzard", "rime"],
            "location": [
                "alley",
                "arch",
                "bazaar (indoor)",
                "bazaar (outdoor)",
                "bakery (shop)",
                "arena (hockey)",
                "arena (rodeo)",
                "badlands",
            ],
        },
        "camera setting": {
            "camera model": ["HP R707", "Agfa CL30 Clik!", "Fed 5", "Nikon D3"],
            "a": ["f/16"],
            "ISO": ["800"],
            "focal length": ["85mm"],
        },
        "video setting": {"time span": ["Year in, year out"], "video editting style": ["Jump Cut"]},
        "3D setting": {"3D shape attribute": ["Has Hole", "No Planarity"]},
        "mood": {"feeling": ["calm", "?!"]},
    },
}
PHRASES = {
    ("artist", "Gothic"): "in the style of Gothic",
    ("painting style", "Gothic"): "in the style of Gothic as painting style",
    ("painting style", "Mannerism (Late Renaissance)"): "in the style of Mannerism",
    ("technique", "oil painting"): "made with the oil painting technique",
    ("weather", "foggy"): "in foggy weather",
    ("weather", "blizzard"): "in a blizzard",
    ("weather", "rime"): "in rime",
    ("location", "alley"): "set in an alley",
    ("location", "bazaar (indoor)"): "set in an indoor bazaar",
    ("location", "bazaar (outdoor)"): "set in an outdoor bazaar",
    ("location", "bakery (shop)"): "set in a bakery",
    ("location", "arena (hockey)"): "set in a hockey arena",
    ("location", "badlands"): "set in badlands",
    ("camera model", "HP R707"): "shot on an HP R707",
    ("camera model", "Agfa CL30 Clik!"): "shot on an Agfa CL30 Clik",
    ("camera model", "Nikon D3"): "shot on a Nikon D3",
    ("a", "f/16"): "shot at f/16",
    ("ISO", "800"): "shot at ISO 800",
    ("focal length", "85mm"): "shot with an 85mm lens",
    ("time span", "Year in, year out"): "taking place year in year out",
    ("video editting style", "Jump Cut"): "edited in the jump cut style",
    ("3D shape attribute", "Has Hole"): "with a hole",
    ("3D shape attribute", "No Planarity"): "with no planarity",
    ("feeling", "calm"): "with the feeling calm",
}


def write(folder: Path, **changes: Any) -> Path:
    for name, data in FILES.items():
        (folder / name).write_text(json.dumps(changes.get(name.split(".")[0], data)), encoding="utf-8")
    return folder


@pytest.fixture
def small(tmp_path: Path) -> Taxonomy:
    return read_paper_taxonomy(write(tmp_path))


def sound(taxonomy: Taxonomy) -> None:
    """What the rest of the project relies on."""
    words = (taxonomy.objects.names, taxonomy.attributes.values, taxonomy.relations.names, taxonomy.scene_attributes.phrases)
    for names in words:
        assert len({name.casefold() for name in names}) == len(names)
        for name in names:
            assert name and name == " ".join(name.split()) and "_" not in name and name.isprintable() and not name.endswith(".")
            assert not any(mark in name for mark in FORBIDDEN)
    pairs = list(zip(taxonomy.scene_attributes.type_index.tolist(), (v.casefold() for v in taxonomy.scene_attributes.values), strict=True))
    assert len(set(pairs)) == len(pairs)
    assert taxonomy.classes == ("thing",) and not taxonomy.objects.class_index.any() and not taxonomy.objects.number.any()
    assert taxonomy.attributes.exclusive.all() and taxonomy.attributes.fits.all()
    assert taxonomy.attributes.fits.shape == (len(taxonomy.attributes), 1)
    assert taxonomy.relations.subjects.shape == taxonomy.relations.objects.shape == (len(taxonomy.relations), 1)
    assert len(taxonomy.digest) == 16 and int(taxonomy.digest, 16) >= 0
    assert taxonomy.scene_conflicts.shape == (len(pairs), len(pairs))


def captions(taxonomy: Taxonomy, modality: str, rows: int) -> list[str]:
    space = Space(taxonomy, SceneSpec(complexity=(1, 5), scene_attributes=(1, 2), modality=modality))
    batch = space.rows(0).rows(0, rows)
    texts: list[str] = realize_captions(batch, lexicon_of(space.taxonomy), "plain", modality).to_pylist()
    return texts


# ---- a small folder -----------------------------------------------------------------------------------------------------------


def test_objects_are_cleaned_and_merged(small: Taxonomy) -> None:
    assert small.objects.names == ("ditty bag", "general", "st. bernard", "dog", "fox")
    assert small.objects.plurals[-1] == "foxes"
    sound(small)


def test_attributes_keep_their_types_and_the_first_of_twins(small: Taxonomy) -> None:
    types = [small.attribute_types.names[i] for i in small.attributes.type_index]
    assert list(zip(types, small.attributes.values, strict=True)) == [("color", "red"), ("color", "brunswick green"), ("size", "huge")]


def test_relations_lose_what_cannot_follow_is(small: Taxonomy) -> None:
    types = [RELATION_TYPES[i] for i in small.relations.type_index]
    names = ["mounted above", "next to", "part of", "observed by", "on", "is"]
    assert list(zip(types, small.relations.names, strict=True)) == [("spatial", name) for name in names]


def test_scene_attributes_get_phrases(small: Taxonomy) -> None:
    scene = small.scene_attributes
    kinds = [small.scene_attribute_types.names[i] for i in scene.type_index]
    phrases = dict(zip(zip(kinds, scene.values, strict=True), scene.phrases, strict=True))
    assert {key: phrases.get(key) for key in PHRASES} == PHRASES
    assert ("feeling", "?!") not in phrases and len(phrases) == len(scene.phrases)
    assert set(scene.groups) == {"style", "scene", "camera", "video", "3d"}
    modality = dict(zip(kinds, scene.modalities, strict=True))
    assert modality["time span"] == {"video"} and modality["ISO"] == {"image", "video"}
    assert modality["3D shape attribute"] == {"3d"} and modality["artist"] == {"image", "video", "3d"}
    seen = dict(zip(kinds, scene.visible.tolist(), strict=True))
    assert not seen["ISO"] and seen["weather"]
    assert all(bool(question) == visible for question, visible in zip(scene.questions, scene.visible.tolist(), strict=True))


def test_what_is_painted_has_no_lens(small: Taxonomy) -> None:
    index = small.scene_attribute_index
    conflicts = small.scene_conflicts
    assert conflicts[index["artist", "titian"], index["iso", "800"]] and conflicts[index["iso", "800"], index["artist", "titian"]]
    assert not conflicts[index["weather", "foggy"], index["iso", "800"]]


@pytest.mark.parametrize("modality", ["image", "video", "3d"])
def test_a_small_folder_makes_captions(small: Taxonomy, modality: str) -> None:
    made = captions(small, modality, 200)
    assert len(set(made)) == 200 and all(text.endswith(".") for text in made)


def test_a_paper_folder_is_recognised(tmp_path: Path) -> None:
    assert not is_paper_folder(tmp_path) and not is_paper_folder(tmp_path / "none")
    write(tmp_path)
    assert is_paper_folder(tmp_path) and is_paper_folder(str(tmp_path))
    (tmp_path / "objects.json").rename(tmp_path / "objects_list.json")
    assert is_paper_folder(tmp_path)
    assert "dog" in load_taxonomy(tmp_path).objects.names
    assert check_taxonomy(tmp_path) == []
    (tmp_path / "relations.json").unlink()
    assert not is_paper_folder(tmp_path)
    with pytest.raises(TaxonomyError, match="not the paper's metadata"):
        read_paper_taxonomy(tmp_path)


def test_scene_attributes_may_be_missing(tmp_path: Path) -> None:
    (write(tmp_path) / "scene_attributes.json").unlink()
    assert len(read_paper_taxonomy(tmp_path).scene_attributes) == 0


def test_the_digest_is_of_the_bytes(tmp_path: Path) -> None:
    first = read_paper_taxonomy(write(tmp_path)).digest
    assert read_paper_taxonomy(write(tmp_path)).digest == first
    seen = {first}
    for name in FILES:
        file = write(tmp_path) / name
        file.write_bytes(file.read_bytes() + b"\n")
        seen.add(read_paper_taxonomy(tmp_path).digest)
    assert len(seen) == 1 + len(FILES)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("objects.json", b'["dog",\n]', r"objects.json:2: not JSON: .* column 1"),
        ("objects.json", b'["dog\xff"]', r"objects.json: not UTF-8 text \(byte 5\)"),
        ("objects.json", b"{}", r"objects.json: the file is dict; it must be a list"),
        ("objects.json", b'["dog", 3]', r"objects.json: the file\[1\] is int"),
        ("objects.json", b'["?!"]', r"objects.json: no objects; at least one"),
        ("objects.json", b"[" * 100_000, r"objects.json: not JSON that can be read"),
        ("attributes.json", b"[]", r"attributes.json: the file is list; it must be an object"),
        ("attributes.json", b'{"color": "red"}', r"attributes.json: 'color' is str; it must be a list"),
        ("relations.json", b'{"spatial": [null]}', r"relations.json: 'spatial'\[0\] is NoneType"),
        ("scene_attributes.json", b'{"style": ["x"]}', r"scene_attributes.json: 'style' is list"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (write(tmp_path) / name).write_bytes(data)
    with pytest.raises(TaxonomyError, match=message):
        read_paper_taxonomy(tmp_path)


# ---- the release itself -------------------------------------------------------------------------------------------------------


@needs_release
def test_the_release_is_read_fast_and_sound() -> None:
    start = time.perf_counter()
    taxonomy = read_paper_taxonomy(RELEASED)
    assert time.perf_counter() - start < 2
    sound(taxonomy)
    assert (len(taxonomy.objects), len(taxonomy.attributes), len(taxonomy.relations)) == (25_868, 1_426, 10_465)
    assert len(taxonomy.scene_attributes) > 2_000


@needs_release
@pytest.mark.parametrize("modality", ["image", "video", "3d"])
def test_the_release_makes_captions(modality: str) -> None:
    made = captions(load_taxonomy(RELEASED), modality, 1000)
    assert len(set(made)) == 1000
    assert not any("_" in text or "(" in text for text in made)
