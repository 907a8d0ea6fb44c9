"""The monthly reports: their figures are those of the raw rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from detectors.fix import to_us
from detectors.geo import distance_mm
from storage.reports.catalogue import KINDS
from storage.reports.figures import BANDS
from storage.reports.fleet import transmission
from storage.reports.scope import Scope
from storage.sums import Sums
from tests.doc_pages import REPOSITORY, table
from tests.month.agreement import Agreement
from tests.month.expected import Registry
from tests.month.ledger import Ledger
from tests.month.running import make_report
from tests.outbox_rows import add_alert
from tests.report_month import NUMBERS, OCTOBER, ZONE, lines, month, report
from tests.running_worker import RigMaker, WorkerRig, journey, make_rig, message

__all__ = ["make_rig", "month"]


class Raw:
    """The month counted again from single rows, by other means than the reports'."""

    def __init__(self) -> None:
        self.mm: Counter[str] = Counter()
        self.driver_mm: Counter[str] = Counter()
        self.bands: dict[str, Counter[str]] = defaultdict(Counter)
        self.over_mm: dict[str, Counter[str]] = defaultdict(Counter)
        self.over_us: Counter[str] = Counter()
        self.hours: dict[str, Counter[str]] = defaultdict(Counter)
        self.hours_days: dict[str, set[date]] = defaultdict(set)
        self.days: dict[str, set[date]] = defaultdict(set)
        self.sent_days: dict[str, set[date]] = defaultdict(set)


async def counted(rig: WorkerRig) -> Raw:
    raw = Raw()
    before: dict[str, tuple[float, float]] = {}
    for vehicle, time, lat, lon, flags, driver in await rig.rows(
        "SELECT vehicle_id, time, lat, lon, flags, driver_id FROM fixes ORDER BY vehicle_id, time"
    ):
        local = time.astimezone(ZONE)
        if local.month == 10:
            raw.sent_days[vehicle].add(local.date())
        if flags == 0:
            if vehicle in before and local.month == 10:
                (mm,) = distance_mm(*(pd.Series([each]).to_numpy() for each in (*before[vehicle], lat, lon))).tolist()
                raw.mm[vehicle] += mm
                if driver is not None:
                    raw.driver_mm[driver] += mm
                if mm:
                    raw.days[vehicle].add(local.date())
            before[vehicle] = lat, lon
    for vehicle, kind, band, metres, seconds, started in await rig.rows(
        "SELECT vehicle_id, kind, report_band, distance_m, duration_s, started_at FROM violations"
        " WHERE status <> 'withdrawn' AND excused_at IS NULL"
    ):
        local = started.astimezone(ZONE)
        if local.month != 10:
            continue
        if kind == "speeding":
            raw.bands[vehicle][band] += 1
            raw.over_mm[vehicle][band] += round(metres * 1000)
            raw.over_us[vehicle] += round(seconds * 1e6)
        else:
            raw.hours[vehicle][kind] += 1
            if kind in ("continuous_driving", "daily_driving"):
                raw.hours_days[vehicle].add(local.date())
    return raw


async def test_every_figure_by_vehicle_is_that_of_the_raw_rows(month: WorkerRig) -> None:
    raw = await counted(month)
    assert sum(sum(each.values()) for each in raw.bands.values()) > 5
    assert sum(each["continuous_driving"] for each in raw.hours.values()) > 0
    by_operator, statistics, summary = [lines(await report(month, name)) for name in ("PL05", "PL08", "vehicles")]
    assert set(by_operator) == set(statistics) == set(summary) == set(raw.mm)
    for vehicle, row in by_operator.items():
        other, km = statistics[vehicle], raw.mm[vehicle] / 1e6
        total = sum(raw.bands[vehicle].values())
        assert [row[band] for band in BANDS] == [raw.bands[vehicle][band] for band in BANDS]
        assert (row["total"], row["km"], row["over_km"]) == (total, km, sum(raw.over_mm[vehicle].values()) / 1e6)
        assert row["km_percent"] == pytest.approx(sum(raw.over_mm[vehicle].values()) / raw.mm[vehicle] * 100)
        assert row["over_continuous"] == raw.hours[vehicle]["continuous_driving"]
        assert row["over_day"] == raw.hours[vehicle]["daily_driving"]
        assert row["days_percent"] == pytest.approx(len(raw.hours_days[vehicle]) / len(raw.days[vehicle]) * 100)
        assert (pd.isna(row["rate"]) and km < 100) or row["rate"] == pytest.approx(total / km * 1000)
        assert (other["over_s"], other["km"]) == (raw.over_us[vehicle] / 1e6, km)
        for band in BANDS:
            share = raw.over_mm[vehicle][band] / raw.mm[vehicle] * 100
            assert summary[vehicle][f"{band} percent"] == pytest.approx(share)


