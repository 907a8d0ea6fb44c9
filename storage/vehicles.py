"""What storage knows of each vehicle: registry, where to begin rebuilding its state, and marks of a changed past."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from storage.connect import Connection

_TIME = "timestamptz 'epoch' + {} * interval '1 microsecond'"
_TIME_US = "(extract(epoch FROM {}) * 1000000)::int8"


class Registered(NamedTuple):
    """A vehicle as the registry has it."""

    vehicle_id: str
    limit_kmh: float | None
    speed_class: str | None
    kind: str | None
    operator_id: str | None


class Anchor(NamedTuple):
    """Where to begin reading stored fixes of a vehicle to rebuild its state (microseconds)."""

    vehicle_id: str
    settled_us: int | None
    first_us: int

    @property
    def since_us(self) -> int:
        """The settled fix if there is one, else the vehicle's first."""
        return self.first_us if self.settled_us is None else self.settled_us


class Mark(NamedTuple):
    """A vehicle whose past changed between two times (microseconds)."""

    vehicle_id: str
    partition: int
    from_us: int
    to_us: int
    late_fixes: int


class VehicleStore:
    """Reads and writes the rows above inside the caller's transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def registered(self, vehicle_ids: Sequence[str]) -> list[Registered]:
        """The registry's rows of these vehicles."""
        cursor = await self._connection.execute(
            "SELECT vehicle_id, limit_kmh, speed_class, kind, operator_id FROM vehicles WHERE vehicle_id = ANY(%s)",
            (list(vehicle_ids),),
        )
        return [Registered(*row) for row in await cursor.fetchall()]

    async def anchors(self, vehicle_ids: Sequence[str]) -> list[Anchor]:
        """The anchors of these vehicles; none for a vehicle without stored fixes."""
        cursor = await self._connection.execute(
            f"SELECT vehicle_id, {_TIME_US.format('settled_at')}, {_TIME_US.format('first_at')}"
            " FROM vehicle_anchors WHERE vehicle_id = ANY(%s)",
            (list(vehicle_ids),),
        )
        return [Anchor(*row) for row in await cursor.fetchall()]

    async def save_anchors(self, anchors: Sequence[Anchor]) -> None:
        """Move anchors on; `first_us` only ever moves back."""
        if not anchors:
            return
        await self._connection.execute(
            "INSERT INTO vehicle_anchors AS v (vehicle_id, settled_at, first_at)"
            f" SELECT n.vehicle_id, {_TIME.format('n.settled')}, {_TIME.format('n.first')}"
            " FROM unnest(%b::text[], %b::int8[], %b::int8[]) AS n(vehicle_id, settled, first)"
            " ON CONFLICT (vehicle_id) DO UPDATE SET settled_at = excluded.settled_at,"
            " first_at = least(v.first_at, excluded.first_at)",
            (
                [anchor.vehicle_id for anchor in anchors],
                [anchor.settled_us for anchor in anchors],
                [anchor.first_us for anchor in anchors],
            ),
        )

    async def save_marks(self, log_id: str, marks: Sequence[Mark]) -> None:
        """Widen the marks of vehicles whose past changed."""
        for mark in marks:
            await self._connection.execute(
                "INSERT INTO rejudge_marks AS m (vehicle_id, log_id, partition, from_time, to_time, late_fixes)"
                f" VALUES (%s, %s, %s, {_TIME.format('%s')}, {_TIME.format('%s')}, %s)"
                " ON CONFLICT (vehicle_id) DO UPDATE SET from_time = least(m.from_time, excluded.from_time),"
                " to_time = greatest(m.to_time, excluded.to_time), late_fixes = m.late_fixes + excluded.late_fixes,"
                " log_id = excluded.log_id, partition = excluded.partition, marked_at = clock_timestamp()",
                (mark.vehicle_id, log_id, mark.partition, mark.from_us, mark.to_us, mark.late_fixes),
            )

    async def marks(self, log_id: str, partitions: Sequence[int]) -> list[Mark]:
        """Marks of vehicles in these partitions."""
        cursor = await self._connection.execute(
            f"SELECT vehicle_id, partition, {_TIME_US.format('from_time')}, {_TIME_US.format('to_time')}, late_fixes"
            " FROM rejudge_marks WHERE log_id = %s AND partition = ANY(%s)",
            (log_id, list(partitions)),
        )
        return [Mark(*row) for row in await cursor.fetchall()]

    async def clear_mark(self, vehicle_id: str) -> None:
        """The vehicle's past is judged again."""
        await self._connection.execute("DELETE FROM rejudge_marks WHERE vehicle_id = %s", (vehicle_id,))
