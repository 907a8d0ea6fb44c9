"""Dead letters for the operator: found, shown, and marked when they are put back into the log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from storage.connect import Connection

_COLUMNS = (
    "dead_letter_id, log_id, partition, log_offset, topic, received_at, reason, detail, payload, created_at, retries,"
    " retried_at, retry_outcome, retry_detail"
)
_SHORTEST_PREFIX = 4


class LetterError(Exception):
    """A dead letter cannot be found by what was given; the message says what was expected."""


class StoredLetter(NamedTuple):
    """One dead letter as it is kept; `partition` and `log_offset` say where the log `log_id` had it."""

    dead_letter_id: str
    log_id: str
    partition: int
    log_offset: int
    topic: str
    received_at: datetime
    reason: str
    detail: str
    payload: bytes
    created_at: datetime
    retries: int
    retried_at: datetime | None
    retry_outcome: str | None
    """None: never tried again; "sending" (perhaps not done), "sent", or "unusable"."""
    retry_detail: str | None


class LetterFilter(NamedTuple):
    """Which letters; a topic may hold * for any characters. `sent`: also those that the log has again."""

    reason: str | None = None
    since: datetime | None = None
    topics: Sequence[str] | None = None
    sent: bool = False

    def sql(self) -> tuple[str, dict[str, Any]]:
        """The condition and its parameters."""
        conditions = ["true"] if self.sent else ["retry_outcome IS DISTINCT FROM 'sent'"]
        if self.reason is not None:
            conditions.append("reason = %(reason)s")
        if self.since is not None:
            conditions.append("received_at >= %(since)s")
        if self.topics is not None:
            conditions.append("topic LIKE ANY(%(topics)s)")
        topics = [_like(topic) for topic in self.topics or ()]
        return " AND ".join(conditions), {"reason": self.reason, "since": self.since, "topics": topics}


class LetterBook:
    """The dead letters of one database; each method is one statement and one commit."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def count(self, chosen: LetterFilter) -> int:
        """How many there are."""
        where, parameters = chosen.sql()
        cursor = await self._connection.execute(f"SELECT count(*) FROM dead_letters WHERE {where}".encode(), parameters)
        row = await cursor.fetchone()
        assert row is not None
        return int(row[0])

    async def newest(self, chosen: LetterFilter, limit: int) -> list[StoredLetter]:
        """The last received ones, newest first."""
        where, parameters = chosen.sql()
        return await self._letters(
            f"SELECT {_COLUMNS} FROM dead_letters WHERE {where} ORDER BY received_at DESC, dead_letter_id"
            " LIMIT %(limit)s",
            parameters | {"limit": limit},
        )

    async def next(self, chosen: LetterFilter, after: StoredLetter | None, limit: int) -> list[StoredLetter]:
        """The first received ones after a letter, oldest first: to go through all of them in pieces."""
        where, parameters = chosen.sql()
        if after is not None:
            where += " AND (received_at, dead_letter_id) > (%(received_at)s, %(dead_letter_id)s)"
            parameters |= {"received_at": after.received_at, "dead_letter_id": after.dead_letter_id}
        return await self._letters(
            f"SELECT {_COLUMNS} FROM dead_letters WHERE {where} ORDER BY received_at, dead_letter_id LIMIT %(limit)s",
            parameters | {"limit": limit},
        )

    async def get(self, given: str) -> StoredLetter:
        """The letter of this id, or of the only id that begins so. LetterError when there is none or more than one."""
        if len(given) < _SHORTEST_PREFIX or not given.isalnum():
            raise LetterError(f"dead letter {given!r}: expected an id as `hanhtrinh dead list` shows it")
        found = await self._letters(
            f"SELECT {_COLUMNS} FROM dead_letters WHERE dead_letter_id LIKE %(prefix)s ORDER BY dead_letter_id LIMIT 2",
            {"prefix": f"{given}%"},
        )
        if not found:
            raise LetterError(f"no dead letter {given!r}: `hanhtrinh dead list` shows those there are")
        if len(found) > 1:
            raise LetterError(f"dead letter {given!r}: several ids begin so, give more of it")
        return found[0]

    async def sending(self, letter_ids: Sequence[str]) -> None:
        """These are about to be put into the log: noted before, so that whatever a worker says of them comes after."""
        await self._connection.execute(
            "UPDATE dead_letters SET retries = retries + 1, retried_at = clock_timestamp(), retry_outcome = 'sending',"
            " retry_detail = NULL WHERE dead_letter_id = ANY(%s)",
            [list(letter_ids)],
        )

    async def sent(self, letter_ids: Sequence[str]) -> None:
        """The log has them; what a worker has found unusable by now stays so."""
        await self._connection.execute(
            "UPDATE dead_letters SET retry_outcome = 'sent' WHERE dead_letter_id = ANY(%s)"
            " AND retry_outcome = 'sending'",
            [list(letter_ids)],
        )

    async def unusable(self, details: Sequence[tuple[str, str]]) -> None:
        """(letter id, why): today's decoders refuse them still."""
        await self._connection.execute(
            "UPDATE dead_letters SET retries = retries + 1, retried_at = clock_timestamp(), retry_outcome = 'unusable',"
            " retry_detail = said.detail FROM unnest(%s::text[], %s::text[]) AS said(id, detail)"
            " WHERE dead_letter_id = said.id",
            [[letter_id for letter_id, _ in details], [detail for _, detail in details]],
        )

    async def _letters(self, query: str, parameters: dict[str, Any]) -> list[StoredLetter]:
        cursor = await self._connection.execute(query.encode(), parameters)
        return [StoredLetter(*row) for row in await cursor.fetchall()]


def _like(topic: str) -> str:
    return topic.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_").replace("*", "%")
