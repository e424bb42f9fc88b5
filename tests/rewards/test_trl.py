"""TRL end to end: its GRPOTrainer, a tiny random Qwen2, our training set, our reward, sync and async."""

from __future__ import annotations

import math
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")
pytestmark = pytest.mark.torch

from anyscene.judges import Answer  # noqa: E402
from anyscene.rewards import Guards, SceneReward, Weighted, as_trl, as_trl_async, default_guards  # noqa: E402
from anyscene.rewards.exporters import SIMPLEAR_PROMPT, export_trl  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
from scripted import question, scene  # noqa: E402

CODES, SIDE, GROUP = 16, 2, 4


class Bright:
    """Sure of what is asked by how bright the picture is, and of nothing where its first corner is black."""

    name, revision, template, workers = "bright", "", "", 1

    def answer(self, media, questions):
        pixels = media.array().astype(float) / 255
        if pixels[0, 0, 0] == 0:
            return [Answer(None, None, "", "failed") for _ in questions]
        return [Answer(float(pixels.mean()), 1.0, "") for _ in questions]


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    """Folder of a two-layer Qwen2 with a byte tokenizer and 16 picture tokens behind it, and the tokenizer."""
    from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    special = ["<|endoftext|>", "<|t2i|>", "<|soi|>"]
    words = [*bytes_to_unicode().values(), *special]
    tokenizer = Qwen2Tokenizer(
        vocab={word: place for place, word in enumerate(words)}, merges=[], pad_token=special[0], eos_token=special[0]
    )
    tokenizer.add_special_tokens({"additional_special_tokens": special[1:]})
    tokenizer.padding_side = "left"
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer) + CODES,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=False,
    )
    folder = tmp_path_factory.mktemp("policy")
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder, tokenizer


def decode(codes):
    """A picture of four squares, each as grey as its code says."""
    grey = np.array(codes, dtype=np.uint8).reshape(SIDE, SIDE) * (255 // (CODES - 1))
    return np.repeat(np.kron(grey, np.ones((4, 4), dtype=np.uint8))[..., None], 3, axis=-1)


def run(policy, tmp_path, reward_funcs, records, steps=2, **config):
    from transformers import Qwen2ForCausalLM
    from trl import GRPOConfig, GRPOTrainer

    folder, tokenizer = policy
    base = len(tokenizer)
    export_trl(records, tmp_path / "train.jsonl", prompt=SIMPLEAR_PROMPT)
    dataset = datasets.load_dataset("json", data_files=str(tmp_path / "train.jsonl"), split="train", cache_dir=str(tmp_path / "cache"))
    seen = []

    def rollout(prompts, trainer):
        """Four picture tokens each, sampled from the policy."""
        model = trainer.accelerator.unwrap_model(trainer.model)
        given = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
        ids, mask, chosen, logps = given.input_ids, given.attention_mask, [], []
        with torch.no_grad():
            for _ in range(SIDE * SIDE):
                scores = model(input_ids=ids, attention_mask=mask).logits[:, -1].float()
                scores[:, :base] = -math.inf
                logp = scores.log_softmax(-1)
                token = torch.multinomial(logp.exp(), 1)
                chosen.append(token)
                logps.append(logp.gather(-1, token))
                ids, mask = torch.cat([ids, token], 1), torch.cat([mask, torch.ones_like(token)], 1)
        tokens = torch.cat(chosen, 1)
        seen.append(len(prompts))
        return {
            "prompt_ids": [row[keep.bool()].tolist() for row, keep in zip(given.input_ids, given.attention_mask, strict=True)],
            "completion_ids": tokens.tolist(),
            "logprobs": torch.cat(logps, 1).tolist(),
            "generated_image": [decode(row) for row in (tokens - base).tolist()],
        }

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        arguments = GRPOConfig(
            output_dir=str(tmp_path / "out"),
            per_device_train_batch_size=8,
            num_generations=GROUP,
            max_completion_length=SIDE * SIDE,
            max_steps=steps,
            learning_rate=1e-2,
            use_cpu=True,
            bf16=False,
            report_to=[],
            logging_steps=1,
            save_strategy="no",
            gradient_checkpointing=False,
            disable_tqdm=True,
            **config,
        )
        trainer = GRPOTrainer(
            model=Qwen2ForCausalLM.from_pretrained(folder),
            reward_funcs=reward_funcs,
            args=arguments,
            train_dataset=dataset,
            processing_class=tokenizer,
            rollout_func=rollout,
        )
        trainer.train()
    assert seen == [8] * len(seen) and seen
    return trainer


@pytest.fixture
def records():
    foil = {"foil": "absent_object", "kind": "existence"}
    return [
        scene(f"r{place}", question("q0", "Is there a ball?"), question("q1", f"Is there a cat {place}?", "no", **foil))
        for place in range(4)
    ]


def test_the_trainer_trains_on_our_reward_and_logs_its_parts(policy, tmp_path, records):
    batches = []
    reward = as_trl(SceneReward(Bright(), foil_weight=0.0), watch=lambda images, rows, scores: batches.append((images, rows, scores)))
    trainer = run(policy, tmp_path, [reward], records)
    logs = [one for one in trainer.state.log_history if "reward" in one]
    assert len(logs) == 2
    for log, (images, rows, scores) in zip(logs, batches, strict=True):
        known = [one.value for one in scores if one]
        assert log["rewards/scene/mean"] == pytest.approx(np.mean(known), abs=1e-5)
        assert log["rewards/scene/known"] == pytest.approx(len(known) / 8)
        assert log["rewards/scene/foils"] == pytest.approx(np.mean([one.figures["foils"] for one in scores if one]), abs=1e-5)
        for image, score in zip(images, scores, strict=True):
            assert (score is None) == (image[0, 0, 0] == 0)
            assert score is None or score.value == pytest.approx(image.mean() / 255)
        assert len({one["id"] for one in rows}) == 2  # two groups of four
        assert all(one["questions"][0]["text"] == "Is there a ball?" for one in rows)
    assert any(log["grad_norm"] > 0 for log in logs)


def test_missing_rewards_move_nothing(policy, tmp_path, records):
    class Blind(Bright):
        def answer(self, media, questions):
            return [Answer(None, None, "", "failed") for _ in questions]

    trainer = run(policy, tmp_path, [as_trl(SceneReward(Blind()))], records, steps=1)
    (log,) = [one for one in trainer.state.log_history if "reward" in one]
    assert (log["reward"] is None or math.isnan(log["reward"])) and log["grad_norm"] == 0 and log["rewards/scene/known"] == 0


def test_async_rewards_and_guards_run_beside_each_other(policy, tmp_path, records):
    guards = Guards(default_guards())
    first = as_trl_async(SceneReward(Bright(), name="first"), watch=guards.check)
    second = as_trl_async(Weighted({"scene": (SceneReward(Bright()), 2.0)}, name="second"))
    trainer = run(policy, tmp_path, [first, second], records, multi_objective_aggregation="normalize_then_sum")
    logs = [one for one in trainer.state.log_history if "reward" in one]
    assert guards.step == 2
    for log in logs:
        assert log["rewards/second/mean"] == pytest.approx(2 * log["rewards/first/mean"], rel=1e-5)
        assert log["rewards/second/scene"] == pytest.approx(log["rewards/first/mean"], rel=1e-5)
