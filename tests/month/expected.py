"""What every report of a month must say, from the month counted again, the registry's files and the violations."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from tests.month.ledger import Change
from tests.month.recount import STOP_US, Recount, Sums, local_day

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
BANDS = ("5-10", "10-20", "20-35", "over 35")
_BUSINESS = {
    "taxi": "Taxi", "city_bus": "Xe buýt nội tỉnh", "fixed_route": "Tuyến cố định", "contract": "Hợp đồng",
    "container": "Công-ten-nơ", "goods": "Hàng hóa",
}  # fmt: skip
_BADGE_PER_1000_KM = 5
LEAST_MM = 100 * 1_000_000
_HOURS = ("continuous_driving", "daily_driving")

TOTAL = "Tổng cộng"
"""The key of the line of sums, where a report has one."""

Table = dict[Hashable, tuple[Any, ...]]
Violation = Mapping[str, Any]


class Registered(NamedTuple):
    """A vehicle as the registry's file has it."""

    kind: str
    operator_id: str
    limit_kmh: float | None


class Operator(NamedTuple):
    name: str
    province: str


@dataclass(frozen=True)
class Registry:
    """The files that were imported."""

    vehicles: Mapping[str, Registered]
    operators: Mapping[str, Operator]
    drivers: Mapping[str, str]
    """Names."""

    @classmethod
    def read(cls, folder: Path) -> Registry:
        return cls(
            {
                row["vehicle_id"]: Registered(
                    row["kind"], row["operator_id"], float(row["limit_kmh"]) if row["limit_kmh"] else None
                )
                for row in _rows(folder / "vehicles.csv")
            },
            {row["operator_id"]: Operator(row["name"], row["province"]) for row in _rows(folder / "operators.csv")},
            {row["driver_id"]: row["name"] for row in _rows(folder / "drivers.csv")},
        )

    def first(self) -> tuple[str, str]:
        """The first operator that has a vehicle, and its first vehicle."""
        return min((registered.operator_id, name) for name, registered in self.vehicles.items())

    def operator_id(self, vehicle_id: str) -> str | None:
        return self.vehicles[vehicle_id].operator_id if vehicle_id in self.vehicles else None

    def operator(self, vehicle_id: str) -> Operator | None:
        return self.operators[self.vehicles[vehicle_id].operator_id] if vehicle_id in self.vehicles else None

    def business(self, vehicle_id: str) -> str | None:
        return _BUSINESS[self.vehicles[vehicle_id].kind] if vehicle_id in self.vehicles else None


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@dataclass
class _Vehicle:
    """A vehicle's month."""

    distance_mm: int = 0
    driving_us: int = 0
    sending_days: int = 0
    operating_days: int = 0

    def __post_init__(self) -> None:
        self.bands: Counter[str] = Counter()
        self.over_mm: Counter[str] = Counter()
        self.over_us = 0
        self.kinds: Counter[str] = Counter()
        self.violating_days: set[tuple[str, int]] = set()
        """With a violation of driving time, by vehicle."""
        self.stops = 0

    @property
    def total(self) -> int:
        return self.bands.total()