async def test_every_cell_of_every_file_is_that_of_the_raw_rows(month: WorkerRig, tmp_path: Path) -> None:
    """As tests/month counts them again, which knows nothing of how reports are made."""
    for change in (
        "excused_at = now(), excused_by = 'x', excused_why = 'y'",
        "status = 'withdrawn', withdrawn_at = now()",
    ):
        await month.rows(
            f"UPDATE violations SET {change} WHERE violation_id = (SELECT min(violation_id) FROM violations"
            " WHERE kind = 'speeding' AND status <> 'withdrawn' AND excused_at IS NULL"
            " AND started_at >= '2026-10-01T00:00+07') RETURNING 1"
        )
    ledger = Ledger()
    agreement = Agreement(
        month.connection, Registry.read(tmp_path), partial(make_report, month.url), tmp_path, OCTOBER.first_day, ledger
    )
    await agreement.check_reports()
    assert ledger.differences() == ""
    compared = {line.what: line.rows for line in ledger.lines}
    assert {what.removeprefix("report ") for what, rows in compared.items() if rows} >= {*KINDS} - {"PL17"}


async def test_a_report_is_empty_where_others_have_something_to_tell(month: WorkerRig) -> None:
    await month.imports("operator_id,name,tax_code,province\nOP-NEW,Mới,,Hue\n")
    assert (await report(month, "PL05", Scope.of_month("2026-10", operator_id="OP-NEW"))).frame.empty
    await month.imports("vehicle_id,operator_id,kind\n75B-00001,OP-NEW,taxi\n")
    told = {
        name: len((await report(month, name, Scope.of_month("2026-10", operator_id="OP-NEW"))).frame) for name in KINDS
    }
    of_its_vehicle = {"PL05", "PL08", "PL19", "vehicles", "national"}
    assert told == {name: int(name in of_its_vehicle) for name in KINDS}


async def test_totals_are_the_sums_of_the_lines_and_the_national_summary_is_theirs(month: WorkerRig) -> None:
    made, whole = await report(month, "PL05"), await report(month, "national")
    for key in (*BANDS, "total", "over_continuous", "over_day"):
        assert made.totals[key] == made.frame[key].sum() == whole.totals[key] == whole.frame[key].sum()
    assert made.totals["km"] == pytest.approx(whole.totals["km"])
    assert whole.totals["sending"] == len(set(made.frame[made.frame["registered"]]["vehicle_id"]))
    september = await report(month, "national", Scope.of_month("2026-09"))
    assert whole.totals["rate_before"] == september.totals["rate"]


async def test_every_figure_by_driver_is_that_of_the_raw_rows(month: WorkerRig) -> None:
    raw = await counted(month)
    found = lines(await report(month, "drivers"), "driver_id")
    assert {driver: row["distance_mm"] for driver, row in found.items()} == dict(raw.driver_mm)
    assert all(row["driver"] for row in found.values())
    drives = await month.rows(
        "SELECT driver_id, count(*) FROM violations WHERE kind = 'continuous_driving' AND status <> 'withdrawn'"
        " AND started_at >= '2026-10-01T00:00+07' GROUP BY driver_id"
    )
    assert {driver: row["over_continuous"] for driver, row in found.items() if row["over_continuous"]} == dict(drives)


