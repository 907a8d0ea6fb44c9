"""Numbers of the office change under workers at work: they judge from then on, each day by its own."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from detectors.fix import to_us
from storage.overrides import import_overrides
from tests.running_worker import RigMaker, WorkerRig, journey, make_rig, message, rig
from tests.scenario import HANOI

__all__ = ["make_rig", "rig"]

HEADER = "scope,id,number,value,valid_from,valid_to,basis\n"
BEGIN_US = to_us(datetime(2026, 3, 4, 23, 50, tzinfo=HANOI))
FAST = journey("V1", BEGIN_US, [75.0] * 120)
"""Twenty minutes at 75 km/h, ten on either side of midnight."""
MIDNIGHT_US = to_us(datetime(2026, 3, 5, tzinfo=HANOI))


async def imports(rig: WorkerRig, folder: Path, *rows: str) -> None:
    path = folder / "overrides.csv"
    path.write_text(HEADER + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    assert not (await import_overrides(rig.connection, path, rig.pack.pack, "An")).bad_rows


@pytest.fixture
async def fleet(rig: WorkerRig) -> WorkerRig:
    await rig.connection.execute("INSERT INTO operators (operator_id, name) VALUES ('OP', 'Thang Long')")
    await rig.connection.execute("INSERT INTO vehicles (vehicle_id, operator_id) VALUES ('V1', 'OP'), ('V2', NULL)")
    return rig


async def violations(rig: WorkerRig) -> list[tuple[Any, ...]]:
    return await rig.rows(
        "SELECT vehicle_id, status, limit_kmh, limit_source, (extract(epoch FROM started_at) * 1000000)::int8"
        " FROM violations WHERE kind = 'speeding' ORDER BY started_at, vehicle_id"
    )


async def test_a_limit_that_is_imported_in_time_judges_from_its_midnight_on(fleet: WorkerRig, tmp_path: Path) -> None:
    async with fleet.worker() as task:
        await fleet.append(message(fix) for fix in FAST[:30])
        await fleet.worked_off(60.0, task)
        await imports(fleet, tmp_path, "operator,OP,limit_kmh,60,2026-03-05,,letter 1")
        await fleet.worked_off(10.0, task)
        assert await violations(fleet) == []
        await fleet.append(message(fix) for fix in FAST[30:])
        await fleet.worked_off(60.0, task)
    assert await violations(fleet) == [("V1", "open", 60.0, "operator", MIDNIGHT_US)]
    await fleet.is_sound()


async def test_one_that_is_imported_late_judges_from_the_newest_settled_fix_on(
    fleet: WorkerRig, tmp_path: Path
) -> None:
    async with fleet.worker() as task:
        await fleet.append(message(fix) for fix in FAST[:30])
        await fleet.worked_off(60.0, task)
        await imports(fleet, tmp_path, "operator,OP,limit_kmh,60,2026-03-01,,letter 1")
        await fleet.worked_off(10.0, task)
        await fleet.append(message(fix) for fix in FAST[30:50])
        await fleet.worked_off(60.0, task)
        assert await violations(fleet) == [("V1", "open", 60.0, "operator", FAST[29].time_us)]
        await imports(fleet, tmp_path, "operator,OP,limit_kmh,60,2026-03-01,2026-03-01,a slip")
        await fleet.worked_off(10.0, task)
    assert [row[1] for row in await violations(fleet)] == ["withdrawn"]
    why = await fleet.one("SELECT why FROM violation_revisions ORDER BY at DESC LIMIT 1")
    assert why == "the office's limit_kmh for the operator changed"


async def test_only_vehicles_whom_a_change_concerns_are_judged_again(fleet: WorkerRig, tmp_path: Path) -> None:
    await fleet.append(message(fix) for fix in FAST[:5])
    await fleet.append(message(fix._replace(vehicle_id="V2")) for fix in FAST[:5])
    await fleet.work_off()
    row = "operator,OP,limit_kmh,60,2026-03-05,,letter 1"
    await imports(fleet, tmp_path, row)
    assert await fleet.rows("SELECT vehicle_id FROM rejudge_marks") == [("V1",)]
    await fleet.work_off()
    await imports(fleet, tmp_path, row)
    assert await fleet.rows("SELECT vehicle_id FROM rejudge_marks") == []


async def test_a_vehicle_without_a_stored_fix_is_judged_by_what_is_imported_before_its_first(
    fleet: WorkerRig, tmp_path: Path
) -> None:
    async with fleet.worker() as task:
        await imports(fleet, tmp_path, "vehicle,V1,limit_kmh,60,2026-03-01,,letter 1")
        await fleet.append(message(fix) for fix in FAST[:30])
        await fleet.worked_off(60.0, task)
    assert [row[:4] for row in await violations(fleet)] == [("V1", "open", 60.0, "vehicle")]


async def test_workers_that_begin_anew_judge_as_one_that_goes_on(make_rig: RigMaker, tmp_path: Path) -> None:
    found = []
    for pieces in (1, 12):
        rig = await make_rig()
        await rig.connection.execute("INSERT INTO vehicles (vehicle_id, kind) VALUES ('V1', 'taxi')")
        await imports(
            rig, tmp_path, "kind,taxi,limit_kmh,60,2026-03-05,,x", "kind,taxi,speeding.min_fixes,50,2026-03-05,,x"
        )
        for piece in range(pieces):
            await rig.append(message(fix) for fix in FAST[piece * 120 // pieces : (piece + 1) * 120 // pieces])
            await rig.work_off()
        await rig.is_sound()
        found.append(await violations(rig))
    assert found[0] == found[1] == [("V1", "open", 60.0, "kind", MIDNIGHT_US)]
