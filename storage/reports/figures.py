"""What reports are computed from: the vehicles, what they drove in the month, and their violations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from storage.connect import Connection
from storage.reports.alphabet import vietnamese_order
from storage.reports.scope import ZONE, Scope

BANDS = ("5-10", "10-20", "20-35", "over 35")
"""The report convention's, least first."""

KINDS: Mapping[str, str] = {
    "taxi": "Taxi",
    "city_bus": "Xe buýt nội tỉnh",
    "fixed_route": "Tuyến cố định",
    "contract": "Hợp đồng",
    "tourist": "Du lịch",
    "container": "Công-ten-nơ",
    "goods": "Hàng hóa",
    "internal": "Vận tải nội bộ",
}
"""Business types in the words of the forms."""

_VEHICLES = """
    WITH met AS (
        SELECT vehicle_id FROM vehicles
        UNION SELECT vehicle_id FROM vehicle_days WHERE begins_at >= %(begins_at)s AND begins_at < %(ends_at)s
    )
    SELECT vehicle_id, v.kind, v.operator_id, o.name AS operator, o.province, v.vehicle_id IS NOT NULL AS registered
    FROM met LEFT JOIN vehicles v USING (vehicle_id) LEFT JOIN operators o USING (operator_id)
    WHERE (%(operator_id)s::text IS NULL OR v.operator_id = %(operator_id)s)
        AND (%(province)s::text IS NULL OR o.province = %(province)s)
        AND (%(vehicle_id)s::text IS NULL OR vehicle_id = %(vehicle_id)s)
"""

_DAYS = """
    SELECT vehicle_id, sum(distance_mm)::int8 AS distance_mm, sum(driving_us)::int8 AS driving_us,
        count(*) FILTER (WHERE fixes > 0) AS sending_days, count(*) FILTER (WHERE distance_mm > 0) AS operating_days
    FROM vehicle_days WHERE begins_at >= %(begins_at)s AND begins_at < %(ends_at)s
        AND (%(vehicle_id)s::text IS NULL OR vehicle_id = %(vehicle_id)s)
    GROUP BY vehicle_id
"""

_VIOLATIONS = """
    SELECT violation_id, kind, grade, vehicle_id, driver_id, started_at, ended_at, duration_s, start_lat, start_lon,
        end_lat, end_lon, limit_kmh, top_speed_kmh, mean_speed_kmh, excess_kmh, fine_band, report_band, distance_m,
        limit_s, actual_s, evidence, (started_at AT TIME ZONE 'Asia/Ho_Chi_Minh')::date AS day
    FROM violations
    WHERE status <> 'withdrawn' AND excused_at IS NULL AND started_at >= %(begins_at)s AND started_at < %(ends_at)s
        AND kind = ANY(%(kinds)s) AND (NOT %(confirmed_only)s OR grade = 'confirmed')
        AND (%(vehicle_id)s::text IS NULL OR vehicle_id = %(vehicle_id)s)
    ORDER BY started_at, violation_id
"""


@dataclass(frozen=True)
class Figures:
    """The month of one scope. Frames are indexed 0..n-1; sums are whole millimetres and microseconds."""

    vehicles: pd.DataFrame
    """vehicle_id, kind, operator_id, operator, province, registered; with distance_mm, driving_us, sending_days and
    operating_days of the month, 0 where there was nothing."""
    violations: pd.DataFrame
    """Those of the vehicles above, neither withdrawn nor excused; by the time they began."""

    def of_kind(self, kind: str) -> pd.DataFrame:
        """The violations of one kind."""
        return self.violations[self.violations["kind"] == kind]


async def gather(connection: Connection, scope: Scope, kinds: Sequence[str]) -> Figures:
    """Read what a report over `scope` needs."""
    parameters = {
        "begins_at": scope.begins_at, "ends_at": scope.ends_at, "operator_id": scope.operator_id,
        "province": scope.province, "vehicle_id": scope.vehicle_id, "kinds": list(kinds),
        "confirmed_only": scope.confirmed_only,
    }  # fmt: skip
    vehicles = _in_order(await frame_of(connection, _VEHICLES, parameters))
    days = await frame_of(connection, _DAYS, parameters)
    vehicles = vehicles.merge(days, on="vehicle_id", how="left").astype({"registered": "bool"})
    sums = ["distance_mm", "driving_us", "sending_days", "operating_days"]
    vehicles[sums] = vehicles[sums].astype("Int64").fillna(0).astype("int64")
    violations = await frame_of(connection, _VIOLATIONS, parameters)
    ours = violations[violations["vehicle_id"].isin(set(vehicles["vehicle_id"]))].reset_index(drop=True)
    # Whole numbers, as the judge counted them: their sums are exact.
    ours["distance_mm"] = (ours["distance_m"].astype("float64") * 1000).round().astype("Int64")
    ours["duration_us"] = (ours["duration_s"].astype("float64") * 1_000_000).round().astype("Int64")
    for name in ("started_at", "ended_at"):
        ours[name] = pd.to_datetime(ours[name], utc=True).dt.tz_convert(ZONE)
    return Figures(vehicles, ours)


def _in_order(vehicles: pd.DataFrame) -> pd.DataFrame:
    """By operator, those without one last; by plate within."""
    names = {name: vietnamese_order(name) for name in vehicles["operator"].dropna().unique()}
    keys = [
        (name not in names, names.get(name), plate)
        for name, plate in zip(vehicles["operator"], vehicles["vehicle_id"], strict=True)
    ]
    return vehicles.iloc[sorted(range(len(keys)), key=keys.__getitem__)].reset_index(drop=True)


async def frame_of(connection: Connection, query: str, parameters: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of a query."""
    cursor = await connection.execute(query.encode(), parameters)
    names = [column.name for column in cursor.description or ()]
    return pd.DataFrame(await cursor.fetchall(), columns=names)


def per_1000_km(violations: pd.Series[Any], distance_mm: pd.Series[Any], least_km: float) -> pd.Series[Any]:
    """Violations per 1,000 km; NaN below `least_km`, where the rate says nothing."""
    km = distance_mm / 1e6
    return (violations / km * 1000).where((km >= least_km) & (km > 0))


def percent(part: pd.Series[Any], whole: pd.Series[Any]) -> pd.Series[Any]:
    """Part of the whole; NaN of nothing."""
    return (part / whole * 100).where(whole > 0)


def by_vehicle(violations: pd.DataFrame) -> pd.DataFrame:
    """Of each vehicle with speeding violations, by its id: counts by report band, total, millimetres, microseconds."""
    counts = pd.crosstab(violations["vehicle_id"], violations["report_band"]).reindex(columns=list(BANDS), fill_value=0)
    sums = violations.groupby("vehicle_id")[["distance_mm", "duration_us"]].sum()
    return counts.join(sums).assign(total=counts.sum(axis=1))