class Month:
    """One month of all vehicles, or of those given."""

    def __init__(
        self, first_day: date, recount: Recount, registry: Registry, violations: Iterable[Violation],
        vehicle_ids: Collection[str] | None = None,
    ) -> None:  # fmt: skip
        self.first_day = first_day
        self.next_day = (first_day + timedelta(days=31)).replace(day=1)
        self.begins_us, self.ends_us = (
            _us(datetime(d.year, d.month, 1, tzinfo=ZONE)) for d in (first_day, self.next_day)
        )
        self.registry = registry
        self._recount = recount
        days = {
            key: sums for key, sums in recount.days.items()
            if self.begins_us <= key[1] < self.ends_us and (vehicle_ids is None or key[0] in vehicle_ids)
        }  # fmt: skip
        met = {vehicle_id for vehicle_id, _ in days} | set(registry.vehicles)
        self.vehicles = {name: _Vehicle() for name in sorted(met) if vehicle_ids is None or name in vehicle_ids}
        self.violations = [
            each for each in violations
            if each["vehicle_id"] in self.vehicles and self.begins_us <= each["started_us"] < self.ends_us
        ]  # fmt: skip
        self._add(days)

    def _add(self, days: Mapping[tuple[str, int], Sums]) -> None:
        for (vehicle_id, _), sums in days.items():
            vehicle = self.vehicles[vehicle_id]
            vehicle.distance_mm += sums.distance_mm
            vehicle.driving_us += sums.driving_us
            vehicle.sending_days += 1
            vehicle.operating_days += sums.distance_mm > 0
        for violation in self.violations:
            vehicle = self.vehicles[violation["vehicle_id"]]
            vehicle.kinds[violation["kind"]] += 1
            if violation["kind"] == "speeding":
                vehicle.bands[violation["report_band"]] += 1
                vehicle.over_mm[violation["report_band"]] += violation["distance_mm"]
                vehicle.over_us += violation["duration_us"]
            elif violation["kind"] in _HOURS:
                vehicle.violating_days.add((violation["vehicle_id"], local_day(violation["started_us"])))
        self.stops = [
            stop._replace(ends_us=min(stop.ends_us, self.ends_us)) for stop in self._recount.stops
            if stop.vehicle_id in self.vehicles and self.begins_us <= stop.begins_us < self.ends_us
            and stop.ends_us - stop.begins_us >= STOP_US
        ]  # fmt: skip
        for stop in self.stops:
            self.vehicles[stop.vehicle_id].stops += 1

    def of_kind(self, kind: str) -> list[Violation]:
        return [each for each in self.violations if each["kind"] == kind]

    # Each report as rows by key, columns in the order of the form.

    def pl05(self) -> Table:
        return self._lines(
            lambda vehicle_id, v: (
                vehicle_id, self.operator_of(vehicle_id), *_counts(v), _km(v.distance_mm), v.total,
                _percent(v.over_mm.total(), v.distance_mm), v.kinds["continuous_driving"],
                v.kinds["daily_driving"], _percent(len(v.violating_days), v.operating_days), self._note(vehicle_id),
            )
        )  # fmt: skip

    def pl08(self) -> Table:
        return self._lines(
            lambda vehicle_id, v: (
                vehicle_id, self.registry.business(vehicle_id), *_counts(v), _km(v.over_mm.total()),
                _km(v.distance_mm), _percent(v.over_mm.total(), v.distance_mm), _seconds(v.over_us),
                _seconds(v.driving_us), _percent(v.over_us, v.driving_us), self._note(vehicle_id),
            )
        )  # fmt: skip

    def pl14(self) -> Table:
        speeding = self.of_kind("speeding")
        duration_us, over_mm = (sum(v[name] for v in speeding) for name in ("duration_us", "distance_mm"))
        sums = (TOTAL, None, None, None, _seconds(duration_us), *[None] * 6, _km(over_mm), None)
        return {TOTAL: sums} | {
            (v["vehicle_id"], v["started_at"]): (
                v["vehicle_id"], v["started_at"].astimezone(ZONE).date(), v["started_at"], v["ended_at"],
                _seconds(v["duration_us"]), _place(v, "start"), _place(v, "end"), v["top_speed_kmh"], v["limit_kmh"],
                _said(v["report_band"]), _said(v["fine_band"]), _km(v["distance_mm"]), _review(v),
            )
            for v in speeding
        }  # fmt: skip

    def pl16(self) -> Table:
        return {key: (*row, _km(mm), note) for key, row, mm, note in self._drives("continuous_driving")}

    def pl17(self) -> Table:
        return {key: (*row, note) for key, row, _, note in self._drives("daily_driving")}

    def pl19(self) -> Table:
        today = datetime.now(ZONE).date() + timedelta(days=1)
        days = (min(self.next_day, today) - self.first_day).days
        registered = {name: v for name, v in self.vehicles.items() if name in self.registry.vehicles}
        whole = _sum_of(registered.values())
        silent_days = days * len(registered) - whole.sending_days
        table: Table = {TOTAL: (TOTAL, None, None, silent_days, whole.kinds["silence"], None)}
        table |= {
            name: (name, self.operator_of(name), "", days - v.sending_days, v.kinds["silence"], "")
            for name, v in registered.items()
        }
        return table

    def overspeed(self) -> Table:
        return {
            (v["vehicle_id"], v["started_at"]): (
                v["vehicle_id"], self._name(v["driver_id"]), v["driver_id"], self.registry.business(v["vehicle_id"]),
                v["started_at"], v["mean_speed_kmh"], v["limit_kmh"], _place(v, "start"), _review(v),
            )
            for v in self.of_kind("speeding")
        }  # fmt: skip

    def continuous(self) -> Table:
        return {
            (vehicle_id, began_at): (
                vehicle_id, name, driver_id, self.registry.business(vehicle_id), began_at, start, ended_at, end,
                actual_s / 60, note,
            )
            for _, (vehicle_id, name, driver_id, _, began_at, ended_at, actual_s, start, end), _, note in self._drives(
                "continuous_driving"
            )
        }  # fmt: skip

    def stop_list(self) -> Table:
        stood_us = sum(stop.ends_us - stop.begins_us for stop in self.stops)
        return {TOTAL: (TOTAL, *[None] * 4, Fraction(stood_us, 60_000_000), None, None)} | {
            (stop.vehicle_id, _at(stop.begins_us)): (
                stop.vehicle_id, self._name(stop.driver_id), stop.driver_id, self.registry.business(stop.vehicle_id),
                _at(stop.begins_us), Fraction(stop.ends_us - stop.begins_us, 60_000_000), stop.place, "",
            )
            for stop in self.stops
        }  # fmt: skip

    def by_vehicle(self) -> Table:
        return self._lines(
            lambda vehicle_id, v: (
                vehicle_id, self.registry.business(vehicle_id), _km(v.distance_mm),
                *(_percent(v.over_mm[band], v.distance_mm) for band in BANDS), *(v.bands[band] for band in BANDS),
                v.stops, self._note(vehicle_id),
            )
        )  # fmt: skip

    def by_driver(self) -> Table:
        driven: Counter[str] = Counter()
        for (driver_id, day_us), millimetres in self._recount.driver_mm.items():
            if self.begins_us <= day_us < self.ends_us:
                driven[driver_id] += millimetres
        bands: defaultdict[str, Counter[str]] = defaultdict(Counter)
        over_mm: defaultdict[str, Counter[str]] = defaultdict(Counter)
        drives: Counter[str] = Counter()
        for each in self.violations:
            driver_id = each["driver_id"]
            if driver_id is not None and each["kind"] == "speeding":
                bands[driver_id][each["report_band"]] += 1
                over_mm[driver_id][each["report_band"]] += each["distance_mm"]
            elif driver_id is not None and each["kind"] == "continuous_driving":
                drives[driver_id] += 1
        sums = [sum(each[band] for each in bands.values()) for band in BANDS]
        whole = (TOTAL, None, _km(driven.total()), *[None] * 4, *sums, drives.total(), None)
        table: Table = {TOTAL: whole}
        return table | {
            driver_id: (
                self._name(driver_id), driver_id, _km(driven[driver_id]),
                *(_percent(over_mm[driver_id][band], driven[driver_id]) for band in BANDS),
                *(bands[driver_id][band] for band in BANDS), drives[driver_id], "",
            )
            for driver_id in driven.keys() | bands.keys() | drives.keys()
        }  # fmt: skip

    def badge(self) -> Table:
        lines = self._lines(
            lambda vehicle_id, v: (
                vehicle_id,
                self.operator_of(vehicle_id),
                self.province_of(vehicle_id),
                self.registry.business(vehicle_id),
                *_counts(v),
                _km(v.distance_mm),
                self._note(vehicle_id),
            ),
            lambda v: (rate_of(v.total, v.distance_mm) or 0) >= _BADGE_PER_1000_KM,
        )
        return {key: row if key != TOTAL else (*row[:9], None, None, *row[11:]) for key, row in lines.items()}

    def national(self, before: Month) -> Table:
        provinces: defaultdict[str, list[str]] = defaultdict(list)
        for vehicle_id in self.vehicles:
            provinces[self.province_of(vehicle_id) or "Chưa xác định"].append(vehicle_id)
        lines: Table = {name: (name, *self._summary(members, before)) for name, members in provinces.items()}
        return lines | {TOTAL: (TOTAL, *self._summary(self.vehicles, before))}

    def _summary(self, members: Collection[str], before: Month) -> tuple[Any, ...]:
        """A line of the national summary after its name."""
        ours = [self.vehicles[name] for name in members]
        heard = sum(v.sending_days > 0 for v in ours)
        registered = sum(name in self.registry.vehicles for name in members)
        sending = sum(name in self.registry.vehicles and self.vehicles[name].sending_days > 0 for name in members)
        violating = sum(v.total > 0 for v in ours)
        counts = [sum(v.bands[band] for v in ours) for band in BANDS]
        distance_mm, over_mm = sum(v.distance_mm for v in ours), sum(sum(v.over_mm.values()) for v in ours)
        rate = rate_of(sum(counts), distance_mm)
        theirs = [before.vehicles[name] for name in members if name in before.vehicles]
        rate_before = rate_of(sum(v.total for v in theirs), sum(v.distance_mm for v in theirs))
        change = None if rate is None or rate_before is None else Change(rate_before, rate)
        return (
            registered, sending, _percent(sending, registered), heard - sending, violating,
            _percent(violating, heard), *counts, sum(counts), rate, rate_before, change, _km(distance_mm),
            _percent(over_mm, distance_mm), sum(v.kinds["continuous_driving"] for v in ours),
            sum(v.kinds["daily_driving"] for v in ours),
        )  # fmt: skip

    def _lines(
        self, line: Callable[[str, _Vehicle], tuple[Any, ...]], wanted: Callable[[_Vehicle], bool] = lambda _: True
    ) -> Table:
        """A line for each vehicle, and one of the sums."""
        ours = {name: vehicle for name, vehicle in self.vehicles.items() if wanted(vehicle)}
        lines: Table = {name: line(name, vehicle) for name, vehicle in ours.items()}
        return lines | {TOTAL: line(TOTAL, _sum_of(ours.values()))}

    def _drives(self, kind: str) -> Iterable[tuple[Hashable, tuple[Any, ...], int, str]]:
        for v in self.of_kind(kind):
            millimetres, began = self._recount.drives[v["violation_id"]]
            start = f"{began.lat:.5f}, {began.lon:.5f}" if began else ""
            row = (
                v["vehicle_id"], self._name(v["driver_id"]), v["driver_id"], v["started_at"].astimezone(ZONE).date(),
                v["began_at"], v["ended_at"], v["actual_s"], start, _place(v, "end"),
            )  # fmt: skip
            yield (v["vehicle_id"], v["began_at"]), row, millimetres, _review(v)

    def operator_of(self, vehicle_id: str) -> str | None:
        operator = self.registry.operator(vehicle_id)
        return operator.name if operator else None

    def province_of(self, vehicle_id: str) -> str | None:
        operator = self.registry.operator(vehicle_id)
        return operator.province if operator else None

    def _name(self, driver_id: str | None) -> str | None:
        return self.registry.drivers.get(driver_id) if driver_id else None

    def _note(self, vehicle_id: str) -> str:
        return "" if vehicle_id in self.registry.vehicles else "Chưa đăng ký"


