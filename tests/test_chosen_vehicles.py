"""Which vehicles are judged again: those with fixes in the stretch, of the kinds, operators and drivers named."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest

from detectors.activity import Activity
from detectors.fix import to_us
from detectors.violation import rfc3339
from storage.activity import ActivityChange, ActivityStore
from storage.chosen_vehicles import Choice, Chosen, beyond_judging, chosen_vehicles
from storage.connect import Connection, connect
from storage.vehicles import Anchor, VehicleStore
from tests.scenario import MONDAY

HOUR_US = 3_600_000_000
BEGIN_US = to_us(MONDAY)
END_US = BEGIN_US + 4 * HOUR_US
"""The stretch."""
FLEET = {"T1": ("op1", "taxi"), "T2": ("op2", "taxi"), "G1": ("op1", "goods"), "G2": ("op2", "goods"), "X": None}
"""The last one is not in the registry."""


Names = Sequence[str]


def choice(vehicles: Names = (), drivers: Names = (), operators: Names = (), kinds: Names = ()) -> Choice:
    return Choice(BEGIN_US, END_US, vehicles, drivers, operators, kinds)


@pytest.fixture
async def connection(postgres_url: str) -> AsyncIterator[Connection]:
    async with await connect(postgres_url) as connection:
        yield connection


@pytest.fixture
async def fleet(connection: Connection) -> Connection:
    """Each vehicle with a fix in the middle of the stretch."""
    await connection.execute("INSERT INTO operators (operator_id, name) VALUES ('op1', 'One'), ('op2', 'Two')")
    for name, entry in FLEET.items():
        if entry is not None:
            await connection.execute("INSERT INTO vehicles (vehicle_id, operator_id, kind) VALUES (%s, %s, %s)",
                                     (name, *entry))  # fmt: skip
        await heard(connection, name, BEGIN_US + 2 * HOUR_US)
    return connection


async def heard(connection: Connection, vehicle_id: str, *times_us: int) -> None:
    await VehicleStore(connection).save_anchors([Anchor(vehicle_id, None, min(times_us), "cluster/raw", 2)])
    for time_us in times_us:
        await connection.execute(
            "INSERT INTO fixes (vehicle_id, time, lat, lon, flags, settled, received_at, leg_mm, leg_driving_us)"
            " VALUES (%s, %s, 21, 105.8, 0, false, now(), 0, 0)",
            (vehicle_id, rfc3339(time_us)),
        )


async def driven(connection: Connection, vehicle_id: str, since: Mapping[int, str | None]) -> None:
    """Who took the vehicle over, by the hour of the stretch."""
    await heard(connection, vehicle_id, BEGIN_US + 2 * HOUR_US)
    await ActivityStore(connection).replace(
        vehicle_id, BEGIN_US - 24 * HOUR_US, None,
        [ActivityChange(vehicle_id, BEGIN_US + hour * HOUR_US, name, Activity.DRIVING) for hour, name in since.items()],
    )  # fmt: skip


async def names(connection: Connection, asked: Choice) -> list[str]:
    return [each.vehicle_id for each in await chosen_vehicles(connection, asked)]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, ["G1", "G2", "T1", "T2", "X"]),
        ({"vehicles": ["T2", "X"]}, ["T2", "X"]),
        ({"kinds": ["taxi"]}, ["T1", "T2"]),
        ({"kinds": ["taxi", "goods"]}, ["G1", "G2", "T1", "T2"]),
        ({"operators": ["op1"]}, ["G1", "T1"]),
        ({"operators": ["op1", "op2"]}, ["G1", "G2", "T1", "T2"]),
        ({"operators": ["op1"], "kinds": ["taxi"]}, ["T1"]),
        ({"operators": ["op1"], "kinds": ["taxi"], "vehicles": ["T2", "G1"]}, []),
        ({"operators": ["op3"]}, []),
    ],
    ids=str,
)
async def test_several_lists_choose_what_is_in_each(
    fleet: Connection, chosen: dict[str, list[str]], expected: list[str]
) -> None:
    assert await names(fleet, choice(**chosen)) == expected


async def test_a_vehicle_is_chosen_for_its_fixes_in_the_stretch_only(connection: Connection) -> None:
    for name, times_us in {
        "before": [BEGIN_US - 1],
        "first": [BEGIN_US - HOUR_US, BEGIN_US],
        "last": [END_US - 1, END_US + HOUR_US],
        "after": [END_US],
        "around": [BEGIN_US - 1, END_US],
    }.items():
        await heard(connection, name, *times_us)
    assert await chosen_vehicles(connection, choice()) == [
        Chosen("first", "cluster/raw", 2, BEGIN_US - HOUR_US),
        Chosen("last", "cluster/raw", 2, END_US - 1),
    ]


async def test_a_driver_chooses_the_vehicles_driven_in_the_stretch_and_not_those_given_back_before_it(
    connection: Connection,
) -> None:
    await driven(connection, "given back long before", {-9: "D1", -5: "D2"})
    await driven(connection, "given back as it begins", {-9: "D1", 0: None})
    await driven(connection, "given back within", {-9: "D1", 1: "D2"})
    await driven(connection, "kept since before", {-9: "D1"})
    await driven(connection, "taken over within", {-9: "D2", 3: "D1"})
    await driven(connection, "for a while", {-9: "D2", 1: "D1", 2: None})
    await driven(connection, "before and again", {-9: "D1", -8: "D2", 3: "D1"})
    await driven(connection, "before and after", {-9: "D1", -8: "D2", 4: "D1"})
    await driven(connection, "taken over as it ends", {-9: "D2", 4: "D1"})
    await driven(connection, "of another", {-9: "D2"})
    assert await names(connection, choice(drivers=["D1"])) == [
        "before and again", "for a while", "given back within", "kept since before", "taken over within",
    ]  # fmt: skip
    assert await names(connection, choice(drivers=["D1"], vehicles=["of another", "for a while"])) == ["for a while"]
    both = await names(connection, choice(drivers=["D1", "D2"]))
    assert len(both) == 9
    assert "given back as it begins" not in both


async def test_violations_beyond_judging_are_counted_of_the_chosen_vehicles_in_the_stretch(fleet: Connection) -> None:
    """A standing one whose first fix is no longer stored."""
    columns = "violation_id, kind, rule_pack, rule_id, rule_version, grade, duration_s, judged_by, evidence"
    rows: list[tuple[Any, ...]] = [
        ("lost", "T1", 1, "closed"),
        ("lost too", "G2", 1, "open"),
        ("withdrawn", "T1", 1, "withdrawn"),
        ("before", "T1", -1, "closed"),
        ("after", "T1", 4, "closed"),
        ("stored", "T1", 2, "closed"),
    ]
    for name, vehicle_id, hour, status in rows:
        at = rfc3339(BEGIN_US + hour * HOUR_US)
        await fleet.execute(
            f"INSERT INTO violations ({columns}, vehicle_id, started_at, ended_at, status, withdrawn_at)"
            " VALUES (%s, 'speeding', 'p', 'r', '1', 'confirmed', 0, '{}', '{}', %s, %s, %s, %s,"
            " CASE WHEN %s = 'withdrawn' THEN now() END)",
            (name, vehicle_id, at, at, status, status),
        )
    assert await beyond_judging(fleet, choice()) == 2
    assert await beyond_judging(fleet, choice(kinds=["goods"])) == 1
    assert await beyond_judging(fleet, choice(operators=["op1"])) == 1
    assert await beyond_judging(fleet, choice(vehicles=["T2"])) == 0
