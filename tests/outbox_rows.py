"""Violations and alerts as the worker would have written them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb

from alerts.route import Audience
from storage.connect import Connection

# Of the database's clock, so that an alert is fresh when a test does not say otherwise.
_EVENT_AT = "coalesce(%(event_at)s::timestamptz, clock_timestamp())"

_INSERT_VIOLATION = """
    INSERT INTO violations (violation_id, kind, rule_pack, rule_id, rule_version, grade, status, vehicle_id, driver_id,
        started_at, ended_at, duration_s, fixes, judged_by, evidence)
    VALUES (%s, 'speeding', 'vn', 'speeding', '1', 'confirmed', 'open', %s, 'D7', %s, %s, 30, 4, '{}', '{}')
    ON CONFLICT DO NOTHING
"""

_INSERT_ALERT = f"""
    INSERT INTO alerts (alert_id, violation_id, stage, vehicle_id, event_at, received_at, created_at, push, body)
    VALUES (%(alert_id)s, %(violation_id)s, %(stage)s, %(vehicle_id)s, {_EVENT_AT}, {_EVENT_AT},
        coalesce(%(created_at)s::timestamptz, clock_timestamp()), %(push)s, %(body)s)
"""


def speeding(violation_id: str, vehicle_id: str | None) -> dict[str, Any]:
    """A violation on the wire."""
    return {
        "violation_id": violation_id,
        "kind": "speeding",
        "rule": {"pack": "vn", "id": "speeding", "version": "1"},
        "grade": "confirmed",
        "status": "open",
        **({"vehicle_id": vehicle_id} if vehicle_id is not None else {}),
        "driver_id": "D7",
        "started_at": "2026-10-03T03:42:01Z",
        "ended_at": "2026-10-03T03:42:31Z",
        "duration_s": 30.0,
        "start": {"lat": 21.0285, "lon": 105.8542},
        "end": {"lat": 21.0385, "lon": 105.8642},
        "fixes": 4,
        "limit_kmh": 60.0,
        "limit_source": "class",
        "top_speed_kmh": 72.4,
        "excess_kmh": 12.4,
    }


async def add_alert(
    connection: Connection,
    violation_id: str,
    stage: str = "opened",
    *,
    vehicle_id: str | None = "29B-12345",
    event_at: datetime | None = None,
    created_at: datetime | None = None,
    push: bool = True,
    body: dict[str, Any] | None = None,
) -> str:
    """Write an alert with its violation in one transaction, tell the notifiers, and return the alert's id."""
    started_at = datetime(2026, 10, 3, 3, 42, 1, tzinfo=UTC)
    async with connection.transaction():
        await connection.execute(
            _INSERT_VIOLATION, [violation_id, vehicle_id, started_at, started_at + timedelta(seconds=30)]
        )
        await connection.execute(
            _INSERT_ALERT,
            {
                "alert_id": f"{violation_id}:{stage}",
                "violation_id": violation_id,
                "stage": stage,
                "vehicle_id": vehicle_id,
                "event_at": event_at,
                "created_at": created_at,
                "push": push,
                "body": Jsonb(body or speeding(violation_id, vehicle_id)),
            },
        )
        await connection.execute("NOTIFY hanhtrinh_alerts")
    return f"{violation_id}:{stage}"


async def deliveries(connection: Connection) -> dict[tuple[str, str], tuple[str, int, str | None]]:
    """(alert_id, channel) -> (status, tries, last_error)."""
    cursor = await connection.execute("SELECT alert_id, channel, status, tries, last_error FROM deliveries")
    return {(row[0], row[1]): (row[2], row[3], row[4]) for row in await cursor.fetchall()}


def everyone(*channels: str) -> dict[str, dict[str, Any]]:
    """Routes on which each of these channels gets every alert."""
    return {channel: Audience().as_filter() for channel in channels}
