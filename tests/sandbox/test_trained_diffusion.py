from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

TOOLS = str(Path(__file__).parents[2] / "tools" / "sandbox")
if TOOLS not in sys.path:
    sys.path.insert(0, TOOLS)

import numpy as np  # noqa: E402
from captions import test_records as clean_records  # noqa: E402

from anyscene.errors import SpecError  # noqa: E402
from anyscene.language.question import Question  # noqa: E402
from anyscene.media import Media  # noqa: E402
from anyscene.models import Model, load_model  # noqa: E402
from anyscene.sandbox import load_judge  # noqa: E402
from anyscene.sandbox.trained import WEIGHTS  # noqa: E402

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture(scope="module")
def model() -> Any:
    torch.set_num_threads(1)
    return load_model("sandbox:diffusion")


def test_at_least_four_tenths_of_its_pictures_are_fully_correct(model: Any) -> None:
    records = clean_records(77, 48)
    made = model.generate([record["caption"] for record in records], list(range(48)))
    judge = load_judge("pixels")
    correct = 0
    for media, record in zip(made, records, strict=True):
        assert isinstance(media, Media)
        assert media.image.size == (32, 32)
        asked = [Question.from_dict(one) for one in record["questions"]]
        answers = judge.answer(media, asked)
        correct += all(
            one.p_yes is not None and (one.p_yes > 0.5) == (question.answer == "yes") for one, question in zip(answers, asked, strict=True)
        )
    assert correct / 48 > 0.4  # measured: see tools/sandbox/train_diffusion.log


def test_pictures_depend_on_caption_and_seed_and_on_no_neighbour(model: Any) -> None:
    assert isinstance(model, Model)
    captions = ["There is a red circle.", "There is a blue star.", "There is a red circle."]
    together = [one.array().astype(int) for one in model.generate(captions, [1, 1, 2])]
    alone = [model.generate([caption], [seed])[0].array().astype(int) for caption, seed in zip(captions, [1, 1, 2], strict=True)]
    assert all(np.abs(one - other).max() <= 1 for one, other in zip(together, alone, strict=True))  # rounding
    assert np.abs(together[0] - together[1]).max() > 30
    assert np.abs(together[0] - together[2]).max() > 30


def test_a_caption_of_foreign_words_or_any_length_is_painted(model: Any) -> None:
    made = model.generate(["Ein Zebra läuft über 12 Straßen!", "", "a red circle " * 40, "赤い丸 🙂"], [1, 2, 3, 4])
    assert all(isinstance(one, Media) for one in made)


def test_it_is_loaded_as_any_other_pipeline_is(model: Any) -> None:
    other = load_model(
        f"diffusers:{WEIGHTS / 'diffusion'}", steps=20, guidance=3.0, height=32, width=32, device="cpu", call='{"max_sequence_length": 1}'
    )
    assert (model.name, model.revision) == ("sandbox:diffusion", other.revision)
    assert model.settings == other.settings
    assert model.generate(["There is a green heart."], [5])[0].sha256 == other.generate(["There is a green heart."], [5])[0].sha256
    with pytest.raises(SpecError, match="no option 'stepz'"):
        load_model("sandbox:diffusion", stepz=3)


def test_the_shipped_folder_is_small() -> None:
    assert 1e6 < sum(path.stat().st_size for path in (WEIGHTS / "diffusion").rglob("*") if path.is_file()) < 7e6
