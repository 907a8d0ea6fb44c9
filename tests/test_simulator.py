"""The simulated fleet: the same from the same seed, believable, and wrong exactly where it says."""

from __future__ import annotations

import asyncio
import csv
import json
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path

import pytest

from detectors.fix import Fix, to_us
from ingest.recordings import ColumnMapping, Recording
from ingest.simulator import CALM, Delivery, Fleet, LiveFleet, Network, PlantedViolation, message_of, write_fleet
from ingest.simulator.roster import Roster
from storage.registry import parse_drivers, parse_operators, parse_vehicles
from tests.naive_judge import Found, distance_km, judge

START = datetime(2026, 3, 2, tzinfo=timezone(timedelta(hours=7)))
UNREGISTERED_KMH = 80.0
"""The class default of a vehicle that nobody registered."""
CLASS_KMH = {"car": 80.0, "heavy": 70.0, "articulated": 60.0, "trailer": 50.0}


def fixes_of(deliveries: list[Delivery]) -> list[Fix]:
    return [fix for delivery in deliveries for fix in delivery.fixes]


def judged(fixes: list[Fix], roster: Roster) -> set[Found]:
    limits = {
        vehicle.vehicle_id: vehicle.limit_kmh
        or (CLASS_KMH[vehicle.kind.speed_class] if vehicle.registered else UNREGISTERED_KMH)
        for vehicle in roster.vehicles
    }
    # Nobody knows the kind of a vehicle that is in no registry.
    rests = {each.vehicle_id: each.kind.rest_s if each.registered else 900 for each in roster.vehicles}
    return judge(fixes, limits, rests)


def expected(planted: list[PlantedViolation]) -> set[Found]:
    return {
        Found(v.kind, v.vehicle_id, v.driver_id, v.started_us, v.ended_us, v.top_speed_kmh, v.actual_s) for v in planted
    }


@pytest.mark.parametrize(
    ("seed", "vehicles", "hours", "interval_s", "first_hour"),
    [(7, 50, 24, 10, 0), (8, 40, 30, 30, 9), (9, 30, 48, 60, 17), (10, 12, 12, 5, 5), (11, 60, 9.37, 17, 6)],
)
def test_what_is_planted_is_exactly_what_a_naive_judge_finds(
    seed: int, vehicles: int, hours: float, interval_s: int, first_hour: int
) -> None:
    fleet = Fleet(seed, vehicles, START + timedelta(hours=first_hour), timedelta(hours=hours), interval_s)
    planted = fleet.planted()
    assert judged(fixes_of(list(fleet.deliveries())), fleet.roster) == expected(planted)
    assert {"speeding", "continuous_driving"} == {violation.kind for violation in planted}
    assert len(expected(planted)) == len(planted) >= 5


def test_equal_seeds_give_equal_bytes_and_others_do_not() -> None:
    def written(seed: int) -> list[bytes]:
        fleet = Fleet(seed, 12, START, timedelta(hours=8))
        return [message_of(delivery).payload for delivery in fleet.deliveries()]

    assert written(7) == written(7)
    assert written(7) != written(8)


def test_fleets_of_two_seeds_have_no_driver_in_common() -> None:
    one, other = ({driver_id for driver_id, _, _ in Roster(seed, 100).drivers} for seed in (7, 8))
    assert len(one) > 50
    assert one & other == set()


def test_lawful_crews_are_clear_of_every_limit() -> None:
    fleet = Fleet(21, 60, START, timedelta(hours=24))
    chosen = {v.vehicle_id for crew in fleet.roster.crews if crew.speeds or crew.tires for v in crew.vehicles}
    limits = {vehicle.vehicle_id: vehicle.careful_kmh for vehicle in fleet.roster.vehicles}
    calm = [fix for fix in fixes_of(list(fleet.deliveries())) if fix.valid]
    lawful = [fix for fix in calm if fix.vehicle_id not in chosen]
    assert len({fix.vehicle_id for fix in lawful}) >= 15
    assert max((fix.speed_kmh or 0.0) - limits[fix.vehicle_id] for fix in lawful) <= -2.0
    assert {violation.vehicle_id for violation in fleet.planted()} <= chosen


