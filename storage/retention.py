"""Drops what has been kept for long enough, and nothing that is still needed.

Fixes go first in the books: `upkeep.fixes_from` is moved on before they are dropped, and from then on sums of older
hours stand as they are (storage/sums.py) and so do violations that began before it (storage/violations.py). It is
moved only when no mark asks for anything older, because a sum counted again from dropped fixes would be nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg

from storage.connect import Connection
from storage.sums import is_continuous

_AT_ONCE = 5_000
_VEHICLES = 500
_LOCK_S = 2


@dataclass(frozen=True, slots=True)
class KeepFor:
    """How long, in days."""

    journeys: int
    violations: int
    letters: int
    rows: int
    """Fixes stay as they came for so long; then TimescaleDB packs them by vehicle."""


class Retention:
    """Drops old rows. One at a time: the caller holds the lock (`storage/upkeep.py`)."""

    def __init__(self, connection: Connection, keep: KeepFor) -> None:
        self._connection = connection
        self._keep = keep

    async def set_policies(self) -> None:
        """Have TimescaleDB pack fixes when they are old enough; nothing where it cannot."""
        if not await is_continuous(self._connection):
            return
        after = timedelta(days=self._keep.rows)
        cursor = await self._connection.execute(
            "SELECT (config ->> 'compress_after')::interval FROM timescaledb_information.jobs"
            " WHERE hypertable_name = 'fixes' AND config ? 'compress_after'"
        )
        row = await cursor.fetchone()
        if row is not None and row[0] == after:
            return
        await self._connection.execute("CALL remove_columnstore_policy('fixes', if_exists => true)")
        await self._connection.execute("CALL add_columnstore_policy('fixes', after => %s::interval)", (after,))

    async def drop(self) -> dict[str, int]:
        """Drop what is old enough; how many of what are gone (fixes by the month or day, the rest by the row)."""
        cursor = await self._connection.execute("SELECT clock_timestamp()")
        row = await cursor.fetchone()
        assert row is not None
        now: datetime = row[0]
        journeys = await self._journeys(now - timedelta(days=self._keep.journeys))
        violations = await self._violations(now - timedelta(days=self._keep.violations))
        letters = await self._by_pieces(
            "dead_letters", "dead_letter_id", "received_at < %s", now - timedelta(days=self._keep.letters)
        )
        return journeys | {"violations": violations, "dead_letters": letters}

    async def _journeys(self, before: datetime) -> dict[str, int]:
        is_hypertable = not await self._one("SELECT to_regclass('fixes_elsewhen') IS NOT NULL")
        # Whole partitions only: by the month, or TimescaleDB's by the day.
        before = before.replace(hour=0, minute=0, second=0, microsecond=0)
        before = before if is_hypertable else before.replace(day=1)
        if not await self._give_up(before):
            return {}
        pieces = await (self._drop_chunks(before) if is_hypertable else self._drop_months(before))
        if not pieces:
            return {}
        changes = await self._activity(before)
        await self._by_pieces("stale_hours", "stale_hour_id", "hour < %s", before)
        await self._warnings(before)
        return {"fixes": pieces, "activity_changes": changes}

    async def _give_up(self, before: datetime) -> bool:
        """Move `fixes_from` on, unless something still asks for what is older."""
        cursor = await self._connection.execute(
            "UPDATE upkeep SET fixes_from = greatest(fixes_from, %(before)s)"
            " WHERE NOT EXISTS (SELECT FROM rejudge_marks WHERE from_time < %(before)s)"
            " AND NOT EXISTS (SELECT FROM stale_hours WHERE hour < %(before)s AND counted_to IS NULL"
            "  AND hour >= fixes_from) RETURNING 1",
            {"before": before},
        )
        return await cursor.fetchone() is not None

    async def _drop_chunks(self, before: datetime) -> int:
        cursor = await self._connection.execute("SELECT drop_chunks('fixes', older_than => %s::timestamptz)", (before,))
        return len(await cursor.fetchall())

    async def _drop_months(self, before: datetime) -> int:
        cursor = await self._connection.execute(
            "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
            " WHERE i.inhparent = 'fixes'::regclass AND c.relname ~ '^fixes_\\d+_\\d+$' AND c.relname < %s ORDER BY 1",
            (f"fixes_{before:%Y_%m}",),
        )
        names = [name for (name,) in await cursor.fetchall()]
        for name in names:
            # Workers wait behind this for as long as it waits for readers: rather try again at the next turn.
            async with self._connection.transaction():
                await self._connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_S}s'")
                await self._connection.execute(f'DROP TABLE "{name}"')
        rest = await self._by_pieces("fixes_elsewhen", "ctid", "time < %s", before)
        return len(names) + (1 if rest else 0)

    async def _activity(self, before: datetime) -> int:
        """Of each vehicle all changes but the one that holds at the time, and the waypoints before it."""
        gone, after = 0, ""
        while True:
            cursor = await self._connection.execute(
                "WITH v AS MATERIALIZED (SELECT vehicle_id FROM vehicle_anchors WHERE vehicle_id > %s"
                "  ORDER BY vehicle_id LIMIT %s), held AS MATERIALIZED (SELECT v.vehicle_id, a.time FROM v CROSS JOIN"
                "  LATERAL (SELECT time FROM activity_changes c WHERE c.vehicle_id = v.vehicle_id AND c.time < %s"
                "  ORDER BY time DESC LIMIT 1) a), dropped AS (DELETE FROM activity_changes c USING held h"
                "  WHERE c.vehicle_id = h.vehicle_id AND c.time < h.time RETURNING 1), passed AS (DELETE FROM waypoints"
                "  w USING v WHERE w.vehicle_id = v.vehicle_id AND w.time < %s)"
                " SELECT max(vehicle_id), (SELECT count(*) FROM dropped) FROM v",
                (after, _VEHICLES, before, before),
            )
            row = await cursor.fetchone()
            if row is None or row[0] is None:
                return gone
            after, gone = row[0], gone + row[1]

    async def _warnings(self, before: datetime) -> None:
        """Alerts that never had a violation."""
        while True:
            cursor = await self._connection.execute(
                "SELECT alert_id FROM alerts WHERE violation_id IS NULL AND event_at < %s LIMIT %s", (before, _AT_ONCE)
            )
            names = [name for (name,) in await cursor.fetchall()]
            if not names:
                return
            async with self._connection.transaction():
                await self._connection.execute("DELETE FROM deliveries WHERE alert_id = ANY(%s)", (names,))
                await self._connection.execute("DELETE FROM alerts WHERE alert_id = ANY(%s)", (names,))

    async def _violations(self, before: datetime) -> int:
        """With their history and alerts. One that is still open is not over, however old."""
        gone = 0
        while True:
            cursor = await self._connection.execute(
                "SELECT violation_id FROM violations WHERE started_at < %s AND ended_at < %s AND status <> 'open'"
                " ORDER BY started_at LIMIT %s",
                (before, before, _AT_ONCE),
            )
            names = [name for (name,) in await cursor.fetchall()]
            if not names:
                return gone
            async with self._connection.transaction():
                await self._connection.execute(
                    "DELETE FROM deliveries d USING alerts a"
                    " WHERE a.alert_id = d.alert_id AND a.violation_id = ANY(%s)",
                    (names,),
                )
                for table in ("alerts", "violation_revisions", "violations"):
                    await self._connection.execute(f"DELETE FROM {table} WHERE violation_id = ANY(%s)", (names,))
            gone += len(names)

    async def _by_pieces(self, table: str, key: str, condition: str, before: datetime) -> int:
        """Delete in short transactions."""
        gone = 0
        while True:
            cursor = await self._connection.execute(
                f"DELETE FROM {table} WHERE {key} = ANY(ARRAY(SELECT {key} FROM {table} WHERE {condition} LIMIT %s))",
                (before, _AT_ONCE),
            )
            gone += cursor.rowcount
            if cursor.rowcount < _AT_ONCE:
                return gone

    async def _one(self, query: str) -> object:
        row = await (await self._connection.execute(query.encode())).fetchone()
        return row[0] if row else None


def is_in_use(error: BaseException) -> bool:
    """Whether a partition could not be dropped because somebody reads it: try again later."""
    return isinstance(error, psycopg.errors.LockNotAvailable)
