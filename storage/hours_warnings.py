"""Warnings before a limit on driving time, as alerts: there is no violation yet, and perhaps never will be."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from psycopg.types.json import Jsonb

from detectors.fix import from_us
from detectors.hours import LimitWarning
from storage.connect import Connection
from storage.violations import StageCount


class WarningStore:
    """Writes warnings inside the caller's transaction. One that is there stays as it was told."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def add(
        self, warnings: Sequence[LimitWarning], received_us: Callable[[LimitWarning], int]
    ) -> list[StageCount]:
        """Write those that are new; returns them for the metrics."""
        written = []
        for warning in warnings:
            cursor = await self._connection.execute(
                "INSERT INTO alerts (alert_id, stage, vehicle_id, event_at, received_at, push, body)"
                " VALUES (%s, 'warning', %s, %s, %s, true, %s) ON CONFLICT DO NOTHING",
                (
                    f"{warning.warning_id}:warning",
                    warning.vehicle_id,
                    from_us(warning.at_us),
                    from_us(received_us(warning)),
                    Jsonb(warning.to_wire()),
                ),
            )
            if cursor.rowcount:
                written.append(StageCount(warning.kind, "warning"))
        if written:
            await self._connection.execute("NOTIFY hanhtrinh_alerts")
        return written
