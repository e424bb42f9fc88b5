"""What a reward's questions cost: all those of a picture behind one image prefix, beside one call a question. The same answers.

    python perf/judges.py                                    a random Qwen2.5-VL of 20 million weights, pictures of 504 pixels
    python perf/judges.py --questions 4 12 --pictures 5

On one core, in CPU seconds; the ratios within one run count. Needs the extra judges, and a torchvision that fits torch.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measure import cpu_seconds, restart_on_one_core

if TYPE_CHECKING:
    from anyscene.judges.transformers import TransformersJudge
    from anyscene.language.question import Question
    from anyscene.media import Media

ROOT = Path(__file__).resolve().parents[1]
SIDE = 504
COLORS = "red blue green white tall tiny old new wet dry big odd".split()
NOUNS = "ball cup hat dog cat car tree lamp book fish bird door".split()


def save_model(folder: Path) -> Path:
    """A Qwen2.5-VL with random weights: 8 layers of width 384 behind a tower of 4 layers."""
    sys.path.insert(0, str(ROOT / "tests" / "judges"))
    tiny = import_module("tiny_vlm")
    text = {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 8, "num_attention_heads": 6, "num_key_value_heads": 2}
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [8, 12, 12]}
    vision = {"depth": 4, "hidden_size": 192, "intermediate_size": 384, "out_hidden_size": 384, "fullatt_block_indexes": [3]}
    saved: Path = tiny.save_qwen(folder, text={**text, "rope_parameters": rope}, vision={**vision, "window_size": 112}, longest=400)
    return saved


def questions(number: int) -> list[Question]:
    """So many yes/no questions."""
    from anyscene.language.question import Question

    return [
        Question(f"q{k}", "existence", "yes_no", f"Is there a {COLORS[k % 12]} {NOUNS[(k * 5) % 12]}?", "yes", (), (), (), None)
        for k in range(number)
    ]


def pictures(number: int) -> list[Media]:
    """Noise of 504 x 504 pixels."""
    import numpy as np

    from anyscene.media import Media

    draw = np.random.default_rng(0)
    return [Media.of_image(draw.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)) for _ in range(number)]


def measured(judge: TransformersJudge, media: list[Media], asked: list[Question], together: bool) -> tuple[float, list[float | None]]:
    """CPU seconds, and the chances of yes."""
    answers: list[Any] = []

    def work() -> None:
        answers.clear()
        for one in media:
            answers.extend(judge.answer(one, asked) if together else [judge.answer(one, [each])[0] for each in asked])

    seconds = min(cpu_seconds(work) for _ in range(2))
    return seconds, [answer.p_yes for answer in answers]


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--questions", type=int, nargs="+", default=[4, 8, 12])
    options.add_argument("--pictures", type=int, default=3)
    chosen = options.parse_args()
    restart_on_one_core()
    from anyscene.judges.transformers import TransformersJudge

    with tempfile.TemporaryDirectory() as folder:
        name = str(save_model(Path(folder) / "model"))
        shared, plain = TransformersJudge(name, mode="prefix"), TransformersJudge(name, mode="plain")
    media = pictures(chosen.pictures)
    plain.answer(media[0], questions(1))
    shared.answer(media[0], questions(2))
    print(f"{'questions':>9} {'one by one':>24} {'behind one prefix':>24} {'times':>6} {'largest difference':>19}")
    for number in chosen.questions:
        asked = questions(number)
        slow, first = measured(plain, media, asked, together=False)
        fast, second = measured(shared, media, asked, together=True)
        gap = max(abs((a or 0.0) - (b or 0.0)) for a, b in zip(first, second, strict=True))
        rates = [f"{number * len(media) / one:7.1f} q/s {len(media) / one:6.2f} img/s" for one in (slow, fast)]
        print(f"{number:>9} {rates[0]:>24} {rates[1]:>24} {slow / fast:6.1f} {gap:19.1e}", flush=True)


if __name__ == "__main__":
    main()
