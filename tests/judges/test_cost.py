from __future__ import annotations

import time
from typing import Any

import pytest

from anyscene.judges.cost import CostEstimate, estimate_cost, image_tokens


@pytest.mark.parametrize(
    ("model", "side", "tokens"),
    [
        ("Qwen/Qwen2.5-VL-7B-Instruct", 512, 324),
        ("Qwen/Qwen2.5-VL-7B-Instruct", 768, 729),
        ("Qwen/Qwen2.5-VL-7B-Instruct", 1024, 1225),
        ("Qwen/Qwen3-VL-8B-Instruct", 512, 256),
        ("Qwen/Qwen3-VL-8B-Instruct", 768, 576),
        ("Qwen/Qwen3-VL-8B-Instruct", 1024, 1024),
        ("google/gemma-3-4b-it", 1024, 256),
        ("OpenGVLab/InternVL3-8B", 448, 256),
        ("llava-hf/llava-1.5-7b-hf", 512, 576),
        ("gpt-4o-2024-08-06", 1024, 765),
        ("gpt-4o", 512, 255),
        ("someone/else", 280, 100),
    ],
)
def test_tokens_of_a_picture_follow_the_familys_rule(model: str, side: int, tokens: int) -> None:
    assert image_tokens(model, side, side) == tokens


class Named:
    revision = ""
    workers = 1

    def __init__(self, name: str, template: str = "plain-1", **more: Any) -> None:
        self.name, self.template = name, template
        vars(self).update(more)

    def answer(self, media: Any, questions: Any) -> list[Any]:
        return []


QWEN = "Qwen/Qwen3-VL-8B-Instruct"


@pytest.mark.parametrize(
    ("judge", "calls", "tokens"),
    [
        (Named(f"openai:{QWEN}"), 1200, 1200 * (256 + 35)),
        (Named(f"openai:{QWEN}", "systemone-1"), 100, 100 * 256 + 1200 * 35),
        (Named(f"transformers:{QWEN}", mode="prefix"), 100, 100 * 256 + 1200 * 35),
        (Named(f"transformers:{QWEN}", mode="plain"), 100, 1200 * (256 + 35)),
        (Named(f"openai:{QWEN}", max_pixels=256 * 256), 1200, 1200 * (64 + 35)),
        (Named("sandbox:pixels"), 100, None),
        (Named("human:folder"), 100, None),
    ],
)
def test_a_picture_counts_once_where_it_is_read_once(judge: Named, calls: int, tokens: int | None) -> None:
    estimate = estimate_cost(judge, 100, 1200, (512, 512))
    assert (estimate.calls, estimate.tokens, estimate.seconds, estimate.usd) == (calls, tokens, None, None)


def test_frames_count_as_far_as_they_are_looked_at() -> None:
    judge = Named(f"transformers:{QWEN}", mode="prefix", frames=8)
    assert estimate_cost(judge, 1, 1, (512, 512), frames=40).tokens == 8 * 256 + 35
    assert estimate_cost(judge, 1, 1, (512, 512), frames=3).tokens == 3 * 256 + 35


def test_a_probe_gives_the_time_and_its_first_call_does_not_count() -> None:
    pauses = [0.3, 0.02]
    judge = Named("sandbox:pixels", workers=2)
    estimate = estimate_cost(judge, 1000, 5000, probe=lambda: time.sleep(pauses.pop(0)))
    assert estimate.seconds is not None
    assert 10 <= estimate.seconds < 100


def test_prices() -> None:
    class Painter:
        price_usd = 0.04

    assert estimate_cost(Painter(), 250) == CostEstimate(250, usd=pytest.approx(10.0))
    assert estimate_cost(object(), 250) == CostEstimate(250)
    assert estimate_cost(Named(f"openai:{QWEN}"), 100, 1200, (512, 512), usd_per_million_tokens=2.0).usd == pytest.approx(0.6984)


def test_nothing_to_do_costs_nothing() -> None:
    assert estimate_cost(Named(f"openai:{QWEN}"), 0, 0, (0, 0)) == CostEstimate(0, 0)
    assert estimate_cost(Named(f"openai:{QWEN}", "systemone-1"), 0, 0, (0, 0)) == CostEstimate(0, 0)


def test_it_reads_well() -> None:
    assert str(CostEstimate(1200, 349_200)) == "1,200 calls, about 349,200 tokens"
    assert str(CostEstimate(1, 3_141_592, 5400.0, 12.345)) == "1 call, about 3.14 million tokens, about 1.5 hours, about 12.35 USD"
