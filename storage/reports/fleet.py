"""The month by vehicle, driver and province: transmission (PL19), QCVN 31 summaries, badge list, national summary."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pandas as pd

from detectors.rules import ReportNumbers
from storage.connect import Connection
from storage.reports.alphabet import vietnamese_order
from storage.reports.figures import BANDS, Figures, frame_of, gather, percent
from storage.reports.notes import BAND_NOTE, notes, rate_note, stop_note
from storage.reports.scope import ZONE, Scope
from storage.reports.speeding import BAND_COLUMNS, of, speed_frame, speed_totals, with_drivers
from storage.reports.standing import STOPS
from storage.reports.table import Column, Report

_SHARES = tuple(
    Column(f"{band} percent", column.title, "percent", "Tỷ lệ km quá tốc độ (%)")
    for band, column in zip(BANDS, BAND_COLUMNS, strict=False)
)

_STOPS = f"SELECT vehicle_id, count(*) AS stops FROM ({STOPS}) AS s GROUP BY vehicle_id"

# An array of ten thousand vehicles is joined, not searched for each row.
_DRIVEN = """
    SELECT driver_id, sum(distance_mm)::int8 AS distance_mm
    FROM driven_hours JOIN unnest(%(vehicles)s::text[]) AS v(vehicle_id) USING (vehicle_id)
    WHERE hour >= %(begins_at)s AND hour < %(ends_at)s
    GROUP BY driver_id
"""


async def transmission(
    connection: Connection, scope: Scope, numbers: ReportNumbers, today: date | None = None
) -> Report:
    """PL19: registered vehicles, and on how many days of the month nothing came from them."""
    today = today or (scope.as_of or datetime.now(ZONE)).astimezone(ZONE).date()
    days = max(0, (min(scope.next_day, today + timedelta(days=1)) - scope.first_day).days)
    figures = await gather(connection, scope, ["silence"])
    frame = figures.vehicles[figures.vehicles["registered"]].reset_index(drop=True)
    frame["silent_days"] = days - frame["sending_days"]
    silences = figures.violations["vehicle_id"].value_counts()
    frame["silences"] = frame["vehicle_id"].map(silences).fillna(0).astype(int)
    columns = (
        Column("vehicle_id", "Biển số xe"),
        Column("operator", "Đơn vị vận tải"),
        Column("provider", "Đơn vị truyền dữ liệu"),
        Column("silent_days", "Số ngày không truyền dữ liệu", "count"),
        Column("silences", "Số lần mất tín hiệu khi xe chạy", "count"),
        Column("note", "Ghi chú"),
    )
    frame = frame.assign(provider="", note="")
    return Report(
        "PL19", "Thống kê tình hình truyền dữ liệu", scope.period, of(scope), columns, frame,
        {"silent_days": int(frame["silent_days"].sum()), "silences": int(frame["silences"].sum())},
        notes(scope, numbers, f"Ngày không truyền dữ liệu: ngày không có bản tin nào, trong {days} ngày đã qua."),
    )  # fmt: skip


async def by_vehicle(connection: Connection, scope: Scope, numbers: ReportNumbers) -> Report:
    """QCVN 31: each vehicle's kilometres, share over the limit by band, counts, stops."""
    figures = await gather(connection, scope, ["speeding"])
    frame = _with_shares(speed_frame(figures, numbers), figures, "vehicle_id")
    parameters = {
        "vehicles": figures.vehicles["vehicle_id"].tolist(), "begins_at": scope.begins_at, "ends_at": scope.ends_at,
        "least_s": numbers.stop_least_s,
    }  # fmt: skip
    stops = (await frame_of(connection, _STOPS, parameters)).set_index("vehicle_id")["stops"]
    frame["stops"] = frame["vehicle_id"].map(stops).fillna(0).astype(int)
    columns = (
        Column("vehicle_id", "Biển số xe"),
        Column("business", "Loại hình hoạt động"),
        Column("km", "Tổng km", "km"),
        *_SHARES,
        *BAND_COLUMNS[:4],
        Column("stops", "Số lần dừng đỗ", "count"),
        Column("note", "Ghi chú"),
    )
    totals = speed_totals(frame, numbers) | _total_shares(figures, frame) | {"stops": int(frame["stops"].sum())}
    return Report(
        "vehicles", "Báo cáo tổng hợp theo xe", scope.period, of(scope), columns, frame, totals,
        notes(scope, numbers, BAND_NOTE, stop_note(numbers)),
    )  # fmt: skip


