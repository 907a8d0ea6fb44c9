"""The outbox: alerts on their way to people, kept in the tables `alerts` and `deliveries`.

The worker writes `alerts` in the transaction that judged the violation and notifies `hanhtrinh_alerts`. From there:

    alerts (fanned_out_at is null) --fan_out--> deliveries: one per channel
    waiting --claim--> waiting, claimed_until a moment ahead --mark_sent--> sent
                                                            --mark_failed--> waiting, later | gave_up
    waiting and too old --record_stale--> recorded;  alerts.push = false: recorded from the start

Nothing is ever found by "id greater than the last one seen": transactions commit out of order. A claim is a lease: it
ends by itself when its owner dies, and the alert goes out again with the same id. Any number of notifiers may work at
once. Within a channel the alerts of one vehicle leave in the order in which they were written, one at a time.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString, NamedTuple

import psycopg
from psycopg.types.json import Jsonb

from storage.connect import Connection

NOTIFY_CHANNEL = "hanhtrinh_alerts"
_MAX_ERROR_CHARS = 500

# statement_timestamp, not now(): the same for each row of one statement, and never older than the statement.
_NOW = "coalesce(%(now)s::timestamptz, statement_timestamp())"

_FAN_OUT = f"""
    WITH fresh AS (
        SELECT alert_id, push, stage, event_at, body FROM alerts WHERE fanned_out_at IS NULL
        ORDER BY created_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    ), made AS (
        INSERT INTO deliveries (alert_id, channel, status, next_try_at)
        SELECT alert_id, r.channel, CASE WHEN push THEN 'waiting' ELSE 'recorded' END, {_NOW}
        FROM fresh
        CROSS JOIN jsonb_to_recordset(%(routes)s) AS r(channel text, kinds text[], stages text[], grades text[],
            bands text[], operators text[], provinces text[], begins time, ends time, to_operator boolean)
        LEFT JOIN operators o ON o.operator_id = body ->> 'operator_id'
        CROSS JOIN LATERAL (SELECT (event_at AT TIME ZONE %(zone)s)::time AS of_day) AS t
        WHERE (r.kinds IS NULL OR body ->> 'kind' = ANY(r.kinds))
            AND (r.stages IS NULL OR stage = ANY(r.stages))
            AND (r.grades IS NULL OR NOT body ? 'grade' OR body ->> 'grade' = ANY(r.grades))
            AND (r.bands IS NULL OR NOT body ? 'fine_band' OR body ->> 'fine_band' = ANY(r.bands))
            AND (r.operators IS NULL OR o.operator_id = ANY(r.operators))
            AND (r.provinces IS NULL OR o.province = ANY(r.provinces))
            AND (r.begins IS NULL OR CASE WHEN r.begins < r.ends THEN of_day >= r.begins AND of_day < r.ends
                ELSE of_day >= r.begins OR of_day < r.ends END)
            AND (NOT coalesce(r.to_operator, false) OR o.alert_url IS NOT NULL)
        ON CONFLICT DO NOTHING
    ), told AS (
        UPDATE alerts SET fanned_out_at = {_NOW} FROM fresh WHERE alerts.alert_id = fresh.alert_id
    )
    SELECT count(*), count(*) FILTER (WHERE NOT push) FROM fresh
"""

# What waited while nobody was to be disturbed did not age by that.
_RECORD_STALE = f"""
    WITH stale AS (
        SELECT alert_id FROM deliveries JOIN alerts USING (alert_id)
        WHERE channel = %(channel)s AND status = 'waiting' AND (claimed_until IS NULL OR claimed_until <= {_NOW})
            AND digest_id IS NULL AND event_at < make_interval(secs => -%(older_than_s)s) + CASE
                WHEN created_at < %(held_to)s::timestamptz THEN greatest(created_at, %(held_from)s::timestamptz)
                ELSE {_NOW} END
        FOR UPDATE OF deliveries SKIP LOCKED
    )
    UPDATE deliveries SET status = 'recorded', claimed_until = NULL
    FROM stale WHERE deliveries.alert_id = stale.alert_id AND channel = %(channel)s
"""

_CLAIMED = """
    deliveries.alert_id, channel, tries, claimed_until, alerts.stage, alerts.event_at, alerts.vehicle_id, body,
    o.name, o.alert_url