async def test_details_list_every_violation_once(month: WorkerRig) -> None:
    for name, kind in (
        ("PL14", "speeding"),
        ("overspeed", "speeding"),
        ("PL16", "continuous_driving"),
        ("PL17", "daily_driving"),
    ):
        expected = await month.rows(
            "SELECT violation_id FROM violations WHERE kind = %s AND status <> 'withdrawn'"
            " AND started_at >= '2026-10-01T00:00+07' AND started_at < '2026-11-01T00:00+07'", kind,
        )  # fmt: skip
        made = await report(month, name)
        assert sorted(made.frame["violation_id"]) == sorted(each for (each,) in expected), name


async def test_a_drive_is_told_from_its_beginning_with_its_kilometres(month: WorkerRig) -> None:
    made = await report(month, "PL16")
    assert len(made.frame) > 0
    for row in made.frame.to_dict("records"):
        mm = await month.one(
            "SELECT sum(leg_mm)::int8 FROM fixes WHERE driver_id = %s AND time > %s AND time <= %s",
            row["driver_id"], row["counted_from"], row["ended_at"],
        )  # fmt: skip
        assert row["km"] == mm / 1e6
        assert row["ended_at"] - row["counted_from"] >= timedelta(seconds=row["actual_s"])
        assert row["start"]
        assert row["end"]


async def test_a_drive_in_two_vehicles_begins_where_the_first_of_them_was(make_rig: RigMaker) -> None:
    rig = await make_rig()
    begin_us = to_us(OCTOBER.begins_at + timedelta(hours=7))
    first = journey("29B-00002", begin_us, [40.0] * 900, driver_id="D1")
    # Its tracker sends all day long; the driver takes it over five minutes after the first one.
    waiting = [fix._replace(lon=106.5) for fix in journey("29B-00001", begin_us, [0.0] * 930, driver_id="D2")]
    second_us = waiting[-1].time_us + 10_000_000
    second = [fix._replace(lon=106.5) for fix in journey("29B-00001", second_us, [40.0] * 800, driver_id="D1")]
    fixes = sorted([*first, *waiting, *second], key=lambda fix: fix.time_us)
    await rig.append(message(fix, received_us=fix.time_us) for fix in fixes)
    await rig.work_off()
    await Sums(rig.connection).bring_up_to_date()
    (drive,) = (await report(rig, "PL16")).frame.to_dict("records")
    assert (drive["vehicle_id"], drive["start"]) == ("29B-00001", "21.00000, 105.80000")
    assert drive["end"].endswith(", 106.50000")


async def test_days_without_data_are_counted_to_the_day_that_has_begun(month: WorkerRig) -> None:
    raw = await counted(month)
    for today, days in ((date(2026, 10, 2), 2), (date(2026, 12, 1), 31)):
        made = await transmission(month.connection, OCTOBER, NUMBERS, today)
        found = lines(made)
        assert {vehicle: row["silent_days"] for vehicle, row in found.items()} == {
            vehicle: days - len(raw.sent_days[vehicle]) for vehicle in found
        }
        assert len(found) == await month.one("SELECT count(*) FROM vehicles")


async def test_stops_last_at_least_as_long_as_the_number_says(month: WorkerRig) -> None:
    made, summary = await report(month, "stops"), lines(await report(month, "vehicles"))
    assert len(made.frame) > 0
    assert (made.frame["minutes"] * 60 >= NUMBERS.stop_least_s).all()
    newest = dict(await month.rows("SELECT vehicle_id, max(time) FROM fixes WHERE flags = 0 GROUP BY 1"))
    last = made.frame.groupby("vehicle_id")["ends_at"].max().to_dict()
    assert all(ends_at <= newest[vehicle] for vehicle, ends_at in last.items()), "nobody knows of any longer stop"
    assert dict(Counter(made.frame["vehicle_id"])) == {
        vehicle: row["stops"] for vehicle, row in summary.items() if row["stops"]
    }


