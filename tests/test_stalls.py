"""Stalls of the event loop are told for as long as they are."""

from __future__ import annotations

import asyncio
import gc
import threading
import time

from detectors.journeys import JourneyJudge
from detectors.limits import LimitBook
from detectors.names import Names
from hanhtrinh.detectors import context_of
from hanhtrinh.rule_packs import load_pack
from hanhtrinh.stalls import watch_stalls
from hanhtrinh.worker.late import _apart
from hanhtrinh.worker.roster import Roster


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


def test_the_names_of_a_large_fleet_are_not_searched_for_garbage() -> None:
    vehicles, drivers = Names(), Names()
    for number in range(60_000):
        vehicles.code(f"V{number}")
    pack = load_pack()
    limits = LimitBook(pack.pack)
    judge = JourneyJudge(context_of(pack, vehicles, drivers, limits), [])
    roster = Roster(judge, vehicles, drivers, limits, "log")
    try:
        roster._reserve()
        assert not any(each is vehicles.names or each is drivers.names for each in gc.get_objects())
    finally:
        gc.unfreeze()


async def test_a_long_stretch_is_judged_again_beside_the_event_loop() -> None:
    where = [await _apart(fixes, threading.get_ident) for fixes in (10, 86_400)]
    assert where[0] == threading.get_ident() != where[1]