async def by_driver(connection: Connection, scope: Scope, numbers: ReportNumbers) -> Report:
    """QCVN 31: each driver's kilometres, share over the limit by band, counts, drives over four hours."""
    figures = await gather(connection, scope, ["speeding", "continuous_driving"])
    parameters = {
        "vehicles": figures.vehicles["vehicle_id"].tolist(),
        "begins_at": scope.begins_at,
        "ends_at": scope.ends_at,
    }
    driven = await frame_of(connection, _DRIVEN, parameters)
    named = figures.violations.dropna(subset=["driver_id"])
    ids = sorted({*driven["driver_id"], *named["driver_id"]})
    frame = await with_drivers(connection, pd.DataFrame({"driver_id": pd.Series(ids, dtype=object)}))
    frame["distance_mm"] = (
        frame["driver_id"].map(driven.set_index("driver_id")["distance_mm"]).astype("Int64").fillna(0).astype("int64")
    )
    speeding = named[named["kind"] == "speeding"]
    counts = pd.crosstab(speeding["driver_id"], speeding["report_band"]).reindex(columns=list(BANDS), fill_value=0)
    for band in BANDS:
        frame[band] = frame["driver_id"].map(counts[band]).fillna(0).astype(int)
    drives = named[named["kind"] == "continuous_driving"]["driver_id"].value_counts()
    frame["over_continuous"] = frame["driver_id"].map(drives).fillna(0).astype(int)
    frame = _with_shares(frame.assign(km=frame["distance_mm"] / 1e6, note=""), figures, "driver_id")
    columns = (
        Column("driver", "Họ tên lái xe"),
        Column("driver_id", "Số giấy phép lái xe"),
        Column("km", "Tổng km", "km"),
        *_SHARES,
        *BAND_COLUMNS[:4],
        Column("over_continuous", "Số lần lái xe liên tục quá 4 giờ", "count"),
        Column("note", "Ghi chú"),
    )
    totals = {key: frame[key].sum() for key in (*BANDS, "over_continuous")}
    totals["km"] = frame["distance_mm"].sum() / 1e6
    return Report(
        "drivers", "Báo cáo tổng hợp theo lái xe", scope.period, of(scope), columns, frame, totals,
        notes(scope, numbers, BAND_NOTE, "Quãng đường theo lái xe ghi trong bản tin."),
    )  # fmt: skip


async def badge(connection: Connection, scope: Scope, numbers: ReportNumbers) -> Report:
    """The vehicles whose badge is to be revoked: so many violations per 1,000 km in the month."""
    frame = speed_frame(await gather(connection, scope, ["speeding"]), numbers)
    over = frame[frame["rate"] >= numbers.badge_per_1000_km].sort_values("rate", ascending=False, kind="stable")
    columns = (
        Column("vehicle_id", "Biển số xe"),
        Column("operator", "Đơn vị vận tải"),
        Column("province", "Tỉnh, thành phố"),
        Column("business", "Loại hình kinh doanh"),
        *BAND_COLUMNS,
        Column("km", "Tổng số km", "km"),
        Column("note", "Ghi chú"),
    )
    return Report(
        "badge", f"Danh sách xe vi phạm tốc độ từ {numbers.badge_per_1000_km:g} lần trên 1.000 km", scope.period,
        of(scope), columns, over.reset_index(drop=True), {key: int(over[key].sum()) for key in (*BANDS, "total")},
        notes(scope, numbers, BAND_NOTE, rate_note(numbers)),
    )  # fmt: skip


