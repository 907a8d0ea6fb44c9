"""Every figure of a month as the database, the reports and the dashboards tell it, held against a recount."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from ingest.simulator import PlantedViolation
from storage.connect import Connection
from tests.month.expected import TOTAL, ZONE, Month, Registry, Table, Violation
from tests.month.ledger import Ledger, keyed
from tests.month.panels import Panels
from tests.month.reading import lines_of, totals_of
from tests.month.recount import DAY_US, LOCAL_US, Drive, Recount, add_track, of_line, tracks

MakeReport = Callable[..., Awaitable[None]]
"""As `hanhtrinh report` with these arguments."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LIMIT_US = {"daily_driving": 10 * 3_600_000_000, "weekly_driving": 48 * 3_600_000_000}
_WEEK_DAYS = 7


class _Report(NamedTuple):
    """What a report must say, and by which columns its lines are told apart."""

    table: Table
    key: tuple[int, ...]
    options: tuple[str, ...] = ()


class Agreement:
    """Compares as often as asked; results go to the ledger."""

    def __init__(
        self,
        connection: Connection,
        registry: Registry,
        make_report: MakeReport,
        folder: Path,
        month: date,
        ledger: Ledger,
        told: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`folder` takes the reports; `told` hears what is being done."""
        self._connection = connection
        self._registry = registry
        self._make_report = make_report
        self._folder = folder
        self._month = month
        self._ledger = ledger
        self._told = told

    async def check(self, when: str, planted: Sequence[PlantedViolation] | None = None) -> None:
        """Count everything again and compare; `planted` where all fixes are there."""
        self._ledger.when = when
        violations = await self._violations()
        recount = await self._recount(violations)
        self._told("comparing the sums")
        await self._sums(recount)
        self._told("comparing the violations")
        self._judged(recount, violations)
        if planted is not None:
            self._planted(violations, planted)
        await self._reports(recount, violations)

    async def check_reports(self) -> None:
        """Only the reports and panels, given the violations as they stand."""
        violations = await self._violations()
        await self._reports(await self._recount(violations), violations)

    async def _violations(self) -> list[Violation]:
        cursor = await self._connection.execute(
            "SELECT * FROM violations WHERE status <> 'withdrawn' AND excused_at IS NULL ORDER BY started_at"
        )
        names = [column.name for column in cursor.description or ()]
        found: list[Violation] = []
        for values in await cursor.fetchall():
            row = dict(zip(names, values, strict=True))
            row["started_us"], row["ended_us"] = _us(row["started_at"]), _us(row["ended_at"])
            row["duration_us"] = round(row["duration_s"] * 1e6)
            row["distance_mm"] = None if row["distance_m"] is None else round(row["distance_m"] * 1000)
            began = row["evidence"].get("driving_began_at")
            row["began_at"] = datetime.fromisoformat(began) if began else None
            found.append(row)
        return found

    async def _recount(self, violations: Iterable[Violation]) -> Recount:
        drives = [
            Drive(
                each["violation_id"], tuple(each["evidence"].get("vehicles") or [each["vehicle_id"]]),
                each["driver_id"], _us(each["began_at"]), each["ended_us"],
            )
            for each in violations if each["kind"] in ("continuous_driving", "daily_driving")
        ]  # fmt: skip
        recount = Recount()
        number = 0
        async for track in tracks(self._connection):
            number += 1
            self._told(f"counting the fixes of vehicle {number} again")
            registered = self._registry.vehicles.get(track.vehicle_id)
            add_track(recount, track, registered.limit_kmh if registered else None, drives)
        return recount

    async def _sums(self, recount: Recount) -> None:
        for view, begin, sums in (
            ("vehicle_hours", "hour", recount.hours),
            ("vehicle_days", "begins_at", recount.days),
        ):
            expected: Table = {
                (vehicle_id, _at(begin_us)): (
                    s.fixes, s.trusted_fixes, s.fixes - s.trusted_fixes, s.flags, s.distance_mm, s.driving_us,
                    s.distance_mm / 1000, s.driving_us / 1e6, s.top_speed_kmh, _at(s.first_us), _at(s.last_us),
                )
                for (vehicle_id, begin_us), s in sums.items()
            }  # fmt: skip
            found = await self._rows(
                f"SELECT vehicle_id, {begin}, fixes, trusted_fixes, flagged_fixes, flags, distance_mm, driving_us,"
                f" distance_m, driving_s, top_speed_kmh, first_at, last_at FROM {view}",
                2,
            )
            self._ledger.compare(view, expected, found)
        days: dict[Hashable, list[Any]] = {}
        for (vehicle_id, begin_us), s in recount.days.items():
            day = days.setdefault((self._registry.operator_id(vehicle_id), _at(begin_us)), [0, 0, 0, 0, 0, None])
            added = (1, s.fixes, s.trusted_fixes, s.distance_mm, s.driving_us)
            day[:5] = [one + more for one, more in zip(day, added, strict=False)]
            day[5] = max((each for each in (day[5], s.top_speed_kmh) if each is not None), default=None)
        found = await self._rows(
            "SELECT operator_id, begins_at, vehicles, fixes, trusted_fixes, distance_mm, driving_us, top_speed_kmh"
            " FROM operator_days",
            2,
        )
        self._ledger.compare("operator_days", {key: tuple(day) for key, day in days.items()}, found)

    async def _rows(self, query: str, keys: int) -> Table:
        rows = await (await self._connection.execute(query.encode())).fetchall()
        return keyed((tuple(row[:keys]), row[keys:]) for row in rows)

    def _judged(self, recount: Recount, violations: Sequence[Violation]) -> None:
        """The violations themselves against the fixes that prove them."""
        speeding: Table = {
            (each.vehicle_id, each.started_us): (
                each.driver_id, each.ended_us, each.fixes, each.top_speed_kmh, each.distance_mm,
            )
            for each in recount.speeding
        }  # fmt: skip
        self._ledger.compare(
            "violations: speeding",
            speeding,
            {
                (v["vehicle_id"], v["started_us"]): (
                    v["driver_id"], v["ended_us"], v["fixes"], v["top_speed_kmh"], v["distance_mm"],
                )
                for v in violations if v["kind"] == "speeding"
            },
        )  # fmt: skip
        for kind, length, driven in (
            ("daily_driving", 1, recount.driving_us),
            ("weekly_driving", _WEEK_DAYS, _by_week(recount.driving_us)),
        ):
            self._ledger.compare(
                f"violations: {kind.replace('_', ' ')}",
                {key: (us / 1e6,) for key, us in driven.items() if us > _LIMIT_US[kind]},
                {
                    (of_line(v), _period(v["started_us"], length)): (v["actual_s"],)
                    for v in violations
                    if v["kind"] == kind
                },
            )

    def _planted(self, violations: Sequence[Violation], planted: Sequence[PlantedViolation]) -> None:
        """What the simulator put into the month, and nothing else of these kinds."""
        for kind in ("speeding", "continuous_driving"):
            expected: Table = {
                (each.vehicle_id, each.started_us): (
                    each.driver_id, each.ended_us, each.fixes, each.limit_kmh, each.top_speed_kmh, each.excess_kmh,
                    each.limit_s, each.actual_s,
                )
                for each in planted if each.kind == kind
            }  # fmt: skip
            found: Table = {
                (v["vehicle_id"], v["started_us"]): (
                    v["driver_id"], v["ended_us"], v["fixes"], v["limit_kmh"], v["top_speed_kmh"], v["excess_kmh"],
                    v["limit_s"], v["actual_s"],
                )
                for v in violations if v["kind"] == kind
            }  # fmt: skip
            self._ledger.compare(f"planted: {kind.replace('_', ' ')}", expected, found)

    async def _reports(self, recount: Recount, violations: Sequence[Violation]) -> None:
        month = Month(self._month, recount, self._registry, violations)
        before = Month(_month_before(self._month), recount, self._registry, violations)
        for name, report in _whole(month, before).items():
            await self._report(name, name, report)
        confirmed = Month(self._month, recount, self._registry, [v for v in violations if v["grade"] == "confirmed"])
        await self._report("PL05, confirmed only", "PL05", _Report(confirmed.pl05(), (0,), ("--confirmed-only",)))
        for operator_id in sorted(self._registry.operators):
            ours = [name for name in month.vehicles if self._registry.operator_id(name) == operator_id]
            part = Month(self._month, recount, self._registry, violations, ours)
            await self._report("PL05 by operator", "PL05", _Report(part.pl05(), (0,), ("--operator", operator_id)))
        for province in sorted({each.province for each in self._registry.operators.values()}):
            ours = [name for name in month.vehicles if _province(self._registry, name) == province]
            part = Month(self._month, recount, self._registry, violations, ours)
            await self._report("PL08 by province", "PL08", _Report(part.pl08(), (0,), ("--province", province)))
        await self._journey()
        await Panels(self._connection, month, recount, self._ledger).check(self._told)

    async def _report(self, what: str, name: str, report: _Report) -> None:
        self._told(f"comparing {what}")
        path = self._folder / f"{name}.csv"
        try:
            await self._make_report(name, "--month", f"{self._month:%Y-%m}", "-o", str(path), *report.options)
        except RuntimeError as error:
            self._ledger.failed(f"report {what}", str(error))
            return
        expected = {_key(row, report.key): row for key, row in report.table.items() if key != TOTAL}
        self._ledger.compare(f"report {what}", expected, lines_of(path, report.key))
        if TOTAL in report.table and expected:
            path = path.with_suffix(".xlsx")
            await self._make_report(name, "--month", f"{self._month:%Y-%m}", "-o", str(path), *report.options)
            total = report.table[TOTAL]
            shown = totals_of(path)
            # Words of the line of sums are the form's.
            both = [place for place, value in enumerate(total) if not isinstance(value, str) and place > 0]
            self._ledger.compare(
                f"report {what}: sums",
                {TOTAL: tuple(total[place] for place in both)},
                {TOTAL: tuple(shown[place] for place in both)},
            )

    async def _journey(self) -> None:
        """The reports that list the fixes of one vehicle."""
        ((vehicle_id,),) = await (
            await self._connection.execute(
                "SELECT vehicle_id FROM vehicle_days GROUP BY 1 ORDER BY sum(fixes) DESC LIMIT 1"
            )
        ).fetchall()
        month = f"{self._month:%Y-%m}"
        cursor = await self._connection.execute(
            "SELECT time, lat, lon, speed_kmh FROM fixes WHERE vehicle_id = %s AND flags = 0"
            " AND to_char(time AT TIME ZONE 'Asia/Ho_Chi_Minh', 'YYYY-MM') = %s ORDER BY time",
            (vehicle_id, month),
        )
        rows = await cursor.fetchall()
        minutes: dict[datetime, list[str]] = {}
        for time, _, _, speed_kmh in rows:
            minutes.setdefault(time.replace(second=0, microsecond=0), []).append(f"{speed_kmh:g}")
        journey: Table = {time: (time, f"{lat:.5f}, {lon:.5f}", "") for time, lat, lon, _ in rows}
        speed: Table = {time: (time, ", ".join(speeds), "") for time, speeds in minutes.items()}
        for name, table in (("journey", journey), ("speed", speed)):
            await self._report(name, name, _Report(table, (0,), ("--vehicle", vehicle_id)))


def _whole(month: Month, before: Month) -> Mapping[str, _Report]:
    return {
        "PL05": _Report(month.pl05(), (0,)),
        "PL08": _Report(month.pl08(), (0,)),
        "PL14": _Report(month.pl14(), (0, 2)),
        "PL16": _Report(month.pl16(), (0, 4)),
        "PL17": _Report(month.pl17(), (0, 2, 4)),
        "PL19": _Report(month.pl19(), (0,)),
        "overspeed": _Report(month.overspeed(), (0, 4)),
        "continuous": _Report(month.continuous(), (0, 4)),
        "stops": _Report(month.stop_list(), (0, 4)),
        "vehicles": _Report(month.by_vehicle(), (0,)),
        "drivers": _Report(month.by_driver(), (1,)),
        "badge": _Report(month.badge(), (0,)),
        "national": _Report(month.national(before), (0,)),
    }


def _key(row: Sequence[Any], places: Sequence[int]) -> Hashable:
    """A line's key as the CSV file spells it."""
    told = [_spelled(row[place]) for place in places]
    return told[0] if len(told) == 1 else tuple(told)


def _spelled(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(ZONE).isoformat(sep=" ")
    return "" if value is None else str(value)


def _by_week(by_day: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], int]:
    weeks: dict[tuple[str, int], int] = {}
    for (line, day_us), driven_us in by_day.items():
        key = line, _period(day_us, _WEEK_DAYS)
        weeks[key] = weeks.get(key, 0) + driven_us
    return weeks


def _period(at_us: int, days: int) -> int:
    """The local day, or Monday, on which a moment's period began."""
    day = (at_us + LOCAL_US) // DAY_US
    # Day 0 was a Thursday.
    return (day - (day + 3) % days if days == _WEEK_DAYS else day) * DAY_US - LOCAL_US


def _province(registry: Registry, vehicle_id: str) -> str | None:
    operator = registry.operator(vehicle_id)
    return operator.province if operator else None


def _month_before(first_day: date) -> date:
    return (first_day - timedelta(days=1)).replace(day=1)


def _us(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def _at(us: int) -> datetime:
    return _EPOCH + us * _MICROSECOND
