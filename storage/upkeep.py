"""One turn of keeping the database: sums brought up to date, old rows dropped. One process at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from storage.connect import Connection
from storage.retention import KeepFor, Retention, is_in_use
from storage.sums import Sums, is_continuous

# Any number, as long as every version of the program takes the same one.
LOCK = 7_238_104_452


class Upkept(NamedTuple):
    """What a turn did."""

    hours: int
    """Of vehicles, counted again."""
    waiting: int
    """Hours that are not over, and will be counted again."""
    dropped: Mapping[str, int]


class DatabaseState(NamedTuple):
    """What only the database knows, for whoever watches it."""

    database_bytes: int
    marks: int
    """Vehicles that wait to be judged again."""
    oldest_mark_s: float


class Upkeep:
    """Takes turns on one connection, and holds a lock for each."""

    def __init__(self, connection: Connection, keep: KeepFor) -> None:
        self._connection = connection
        self._sums = Sums(connection)
        self._retention = Retention(connection, keep)

    async def is_continuous(self) -> bool:
        """Whether the database counts what is new by itself, when it is read."""
        return await is_continuous(self._connection)

    async def state(self) -> DatabaseState:
        """Size of the database, and what waits to be judged again."""
        cursor = await self._connection.execute(
            "SELECT pg_database_size(current_database()), count(*),"
            " coalesce(extract(epoch FROM clock_timestamp() - min(marked_at)), 0)::float8 FROM rejudge_marks"
        )
        row = await cursor.fetchone()
        assert row is not None
        return DatabaseState(*row)

    async def turn(self, *, drop: bool, wait: bool) -> Upkept | None:
        """Count what changed; `drop` what is old enough as well. None when another process is at it, unless `wait`."""
        if not await self._locked(wait=wait):
            return None
        try:
            return await self._work(drop=drop)
        finally:
            # After an error the connection may be gone, and the lock with it.
            if not self._connection.closed:
                await self._connection.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))

    async def _locked(self, *, wait: bool) -> bool:
        if wait:
            await self._connection.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
            return True
        row = await (await self._connection.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,))).fetchone()
        return bool(row and row[0])

    async def _work(self, *, drop: bool) -> Upkept:
        counted = await self._sums.bring_up_to_date()
        dropped: Mapping[str, int] = {}
        if drop:
            await self._retention.set_policies()
            try:
                dropped = await self._retention.drop()
            except Exception as error:
                if not is_in_use(error):
                    raise
        return Upkept(counted.hours, counted.waiting, {what: n for what, n in dropped.items() if n})
