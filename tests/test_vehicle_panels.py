"""The vehicle's day: what its panels show is what the raw rows say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from dashboards.words import CHECKS, LIMIT_SOURCES
from detectors.checks import Check
from detectors.fix import Fix, to_us
from detectors.limits import LimitSource
from storage.sums import Sums
from tests.panel_answers import shown
from tests.running_worker import WorkerRig, journey, make_rig, message, rig
from tests.scenario import HANOI

__all__ = ["make_rig", "rig"]

DAY = datetime(2025, 3, 3, tzinfo=HANOI)
BEGIN = DAY + timedelta(hours=7)
END = DAY + timedelta(days=1) - timedelta(milliseconds=1)
SPEEDS = [60.0] * 30 + [92.0, 93.5, 91.0] * 5 + [60.0] * 30 + [0.0] * 60 + [50.0] * 30 + [88.0] * 20 + [50.0] * 30
SPEEDS += [0.0] * 10


def day() -> list[Fix]:
    """A drive with two stretches over 80 km/h, a stop between them, another driver at the end, bad positions."""
    fixes = journey("V1", to_us(BEGIN), SPEEDS, driver_id="D1")
    fixes[-40:] = [fix._replace(driver_id=None) for fix in fixes[-40:]]
    fixes[10] = fixes[10]._replace(valid=False)
    fixes[20] = fixes[20]._replace(lon=fixes[20].lon + 1.0, satellites=2)
    fixes[140] = fixes[140]._replace(lon=fixes[140].lon + 1.0)
    return fixes


@pytest.fixture
async def driven(rig: WorkerRig) -> WorkerRig:
    await rig.imports("vehicle_id,operator_id,kind,speed_class,limit_kmh,seats,payload_t\nV1,,contract,,80,,\n")
    elsewhere = journey("V2", to_us(BEGIN), [110.0] * 40, driver_id="D2")
    first, moved = day(), day()[-1].lat - day()[0].lat
    next_day = [fix._replace(time_us=fix.time_us + 86_400_000_000, lat=round(fix.lat + moved, 6)) for fix in first]
    days = [*first, *next_day]
    await rig.append(message(fix) for fix in sorted([*days, *elsewhere], key=lambda fix: fix.time_us))
    await rig.work_off()
    await Sums(rig.connection).bring_up_to_date()
    return rig


async def panel(rig: WorkerRig, title: str, **chosen: str) -> list[dict[str, Any]]:
    return await shown(rig, "vehicle", title, DAY, END, **{"vehicle": "V1", **chosen})


async def raw(rig: WorkerRig, columns: str, where: str = "true") -> list[tuple[Any, ...]]:
    return await rig.rows(
        f"SELECT {columns} FROM fixes WHERE vehicle_id = 'V1' AND time BETWEEN %s AND %s AND {where} ORDER BY time",
        DAY, END,
    )  # fmt: skip


async def test_numbers_are_those_of_the_fixes_of_the_day(driven: WorkerRig) -> None:
    legs = await raw(driven, "leg_mm, leg_driving_us, speed_kmh", "flags = 0")
    assert await panel(driven, "Distance") == [{"km": Decimal(sum(mm for mm, _, _ in legs)) / 1_000_000}]
    assert await panel(driven, "Time driven") == [{"driving_s": Decimal(sum(us for _, us, _ in legs)) / 1_000_000}]
    assert await panel(driven, "Top speed") == [{"top_speed_kmh": 93.5}]
    assert await panel(driven, "Violations") == [{"violations": 2}]
    every = await raw(driven, "flags")
    bad = [flags for (flags,) in every if flags]
    assert len(bad) == 3
    [share] = await panel(driven, "Positions not trusted")
    assert float(share["percent"]) == pytest.approx(100 * len(bad) / len(every))
    [age] = await panel(driven, "Sums of the day counted")
    assert 0 <= age["age_s"] < 600


async def test_an_hour_of_the_day_shows_the_whole_day_s_sums_and_its_own_violations(driven: WorkerRig) -> None:
    hour = BEGIN + timedelta(minutes=20), BEGIN + timedelta(minutes=80)
    assert await shown(driven, "vehicle", "Distance", *hour, vehicle="V1") == await panel(driven, "Distance")
    assert await shown(driven, "vehicle", "Violations", *hour, vehicle="V1") == [{"violations": 1}]


async def test_speed_and_its_violations_are_those_of_trusted_fixes(driven: WorkerRig) -> None:
    spans = await driven.rows("SELECT started_at, ended_at FROM violations WHERE vehicle_id = 'V1' ORDER BY 1")
    assert len(spans) == 4
    expected = [
        {
            "time": time.timestamp(),
            "speed": speed_kmh,
            "speeding": speed_kmh if any(begin <= time <= end for begin, end in spans) else None,
            "speed_limit": 80.0,
        }
        for time, speed_kmh in await raw(driven, "time, speed_kmh", "flags = 0")
    ]
    told = await panel(driven, "Speed against the limit")
    assert [{**row, "time": seconds(row["time"])} for row in told] == expected
    assert sum(row["speeding"] is not None for row in told) == 15 + 20


def seconds(time: Any) -> float:
    """TimescaleDB's macro gives a time, PostgreSQL's a number."""
    return time.timestamp() if isinstance(time, datetime) else float(time)


async def test_within_a_violation_the_limit_is_the_one_that_judged_it(driven: WorkerRig) -> None:
    await driven.rows("UPDATE last_positions SET limit_kmh = 60 WHERE vehicle_id = 'V1' RETURNING 1")
    told = await panel(driven, "Speed against the limit")
    assert {row["speed_limit"] for row in told if row["speeding"] is not None} == {80.0}
    assert {row["speed_limit"] for row in told if row["speeding"] is None} == {60.0}


async def test_the_activity_of_the_day_holds_until_the_last_fix(driven: WorkerRig) -> None:
    told = await panel(driven, "Activity and driver")
    changes = await driven.rows(
        "SELECT time, activity, coalesce(driver_id, 'nobody') FROM activity_changes WHERE vehicle_id = 'V1'"
        " AND time BETWEEN %s AND %s ORDER BY time", DAY, END,
    )  # fmt: skip
    assert [(row["time"], row["activity"], row["driver"]) for row in told] == changes
    assert [activity for _, activity, _ in changes] == ["driving", "stopped", "driving", "driving", "stopped"]
    next_day = await shown(driven, "vehicle", "Activity and driver", DAY + timedelta(days=1), END + timedelta(days=1),
                           vehicle="V1")  # fmt: skip
    held = next_day[0]
    assert held == {"time": DAY + timedelta(days=1), "activity": "stopped", "driver": "nobody"}
    newest = await driven.one("SELECT max(time) FROM fixes WHERE vehicle_id = 'V1'")
    assert next_day[-1] == {"time": newest, "activity": None, "driver": None}


async def test_the_track_is_that_of_trusted_fixes(driven: WorkerRig) -> None:
    told = await panel(driven, "Track on the map")
    fixes = await raw(driven, "time, speed_kmh, lat, lon", "flags = 0")
    assert [(row["time"], row["speed_kmh"], row["lat"], row["lon"]) for row in told] == fixes
    states = [row["state"] for row in told]
    assert {state: states.count(state) for state in set(states)} == {
        "speeding": 35,
        "stopped": sum(us == 0 for (us,) in await raw(driven, "leg_driving_us", "flags = 0")),
        "driving": len(fixes) - 35 - sum(us == 0 for (us,) in await raw(driven, "leg_driving_us", "flags = 0")),
    }


async def test_a_violation_that_began_before_the_chosen_time_is_red_from_its_first_moment(driven: WorkerRig) -> None:
    ((begin, end),) = await driven.rows(
        "SELECT started_at, ended_at FROM violations WHERE vehicle_id = 'V1' AND status <> 'withdrawn'"
        " AND kind = 'speeding' AND started_at BETWEEN %s AND %s ORDER BY 1 DESC LIMIT 1", DAY, END,
    )  # fmt: skip
    within = begin + timedelta(seconds=50), end + timedelta(seconds=100)
    told = await shown(driven, "vehicle", "Speed against the limit", *within, vehicle="V1")
    assert [row["speeding"] is not None for row in told] == [
        begin <= datetime.fromtimestamp(seconds(row["time"]), UTC) <= end for row in told
    ]
    assert {row["speeding"] is None for row in told} == {True, False}
    track = await shown(driven, "vehicle", "Track on the map", *within, vehicle="V1")
    assert track[0]["state"] == "speeding"
    assert track[-1]["state"] != "speeding"


LONG = DAY, DAY + timedelta(days=3)


async def long(rig: WorkerRig, title: str) -> list[dict[str, Any]]:
    """A panel of three days: the two on which the vehicle drove, and one more."""
    return await shown(rig, "vehicle", title, *LONG, vehicle="V1")


async def test_a_long_time_shows_the_top_speed_of_each_hour_and_its_violations(driven: WorkerRig) -> None:
    hours = await driven.rows(
        "SELECT date_trunc('hour', time, 'UTC'), max(speed_kmh) FILTER (WHERE flags = 0), min(time), max(time)"
        " FROM fixes WHERE vehicle_id = 'V1' GROUP BY 1 ORDER BY 1"
    )
    over = dict(
        await driven.rows(
            "SELECT date_trunc('hour', started_at, 'UTC'), max(top_speed_kmh) FROM violations WHERE vehicle_id = 'V1'"
            " AND kind = 'speeding' AND status <> 'withdrawn' GROUP BY 1"
        )
    )
    assert len(hours) == len(over) == 2
    told = await long(driven, "Speed against the limit")
    by_hour: dict[datetime, list[tuple[datetime, dict[str, Any]]]] = {}
    for row in told:
        at = datetime.fromtimestamp(seconds(row["time"]), UTC)
        by_hour.setdefault(at.replace(minute=0, second=0), []).append((at, row))
    assert {
        hour: {(row["speed"], row["speeding"], row["speed_limit"]) for _, row in rows} for hour, rows in by_hour.items()
    } == {hour: {(top_kmh, over.get(hour), 80.0)} for hour, top_kmh, _, _ in hours}
    # The line is broken after five minutes: points must be closer, and only where the vehicle was heard.
    for hour, _, first_at, last_at in hours:
        times = [at for at, _ in by_hour[hour]]
        assert first_at - timedelta(minutes=4) < times[0] <= first_at
        assert last_at - timedelta(minutes=4) < times[-1] <= last_at
        assert all(later - earlier == timedelta(minutes=4) for earlier, later in pairwise(times))


async def test_the_track_of_a_long_time_leads_over_waypoints_and_violations(driven: WorkerRig) -> None:
    told = await long(driven, "Track on the map")
    changes = await driven.rows("SELECT time FROM activity_changes WHERE vehicle_id = 'V1'")
    hours = await driven.rows(
        "SELECT min(time) FROM fixes WHERE vehicle_id = 'V1' AND flags = 0 GROUP BY date_trunc('hour', time, 'UTC')"
    )
    places = await driven.rows(
        "SELECT time, speed_kmh, lat, lon FROM fixes WHERE vehicle_id = 'V1' AND time = ANY(%s) ORDER BY 1",
        [time for (time,) in changes + hours],
    )
    calm = [row for row in told if row["state"] != "speeding"]
    assert [(row["time"], row["speed_kmh"], row["lat"], row["lon"]) for row in calm] == places
    assert {row["state"] for row in calm} == {"driving", "stopped"}
    violations = await driven.rows(
        "SELECT started_at, top_speed_kmh, start_lat, start_lon FROM violations WHERE vehicle_id = 'V1'"
        " AND kind = 'speeding' AND status <> 'withdrawn' ORDER BY 1"
    )
    fast = [row for row in told if row["state"] == "speeding"]
    assert [(row["time"], row["speed_kmh"], row["lat"], row["lon"]) for row in fast] == violations
    assert [row["time"] for row in told] == sorted(row["time"] for row in told)


async def test_what_was_not_trusted_in_a_long_time_is_told_to_the_last_position(driven: WorkerRig) -> None:
    flags = [
        flags
        for (flags,) in await driven.rows(
            "SELECT flags FROM fixes WHERE vehicle_id = 'V1' AND time BETWEEN %s AND %s", *LONG
        )
    ]
    [share] = await long(driven, "Positions not trusted")
    assert float(share["percent"]) == pytest.approx(100 * sum(each != 0 for each in flags) / len(flags))
    told = {row["failed"]: row["fixes"] for row in await long(driven, "Failed checks")}
    assert told == {
        check.name.lower(): n for check in Check if check.name and (n := sum(bool(each & check) for each in flags))
    }
    assert told["no_fix"] == 4


async def test_failed_checks_are_told_one_by_one(driven: WorkerRig) -> None:
    told = {row["failed"]: row["fixes"] for row in await panel(driven, "Failed checks")}
    flags = [flags for (flags,) in await raw(driven, "flags", "flags <> 0")]
    assert told == {
        check.name.lower(): n for check in Check if check.name and (n := sum(bool(each & check) for each in flags))
    }
    assert told["no_fix"] == 2


async def test_every_check_has_its_name_and_words(rig: WorkerRig) -> None:
    """One source: detectors/checks.py. The view and the words must follow it."""
    checks = {(check.value, (check.name or "").lower()) for check in Check}
    assert set(await rig.rows("SELECT bit, failed FROM panels.checks")) == checks
    assert set(CHECKS) == {name for _, name in checks}


def test_every_source_of_a_limit_has_its_words() -> None:
    assert set(LIMIT_SOURCES) == {source.name.lower() for source in LimitSource}


async def test_the_violations_are_those_of_the_day(driven: WorkerRig) -> None:
    rows = await driven.rows(
        "SELECT started_at, top_speed_kmh, limit_source, driver_id FROM violations WHERE vehicle_id = 'V1'"
        " AND status <> 'withdrawn' AND started_at BETWEEN %s AND %s ORDER BY 1", DAY, END,
    )  # fmt: skip
    told = await panel(driven, "Violations of the vehicle")
    columns = ("started_at", "top_speed_kmh", "limit_source", "driver_id")
    assert [tuple(row[name] for name in columns) for row in told] == rows
    assert rows[0][0] == (BEGIN + timedelta(seconds=300)).astimezone(UTC)


async def test_a_vehicle_that_sent_nothing_shows_nothing(driven: WorkerRig) -> None:
    for title in ("Speed against the limit", "Activity and driver", "Track on the map", "Failed checks"):
        assert await panel(driven, title, vehicle="V9") == []
    assert await panel(driven, "Distance", vehicle="V9") == [{"km": None}]
