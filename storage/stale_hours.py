"""Marks on hours whose sums no longer are those of the stored fixes: `storage/sums.py` works them off."""

from __future__ import annotations

from collections.abc import Sequence

from storage.connect import Connection

HOUR_US = 3_600_000_000


async def mark_stale(connection: Connection, hours: Sequence[tuple[str, int]]) -> None:
    """Mark hours given as (vehicle id, begin in microseconds), inside the transaction that changes their fixes."""
    if not hours:
        return
    await connection.execute(
        "INSERT INTO stale_hours (vehicle_id, hour)"
        " SELECT n.vehicle_id, timestamptz 'epoch' + n.hour_us * interval '1 microsecond'"
        " FROM unnest(%b::text[], %b::int8[]) AS n(vehicle_id, hour_us)",
        ([hour[0] for hour in hours], [hour[1] for hour in hours]),
    )
