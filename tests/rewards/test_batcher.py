from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

if str(Path(__file__).parents[1]) not in sys.path:
    sys.path.append(str(Path(__file__).parents[1]))

from anyscene.rewards.batcher import Batcher
from anyscene.rewards.telemetry import Telemetry
from anyscene.rewards.wire import Item, Refusal
from reward_servers import PixelReward, picture, record, right_value


def item(number: int) -> Item:
    return Item(record(number), picture(number).data, 256, f"images[{number}]")


async def with_batcher(reward: PixelReward, use: Any, **options: Any) -> Any:
    batcher = Batcher(reward, Telemetry(), **options)
    await batcher.start()
    try:
        return await asyncio.wait_for(use(batcher), 20)
    finally:
        reward.gate.set()
        await batcher.close()


def test_a_batch_begins_when_it_is_full_or_its_first_picture_has_waited_long_enough() -> None:
    reward = PixelReward()

    async def use(batcher: Batcher) -> None:
        await asyncio.gather(*(batcher.score([item(number)]) for number in range(8)))
        clock = asyncio.get_running_loop().time
        started = clock()
        await batcher.score([item(8)])
        assert clock() - started > 0.29

    asyncio.run(with_batcher(reward, use, max_batch=4, max_wait_s=0.3))
    assert reward.batches == [["r0", "r1", "r2", "r3"], ["r4", "r5", "r6", "r7"], ["r8"]]


def test_while_the_reward_is_busy_the_next_batch_fills_up_however_long_it_takes() -> None:
    reward = PixelReward()
    reward.gate.clear()

    async def use(batcher: Batcher) -> None:
        running = [asyncio.create_task(batcher.score([item(0)]))]
        while not reward.batches:
            await asyncio.sleep(0.005)
        for number in range(1, 6):
            running.append(asyncio.create_task(batcher.score([item(number)])))
            await asyncio.sleep(0.02)
        reward.gate.set()
        assert await asyncio.gather(*running) is not None

    asyncio.run(with_batcher(reward, use, max_wait_s=0.001))
    assert reward.batches == [["r0"], ["r1", "r2", "r3", "r4", "r5"]]


def test_a_batch_holds_no_more_pixels_than_it_may_but_one_large_picture_goes_alone() -> None:
    reward = PixelReward()

    async def use(batcher: Batcher) -> Any:
        large = Item(record(9), picture(9, side=64).data, 64 * 64, "images[9]")
        return await batcher.score([item(0), item(1), large, item(2), item(3), item(4), item(5)])

    scores = asyncio.run(with_batcher(reward, use, max_batch_pixels=800, max_wait_s=0.05))
    assert [score.record_id for score in scores] == ["r0", "r1", "r9", "r2", "r3", "r4", "r5"]
    assert reward.batches == [["r0", "r1"], ["r9"], ["r2", "r3", "r4"], ["r5"]]


def test_what_is_cancelled_while_it_waits_leaves_the_queue_and_the_others_stay() -> None:
    reward = PixelReward()
    reward.gate.clear()

    async def use(batcher: Batcher) -> list[float]:
        running = asyncio.create_task(batcher.score([item(0)]))
        while not reward.batches:
            await asyncio.sleep(0.005)
        tasks = [asyncio.create_task(batcher.score([item(number), item(number + 1)])) for number in (1, 3, 5)]
        await asyncio.sleep(0.05)
        assert batcher.waiting == 6
        with pytest.raises(Refusal, match="places"):
            batcher.check_room(5)
        tasks[1].cancel()
        await asyncio.gather(tasks[1], return_exceptions=True)
        assert batcher.waiting == 4
        reward.gate.set()
        return [one.value for task in (running, tasks[0], tasks[2]) for one in await task]

    values = asyncio.run(with_batcher(reward, use, max_queue=10, max_batch=2))
    assert values == [right_value(number) for number in (0, 1, 2, 5, 6)]
    assert reward.batches == [["r0"], ["r1", "r2"], ["r5", "r6"]]


def test_closed_it_finishes_what_waits_and_takes_no_more() -> None:
    reward = PixelReward(batch_s=0.05)

    async def use() -> None:
        batcher = Batcher(reward, Telemetry(), max_batch=2)
        await batcher.start()
        running = [asyncio.create_task(batcher.score([item(number)])) for number in range(6)]
        await asyncio.sleep(0.02)
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0.01)
        with pytest.raises(Refusal, match="stopping"):
            await batcher.score([item(7)])
        await closing
        assert [(await one)[0].value for one in running] == [right_value(number) for number in range(6)]

    asyncio.run(asyncio.wait_for(use(), 20))


def test_a_reward_that_hangs_does_not_hold_up_the_end() -> None:
    reward = PixelReward()
    reward.gate.clear()

    async def use() -> None:
        batcher = Batcher(reward, Telemetry())
        await batcher.start()
        task = asyncio.create_task(batcher.score([item(0)]))
        while not reward.batches:
            await asyncio.sleep(0.005)
        await batcher.close(timeout_s=0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    try:
        asyncio.run(asyncio.wait_for(use(), 5))
    finally:
        reward.gate.set()
