"""A driver's line that one worker judges by itself, until the driver is heard in a vehicle of another worker."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest

from detectors.fix import Fix
from ingest.partitioning import Partitioner
from storage.activity import ActivityStore
from tests.running_worker import PARTITIONS, RigMaker, WorkerRig, make_rig, message, rig
from tests.scenario import DRIVER, MONDAY, day, drive, fixes_of, stop
from tests.table_state import table_state

__all__ = ["make_rig", "rig"]

PARTITION = Partitioner(PARTITIONS).partition
OURS = [name for name in map("29B-{:05}".format, range(40)) if PARTITION(name) in (0, 1)]
THEIRS = [name for name in map("29B-{:05}".format, range(40)) if PARTITION(name) in (2, 3)]

# What the first vehicle tells alone is lawful: its half hour of standing was a rest.
FIRST = [
    fix._replace(vehicle_id=OURS[0])
    for fix in fixes_of(day(drive(hours=3), stop(minutes=30), drive(hours=1), stop(hours=1)))
]
BEGIN_US = FIRST[0].time_us
# The other one was driven in that half hour, so that it was none.
OTHER = [
    fix._replace(vehicle_id=THEIRS[0])
    for fix in fixes_of(day(drive(hours=4)))
    if 180 * 60_000_000 <= fix.time_us - BEGIN_US <= 210 * 60_000_000
]


def minutes(fixes: Sequence[Fix], begin: int, end: int) -> list[Fix]:
    return [fix for fix in fixes if begin * 60_000_000 <= fix.time_us - BEGIN_US < end * 60_000_000]


async def stored(rig: WorkerRig, fixes: Sequence[Fix]) -> None:
    """Append these and wait until they are committed."""
    before = await rig.one("SELECT count(*) FROM fixes")
    await rig.append(message(fix) for fix in fixes)
    await rig.until(f"SELECT count(*) >= {before + len(fixes)} FROM fixes")


async def owner(rig: WorkerRig) -> int | None:
    found: int | None = await rig.one("SELECT partition FROM driver_hours WHERE line_id = %s", f"driver:{DRIVER}")
    return found


async def violations(rig: WorkerRig) -> list[str]:
    return [kind for (kind,) in await rig.rows("SELECT kind FROM violations WHERE status <> 'withdrawn'")]


async def test_what_the_owner_added_unasked_is_judged_again_with_what_another_worker_added(
    make_rig: RigMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hanhtrinh.worker.line_watch._EVERY_S", 1e9)
    at_once, rig = await make_rig(), await make_rig()
    await at_once.append(message(fix) for fix in sorted([*FIRST, *OTHER], key=lambda fix: fix.time_us))
    monkeypatch.setattr("hanhtrinh.worker.line_watch._EVERY_S", 0.0)
    await at_once.work_off()
    monkeypatch.setattr("hanhtrinh.worker.line_watch._EVERY_S", 1e9)
    async with rig.worker(only=[0, 1]), rig.worker(only=[2, 3]):
        await stored(rig, minutes(FIRST, 0, 230))
        assert await owner(rig) == PARTITION(OURS[0])
        await stored(rig, OTHER)
        assert await owner(rig) is None
        await stored(rig, minutes(FIRST, 230, 400))
        assert "continuous_driving" not in await violations(rig)
        monkeypatch.setattr("hanhtrinh.worker.line_watch._EVERY_S", 0.0)
        await rig.worked_off()
    await rig.is_sound()
    assert "continuous_driving" in await violations(rig)
    expected = await table_state(at_once.connection)
    assert expected.differences(await table_state(rig.connection), alerts=False) == ""


async def test_a_line_is_not_asked_for_while_its_owner_alone_adds_to_it(
    rig: WorkerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    lock_lines = ActivityStore.lock_lines

    async def counted(store: ActivityStore, lines: Sequence[object], begin_us: int, end_us: int) -> object:
        asked.append(len(lines))
        return await lock_lines(store, lines, begin_us, end_us)  # type: ignore[arg-type]

    monkeypatch.setattr(ActivityStore, "lock_lines", counted)
    await rig.append(message(fix) for fix in minutes(FIRST, 0, 170))
    await rig.work_off(batch_max_messages=5)
    # Once to find that it is not there, once when it is.
    assert asked == [1, 1]


async def test_a_taken_line_is_owned_again_when_it_was_judged(rig: WorkerRig) -> None:
    async with rig.worker(only=[0, 1]), rig.worker(only=[2, 3]):
        await stored(rig, minutes(FIRST, 0, 170))
        await stored(rig, OTHER)
        await rig.worked_off()
        assert await owner(rig) is None
        later = fixes_of(day(drive(hours=4, minutes=10)), MONDAY.replace(hour=20))
        await stored(rig, [fix._replace(vehicle_id=THEIRS[0]) for fix in later])
        await rig.worked_off()
        assert await owner(rig) == PARTITION(THEIRS[0])
    await rig.is_sound()


def swapped(seed: int) -> list[Fix]:
    """Drivers who change between a vehicle of each worker, some in mid-drive."""
    choice = random.Random(seed)
    sent = []
    for number in range(5):
        vehicles = OURS[number], THEIRS[number]
        parts = []
        for _ in range(6):
            parts += [drive(minutes=choice.randrange(30, 150)), stop(minutes=choice.randrange(5, 25))]
        part, left = vehicles[0], 0
        for fix in fixes_of(day(*parts), every_s=60):
            if not left:
                part, left = choice.choice(vehicles), choice.randrange(5, 120)
            left -= 1
            sent.append(fix._replace(vehicle_id=part, driver_id=f"D{number}"))
    return sorted(sent, key=lambda fix: fix.time_us)


@pytest.mark.parametrize("seed", range(3))
async def test_two_workers_end_where_one_does_however_drivers_change_between_them(
    make_rig: RigMaker, seed: int
) -> None:
    sent = swapped(seed)
    alone, rig = await make_rig(), await make_rig()
    await alone.append(message(fix) for fix in sent)
    await alone.work_off()
    await rig.append(message(fix) for fix in sent)
    async with AsyncExitStack() as workers:
        tasks = [
            await workers.enter_async_context(rig.worker(only=only, batch_max_messages=40)) for only in ([0, 1], [2, 3])
        ]
        await rig.worked_off(60.0, *tasks)
    await rig.is_sound()
    expected = await table_state(alone.connection)
    assert expected.violations
    assert expected.differences(await table_state(rig.connection), alerts=False) == ""
