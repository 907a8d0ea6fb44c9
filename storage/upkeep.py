"""One turn of keeping the database: sums brought up to date, old rows dropped. One process at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from storage.connect import Connection
from storage.retention import KeepFor, Retention, is_in_use
from storage.sums import Sums, is_continuous

# Any number, as long as every version of the program takes the same one.
_LOCK = 7_238_104_452


class Upkept(NamedTuple):
    """What a turn did."""

    hours: int
    """Of vehicles, counted again."""
    waiting: int
    """Hours that are not over, and will be counted again."""
    dropped: Mapping[str, int]


class Upkeep:
    """Works on one connection, whose session holds the lock for as long as it lives."""

    def __init__(self, connection: Connection, keep: KeepFor) -> None:
        self._connection = connection
        self._sums = Sums(connection)
        self._retention = Retention(connection, keep)

    async def take(self, *, wait: bool) -> bool:
        """Take the lock, and set TimescaleDB's policies. False when another process has it."""
        if wait:
            await self._connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        else:
            row = await (await self._connection.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,))).fetchone()
            if not (row and row[0]):
                return False
        await self._retention.set_policies()
        return True

    async def is_continuous(self) -> bool:
        """Whether the database counts what is new by itself, when it is read."""
        return await is_continuous(self._connection)

    async def turn(self, *, drop: bool) -> Upkept:
        """Count what changed; `drop` what is old enough as well."""
        counted = await self._sums.bring_up_to_date()
        dropped: Mapping[str, int] = {}
        if drop:
            try:
                dropped = await self._retention.drop()
            except Exception as error:
                if not is_in_use(error):
                    raise
        return Upkept(counted.hours, counted.waiting, {what: n for what, n in dropped.items() if n})