"""

# Due and nobody's.
_FREE = f"next_try_at <= {_NOW} AND (claimed_until IS NULL OR claimed_until <= {_NOW})"

# An alert that is not fanned out yet holds back its vehicle too: another notifier may have taken a later one first.
_UNDELIVERED = f"""
    SELECT alert_id, coalesce(vehicle_id, violation_id, alert_id) AS subject, created_at, event_at, stage,
        {_FREE} AS free
    FROM deliveries JOIN alerts USING (alert_id) WHERE channel = %(channel)s AND status = 'waiting'
    UNION ALL
    SELECT alert_id, coalesce(vehicle_id, violation_id, alert_id), created_at, event_at, stage, false
    FROM alerts WHERE fanned_out_at IS NULL AND push
"""
_AS_WRITTEN = "created_at, event_at, array_position('{warning,opened,closed}', stage), alert_id"

_CLAIM = f"""
    WITH heads AS (
        SELECT DISTINCT ON (subject) alert_id FROM ({_UNDELIVERED}) AS undelivered ORDER BY subject, {_AS_WRITTEN}
    ), ready AS (
        SELECT alert_id FROM deliveries JOIN heads USING (alert_id)
        WHERE channel = %(channel)s AND status = 'waiting' AND digest_id IS NULL AND {_FREE}
        ORDER BY next_try_at LIMIT %(limit)s
        FOR UPDATE OF deliveries SKIP LOCKED
    )
    UPDATE deliveries SET tries = tries + 1, claimed_until = {_NOW} + make_interval(secs => %(lease_s)s)
    FROM ready JOIN alerts USING (alert_id) LEFT JOIN operators o ON o.operator_id = alerts.body ->> 'operator_id'
    WHERE deliveries.alert_id = ready.alert_id AND channel = %(channel)s
    RETURNING {_CLAIMED}
"""

# In one letter nothing overtakes anything, so of a vehicle goes all that waits, up to the first that may not go now.
# Counted again in what is locked: another notifier may have taken an earlier one since this one looked.
_CLAIM_TOGETHER = f"""
    WITH queue AS MATERIALIZED (
        SELECT alert_id, subject, created_at, row_number() OVER own AS place, bool_and(free) OVER own AS clear
        FROM ({_UNDELIVERED}) AS undelivered WINDOW own AS (PARTITION BY subject ORDER BY {_AS_WRITTEN})
    ), locked AS (
        SELECT alert_id, subject, place FROM deliveries JOIN queue USING (alert_id)
        WHERE channel = %(channel)s AND status = 'waiting' AND clear AND {_FREE}
        ORDER BY created_at, place LIMIT %(limit)s
        FOR UPDATE OF deliveries SKIP LOCKED
    ), ready AS (
        SELECT alert_id FROM (
            SELECT alert_id, place, row_number() OVER (PARTITION BY subject ORDER BY place) AS nth FROM locked
        ) AS counted WHERE nth = place
    )
    UPDATE deliveries SET tries = tries + 1, claimed_until = {_NOW} + make_interval(secs => %(lease_s)s),
        digest_id = %(digest_id)s
    FROM ready JOIN alerts USING (alert_id) LEFT JOIN operators o ON o.operator_id = alerts.body ->> 'operator_id'
    WHERE deliveries.alert_id = ready.alert_id AND channel = %(channel)s
    RETURNING {_CLAIMED}
"""

# What is leased is being told right now: to this channel, by some notifier.
_PRESSURE = f"""
    SELECT {_NOW},
        count(*) FILTER (WHERE status = 'waiting' AND next_try_at <= {_NOW} AND NOT leased),
        min(created_at) FILTER (WHERE status = 'waiting' AND next_try_at <= {_NOW} AND NOT leased),
        count(*) FILTER (WHERE digest_id IS NULL AND (leased OR sent_at > {_NOW} - interval '1 minute')),
        greatest(max(sent_at) FILTER (WHERE digest_id IS NOT NULL),
            max({_NOW}) FILTER (WHERE digest_id IS NOT NULL AND leased)),
        count(*) FILTER (WHERE digest_id IS NOT NULL AND status = 'waiting' AND next_try_at <= {_NOW} AND NOT leased)
    FROM (
        SELECT status, next_try_at, sent_at, digest_id, created_at,
            status = 'waiting' AND claimed_until > {_NOW} IS TRUE AS leased
        FROM deliveries JOIN alerts USING (alert_id)
        WHERE channel = %(channel)s AND (status = 'waiting' OR sent_at > {_NOW} - interval '2 minutes')
    ) AS lately
