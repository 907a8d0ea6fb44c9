"""Stored fixes: written by binary COPY, settled by content where two differ, read back to be judged again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from psycopg import AsyncCursor

from detectors.fix import Fix
from detectors.fix_table import FixTable
from detectors.precedence import precedence
from storage.connect import Connection
from storage.copy_rows import COPY_END, COPY_HEADER, POSTGRES_EPOCH_US
from storage.fix_packing import FIELDS, Judged, packed

_COLUMNS = ", ".join(FIELDS)
_TIME_US = "(extract(epoch FROM {}) * 1000000)::int8"


class FixRow(NamedTuple):
    """A fix with what the judge made of it."""

    fix: Fix
    flags: int
    settled: bool
    received_us: int
    leg_mm: int = 0
    """Length of the leg from the trusted fix before; 0 for a flagged fix, a first one, or while it is not judged."""
    leg_driving_us: int = 0

    def values(self) -> tuple[Any, ...]:
        """In the order of the table's columns, times counted from PostgreSQL's epoch."""
        (vehicle_id, time_us, lat, lon, speed, driver, heading, ignition, door, odometer, satellites, hdop, valid) = (
            self.fix
        )
        return (
            vehicle_id, time_us - POSTGRES_EPOCH_US, driver, lat, lon, speed, heading, ignition, door, odometer,
            satellites, hdop, valid, self.flags, self.settled, self.received_us - POSTGRES_EPOCH_US, self.leg_mm,
            self.leg_driving_us,
        )  # fmt: skip


def rows_of(fixes: FixTable, judged: Judged) -> list[FixRow]:
    """Columns as rows."""
    return list(map(FixRow, map(fixes.fix, range(len(fixes))), *(column.tolist() for column in judged)))


def judged_of(rows: Sequence[FixRow]) -> Judged:
    """The columns of these rows beside their fixes."""
    columns = zip(*(row[1:] for row in rows), strict=True)
    return Judged(*(np.array(column, dtype) for column, dtype in zip(columns, _JUDGED_TYPES, strict=True)))


class Remark(NamedTuple):
    """What the judge makes of a stored fix now."""

    time_us: int
    flags: int
    settled: bool
    leg_mm: int
    leg_driving_us: int


class Settled(NamedTuple):
    """What became of fixes that may already be there. Indices are those of the rows given."""

    added: list[int]
    doubled: list[int]
    replaced: list[tuple[int, Fix]]
    """Rows that took the place of a stored fix, with the loser."""
    lost: list[int]
    """Rows that lost to a stored fix."""


class FixStore:
    """Reads and writes the table of fixes inside the caller's transaction."""

    def __init__(self, connection: Connection, alone: int) -> None:
        """`alone` is the mask of flags that a fix earns alone: they take part in which fix stands."""
        self._connection = connection
        self._alone = alone
        self._months: set[str] = set()

    async def make_room(self, months: Iterable[str]) -> None:
        """Make the partitions of these months ("2026-03"), in a transaction of their own."""
        for month in set(months) - self._months:
            await self._connection.execute("SELECT make_fix_partition(%s::timestamptz)", (f"{month}-01T00:00:00Z",))
            self._months.add(month)

    async def add_new(self, rows: Sequence[FixRow]) -> None:
        """Store fixes known to be newer than any of their vehicle. UniqueViolation if that is not so."""
        if rows:
            await self.add_table(FixTable.of([row.fix for row in rows]), judged_of(rows))

    async def add_table(self, fixes: FixTable, judged: Judged, ready: Callable[[], None] | None = None) -> None:
        """The same by column. `ready` is called when the database has begun to take them in, if there are any."""
        if len(fixes):
            await self._copy("fixes", fixes, judged, ready)

    async def settle(self, rows: Sequence[FixRow]) -> Settled:
        """Store fixes of which some may be there already; each (vehicle, time) at most once among them."""
        if not rows:
            return Settled([], [], [], [])
        connection = self._connection
        await connection.execute(
            "CREATE TEMP TABLE IF NOT EXISTS staged_fixes (LIKE fixes INCLUDING DEFAULTS) ON COMMIT DELETE ROWS"
        )
        await self._copy("staged_fixes", FixTable.of([row.fix for row in rows]), judged_of(rows))
        added_cursor = await connection.execute(
            f"INSERT INTO fixes ({_COLUMNS}) SELECT {_COLUMNS} FROM staged_fixes"
            f" ON CONFLICT (vehicle_id, time) DO NOTHING RETURNING vehicle_id, {_TIME_US.format('time')}"
        )
        added_keys = set(await added_cursor.fetchall())
        await connection.execute("DELETE FROM staged_fixes")
        keys = [(row.fix.vehicle_id, row.fix.time_us) for row in rows]
        there = [number for number, key in enumerate(keys) if key not in added_keys]
        settled = Settled([number for number, key in enumerate(keys) if key in added_keys], [], [], [])
        stored = await self._stored([keys[number] for number in there])
        for number in there:
            row, (old, old_flags) = rows[number], stored[keys[number]]
            if row.fix == old:
                settled.doubled.append(number)
            elif precedence(row.fix, row.flags & self._alone) < precedence(old, old_flags & self._alone):
                await self._replace(row)
                settled.replaced.append((number, old))
            else:
                settled.lost.append(number)
        return settled

    async def _copy(self, table: str, fixes: FixTable, judged: Judged, ready: Callable[[], None] | None = None) -> None:
        statement = f"COPY {table} ({_COLUMNS}) FROM STDIN (FORMAT binary)"
        async with self._connection.cursor() as cursor, cursor.copy(statement) as copy:
            if ready is not None:
                ready()
            await copy.write(COPY_HEADER)
            for rows in packed(fixes, judged):
                await copy.write(rows)
            await copy.write(COPY_END)

    async def _stored(self, keys: Sequence[tuple[str, int]]) -> dict[tuple[str, int], tuple[Fix, int]]:
        if not keys:
            return {}
        cursor = await self._connection.execute(
            f"SELECT {_FIX_FIELDS}, f.flags FROM unnest(%b::text[], %b::int8[]) AS k(vehicle_id, time_us)"
            " JOIN fixes f ON f.vehicle_id = k.vehicle_id"
            " AND f.time = timestamptz 'epoch' + k.time_us * interval '1 microsecond'",
            ([key[0] for key in keys], [key[1] for key in keys]),
        )
        rows = await cursor.fetchall()
        return {(row[0], row[1]): (Fix(*row[:13]), row[13]) for row in rows}

    async def _replace(self, row: FixRow) -> None:
        names = _COLUMNS.split(", ")
        values = row.values()
        changed = [(name, value) for name, value in zip(names, values, strict=True) if name not in _KEY_AND_TIMES]
        await self._connection.execute(
            f"UPDATE fixes SET {', '.join(f'{name} = %s' for name, _ in changed)}"
            " WHERE vehicle_id = %s AND time = timestamptz 'epoch' + %s * interval '1 microsecond'",
            (*(value for _, value in changed), row.fix.vehicle_id, row.fix.time_us),
        )

    async def stretch(
        self, vehicle_id: str, from_us: int | None, to_us: int, beyond: int
    ) -> tuple[list[StoredFix], bool]:
        """The fixes of a vehicle in time order, from a time (None: the first) to another and at most `beyond` after it.

        Also whether these are all there are.
        """
        time = "timestamptz 'epoch' + %s::int8 * interval '1 microsecond'"
        query = f"SELECT {_FIX_FIELDS}, {_JUDGED} FROM fixes f WHERE f.vehicle_id = %s AND f.time"
        cursor = await self._connection.execute(
            f"({query} BETWEEN coalesce({time}, '-infinity') AND {time} ORDER BY f.time)"
            f" UNION ALL ({query} > {time} AND f.time >= coalesce({time}, '-infinity') ORDER BY f.time LIMIT %s)"
            " ORDER BY 2",
            (vehicle_id, from_us, to_us, vehicle_id, to_us, from_us, beyond),
            binary=True,
        )
        stored = await _stored_fixes(cursor)
        return stored, len(stored) < beyond or stored[-beyond].fix.time_us <= to_us

    async def between(self, vehicle_id: str, from_us: int, before_us: int) -> list[StoredFix]:
        """The fixes of a vehicle from a time on and before another, in time order."""
        cursor = await self._connection.execute(
            f"SELECT {_FIX_FIELDS}, {_JUDGED} FROM fixes f WHERE f.vehicle_id = %s"
            " AND f.time >= timestamptz 'epoch' + %s * interval '1 microsecond'"
            " AND f.time < timestamptz 'epoch' + %s * interval '1 microsecond' ORDER BY f.time",
            (vehicle_id, from_us, before_us),
        )
        return await _stored_fixes(cursor)

    async def since(self, anchors: Sequence[tuple[str, int]]) -> list[StoredFix]:
        """What rebuilds each vehicle, by vehicle in the order given, then time: all its fixes from the newest settled
        one on, or from its anchor (microseconds) on where none is settled since.

        After a restart a country's million vehicles are read like this, most of them by a single fix.
        """
        cursor = await self._connection.execute(
            f"SELECT {_FIX_FIELDS}, {_JUDGED} FROM"
            " (SELECT vehicle_id, n, timestamptz 'epoch' + time_us * interval '1 microsecond' AS anchor"
            "  FROM unnest(%b::text[], %b::int8[]) WITH ORDINALITY AS u(vehicle_id, time_us, n)) a"
            " LEFT JOIN LATERAL (SELECT s.time FROM fixes s WHERE s.vehicle_id = a.vehicle_id AND s.time >= a.anchor"
            "  AND s.settled ORDER BY s.time DESC LIMIT 1) s ON true"
            " JOIN LATERAL (SELECT * FROM fixes f WHERE f.vehicle_id = a.vehicle_id"
            "  AND f.time >= coalesce(s.time, a.anchor) ORDER BY f.time) f ON true"
            " ORDER BY a.n, f.time",
            ([anchor[0] for anchor in anchors], [anchor[1] for anchor in anchors]),
        )
        return await _stored_fixes(cursor)

    async def settled_before(self, vehicle_id: str, time_us: int) -> int | None:
        """Time of the newest settled fix before a time."""
        cursor = await self._connection.execute(
            f"SELECT {_TIME_US.format('time')} FROM fixes WHERE vehicle_id = %s AND settled"
            " AND time < timestamptz 'epoch' + %s * interval '1 microsecond' ORDER BY time DESC LIMIT 1",
            (vehicle_id, time_us),
        )
        row = await cursor.fetchone()
        return None if row is None else row[0]

    async def settled_after(self, vehicle_id: str, time_us: int) -> int | None:
        """Time of the oldest settled fix after a time."""
        cursor = await self._connection.execute(
            f"SELECT {_TIME_US.format('time')} FROM fixes WHERE vehicle_id = %s AND settled"
            " AND time > timestamptz 'epoch' + %s * interval '1 microsecond' ORDER BY time LIMIT 1",
            (vehicle_id, time_us),
        )
        row = await cursor.fetchone()
        return None if row is None else row[0]

    async def lost_to(self, vehicle_id: str) -> int | None:
        """Up to when (microseconds) fixes of a vehicle were stored once and are no longer; None when all are there.

        A fix that came after its neighbours were dropped hides nothing: what they led to names the fix where it began.
        """
        cursor = await self._connection.execute(_LOST_TO, (vehicle_id,))
        row = await cursor.fetchone()
        return None if row is None else row[0]

    async def mark(self, vehicle_id: str, changed: Sequence[Remark]) -> None:
        """Set what the judge made of stored fixes of a vehicle."""
        for begin in range(0, len(changed), _AT_ONCE):
            some = changed[begin : begin + _AT_ONCE]
            await self._connection.execute(
                "UPDATE fixes f SET flags = n.flags, settled = n.settled, leg_mm = n.mm, leg_driving_us = n.driving_us"
                " FROM unnest(%b::int8[], %b::int4[], %b::bool[], %b::int8[], %b::int8[])"
                " AS n(time_us, flags, settled, mm, driving_us) WHERE f.vehicle_id = %b"
                " AND f.time = timestamptz 'epoch' + n.time_us * interval '1 microsecond'",
                (*(list(column) for column in zip(*some, strict=True)), vehicle_id),
            )

    async def places(self, moments: Sequence[tuple[str, int]]) -> list[tuple[float, float] | None]:
        """Where each vehicle was: its newest trusted fix at or before the time (microseconds)."""
        cursor = await self._connection.execute(
            "SELECT f.lat, f.lon FROM unnest(%b::text[], %b::int8[]) WITH ORDINALITY AS m(vehicle_id, time_us, n)"
            " LEFT JOIN LATERAL (SELECT lat, lon FROM fixes WHERE vehicle_id = m.vehicle_id AND flags = 0"
            " AND time <= timestamptz 'epoch' + m.time_us * interval '1 microsecond'"
            " ORDER BY time DESC LIMIT 1) f ON true ORDER BY m.n",
            ([moment[0] for moment in moments], [moment[1] for moment in moments]),
        )
        return [None if row[0] is None else (row[0], row[1]) for row in await cursor.fetchall()]


