"""A judge behind several servers: who is asked what, and what a server that is down costs."""

from __future__ import annotations

import base64
import io
import math
import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

if str(Path(__file__).parents[1]) not in sys.path:
    sys.path.append(str(Path(__file__).parents[1]))

pytest.importorskip("httpx")

from anyscene.errors import JudgeError, SpecError
from anyscene.judges import Answer, load_judge
from anyscene.judges.openai import OpenAIJudge
from anyscene.language.question import Question
from anyscene.media import Media
from servers import Asked, Reply, Server, error_reply, serving

NOWHERE = "http://127.0.0.1:9/v1"  # the port of "discard", where nobody listens
COLOURS = {"red": (255, 0, 0), "green": (0, 128, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}
QUESTIONS = [Question(one, "attribute", "yes_no", f"Is this picture {one}?", "yes") for one in ("green", "white", "blue")]


def seen(asked: Asked) -> str:
    """The colour of the picture that a request holds."""
    url = asked.body["messages"][-1]["content"][0]["image_url"]["url"]
    pixel = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB").getpixel((0, 0))
    return next(name for name, rgb in COLOURS.items() if rgb == pixel)


def serves(model: str = "vlm-1", probabilities: bool = True, delay_s: float = 0.0, alive: Callable[[], bool] = lambda: True) -> Any:
    def look(asked: Asked) -> Reply:
        if not alive():
            raise ConnectionError
        if not asked.path.endswith("/chat/completions"):
            return error_reply(404, "Not Found")
        found = re.search(r"Is this picture (\w+)\?", asked.body["messages"][-1]["content"][-1]["text"])
        assert found
        words = ("Yes", "No") if found[1] == seen(asked) else ("No", "Yes")
        top = [{"token": word, "logprob": math.log(chance), "bytes": None} for word, chance in zip(words, (0.9, 0.1), strict=True)]
        given = {"content": [{**top[0], "top_logprobs": top}]} if probabilities else None
        choice = {"index": 0, "message": {"role": "assistant", "content": words[0]}, "finish_reason": "stop", "logprobs": given}
        return Reply({"model": model, "choices": [choice]}, delay_s=delay_s)

    return look


def judge(*servers: Server | str, **options: str) -> OpenAIJudge:
    urls = ",".join(one if isinstance(one, str) else one.url for one in servers)
    one = load_judge("openai:vlm", base_url=urls, **{"backoff_s": "0.001", "timeout_s": "5", "endpoint": "chat", **options})
    assert isinstance(one, OpenAIJudge)
    return one


def answer(one: OpenAIJudge, colour: str) -> list[Answer]:
    return one.answer(Media.of_image(Image.new("RGB", (16, 16), COLOURS[colour])), QUESTIONS)


def right(answers: list[Answer], colour: str) -> bool:
    return [answer.p_yes for answer in answers] == pytest.approx([0.9 if colour == question.id else 0.1 for question in QUESTIONS])


def test_servers_share_the_pictures_and_all_questions_about_one_go_to_one() -> None:
    with serving(serves(delay_s=0.005)) as first, serving(serves(delay_s=0.005)) as second:
        one = judge(first, second, workers="2")
        assert one.workers == 4
        colours = list(COLOURS) * 6
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda colour: answer(one, colour), colours))
        assert all(right(answers, colour) for answers, colour in zip(found, colours, strict=True))
        asked = [sum(seen(one) != "red" for one in server.asked) for server in (first, second)]  # the probes are red
        assert sum(asked) == 54 and min(asked) >= 12
        assert all(number % 3 == 0 for number in asked)


def test_a_server_that_is_down_is_passed_over_and_one_that_dies_costs_no_answer() -> None:
    dead: list[bool] = []
    with serving(serves(alive=lambda: not dead)) as dying, serving(serves()) as alive:
        one = judge(NOWHERE, dying, alive)
        for _ in range(4):
            assert right(answer(one, "green"), "green")
        dead.append(True)
        asked = len(dying.asked)
        for _ in range(6):
            assert right(answer(one, "blue"), "blue")
        assert len(dying.asked) - asked <= 4  # after it was found dead it is left alone


def test_without_any_server_left_answers_are_failed_and_say_so() -> None:
    dead: list[bool] = []
    with serving(serves(alive=lambda: not dead)) as first, serving(serves(alive=lambda: not dead)) as second:
        one = judge(first, second, retries="2")
        assert right(answer(one, "white"), "white")
        dead.append(True)
        answers = answer(one, "white")
    assert {answer.status for answer in answers} == {"failed"}
    assert "given up after 3 rounds over 2 servers" in answers[0].text


def test_a_busy_server_leaves_its_questions_to_another() -> None:
    with serving(lambda asked: error_reply(503, "busy")) as busy, serving(serves()) as free:
        one = judge(busy, free, retries="0")
        assert right(answer(one, "green"), "green")


def test_servers_that_are_not_alike_are_refused() -> None:
    for stranger, said in ((serves(model="another-model"), "'another-model'"), (serves(probabilities=False), "gives no log-probabilities")):
        with serving(serves()) as first, serving(stranger) as second, pytest.raises(JudgeError, match=said):
            answer(judge(first, second), "red")


def test_a_server_without_the_model_is_named_at_once() -> None:
    with (
        serving(serves()) as first,
        serving(lambda asked: error_reply(404, "no such model")) as second,
        pytest.raises(JudgeError, match=f"no /chat/completions at {second.url}"),
    ):
        answer(judge(first, second), "red")


def test_addresses_that_do_not_go_together_are_refused() -> None:
    for wrong, said in (
        (f"{NOWHERE},{NOWHERE}/", "each of them once"),
        (f"https://api.openai.com/v1,{NOWHERE}", "own server"),
        (f"{NOWHERE},", "no address"),
    ):
        with pytest.raises(SpecError, match=said):
            load_judge("openai:vlm", base_url=wrong)