"""

# Whoever held the lease by then: it was delivered, and a repeat under way can at least not be repeated again.
_MARK_SENT = f"""
    UPDATE deliveries SET status = 'sent', sent_at = {_NOW}, claimed_until = NULL, last_error = NULL
    FROM alerts
    WHERE deliveries.alert_id = ANY(%(alert_ids)s) AND channel = %(channel)s AND status <> 'sent'
        AND alerts.alert_id = deliveries.alert_id
    RETURNING extract(epoch FROM sent_at - event_at)::float8
"""

# Only while the lease is still ours: its next holder may be sending right now.
_MARK_FAILED = f"""
    UPDATE deliveries SET
        status = CASE WHEN %(retry_in_s)s::float8 IS NULL THEN 'gave_up' ELSE 'waiting' END,
        next_try_at = {_NOW} + make_interval(secs => coalesce(%(retry_in_s)s::float8, 0)),
        claimed_until = NULL,
        last_error = %(error)s
    WHERE alert_id = ANY(%(alert_ids)s) AND channel = %(channel)s AND status = 'waiting'
        AND claimed_until = %(claimed_until)s
"""

_BACKLOG = f"""
    SELECT count(*), coalesce(greatest(extract(epoch FROM {_NOW} - min(created_at) FILTER (WHERE due)), 0), 0)::float8
    FROM (
        SELECT created_at, channel <> ALL(%(quiet)s::text[]) AS due FROM deliveries JOIN alerts USING (alert_id)
        WHERE status = 'waiting' AND channel = ANY(%(channels)s::text[])
        UNION ALL
        SELECT created_at, true FROM alerts WHERE fanned_out_at IS NULL
    ) AS undelivered
