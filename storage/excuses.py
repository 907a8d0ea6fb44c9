"""Excuses: a violation stands with an officer's reason (force majeure, a verified jam); nothing is deleted."""

from __future__ import annotations

import time
from typing import NamedTuple

from detectors.violation import Excuse
from storage.connect import Connection
from storage.violation_rows import Row
from storage.violations import ViolationStore


class ExcuseError(Exception):
    """A violation cannot be excused, or its excuse not withdrawn; the message says why."""


class Excused(NamedTuple):
    """The violation as it now stands, for the officer."""

    violation_id: str
    kind: str
    vehicle_id: str | None
    driver_id: str | None


class ExcuseStore:
    """Writes excuses, each in a transaction of its own."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._violations = ViolationStore(connection)

    async def excuse(self, violation_id: str, by: str, why: str) -> Excused:
        """Excuse a standing violation. ExcuseError when there is none of this id, or it is excused already."""
        async with self._connection.transaction():
            row = await self._violations.locked(violation_id)
            if row is None:
                raise _unknown(violation_id)
            if row["status"] == "withdrawn":
                raise ExcuseError(f"violation {violation_id} is withdrawn: there is nothing to excuse")
            if row["excused_by"] is not None:
                raise ExcuseError(
                    f"violation {violation_id} was excused by {row['excused_by']} already ({row['excused_why']}):"
                    " withdraw that with --undo first"
                )
            await self._violations.set_excuse(row, Excuse(time.time_ns() // 1000, by, why), f"{by}: {why}")
        return _excused(row)

    async def withdraw(self, violation_id: str, by: str, why: str) -> Excused:
        """Withdraw an excuse. ExcuseError when there is none."""
        async with self._connection.transaction():
            row = await self._violations.locked(violation_id)
            if row is None:
                raise _unknown(violation_id)
            if row["status"] == "withdrawn" or row["excused_by"] is None:
                what = "withdrawn itself" if row["status"] == "withdrawn" else "not excused"
                raise ExcuseError(f"violation {violation_id} is {what}: there is no excuse to withdraw")
            await self._violations.set_excuse(row, None, f"{by}: {why}")
        return _excused(row)


def _unknown(violation_id: str) -> ExcuseError:
    return ExcuseError(f"no violation {violation_id!r}: expected an id as an alert or the table of violations shows it")


def _excused(row: Row) -> Excused:
    return Excused(row["violation_id"], row["kind"], row["vehicle_id"], row["driver_id"])
