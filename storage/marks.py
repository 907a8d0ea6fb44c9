"""Marks: vehicles whose past must be judged again, because fixes came late, the registry changed or somebody asked.

A mark stands until all of its stretch is judged again: whatever is killed meanwhile, the next worker goes on. The row
is the truth about it; what a worker remembers says only when to look at the row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from storage.connect import Connection

_TIME = "timestamptz 'epoch' + {} * interval '1 microsecond'"
_TIME_US = "(extract(epoch FROM {}) * 1000000)::int8"

TO_THE_END_US = 253_402_214_400_000_000
"""The last day of the year 9999: a mark up to here is a mark up to the newest fix."""


class Mark(NamedTuple):
    """A vehicle whose past changed between two times (microseconds)."""

    vehicle_id: str
    partition: int
    from_us: int
    to_us: int
    late_fixes: int
    reasons: tuple[str, ...] = ()
    """Why, beside the late fixes."""

    @property
    def why(self) -> str:
        """For the revisions of what changes."""
        return "; ".join([*([f"{self.late_fixes} late fixes"] if self.late_fixes else []), *self.reasons])


class MarkStore:
    """Reads and writes marks inside the caller's transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def save(self, log_id: str, marks: Sequence[Mark]) -> None:
        """Widen the marks of these vehicles. The caller holds the partitions in which they are."""
        for mark in marks:
            await self._connection.execute(
                "INSERT INTO rejudge_marks AS m"
                " (vehicle_id, log_id, partition, from_time, to_time, late_fixes, reasons)"
                f" VALUES (%s, %s, %s, {_TIME.format('%s')}, {_TIME.format('%s')}, %s, %s) {_WIDEN}",
                (mark.vehicle_id, log_id, *mark[1:5], list(mark.reasons)),
            )

    async def registry_changed(self, reasons: Mapping[str, Sequence[str]]) -> None:
        """Have these vehicles judged by their new entries from their newest settled fix on.

        Vehicles without stored fixes need no mark. No worker commits until the caller's transaction ends: what is
        stored after it is judged by the new entry or lies under the mark. From now on the vehicles are rebuilt from
        that settled fix on: what the new entry would say of earlier ones must not enter their state.
        """
        by_reasons: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for vehicle_id, why in reasons.items():
            by_reasons[tuple(why)].append(vehicle_id)
        await self._stop_workers()
        for why, vehicle_ids in by_reasons.items():
            await self._connection.execute(_MARK_FROM_SETTLED, (vehicle_ids, TO_THE_END_US, list(why)))

    async def rule_pack_changed(self, driver_ids: Sequence[str]) -> None:
        """Have the running drive, day and week of these drivers judged by their new packs."""
        await self._stop_workers()
        await self._connection.execute(_MARK_WHERE_LAST_DRIVEN, (list(driver_ids),))

    async def ask(self, log_id: str, marks: Sequence[Mark]) -> None:
        """Widen the marks of these vehicles, for whoever does not hold their partitions."""
        await self._stop_workers()
        await self.save(log_id, marks)

    async def left(self, vehicle_ids: Sequence[str], reason: str) -> list[tuple[str, Mark]]:
        """The marks of these vehicles that still wait for this reason, each with its log."""
        cursor = await self._connection.execute(
            f"SELECT log_id, {_COLUMNS} FROM rejudge_marks WHERE vehicle_id = ANY(%s) AND %s = ANY(reasons)"
            " ORDER BY log_id, partition, vehicle_id",
            (list(vehicle_ids), reason),
        )
        return [(row[0], _mark(row[1:])) for row in await cursor.fetchall()]

    async def _stop_workers(self) -> None:
        await self._connection.execute("SELECT FROM log_positions ORDER BY log_id, partition FOR SHARE")

    async def late(self, log_id: str, partitions: Sequence[int]) -> list[Mark]:
        """Marks of late fixes in these partitions."""
        return await self._read("late_fixes > 0 AND log_id = %s AND partition = ANY(%s)", (log_id, list(partitions)))

    async def asked(self, log_id: str, partitions: Sequence[int], limit: int) -> list[Mark]:
        """The oldest marks in these partitions that have another reason than late fixes."""
        return await self._read(
            "reasons <> '{}' AND log_id = %s AND partition = ANY(%s) ORDER BY marked_at LIMIT %s",
            (log_id, list(partitions), limit),
        )

    async def locked(self, vehicle_id: str) -> Mark | None:
        """The mark of a vehicle, kept from changing until the caller's transaction ends."""
        return next(iter(await self._read("vehicle_id = %s FOR UPDATE", (vehicle_id,))), None)

    async def advance(self, vehicle_id: str, from_us: int) -> None:
        """The vehicle's past is judged again up to a time."""
        await self._connection.execute(
            f"UPDATE rejudge_marks SET from_time = {_TIME.format('%s')} WHERE vehicle_id = %s", (from_us, vehicle_id)
        )

    async def clear(self, vehicle_id: str) -> None:
        """All of it is."""
        await self._connection.execute("DELETE FROM rejudge_marks WHERE vehicle_id = %s", (vehicle_id,))

    async def _read(self, where: str, arguments: tuple[Any, ...]) -> list[Mark]:
        cursor = await self._connection.execute(f"SELECT {_COLUMNS} FROM rejudge_marks WHERE {where}", arguments)
        return [_mark(row) for row in await cursor.fetchall()]