"""


class Claim(NamedTuple):
    """An alert that is ours to send on one channel until `claimed_until`; `tries` counts this one."""

    alert_id: str
    channel: str
    tries: int
    claimed_until: datetime
    stage: str
    event_at: datetime
    vehicle_id: str | None
    violation: Mapping[str, Any]
    operator_name: str | None
    operator_url: str | None


class Pressure(NamedTuple):
    """What waits for a channel and what it was told lately. Alerts being told right now do not wait."""

    now: datetime
    waiting: int
    oldest_at: datetime | None
    """When the oldest that waits was written."""
    sent_in_last_minute: int
    """One by one."""
    last_digest_at: datetime | None
    """Within the last two minutes; None when there was none."""
    unfinished_digests: int
    """Alerts that a failed summary held, due again."""


class FannedOut(NamedTuple):
    """How many alerts were given to the channels, and how many of them are to be recorded only."""

    alerts: int
    recorded: int


class Backlog(NamedTuple):
    """What waits, over all channels, and the age since it was written of the oldest that should have gone by now."""

    waiting: int
    oldest_s: float


class Outbox:
    """The outbox of one database. Each method is one statement and one commit, safe to call from several tasks.

    `connect` makes autocommit connections in UTC; they are made when first needed and again after a loss (the call
    that finds the loss raises psycopg's error). `clock` replaces the database's own clock, for tests; `zone` is that of
    the hours in routes.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        clock: Callable[[], datetime] | None = None,
        zone: str = "Asia/Ho_Chi_Minh",
    ) -> None:
        self._connect = connect
        self._zone = zone
        self._clock = clock
        self._connecting = asyncio.Lock()
        self._connection: Connection | None = None
        self._listener: Connection | None = None

    async def fan_out(self, routes: Mapping[str, Mapping[str, Any]], limit: int = 1000) -> FannedOut:
        """Give up to `limit` new alerts to the channels whose filter lets them pass; alerts not meant to be pushed are
        recorded at once. `routes` holds by channel what `alerts.route.Audience.as_filter` says."""
        filters = [{"channel": channel, **audience} for channel, audience in routes.items()]
        rows = await self._rows(_FAN_OUT, {"routes": Jsonb(filters), "zone": self._zone, "limit": limit})
        return FannedOut(*rows[0])

    async def record_stale(
        self, channel: str, older_than_s: float, held: tuple[datetime, datetime] | None = None
    ) -> int:
        """Record, instead of sending, what waits for `channel` and happened longer ago than that; how many.

        Within `held` nobody was to be disturbed: the age of what was written then counts when it was written, of what
        waited already when it began.
        """
        held_from, held_to = held or (None, None)
        parameters = {"channel": channel, "older_than_s": older_than_s, "held_from": held_from, "held_to": held_to}
        return await self._count(_RECORD_STALE, parameters)

    async def claim(self, channel: str, limit: int, lease_s: float) -> list[Claim]:
        """Up to `limit` alerts that are due, at most one per vehicle, the longest due first; ours for `lease_s`."""
        rows = await self._rows(_CLAIM, {"channel": channel, "limit": limit, "lease_s": lease_s})
        return [Claim(*row) for row in rows]

    async def claim_together(self, channel: str, limit: int, lease_s: float) -> list[Claim]:
        """Up to `limit` alerts that are due, oldest event first, to be told in one summary; ours for `lease_s`.

        None that would overtake an earlier one of its vehicle: one that waits for its retry or is being told.
        """
        parameters = {"channel": channel, "limit": limit, "lease_s": lease_s, "digest_id": uuid.uuid4().hex}
        claims = [Claim(*row) for row in await self._rows(_CLAIM_TOGETHER, parameters)]
        return sorted(claims, key=lambda claim: (claim.event_at, claim.alert_id))

    async def pressure(self, channel: str) -> Pressure:
        """How much waits for `channel`, and what it was told lately."""
        return Pressure(*(await self._rows(_PRESSURE, {"channel": channel}))[0])

    async def mark_sent(self, alert_ids: Sequence[str], channel: str) -> list[float]:
        """The channel has them. Returns the seconds from event to now, of each that was not marked before."""
        rows = await self._rows(_MARK_SENT, {"alert_ids": list(alert_ids), "channel": channel})
        return [float(row[0]) for row in rows]

    async def mark_failed(
        self, alert_ids: Sequence[str], channel: str, claimed_until: datetime, error: str, retry_in_s: float | None
    ) -> int:
        """Try again after `retry_in_s`, or give up (None). How many: those whose lease is no longer ours stay."""
        return await self._count(
            _MARK_FAILED,
            {
                "alert_ids": list(alert_ids),
                "channel": channel,
                "claimed_until": claimed_until,
                "retry_in_s": retry_in_s,
                "error": _storable(error),
            },
        )

    async def backlog(self, channels: Sequence[str], quiet: Sequence[str] = ()) -> Backlog:
        """What waits for `channels` or is not given to any channel yet. In `quiet` ones nothing is to go just now."""
        rows = await self._rows(_BACKLOG, {"channels": list(channels), "quiet": list(quiet)})
        return Backlog(*rows[0])

    async def wait(self, timeout_s: float) -> bool:
        """Wait for news of new alerts; True when it came, False after `timeout_s`. One caller at a time.

        News is only a hint: it is lost while nobody listens, so look into the outbox after a timeout as well.
        """
        if self._listener is None or self._listener.closed:
            self._listener = await self._connect()
            await self._listener.execute(f"LISTEN {NOTIFY_CHANNEL}")
            # What was written before we listened told nobody.
            return True
        return bool([note async for note in self._listener.notifies(timeout=timeout_s, stop_after=1)])

    async def close(self) -> None:
        """Close the connections; waiting calls fail."""
        for connection in (self._connection, self._listener):
            if connection is not None:
                await connection.close()
        self._connection = self._listener = None

    async def _rows(self, query: LiteralString, parameters: dict[str, object]) -> list[tuple[Any, ...]]:
        cursor = await self._execute(query, parameters)
        return await cursor.fetchall()

    async def _count(self, query: LiteralString, parameters: dict[str, object]) -> int:
        return (await self._execute(query, parameters)).rowcount

    async def _execute(
        self, query: LiteralString, parameters: dict[str, object]
    ) -> psycopg.AsyncCursor[tuple[Any, ...]]:
        now = self._clock() if self._clock else None
        connection = await self._open()
        return await connection.execute(query, parameters | {"now": now})

    async def _open(self) -> Connection:
        async with self._connecting:
            if self._connection is None or self._connection.closed:
                connection = await self._connect()
                # Only durable alerts may leave, and the worker may commit without waiting for the disk. A durable
                # commit of ours, later in the same write-ahead log, makes everything that it saw durable too.
                await connection.execute("SET synchronous_commit = on")
                self._connection = connection
            return self._connection


def _storable(text: str) -> str:
    # PostgreSQL refuses NUL and lone surrogates; both can come from a receiver's answer.
    return text.replace("\0", "").encode(errors="replace").decode()[:_MAX_ERROR_CHARS]
