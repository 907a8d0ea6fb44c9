"""A driver's hours: what the panels show is what the driver did."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from detectors.activity import Activity
from detectors.fix import from_us, to_us
from detectors.hours import Line
from hanhtrinh.driver_packs import DriverPacks
from hanhtrinh.hours_board import HoursBoard
from storage.activity import ActivityStore
from tests.panel_answers import shown
from tests.running_worker import WorkerRig, make_rig, message, rig
from tests.scenario import CAR, DRIVER, MONDAY, away, day, drive, fixes_of, intervals_of, stop

__all__ = ["make_rig", "rig"]

MIDNIGHT = MONDAY.replace(hour=0)
STORY = day(
    drive(hours=3), stop(minutes=20), drive(hours=1, minutes=10), stop(minutes=1), away(minutes=39),
    drive(hours=2, vehicle="29H-2"), stop(minutes=6), drive(minutes=30), stop(minutes=1), away(hours=6, minutes=59),
    # Past midnight.
    drive(hours=3, vehicle=CAR), stop(minutes=3), drive(hours=1, minutes=20), stop(minutes=16), drive(minutes=50),
    drive(minutes=25, driver="D2"),
)  # fmt: skip
WEEK = (MIDNIGHT, MIDNIGHT + timedelta(days=7))


@pytest.fixture
async def driven(rig: WorkerRig) -> WorkerRig:
    await rig.append(message(fix) for fix in fixes_of(STORY))
    await rig.work_off()
    await HoursBoard(DriverPacks(rig.pack.hours)).publish(rig.connection)
    return rig


async def panel(
    rig: WorkerRig, title: str, span: tuple[datetime, datetime] = WEEK, driver: str = DRIVER
) -> list[dict[str, Any]]:
    return await shown(rig, "driver", title, *span, driver=driver)


def driving(begin_us: int = 0, end_us: int = 2**62) -> list[tuple[int, int]]:
    """What the driver drove within two times, from the story."""
    clipped = [
        (max(each.begin_us, begin_us), min(each.end_us, end_us))
        for each in intervals_of(STORY)
        if each.activity == Activity.DRIVING
    ]
    return [(begin, end) for begin, end in clipped if begin < end]


def hours(pieces: Sequence[tuple[int, int]]) -> float:
    return sum(end - begin for begin, end in pieces) / 3_600_000_000


async def test_hours_against_the_limits_are_the_judge_s(driven: WorkerRig) -> None:
    rows = {row["kind"]: row for row in await panel(driven, "Hours against the limits")}
    today = driving(to_us(MIDNIGHT + timedelta(days=1)))
    assert {kind: (row["driven_s"], row["limit_s"], row["left_s"]) for kind, row in rows.items()} == {
        "continuous_driving": (3_000.0, 14_400.0, 11_400.0),
        "daily_driving": (hours(today) * 3600, 36_000.0, 36_000.0 - hours(today) * 3600),
        "weekly_driving": (hours(driving()) * 3600, 172_800.0, 172_800.0 - hours(driving()) * 3600),
    }
    assert await panel(driven, "Continuous driving") == [{"percent": pytest.approx(100 * 3_000 / 14_400)}]
    assert await panel(driven, "Driving of the day") == [{"percent": pytest.approx(10 * hours(today))}]
    assert await panel(driven, "Driving of the week") == [{"percent": pytest.approx(100 / 48 * hours(driving()))}]


@pytest.mark.parametrize("cut", [0, 90, 200, 500])
async def test_what_was_driven_is_counted_within_the_chosen_time(driven: WorkerRig, cut: int) -> None:
    begin = MONDAY + timedelta(minutes=cut)
    end = begin + timedelta(hours=9)
    [told] = await panel(driven, "Time driven", (begin, end))
    assert told["driven_s"] == pytest.approx(hours(driving(to_us(begin), to_us(end))) * 3600)
    [told] = await panel(driven, "Vehicles driven", (MONDAY, MONDAY + timedelta(hours=4)))
    assert told["vehicles"] == 1
    [told] = await panel(driven, "Vehicles driven")
    assert told["vehicles"] == 2


async def test_days_are_local_and_midnight_divides_a_drive(driven: WorkerRig) -> None:
    told = await panel(driven, "Hours driven by day")
    midnights = [MIDNIGHT + timedelta(days=number) for number in range(3)]
    assert [row["time"] for row in told] == midnights[:2]
    expected = [hours(driving(to_us(begin), to_us(end))) for begin, end in pairwise(midnights)]
    assert [row["driven"] for row in told] == pytest.approx(expected)
    assert sum(expected) == pytest.approx(hours(driving()))
    assert {row["most"] for row in told} == {10.0}
    # Whole days, whatever the moments at which the chosen time begins and ends; the next only where it reaches into it.
    afternoon = await panel(driven, "Hours driven by day", (MONDAY + timedelta(hours=6), WEEK[1]))
    assert afternoon == told
    for end in (MONDAY + timedelta(hours=2), midnights[1]):
        assert await panel(driven, "Hours driven by day", (MONDAY + timedelta(hours=1), end)) == told[:1]
    assert await panel(driven, "Hours driven by day", (MONDAY, midnights[1] + timedelta(seconds=1))) == told


async def test_breaks_are_the_gaps_between_drives(driven: WorkerRig) -> None:
    told = await panel(driven, "Breaks between two drives")
    expected = [
        (from_us(before[1]), from_us(after[0]), (after[0] - before[1]) / 1e6)
        for before, after in pairwise(driving())
        if after[0] - before[1] >= 300_000_000
    ]
    assert [(row["began_at"], row["ended_at"], row["duration_s"]) for row in told] == expected[::-1]
    assert [duration_s / 60 for _, _, duration_s in expected] == [20, 40, 6, 420, 16]


async def test_the_timeline_names_activity_and_vehicle_and_leaves_gaps(driven: WorkerRig) -> None:
    told = [(row["time"], row["activity"], row["vehicle_id"]) for row in await panel(driven, "Activity and vehicle")]
    line = Line(DRIVER, None)
    intervals = sorted((await ActivityStore(driven.connection).timeline([(line, 0)]))[line])
    expected: list[tuple[datetime, str | None, str | None]] = []
    for each, following in zip(intervals, [*intervals[1:], None], strict=True):
        expected.append((from_us(each.begin_us), each.activity.name.lower(), each.vehicle_id))
        if following is None or following.begin_us > each.end_us:
            expected.append((from_us(each.end_us), None, None))
    assert told == expected
    assert {"29H-2", CAR} < {vehicle for _, _, vehicle in told}
    assert told[-1][1] is None


async def test_violations_lead_to_the_vehicle_s_day(driven: WorkerRig) -> None:
    rows = await driven.rows(
        "SELECT started_at, kind, actual_s, vehicle_id FROM violations WHERE driver_id = %s AND status <> 'withdrawn'"
        " ORDER BY 1 DESC", DRIVER,
    )  # fmt: skip
    assert {kind for _, kind, _, _ in rows} >= {"continuous_driving"}
    told = await panel(driven, "Violations of the driver")
    assert [(row["started_at"], row["kind"], row["actual_s"], row["vehicle_id"]) for row in told] == rows
    assert await panel(driven, "Violations") == [{"violations": len(rows)}]
    begin = datetime.fromtimestamp(int(told[0]["day_from"]) / 1000, MONDAY.tzinfo)
    assert begin <= rows[0][0] < begin + timedelta(days=1)
    assert (begin.hour, begin.minute) == (0, 0)


async def test_a_week_that_is_used_up_does_not_hide_the_rest_that_is_due(rig: WorkerRig) -> None:
    """In the control room, which tells of now."""
    story = day(drive(hours=3, minutes=20))
    now = datetime.now(UTC).replace(microsecond=0)
    sent = fixes_of(story, now - timedelta(hours=3, minutes=20))
    await rig.append(message(fix, received_us=fix.time_us) for fix in sent)
    await rig.work_off()
    await HoursBoard(DriverPacks(rig.pack.hours)).publish(rig.connection)
    [near] = await shown(rig, "control-room", "Drivers near a limit", now - timedelta(hours=1), now)
    assert (near["driver"], near["kind"], near["left_s"], near["at"]) == (DRIVER, "continuous_driving", 2_400.0, now)
    await rig.rows("UPDATE driver_now SET week_s = week_limit_s + 60 RETURNING 1")
    [still] = await shown(rig, "control-room", "Drivers near a limit", now - timedelta(hours=1), now)
    assert still == near
    await rig.rows("UPDATE driver_now SET week_s = week_limit_s - 60 RETURNING 1")
    both = await shown(rig, "control-room", "Drivers near a limit", now - timedelta(hours=1), now)
    assert [(row["kind"], row["left_s"]) for row in both] == [("weekly_driving", 60.0), ("continuous_driving", 2_400.0)]
    await rig.rows("UPDATE driver_now SET continuous_s = 14401, week_s = 0 RETURNING 1")
    assert await shown(rig, "control-room", "Drivers near a limit", now - timedelta(hours=1), now) == []


async def test_a_driver_nobody_knows_shows_nothing(driven: WorkerRig) -> None:
    for title in (
        "Hours against the limits",
        "Activity and vehicle",
        "Hours driven by day",
        "Breaks between two drives",
    ):
        assert await panel(driven, title, driver="D9") == []


async def test_a_driver_whom_only_trackers_name_can_be_chosen(driven: WorkerRig) -> None:
    assert await driven.rows("SELECT driver_id FROM panels.drivers ORDER BY 1") == [(DRIVER,), ("D2",)]
