"""Stalls of the event loop are told for as long as they are."""

from __future__ import annotations

import asyncio
import time

from hanhtrinh.stalls import watch_stalls


async def test_work_that_does_not_let_go_is_told_as_a_stall() -> None:
    told: list[float] = []
    watch = asyncio.create_task(watch_stalls(told.append))
    await asyncio.sleep(0)
    time.sleep(0.3)  # noqa: ASYNC251
    await asyncio.sleep(0.01)
    watch.cancel()
    assert max(told) > 0.2


async def test_a_loop_that_is_free_is_looked_at_again_and_again() -> None:
    told: list[float] = []
    thrice = asyncio.Event()

    def observe(seconds: float) -> None:
        told.append(seconds)
        if len(told) == 3:
            thrice.set()

    watch = asyncio.create_task(watch_stalls(observe))
    await asyncio.wait_for(thrice.wait(), 10)
    watch.cancel()
    assert min(told) >= 0.0
