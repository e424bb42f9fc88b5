"""Partners and scenes: of the same scene, of the same name, of the same topic; nouns with the same share on both sides."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from anyscene.dataset import SceneSpace
from anyscene.errors import CapacityError, SpecError
from anyscene.moderation.choosing import candidate_scenes, choose_scenes
from anyscene.moderation.matching import Topics, match_topics, pair_up
from anyscene.moderation.sources import SourcePicture
from anyscene.sandbox import sandbox_taxonomy_path
from anyscene.space import SceneSpec
from anyscene.taxonomy import load_taxonomy

NOUNS = ("dog", "hot dog", "fire hydrant", "wolf", "bus", "knife", "glass", "woman", "cherry")


def one(key: str, caption: str = "", record_id: str = "") -> SourcePicture:
    return SourcePicture(key, lambda: b"", caption, record_id, key)


@pytest.mark.parametrize(
    ("caption", "nouns"),
    [
        ("Two dogs and a fire hydrant.", ("dog", "fire hydrant")),
        ("a Hot Dog beside a dog", ("hot dog", "dog")),
        ("wolves, knives, women and cherries", ("wolf", "knife", "woman", "cherry")),
        ("three buses and glasses", ("bus", "glass")),
        ("a dog sees a dog", ("dog",)),
        ("nothing of it", ()),
        ("", ()),
    ],
)
def test_nouns_are_found_with_their_plurals_the_longest_first(caption: str, nouns: tuple[str, ...]) -> None:
    assert Topics(NOUNS).of(caption) == nouns


def test_the_offer_that_shares_most_is_taken_and_only_once() -> None:
    offered = [("dog",), ("dog", "bus", "wolf"), ("dog", "bus"), ("wolf",)]
    assert match_topics([("dog", "bus"), ("dog",), ("dog",), ("dog",), ("knife",)], offered) == [2, 0, 1, None, None]


def test_partners_are_found_by_scene_then_name_then_topic_then_at_all() -> None:
    real = [one("a.jpg", record_id="s1"), one("b.jpg", "a wolf"), one("c.jpg", "a dog"), one("d.jpg"), one("e.jpg")]
    fake = [one("1.png", record_id="s1"), one("2.png", record_id="s1"), one("b.png", "a bus"), one("3.png", "big dogs"), one("4.png")]
    found = pair_up(real, fake, Topics(NOUNS))
    assert {key: [partner.key for partner in partners] for key, partners in found.partners.items()} | {"d.jpg": [], "e.jpg": []} == {
        "a.jpg": ["1.png", "2.png"],
        "b.jpg": ["b.png"],
        "c.jpg": ["3.png"],
        "d.jpg": [],
        "e.jpg": [],
    }
    assert sorted(partner.key for key in ("d.jpg", "e.jpg") for partner in found.partners.get(key, ())) == ["4.png"]
    assert found.rules == {"record": 2, "name": 1, "topic": 1, "any": 1}


def test_the_order_of_files_changes_no_pair() -> None:
    real = [one(f"{number}.jpg", f"a {NOUNS[number % 5]}") for number in range(30)]
    fake = [one(f"x{number}.png", f"the {NOUNS[number % 7]}") for number in range(30)]
    forward = pair_up(real, fake, Topics(NOUNS), seed=1)
    backward = pair_up(real[::-1], fake[::-1], Topics(NOUNS), seed=1)
    assert forward.partners == backward.partners
    assert forward.partners != pair_up(real, fake, Topics(NOUNS), seed=2).partners
    used = Counter(partner.key for partners in forward.partners.values() for partner in partners)
    assert max(used.values()) == 1 and len(used) == 30


def test_chosen_scenes_have_the_nouns_of_the_captions_with_their_shares() -> None:
    taxonomy = load_taxonomy(sandbox_taxonomy_path())
    topics = Topics(taxonomy.objects.names)
    captions = ["a circle and a star"] * 12 + ["two hearts"] * 6 + ["a cross"] * 2 + ["a photograph"] * 2
    candidates = candidate_scenes(captions, taxonomy, topics, spec=SceneSpec(complexity=(1, 4), counts=True))
    found = choose_scenes(captions, candidates, topics, taxonomy)
    assert found.scenes.num_rows == len(captions) == len(set(found.scenes["id"].to_pylist()))
    assert found.match is not None
    assert (found.match.captions, found.match.with_nouns, found.match.shared, found.match.nouns) == (22, 20, 20, 4)
    things = Counter(thing["name"] for graph in found.scenes["graph"].to_pylist() for thing in graph["objects"])
    assert set(things) <= {"circle", "star", "heart", "cross"}
    assert things["star"] >= 10 and things["heart"] >= 6
    blind = choose_scenes([""] * 22, candidates, topics, taxonomy)
    assert blind.match is None and blind.scenes.num_rows == 22


def test_kinds_of_things_count_as_the_nouns_of_captions() -> None:
    taxonomy = load_taxonomy()
    captions = ["a dog in the street"] * 5 + ["a bird"] * 5
    topics = Topics(taxonomy.objects.names)
    candidates = candidate_scenes(captions, taxonomy, topics)
    found = choose_scenes(captions, candidates, topics, taxonomy)
    assert found.match is not None and found.match.shared == 10


def test_too_few_scenes_are_said(tmp_path: Path) -> None:
    taxonomy = load_taxonomy(sandbox_taxonomy_path())
    topics = Topics(taxonomy.objects.names)
    with pytest.raises(CapacityError, match="widen"):
        candidate_scenes(["a ring"] * 1000, taxonomy, topics, spec=SceneSpec(complexity=(1, 1)))
    table = SceneSpace(complexity=(1, 2), taxonomy=taxonomy).table(0, 3)
    with pytest.raises(SpecError, match="3 scenes for 5 real pictures"):
        choose_scenes([""] * 5, table, topics)