def _mark(row: tuple[Any, ...]) -> Mark:
    vehicle_id, partition, from_us, to_us, late_fixes, reasons = row
    return Mark(vehicle_id, partition, from_us, to_us, late_fixes, tuple(reasons))


_COLUMNS = f"vehicle_id, partition, {_TIME_US.format('from_time')}, {_TIME_US.format('to_time')}, late_fixes, reasons"


_WIDEN = """
ON CONFLICT (vehicle_id) DO UPDATE SET from_time = least(m.from_time, excluded.from_time),
    to_time = greatest(m.to_time, excluded.to_time), late_fixes = m.late_fixes + excluded.late_fixes,
    log_id = excluded.log_id, partition = excluded.partition, marked_at = clock_timestamp(),
    reasons = ARRAY(SELECT DISTINCT r FROM unnest(m.reasons || excluded.reasons) AS r ORDER BY r)
"""
_MARK_FROM_SETTLED = f"""
WITH newest AS MATERIALIZED (
    SELECT a.vehicle_id, a.log_id, a.partition, a.first_at, s.time
    FROM vehicle_anchors a LEFT JOIN LATERAL (
        SELECT f.time FROM fixes f WHERE f.vehicle_id = a.vehicle_id AND f.settled
        AND f.time >= coalesce(a.settled_at, a.first_at) ORDER BY f.time DESC LIMIT 1
    ) s ON true WHERE a.vehicle_id = ANY(%s)
), rebuilt AS (
    UPDATE vehicle_anchors a SET settled_at = n.time FROM newest n
    WHERE a.vehicle_id = n.vehicle_id AND n.time IS NOT NULL
)
INSERT INTO rejudge_marks AS m (vehicle_id, log_id, partition, from_time, to_time, late_fixes, reasons)
SELECT vehicle_id, log_id, partition, coalesce(time + interval '1 microsecond', first_at),
    {_TIME.format("%s::int8")}, 0, %s
FROM newest {_WIDEN}
"""
# Any stretch of a vehicle with an activity of the driver makes the driver's line due.
_MARK_WHERE_LAST_DRIVEN = f"""
INSERT INTO rejudge_marks AS m (vehicle_id, log_id, partition, from_time, to_time, late_fixes, reasons)
SELECT a.vehicle_id, a.log_id, a.partition, min(c.time), max(c.time), 0,
    array_agg('rule pack of driver ' || d.id || ' changed' ORDER BY d.id)
FROM unnest(%s::text[]) AS d(id) CROSS JOIN LATERAL (
    SELECT vehicle_id, time FROM activity_changes c WHERE c.driver_id = d.id ORDER BY time DESC LIMIT 1
) c JOIN vehicle_anchors a USING (vehicle_id) GROUP BY a.vehicle_id, a.log_id, a.partition {_WIDEN}
"""
