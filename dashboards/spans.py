"""Stretches of time in SQL."""

from __future__ import annotations

from dashboards.frame import TIME_ZONE

FROM, TO = "$__timeFrom()::timestamptz", "$__timeTo()::timestamptz"
"""The chosen time."""

MIDNIGHT = f"date_trunc('day', {FROM}, '{TIME_ZONE}')"
"""When its first local day began."""


def touched_days(begins_at: str) -> str:
    """The condition that a local day that begins then has something in common with the chosen time."""
    return f"{begins_at} >= {MIDNIGHT} AND {begins_at} <= {TO}"
