"""Violations in the database: revisions, withdrawal, successors, and one alert for each stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from detectors.fix import from_us, to_us
from detectors.hours import Line
from detectors.violation import Grade, HoursFigures, RuleName, SpeedingFigures, Violation
from storage.connect import Connection
from storage.violations import StageCount, Stretch, ViolationStore

BEGIN_US = to_us(datetime(2026, 3, 4, 1, tzinfo=UTC))
RECEIVED_US = BEGIN_US + 3_600_000_000


def speeding(
    from_s: int, to_s: int, top_kmh: float = 92.0, *, closed_s: int | None = None, grade: Grade = "confirmed"
) -> Violation:
    """From and to so many seconds after BEGIN, above a limit of 80."""
    excess = top_kmh - 80
    band = "10-20" if excess < 20 else "20-35"
    return Violation(
        kind="speeding",
        rule=RuleName("vn", "speeding", "2015-01-01"),
        grade=grade,
        status="open" if closed_s is None else "closed",
        vehicle_id="29B-1",
        driver_id="D1",
        started_us=BEGIN_US + from_s * 1_000_000,
        ended_us=BEGIN_US + to_s * 1_000_000,
        start=(21.0, 105.8),
        end=(21.1, 105.8),
        fixes=1 + (to_s - from_s) // 10,
        figures=SpeedingFigures(80.0, "vehicle", top_kmh, top_kmh - 1, excess, band, band, 1234.567),
        judged_by={"min_excess_kmh": 5.0, "exit_after_s": 10},
        evidence={"limits_kmh": {"80": 7}, "law": "Nghị định 168"},
        proven_us=BEGIN_US + (from_s + 20) * 1_000_000,
        closed_us=None if closed_s is None else BEGIN_US + closed_s * 1_000_000,
        operator_id="OP",
    )


def tiring(actual_s: float, *, closed: bool = False) -> Violation:
    return Violation(
        kind="continuous_driving",
        rule=RuleName("vn", "continuous_driving", "2025-01-01"),
        grade="confirmed",
        status="closed" if closed else "open",
        vehicle_id="29B-1",
        driver_id="D1",
        started_us=BEGIN_US,
        ended_us=BEGIN_US + int((actual_s - 14_400) * 1e6),
        start=None,
        end=None,
        fixes=None,
        figures=HoursFigures(14_400.0, actual_s),
        judged_by={"limit_s": 14_400.0, "rest_s": 900.0},
        evidence={"vehicles": ["29B-1"]},
        proven_us=BEGIN_US,
        closed_us=BEGIN_US + int(actual_s * 1e6) if closed else None,
    )


@pytest.fixture
def store(connection: Connection) -> ViolationStore:
    return ViolationStore(connection)


async def record(store: ViolationStore, *violations: Violation) -> list[StageCount]:
    return await store.record(violations, lambda _: RECEIVED_US, "judged on the stream")


async def judge_again(store: ViolationStore, *violations: Violation) -> list[StageCount]:
    standing = await store.standing_of_vehicle("29B-1", ["speeding"], Stretch(None, None))
    return await store.reconcile(standing, violations, lambda _: RECEIVED_US, "3 late fixes")


async def rows(connection: Connection, query: str) -> Sequence[tuple[Any, ...]]:
    return await (await connection.execute(query)).fetchall()


async def history(connection: Connection, violation: Violation) -> list[str]:
    cursor = await connection.execute(
        "SELECT change FROM violation_revisions WHERE violation_id = %s ORDER BY revision", [violation.violation_id]
    )
    return [change for (change,) in await cursor.fetchall()]


async def alerts(connection: Connection) -> set[tuple[str, bool]]:
    return set(await rows(connection, "SELECT alert_id, push FROM alerts"))


async def test_an_episode_that_grows_and_ends_has_two_revisions_and_two_alerts(
    connection: Connection, store: ViolationStore
) -> None:
    opened, grown, closed = speeding(0, 20), speeding(0, 50, 95.5), speeding(0, 60, 95.5, closed_s=70)
    assert await record(store, opened) == [("speeding", "opened")]
    assert await record(store, grown) == []
    assert await record(store, closed) == [("speeding", "closed")]
    assert await record(store, closed) == []
    assert await history(connection, opened) == ["opened", "closed"]
    assert await rows(connection, "SELECT status, top_speed_kmh, fixes, operator_id FROM violations") == [
        ("closed", 95.5, 7, "OP")
    ]
    told = await rows(
        connection, "SELECT stage, vehicle_id, event_at, received_at, push, body FROM alerts ORDER BY event_at"
    )
    assert told == [
        ("opened", "29B-1", from_us(BEGIN_US + 20_000_000), from_us(RECEIVED_US), True, opened.to_wire()),
        ("closed", "29B-1", from_us(BEGIN_US + 70_000_000), from_us(RECEIVED_US), True, closed.to_wire()),
    ]


async def test_one_that_is_opened_and_closed_at_once_has_both_alerts(
    connection: Connection, store: ViolationStore
) -> None:
    violation = speeding(0, 60, closed_s=70)
    assert await record(store, violation) == [("speeding", "opened"), ("speeding", "closed")]
    assert await history(connection, violation) == ["opened"]


async def test_a_revision_keeps_what_stood_before_and_after(connection: Connection, store: ViolationStore) -> None:
    before, after = speeding(0, 60, closed_s=70), speeding(0, 60, 101.0, closed_s=70)
    await record(store, before)
    assert await judge_again(store, after) == []
    assert await rows(
        connection,
        "SELECT change, why, before->>'top_speed_kmh', after->>'top_speed_kmh', after->>'report_band'"
        " FROM violation_revisions ORDER BY revision",
    ) == [
        ("opened", "judged on the stream", None, "92.0", "10-20"),
        ("corrected", "3 late fixes", "92.0", "101.0", "20-35"),
    ]
    assert await alerts(connection) == {
        (f"{before.violation_id}:opened", True),
        (f"{before.violation_id}:closed", True),
    }


async def test_what_is_judged_the_same_again_leaves_no_trace(connection: Connection, store: ViolationStore) -> None:
    violations = [speeding(0, 60, closed_s=70), speeding(100, 160, closed_s=170)]
    await record(store, *violations)
    before = await rows(connection, "SELECT to_jsonb(v) FROM violations v ORDER BY violation_id")
    assert await judge_again(store, *violations) == []
    assert await rows(connection, "SELECT to_jsonb(v) FROM violations v ORDER BY violation_id") == before
    assert await rows(connection, "SELECT count(*) FROM violation_revisions") == [(2,)]


async def test_one_that_is_no_longer_judged_is_withdrawn_and_restored_when_it_is_again(
    connection: Connection, store: ViolationStore
) -> None:
    violation = speeding(0, 60, closed_s=70)
    await record(store, violation)
    await judge_again(store)
    assert await rows(connection, "SELECT status, withdrawn_at IS NOT NULL FROM violations") == [("withdrawn", True)]
    assert await store.standing_of_vehicle("29B-1", ["speeding"], Stretch(None, None)) == []
    assert await judge_again(store, violation) == []
    assert await rows(connection, "SELECT status, withdrawn_at IS NOT NULL FROM violations") == [("closed", False)]
    assert await history(connection, violation) == ["opened", "withdrawn", "restored"]
    assert len(await alerts(connection)) == 2


async def test_a_start_that_moved_is_a_new_violation_that_names_the_old_and_opens_silently(
    connection: Connection, store: ViolationStore
) -> None:
    old, new = speeding(10, 60), speeding(0, 60)
    await record(store, old)
    await judge_again(store, new)
    assert await rows(connection, "SELECT violation_id, supersedes FROM violations WHERE status = 'open'") == [
        (new.violation_id, [old.violation_id])
    ]
    assert await alerts(connection) == {(f"{old.violation_id}:opened", True), (f"{new.violation_id}:opened", False)}
    assert (await history(connection, old), await history(connection, new)) == (["opened", "withdrawn"], ["opened"])
    assert await record(store, replace(new, status="closed", closed_us=BEGIN_US + 70_000_000)) == [
        ("speeding", "closed")
    ]
    assert await rows(connection, "SELECT supersedes FROM violations WHERE status = 'closed'") == [
        ([old.violation_id],)
    ]


@pytest.mark.parametrize(
    ("old", "new", "pushed"),
    [
        (speeding(10, 60, 92), speeding(0, 60, 99.999), False),
        (speeding(10, 60, 92), speeding(0, 60, 100), True),
        (speeding(10, 60, 101), speeding(0, 60, 92), False),
        (speeding(10, 60, grade="review"), speeding(0, 60), True),
        (speeding(10, 60), speeding(0, 60, grade="review"), False),
        (speeding(10, 20), speeding(30, 60), True),
    ],
    ids=["same band", "higher band", "lower band", "firmer grade", "weaker grade", "no overlap"],
)
async def test_people_are_told_again_only_of_something_graver(
    connection: Connection, store: ViolationStore, old: Violation, new: Violation, pushed: bool
) -> None:
    await record(store, old)
    await judge_again(store, new)
    assert (f"{new.violation_id}:opened", pushed) in await alerts(connection)


async def test_two_that_are_joined_have_one_successor_and_one_that_is_split_has_two(
    connection: Connection, store: ViolationStore
) -> None:
    apart = [speeding(0, 30, closed_s=40), speeding(50, 90, closed_s=100)]
    joined = speeding(-10, 90, closed_s=100)
    await record(store, *apart)
    await judge_again(store, joined)
    names = sorted(violation.violation_id for violation in apart)
    standing = "SELECT violation_id, supersedes FROM violations WHERE status <> 'withdrawn' ORDER BY started_at"
    assert await rows(connection, standing) == [(joined.violation_id, names)]
    again = [speeding(1, 30, closed_s=40), speeding(51, 90, closed_s=100)]
    await judge_again(store, *again)
    assert await rows(connection, standing) == [(each.violation_id, [joined.violation_id]) for each in again]
    pushed = {alert_id for alert_id, push in await alerts(connection) if push and alert_id.endswith("opened")}
    assert pushed == {f"{violation.violation_id}:opened" for violation in apart}


async def test_only_what_starts_in_the_stretch_is_read(store: ViolationStore) -> None:
    await record(store, *(speeding(from_s, from_s + 30, closed_s=from_s + 40) for from_s in (0, 100, 200)))
    starts = [BEGIN_US, BEGIN_US + 100_000_000, BEGIN_US + 200_000_000]

    async def found(from_us: int | None, before_us: int | None) -> list[datetime]:
        standing = await store.standing_of_vehicle("29B-1", ["speeding"], Stretch(from_us, before_us))
        return sorted(row["started_at"] for row in standing)

    times = [from_us(start) for start in starts]
    assert await found(None, None) == times
    assert await found(starts[0], starts[1]) == times[:1]
    assert await found(starts[0] + 1, starts[1] + 1) == times[1:2]
    assert await store.standing_of_vehicle("29B-1", ["silence"], Stretch(None, None)) == []
    assert await store.standing_of_vehicle("29B-2", ["speeding"], Stretch(None, None)) == []


async def test_driving_time_of_a_driver_is_found_by_driver_and_that_of_nobody_by_vehicle(
    connection: Connection, store: ViolationStore
) -> None:
    named, unnamed = tiring(15_000), replace(tiring(16_000), driver_id=None)
    assert await record(store, named, unnamed) == [("continuous_driving", "opened")] * 2
    assert await record(store, tiring(15_900, closed=True)) == [("continuous_driving", "closed")]
    of_driver = await store.standing_hours(Line("D1", None), BEGIN_US)
    of_vehicle = await store.standing_hours(Line(None, "29B-1"), BEGIN_US)
    assert [(row["actual_s"], row["status"]) for row in of_driver] == [(15_900.0, "closed")]
    assert [(row["actual_s"], row["status"]) for row in of_vehicle] == [(16_000.0, "open")]
    assert await store.standing_hours(Line("D1", None), BEGIN_US + 1) == []
    assert await rows(connection, "SELECT count(*) FROM violations WHERE fixes IS NULL AND start_lat IS NULL") == [(2,)]
