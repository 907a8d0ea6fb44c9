"""Keeps the sums per vehicle and hour or day (and per driver and hour, and the waypoints) equal to the stored fixes,
where marks say that they are not.

Continuous aggregates are refreshed over the marked hours that are over; what is newer they compute when they are
read. Elsewhere the marked rows are counted again from the fixes by primary key. Nothing before `upkeep.fixes_from` is
touched: its fixes are dropped, and counting them again would erase what they were worth.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from storage.connect import Connection
from storage.waypoints import choose_waypoints

_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_PAGE = 10_000
_ZONE = "Asia/Ho_Chi_Minh"

# A clock that is wrong says nothing about which hours a vehicle has left behind: detectors/checks.py, CLOCK, ROLLOVER.
_SOUND = "flags & 6 = 0"


class _Marked(NamedTuple):
    """An hour of a vehicle with its marks."""

    vehicle_id: str
    hour: datetime
    mark_ids: list[int]
    newest_at: datetime | None
    """Its newest fix with a sound clock."""
    is_over: bool
    """A later hour of the vehicle has begun: whatever is stored in this one from now on brings a mark."""
    is_due: bool
    """Something came since it was counted."""


class Turn(NamedTuple):
    """What one round of counting did."""

    hours: int
    """Of vehicles, counted again."""
    waiting: int
    """Marked, and not yet over."""


async def is_continuous(connection: Connection) -> bool:
    """Whether the sums are continuous aggregates."""
    cursor = await connection.execute("SELECT relkind = 'v' FROM pg_class WHERE oid = 'hour_sums'::regclass")
    row = await cursor.fetchone()
    return bool(row and row[0])


class Sums:
    """Works off the marks. One at a time: the caller holds the lock (`storage/upkeep.py`)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def bring_up_to_date(self) -> Turn:
        """Count every marked hour again. On a connection in autocommit mode, outside of a transaction."""
        began_at, fixes_from, sums_at = await self._upkeep()
        continuous = await is_continuous(self._connection)
        counted = waiting = 0
        today = _day_of(began_at)
        after: tuple[datetime | None, str] = (None, "")
        while True:
            page = await self._marked(after)
            if not page:
                break
            after = (page[-1].hour, page[-1].vehicle_id)
            # Hours that the aggregate computes when it is read keep their marks until they are over by the clock.
            page = [each for each in page if not continuous or each.hour + _HOUR <= began_at]
            kept = [each for each in page if each.hour >= fixes_from]
            due = [each for each in kept if each.is_due]
            if continuous:
                for name in ("hour_sums", "driver_hour_sums"):
                    await self._refresh(name, _ranges((each.hour for each in due), _HOUR))
                # Before the marks go: a stop in between must leave them.
                await self._refresh_days({each.hour for each in due}, today)
            async with self._connection.transaction():
                if not continuous:
                    await self._count(due)
                # An hour that is over too: by the fix after it, its last activity may have become known since.
                await choose_waypoints(self._connection, [each[:2] for each in kept if each.is_due or each.is_over])
                await self._settle(page)
            counted += len(due)
            waiting += sum(not each.is_over for each in page)
        if continuous and sums_at is not None and _day_of(sums_at) < today:
            await self._refresh("day_sums", [(_day_of(sums_at), today)])
        await self._connection.execute("UPDATE upkeep SET sums_at = %s", (began_at,))
        return Turn(counted, waiting)

    async def _upkeep(self) -> tuple[datetime, datetime, datetime | None]:
        cursor = await self._connection.execute(
            "SELECT clock_timestamp(), greatest(fixes_from, '0001-01-01Z'), sums_at FROM upkeep"
        )
        row = await cursor.fetchone()
        assert row is not None
        return row

    async def _marked(self, after: tuple[datetime | None, str]) -> list[_Marked]:
        """The next marked hours, oldest first."""
        cursor = await self._connection.execute(
            "SELECT m.vehicle_id, m.hour, m.mark_ids, n.newest_at, o.is_over,"
            " m.is_new OR coalesce(n.newest_at > m.counted_to, false)"
            " FROM (SELECT vehicle_id, hour, array_agg(stale_hour_id) AS mark_ids, max(counted_to) AS counted_to,"
            "   bool_or(counted_to IS NULL) AS is_new FROM stale_hours"
            "   WHERE (hour, vehicle_id) > (coalesce(%s::timestamptz, '-infinity'), %s)"
            "   GROUP BY hour, vehicle_id ORDER BY hour, vehicle_id LIMIT %s) m"
            " CROSS JOIN LATERAL (SELECT max(time) AS newest_at FROM fixes f WHERE f.vehicle_id = m.vehicle_id"
            f"  AND f.time >= m.hour AND f.time < m.hour + interval '1 hour' AND f.{_SOUND}) n"
            " CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM fixes f WHERE f.vehicle_id = m.vehicle_id"
            f"  AND f.time >= m.hour + interval '1 hour' AND f.{_SOUND}) AS is_over) o"
            " ORDER BY m.hour, m.vehicle_id",
            (*after, _PAGE),
        )
        return [_Marked(*row) for row in await cursor.fetchall()]

    async def _settle(self, page: Sequence[_Marked]) -> None:
        """Take the marks away. Of an hour that may still grow without another mark, one stays and says how far it is
        counted."""
        gone = [mark_id for each in page for mark_id in (each.mark_ids if each.is_over else each.mark_ids[1:])]
        await self._connection.execute("DELETE FROM stale_hours WHERE stale_hour_id = ANY(%b::int8[])", (gone,))
        kept = [(each.mark_ids[0], each.newest_at) for each in page if not each.is_over and each.is_due]
        await self._connection.execute(
            "UPDATE stale_hours s SET counted_to = coalesce(k.counted_to, '-infinity')"
            " FROM unnest(%b::int8[], %b::timestamptz[]) AS k(stale_hour_id, counted_to)"
            " WHERE s.stale_hour_id = k.stale_hour_id",
            ([each[0] for each in kept], [each[1] for each in kept]),
        )

    async def _count(self, due: Sequence[_Marked]) -> None:
        if not due:
            return
        keys = ([each.vehicle_id for each in due], [each.hour for each in due])
        await self._connection.execute(
            f"INSERT INTO hour_sums AS s (vehicle_id, hour, {_COLUMNS}) SELECT k.vehicle_id, k.hour, f.*"
            " FROM unnest(%b::text[], %b::timestamptz[]) AS k(vehicle_id, hour) CROSS JOIN LATERAL ("
            "  SELECT count(*) AS fixes, count(*) FILTER (WHERE flags = 0), bit_or(flags), sum(leg_mm)::int8,"
            "   sum(leg_driving_us)::int8, max(speed_kmh) FILTER (WHERE flags = 0), min(time), max(time)"
            "  FROM fixes f WHERE f.vehicle_id = k.vehicle_id AND f.time >= k.hour"
            f"   AND f.time < k.hour + interval '1 hour') f WHERE f.fixes > 0 {_TAKE_OVER.format('hour')}",
            keys,
        )
        await self._connection.execute(_COUNT_DRIVERS, keys)
        await self._connection.execute(
            f"INSERT INTO day_sums AS s (vehicle_id, begins_at, {_COLUMNS}) SELECT k.vehicle_id, k.begins_at, h.*"
            f" FROM (SELECT DISTINCT vehicle_id, date_trunc('day', hour, '{_ZONE}') AS begins_at"
            "   FROM unnest(%b::text[], %b::timestamptz[]) AS u(vehicle_id, hour)) k CROSS JOIN LATERAL ("
            "  SELECT sum(fixes)::int8 AS fixes, sum(trusted_fixes)::int8, bit_or(flags), sum(leg_mm)::int8,"
            "   sum(leg_driving_us)::int8, max(top_speed_kmh), min(first_at), max(last_at) FROM hour_sums h"
            "  WHERE h.vehicle_id = k.vehicle_id AND h.hour >= k.begins_at"
            f"   AND h.hour < k.begins_at + interval '24 hours') h WHERE h.fixes > 0 {_TAKE_OVER.format('begins_at')}",
            keys,
        )

    async def _refresh_days(self, hours: set[datetime], today: datetime) -> None:
        """The days before today of hours that have changed."""
        days = {day for day in map(_day_of, hours) if day < today}
        # TimescaleDB (2.29.2) does not see that a day in a time zone has changed when its first hour is the last of the
        # hours that did: it takes that hour's beginning for the end of the change.
        unseen = days & hours
        await self._refresh("day_sums", _ranges(days - unseen, _DAY))
        for begins_at in sorted(unseen):
            await self._connection.execute(
                "CALL refresh_continuous_aggregate('day_sums', %s::timestamptz, %s::timestamptz, force => true)",
                (begins_at, begins_at + _DAY),
            )

    async def _refresh(self, name: str, ranges: Sequence[tuple[datetime, datetime]]) -> None:
        for begin, end in ranges:
            await self._connection.execute(
                f"CALL refresh_continuous_aggregate('{name}', %s::timestamptz, %s::timestamptz)", (begin, end)
            )


