from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("httpx")

if str(Path(__file__).parents[1]) not in sys.path:
    sys.path.append(str(Path(__file__).parents[1]))

from anyscene.errors import JudgeError, MediaError, RecordError, SpecError
from anyscene.media import Media
from anyscene.rewards import Reward
from anyscene.rewards.client import RewardClient
from anyscene.rewards.protocol import Score
from anyscene.rewards.server import RewardServer, ServerConfig
from anyscene.rewards.wire import Limits
from reward_servers import PixelReward, picture, record, right_value, score_of
from servers import Reply, Server, error_reply

NOWHERE = "http://127.0.0.1:9"  # the port of "discard", where nobody listens


def serving(reward: Any, **options: Any) -> RewardServer:
    return RewardServer(reward, ServerConfig(port=0, **options))


def quick(urls: str | list[str], **options: Any) -> RewardClient:
    return RewardClient(urls, **{"backoff_s": 0.02, "timeout_s": 10, **options})


def values(scores: list[Score | None]) -> list[float | None]:
    return [None if one is None else one.value for one in scores]


def the_right(numbers: range) -> list[float]:
    return [right_value(number) for number in numbers]


def sent(numbers: range) -> tuple[list[Media], list[dict[str, Any]]]:
    return [picture(number) for number in numbers], [record(number) for number in numbers]


def test_it_is_a_reward_and_gives_what_the_reward_behind_it_gives() -> None:
    images, records = sent(range(20))
    with serving(PixelReward()) as server:
        client = quick(server.url, pictures_per_request=3)
        assert isinstance(client, Reward)
        assert client.score(images, records) == PixelReward().score(images, records)
        assert client.score([], []) == []


def test_pictures_of_every_kind_are_sent_and_one_that_is_not_there_has_no_score() -> None:
    image = picture(3)
    bitmap = Media((image.image,), image.data, "image", ".bmp")  # a file that servers do not take is written anew
    with serving(PixelReward()) as server:
        scores = quick(server.url).score([image.image, None, image.array(), bitmap], [record(3)] * 4)
    assert values(scores) == [right_value(3), None, right_value(3), right_value(3)]


def test_a_score_that_is_not_known_stays_none() -> None:
    class Unsure(PixelReward):
        def score(self, images: Any, records: Any) -> list[Score | None]:
            return [None for _ in records]

    with serving(Unsure()) as server:
        assert quick(server.url).score(*sent(range(3))) == [None] * 3


def test_clips_are_sent_with_all_their_frames() -> None:
    class Frames(PixelReward):
        def score(self, images: Any, records: Any) -> list[Score | None]:
            return [Score(float(len(one.frames))) for one in images]

    clip = np.stack([picture(number).array() for number in range(4)])
    with serving(Frames()) as server:
        (score,) = quick(server.url).score([clip], [{**record(0), "modality": "video"}])
    assert score is not None
    assert score.value == 4


def test_several_servers_share_the_work_and_a_dead_one_is_passed_over() -> None:
    one, other = PixelReward(batch_s=0.01), PixelReward(batch_s=0.01)
    with serving(one) as first, serving(other) as second:
        client = quick([first.url, NOWHERE, second.url], pictures_per_request=2)
        assert values(client.score(*sent(range(40)))) == the_right(range(40))
        assert min(sum(map(len, reward.batches)) for reward in (one, other)) >= 10


def test_a_busy_server_is_asked_again_until_it_has_room() -> None:
    with serving(PixelReward(batch_s=0.02), limits=Limits(images=4), max_queue=4, max_batch=2) as server:
        client = quick(server.url, pictures_per_request=2, retries=30)
        assert values(client.score(*sent(range(40)))) == the_right(range(40))
        assert server.telemetry.counted("replies", 'status="503"') > 0


def test_many_threads_may_share_one_client() -> None:
    with serving(PixelReward(batch_s=0.005)) as server, ThreadPoolExecutor(8) as pool:
        client = quick(server.url, pictures_per_request=2)
        found = list(pool.map(lambda start: values(client.score(*sent(range(start, start + 5)))), range(0, 100, 5)))
    assert found == [the_right(range(start, start + 5)) for start in range(0, 100, 5)]


def test_scores_of_other_pictures_are_not_believed() -> None:
    good = {"scores": [score_of(picture(0), record(0)).to_dict()], "sha256": [picture(0).sha256]}
    wrong: list[dict[str, Any]] = [
        {**good, "sha256": [picture(1).sha256]},
        {**good, "scores": [score_of(picture(0), record(1)).to_dict()]},
        {**good, "scores": []},
        {**good, "scores": [{"value": "much"}]},
        {**good, "scores": [{"worth": 1}]},
        {"scores": good["scores"]},
        {},
    ]
    replies = iter([*wrong, good])
    with Server(lambda asked: Reply(next(replies))) as server:
        scores = quick(server.url, retries=len(wrong), backoff_s=0.001).score([picture(0)], [record(0)])
        assert len(server.asked) == len(wrong) + 1
    assert values(scores) == [right_value(0)]


