"""Law 1 through the database: any order, doubling and batching of the same fixes ends in the same standing rows."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from detectors.fix import Fix, to_us
from hanhtrinh.rule_packs import load_pack
from ingest.raw import RawMessage
from ingest.simulator import Fleet, Network
from storage.overrides import import_overrides
from tests.running_worker import RigMaker, WorkerRig, make_rig, message
from tests.table_state import TableState, table_state

__all__ = ["make_rig"]

BEGIN_US = to_us(datetime(2026, 3, 4, 1, tzinfo=UTC))
DRIVERS = ("D1", "D2", "D3", None)
ROUGH = Network(doubled=0.0, delayed=0.0, dead_zones=0.2)


def small_day(seed: int) -> Fleet:
    """Half a day of a few vehicles, every 30 s: some 4,000 fixes."""
    return Fleet(seed, 6, datetime(2026, 3, 3, 22, tzinfo=UTC), timedelta(hours=12), interval_s=30, network=ROUGH)


def with_conflicts(fixes: list[Fix], rng: random.Random) -> list[Fix]:
    """Also different fixes of the same vehicle and moment: trusted, flagged, and alike but for what is not judged."""
    rivals: list[Fix] = []
    for fix in rng.sample(fixes, 60):
        rivals.append(fix._replace(lat=round(fix.lat + rng.choice((-1e-4, 1e-4)), 6)))
        rivals.append(fix._replace(valid=False))
        rivals.append(fix._replace(odometer_km=1.0))
        rivals.append(fix._replace(speed_kmh=None if rng.random() < 0.5 else 99.5))
    return fixes + rng.sample(rivals, 100)


def shuffled(fixes: Iterable[Fix], rng: random.Random) -> Iterator[RawMessage]:
    """Doubled, in lists of one vehicle or alone, and late by up to a few hours, a few minutes or anything at all."""
    lateness_s = rng.choice((120, 7_200, 1_000_000))
    doubled = list(fixes)
    doubled += rng.sample(doubled, len(doubled) // 20)
    doubled.sort(key=lambda fix: fix.time_us + rng.random() * lateness_s * 1e6)
    most = rng.choice((1, 5, 40))
    waiting: dict[str, list[Fix]] = {}
    for fix in doubled:
        queue = waiting.setdefault(fix.vehicle_id, [])
        queue.append(fix)
        if rng.random() * most < len(queue):
            yield message(*waiting.pop(fix.vehicle_id))
    for queue in waiting.values():
        yield message(*queue)


TURNS = load_pack("vn", ["continuous_driving.limit_s=900", "continuous_driving.rest_s=120"])
"""Short enough for a journey of an hour to have several drives."""


def hostile_journeys(rng: random.Random, begin_us: int = BEGIN_US) -> list[Fix]:
    """Vehicles that stay about their limit and do all that ends, splits or joins episodes, drives and holds."""
    fixes = []
    for vehicle in range(12):
        time_us, lat, driver_id = begin_us + vehicle * 1_000, 21.0, rng.choice(DRIVERS)
        for _ in range(100):
            speed_kmh = rng.choice((0.0, 2.9, 40.0, 79.0, 80.0, 82.0, 84.9, 85.0, 86.0, 92.0, 101.0, None))
            fix = Fix(f"V{vehicle}", time_us, round(lat, 6), 105.8, speed_kmh, driver_id, satellites=9)
            luck = rng.random()
            if luck < 0.03:
                fix = fix._replace(lat=round(lat + 0.5, 6))
            elif luck < 0.06:
                fix = fix._replace(valid=False, satellites=2)
            elif luck < 0.09:
                driver_id = rng.choice(DRIVERS)
            fixes.append(fix)
            gap_s = rng.choice((5, 10, 10, 10, 10, 20, 30, 60, 90, 91, 301))
            time_us += gap_s * 1_000_000
            lat += 0.0 if rng.random() < 0.1 else (speed_kmh or 30.0) * gap_s / 3600 / 111.2
    return fixes


async def orderly(rig: WorkerRig, fixes: Iterable[Fix]) -> TableState:
    await rig.append(message(fix) for fix in sorted(fixes, key=lambda fix: fix.time_us))
    await rig.work_off()
    await rig.is_sound()
    return await table_state(rig.connection)


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_late_fixes_end_split_or_join_ends_as_it_would_have_in_order(
    make_rig: RigMaker, seed: int
) -> None:
    rng = random.Random(seed)
    fixes = with_conflicts(hostile_journeys(rng), rng)
    undisturbed, disturbed = await make_rig(pack=TURNS), await make_rig(pack=TURNS)
    expected = await orderly(undisturbed, fixes)
    for piece in in_pieces(list(shuffled(fixes, rng)), rng):
        await disturbed.append(piece)
        await disturbed.work_off(batch_max_messages=rng.choice((10, 100, 5_000)))
    await disturbed.is_sound()
    assert expected.differences(await table_state(disturbed.connection), alerts=False) == ""
    assert {row["kind"] for row in expected.violations} >= {"speeding", "continuous_driving"}


OVERRIDES = """scope,id,number,value,valid_from,valid_to,basis
operator,OP,speeding.min_duration_s,5,2026-03-01,,the office's own
operator,OP,limit_kmh,76,2026-03-05,,the office's own
kind,taxi,speeding.max_gap_s,45,2026-03-05,,the office's own
kind,taxi,silence.silent_after_s,60,2026-03-01,2026-03-05,the office's own
vehicle,V0,limit_kmh,70,2026-03-01,2026-03-05,the office's own
vehicle,V1,speeding.min_fixes,4,2026-03-05,,the office's own
vehicle,V2,class_default_confirms,1,2026-03-05,,the office's own
vehicle,V3,speeding.exit_after_s,0,2026-03-05,2026-03-06,the office's own
"""
BEFORE_MIDNIGHT_US = to_us(datetime(2026, 3, 4, 16, 20, tzinfo=UTC))
"""23:20 in Hanoi: the journeys go on until after one."""


async def with_overrides(rig: WorkerRig, folder: Path) -> WorkerRig:
    await rig.connection.execute("INSERT INTO operators (operator_id, name) VALUES ('OP', 'Thang Long')")
    await rig.connection.execute(
        "INSERT INTO vehicles (vehicle_id, operator_id, kind, limit_kmh) SELECT 'V' || n,"
        " CASE WHEN n % 2 = 0 THEN 'OP' END, CASE WHEN n % 3 = 0 THEN 'taxi' END, CASE WHEN n = 4 THEN 80 END"
        " FROM generate_series(0, 9) AS n"
    )
    path = folder / "overrides.csv"
    path.write_text(OVERRIDES)
    assert not (await import_overrides(rig.connection, path, TURNS.pack, "An")).bad_rows
    return rig


@pytest.mark.parametrize("seed", range(4))
async def test_numbers_of_the_office_that_change_at_midnight_judge_late_fixes_by_their_own_day(
    make_rig: RigMaker, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    fixes = with_conflicts(hostile_journeys(rng, BEFORE_MIDNIGHT_US), rng)
    undisturbed = await with_overrides(await make_rig(pack=TURNS), tmp_path)
    disturbed = await with_overrides(await make_rig(pack=TURNS), tmp_path)
    expected = await orderly(undisturbed, fixes)
    for piece in in_pieces(list(shuffled(fixes, rng)), rng):
        await disturbed.append(piece)
        await disturbed.work_off(batch_max_messages=rng.choice((10, 100, 5_000)))
    await disturbed.is_sound()
    assert expected.differences(await table_state(disturbed.connection), alerts=False) == ""
    named = {scope for row in expected.violations for each in overridden(row).values() for scope in [each["scope"]]}
    assert named == {"operator", "kind", "vehicle"}


def overridden(row: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = row["judged_by"].get("overridden", {})
    return found


def in_pieces(messages: list[RawMessage], rng: random.Random) -> Iterator[list[RawMessage]]:
    """Each worked off by a worker of its own."""
    while messages:
        size = rng.choice((20, 100, 400))
        yield messages[:size]
        messages = messages[size:]


@pytest.mark.parametrize("seed", range(5))
async def test_shuffled_doubled_and_cut_otherwise_a_day_ends_in_the_same_rows(
    make_rig: RigMaker, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    fleet = small_day(seed)
    fixes = with_conflicts([fix for delivery in fleet.deliveries() for fix in delivery.fixes], rng)
    undisturbed, disturbed = await make_rig(fleet.roster), await make_rig(fleet.roster)
    expected = await orderly(undisturbed, fixes)
    await disturbed.append(shuffled(fixes, rng))
    await disturbed.work_off(
        batch_max_messages=rng.choice((30, 300, 5_000)), late_settle_ms=rng.choice((0, 100, 1_000))
    )
    await disturbed.is_sound()
    assert expected.differences(await table_state(disturbed.connection), alerts=False) == ""
    assert expected.violations
    assert expected.letters