def _ranges(begins: Iterable[datetime], length: timedelta) -> list[tuple[datetime, datetime]]:
    """Hours, or days, that follow each other as one, oldest first."""
    found: list[tuple[datetime, datetime]] = []
    for begin in sorted(set(begins)):
        if found and found[-1][1] == begin:
            found[-1] = (found[-1][0], begin + length)
        else:
            found.append((begin, begin + length))
    return found


def _day_of(time: datetime) -> datetime:
    """When its day began in Vietnam, which has no summer time."""
    local = time.astimezone(UTC) + _OFFSET
    return local.replace(hour=0, minute=0, second=0, microsecond=0) - _OFFSET


_OFFSET = timedelta(hours=7)
_COUNT_DRIVERS = """
WITH hours AS MATERIALIZED (
    SELECT vehicle_id, hour FROM unnest(%b::text[], %b::timestamptz[]) AS h(vehicle_id, hour)
), counted AS MATERIALIZED (
    SELECT h.hour, h.vehicle_id, f.* FROM hours h CROSS JOIN LATERAL (
        SELECT driver_id, sum(leg_mm)::int8 AS leg_mm, sum(leg_driving_us)::int8 AS leg_driving_us FROM fixes f
        WHERE f.vehicle_id = h.vehicle_id AND f.time >= h.hour AND f.time < h.hour + interval '1 hour'
            AND driver_id IS NOT NULL
        GROUP BY driver_id
    ) AS f
), gone AS (
    DELETE FROM driver_hour_sums s USING hours h WHERE s.hour = h.hour AND s.vehicle_id = h.vehicle_id
        AND NOT EXISTS (SELECT FROM counted c WHERE c.hour = s.hour AND c.vehicle_id = s.vehicle_id
            AND c.driver_id = s.driver_id)
)
INSERT INTO driver_hour_sums AS s (hour, vehicle_id, driver_id, leg_mm, leg_driving_us) SELECT * FROM counted
ON CONFLICT (hour, vehicle_id, driver_id) DO UPDATE
    SET leg_mm = excluded.leg_mm, leg_driving_us = excluded.leg_driving_us
    WHERE (s.leg_mm, s.leg_driving_us) <> (excluded.leg_mm, excluded.leg_driving_us)
"""
_NAMES = ("fixes", "trusted_fixes", "flags", "leg_mm", "leg_driving_us", "top_speed_kmh", "first_at", "last_at")
_COLUMNS = ", ".join(_NAMES)
_TAKE_OVER = "ON CONFLICT (vehicle_id, {}) DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in _NAMES)