def test_what_is_wrong_with_a_picture_or_a_record_is_raised_as_such_and_not_tried_again() -> None:
    with serving(PixelReward(), limits=Limits(pixels=300, questions=1)) as server:
        client = quick(server.url)
        with pytest.raises(MediaError, match="1,024 pixels"):
            client.score([picture(0, side=32)], [record(0)])
        with pytest.raises(RecordError, match="2 questions"):
            client.score([picture(0)], [{**record(0), "questions": record(0)["questions"] * 2}])
        with pytest.raises(RecordError, match="JSON"):
            client.score([picture(0)], [{"id": "r0", "caption": {1, 2}}])
        with pytest.raises(RecordError, match="'id'"):
            client.score([picture(0)], [{}])
        with pytest.raises(SpecError, match="1 pictures and 2 records"):
            client.score([picture(0)], [record(0)] * 2)
        with pytest.raises(SpecError, match="65 images"):
            quick(server.url, pictures_per_request=65).score([picture(0)] * 65, [record(0)] * 65)
        assert server.telemetry.counted("replies", 'status="413"') == 3


def test_a_server_that_is_not_there_or_never_works_is_an_error_after_all_attempts() -> None:
    with pytest.raises(JudgeError, match=r"127.0.0.1:9 after 3 attempts: no connection"):
        quick(NOWHERE, retries=2).score([picture(0)], [record(0)])
    with Server(lambda asked: error_reply(500, "broken", "internal")) as server:
        with pytest.raises(JudgeError, match="HTTP 500: broken"):
            quick(server.url, retries=2).score([picture(0)], [record(0)])
        assert len(server.asked) == 3


def test_it_waits_as_long_as_the_server_wants() -> None:
    replies = iter([error_reply(503, "busy", "busy", Retry_After_Ms="300"), error_reply(404, "nothing", "not_found")])
    with Server(lambda asked: next(replies)) as server:
        with pytest.raises(JudgeError, match="404"):
            quick(server.url).score([picture(0)], [record(0)])
        first, second = server.asked
    assert second.time_s - first.time_s >= 0.3


def test_the_token_is_sent_and_a_wrong_one_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCORE_TOKEN", "a-token-that-is-long-enough")
    monkeypatch.setenv("OTHER_TOKEN", "another-token-that-is-long")
    with serving(PixelReward(), token_env="SCORE_TOKEN") as server:
        assert values(quick(server.url, token_env="SCORE_TOKEN").score([picture(0)], [record(0)])) == [right_value(0)]
        with pytest.raises(JudgeError, match="OTHER_TOKEN"):
            quick(server.url, token_env="OTHER_TOKEN").score([picture(0)], [record(0)])


def test_only_the_columns_that_a_reward_needs_are_sent() -> None:
    with Server(lambda asked: error_reply(400, "no", "bad_request")) as server:
        with pytest.raises(SpecError):
            quick(server.url).score([picture(0)], [{**record(0), "graph": {}, "seed": 5}])
        (asked,) = server.asked
    assert asked.body["records"] == [record(0)]
    assert asked.path.endswith("/score")


def test_closed_it_stops_waiting() -> None:
    with Server(lambda asked: error_reply(503, "busy", "busy", Retry_After="30")) as server:
        client = quick(server.url)
        threading.Timer(0.3, client.close).start()
        started = time.monotonic()
        with pytest.raises(JudgeError):
            client.score([picture(0)], [record(0)])
        assert time.monotonic() - started < 5


def test_settings_that_cannot_work_are_refused() -> None:
    for wrong in ({"urls": []}, {"urls": NOWHERE, "requests": 0}, {"urls": NOWHERE, "retries": -1}, {"urls": "not an address"}):
        with pytest.raises(SpecError):
            RewardClient(**wrong)


PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from reward_servers import PixelReward
from anyscene.rewards.server import RewardServer, ServerConfig
RewardServer(PixelReward(0.02), ServerConfig(port=int(sys.argv[1]), max_batch=4)).run(lambda url: print(url, flush=True))
"""


def start(port: int) -> tuple[subprocess.Popen[str], str]:
    code = PROGRAM.format(tests=str(Path(__file__).parents[1]))
    process = subprocess.Popen([sys.executable, "-c", code, str(port)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as told:
        return process, told.readline().strip()


@pytest.mark.skipif(os.name != "posix", reason="a port is free again at once")
def test_a_server_that_is_killed_and_started_again_costs_time_and_no_answer() -> None:
    process, url = start(0)
    port = int(url.rpartition(":")[2])
    client = quick(url, pictures_per_request=2, retries=12, backoff_s=0.1)
    found: list[list[float | None]] = []
    asking = threading.Thread(target=lambda: found.append(values(client.score(*sent(range(200))))))
    asking.start()
    time.sleep(0.4)
    process.kill()
    process.wait()
    assert asking.is_alive()
    process, again = start(port)
    asking.join(60)
    process.kill()
    process.wait()
    assert again == url
    assert found == [the_right(range(200))]
