"""The captions experiment of docs/results/moderation.md, in short: captions of all skills make a detector that sees more of a generator
that it never learnt from than captions of single objects do."""

from __future__ import annotations

import pytest

from anyscene.dataset import SceneSpace
from anyscene.evaluation import paint_run
from anyscene.models import load_model
from anyscene.moderation import BuildOptions, TrainOptions, build_dataset, train_detector
from anyscene.moderation.degrade import Augmentation
from anyscene.moderation.matrix import HeldOut, scores_of
from anyscene.moderation.metrics import compare_auroc, measure
from anyscene.sandbox import sandbox_taxonomy_path

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

pytestmark = [pytest.mark.torch, pytest.mark.slow]
CAPTIONS = {
    "all": {"complexity": (1, 4), "objects": (1, 2), "scene_attributes": (0, 1)},
    "one": {"complexity": (1, 4), "objects": (1, 1), "scene_attributes": (0, 0)},
}
LEARNT, TESTED = "diffusion", "autoregressive"
SCENES, TEST_SCENES, SEED = 400, 400, 0
PLAIN = Augmentation(jpeg=0, blur=0, resize=0)
QUICK = TrainOptions("regnet", size=32, steps=300, validate_every=100, patience=0, false_positive_rate=0.1, augmentation=PLAIN, seed=SEED)


@pytest.fixture(autouse=True)
def one_thread():
    """The same sums wherever it runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def painters():
    """What photographs the renderer's pictures, and those of both models, with one camera."""
    size = {"renderer": {"size": 32}}
    return {of: load_model("sandbox:camera", of=of, **size.get(of, {})) for of in ("renderer", LEARNT, TESTED)}


def photographs(folder, painters, captions, number, generator, seed, shares):
    """A data set: photographs of scenes, and of what a model draws of them."""
    scenes = SceneSpace(taxonomy=sandbox_taxonomy_path(), **CAPTIONS[captions]).table(0, number, seed=seed)
    for of in ("renderer", generator):
        paint_run(scenes, painters[of], folder / of, seed=seed, quiet=True)
    options = BuildOptions(shares=shares, encoding="png")
    return build_dataset(folder / "renderer", {generator: folder / generator}, folder / "data", options=options, quiet=True)


def test_captions_of_all_skills_show_more_of_a_generator_never_seen(tmp_path, painters):
    test = photographs(tmp_path / "test", painters, "all", TEST_SCENES, TESTED, 3 * SEED, (0.01, 0.01, 0.98))
    held = HeldOut("test", test, test.select(split="test"))
    scored = {}
    for number, captions in enumerate(CAPTIONS, 1):
        data = photographs(tmp_path / captions, painters, captions, SCENES, LEARNT, 3 * SEED + number, (0.74, 0.25, 0.01))
        detector = train_detector(data, tmp_path / f"{captions}-detector", QUICK, device="cpu", allow_biased=True, quiet=True)
        assert detector.generators == (LEARNT,)
        scored[captions] = held.scored(scores_of(detector, held, "", None, quiet=True))
    gap = compare_auroc(scored["one"], scored["all"])
    areas = {captions: measure(one, 0.5).auroc.value for captions, one in scored.items()}
    assert gap.n > 0.95 * TEST_SCENES
    assert gap.low > 0, f"all minus one {gap.value:+.3f} ({gap.low:+.3f} to {gap.high:+.3f}); AUROC {areas}"
