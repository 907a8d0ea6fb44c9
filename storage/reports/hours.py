"""Driving time in detail: PL16 and PL17 of Circular 09/2015, and the continuous driving report of QCVN 31:2014."""

from __future__ import annotations

from typing import Any

import pandas as pd

from detectors.rules import ReportNumbers
from storage.connect import Connection
from storage.reports.figures import KINDS, frame_of, gather
from storage.reports.notes import notes
from storage.reports.scope import ZONE, Scope
from storage.reports.speeding import NO_PLACES, of, places, review_notes, with_drivers
from storage.reports.table import Column, Report

_DRIVER = (
    Column("vehicle_id", "Biển số xe"),
    Column("driver", "Họ tên", "text", "Lái xe"),
    Column("driver_id", "Số giấy phép lái xe", "text", "Lái xe"),
)
_SPAN = (
    Column("day", "Ngày", "date"),
    Column("counted_from", "Bắt đầu", "time", "Thời điểm"),
    Column("ended_at", "Kết thúc", "time", "Thời điểm"),
    Column("actual_s", "Thời gian lái xe", "duration", "Thời điểm"),
    Column("start", "Bắt đầu", "place", "Tọa độ"),
    Column("end", "Kết thúc", "place", "Tọa độ"),
)

# Whole hours of a drive by the sums, the hours in which it begins and ends by their fixes; several vehicles where the
# driver changed between them. Hours of which the fixes are gone do not count: half a drive's kilometres would be wrong.
DISTANCES = """
    WITH drives AS (
        SELECT d.*, date_trunc('hour', begins_at, 'UTC') + interval '1 hour' AS whole_from,
            date_trunc('hour', ends_at, 'UTC') AS whole_to
        FROM unnest(%(ids)s::text[], %(vehicles)s::text[], %(begins)s::timestamptz[], %(ends)s::timestamptz[],
            %(drivers)s::text[]) AS d(violation_id, vehicle_id, begins_at, ends_at, driver_id)
    ), hours AS (
        SELECT d.violation_id, d.vehicle_id, d.driver_id, hour FROM drives d
        CROSS JOIN LATERAL generate_series(whole_from, whole_to - interval '1 hour', interval '1 hour') AS hour
        WHERE hour >= (SELECT fixes_from FROM upkeep)
    )
    SELECT violation_id, sum(leg_mm)::int8 AS distance_mm FROM (
        -- Summed drive by drive: joined, some thousand drives are reason enough to read every fix there is.
        SELECT d.violation_id, f.leg_mm FROM drives d CROSS JOIN LATERAL (
            SELECT sum(leg_mm)::int8 AS leg_mm FROM fixes WHERE vehicle_id = d.vehicle_id
                AND time > d.begins_at AND time <= d.ends_at AND time < d.whole_from
                AND driver_id IS NOT DISTINCT FROM d.driver_id
        ) AS f
        UNION ALL SELECT d.violation_id, f.leg_mm FROM drives d CROSS JOIN LATERAL (
            SELECT sum(leg_mm)::int8 AS leg_mm FROM fixes WHERE vehicle_id = d.vehicle_id
                AND time >= greatest(d.whole_from, d.whole_to) AND time <= d.ends_at
                AND driver_id IS NOT DISTINCT FROM d.driver_id
        ) AS f
        UNION ALL SELECT h.violation_id, s.distance_mm FROM hours h CROSS JOIN LATERAL (
            SELECT distance_mm FROM driven_hours s
            WHERE s.hour = h.hour AND s.vehicle_id = h.vehicle_id AND s.driver_id = h.driver_id LIMIT 1
        ) AS s
        -- What nobody is named for is what is left of the vehicle's.
        UNION ALL SELECT h.violation_id, s.distance_mm - coalesce((
            SELECT sum(n.distance_mm)::int8 FROM driven_hours n WHERE n.hour = h.hour AND n.vehicle_id = h.vehicle_id
        ), 0) FROM hours h CROSS JOIN LATERAL (
            SELECT distance_mm FROM vehicle_hours s WHERE s.vehicle_id = h.vehicle_id AND s.hour = h.hour LIMIT 1
        ) AS s WHERE h.driver_id IS NULL
    ) AS legs
    GROUP BY violation_id
"""
# A drive begins with a fix of the vehicle that was driven then; the driver's other vehicles stood elsewhere.
_PLACES = """
    SELECT DISTINCT ON (d.violation_id) d.violation_id, f.lat, f.lon
    FROM unnest(%(ids)s::text[], %(vehicles)s::text[], %(begins)s::timestamptz[], %(drivers)s::text[])
        AS d(violation_id, vehicle_id, at, driver_id)
    CROSS JOIN LATERAL (SELECT time, driver_id, lat, lon FROM fixes WHERE vehicle_id = d.vehicle_id AND time <= d.at
        AND flags = 0 ORDER BY time DESC LIMIT 1) AS f
    ORDER BY d.violation_id, f.time DESC, f.driver_id IS NOT DISTINCT FROM d.driver_id DESC, d.vehicle_id
"""


