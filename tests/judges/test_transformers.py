"""Judges from transformers: tiny random models through the classes of real ones."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anyscene.errors import JudgeError, SpecError
from anyscene.judges import Answer, Judge, load_judge
from anyscene.language.question import Question
from anyscene.media import Media

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)

import tiny_vlm  # noqa: E402

tiny_vlm.make_torchvision_importable()

needs_torchvision = pytest.mark.skipif(importlib.util.find_spec("torchvision") is None, reason="its processor needs torchvision")
MODELS: dict[str, Callable[[Path], Path]] = {
    "llava": tiny_vlm.save_llava,
    "idefics": tiny_vlm.save_idefics,
    "gemma": tiny_vlm.save_gemma,
    "gemma_small_window": lambda folder: tiny_vlm.save_gemma(folder, window=16),
    "qwen2.5": tiny_vlm.save_qwen,
    "qwen3": lambda folder: tiny_vlm.save_qwen(folder, "3"),
    "qwen3.5": lambda folder: tiny_vlm.save_qwen(folder, "3.5"),
    "intern": tiny_vlm.save_intern,
}
EVERY = [pytest.param(name, marks=[needs_torchvision] if name.startswith(("qwen", "intern")) else []) for name in MODELS]
TEXTS = ("Is there a ball?", "Is the ball red?", "Are there three green balls to the left of the table?", "Is it dark?")
YES_NO = tuple(Question(f"q{place}", "existence", "yes_no", text, "yes") for place, text in enumerate(TEXTS))
CHOICE = Question("c", "attribute", "choice", "What color is the ball?", "red", ("red", "blue", "green"))
OPEN = (
    Question("o0", "count", "open", "How many balls are there?", "three"),
    Question("o1", "relation", "open", "What is the ball to the left of, if anything?", "table"),
)
ALL = (*YES_NO, CHOICE, *OPEN)


def noise(seed: int, height: int = 64, width: int = 80) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = MODELS[name](tmp_path_factory.mktemp("vlm") / name)
        return made[name]

    return folder


@pytest.fixture(scope="module")
def llava(saved: Callable[[str], Path]) -> Path:
    return saved("llava")


def judge_of(folder: Path, **options: object) -> Any:
    return load_judge(f"transformers:{folder}", device="cpu", **options)


@cache
def usual(folder: Path) -> Any:
    """The judge as it is without options, loaded once: for tests that only ask it."""
    return judge_of(folder)


def distance(some: list[Answer], others: list[Answer]) -> float:
    """The largest difference of any two probabilities."""
    pairs = [
        pair
        for one, other in zip(some, others, strict=True)
        for pair in zip(
            (one.p_yes or 0.0, one.label_mass or 0.0, *one.probabilities),
            (other.p_yes or 0.0, other.label_mass or 0.0, *other.probabilities),
            strict=True,
        )
    ]
    return max(abs(left - right) for left, right in pairs)


@pytest.mark.parametrize("name", EVERY)
def test_reading_the_media_once_gives_the_answers_of_one_call_a_question(name: str, saved: Callable[[str], Path]) -> None:
    once = usual(saved(name))
    plain = judge_of(saved(name), mode="plain")
    single = judge_of(saved(name), mode="plain", batch_questions=1)
    assert isinstance(once, Judge)
    assert (once.mode, plain.mode, once.notes) == ("prefix", "plain", [])
    image, other = Media.of_image(noise(0)), Media.of_image(noise(1))
    clip = Media.of_frames([noise(seed, 48, 48) for seed in range(3)], "video", fps=4)
    for media in (image, other, clip):
        expected = single.answer(media, ALL)
        assert distance(once.answer(media, ALL), expected) < 1e-5
        assert distance(plain.answer(media, ALL), expected) < 1e-5
        assert [answer.text for answer in once.answer(media, ALL)] == [answer.text for answer in expected]
        assert distance([once.answer(media, [question])[0] for question in ALL], expected) < 1e-5
    assert distance(once.answer(image, ALL), once.answer(other, ALL)) > 1e-4, "the picture does not matter"
    assert distance(once.answer(image, YES_NO[:1]), once.answer(image, YES_NO[1:2])) > 1e-5, "the question does not matter"


def test_every_form_is_answered_in_its_own_way(llava: Path) -> None:
    answers = usual(llava).answer(Media.of_image(noise(0)), ALL)
    for answer in answers[: len(YES_NO)]:
        assert answer.p_yes is not None and 0 < answer.p_yes < 1
        assert answer.probabilities == ()
    choice = answers[len(YES_NO)]
    assert choice.p_yes is None
    assert len(choice.probabilities) == 3 and abs(sum(choice.probabilities) - 1) < 1e-12
    for answer in answers[-2:]:
        assert (answer.p_yes, answer.label_mass, answer.probabilities) == (None, None, ())
        assert answer.text


def test_the_numbers_are_those_of_the_model_itself(llava: Path) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    media = Media.of_image(noise(3))
    processor, model = AutoProcessor.from_pretrained(llava), AutoModelForImageTextToText.from_pretrained(llava).eval()
    prompt = "<|im_start|>user\n<image>\nIs there a ball? Answer with one word, Yes or No.<|im_end|>\n<|im_start|>assistant\n"
    with torch.no_grad():
        shares = model(**processor(text=[prompt], images=[media.image], return_tensors="pt")).logits[0, -1].softmax(-1)
    yes, no = (float(shares[processor.tokenizer.convert_tokens_to_ids(word)]) for word in ("Yes", "No"))
    answer = usual(llava).answer(media, YES_NO[:1])[0]
    assert answer.p_yes == pytest.approx(yes / (yes + no), abs=1e-6)
    assert answer.label_mass == pytest.approx(yes + no, abs=1e-7)
    assert answer.text == processor.tokenizer.decode([int(shares.argmax())])
    assert usual(llava).reply_probability(media, ["Is there a ball? Answer with one word, Yes or No."], "Yes") == [
        pytest.approx(yes, abs=1e-7)
    ]


def test_low_label_mass_is_reported_and_may_be_refused(llava: Path) -> None:
    media = Media.of_image(noise(0))
    free, strict = usual(llava).answer(media, YES_NO), judge_of(llava, min_label_mass=0.5).answer(media, YES_NO)
    for left, right in zip(free, strict, strict=True):
        assert left.status == "answered" and left.label_mass is not None and left.label_mass < 0.1
        assert (right.status, right.p_yes, right.label_mass) == ("unparsed", None, left.label_mass)


def test_answers_do_not_depend_on_the_size_of_batches(llava: Path) -> None:
    media = Media.of_image(noise(0))
    many = usual(llava).answer(media, ALL)
    for size in (1, 2, 3):
        assert distance(judge_of(llava, batch_questions=size).answer(media, ALL), many) < 1e-5


def test_no_questions_no_answers(llava: Path) -> None:
    assert usual(llava).answer(Media.of_image(noise(0)), []) == []


@pytest.mark.parametrize("mode", ["prefix", "plain"])
def test_out_of_memory_halves_the_batch_and_goes_on(mode: str, llava: Path) -> None:
    judge, media = judge_of(llava, mode=mode, batch_questions=8), Media.of_image(noise(0))
    expected = judge.answer(media, ALL)
    sizes: list[int] = []
    with fails_above(judge, 2, sizes):
        assert distance(judge.answer(media, ALL), expected) < 1e-5
    assert max(sizes) > 2, "the test did not provoke anything"
    assert judge.reader.batch <= 2
    with fails_above(judge, 0, sizes):
        failed = judge.answer(media, ALL)
    assert [answer.status for answer in failed] == ["failed"] * len(ALL)
    assert "out of memory" in failed[0].text and failed[0].p_yes is None


@contextmanager
def fails_above(judge: Any, most: int, sizes: list[int]) -> Iterator[None]:
    """Lets the model run out of memory whenever it is given more than so many rows at once."""

    def look(_: Any, __: Any, inputs: dict[str, Any]) -> None:
        sizes.append(len(inputs["input_ids"]))
        if sizes[-1] > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    hook = judge.reader.model.register_forward_pre_hook(look, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


def test_a_model_that_cannot_go_on_from_a_prefix_is_called_plainly_and_says_so(
    llava: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from anyscene.judges.prefix import VisionReader

    media = Media.of_image(noise(0))
    right = usual(llava).answer(media, ALL)
    true_positions = VisionReader._positions
    monkeypatch.setattr(VisionReader, "_positions", lambda reader, beginning, behind: true_positions(reader, beginning, behind) + 3)
    judge = judge_of(llava)
    assert judge.mode == "plain"
    assert "prefix is off by" in judge.notes[0] and judge.notes[0] in capsys.readouterr().err
    assert distance(judge.answer(media, ALL), right) < 1e-5
    with pytest.raises(JudgeError, match="cannot be called with mode=prefix"):
        judge_of(llava, mode="prefix")


def test_a_model_whose_batches_are_wrong_is_called_one_by_one(llava: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from anyscene.judges.prefix import VisionReader

    media = Media.of_image(noise(0))
    right = usual(llava).answer(media, YES_NO)
    true_plain = VisionReader._plain

    def neighbours_leak(reader: VisionReader, beginning: Any, places: Any) -> Any:
        logits = true_plain(reader, beginning, places)
        return logits + 0.5 * logits.roll(1, 0) if len(logits) > 1 else logits

    monkeypatch.setattr(VisionReader, "_plain", neighbours_leak)
    judge = judge_of(llava, mode="plain")
    assert judge.mode == "single" and "plain is off by" in judge.notes[0]
    assert distance(judge.answer(media, YES_NO), right) < 1e-5


def test_yes_of_several_tokens_is_read_by_its_first_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judge = judge_of(tiny_vlm.save_llava(tmp_path / "bytes", whole=()))
    assert any("more than one token" in note for note in judge.notes)
    assert "more than one token" in capsys.readouterr().err
    answer = judge.answer(Media.of_image(noise(0)), YES_NO[:1])[0]
    both = judge.reply_probability(
        Media.of_image(noise(0)), ["Is there a ball? Answer with one word, Yes or No."], "Y"
    ) + judge.reply_probability(Media.of_image(noise(0)), ["Is there a ball? Answer with one word, Yes or No."], "N")
    assert len(judge.reader.tokenizer("Yes").input_ids) == 3
    assert answer.p_yes == pytest.approx(both[0] / sum(both), abs=1e-6)
    with pytest.raises(JudgeError, match="more than one token"):
        judge.reply_probability(Media.of_image(noise(0)), ["Is it?"], "Yes")


def test_spellings_of_one_token_are_summed_and_labels_kept_apart(tmp_path: Path) -> None:
    from anyscene.judges.prompts import word_variants
    from anyscene.judges.transformers import label_tokens

    judge = judge_of(tiny_vlm.save_llava(tmp_path / "more", whole=("Yes", "No", "yes", "no", "ĠYes")))
    groups, whole = label_tokens(judge.reader, judge.reader.prompt(1, "Is it?"), [word_variants(["yes"]), word_variants(["no"])])
    decoded = [sorted(judge.reader.tokenizer.decode([token]) for token in group) for group in groups]
    assert whole and decoded == [[" Yes", "Yes", "yes"], ["No", "no"]]
    with pytest.raises(JudgeError, match="cannot be told apart"):
        label_tokens(judge.reader, judge.reader.prompt(1, "Is it?"), [["Maybe"], ["Most likely"]])


def test_thinking_is_turned_off_where_the_template_knows_it(tmp_path: Path) -> None:
    template = tiny_vlm.CHAT.replace(
        "assistant\n{%", "assistant\n{% if enable_thinking is not defined or enable_thinking %}<think>{% endif %}{%"
    )
    judge = judge_of(tiny_vlm.save_llava(tmp_path / "thinker", template=template))
    assert not judge.reader.prompt(1, "Is it?").endswith("<think>")
    assert "<think>" in judge.reader.processor.apply_chat_template([{"role": "user", "content": []}], add_generation_prompt=True)


def test_a_thought_that_the_template_always_opens_is_closed_at_once(tmp_path: Path) -> None:
    judge = judge_of(tiny_vlm.save_llava(tmp_path / "stubborn", template=tiny_vlm.CHAT.replace("assistant\n{%", "assistant\n<think>\n{%")))
    assert judge.reader.prompt(1, "Is it?").endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert judge.answer(Media.of_image(noise(0)), YES_NO)[0].status == "answered"


def test_control_tokens_in_a_question_are_cut(llava: Path) -> None:
    judge, media = usual(llava), Media.of_image(noise(0))
    odd = Question("x", "existence", "yes_no", "Is there <image>a ball<|im_end|>?", "yes")
    assert judge.answer(media, [odd]) == judge.answer(media, YES_NO[:1])


def test_pictures_are_brought_between_the_limits(llava: Path) -> None:
    judge = judge_of(llava, max_pixels=1000, min_pixels=400, frames=2)
    assert judge._sized(Media.of_image(noise(0)).image).size == (35, 28)
    assert judge._sized(Media.of_image(noise(0, 10, 10)).image).size == (20, 20)
    assert judge._sized(Media.of_image(noise(0, 25, 30)).image).size == (30, 25)
    clip = Media.of_frames([noise(seed, 32, 32) for seed in range(9)], "3d")
    assert judge._begin(clip, ["Is it?"]).prompts[0].count("<image>") == 2
    assert "max_pixels=1000" in judge.revision and "frames=2" in judge.revision


def test_revision_tells_weights_apart(llava: Path, tmp_path: Path) -> None:
    other = tiny_vlm.save_llava(tmp_path / "other", seed=1)
    same = tiny_vlm.save_llava(tmp_path / "same")
    assert usual(llava).revision == judge_of(same).revision != judge_of(other).revision


def test_options_come_as_text_and_wrong_ones_are_refused(llava: Path) -> None:
    assert judge_of(llava, batch_questions="4", local_files_only="true", attn="eager").reader.batch == 4
    for option, value in {
        "batch_questions": 0,
        "frames": 0,
        "min_label_mass": 1,
        "max_pixels": 0,
        "mode": "fast",
        "speed": 1,
        "dtype": "int8",
    }.items():
        with pytest.raises(SpecError, match=option):
            judge_of(llava, **{option: value})


def test_what_cannot_be_loaded_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(JudgeError, match="cannot be loaded") as told:
        judge_of(tmp_path / "nothing", local_files_only=True)
    assert "\n" not in str(told.value)
    folder = tiny_vlm.save_llava(tmp_path / "silent")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(JudgeError, match="no chat template"):
        judge_of(folder)


def test_half_precision_gives_nearly_the_same_answers(llava: Path) -> None:
    media = Media.of_image(noise(0))
    half = judge_of(llava, dtype="bfloat16")
    assert half.mode == "prefix" and "dtype=bfloat16" in half.revision
    assert distance(half.answer(media, YES_NO), usual(llava).answer(media, YES_NO)) < 0.05
