"""Questions: what holds for those of every scene, scenes made up to catch them out, and golden ones."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anyscene.dataset import RecordOptions, SceneSpace, describe
from anyscene.errors import SpecError
from anyscene.language import FOILS, FORMS, KINDS, QuestionOptions, batch_of_graphs, lexicon_of, realize_questions
from anyscene.scene import Attribute, Object, Relation, SceneAttribute, SceneGraph
from anyscene.space import graph_of_row
from anyscene.taxonomy import PLURAL, Taxonomy, load_taxonomy

FOLDER = Path(__file__).parents[1] / "golden" / "taxonomy"
SMALL = load_taxonomy(FOLDER)
Record = dict[str, Any]
Question = dict[str, Any]
ROWS = 400
NUMBER = {word: i for i, word in enumerate(("two", "three", "four", "five", "six"), 2)}
SPACES = ("small image", "small video", "small 3d", "shipped")


@cache
def space_of(name: str) -> SceneSpace:
    taxonomy = None if name == "shipped" else SMALL
    modality = "image" if name == "shipped" else name.split()[1]
    return SceneSpace(taxonomy=taxonomy, complexity=(1, 8), scene_attributes=(0, 3), counts=True, modality=modality)


@cache
def records_of(name: str) -> list[Record]:
    rows: list[Record] = space_of(name).source(11).table(0, ROWS).to_pylist()
    return rows


def every(name: str) -> Iterator[tuple[Record, Question]]:
    for record in records_of(name):
        for question in record["questions"]:
            yield record, question


def elements(graph: Any) -> dict[str, Any]:
    """Every element of a graph by its id."""
    found: dict[str, Any] = {}
    for one in graph["objects"]:
        found[one["id"]] = one
        found.update({f"{one['id']}.a{i}": value for i, value in enumerate(one["attributes"])})
    found.update({f"r{i}": value for i, value in enumerate(graph["relations"])})
    found.update({f"s{i}": value for i, value in enumerate(graph["scene_attributes"])})
    return found


def asked_of(graph: Any, taxonomy: Taxonomy) -> set[str]:
    """Elements that have a yes/no question: all but what cannot be seen, and numerals of nouns that occur twice."""
    nouns = Counter(one["name"] for one in graph["objects"])
    out = set(elements(graph))
    for one in graph["objects"]:
        for i, value in enumerate(one["attributes"]):
            if value["type"] == "count" and nouns[one["name"]] > 1:
                out.discard(f"{one['id']}.a{i}")
    for i, value in enumerate(graph["scene_attributes"]):
        index = taxonomy.scene_attribute_index[value["type"].casefold(), value["value"].casefold()]
        if not taxonomy.scene_attributes.visible[index]:
            out.discard(f"s{i}")
    return out


def related(taxonomy: Taxonomy, a: str, b: str) -> bool:
    """Is one noun the other, or above it?"""
    i, j = taxonomy.object_index[a.casefold()], taxonomy.object_index[b.casefold()]
    ids = taxonomy.objects.ids
    return i == j or ids[i] in taxonomy.ancestors[j] or ids[j] in taxonomy.ancestors[i]


def noun_of(taxonomy: Taxonomy, text: str) -> str:
    """The noun in "Is there a NOUN?"."""
    match = re.fullmatch(r"(?:Is|Are) there (?:an|a|any) (.+)\?", text)
    assert match, text
    assert match[1] in taxonomy.objects.names, text
    return match[1]


# ---- what holds for every scene -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPACES)
def test_every_element_has_exactly_one_yes_no_question(name: str) -> None:
    taxonomy = space_of(name).taxonomy
    for record in records_of(name):
        asked = [q["elements"] for q in record["questions"] if q["form"] == "yes_no" and q["foil"] is None]
        assert all(len(one) == 1 for one in asked)
        assert Counter(one[0] for one in asked) == Counter(dict.fromkeys(asked_of(record["graph"], taxonomy), 1)), record["caption"]


@pytest.mark.parametrize("name", SPACES)
def test_ids_are_unique_and_dependencies_come_first(name: str) -> None:
    for record in records_of(name):
        seen: dict[str, Question] = {}
        for question in record["questions"]:
            assert question["id"] not in seen
            for other in question["depends_on"]:
                assert seen[other]["form"] == "yes_no", "a dependency is an earlier yes/no question"
                assert seen[other]["answer"] == "yes"
                assert seen[other]["kind"] == "existence"
            assert len(set(question["depends_on"])) == len(question["depends_on"])
            seen[question["id"]] = question


@pytest.mark.parametrize("name", SPACES)
def test_questions_depend_on_the_objects_that_they_name(name: str) -> None:
    for record in records_of(name):
        owner = {q["id"]: q["elements"][0] for q in record["questions"]}
        for question in record["questions"]:
            [element] = question["elements"]
            needed = {owner[one] for one in question["depends_on"]}
            if question["kind"] == "relation":
                relation = elements(record["graph"])[element]
                ends = {relation["subject"], relation["object"]}
                assert needed == (ends if question["form"] == "yes_no" else {relation["subject"]})
            elif "." in element:
                assert needed == {element.split(".")[0]}
            else:
                assert not needed


@pytest.mark.parametrize("name", SPACES)
def test_kinds_forms_answers_and_choices(name: str) -> None:
    count = 0
    for record, question in every(name):
        count += 1
        assert question["kind"] in KINDS
        assert question["form"] in FORMS
        assert question["elements"][0] in elements(record["graph"])
        assert question["answer"].strip() == question["answer"] != ""
        if question["form"] == "choice":
            assert question["answer"] in question["choices"]
            assert 2 <= len(question["choices"]) == len(set(question["choices"])) <= 4
            assert all(choice.strip() == choice != "" for choice in question["choices"])
        else:
            assert question["choices"] == []
        if question["form"] == "yes_no":
            assert question["answer"] == ("yes" if question["foil"] is None else "no")
        else:
            assert question["foil"] is None
        assert question["foil"] in (None, *FOILS)
    assert count > 4 * ROWS


@pytest.mark.parametrize("name", SPACES)
def test_texts_are_questions(name: str) -> None:
    for _, question in every(name):
        text = question["text"]
        assert text.endswith("?")
        assert text[0].isupper()
        assert text.count("?") == 1
        assert not re.search(r"[{}]|  | ,| \?|\.$", text), text


@pytest.mark.parametrize("name", SPACES)
def test_one_text_has_one_yes_no_answer(name: str) -> None:
    for record in records_of(name):
        answers: dict[str, str] = {}
        for question in record["questions"]:
            if question["form"] == "yes_no":
                assert question["text"] not in answers, f"{question['text']} asked twice of: {record['caption']}"
                answers[question["text"]] = question["answer"]


@pytest.mark.parametrize("name", SPACES)
def test_answers_agree_with_the_graph(name: str) -> None:
    taxonomy = space_of(name).taxonomy
    for record, question in every(name):
        element = elements(record["graph"])[question["elements"][0]]
        kind, form = question["kind"], question["form"]
        if form == "yes_no":
            continue
        if kind == "existence":
            one = element
            forms = (one["name"], taxonomy.objects.plurals[taxonomy.object_index[one["name"].casefold()]])
            assert question["answer"] in forms
        elif kind == "relation":
            target = elements(record["graph"])[element["object"]]["name"]
            assert question["answer"] in (target, taxonomy.objects.plurals[taxonomy.object_index[target.casefold()]])
        else:
            assert question["answer"] in (element["value"], predicate_of(taxonomy, element))


def predicate_of(taxonomy: Taxonomy, element: dict[str, str]) -> str | None:
    """What something that moves is said to be doing."""
    return taxonomy.attributes.predicates[taxonomy.find_attribute("motion", element["value"])] if element["type"] == "motion" else None


# ---- foils --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPACES)
def test_foils_are_false(name: str) -> None:
    taxonomy = space_of(name).taxonomy
    attributes, relations = taxonomy.attributes, taxonomy.relations
    seen: Counter[str] = Counter()
    for record, question in every(name):
        foil = question["foil"]
        if foil is None:
            continue
        seen[foil] += 1
        graph = record["graph"]
        known = elements(graph)
        element = known[question["elements"][0]]
        if foil == "absent_object":
            noun = noun_of(taxonomy, question["text"])
            assert question["elements"][0] in {one["id"] for one in graph["objects"]}
            assert not any(related(taxonomy, noun, one["name"]) for one in graph["objects"]), f"{noun}? in {record['caption']}"
        elif foil == "swapped_attribute":
            index = taxonomy.attribute_index[element["value"].casefold()]
            other = int(attributes.opposite[index])
            assert other >= 0
            assert attributes.exclusive[index]
            assert attributes.type_index[index] == attributes.type_index[other]
            said = {attributes.predicates[other], attributes.values[other]}
            assert any(question["text"].endswith(f" {words}?") for words in said), question
            one = known[question["elements"][0].split(".")[0]]
            assert attributes.values[other] not in [value["value"] for value in one["attributes"]]
        elif foil == "reversed_relation":
            index = taxonomy.relation_index[element["predicate"].casefold()]
            assert relations.antisymmetric[index]
            assert not relations.symmetric[index]
            [true] = [
                q
                for q in record["questions"]
                if q["kind"] == "relation" and q["form"] == "yes_no" and q["foil"] is None and q["elements"] == question["elements"]
            ]
            assert question["depends_on"] == true["depends_on"][::-1]
        else:
            match = re.match(r"Are there exactly (\w+) ", question["text"])
            assert match
            assert abs(NUMBER[match[1]] - NUMBER[element["value"]]) == 1
    assert set(seen) == set(FOILS), seen


@pytest.mark.parametrize("other", ["poodle", "red fox"])
def test_how_many_there_are_is_not_blurred_by_hyponyms(other: str) -> None:
    """With two dogs and a poodle, "Are there exactly three dogs?" has no clear answer: it must not be asked with a gold one."""
    counted = "dog" if other == "poodle" else "fox"
    graph = SceneGraph((Object("a", counted, (Attribute("count", "two"),)), Object("b", other)))
    for seed in range(8):
        options = RecordOptions(questions=QuestionOptions(foils=0.5, seed=seed))
        found = [q for q in describe(graph, taxonomy=SMALL, options=options)["questions"] if q["foil"] == "wrong_count"]
        assert not found, found[0]["text"]


def test_open_questions_of_a_space_have_one_answer() -> None:
    """One element, one answer: "What is the table on top of?" where it is on top of two things has two."""
    for record in records_of("small image"):
        answers: dict[str, str] = {}
        for question in record["questions"]:
            if question["form"] == "open":
                assert answers.setdefault(question["text"], question["answer"]) == question["answer"], record["caption"]


@pytest.mark.parametrize("share", [0.0, 0.2, 1 / 3, 0.5])
@pytest.mark.parametrize("complexity", [(1, 3), (4, 8)])
def test_the_share_of_foils_is_the_one_asked_for(share: float, complexity: tuple[int, int]) -> None:
    options = RecordOptions(questions=QuestionOptions(forms=("yes_no",), foils=share))
    source = SceneSpace(taxonomy=SMALL, complexity=complexity, scene_attributes=(0, 1), counts=True).source(0, options)
    found = [question["foil"] is not None for row in source.table(0, 1000)["questions"].to_pylist() for question in row]
    assert np.mean(found) == pytest.approx(share, abs=0.03 if share else 0)


# ---- wrong choices ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPACES)
def test_wrong_choices_are_wrong(name: str) -> None:
    taxonomy = space_of(name).taxonomy
    attributes, scene = taxonomy.attributes, taxonomy.scene_attributes
    seen: Counter[str] = Counter()
    for record, question in every(name):
        if question["form"] != "choice":
            continue
        graph, known = record["graph"], elements(record["graph"])
        element = known[question["elements"][0]]
        wrong = [choice for choice in question["choices"] if choice != question["answer"]]
        seen[question["kind"]] += 1
        if question["kind"] in ("existence", "relation"):
            for noun in wrong:
                assert not any(related(taxonomy, noun, one["name"]) for one in graph["objects"]), question
        elif question["kind"] == "count":
            assert all(word in NUMBER for word in wrong)
        elif "." in question["elements"][0]:
            own = [value["value"] for value in known[question["elements"][0].split(".")[0]]["attributes"]]
            said = {words.casefold(): i for i, words in enumerate(attributes.predicates)} | taxonomy.attribute_index
            right = said[question["answer"].casefold()]
            for value in wrong:
                assert value not in own
                index = said[value.casefold()]
                assert attributes.type_index[index] == attributes.type_index[right]
                assert attributes.exclusive[index]
                assert attributes.exclusive[right]
                if attributes.basic_color[right]:
                    assert attributes.basic_color[index] != attributes.basic_color[right], question
        else:
            for value in wrong:
                index = taxonomy.scene_attribute_index[element["type"].casefold(), value.casefold()]
                assert record["modality"] in scene.modalities[index]
                assert scene.visible[index]
                assert value not in [one["value"] for one in graph["scene_attributes"] if one["type"] == element["type"]]
    assert seen["existence"] > ROWS * 0.9
    assert {"attribute", "count", "relation", "scene_attribute"} <= set(seen)


@pytest.mark.parametrize("name", SPACES)
def test_the_right_choice_is_in_every_place_alike(name: str) -> None:
    places = Counter(q["choices"].index(q["answer"]) for _, q in every(name) if len(q["choices"]) == 4)
    total = sum(places.values())
    assert total > 200
    assert all(places[i] / total == pytest.approx(0.25, abs=0.06) for i in range(4)), places


# ---- options ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("forms", [(), ("yes_no",), ("choice",), ("open",), ("choice", "open"), ("yes_no", "open")])
def test_forms_are_a_filter(forms: tuple[str, ...]) -> None:
    space = space_of("small image")
    rows = space.source(11, RecordOptions(questions=QuestionOptions(forms=forms))).table(0, 100).to_pylist()
    for record, full in zip(rows, space.source(11).table(0, 100).to_pylist(), strict=True):
        wanted = [q for q in full["questions"] if q["form"] in forms]
        keys = ("kind", "form", "text", "answer", "choices", "elements", "foil")
        assert [{key: q[key] for key in keys} for q in record["questions"]] == [{key: q[key] for key in keys} for q in wanted]
        ids = [q["id"] for q in record["questions"]]
        assert len(set(ids)) == len(ids)
        assert all(set(q["depends_on"]) <= set(ids) for q in record["questions"])


@pytest.mark.parametrize("forms", [(), ("choice",), ("open",)])
def test_a_scene_may_have_no_question(forms: tuple[str, ...]) -> None:
    graph = SceneGraph((Object("a", "poodle"),))
    found = describe(graph, taxonomy=SMALL, options=RecordOptions(questions=QuestionOptions(forms=forms)))["questions"]
    assert len(found) == (forms == ("choice",))


@pytest.mark.parametrize("bad", [-0.1, 0.51, 1.0, float("nan")])
def test_shares_out_of_range_are_refused(bad: float) -> None:
    with pytest.raises(SpecError, match=r"from 0 to 0\.5"):
        QuestionOptions(foils=bad)


def test_unknown_forms_are_refused() -> None:
    with pytest.raises(SpecError, match=r"'essay'.*yes_no, choice, open"):
        QuestionOptions(forms=("yes_no", "essay"))


def test_seeds_change_draws_and_nothing_else() -> None:
    space = space_of("small image")
    batch, lexicon = space.source(11).batch(0, 200), lexicon_of(space.taxonomy)
    one, same, other = (realize_questions(batch, lexicon, QuestionOptions(seed=seed)).to_pylist() for seed in (1, 1, 2))
    assert one == same
    assert one != other

    def fixed(rows: list[list[Question]]) -> list[list[Any]]:
        keys = ("kind", "form", "text", "answer", "elements", "depends_on")
        return [[{key: q[key] for key in keys} for q in row if q["foil"] is None and q["form"] != "choice"] for row in rows]

    assert fixed(one) == fixed(other)


@pytest.mark.parametrize("seed", [0, -1, -(2**63), 2**63 - 1])
def test_any_seed_of_64_bits_will_do(seed: int) -> None:
    batch, lexicon = space_of("small image").source(11).batch(0, 3), lexicon_of(space_of("small image").taxonomy)
    assert realize_questions(batch, lexicon, QuestionOptions(seed=seed)).to_pylist()


def test_video_has_kinds_of_its_own() -> None:
    kinds = {name: {q["kind"] for _, q in every(name)} for name in SPACES}
    assert kinds["small video"] == set(KINDS)
    for name in ("small image", "small 3d", "shipped"):
        assert not kinds[name] & {"motion", "change"}
    for _, question in every("small video"):
        if question["kind"] == "change":
            assert question["answer"] in ("yes", "a day", "a year")


# ---- a scene's questions are its own ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 64])
def test_questions_do_not_depend_on_their_batch(size: int) -> None:
    source = space_of("small image").source(11)
    for start in range(0, min(ROWS, 8 * size), size):
        rows = source.table(start, min(start + size, ROWS)).to_pylist()
        assert rows == records_of("small image")[start : start + len(rows)]


def test_questions_do_not_depend_on_the_order_of_their_batch() -> None:
    space = space_of("small image")
    source = space.source(11)
    batch, lexicon = source.batch(0, 200), lexicon_of(space.taxonomy)
    whole = realize_questions(batch, lexicon, QuestionOptions()).to_pylist()
    order = np.random.default_rng(0).permutation(200)
    graphs = [graph_of_row(space.taxonomy, batch, int(row)) for row in order]
    mixed = realize_questions(batch_of_graphs(graphs, space.taxonomy), lexicon, QuestionOptions()).to_pylist()
    assert mixed == [whole[i] for i in order]


# ---- scenes that try to catch them out ----------------------------------------------------------------------------------------


def questions(
    *objects: Object, edges: tuple[tuple[str, str, str], ...] = (), whole: tuple[SceneAttribute, ...] = (), **options: Any
) -> list[Question]:
    graph = SceneGraph(objects, tuple(Relation(*edge) for edge in edges), whole)
    asked = QuestionOptions(foils=0.5, **options)
    found: list[Question] = describe(graph, taxonomy=SMALL, options=RecordOptions(questions=asked))["questions"]
    return found


def test_both_directions_of_an_antisymmetric_relation_are_never_denied() -> None:
    for seed in range(8):
        found = questions(Object("a", "dog"), Object("b", "fox"), edges=(("a", "above", "b"), ("b", "above", "a")), seed=seed)
        yes = {q["text"] for q in found if q["answer"] == "yes"}
        assert not yes & {q["text"] for q in found if q["answer"] == "no"}


def test_an_opposite_that_the_object_has_is_never_denied() -> None:
    for seed in range(8):
        found = questions(Object("a", "dog", (Attribute("color", "red"), Attribute("color", "green"))), seed=seed)
        yes = {q["text"] for q in found if q["answer"] == "yes"}
        assert not yes & {q["text"] for q in found if q["answer"] == "no"}


def test_a_value_that_the_object_has_is_no_wrong_choice() -> None:
    own = {"red", "green", "blue", "yellow"}
    for seed in range(8):
        found = questions(Object("a", "dog", tuple(Attribute("color", value) for value in sorted(own))), seed=seed)
        for question in found:
            if question["form"] == "choice" and question["kind"] == "attribute":
                assert not own & set(question["choices"]) - {question["answer"]}


def test_a_scene_attribute_that_holds_is_no_wrong_choice() -> None:
    whole = tuple(SceneAttribute("weather", value) for value in ("fog", "rain", "snow"))
    for question in questions(Object("a", "dog"), whole=whole):
        if question["form"] == "choice" and question["kind"] == "scene_attribute":
            assert not {"fog", "rain", "snow"} & set(question["choices"]) - {question["answer"]}


def test_an_open_question_has_one_answer() -> None:
    """A dog next to a table and next to a car: "What is the dog next to?" would have two."""
    found = questions(Object("a", "dog"), Object("b", "table"), Object("c", "car"), edges=(("a", "next to", "b"), ("a", "next to", "c")))
    answers: dict[str, set[str]] = {}
    for question in found:
        if question["form"] == "open":
            answers.setdefault(question["text"], set()).add(question["answer"])
    assert all(len(found) == 1 for found in answers.values()), answers


def test_a_noun_above_one_in_the_scene_is_not_absent() -> None:
    """Also where it is one that is rarely shown: a scene with a gear (visuality 0.3)."""
    for seed in range(5):
        for noun in ("poodle", "dog", "SUV", "car", "red fox", "gear"):
            for question in questions(Object("a", noun), seed=seed):
                if question["foil"] == "absent_object":
                    assert not related(SMALL, noun_of(SMALL, question["text"]), noun)


def test_a_hypernym_that_is_rarely_shown_is_no_absent_object(tmp_path: Path) -> None:
    """Scene: a container (visuality 0.4). "Is there a boiler?" must not have the gold answer no, for a boiler is a container."""
    rows = ["name\tclass\tparents\tvisuality", "container\tartifact\t\t0.4"]
    rows += [f"boiler {i}\tmachine\tcontainer\t1" for i in range(8)] + [f"beast {i}\tanimal\t\t1" for i in range(4)] + ["pie\tfood\t\t1"]
    (tmp_path / "objects.tsv").write_text("\n".join(rows) + "\n")
    taxonomy = load_taxonomy(tmp_path)
    for seed in range(8):
        options = RecordOptions(questions=QuestionOptions(foils=0.5, seed=seed))
        for question in describe(SceneGraph((Object("a", "container"),)), taxonomy=taxonomy, options=options)["questions"]:
            assert "boiler" not in question["text"] + " ".join(question["choices"])


def test_open_questions_may_begin_with_the_object(tmp_path: Path) -> None:
    (tmp_path / "objects.tsv").write_text("name\tplural\tnumber\nfox\t\tcount\nscissors\tscissors\tplural\n")
    (tmp_path / "attributes.tsv").write_text("value\ttype\nred\tcolor\nblue\tcolor\n")
    (tmp_path / "types.tsv").write_text("kind\ttype\torder\topen\nattribute\tcolor\t50\tIn what color {the} {is} painted?\n")
    taxonomy = load_taxonomy(tmp_path)
    red = (Attribute("color", "red"),)
    record = describe(SceneGraph((Object("a", "fox", red), Object("b", "scissors", red))), taxonomy=taxonomy)
    texts = [q["text"] for q in record["questions"] if q["form"] == "open"]
    assert texts == ["In what color the fox is painted?", "In what color the scissors are painted?"]


def test_two_numerals_of_one_object_are_refused_or_both_said() -> None:
    graph = SceneGraph((Object("a", "dog", (Attribute("count", "two"), Attribute("count", "three"))),))
    try:
        record = describe(graph, taxonomy=SMALL)
    except Exception as error:
        assert type(error).__module__ == "anyscene.errors"
    else:
        assert "two" in record["caption"] and "three" in record["caption"]


def test_golden_questions(golden: Callable[[str, str], None]) -> None:
    lines = []
    for modality in ("image", "video", "3d"):
        space = SceneSpace(taxonomy=SMALL, complexity=(1, 9), scene_attributes=(0, 3), counts=True, modality=modality)
        for record in space.source(7).table(0, 12).to_pylist():
            lines.append(record["caption"])
            for q in record["questions"]:
                choices = f" ({' / '.join(q['choices'])})" if q["choices"] else ""
                rest = f"[{q['id']} {q['kind']} {q['form']} {' '.join(q['elements'])} needs {' '.join(q['depends_on']) or 'nothing'}]"
                lines.append(f"  {q['text']} {q['answer']}{choices} {rest}{' ' + q['foil'] if q['foil'] else ''}")
    golden("questions.txt", "\n".join(lines) + "\n")


@pytest.mark.parametrize("name", SPACES)
def test_only_things_in_the_singular_are_asked_about_being_the_only_one(name: str) -> None:
    source = space_of(name).source(11, RecordOptions(questions=QuestionOptions(("yes_no",), only_one=True)))
    usual = space_of(name).source(11, RecordOptions(questions=QuestionOptions(("yes_no",))))
    asked = 0
    for record, plain in zip(source.table(0, ROWS).to_pylist(), usual.table(0, ROWS).to_pylist(), strict=True):
        more = [one for one in record["questions"] if one["text"].startswith("Is there exactly one ")]
        kept = [one for one in record["questions"] if one not in more]
        assert kept == plain["questions"]  # and no other question changes, nor its number
        names = Counter(one["name"] for one in record["graph"]["objects"])
        by_id = {one["id"]: one for one in record["graph"]["objects"]}
        exists = {one["elements"][0]: one for one in kept if one["kind"] == "existence" and one["foil"] is None}
        for one in more:
            thing = by_id[one["elements"][0]]
            assert one["answer"] == "yes" and one["kind"] == "count" and one["text"] == f"Is there exactly one {thing['name']}?"
            assert names[thing["name"]] == 1 and not any(value["type"] == "count" for value in thing["attributes"])
            assert exists[thing["id"]]["text"].startswith(("Is there a ", "Is there an "))
            assert one["depends_on"] == [exists[thing["id"]]["id"]]
        asked += len(more)
    assert asked > ROWS / 2


def test_nothing_is_asked_about_being_the_only_one_where_a_second_may_be_meant() -> None:
    a, b = Object("o0", "dog"), Object("o1", "dog")
    six = Object("o0", "dog", (Attribute("count", "six"),))
    trousers = next(name for name, number in zip(SMALL.objects.names, SMALL.objects.number, strict=True) if number == PLURAL)
    for objects in ((a, b), (six,), (Object("o0", trousers),)):
        options = RecordOptions(questions=QuestionOptions(("yes_no",), only_one=True))
        questions = describe(SceneGraph(objects), taxonomy=SMALL, options=options)["questions"]
        assert questions and not any("exactly one" in one["text"] for one in questions)
