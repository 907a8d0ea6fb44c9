"""Violations per 1,000 km where it is close: on the border of the badge list, and from month to month."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from storage.reports.scope import Scope
from storage.sums import Sums
from tests.outbox_rows import add_alert
from tests.report_month import NUMBERS, OCTOBER, ZONE, lines, report
from tests.running_worker import RigMaker, WorkerRig, make_rig

__all__ = ["make_rig"]

MONTHS = {month: datetime(2026, month, 5, 9, tzinfo=ZONE) for month in (9, 10)}
KM = 1_000_000
"""In millimetres."""


async def drove(rig: WorkerRig, vehicle_id: str, millimetres: int, violations: str = "", month: int = 10) -> None:
    """So far in the month, with speeding violations: "cr" is a confirmed one and one for review."""
    await rig.rows(
        "INSERT INTO fixes (vehicle_id, time, lat, lon, flags, settled, received_at, leg_mm)"
        " VALUES (%s, %s, 16.4, 107.6, 0, true, now(), %s) RETURNING 1",
        vehicle_id, MONTHS[month], millimetres,
    )  # fmt: skip
    await rig.rows("INSERT INTO stale_hours (vehicle_id, hour) VALUES (%s, %s) RETURNING 1", vehicle_id, MONTHS[month])
    for number, grade in enumerate(violations):
        name = f"{vehicle_id} {month} {number}"
        await add_alert(rig.connection, name, vehicle_id=vehicle_id)
        await rig.rows(
            "UPDATE violations SET started_at = %s, grade = %s, report_band = '10-20', distance_m = 1000"
            " WHERE violation_id = %s RETURNING 1",
            MONTHS[month] + timedelta(hours=number), {"c": "confirmed", "r": "review"}[grade], name,
        )  # fmt: skip


async def test_the_badge_list_begins_with_exactly_the_rate_of_the_rule(make_rig: RigMaker) -> None:
    rig = await make_rig()
    assert (NUMBERS.badge_per_1000_km, NUMBERS.badge_least_km) == (5, 100)
    await drove(rig, "75B-00001", 200 * KM, "c")
    await drove(rig, "75B-00002", 200 * KM + 1, "c")
    await drove(rig, "75B-00003", 400 * KM, "cr")
    await drove(rig, "75B-00004", 100 * KM, "c")
    await drove(rig, "75B-00005", 100 * KM - 1, "c")
    await drove(rig, "75B-00006", 300 * KM)
    await Sums(rig.connection).bring_up_to_date()
    made = await report(rig, "badge")
    listed = zip(made.frame["vehicle_id"], made.frame["rate"], strict=True)
    assert list(listed) == [("75B-00004", 10.0), ("75B-00001", 5.0), ("75B-00003", 5.0)]
    rates = {vehicle: row["rate"] for vehicle, row in lines(await report(rig, "PL08")).items()}
    assert rates["75B-00002"] == pytest.approx(5.0)
    assert rates["75B-00002"] < 5.0


@pytest.fixture
async def two_months(make_rig: RigMaker) -> WorkerRig:
    """Each vehicle drives 200 km in September and 100 in October: what is compared can be said of both."""
    rig = await make_rig()
    await rig.imports("operator_id,name,tax_code,province\nOP-1,Một,,Huế\nOP-2,Hai,,Huế\nOP-3,Ba,,Đà Nẵng\n")
    await rig.imports(
        "vehicle_id,operator_id,kind\n75B-00001,OP-1,taxi\n75B-00002,OP-1,taxi\n75B-00003,OP-2,taxi\n43B-00001,OP-3,taxi\n"
    )
    for vehicle_id, september, october in (
        ("75B-00001", "cr", "cccc"),
        ("75B-00002", "ccc", "cr"),
        ("75B-00003", "cccccrr", "cc"),
        ("43B-00001", "ccccccccc", "crrr"),
    ):
        await drove(rig, vehicle_id, 200 * KM, september, 9)
        await drove(rig, vehicle_id, 100 * KM, october)
    await Sums(rig.connection).bring_up_to_date()
    return rig


def compared(line: Mapping[Any, Any]) -> tuple[Any, ...]:
    return line["rate_before"], line["rate"], line["rate_change"]


async def test_the_national_summary_compares_a_scope_with_the_same_scope_of_the_month_before(
    two_months: WorkerRig,
) -> None:
    scopes: list[tuple[dict[str, object], tuple[float, float, float]]] = [
        ({}, (21 / 0.8, 12 / 0.4, 3.75)),
        ({"operator_id": "OP-1"}, (5 / 0.4, 6 / 0.2, 17.5)),
        ({"province": "Huế"}, (12 / 0.6, 8 / 0.3, 20 / 3)),
        ({"vehicle_id": "75B-00003"}, (7 / 0.2, 2 / 0.1, -15.0)),
        ({"confirmed_only": True}, (18 / 0.8, 8 / 0.4, -2.5)),
    ]
    assert len({before for _, (before, _, _) in scopes}) == len(scopes), "each is told apart by the month before"
    for options, rates in scopes:
        made = await report(two_months, "national", Scope.of_month("2026-10", **options))
        assert compared(made.totals) == pytest.approx(rates), options
        if len(made.frame) == 1:
            assert compared(made.frame.to_dict("records")[0]) == pytest.approx(rates), options


async def test_the_national_summary_says_of_each_province_whether_it_became_better_or_worse(
    two_months: WorkerRig,
) -> None:
    made = lines(await report(two_months, "national", OCTOBER), "province")
    assert {province: compared(line) for province, line in made.items()} == {
        "Đà Nẵng": pytest.approx((9 / 0.2, 4 / 0.1, -5.0)),
        "Huế": pytest.approx((12 / 0.6, 8 / 0.3, 20 / 3)),
    }