def test_the_network_doubles_delays_and_holds_back_but_loses_nothing() -> None:
    arguments = (7, 20, START, timedelta(hours=24))
    calm = fixes_of(list(Fleet(*arguments, network=CALM).deliveries()))
    deliveries = list(Fleet(*arguments, network=Network(doubled=0.02, delayed=0.02)).deliveries())
    rough = fixes_of(deliveries)
    assert set(rough) == set(calm)
    assert len(calm) == len(set(calm))
    assert 0.01 < len(rough) / len(calm) - 1 < 0.03
    backlog = [delivery for delivery in deliveries if len(delivery.fixes) > 1]
    assert len(backlog) > 20
    assert max(delivery.send_at_us - delivery.fixes[0].time_us for delivery in backlog) > 600_000_000
    newest: dict[str, int] = {}
    overtaken = 0
    for fix in rough:
        overtaken += fix.time_us < newest.get(fix.vehicle_id, 0)
        newest[fix.vehicle_id] = max(fix.time_us, newest.get(fix.vehicle_id, 0))
    assert overtaken > len(rough) * 0.01


def test_deliveries_come_in_the_order_they_are_sent_and_never_before_their_fixes() -> None:
    deliveries = list(Fleet(7, 20, START, timedelta(hours=24)).deliveries())
    assert all(one.send_at_us <= two.send_at_us for one, two in pairwise(deliveries))
    assert all(each.send_at_us >= max(fix.time_us for fix in each.fixes) for each in deliveries)
    assert {fix.vehicle_id for each in deliveries for fix in each.fixes} == {each.vehicle_id for each in deliveries}


def test_bad_fixes_of_every_sort_are_among_the_good_ones() -> None:
    fixes = fixes_of(list(Fleet(7, 30, START, timedelta(hours=24), network=CALM).deliveries()))
    sorts = Counter(
        "invalid" if fix.valid is False else "nowhere" if fix.lat == 0.0 else "few" if fix.satellites == 0 else "good"
        for fix in fixes
    )
    assert sorts["invalid"] > 20
    assert sorts["nowhere"] > 20
    journeys: dict[str, list[Fix]] = defaultdict(list)
    for fix in sorted(fixes, key=lambda fix: (fix.vehicle_id, fix.time_us)):
        if fix.valid:
            journeys[fix.vehicle_id].append(fix)
    jumps = sum(abs(two.lat - one.lat) > 0.15 for journey in journeys.values() for one, two in pairwise(journey))
    assert jumps > 20


def test_days_are_believable() -> None:
    fleet = Fleet(3, 80, START, timedelta(hours=24), network=CALM)
    fixes = [fix for fix in fixes_of(list(fleet.deliveries())) if fix.valid]
    assert all(8.0 < fix.lat < 23.5 and 102.0 < fix.lon < 110.5 for fix in fixes)
    out_at_three = {fix.vehicle_id for fix in fixes if fix.time.hour == 20 and fix.speed_kmh}
    out_at_ten = {fix.vehicle_id for fix in fixes if fix.time.hour == 3 and fix.speed_kmh}
    assert 0 < len(out_at_three) < 20
    assert len(out_at_ten) > 60
    drivers: dict[str, set[str]] = defaultdict(set)
    crews: dict[str, set[str]] = defaultdict(set)
    for fix in fixes:
        if fix.driver_id:
            drivers[fix.vehicle_id].add(fix.driver_id)
            crews[fix.driver_id].add(fix.vehicle_id)
    assert any(len(names) > 1 for names in drivers.values())
    assert any(len(vehicles) > 1 for vehicles in crews.values())
    assert len({vehicle.kind.kind for vehicle in fleet.roster.vehicles}) == 6
    assert not all(vehicle.registered for vehicle in fleet.roster.vehicles)


def test_the_interval_must_leave_speeding_whole() -> None:
    with pytest.raises(ValueError, match="interval_s is 61, expected 1 to 60"):
        Fleet(7, 1, START, timedelta(hours=1), 61)