class StoredFix(NamedTuple):
    """A fix read back with what the judge made of it."""

    fix: Fix
    flags: int
    settled: bool
    leg_mm: int
    leg_driving_us: int


async def _stored_fixes(cursor: AsyncCursor[tuple[Any, ...]]) -> list[StoredFix]:
    """What a query for `_FIX_FIELDS` and `_JUDGED` found. A vehicle's day may be 86,400 fixes, and the event loop gets
    its turn on the way."""
    stored: list[StoredFix] = []
    while rows := await cursor.fetchmany(_AT_ONCE):
        stored += [StoredFix(Fix(*row[:13]), *row[13:]) for row in rows]
        await asyncio.sleep(0)
    return stored


_AT_ONCE = 2_000
"""Rows made into fixes, or written, between two turns of the event loop: about 10 ms."""
_JUDGED_TYPES = (np.int32, np.bool_, np.int64, np.int64, np.int64)
_JUDGED = "f.flags, f.settled, f.leg_mm, f.leg_driving_us"
_GONE = "NOT EXISTS (SELECT FROM fixes f WHERE f.vehicle_id = a.vehicle_id AND f.time = {})"
_LOST_TO = f"""
SELECT (extract(epoch FROM greatest(
    (SELECT f.time - interval '1 microsecond' FROM fixes f WHERE f.vehicle_id = a.vehicle_id
        AND NOT EXISTS (SELECT FROM fixes x WHERE x.vehicle_id = a.vehicle_id AND x.time <= a.first_at)
        ORDER BY f.time LIMIT 1),
    (SELECT max(c.time) FROM activity_changes c WHERE c.vehicle_id = a.vehicle_id AND {_GONE.format("c.time")}),
    (SELECT max(v.started_at) FROM violations v WHERE v.vehicle_id = a.vehicle_id AND v.kind IN ('speeding', 'silence')
        AND v.status <> 'withdrawn' AND {_GONE.format("v.started_at")})
)) * 1000000)::int8 FROM vehicle_anchors a WHERE a.vehicle_id = %s
"""
_KEY_AND_TIMES = {"vehicle_id", "time", "received_at"}
_FIX_FIELDS = (
    f"f.vehicle_id, {_TIME_US.format('f.time')}, f.lat, f.lon, f.speed_kmh, f.driver_id, f.heading_deg,"
    " f.ignition, f.door_open, f.odometer_km, f.satellites, f.hdop, f.valid"
)
