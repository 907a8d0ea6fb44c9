"""Speed statistics and details: PL05, PL08 and PL14 of Circular 09/2015, and the overspeed report of QCVN 31:2014."""

from __future__ import annotations

import pandas as pd

from detectors.rules import ReportNumbers
from storage.connect import Connection
from storage.reports.figures import BANDS, KINDS, Figures, by_vehicle, gather, per_1000_km, percent
from storage.reports.notes import BAND_NOTE, notes, rate_note
from storage.reports.scope import Scope
from storage.reports.table import Column, Report

_BAND_TITLES = ("5 - dưới 10 km/h", "10 - dưới 20 km/h", "20 - 35 km/h", "Trên 35 km/h")
_BANDS_SAID = {band: band.replace("over", "trên") for band in BANDS}
_COUNTED = "Số lần vi phạm tốc độ"
BAND_COLUMNS = (
    *(Column(band, title, "count", _COUNTED) for band, title in zip(BANDS, _BAND_TITLES, strict=True)),
    Column("total", "Tổng số", "count", _COUNTED),
    Column("rate", "Số lần/1.000 km", "rate", _COUNTED),
)


async def speed_by_operator(connection: Connection, scope: Scope, numbers: ReportNumbers) -> Report:
    """PL05: each vehicle's speeding, journey and driving time."""
    figures = await gather(connection, scope, ["speeding", "continuous_driving", "daily_driving"])
    frame = speed_frame(figures, numbers)
    for key, kind in (("over_continuous", "continuous_driving"), ("over_day", "daily_driving")):
        frame[key] = frame["vehicle_id"].map(figures.of_kind(kind)["vehicle_id"].value_counts()).fillna(0).astype(int)
    hours = figures.violations[figures.violations["kind"] != "speeding"]
    days = hours.groupby("vehicle_id")["day"].nunique()
    frame["violating_days"] = frame["vehicle_id"].map(days).fillna(0).astype(int)
    frame["days_percent"] = percent(frame["violating_days"], frame["operating_days"])
    columns = (
        Column("vehicle_id", "Biển số xe"),
        Column("operator", "Đơn vị vận tải"),
        *BAND_COLUMNS,
        Column("km", "Tổng số km", "km", "Hành trình"),
        Column("total", "Số lần vi phạm", "count", "Hành trình"),
        Column("km_percent", "Tỷ lệ km vi phạm (%)", "percent", "Hành trình"),
        Column("over_continuous", "Số lần quá 4 giờ liên tục", "count", "Thời gian lái xe"),
        Column("over_day", "Số lần quá 10 giờ/ngày", "count", "Thời gian lái xe"),
        Column("days_percent", "Tỷ lệ ngày vi phạm (%)", "percent", "Thời gian lái xe"),
        Column("note", "Ghi chú"),
    )
    totals = speed_totals(frame, numbers) | {
        "over_continuous": int(frame["over_continuous"].sum()),
        "over_day": int(frame["over_day"].sum()),
        "days_percent": _share(frame["violating_days"].sum(), frame["operating_days"].sum()),
    }
    return Report(
        "PL05", "Thống kê tình hình vi phạm theo đơn vị vận tải", scope.period, of(scope), columns, frame, totals,
        notes(
            scope, numbers, BAND_NOTE, rate_note(numbers),
            "Tỷ lệ ngày vi phạm: ngày có vi phạm thời gian lái xe trên ngày xe có hoạt động (quãng đường lớn hơn 0).",
        ),
    )  # fmt: skip


