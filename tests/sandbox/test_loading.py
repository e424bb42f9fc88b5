from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from anyscene.errors import SpecError
from anyscene.language import FOILS, FORMS, KINDS, parse
from anyscene.models import Model
from anyscene.models import load_model as load_any_model
from anyscene.sandbox import load_judge, load_model, load_sandbox_taxonomy, sandbox_taxonomy_path
from anyscene.scene.graph import SceneGraph
from anyscene.taxonomy import check_taxonomy


def test_the_vocabulary_has_no_mistakes():
    assert check_taxonomy(sandbox_taxonomy_path()) == []
    assert load_sandbox_taxonomy() is load_sandbox_taxonomy()


def test_every_question_kind_form_and_foil_occurs(sandbox_records):
    kinds, forms, foils = Counter(), Counter(), Counter()
    for record in sandbox_records(300, modality="video"):
        for question in record["questions"]:
            kinds[question["kind"]] += 1
            forms[question["form"]] += 1
            foils[question["foil"]] += 1
    assert set(kinds) == set(KINDS)
    assert set(forms) == set(FORMS)
    assert set(foils) == {*FOILS, None}
    assert min(kinds.values()) > 50


def test_no_two_words_contradict_each_other():
    taxonomy = load_sandbox_taxonomy()
    relations, classes = taxonomy.relations, taxonomy.classes
    larger = relations.names.index("larger than")
    sized = {
        classes[i]
        for a in (taxonomy.find_attribute("size", "small"), taxonomy.find_attribute("size", "large"))
        for i in range(len(classes))
        if taxonomy.attributes.fits[a, i]
    }
    compared = {classes[i] for i in range(len(classes)) if relations.subjects[larger, i] or relations.objects[larger, i]}
    of_objects = {classes[i] for i in taxonomy.objects.class_index}
    assert not sized & compared & of_objects
    assert of_objects <= sized | compared
    assert not any(inverse in relations.names for name, inverse in zip(relations.names, relations.inverse, strict=True) if inverse != name)


@pytest.mark.parametrize("modality", ["image", "video", "3d"])
def test_captions_are_read_back(sandbox_records, modality):
    for record in sandbox_records(60, seed=4, modality=modality):
        assert parse(record["caption"], load_sandbox_taxonomy()) == SceneGraph.from_dict(record["graph"])


def test_models_are_found_by_name_with_options_as_text():
    painter = load_any_model("sandbox:flawed", drop="0.25", size="32", modality="video")
    assert isinstance(painter, Model)
    assert (painter.rates.drop, painter.size, painter.modality) == (0.25, 32, "video")
    assert load_model("").name == "sandbox:renderer"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("painter", {}, "the sandbox has no model 'painter'; it has renderer, flawed, camera, autoregressive, diffusion"),
        (
            "flawed",
            {"dorp": "0.1"},
            "sandbox:flawed has no option 'dorp'; its options are drop, swap, reverse, miscount, size, modality, refuse, fail",
        ),
        ("flawed", {"drop": "1.5"}, "sandbox:flawed, option drop=1.5: Input should be less than or equal to 1"),
        ("renderer", {"size": "8"}, "sandbox:renderer, option size=8: Input should be greater than or equal to 16"),
        ("renderer", {"modality": "sound"}, "sandbox:renderer, modality 'sound': it must be one of image, video, 3d"),
    ],
)
def test_wrong_names_and_options_are_refused_with_what_would_work(name, options, message):
    with pytest.raises(SpecError) as error:
        load_model(name, **options)
    assert message in str(error.value)


def test_unknown_judges_are_refused():
    with pytest.raises(SpecError, match="the sandbox has no judge 'eyes'; it has pixels, yes, noisy"):
        load_judge("eyes")


def test_loading_the_sandbox_and_a_painter_loads_no_heavy_library():
    code = (
        "import sys; from anyscene.sandbox import load_model; load_model('flawed').generate(['There is a red circle.'], [0]);"
        "print([name for name in ('torch', 'diffusers', 'transformers', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
