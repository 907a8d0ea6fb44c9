"""The figures of a month on the dashboards, held against the month counted again. English panels: both languages ask
the same. What only tells of now (Control room, hours used up) is held against its own rows in other tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from dashboards.catalogue import FOLDER
from storage.connect import Connection
from tests.grafana import Query, View, queries
from tests.month.expected import BANDS, LEAST_MM, ZONE, Month, Table, Violation, rate_of
from tests.month.ledger import Ledger, keyed
from tests.month.recount import DAY_US, Recount, of_line

_WORST = 50
_NEWEST = 500
_UNTRUSTED = 100


class Panels:
    """Asks what Grafana asks."""

    def __init__(self, connection: Connection, month: Month, recount: Recount, ledger: Ledger) -> None:
        self._connection = connection
        self._month = month
        self._recount = recount
        self._ledger = ledger
        first, following = (datetime(d.year, d.month, 1, tzinfo=ZONE) for d in (month.first_day, month.next_day))
        self._view = View(first, following - timedelta(microseconds=1))
        self._queries = {
            (each.dashboard, each.panel["title"]): each for each in queries(FOLDER) if each.language == "en"
        }

    async def check(self, told: Callable[[str], None]) -> None:
        """Every panel that tells of the chosen month: of all vehicles, of each vehicle, of each driver."""
        told("comparing the panels of Violations")
        await self._violations()
        told("comparing the panels of Vehicle")
        await self._vehicles()
        told("comparing the panels of Driver")
        await self._drivers()

    async def _violations(self) -> None:
        vehicles, found = self._month.vehicles, self._month.violations
        distance_mm = sum(v.distance_mm for v in vehicles.values())
        speeding = self._month.of_kind("speeding")
        await self._one("violations", "Violations", len(found))
        await self._one("violations", "Of these, to be reviewed", sum(v["grade"] == "review" for v in found))
        await self._one("violations", "Vehicles with violations", len({v["vehicle_id"] for v in found}))
        await self._one("violations", "Kilometres driven", Fraction(distance_mm, 1_000_000))
        await self._one("violations", "Speeding per 1,000 km", rate_of(len(speeding), distance_mm))
        for title, by in (
            ("Violations by kind", lambda v: v["kind"]),
            ("Violations by operator", lambda v: self._month.operator_of(v["vehicle_id"]) or "unknown"),
            ("Violations by province", lambda v: self._month.province_of(v["vehicle_id"]) or "unknown"),
        ):
            await self._lines("violations", title, 1, _by_grade(found, by))
        hours = {f"{hour:02}": (0, 0) for hour in range(24)}
        by_hour = _by_grade(found, lambda v: f"{v['started_at'].astimezone(ZONE):%H}")
        await self._lines("violations", "Violations by time of day", 1, hours | by_hour)
        days = Counter((_midnight(v), v["kind"]) for v in found)
        await self._lines("violations", "Violations by day and kind", 2, {key: (n,) for key, n in days.items()})
        bands = {
            band: tuple(sum(v[name] == band for v in speeding) for name in ("fine_band", "report_band"))
            for band in BANDS
        }
        await self._lines("violations", "Speeding by band", 1, bands)
        rates = {
            name: (rate_of(v.total, v.distance_mm), v.total, Fraction(v.distance_mm, 1_000_000))
            for name, v in vehicles.items() if v.total and v.distance_mm >= LEAST_MM
        }  # fmt: skip
        worst = sorted(rates, key=lambda name: (-(rates[name][0] or 0), name))[:_WORST]
        await self._lines(
            "violations", "Worst vehicles: speeding per 1,000 km", 1, {name: rates[name] for name in worst}, columns=3
        )
        newest = sorted(found, key=lambda v: v["violation_id"])
        newest.sort(key=lambda v: v["started_us"], reverse=True)
        listed: Table = {
            (v["started_at"], v["vehicle_id"], v["kind"], v["grade"]): (
                v["status"], v["duration_s"], v["top_speed_kmh"], v["limit_kmh"], v["report_band"], v["fine_band"],
                v["actual_s"], v["limit_s"],
            )
            for v in newest[:_NEWEST]
        }  # fmt: skip
        await self._lines("violations", "List of violations", 4, listed, columns=8)

    async def _vehicles(self) -> None:
        first_us, next_us = self._month.begins_us, self._month.ends_us
        for name, vehicle in self._month.vehicles.items():
            days = [
                sums
                for (of, begin_us), sums in self._recount.days.items()
                if of == name and first_us <= begin_us < next_us
            ]
            if not days:
                continue
            await self._one("vehicle", "Distance", Fraction(vehicle.distance_mm, 1_000_000), vehicle=name)
            await self._one("vehicle", "Time driven", Fraction(vehicle.driving_us, 1_000_000), vehicle=name)
            top_kmh = max((each.top_speed_kmh for each in days if each.top_speed_kmh is not None), default=None)
            await self._one("vehicle", "Top speed", top_kmh, vehicle=name)
            mine = sum(v["vehicle_id"] == name for v in self._month.violations)
            await self._one("vehicle", "Violations", mine, vehicle=name)
            fixes, trusted = sum(each.fixes for each in days), sum(each.trusted_fixes for each in days)
            await self._one(
                "vehicle", "Positions not trusted", Fraction(_UNTRUSTED * (fixes - trusted), fixes), vehicle=name
            )

    async def _drivers(self) -> None:
        driven: dict[str, dict[int, int]] = {}
        for (line, day_us), driving_us in self._recount.driving_us.items():
            if line in self._month.registry.drivers and self._month.begins_us <= day_us < self._month.ends_us:
                driven.setdefault(line, {})[day_us] = driving_us
        for driver_id, days in sorted(driven.items()):
            await self._one("driver", "Time driven", Fraction(sum(days.values()), 1_000_000), driver=driver_id)
            mine = sum(of_line(v) == driver_id for v in self._month.violations)
            await self._one("driver", "Violations", mine, driver=driver_id)
            by_day: Table = {(_at(day_us),): (Fraction(us, 3_600_000_000),) for day_us, us in days.items() if us}
            await self._lines("driver", "Hours driven by day", 1, by_day, columns=1, driver=driver_id)

    async def _one(self, dashboard: str, title: str, expected: Any, **chosen: str) -> None:
        """A panel of one number."""
        rows = await self._rows(self._queries[dashboard, title], chosen)
        key = next(iter(chosen.values()), "")
        found: Table = {key: rows[0][:1]} if rows else {}
        nothing = expected is None and not rows
        self._ledger.compare(_named(dashboard, title), {} if nothing else {key: (expected,)}, found)

    async def _lines(
        self,
        dashboard: str,
        title: str,
        keys: int,
        expected: Mapping[Any, tuple[Any, ...]],
        columns: int | None = None,
        **chosen: str,
    ) -> None:
        """A panel of many rows, told apart by their first `keys` columns; of the others the first `columns`."""
        rows = await self._rows(self._queries[dashboard, title], chosen)
        until = None if columns is None else keys + columns
        table = keyed((_key(row[:keys]), row[keys:until]) for row in rows)
        self._ledger.compare(_named(dashboard, title), {_key_of(key): row for key, row in expected.items()}, table)

    async def _rows(self, query: Query, chosen: dict[str, str]) -> list[tuple[Any, ...]]:
        view = View(self._view.begin, self._view.end, {name: [value] for name, value in chosen.items()})
        return await (await self._connection.execute(view.expand(query.sql, query.variables).encode())).fetchall()


def _by_grade(violations: Iterable[Violation], by: Callable[[Violation], str]) -> dict[Hashable, tuple[int, int]]:
    """How many are confirmed, how many are to be reviewed."""
    counted = Counter((by(v), v["grade"]) for v in violations)
    return {name: (counted[name, "confirmed"], counted[name, "review"]) for name in {name for name, _ in counted}}


def _midnight(violation: Violation) -> datetime:
    at: datetime = violation["started_at"].astimezone(ZONE)
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


def _key(values: Sequence[Any]) -> Hashable:
    return values[0] if len(values) == 1 else tuple(values)


def _key_of(key: Hashable) -> Hashable:
    return _key(key) if isinstance(key, tuple) else key


def _named(dashboard: str, title: str) -> str:
    return f"panel {dashboard}: {title}"


def _at(us: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=us // DAY_US, microseconds=us % DAY_US)
