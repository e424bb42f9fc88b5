"""The trained autoregressive model that comes with the package: small, loaded as a real one is, right about half the time."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("diffusers")

from anyscene.language.question import Question
from anyscene.media import Media
from anyscene.models import Model
from anyscene.models.autoregressive import AutoregressiveModel, load_autoregressive
from anyscene.sandbox import load_judge, load_model
from anyscene.sandbox.trained import WEIGHTS

pytestmark = pytest.mark.torch
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def captions() -> ModuleType:
    """The distribution that the model was trained on."""
    spec = spec_from_file_location("captions", ROOT / "tools" / "sandbox" / "captions.py")
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("autoregressive")


def test_it_draws_much_of_what_clean_captions_ask_for(model: Model, captions: ModuleType) -> None:
    records = captions.test_records(seed=4, n=48)
    judge = load_judge("pixels")
    right = []
    for record, media in zip(records, model.generate([record["caption"] for record in records], list(range(48))), strict=True):
        assert isinstance(media, Media) and media.array().shape == (32, 32, 3)
        questions = [Question.from_dict(one) for one in record["questions"]]
        answers = judge.answer(media, questions)
        right.append(
            all(
                one.p_yes is not None and (one.p_yes > 0.5) == (question.answer == "yes")
                for one, question in zip(answers, questions, strict=True)
            )
        )
    assert 0.35 < np.mean(right) < 0.95  # there is room to improve


def test_a_picture_does_not_depend_on_its_neighbours(model: Model) -> None:
    asked = [
        "There is a red circle.",
        "A blue star is above a green ring.",
        "There are two hearts. The scene is shown on a black background.",
    ]
    together = [one.sha256 for one in model.generate(asked, [1, 2, 3]) if isinstance(one, Media)]
    apart = [
        one.sha256
        for caption, seed in zip(asked, [1, 2, 3], strict=True)
        for one in model.generate([caption], [seed])
        if isinstance(one, Media)
    ]
    assert together == apart and len(set(together)) == 3


def test_a_word_that_it_never_saw_is_spelled_and_drawn(model: Model) -> None:
    made = model.generate(["There is a zebra, o soi!"], [1])[0]
    assert isinstance(made, Media) and model.name == "sandbox:autoregressive"


def test_its_folder_loads_as_any_other_and_is_small(model: Model) -> None:
    folder = WEIGHTS / "autoregressive"
    again = load_autoregressive(str(folder), guidance=model.settings["guidance"], prefix="", device="cpu")
    assert isinstance(model, AutoregressiveModel) and again.revision == model.revision
    assert [one.sha256 for one in again.generate(["There is a red circle."], [1])] == [
        one.sha256 for one in model.generate(["There is a red circle."], [1])
    ]
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) <= 6_000_000
    assert {file.suffix for file in folder.rglob("*") if file.stat().st_size > 100_000} == {".safetensors"}
