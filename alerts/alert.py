"""The alert as receivers get it: the same JSON on every channel."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec


class Alert(NamedTuple):
    """News of one violation at one stage. `alert_id` is the same at every repeat: receivers drop repeats by it."""

    alert_id: str
    stage: str
    event_at: datetime
    vehicle_id: str | None
    violation: Mapping[str, Any]
    operator_name: str | None = None
    operator_url: str | None = None
    """Where the vehicle's operator wants its alerts; from the registry, never on the wire."""


def encode(alert: Alert) -> bytes:
    """The alert as JSON (UTF-8); `violation` is the object that docs/alerts.md describes."""
    return msgspec.json.encode(
        {
            "alert_id": alert.alert_id,
            "stage": alert.stage,
            "event_at": alert.event_at,
            "violation": alert.violation,
        }
    )
