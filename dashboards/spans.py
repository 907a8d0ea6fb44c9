"""Stretches of time in SQL."""

from __future__ import annotations

from dashboards.frame import TIME_ZONE

FROM, TO = "$__timeFrom()::timestamptz", "$__timeTo()::timestamptz"
"""The chosen time."""

MIDNIGHT = f"date_trunc('day', {FROM}, '{TIME_ZONE}')"
"""When its first local day began."""
LAST_MIDNIGHT = f"date_trunc('day', {TO}, '{TIME_ZONE}') + INTERVAL '1 day'"
"""When its last one ends."""


def touched_days(begins_at: str) -> str:
    """The condition that a local day that begins then has something in common with the chosen time."""
    return f"{begins_at} >= {MIDNIGHT} AND {begins_at} <= {TO}"


EXACT_DAYS = 2
"""Of a chosen time no longer than this, panels of one vehicle show every position; of a longer one, its hours."""

IS_LONG = f"{TO} - {FROM} > INTERVAL '{EXACT_DAYS} days'"
"""True or false before anything is read: a query's other half costs nothing."""

IS_SHORT = f"{TO} - {FROM} <= INTERVAL '{EXACT_DAYS} days'"


def touched_hours(hour: str) -> str:
    """The condition that an hour that begins then has something in common with the chosen time."""
    return f"{hour} >= date_trunc('hour', {FROM}, 'UTC') AND {hour} <= {TO}"
