"""Plans of a worker's statements that keep up with the tables."""

from __future__ import annotations

import time

from storage.connect import Connection

_EVERY_S = 5.0


class FreshPlans:
    """Lets the database plan its statements anew every few seconds.

    It keeps the plan of a statement until a table is analyzed. A new database's are made for empty tables, which a
    fleet fills within a minute: each of 10,000 keys was then looked for by reading a whole table, and a batch took
    10 s. Planning all of them again takes some milliseconds.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._made_s = time.monotonic()

    async def look(self) -> None:
        """Forget the plans if they are old. Outside a transaction."""
        if time.monotonic() - self._made_s >= _EVERY_S:
            await self._connection.execute("DISCARD PLANS")
            self._made_s = time.monotonic()
