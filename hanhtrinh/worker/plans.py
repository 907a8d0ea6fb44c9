"""Plans of a worker's statements that keep up with the tables."""

from __future__ import annotations

import time

from storage.connect import Connection
from storage.plans import plan_again

_EVERY_S = 5.0


class FreshPlans:
    """Has the statements of a session planned anew every few seconds."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._made_s = time.monotonic()

    async def look(self) -> None:
        """Forget the plans if they are old."""
        if time.monotonic() - self._made_s >= _EVERY_S:
            await plan_again(self._connection)
            self._made_s = time.monotonic()