async def over_continuous(connection: Connection, scope: Scope, numbers: ReportNumbers) -> Report:
    """PL16: every drive over four hours without a rest."""
    frame = await _drives(connection, scope, "continuous_driving")
    columns = (*_DRIVER, *_SPAN, Column("km", "Quãng đường (km)", "km"), Column("note", "Ghi chú"))
    return Report(
        "PL16", "Chi tiết lái xe liên tục quá 4 giờ", scope.period, of(scope), columns, frame,
        notes=notes(scope, numbers, "Bắt đầu: lần lái xe đầu tiên được tính vào thời gian liên tục.", NO_PLACES),
    )  # fmt: skip


async def over_day(connection: Connection, scope: Scope, numbers: ReportNumbers) -> Report:
    """PL17: every day with more than ten hours of driving."""
    frame = await _drives(connection, scope, "daily_driving")
    return Report(
        "PL17", "Chi tiết lái xe quá 10 giờ trong ngày", scope.period, of(scope),
        (*_DRIVER, *_SPAN, Column("note", "Ghi chú")), frame, notes=notes(scope, numbers, NO_PLACES),
    )  # fmt: skip


async def continuous_driving(connection: Connection, scope: Scope, numbers: ReportNumbers) -> Report:
    """QCVN 31: continuous driving over the limit, in minutes, with the business type."""
    frame = await _drives(connection, scope, "continuous_driving")
    frame["minutes"] = frame["actual_s"] / 60
    columns = (
        *_DRIVER,
        Column("business", "Loại hình hoạt động"),
        Column("counted_from", "Thời điểm", "time", "Bắt đầu"),
        Column("start", "Tọa độ", "place", "Bắt đầu"),
        Column("ended_at", "Thời điểm", "time", "Kết thúc"),
        Column("end", "Tọa độ", "place", "Kết thúc"),
        Column("minutes", "Thời gian lái xe (phút)", "rate"),
        Column("note", "Ghi chú"),
    )
    return Report(
        "continuous", "Báo cáo thời gian lái xe liên tục", scope.period, of(scope), columns, frame,
        notes=notes(scope, numbers, "Chỉ gồm các lần vượt giới hạn.", NO_PLACES),
    )  # fmt: skip


async def _drives(connection: Connection, scope: Scope, kind: str) -> pd.DataFrame:
    figures = await gather(connection, scope, [kind])
    found = await with_drivers(connection, figures.violations)
    counted = [pd.Timestamp(each["driving_began_at"]).tz_convert(ZONE) for each in found["evidence"]]
    found["counted_from"] = pd.Series(counted, index=found.index, dtype=f"datetime64[ns, {ZONE.key}]")
    found["note"] = review_notes(found)
    found["business"] = found["vehicle_id"].map(figures.vehicles.set_index("vehicle_id")["kind"].map(KINDS))
    found["end"] = places(found, "end")
    return await _with_distances(connection, found)


async def _with_distances(connection: Connection, found: pd.DataFrame) -> pd.DataFrame:
    """With the place where the drive began, and its kilometres; NaN where its fixes are gone."""
    begins = [moment.to_pydatetime() for moment in found["counted_from"]]
    ends = [moment.to_pydatetime() for moment in found["ended_at"]]
    drives = [
        (violation_id, vehicle_id, begin, end, driver_id if isinstance(driver_id, str) else None)
        for violation_id, evidence, own, begin, end, driver_id in zip(
            found["violation_id"], found["evidence"], found["vehicle_id"], begins, ends, found["driver_id"], strict=True
        )
        for vehicle_id in (evidence.get("vehicles") or [own])
    ]
    columns: list[list[Any]] = [list(column) for column in zip(*drives, strict=True)] or [[], [], [], [], []]
    parameters = dict(zip(("ids", "vehicles", "begins", "ends", "drivers"), columns, strict=True))
    distances = await frame_of(connection, DISTANCES, parameters)
    began = (await frame_of(connection, _PLACES, parameters)).set_index("violation_id")
    found["start_lat"] = found["violation_id"].map(began["lat"])
    found["start_lon"] = found["violation_id"].map(began["lon"])
    found["start"] = places(found, "start")
    # Where nothing is left of what was found, pandas takes the sums for texts like the ids.
    millimetres = found["violation_id"].map(distances.set_index("violation_id")["distance_mm"]).astype("float64")
    found["km"] = millimetres / 1e6
    return found