async def national(connection: Connection, scope: Scope, numbers: ReportNumbers) -> Report:
    """Each province in the month, compared with the month before."""
    kinds = ["speeding", "continuous_driving", "daily_driving"]
    now = _provinces(await gather(connection, scope, kinds), numbers)
    before = _provinces(await gather(connection, scope.before(), kinds), numbers)
    total_now, total_before = _sums(now, numbers), _sums(before, numbers)
    frame = now.join(before["rate"].rename("rate_before"), how="left").reset_index()
    frame["rate_change"] = frame["rate"] - frame["rate_before"]
    frame = frame.iloc[sorted(frame.index, key=lambda row: _province_order(frame["province"][row]))]
    frame = frame.reset_index(drop=True).assign(note="")
    rate_now, rate_before = total_now["rate"], total_before["rate"]
    totals = total_now | {"rate_before": rate_before}
    if isinstance(rate_now, float) and isinstance(rate_before, float):
        totals["rate_change"] = rate_now - rate_before
    columns = (
        Column("province", "Tỉnh, thành phố"),
        Column("registered", "Đăng ký", "count", "Số xe"),
        Column("sending", "Truyền dữ liệu", "count", "Số xe"),
        Column("sending_percent", "Tỷ lệ truyền (%)", "percent", "Số xe"),
        Column("unregistered", "Chưa đăng ký, có dữ liệu", "count", "Số xe"),
        Column("violating", "Vi phạm tốc độ", "count", "Số xe"),
        Column("violating_percent", "Tỷ lệ vi phạm (%)", "percent", "Số xe"),
        *BAND_COLUMNS,
        Column("rate_before", "Tháng trước", "rate", "So sánh số lần/1.000 km"),
        Column("rate_change", "Tăng, giảm", "rate", "So sánh số lần/1.000 km"),
        Column("km", "Tổng số km", "km", "Quãng đường"),
        Column("km_percent", "Tỷ lệ km vi phạm (%)", "percent", "Quãng đường"),
        Column("over_continuous", "Quá 4 giờ liên tục", "count", "Thời gian lái xe"),
        Column("over_day", "Quá 10 giờ/ngày", "count", "Thời gian lái xe"),
    )
    return Report(
        "national", "Tổng hợp tình hình vi phạm theo tỉnh, thành phố", scope.period, of(scope), columns, frame, totals,
        notes(
            scope, numbers, BAND_NOTE, rate_note(numbers),
            "Tỷ lệ xe vi phạm tính trên mọi xe có dữ liệu, kể cả xe chưa đăng ký.",
        ),
    )  # fmt: skip


_UNKNOWN_PROVINCE = "Chưa xác định"


def _province_order(name: str) -> tuple[bool, object]:
    return name == _UNKNOWN_PROVINCE, vietnamese_order(name)


def _provinces(figures: Figures, numbers: ReportNumbers) -> pd.DataFrame:
    """Sums by province."""
    frame = speed_frame(figures, numbers)
    for key, kind in (("over_continuous", "continuous_driving"), ("over_day", "daily_driving")):
        frame[key] = frame["vehicle_id"].map(figures.of_kind(kind)["vehicle_id"].value_counts()).fillna(0).astype(int)
    frame["province"] = frame["province"].fillna(_UNKNOWN_PROVINCE)
    heard = frame["sending_days"] > 0
    frame["heard"] = heard.astype(int)
    frame["sending"] = (heard & frame["registered"]).astype(int)
    frame["unregistered"] = (heard & ~frame["registered"]).astype(int)
    frame["violating"] = (frame["total"] > 0).astype(int)
    frame["registered"] = frame["registered"].astype(int)
    whole = [
        "heard",
        "registered",
        "sending",
        "unregistered",
        "violating",
        *BANDS,
        "total",
        "distance_mm",
        "over_mm",
        "over_continuous",
        "over_day",
    ]
    sums = frame.groupby("province")[whole].sum()
    return _with_rates(sums, numbers)


def _with_rates(sums: pd.DataFrame, numbers: ReportNumbers) -> pd.DataFrame:
    km = sums["distance_mm"] / 1e6
    return sums.assign(
        km=km,
        km_percent=percent(sums["over_mm"], sums["distance_mm"]),
        sending_percent=percent(sums["sending"], sums["registered"]),
        violating_percent=percent(sums["violating"], sums["heard"]),
        rate=(sums["total"] / km * 1000).where((km >= numbers.badge_least_km) & (km > 0)),
    )


def _sums(provinces: pd.DataFrame, numbers: ReportNumbers) -> dict[str, object]:
    whole = provinces[[name for name in provinces if pd.api.types.is_integer_dtype(provinces[name])]]
    line = _with_rates(whole.sum().to_frame().T, numbers).iloc[0]
    return {name: None if pd.isna(value) else float(value) for name, value in line.items()}  # type: ignore[misc]


def _with_shares(frame: pd.DataFrame, figures: Figures, subject: str) -> pd.DataFrame:
    """With the share of the kilometres that each band makes out."""
    speeding = figures.of_kind("speeding")
    metres = speeding.pivot_table(index=subject, columns="report_band", values="distance_mm", aggfunc="sum")
    for band in BANDS:
        over = frame[subject].map(metres[band]) if band in metres else pd.Series(0, index=frame.index)
        frame[f"{band} percent"] = percent(over.astype("float64").fillna(0), frame["distance_mm"])
    return frame


def _total_shares(figures: Figures, frame: pd.DataFrame) -> dict[str, object]:
    speeding, whole = figures.of_kind("speeding"), int(frame["distance_mm"].sum())
    over = {band: int(speeding[speeding["report_band"] == band]["distance_mm"].sum()) for band in BANDS}
    return {f"{band} percent": over[band] / whole * 100 if whole else None for band in BANDS}