async def speed_statistics(connection: Connection, scope: Scope, numbers: ReportNumbers) -> Report:
    """PL08: each vehicle's speeding by count, distance and time."""
    frame = speed_frame(await gather(connection, scope, ["speeding"]), numbers)
    columns = (
        Column("vehicle_id", "Biển số xe"),
        Column("business", "Loại hình kinh doanh"),
        *BAND_COLUMNS,
        Column("over_km", "Số km vi phạm", "km", "Quãng đường"),
        Column("km", "Tổng số km", "km", "Quãng đường"),
        Column("km_percent", "Tỷ lệ (%)", "percent", "Quãng đường"),
        Column("over_s", "Thời gian vi phạm", "duration", "Thời gian"),
        Column("driving_s", "Tổng thời gian chạy", "duration", "Thời gian"),
        Column("time_percent", "Tỷ lệ (%)", "percent", "Thời gian"),
        Column("note", "Ghi chú"),
    )
    return Report(
        "PL08", "Thống kê vi phạm tốc độ", scope.period, of(scope), columns, frame, speed_totals(frame, numbers),
        notes(scope, numbers, BAND_NOTE, rate_note(numbers)),
    )  # fmt: skip


async def speed_details(connection: Connection, scope: Scope, numbers: ReportNumbers) -> Report:
    """PL14: every speeding violation."""
    figures = await gather(connection, scope, ["speeding"])
    frame = figures.violations.assign(
        start=places(figures.violations, "start"),
        end=places(figures.violations, "end"),
        km=figures.violations["distance_mm"].astype("float64") / 1e6,
        report_band_said=figures.violations["report_band"].map(_BANDS_SAID),
        fine_band_said=figures.violations["fine_band"].map(_BANDS_SAID),
        note=review_notes(figures.violations),
    )
    columns = (
        Column("vehicle_id", "Biển số xe"),
        Column("day", "Ngày", "date"),
        Column("started_at", "Bắt đầu", "time", "Thời điểm"),
        Column("ended_at", "Kết thúc", "time", "Thời điểm"),
        Column("duration_s", "Thời gian", "duration", "Thời điểm"),
        Column("start", "Bắt đầu", "place", "Tọa độ"),
        Column("end", "Kết thúc", "place", "Tọa độ"),
        Column("top_speed_kmh", "Tốc độ lớn nhất (km/h)", "kmh"),
        Column("limit_kmh", "Tốc độ giới hạn (km/h)", "kmh"),
        Column("report_band_said", "Mức vượt báo cáo (km/h)"),
        Column("fine_band_said", "Mức vượt xử phạt (km/h)"),
        Column("km", "Quãng đường vi phạm (km)", "km"),
        Column("note", "Ghi chú"),
    )
    return Report(
        "PL14", "Chi tiết vi phạm tốc độ", scope.period, of(scope), columns, frame,
        {"km": frame["distance_mm"].sum() / 1e6, "duration_s": frame["duration_us"].sum() / 1e6},
        notes(scope, numbers, BAND_NOTE, NO_PLACES),
    )  # fmt: skip


async def overspeed(connection: Connection, scope: Scope, numbers: ReportNumbers) -> Report:
    """QCVN 31: every speeding violation with its driver and the average speed while over."""
    figures = await gather(connection, scope, ["speeding"])
    business = figures.vehicles.set_index("vehicle_id")["kind"].map(KINDS)
    frame = (await with_drivers(connection, figures.violations)).assign(
        business=figures.violations["vehicle_id"].map(business),
        start=places(figures.violations, "start"),
        note=review_notes(figures.violations),
    )
    columns = (
        Column("vehicle_id", "Biển số xe"),
        Column("driver", "Họ tên lái xe"),
        Column("driver_id", "Số giấy phép lái xe"),
        Column("business", "Loại hình hoạt động"),
        Column("started_at", "Thời điểm", "time"),
        Column("mean_speed_kmh", "Tốc độ trung bình khi quá tốc độ (km/h)", "kmh"),
        Column("limit_kmh", "Tốc độ giới hạn (km/h)", "kmh"),
        Column("start", "Tọa độ", "place"),
        Column("note", "Ghi chú"),
    )
    return Report(
        "overspeed", "Báo cáo quá tốc độ giới hạn", scope.period, of(scope), columns, frame,
        notes=notes(scope, numbers, NO_PLACES),
    )  # fmt: skip


