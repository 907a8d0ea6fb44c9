"""What happens over the end of a month: nothing of it is in both reports, and nothing in neither."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from detectors.fix import Fix, to_us
from storage.reports.scope import Scope
from storage.sums import Sums
from tests.month.agreement import Agreement
from tests.month.expected import Registry
from tests.month.ledger import Ledger
from tests.month.running import make_report
from tests.report_month import ZONE, lines, report
from tests.running_worker import RigMaker, WorkerRig, journey, make_rig, message

__all__ = ["make_rig"]

MIDNIGHT = datetime(2026, 11, 1, tzinfo=ZONE)
BEFORE_IT = MIDNIGHT - timedelta(minutes=3)
SEPTEMBER, OCTOBER, NOVEMBER = (Scope.of_month(f"2026-{month:02}") for month in (9, 10, 11))
REGISTRY = {
    "operators": "operator_id,name,tax_code,province\nOP-1,Một,,Huế\n",
    "vehicles": "vehicle_id,operator_id,kind,limit_kmh\n"
    + "".join(f"75B-0000{number},OP-1,taxi,90\n" for number in range(1, 7)),
    "drivers": "driver_id,operator_id,name\nD1,OP-1,An\nD2,OP-1,Bình\n",
}


def stand(vehicle_id: str, at: datetime, seconds: int, *, drives_on: bool = True) -> list[Fix]:
    """Twenty minutes of driving, then standing for so long from that moment."""
    speeds = [50.0] * 120 + [0.0] * (seconds // 10) + ([50.0] * 60 if drives_on else [0.0])
    return journey(vehicle_id, to_us(at - timedelta(minutes=20)), speeds, driver_id="D1")


async def take_in(rig: WorkerRig, fixes: Iterable[Fix]) -> None:
    ordered = sorted(fixes, key=lambda fix: fix.time_us)
    await rig.append(message(fix, received_us=fix.time_us) for fix in ordered)
    await rig.work_off()
    await Sums(rig.connection).bring_up_to_date()


async def stops(rig: WorkerRig, scope: Scope) -> list[tuple[str, float]]:
    """Those listed, with their minutes; the summary by vehicle must count the same."""
    made = await report(rig, "stops", scope)
    listed = list(zip(made.frame["vehicle_id"], made.frame["minutes"], strict=True))
    summary = lines(await report(rig, "vehicles", scope))
    counted = {name: row["stops"] for name, row in summary.items() if row["stops"]}
    assert counted == Counter(name for name, _ in listed)
    return listed


async def test_a_stop_belongs_to_the_month_in_which_it_begins_whatever_part_of_it_lies_there(
    make_rig: RigMaker,
) -> None:
    """Three minutes of it in October: cut before it was measured, it was too short for October and not November's."""
    rig = await make_rig()
    stands_on = stand("75B-00006", MIDNIGHT - timedelta(days=31, minutes=3), 0, drives_on=False)
    seen_again = stands_on[-1]._replace(time_us=to_us(MIDNIGHT + timedelta(days=1)))
    await take_in(
        rig,
        [
            *stand("75B-00001", BEFORE_IT, 420),
            *stand("75B-00002", BEFORE_IT, 420, drives_on=False),
            *stand("75B-00003", BEFORE_IT, 300),
            *stand("75B-00004", BEFORE_IT, 290),
            *stand("75B-00005", MIDNIGHT, 300),
            *stand("75B-00007", MIDNIGHT - timedelta(minutes=4), 240),
            *stands_on,
            seen_again,
        ],
    )
    assert await stops(rig, SEPTEMBER) == [("75B-00006", 3.0)]
    assert await stops(rig, OCTOBER) == [("75B-00001", 3.0), ("75B-00002", 3.0), ("75B-00003", 3.0)]
    assert await stops(rig, NOVEMBER) == [("75B-00005", 5.0)]
    foot = (await report(rig, "stops", OCTOBER)).notes
    assert "Dừng đỗ: xe đứng yên từ 5 phút, thuộc tháng mà lần dừng bắt đầu." in foot
    assert "Lần dừng kéo sang tháng sau: thời gian ghi đến hết tháng." in foot


@pytest.fixture
async def over_the_end(make_rig: RigMaker) -> WorkerRig:
    """Two vehicles over the end of October. One drives over midnight, too fast just then and once more, and is parked
    in November; the other stands over midnight and goes on with another driver."""
    rig = await make_rig()
    for text in REGISTRY.values():
        await rig.imports(text)
    begin_us = to_us(MIDNIGHT - timedelta(minutes=30))
    speeds = [60.0] * 177 + [110.0] * 7 + [60.0] * 90 + [110.0] * 7 + [60.0] * 79 + [0.0] * 121
    drives = journey("75B-00001", begin_us, speeds, driver_id="D1")
    stands = journey("75B-00002", begin_us, [60.0] * 120 + [0.0] * 120 + [60.0] * 120, driver_id="D1")
    await take_in(rig, [*drives, *stands[:240], *(fix._replace(driver_id="D2") for fix in stands[240:])])
    return rig


async def test_the_kilometres_of_each_month_are_those_of_its_fixes(over_the_end: WorkerRig) -> None:
    for scope, sign, drivers in ((OCTOBER, "<", {"D1"}), (NOVEMBER, ">=", {"D1", "D2"})):
        for name, key in (("vehicles", "vehicle_id"), ("drivers", "driver_id")):
            made = lines(await report(over_the_end, name, scope), key)
            rows = await over_the_end.rows(
                f"SELECT {key}, sum(leg_mm)::int8 FROM fixes WHERE time {sign} %s GROUP BY 1", MIDNIGHT
            )
            assert {who: row["distance_mm"] for who, row in made.items() if row["distance_mm"]} == dict(rows)
            assert name == "vehicles" or {who for who, _ in rows} == drivers


async def test_of_a_stop_over_the_end_of_the_month_only_what_lies_in_the_month_is_shown(
    over_the_end: WorkerRig,
) -> None:
    assert await stops(over_the_end, OCTOBER) == [("75B-00002", 10.0)]
    assert await stops(over_the_end, NOVEMBER) == [("75B-00001", 20.0)]


@pytest.mark.parametrize("scope", [OCTOBER, NOVEMBER], ids=["october", "november"])
async def test_every_report_of_both_months_is_that_of_the_recount(
    over_the_end: WorkerRig, scope: Scope, tmp_path: Path
) -> None:
    await take_in(over_the_end, [*stand("75B-00003", BEFORE_IT, 420), *stand("75B-00004", BEFORE_IT, 290)])
    for name, text in REGISTRY.items():
        (tmp_path / f"{name}.csv").write_text(text, "utf-8")
    ledger = Ledger()
    reports = partial(make_report, over_the_end.url)
    registry = Registry.read(tmp_path)
    await Agreement(over_the_end.connection, registry, reports, tmp_path, scope.first_day, ledger).check_reports()
    # Reports alone: the time of a dashboard ends a microsecond early, and it shows driving that goes on after it.
    told = {line.what: line.differences for line in ledger.lines if line.what.startswith("report ")}
    assert set(told) >= {"report stops", "report vehicles", "report drivers", "report PL14"}
    assert {what: differences for what, differences in told.items() if differences} == {}
