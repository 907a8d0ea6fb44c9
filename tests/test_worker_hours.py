"""Driving time through the worker: warnings, every kind of violation, packs by driver, late fixes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from detectors.fix import Fix
from detectors.hours import judge_hours
from storage.activity import ActivityStore
from tests.running_worker import RigMaker, WorkerRig, make_rig, message, rig
from tests.scenario import CAR, DRIVER, HANOI, MONDAY, Part, at, day, drive, fixes_of, stop
from tests.table_state import table_state

__all__ = ["make_rig", "rig"]

LONG = day(drive(hours=2), stop(minutes=14), drive(hours=2, minutes=1), stop(minutes=30), drive(minutes=5))


async def run(rig: WorkerRig, fixes: Sequence[Fix], **settings: Any) -> None:
    await rig.append(message(fix) for fix in fixes)
    await rig.work_off(**settings)


async def kinds(rig: WorkerRig) -> list[str]:
    rows = await rig.rows("SELECT kind FROM violations WHERE status <> 'withdrawn' ORDER BY started_at, kind")
    return [kind for (kind,) in rows]


async def alerts(rig: WorkerRig) -> list[tuple[str, str]]:
    """Kind and stage in order of their events."""
    rows = await rig.rows("SELECT body ->> 'kind', stage FROM alerts ORDER BY event_at, stage DESC, body ->> 'kind'")
    return [(kind, stage) for kind, stage in rows]


async def test_a_warning_goes_before_the_violation_and_a_broken_off_rest_is_told(rig: WorkerRig) -> None:
    await run(rig, fixes_of(LONG), batch_max_messages=20)
    await rig.is_sound()
    assert await alerts(rig) == [
        ("continuous_driving", "warning"),
        ("continuous_driving", "opened"),
        ("short_rest", "opened"),
        ("short_rest", "closed"),
        ("continuous_driving", "closed"),
    ]
    warned, body = (await rig.rows("SELECT event_at, body FROM alerts WHERE stage = 'warning'"))[0]
    assert warned == datetime.fromisoformat(at("239:00"))
    assert body == {
        "kind": "continuous_driving",
        "rule": {"pack": "vn", "id": "continuous_driving", "version": "2025-01-01"},
        "vehicle_id": CAR,
        "driver_id": DRIVER,
        "counted_from": at("0:00"),
        "limit_s": 14400.0,
        "actual_s": 13500.0,
        "left_s": 900.0,
    }


async def test_a_warning_is_written_in_the_batch_that_reaches_it(rig: WorkerRig) -> None:
    await run(rig, fixes_of(day(drive(hours=3, minutes=44))))
    assert await alerts(rig) == []
    await run(rig, [fix for fix in fixes_of(day(drive(hours=3, minutes=45))) if fix.time_us >= to_time(224 * 60)])
    assert await alerts(rig) == [("continuous_driving", "warning")]
    await run(rig, [fix for fix in fixes_of(day(drive(hours=3, minutes=50))) if fix.time_us > to_time(225 * 60)])
    assert await alerts(rig) == [("continuous_driving", "warning")]


def to_time(seconds: int) -> int:
    return fixes_of(day(drive(hours=1)))[0].time_us + seconds * 1_000_000


async def test_a_lawful_drive_is_judged_only_when_something_may_come(
    rig: WorkerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[int] = []

    def counted(line: Any, intervals: Any, rules: Any, since_us: int = 0, shown: Any = None) -> Any:
        judged.append(since_us)
        return judge_hours(line, intervals, rules, since_us, shown)

    monkeypatch.setattr("hanhtrinh.worker.hours.judge_hours", counted)
    await run(rig, fixes_of(day(drive(hours=3, minutes=40))), batch_max_messages=5)
    assert len(judged) == 1


async def test_a_fleet_that_begins_its_morning_is_judged_when_its_hours_may_be_full(
    rig: WorkerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    timeline = ActivityStore.timeline

    async def counted(store: ActivityStore, lines: Any) -> Any:
        read.append(len(lines))
        return await timeline(store, lines)

    monkeypatch.setattr(ActivityStore, "timeline", counted)
    morning = fixes_of(day(drive(minutes=5)))
    fleet = [
        fix._replace(vehicle_id=f"V{number}", driver_id=None if number == 3 else f"D{number}")
        for fix in morning
        for number in range(4)
    ]
    await run(rig, sorted(fleet, key=lambda fix: fix.time_us), batch_max_messages=20)
    assert read == []
    lines = await rig.rows("SELECT line_id, due_at - judged_to FROM driver_hours ORDER BY line_id")
    soonest = timedelta(hours=3, minutes=45)
    assert lines == [(name, soonest) for name in ("driver:D0", "driver:D1", "driver:D2", "vehicle:V3")]


def week(days: int, last: Part) -> list[Part]:
    """Days of 6:50 with their nights, and then something more."""
    one = [drive(hours=3, minutes=50), stop(minutes=15), drive(hours=3), stop(hours=16, minutes=55)]
    return day(*one * days, drive(hours=3, minutes=50), stop(minutes=15), last)


async def test_day_and_week_are_judged_over_all_that_is_stored(rig: WorkerRig) -> None:
    story = week(6, drive(hours=3, minutes=11))
    await run(rig, fixes_of(story, every_s=240), batch_max_messages=300)
    await rig.is_sound()
    assert await kinds(rig) == ["weekly_driving"]
    assert ("weekly_driving", "warning") in await alerts(rig)


async def test_a_day_is_closed_when_the_driver_is_heard_on_the_next(rig: WorkerRig) -> None:
    long_day = [drive(hours=3, minutes=50), stop(minutes=15)] * 3
    await run(rig, fixes_of(day(*long_day, stop(hours=6), drive(minutes=10)), every_s=240), batch_max_messages=100)
    await rig.is_sound()
    assert await rig.rows("SELECT kind, status, actual_s FROM violations") == [("daily_driving", "closed", 41400.0)]


async def test_a_driver_of_another_pack_is_judged_by_it(rig: WorkerRig) -> None:
    await rig.rows("INSERT INTO drivers (driver_id, rule_pack) VALUES (%s, 'eu') RETURNING 1", DRIVER)
    await run(rig, fixes_of(day(drive(hours=4, minutes=29), stop(minutes=15), drive(minutes=2))))
    assert await rig.rows("SELECT kind, rule_pack, limit_s, actual_s FROM violations") == [
        ("continuous_driving", "eu", 16200.0, 16260.0)
    ]


async def test_a_pack_that_nobody_knows_is_logged_and_the_configured_one_stands_in(
    rig: WorkerRig, caplog: pytest.LogCaptureFixture
) -> None:
    await rig.rows("INSERT INTO drivers (driver_id, rule_pack) VALUES (%s, 'atlantis') RETURNING 1", DRIVER)
    with caplog.at_level(logging.ERROR):
        await run(rig, fixes_of(day(drive(hours=4, minutes=1))), batch_max_messages=20)
    assert await rig.rows("SELECT rule_pack FROM violations") == [("vn",)]
    assert [each.message for each in caplog.records if "atlantis" in each.message] == [
        "drivers of rule pack atlantis are judged by pack vn: no rule pack 'atlantis': give a .toml file or one of"
        " eu, vn"
    ]


@pytest.mark.parametrize("seed", range(3))
async def test_late_fixes_of_a_week_end_in_what_they_would_have_been_in_time(make_rig: RigMaker, seed: int) -> None:
    """The stretch that comes late belongs to a week, and a Sunday evening, that were judged and done with."""
    story = week(6, drive(hours=4, minutes=1)) + day(stop(hours=12), drive(hours=2), stop(hours=1), drive(hours=2))
    sent = fixes_of(story, MONDAY.replace(hour=12), every_s=240)
    begin = [0, 400, 700][seed]
    late = sent[begin : begin + 250]
    in_time, behind = await make_rig(), await make_rig()
    await run(in_time, sent)
    await run(behind, [fix for fix in sent if fix not in late], batch_max_messages=100)
    await run(behind, late)
    await behind.is_sound()
    expected = await table_state(in_time.connection)
    assert {row["kind"] for row in expected.violations} >= {"weekly_driving"}
    assert expected.differences(await table_state(behind.connection), alerts=False) == ""


async def test_a_reading_before_monday_leaves_the_week_before_alone(rig: WorkerRig) -> None:
    start = datetime(2025, 3, 3, 6, tzinfo=HANOI)
    first = week(6, drive(hours=3, minutes=30))
    await run(rig, fixes_of(first, start, every_s=240))
    before = await table_state(rig.connection)
    assert [row["kind"] for row in before.violations] == ["weekly_driving"]
    whole = [*first, *day(stop(hours=14), drive(hours=4, minutes=30), stop(hours=1), drive(hours=1))]
    later = [fix for fix in fixes_of(whole, start, every_s=240) if fix.time_us > to_us_of(first, start)]
    await run(rig, later, batch_max_messages=10)
    await rig.is_sound()
    assert await kinds(rig) == ["weekly_driving", "continuous_driving"]


def to_us_of(story: Sequence[Part], start: datetime) -> int:
    return fixes_of(story, start, every_s=240)[-1].time_us


async def test_a_late_fix_that_shows_who_took_over_ends_what_the_driver_before_had_driven(rig: WorkerRig) -> None:
    """Nothing of the driver's own came late, nor lies in what is judged again: his drive only ends sooner."""
    drives = fixes_of(day(drive(hours=4, minutes=10)))
    until = drives[0].time_us + (3 * 60 + 58) * 60_000_000
    after = [fix._replace(driver_id="D2") for fix in drives if fix.time_us > until]
    late = [fix for fix in after if fix.time_us <= until + 240_000_000]
    await rig.append(message(fix) for fix in drives if fix.time_us <= until)
    await rig.append(message(fix) for fix in after if fix not in late)
    await rig.work_off()
    assert await rig.rows("SELECT driver_id, status FROM violations") == [(DRIVER, "open")]
    await rig.append(map(message, late))
    await rig.work_off()
    assert await rig.rows("SELECT driver_id, status FROM violations") == [(DRIVER, "withdrawn")]
    await rig.is_sound()