NO_PLACES = "Địa điểm ghi bằng tọa độ (vĩ độ, kinh độ)."


def speed_frame(figures: Figures, numbers: ReportNumbers) -> pd.DataFrame:
    """A row for each vehicle: counts by band, rate, kilometres and times, over and in all."""
    counts = by_vehicle(figures.of_kind("speeding"))
    frame = figures.vehicles.merge(counts, left_on="vehicle_id", right_index=True, how="left")
    whole = [*BANDS, "total", "distance_mm_y", "duration_us"]
    frame[whole] = frame[whole].astype("Int64").fillna(0).astype("int64")
    frame = frame.rename(columns={"distance_mm_x": "distance_mm", "distance_mm_y": "over_mm", "duration_us": "over_us"})
    return frame.assign(
        business=frame["kind"].map(KINDS),
        km=frame["distance_mm"] / 1e6,
        over_km=frame["over_mm"] / 1e6,
        km_percent=percent(frame["over_mm"], frame["distance_mm"]),
        driving_s=frame["driving_us"] / 1e6,
        over_s=frame["over_us"] / 1e6,
        time_percent=percent(frame["over_us"], frame["driving_us"]),
        rate=per_1000_km(frame["total"], frame["distance_mm"], numbers.badge_least_km),
        note=frame["registered"].map({True: "", False: "Chưa đăng ký"}),
    )


def speed_totals(frame: pd.DataFrame, numbers: ReportNumbers) -> dict[str, object]:
    """The last line: sums, and rates of the sums."""
    sums = {key: int(frame[key].sum()) for key in (*BANDS, "total", "distance_mm", "over_mm", "driving_us", "over_us")}
    km = sums["distance_mm"] / 1e6
    return {key: sums[key] for key in (*BANDS, "total")} | {
        "km": km,
        "over_km": sums["over_mm"] / 1e6,
        "km_percent": _share(sums["over_mm"], sums["distance_mm"]),
        "driving_s": sums["driving_us"] / 1e6,
        "over_s": sums["over_us"] / 1e6,
        "time_percent": _share(sums["over_us"], sums["driving_us"]),
        "rate": sums["total"] / km * 1000 if km >= numbers.badge_least_km and km > 0 else None,
    }


def of(scope: Scope) -> str:
    """Whom the report is about."""
    if scope.vehicle_id is not None:
        return f"Xe {scope.vehicle_id}"
    if scope.operator_id is not None:
        return f"Đơn vị vận tải: {scope.operator_name or scope.operator_id}"
    return f"Tỉnh, thành phố: {scope.province}" if scope.province is not None else "Toàn bộ phương tiện"


def places(violations: pd.DataFrame, which: str) -> pd.Series[str]:
    """ "latitude, longitude" of the start or the end; "" where it is not known."""
    lat, lon = violations[f"{which}_lat"], violations[f"{which}_lon"]
    return pd.Series(
        ["" if pd.isna(y) or pd.isna(x) else f"{y:.5f}, {x:.5f}" for y, x in zip(lat, lon, strict=True)],
        index=violations.index,
        dtype=object,
    )


def review_notes(violations: pd.DataFrame) -> pd.Series[str]:
    """What is not proven under every reading."""
    return violations["grade"].map({"review": "Cần xem xét", "confirmed": ""})


async def with_drivers(connection: Connection, violations: pd.DataFrame) -> pd.DataFrame:
    """With the drivers' names from the registry."""
    ids = violations["driver_id"].dropna().unique().tolist()
    cursor = await connection.execute("SELECT driver_id, name FROM drivers WHERE driver_id = ANY(%s)", (ids,))
    return violations.assign(driver=violations["driver_id"].map(dict(await cursor.fetchall())))


def _share(part: float, whole: float) -> float | None:
    return float(part / whole * 100) if whole else None
