"""What storage knows of each vehicle: registry, and where to begin rebuilding its state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from detectors.overrides import Override, Scope, concerning
from storage.connect import Connection
from storage.one_by_one import one_by_one
from storage.overrides import has_overrides, overrides_of_scopes

_TIME = "timestamptz 'epoch' + {} * interval '1 microsecond'"
_TIME_US = "(extract(epoch FROM {}) * 1000000)::int8"


class Registered(NamedTuple):
    """A vehicle as the registry has it."""

    vehicle_id: str
    limit_kmh: float | None
    speed_class: str | None
    kind: str | None
    operator_id: str | None
    overrides: tuple[Override, ...] = ()
    """The office's own numbers that concern it."""


class Anchor(NamedTuple):
    """Where to begin reading stored fixes of a vehicle to rebuild its state (microseconds)."""

    vehicle_id: str
    settled_us: int | None
    first_us: int
    log_id: str
    partition: int

    @property
    def since_us(self) -> int:
        """The settled fix if there is one, else the vehicle's first."""
        return self.first_us if self.settled_us is None else self.settled_us


class VehicleStore:
    """Reads and writes the rows above inside the caller's transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def registered(self, vehicle_ids: Sequence[str]) -> list[Registered]:
        """The registry's rows of these vehicles, with the office's own numbers for them."""
        cursor = await self._connection.execute(
            one_by_one("vehicle_id, limit_kmh, speed_class, kind, operator_id", "vehicles", "vehicle_id"),
            (list(vehicle_ids),),
        )
        return await self._with_overrides([Registered(*row) for row in await cursor.fetchall()])

    async def _with_overrides(self, entries: Sequence[Registered]) -> list[Registered]:
        # Most offices have none: a country's million vehicles need not be asked for then.
        if not await has_overrides(self._connection):
            return list(entries)
        scopes: set[tuple[Scope, str]] = set()
        for each in entries:
            scopes |= {("operator", each.operator_id or ""), ("kind", each.kind or ""), ("vehicle", each.vehicle_id)}
        by_scope = await overrides_of_scopes(self._connection, sorted(scopes))
        return [
            each._replace(overrides=concerning(by_scope, each.vehicle_id, each.kind, each.operator_id, each.limit_kmh))
            for each in entries
        ]

    async def anchors(self, vehicle_ids: Sequence[str]) -> list[Anchor]:
        """The anchors of these vehicles; none for a vehicle without stored fixes."""
        columns = f"vehicle_id, {_TIME_US.format('settled_at')}, {_TIME_US.format('first_at')}, log_id, partition"
        cursor = await self._connection.execute(
            one_by_one(columns, "vehicle_anchors", "vehicle_id"), (list(vehicle_ids),)
        )
        return [Anchor(*row) for row in await cursor.fetchall()]

    async def save_anchors(self, anchors: Sequence[Anchor]) -> None:
        """Move anchors on; `first_us` only ever moves back."""
        if not anchors:
            return
        # Whose messages come from elsewhere now: who reads them there judges its past again.
        await self._connection.execute(
            "WITH v AS (INSERT INTO vehicle_anchors AS v (vehicle_id, settled_at, first_at, log_id, partition)"
            f" SELECT n.vehicle_id, {_TIME.format('n.settled')}, {_TIME.format('n.first')}, n.log_id, n.partition"
            " FROM unnest(%b::text[], %b::int8[], %b::int8[], %b::text[], %b::int[])"
            " AS n(vehicle_id, settled, first, log_id, partition)"
            " ON CONFLICT (vehicle_id) DO UPDATE SET settled_at = excluded.settled_at,"
            " first_at = least(v.first_at, excluded.first_at), log_id = excluded.log_id,"
            " partition = excluded.partition RETURNING vehicle_id, log_id, partition)"
            " UPDATE rejudge_marks m SET log_id = v.log_id, partition = v.partition FROM v"
            " WHERE v.vehicle_id = m.vehicle_id AND (m.log_id, m.partition) <> (v.log_id, v.partition)",
            [list(column) for column in zip(*anchors, strict=True)],
        )

    async def moved_at_last(
        self, log_id: str, partitions: Sequence[int], after: str, limit: int, moving_kmh: float
    ) -> tuple[list[str], str | None]:
        """Of the next vehicles of these partitions by name, those that moved at their newest trusted fix.

        Also the last name looked at, to go on after; None when there are no more.
        """
        cursor = await self._connection.execute(
            "WITH a AS MATERIALIZED (SELECT vehicle_id, coalesce(settled_at, first_at) AS since FROM vehicle_anchors"
            "  WHERE log_id = %s AND partition = ANY(%s) AND vehicle_id > %s ORDER BY vehicle_id LIMIT %s)"
            " SELECT a.vehicle_id, coalesce(f.speed_kmh >= %s, false) FROM a LEFT JOIN LATERAL (SELECT speed_kmh"
            "  FROM fixes WHERE vehicle_id = a.vehicle_id AND time >= a.since AND flags = 0"
            "  ORDER BY time DESC LIMIT 1) f ON true ORDER BY a.vehicle_id",
            (log_id, list(partitions), after, limit, moving_kmh),
        )
        rows = await cursor.fetchall()
        return [name for name, moved in rows if moved], rows[-1][0] if len(rows) == limit else None