async def test_an_excused_violation_is_not_counted_and_one_for_review_only_where_asked(month: WorkerRig) -> None:
    before = await report(month, "PL05")
    assert isinstance(before.totals["total"], int)
    (violation_id,) = (
        await month.rows(
            "SELECT violation_id FROM violations WHERE kind = 'speeding' AND status <> 'withdrawn'"
            " AND started_at >= '2026-10-01T00:00+07' LIMIT 1"
        )
    )[0]
    await month.rows(
        "UPDATE violations SET excused_at = now(), excused_by = 'x', excused_why = 'y' WHERE violation_id = %s"
        " RETURNING 1", violation_id,
    )  # fmt: skip
    assert (await report(month, "PL05")).totals["total"] == before.totals["total"] - 1
    reviewed = await month.one(
        "SELECT count(*) FROM violations WHERE kind = 'speeding' AND status <> 'withdrawn' AND grade = 'review'"
        " AND started_at >= '2026-10-01T00:00+07' AND excused_at IS NULL"
    )
    sure = await report(month, "PL05", Scope.of_month("2026-10", confirmed_only=True))
    assert sure.totals["total"] == before.totals["total"] - 1 - reviewed


async def test_twenty_over_is_in_one_band_for_the_report_and_in_another_for_the_fine(make_rig: RigMaker) -> None:
    rig = await make_rig()
    await add_alert(rig.connection, "v1")
    await rig.rows("UPDATE violations SET report_band = '20-35', fine_band = '10-20', excess_kmh = 20 RETURNING 1")
    await rig.rows("INSERT INTO vehicles (vehicle_id) VALUES ('29B-12345') RETURNING 1")
    (row,) = (await report(rig, "PL14")).frame.to_dict("records")
    assert (row["report_band"], row["fine_band"]) == ("20-35", "10-20")
    assert lines(await report(rig, "PL08"))["29B-12345"]["20-35"] == 1


async def test_the_first_moment_of_a_month_belongs_to_it_and_that_of_the_next_does_not(make_rig: RigMaker) -> None:
    rig = await make_rig()
    await rig.imports("vehicle_id,operator_id,kind\n29B-12345,,taxi\n")
    for name, started_at in (("v1", "2026-10-01T00:00+07"), ("v2", "2026-11-01T00:00+07")):
        await add_alert(rig.connection, name)
        await rig.rows("UPDATE violations SET started_at = %s WHERE violation_id = %s RETURNING 1", started_at, name)
    for name, told in (("2026-09", []), ("2026-10", ["v1"]), ("2026-11", ["v2"])):
        assert (await report(rig, "PL14", Scope.of_month(name))).frame["violation_id"].tolist() == told


async def test_a_day_on_which_the_vehicle_only_stood_is_no_day_of_driving(make_rig: RigMaker) -> None:
    rig = await make_rig()
    await rig.imports("vehicle_id,operator_id,kind\n29B-12345,,goods\n")
    monday_us = to_us(datetime(2026, 10, 5, 9, tzinfo=ZONE))
    drive = journey("29B-12345", monday_us, [50.0] * 1_560 + [0.0] * 3, driver_id="D1")
    parked = [drive[-1]._replace(time_us=drive[-1].time_us + n * 86_400_000_000, speed_kmh=0.0) for n in (1, 2, 3)]
    await rig.append(message(fix, received_us=fix.time_us) for fix in [*drive, *parked])
    await rig.work_off()
    await Sums(rig.connection).bring_up_to_date()
    assert await rig.one("SELECT count(*) FROM vehicle_days") == 4
    row = lines(await report(rig, "PL05"))["29B-12345"]
    assert (row["over_continuous"], row["days_percent"]) == (1, 100.0)


def test_the_documented_reports_are_those_there_are() -> None:
    documented = {
        row[0].strip("`"): row[1]
        for row in table((REPOSITORY / "docs" / "reports.md").read_text("utf-8"), "Which there are")
    }
    assert documented == {name: kind.summary for name, kind in KINDS.items()}
