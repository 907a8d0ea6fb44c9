"""Judged violations as the rows that the worker and the notifier would have written of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from detectors.fix import from_us, to_us
from detectors.hours import LimitWarning
from detectors.violation import Violation, rfc3339
from storage.connect import Connection
from storage.violation_rows import COLUMNS, Row, adapted, history, row_of

CHANNEL = "webhook"
_RECEIVED = timedelta(seconds=2)
_TOLD = timedelta(seconds=3)
_AT_ONCE = 10_000
_WITHDRAWN_ONE_IN, _EXCUSED_ONE_IN = 50, 200

_TABLES = {
    "violations": (*COLUMNS, "updated_at", "withdrawn_at"),
    "violation_revisions": ("violation_id", "revision", "at", "change", "why", "before", "after"),
    "alerts": (
        "alert_id", "violation_id", "stage", "vehicle_id", "event_at", "received_at", "created_at", "push", "body",
        "fanned_out_at",
    ),
    "deliveries": ("alert_id", "channel", "status", "tries", "next_try_at", "sent_at"),
}  # fmt: skip


def earlier(violation: Violation, by_us: int) -> Violation:
    """The same deed at an earlier time."""
    evidence = {name: _earlier(value, by_us) for name, value in violation.evidence.items()}
    closed_us = None if violation.closed_us is None else violation.closed_us - by_us
    return replace(
        violation,
        started_us=violation.started_us - by_us,
        ended_us=violation.ended_us - by_us,
        proven_us=violation.proven_us - by_us,
        closed_us=closed_us,
        evidence=evidence,
    )


def _earlier(value: Any, by_us: int) -> Any:
    if isinstance(value, str) and value.endswith("Z"):
        return rfc3339(to_us(datetime.fromisoformat(value)) - by_us)
    return value


class FindingsWriter:
    """Writes violations with their history and alerts, in the caller's transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in _TABLES}
        self.count = 0
        """Violations so far."""

    async def add(self, violations: Iterable[Violation]) -> None:
        """One in fifty was withdrawn later, one in two hundred excused."""
        for violation in violations:
            self._violation(violation)
            if len(self._rows["violations"]) >= _AT_ONCE:
                await self.flush()

    async def warn(self, warnings: Sequence[LimitWarning]) -> None:
        """Alerts of which no violation is known."""
        for warning in warnings:
            at = from_us(warning.at_us)
            self._alert(f"{warning.warning_id}:warning", None, "warning", warning.vehicle_id, at, warning.to_wire())
        await self.flush()

    async def flush(self) -> None:
        """Send what is gathered."""
        for table, rows in self._rows.items():
            if not rows:
                continue
            names = _TABLES[table]
            types = await self._types(table, names)
            statement = f"COPY {table} ({', '.join(names)}) FROM STDIN (FORMAT binary)"
            async with self._connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
                copy.set_types(types)
                for row in rows:
                    await copy.write_row(row)
            rows.clear()

    async def _types(self, table: str, names: Sequence[str]) -> list[str]:
        cursor = await self._connection.execute(
            "SELECT attname, atttypid::regtype::text FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0",
            (table,),
        )
        types = {name: kind.replace("double precision", "float8") for name, kind in await cursor.fetchall()}
        return [types[name] for name in names]

    def _violation(self, violation: Violation) -> None:
        self.count += 1
        proven_at = from_us(violation.proven_us)
        opened: Row = {**row_of(violation), "status": "open"}
        wire = violation.to_wire()
        violation_id: str = opened["violation_id"]
        self._revise(violation_id, 1, proven_at, "opened", None, opened)
        self._alert(f"{violation_id}:opened", violation_id, "opened", violation.vehicle_id, proven_at, wire)
        standing, changed_at, revision = opened, proven_at, 1
        if violation.closed_us is not None:
            closed_at = from_us(violation.closed_us)
            standing, changed_at, revision = {**opened, "status": "closed"}, closed_at, 2
            self._revise(violation_id, 2, closed_at, "closed", opened, standing)
            self._alert(f"{violation_id}:closed", violation_id, "closed", violation.vehicle_id, closed_at, wire)
        withdrawn_at = None
        if violation.closed_us is not None and self.count % _WITHDRAWN_ONE_IN == 0:
            changed_at += timedelta(minutes=20)
            withdrawn_at = changed_at
            self._revise(violation_id, revision + 1, changed_at, "withdrawn", standing, None)
            standing = {**standing, "status": "withdrawn"}
        elif violation.closed_us is not None and self.count % _EXCUSED_ONE_IN == 1:
            changed_at += timedelta(hours=5)
            excuse = {"excused_at": changed_at, "excused_by": "office", "excused_why": "verified jam"}
            self._revise(violation_id, revision + 1, changed_at, "excused", standing, {**standing, **excuse})
            standing = {**standing, **excuse}
        row = (*(adapted(standing[name]) for name in COLUMNS), changed_at + _RECEIVED, withdrawn_at)
        self._rows["violations"].append(row)

    def _revise(
        self, violation_id: str, revision: int, at: datetime, change: str, before: Row | None, after: Row | None
    ) -> None:
        why = "late fixes" if change == "withdrawn" else "judged on the stream"
        row = (violation_id, revision, at + _RECEIVED, change, why, history(before), history(after))
        self._rows["violation_revisions"].append(row)

    def _alert(
        self, alert_id: str, violation_id: str | None, stage: str, vehicle_id: str | None, at: datetime, body: Any
    ) -> None:
        received_at, told_at = at + _RECEIVED, at + _TOLD
        self._rows["alerts"].append(
            (alert_id, violation_id, stage, vehicle_id, at, received_at, received_at, True, Jsonb(body), told_at)
        )
        self._rows["deliveries"].append((alert_id, CHANNEL, "sent", 1, told_at, told_at))


def dumped(value: Any) -> bytes:
    """JSON, ten times as fast as the standard library's."""
    return msgspec.json.encode(value)
