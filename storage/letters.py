"""Dead letters: what could not be used, with its bytes and the reason (law 4)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import NamedTuple

from detectors.fix import from_us
from storage.connect import Connection

_CHUNK = re.compile(r'"_hyper_\d+_\d+_chunk"')


class DeadLetter(NamedTuple):
    """One message, or one fix of a message, that could not be used."""

    partition: int
    offset: int
    topic: str
    received_us: int
    reason: str
    detail: str
    payload: bytes

    @property
    def letter_id(self) -> str:
        """By content: the same bytes refused for the same reason are one letter, however often they were sent."""
        content = b"\0".join((self.topic.encode(), self.reason.encode(), self.detail.encode(), self.payload))
        return hashlib.blake2b(content, digest_size=16).hexdigest()


def refusal(error: Exception) -> str:
    """Why the database refuses a fix, in the same words each time: TimescaleDB names a chunk of the table, and makes
    another one when the same is tried again."""
    return _CHUNK.sub('"fixes"', str(error).splitlines()[0])


async def store_letters(connection: Connection, log_id: str, letters: Sequence[DeadLetter]) -> None:
    """Keep the letters, inside the caller's transaction. One that was put back into the log and comes again as the same
    letter is not new: it is unusable still."""
    if not letters:
        return
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO dead_letters"
            " (dead_letter_id, log_id, partition, log_offset, topic, received_at, reason, detail, payload)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (dead_letter_id) DO UPDATE"
            " SET retry_outcome = 'unusable', retry_detail = excluded.reason || ': ' || excluded.detail"
            " WHERE dead_letters.retry_outcome IN ('sending', 'sent')",
            # In one order, or two workers that meet the same letters could lock each other out.
            [
                (
                    letter.letter_id,
                    log_id,
                    letter.partition,
                    letter.offset,
                    _storable(letter.topic),
                    from_us(letter.received_us),
                    letter.reason,
                    _storable(letter.detail),
                    letter.payload,
                )
                for letter in sorted(letters, key=lambda each: each.letter_id)
            ],
        )


def _storable(text: str) -> str:
    """PostgreSQL takes neither NUL nor lone surrogates in text; the bytes themselves are kept in payload."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
