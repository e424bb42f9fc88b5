"""A model card is read by hubs and people: its metadata is what the hub's library expects, its code runs, and a leaky run claims nothing."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anyscene.errors import RunError
from anyscene.training.leakage import LeakageReport, audit_leakage
from anyscene.training.model_card import write_model_card
from anyscene.training.policies import Trained


def record(name: str, *words: str) -> dict[str, Any]:
    attributes = [{"type": "t", "value": word} for word in words]
    return {"id": name, "caption": name, "graph": {"objects": [{"id": "o0", "name": "dog", "attributes": attributes}]}}


CLEAN = audit_leakage([record("t0", "red"), record("t1", "red", "big")], [record("h0")], captions=["a cat"])
LEAKY = audit_leakage([record("t0", "red")], [record("t0", "red")])


def difference(a: float, b: float, low: float | None, high: float | None) -> dict[str, Any]:
    return {"a": a, "b": b, "difference": b - a, "low": low, "high": high, "n": 500, "effect_size": 0.2, "p": 0.01, "p_adjusted": 0.03}


CLAIMS = {
    "the model before": {
        "claim": "better",
        "scores": {"soft": difference(0.5, 0.5634, 0.04, 0.0868), "all_correct": difference(0.2, 0.21, -0.01, 0.03)},
        "sentences": ["soft: 50.0 % -> 56.3 % by judge_a.", "judge_b sees | less."],
    },
    "the same number of unselected pictures": {"scores": {"soft": difference(0.54, 0.5634, None, None)}},
}
CAPTION = "A red cube is on a table."
LORA = "pytorch_lora_weights.safetensors"


def write(folder: Path, file: str = LORA, leakage: LeakageReport = CLEAN, **more: Any) -> str:
    folder.mkdir(exist_ok=True)
    (folder / file).touch()
    given: dict[str, Any] = {
        "base": Trained("diffusers:stabilityai/sdxl-turbo", {"steps": 2, "guidance": 0.0, "device": "cuda", "call": {"eta": 1}}),
        "recipe": "improve",
        "claims": CLAIMS,
        "data": {"captions": 2400, "pictures learnt from": 611, "judge": "transformers:Qwen/Qwen3-VL-8B-Instruct"},
        "settings": {"seed": 0, "optimization": {"learning_rate": 1e-4, "betas": (0.9, 0.999)}, "scenes": {}},
    }
    return write_model_card(folder, leakage=leakage, **(given | more)).read_text("utf-8")


def metadata(folder: Path) -> Any:
    hub = pytest.importorskip("huggingface_hub")
    return hub.ModelCard.load(folder / "README.md").data


def test_the_hubs_own_library_reads_the_metadata(tmp_path: Path) -> None:
    write(tmp_path, licence="openrail++")
    found = metadata(tmp_path)
    assert (found.base_model, found.base_model_relation) == ("stabilityai/sdxl-turbo", "adapter")
    assert (found.library_name, found.pipeline_tag, found.license) == ("diffusers", "text-to-image", "openrail++")
    assert found.tags == ["anyscene", "improve", "diffusers", "text-to-image", "lora"]
    assert [(one.metric_type, one.metric_value, one.dataset_type) for one in found.eval_results] == [
        ("soft", 0.5634, "anyscene"),
        ("all_correct", 0.21, "anyscene"),
    ]


def test_a_whole_pipeline_is_a_fine_tune_and_a_local_base_has_no_id(tmp_path: Path) -> None:
    card = write(tmp_path / "a", "model_index.json", modality="video")
    found = metadata(tmp_path / "a")
    assert (found.base_model_relation, found.pipeline_tag) == ("finetune", "text-to-video") and "lora" not in found.tags
    assert "load_lora_weights" not in card and 'DiffusionPipeline.from_pretrained("path/to/this/folder")' in card and ".frames[0]" in card
    home = "/".join(["", "home", "somebody", "models", "my-sdxl"])
    card = write(tmp_path / "b", base=Trained(f"diffusers:{home}", {"lora": f"{home}/lora", "vae": home}))
    assert metadata(tmp_path / "b").base_model is None
    assert "somebody" not in card and 'from_pretrained("my-sdxl")' in card and "`my-sdxl`" in card


def test_a_folder_that_looks_like_an_id_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints" / "sd").mkdir(parents=True)
    write(tmp_path / "card", base=Trained("diffusers:checkpoints/sd"))
    assert metadata(tmp_path / "card").base_model is None


def test_figures_have_intervals_and_what_holds_0_is_said_to_show_nothing(tmp_path: Path) -> None:
    card = write(tmp_path)
    assert "| Soft accuracy | 50.0 % | 56.3 % | +6.3 (+4.0 to +8.7) | 500 | better |" in card
    assert "| All correct | 20.0 % | 21.0 % | +1.0 (-1.0 to +3.0) | 500 | no difference shown |" in card
    assert "| Soft accuracy | 54.0 % | 56.3 % | +2.3 | 500 | no difference shown |" in card  # without an interval nothing is shown
    assert "### Against the same number of unselected pictures" in card
    assert "50.0 % -> 56.3 %" in card.replace("\\", "") and "judge\\_b sees \\| less." in card
    assert "an audit of all 3 captions that were trained on found none of their 1 structure, 0 pairs, 1 scene" in card
    assert "| pictures learnt from | 611 |" in card and "| captions | 2,400 |" in card
    assert "| optimization.learning\\_rate | 0.0001 |" in card and "| scenes | {} |" in card


def test_a_leaky_run_claims_nothing_anywhere(tmp_path: Path) -> None:
    card = write(tmp_path, leakage=LEAKY)
    assert "Nothing is claimed: what is held out was trained on." in card
    assert "1 held-out scene trained on" in card
    assert "56.3" not in card and "0.5634" not in card and "better" not in card
    assert metadata(tmp_path).eval_results is None


def test_without_an_evaluation_the_card_says_that_nothing_is_known(tmp_path: Path) -> None:
    assert "nothing is known of what this training did" in write(tmp_path, claims={})
    refused = {"the model before": {"claim": None, "sentence": "Nothing is claimed: too few scenes.", "reasons": ["too few scenes"]}}
    assert "Nothing is claimed: too few scenes." in write(tmp_path, claims=refused)
    missing = {"x": {"scores": {"soft": {"a": None, "b": None, "difference": None, "low": None, "high": None, "n": 0}}}}
    assert "| Soft accuracy | not known | not known | not known | 0 | no difference shown |" in write(tmp_path, claims=missing)


def test_the_licences_that_hold_are_named(tmp_path: Path) -> None:
    assert "The licence of `stabilityai/sdxl-turbo` holds" in write(tmp_path)
    card = write(tmp_path, recipe="distill", teacher="openai:gpt-image-1", licence="apache-2.0", command="anyscene distill --student x")
    assert "Of the weights: apache-2.0." in card and "`openai:gpt-image-1` made: its terms may limit" in card
    assert "learnt from pictures of `openai:gpt-image-1`" in card and "```sh\nanyscene distill --student x\n```" in card


def test_text_that_would_be_markup_is_escaped(tmp_path: Path) -> None:
    card = write(tmp_path, data={"judge | name": "<script>*x*</script>\n# title"}, claims={"a\n# b": {"scores": {}}})
    assert "judge \\| name" in card and "\\<script\\>\\*x\\*" in card and "\n# title" not in card and "\n# b" not in card


def test_the_same_card_is_written_every_time(tmp_path: Path) -> None:
    assert write(tmp_path / "a") == write(tmp_path / "b")


def test_a_card_stands_beside_weights(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"neither pytorch_lora_weights\.safetensors nor model_index\.json"):
        write(tmp_path, "weights.bin")


# ---- its code runs ------------------------------------------------------------------------------------------------------------------


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("rank", [4, 0])
def test_its_code_loads_the_trained_weights_in_stock_diffusers_and_here(tmp_path: Path, rank: int) -> None:
    torch = pytest.importorskip("torch")
    for library in ("diffusers", "transformers", "peft"):
        pytest.importorskip(library)
    models = str(Path(__file__).parents[1] / "models")
    if models not in sys.path:
        sys.path.insert(0, models)
    from tiny_pipelines import save

    from anyscene.models import load_model
    from anyscene.training.config import Lora
    from anyscene.training.denoiser import Denoiser
    from anyscene.training.trainable import Trainable

    base = save("sd", tmp_path / "base-model")
    options = {"steps": 2, "height": 16, "width": 16, "device": "cpu"}
    model: Any = load_model(f"diffusers:{base}", **options)
    trainable = Trainable(model.pipe, Denoiser(model.pipe), Lora(rank=rank), "no", 0)
    with torch.no_grad():
        for one in trainable.parameters:
            one.add_(0.1)

    def draw(one: Any) -> Any:
        return one.draw([CAPTION], [torch.Generator().manual_seed(0)])[0].array()

    kept = draw(model)
    folder = tmp_path / "weights"
    trainable.save(folder)
    card = write_model_card(
        folder, base=Trained(f"diffusers:{base}", options), recipe="improve", claims={}, data={}, settings={}, leakage=CLEAN
    ).read_text("utf-8")
    assert str(tmp_path) not in card
    blocks = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len(blocks) == 2
    stock, here = (block.replace("path/to/this/folder", str(folder)).replace('"base-model"', repr(str(base))) for block in blocks)
    here = here.replace("diffusers:base-model", f"diffusers:{base}").replace("load_model(", 'load_model(device="cpu", name=')
    found: dict[str, Any] = {}
    exec(stock, found)
    assert found["media"].size[0] > 0
    exec(here, found)
    assert (draw(found["model"]) == kept).all()
    asked = {"num_inference_steps": 2, "height": 16, "width": 16, "generator": [torch.Generator().manual_seed(0)]}
    assert (np.asarray(found["pipe"](CAPTION, **asked).images[0]) == kept).all()
    assert (draw(load_model(f"diffusers:{base}", **options)) != kept).any()
