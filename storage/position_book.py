"""Positions for the operator: how far each partition is worked off, and moving one by hand with a record of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from storage.connect import Connection
from storage.positions import Positions


class StoredPosition(NamedTuple):
    """How far one partition is worked off; `newest_event_at` is the time of the newest sound fix in it."""

    partition: int
    next_offset: int
    updated_at: datetime
    newest_event_at: datetime | None


class PositionChange(NamedTuple):
    """A position that an operator moved; `from_offset` is None when none was stored."""

    partition: int
    changed_at: datetime
    changed_by: str
    why: str
    from_offset: int | None
    to_offset: int


class OtherLog(NamedTuple):
    """Another log that was read into this database."""

    log_id: str
    last_commit_at: datetime | None


class PositionBook:
    """The positions in one log. Moving one is safe beside a running worker: its next commit is fenced, and it reads on
    from the new position."""

    def __init__(self, connection: Connection, log_id: str, partitions: int, topic_id: str | None = None) -> None:
        self._connection = connection
        self._log_id = log_id
        self._positions = Positions(log_id, partitions, topic_id)

    async def require_same(self) -> None:
        """WrongLog when this log has taken the place of another of its name."""
        await self._positions.require_same(self._connection)

    async def stored(self) -> dict[int, StoredPosition]:
        """By partition; nothing for a log that no worker has read yet."""
        cursor = await self._connection.execute(
            "SELECT partition, next_offset, updated_at, newest_event_at FROM log_positions WHERE log_id = %s"
            " ORDER BY partition",
            [self._log_id],
        )
        return {row[0]: StoredPosition(*row) for row in await cursor.fetchall()}

    async def others(self) -> list[OtherLog]:
        """The other logs, the last read first."""
        cursor = await self._connection.execute(
            "SELECT log_id, max(updated_at) FILTER (WHERE next_offset > 0) AS at FROM logs"
            " LEFT JOIN log_positions USING (log_id) WHERE log_id <> %s GROUP BY log_id ORDER BY at DESC NULLS LAST",
            [self._log_id],
        )
        return [OtherLog(*row) for row in await cursor.fetchall()]

    async def changes(self, limit: int) -> list[PositionChange]:
        """The last ones made by hand, newest first."""
        cursor = await self._connection.execute(
            "SELECT partition, changed_at, changed_by, why, from_offset, to_offset FROM position_changes"
            " WHERE log_id = %s ORDER BY changed_at DESC, partition LIMIT %s",
            [self._log_id, limit],
        )
        return [PositionChange(*row) for row in await cursor.fetchall()]

    async def move(self, targets: Mapping[int, int], by: str, why: str, *, adopt: bool) -> list[PositionChange]:
        """Set these partitions and note who did it and why, in one transaction.

        `adopt` takes the log for the successor of another of its name; without it that is a WrongLog.
        """
        async with self._connection.transaction():
            known = await self.stored()
            await self._positions.register(self._connection, adopt=adopt)
            if adopt:
                await self._inherit()
            moved = []
            for partition, to_offset in sorted(targets.items()):
                cursor = await self._connection.execute(
                    "WITH old AS (SELECT next_offset FROM log_positions WHERE log_id = %(log_id)s"
                    "  AND partition = %(partition)s FOR UPDATE), moved AS (UPDATE log_positions SET"
                    "  next_offset = %(to)s, silences_judged_to = NULL, updated_at = clock_timestamp()"
                    "  WHERE log_id = %(log_id)s AND partition = %(partition)s)"
                    " INSERT INTO position_changes (log_id, partition, changed_by, why, from_offset, to_offset)"
                    " SELECT %(log_id)s, %(partition)s, %(by)s, %(why)s, CASE WHEN %(known)s THEN next_offset END,"
                    " %(to)s FROM old RETURNING partition, changed_at, changed_by, why, from_offset, to_offset",
                    {
                        "log_id": self._log_id,
                        "partition": partition,
                        "to": to_offset,
                        "by": by,
                        "why": why,
                        "known": partition in known,
                    },
                )
                moved += [PositionChange(*row) for row in await cursor.fetchall()]
        return moved

    async def _inherit(self) -> None:
        """What the log's predecessors of the same name, with as many partitions, were to do about their vehicles and
        the lines of their drivers."""
        for table in ("rejudge_marks", "vehicle_anchors", "driver_hours", "line_notices"):
            await self._connection.execute(
                f"UPDATE {table} SET log_id = %(mine)s WHERE log_id IN (SELECT old.log_id FROM logs AS old JOIN logs"
                " AS new ON new.log_id = %(mine)s AND new.partitions = old.partitions WHERE old.log_id <> new.log_id"
                " AND old.log_id NOT LIKE 'embedded/%%'"
                " AND substr(old.log_id, strpos(old.log_id, '/')) = substr(%(mine)s, strpos(%(mine)s, '/')))".encode(),
                {"mine": self._log_id},
            )