def test_the_written_files_are_read_by_check_and_import(tmp_path: Path) -> None:
    fleet = Fleet(7, 25, START, timedelta(hours=12))
    counts = write_fleet(fleet, tmp_path)
    recording = Recording(tmp_path / "fleet.ndjson", ColumnMapping())
    read = [fix for chunk in recording.chunks() for fix in chunk.fixes(recording.vehicles, recording.drivers)]
    assert read == fixes_of(list(fleet.deliveries()))
    assert counts["fixes"] == len(read)
    planted = json.loads((tmp_path / "planted.json").read_text())
    assert planted == [violation.to_wire() for violation in fleet.planted()]
    assert counts["planted"] == len(planted)
    for parse, name in ((parse_vehicles, "vehicles"), (parse_drivers, "drivers"), (parse_operators, "operators")):
        with (tmp_path / f"{name}.csv").open(newline="") as file:
            rows = len(list(csv.DictReader(file)))
        parsed = parse(tmp_path / f"{name}.csv")
        assert (len(parsed.rows), parsed.bad_rows) == (rows, [])


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


async def played(fleet: LiveFleet, until: datetime) -> list[Delivery]:
    deliveries = []
    async for delivery in fleet.deliveries():
        if delivery.send_at_us >= to_us(until):
            break
        deliveries.append(delivery)
    return deliveries


@pytest.mark.parametrize(("seed", "vehicles", "minutes"), [(7, 50, 5), (8, 24, 90)])
async def test_the_live_fleet_has_exactly_what_it_plants(seed: int, vehicles: int, minutes: int) -> None:
    start = datetime(2026, 3, 2, 3, 0, 0, 123_456, tzinfo=UTC)
    clock = Clock(start)
    fleet = LiveFleet(seed, vehicles, clock, clock.sleep)
    # A dead zone may hold fixes back for a minute and a half.
    until = start + timedelta(minutes=minutes)
    fixes = [fix for fix in fixes_of(await played(fleet, until + timedelta(minutes=3))) if fix.time < until]
    planted = fleet.planted(start, until)
    assert judged(fixes, fleet.roster) == expected(planted)


async def test_within_a_minute_of_the_start_there_is_something_to_see() -> None:
    start = datetime(2026, 3, 2, 3, tzinfo=UTC)
    clock = Clock(start)
    fleet = LiveFleet(7, 100, clock, clock.sleep)
    deliveries = await played(fleet, start + timedelta(seconds=60))
    found = judged(fixes_of(deliveries), fleet.roster)
    proven = Counter(each.kind for each in found if each.ended_us >= to_us(start))
    assert proven["speeding"] >= 5
    assert proven["continuous_driving"] >= 5
    history = [delivery for delivery in deliveries if delivery.send_at_us == to_us(start)]
    assert all(fix.time <= start for delivery in history for fix in delivery.fixes)
    oldest = min(fix.time for delivery in history for fix in delivery.fixes)
    assert timedelta(hours=4) < start - oldest < timedelta(hours=8)


async def test_live_deliveries_wait_for_the_clock() -> None:
    start = datetime(2026, 3, 2, 3, tzinfo=UTC)
    clock = Clock(start)
    fleet = LiveFleet(7, 10, clock, clock.sleep)
    count = 0
    async with asyncio.timeout(20):
        async for delivery in fleet.deliveries():
            assert delivery.send_at_us <= to_us(clock.now)
            count += 1
            if clock.now > start + timedelta(minutes=10):
                break
    assert count > 10 * 100


def test_speed_and_distance_agree_and_nobody_brakes_like_a_wall() -> None:
    fleet = Fleet(5, 40, START, timedelta(hours=24), 10, network=CALM)
    journeys: dict[str, list[Fix]] = defaultdict(list)
    for fix in fixes_of(list(fleet.deliveries())):
        if fix.valid:
            journeys[fix.vehicle_id].append(fix)
    legs = 0
    for journey in journeys.values():
        for one, two, three in zip(journey, journey[1:], journey[2:], strict=False):
            # A jump is one bad place between two good ones.
            if abs(two.lat - one.lat) > 0.15 or abs(three.lat - two.lat) > 0.15:
                continue
            seconds = (two.time_us - one.time_us) / 1e6
            speeds = (one.speed_kmh or 0.0, two.speed_kmh or 0.0)
            assert abs(speeds[1] - speeds[0]) <= 10 * seconds
            if min(speeds) >= 30 and seconds <= 10:
                legs += 1
                assert distance_km(one, two) >= 0.4 * min(speeds) * seconds / 3600
                assert distance_km(one, two) <= 1.2 * max(speeds) * seconds / 3600 + 0.02
    assert legs > 10_000