def _sum_of(vehicles: Iterable[_Vehicle]) -> _Vehicle:
    whole = _Vehicle()
    for each in vehicles:
        whole.distance_mm += each.distance_mm
        whole.driving_us += each.driving_us
        whole.sending_days += each.sending_days
        whole.operating_days += each.operating_days
        whole.bands += each.bands
        whole.over_mm += each.over_mm
        whole.over_us += each.over_us
        whole.kinds += each.kinds
        whole.violating_days |= each.violating_days
        whole.stops += each.stops
    return whole


def _counts(vehicle: _Vehicle) -> tuple[Any, ...]:
    return *(vehicle.bands[band] for band in BANDS), vehicle.total, rate_of(vehicle.total, vehicle.distance_mm)


def rate_of(violations: int, distance_mm: int) -> Fraction | None:
    return Fraction(violations * 1_000_000_000, distance_mm) if distance_mm >= LEAST_MM else None


def _percent(part: int, whole: int) -> Fraction | None:
    return Fraction(part * 100, whole) if whole else None


def _km(millimetres: int) -> Fraction:
    return Fraction(millimetres, 1_000_000)


def _seconds(microseconds: int) -> Fraction:
    return Fraction(microseconds, 1_000_000)


def _place(violation: Violation, which: str) -> str:
    lat, lon = violation[f"{which}_lat"], violation[f"{which}_lon"]
    return "" if lat is None else f"{lat:.5f}, {lon:.5f}"


def _said(band: str) -> str:
    return "trên 35" if band == "over 35" else band


def _review(violation: Violation) -> str:
    return "Cần xem xét" if violation["grade"] == "review" else ""


def _us(at: datetime) -> int:
    return (at.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _at(us: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
