from __future__ import annotations

import pytest

from anyscene.sandbox import looks
from anyscene.sandbox.layout import UnsatisfiableSceneError, closes_circle, copies, lay_out
from anyscene.scene.graph import Attribute, SceneAttribute, SceneGraph

BOUND = 1e-9


def wrong_in(graph, places):
    """What does not hold in a layout."""
    of = {one.id: [place for place in places if place.owner == one.id] for one in graph.objects}
    wrong = [one.id for number, one in enumerate(graph.objects) if len(of[one.id]) != copies(graph, number)]
    edge = looks.FRAME_WIDTH if any(one.type == "frame" for one in graph.scene_attributes) else 0.0
    for place in places:
        if min(place.x, place.y) - place.diameter / 2 < edge or max(place.x, place.y) + place.diameter / 2 > 1 - edge:
            wrong.append(f"{place} is out of the picture")
    for number, one in enumerate(places):
        for other in places[:number]:
            if max(abs(one.x - other.x), abs(one.y - other.y)) < (one.diameter + other.diameter) / 2:
                wrong.append(f"{one} meets {other}")
    for relation in graph.relations:
        a, b = of[relation.subject], of[relation.object]
        across = min(place.x for place in b) - max(place.x for place in a)
        down = min(place.y for place in b) - max(place.y for place in a)
        gap = min(max(abs(p.x - q.x) - (p.diameter + q.diameter) / 2, abs(p.y - q.y) - (p.diameter + q.diameter) / 2) for p in a for q in b)
        ratio = min(place.diameter for place in a) / max(place.diameter for place in b)
        holds = {
            "to the left of": across >= looks.DRAWN_AHEAD - BOUND,
            "above": down >= looks.DRAWN_AHEAD - BOUND,
            "to the upper left of": min(across, down) >= looks.DRAWN_AHEAD - BOUND,
            "next to": gap <= looks.DRAWN_NEXT_TO + BOUND,
            "larger than": ratio >= looks.DRAWN_LARGER - BOUND,
        }
        if not holds[relation.predicate]:
            wrong.append(str(relation))
    for one in graph.objects:
        for attribute in one.attributes:
            if attribute.type == "size":
                small = attribute.value == "small"
                if not all(place.diameter <= looks.SMALL_TO if small else place.diameter >= looks.LARGE_FROM for place in of[one.id]):
                    wrong.append(f"{one.id} is not {attribute.value}")
    return wrong


@pytest.mark.parametrize("complexity", [(1, 3), (4, 8), (9, 10)])
def test_every_scene_fits_and_everything_in_it_holds(sandbox_records, complexity):
    graphs = [SceneGraph.from_dict(record["graph"]) for record in sandbox_records(300, seed=7, complexity=complexity)]
    assert sum(len(graph.relations) for graph in graphs) > 10
    assert [wrong for graph in graphs for wrong in wrong_in(graph, lay_out(graph, 1))] == []


@pytest.mark.slow
def test_five_thousand_scenes_fit(sandbox_records):
    graphs = [SceneGraph.from_dict(record["graph"]) for record in sandbox_records(5000, seed=21)]
    assert max(sum(copies(graph, number) for number in range(len(graph.objects))) for graph in graphs) >= 12
    assert [wrong for graph in graphs for wrong in wrong_in(graph, lay_out(graph, 5))] == []


def test_things_of_one_noun_are_numbered_from_left_to_right():
    graph = SceneGraph.of_words(["star", "heart", "star", "star"], [(), (), (Attribute("count", "three"),), ()], [], [])
    for seed in range(20):
        places = lay_out(graph, seed)
        first, second, third = ([place.x for place in places if place.owner == owner] for owner in ("o0", "o2", "o3"))
        assert max(first) + looks.AHEAD < min(second) and max(second) + looks.AHEAD < min(third)


def test_relations_come_before_the_numbering():
    graph = SceneGraph.of_words(["star", "star"], [(), ()], [(1, 0)], ["to the left of"])
    first, second = lay_out(graph, 3)
    assert second.x < first.x


def test_a_layout_depends_on_graph_and_seed_alone():
    graph = SceneGraph.of_words(["star", "ring"], [(), ()], [(0, 1)], ["next to"])
    assert lay_out(graph, 4) == lay_out(graph, 4)
    assert len({lay_out(graph, seed) for seed in range(20)}) == 20


def test_pairs_can_be_kept_apart():
    graph = SceneGraph.of_words(["star", "ring", "heart"], [(), (), ()], [], [])
    for seed in range(50):
        places = {place.owner: place for place in lay_out(graph, seed, [("o0", "o2")])}
        a, b = places["o0"], places["o2"]
        gap = max(abs(a.x - b.x), abs(a.y - b.y)) - (a.diameter + b.diameter) / 2
        assert gap > looks.NEXT_TO


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (
            SceneGraph.of_words(["star", "ring", "heart"], [()] * 3, [(0, 1), (1, 2), (2, 0)], ["above", "to the upper left of", "above"]),
            "go round in a circle",
        ),
        (
            SceneGraph.of_words(["star", "ring"], [(Attribute("size", "small"),), ()], [(0, 1)], ["larger than"]),
            "has a size word and is compared",
        ),
        (SceneGraph.of_words(["star", "ring"], [(), ()], [(0, 1)], ["inside"]), "the relation 'inside' is not one of the sandbox"),
        (SceneGraph.of_words(["star"], [(Attribute("count", "40"),)], [], []), "40 things in one picture; at most 30 are drawn"),
        (
            SceneGraph.of_words(["star"] * 6, [(Attribute("count", "four"), Attribute("size", "large"))] * 6, [], []),
            "no room for 24 things with 0 relations",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(graph, message):
    with pytest.raises(UnsatisfiableSceneError) as error:
        lay_out(graph)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_frames_leave_room():
    graph = SceneGraph.of_words(["star"] * 4, [(Attribute("count", "four"),)] * 4, [], [], [SceneAttribute("frame", "red frame")])
    assert wrong_in(graph, lay_out(graph)) == []


def test_circles_are_found():
    assert closes_circle([(0, 1), (1, 2), (2, 0)], 3)
    assert not closes_circle([(0, 1), (1, 2), (0, 2)], 3)
