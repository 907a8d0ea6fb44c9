"""Where vehicles were and stood: the journey, speed and stop reports of QCVN 31:2014."""

from __future__ import annotations

import pandas as pd

from detectors.rules import ReportNumbers
from storage.connect import Connection
from storage.reports.figures import KINDS, frame_of, gather
from storage.reports.notes import notes, stop_note
from storage.reports.scope import ZONE, Scope
from storage.reports.speeding import NO_PLACES, of, places, with_drivers
from storage.reports.standing import STOPS
from storage.reports.table import Column, Report

_FIXES = """
    SELECT time, lat AS start_lat, lon AS start_lon, speed_kmh FROM fixes
    WHERE vehicle_id = %(vehicle_id)s AND time >= %(begins_at)s AND time < %(ends_at)s AND flags = 0 ORDER BY time
"""

# The place is that of the newest trusted fix when the vehicle came to stand: as a rule the one with which the stop
# begins, which is a waypoint; each on its own only where there is none. The limits change nothing but the plan: found
# one by one in the order of the key, whatever the planner thinks of so many. Moments come as microseconds: pandas takes
# a million of those at once, and a million moments one by one.
_US = "(extract(epoch FROM {}) * 1000000)::int8"
_STOPS = f"""
    SELECT s.vehicle_id, s.driver_id, {_US.format("s.time")} AS time, {_US.format("s.ends_at")} AS ends_at,
        coalesce(w.lat, f.lat) AS start_lat, coalesce(w.lon, f.lon) AS start_lon
    FROM ({STOPS}) AS s
    LEFT JOIN LATERAL (SELECT lat, lon FROM waypoints WHERE vehicle_id = s.vehicle_id AND time = s.time LIMIT 1) AS w
        ON true
    LEFT JOIN LATERAL (SELECT lat, lon FROM fixes WHERE w.lat IS NULL AND vehicle_id = s.vehicle_id
        AND time <= s.time AND flags = 0 ORDER BY time DESC LIMIT 1) AS f ON true
    WHERE coalesce(w.lat, f.lat) IS NOT NULL
    ORDER BY s.vehicle_id, s.time
"""


async def journey(connection: Connection, scope: Scope, numbers: ReportNumbers) -> Report:
    """QCVN 31: every trusted fix of a vehicle."""
    frame = await _fixes(connection, scope)
    frame["place"] = places(frame, "start")
    columns = (Column("time", "Thời điểm", "time"), Column("place", "Tọa độ", "place"), Column("note", "Ghi chú"))
    return Report(
        "journey", "Báo cáo hành trình xe chạy", scope.period, of(scope), columns, frame.assign(note=""),
        notes=notes(scope, numbers, NO_PLACES),
    )  # fmt: skip


async def speeds(connection: Connection, scope: Scope, numbers: ReportNumbers) -> Report:
    """QCVN 31: the speeds that a vehicle sent, a line per minute."""
    fixes = (await _fixes(connection, scope)).dropna(subset=["speed_kmh"])
    minutes = fixes.groupby(fixes["time"].dt.floor("min"))["speed_kmh"]
    told = minutes.apply(lambda each: ", ".join(f"{speed:g}" for speed in each))
    frame = told.rename("speeds").rename_axis("time").reset_index().assign(note="")
    columns = (Column("time", "Thời điểm", "time"), Column("speeds", "Các tốc độ (km/h)"), Column("note", "Ghi chú"))
    return Report(
        "speed", "Báo cáo tốc độ của xe", scope.period, of(scope), columns, frame,
        notes=notes(scope, numbers, "Các tốc độ mà thiết bị đã gửi trong phút đó, theo thứ tự thời gian."),
    )  # fmt: skip


async def stops(connection: Connection, scope: Scope, numbers: ReportNumbers) -> Report:
    """QCVN 31: every stop that is long enough."""
    figures = await gather(connection, scope, [])
    parameters = {
        "vehicles": figures.vehicles["vehicle_id"].tolist(), "begins_at": scope.begins_at, "ends_at": scope.ends_at,
        "least_s": numbers.stop_least_s,
    }  # fmt: skip
    found = _local(await frame_of(connection, _STOPS, parameters), "time", "ends_at")
    stood_us = (found["ends_at"] - found["time"]).dt.total_seconds().mul(1e6).round().astype("int64")
    frame = (await with_drivers(connection, found)).assign(
        place=places(found, "start"),
        minutes=stood_us / 60_000_000,
        business=found["vehicle_id"].map(figures.vehicles.set_index("vehicle_id")["kind"].map(KINDS)),
        note="",
    )
    columns = (
        Column("vehicle_id", "Biển số xe"),
        Column("driver", "Họ tên lái xe"),
        Column("driver_id", "Số giấy phép lái xe"),
        Column("business", "Loại hình hoạt động"),
        Column("time", "Thời điểm dừng đỗ", "time"),
        Column("minutes", "Thời gian dừng đỗ (phút)", "rate"),
        Column("place", "Tọa độ", "place"),
        Column("note", "Ghi chú"),
    )
    return Report(
        "stops", "Báo cáo dừng đỗ", scope.period, of(scope), columns, frame,
        {"minutes": stood_us.sum() / 60_000_000},
        notes(
            scope, numbers, stop_note(numbers), "Lần dừng kéo sang tháng sau: thời gian ghi đến hết tháng.", NO_PLACES
        ),
    )  # fmt: skip


async def _fixes(connection: Connection, scope: Scope) -> pd.DataFrame:
    parameters = {"vehicle_id": scope.vehicle_id, "begins_at": scope.begins_at, "ends_at": scope.ends_at}
    return _local(await frame_of(connection, _FIXES, parameters), "time")


def _local(frame: pd.DataFrame, *names: str) -> pd.DataFrame:
    for name in names:
        # Microseconds, where they are numbers.
        frame[name] = pd.to_datetime(frame[name], unit="us", utc=True).dt.tz_convert(ZONE)
    return frame
