"""Keeps a worker from waiting for one that is frozen."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import psycopg

from storage.blockers import end_silent_blockers
from storage.connect import Connection

log = logging.getLogger(__name__)


class Guard:
    """Looks after a worker's turns: when one does not end, whatever frozen session it waits for is ended.

    A worker that was frozen inside a `COPY` would else hold its partitions for as long as it is frozen.
    """

    def __init__(self, connect: Callable[[], Awaitable[Connection]], silent_s: float, look_every_s: float) -> None:
        """`silent_s`: for how long the other session must have been silent."""
        self._connect = connect
        self._silent_s = silent_s
        self._look_every_s = look_every_s
        self.turns = 0
        """How many the worker has taken."""

    async def watch(self, backend_pid: int) -> None:
        """Until cancelled, over the worker whose database session has this process id."""
        while True:
            turns = self.turns
            await asyncio.sleep(self._look_every_s)
            if turns == self.turns:
                try:
                    await self._end_blockers(backend_pid)
                except psycopg.Error as error:
                    # The worker itself finds out what is wrong with the database.
                    log.debug("blockers not looked for: %s", error)

    async def _end_blockers(self, backend_pid: int) -> None:
        connection = await self._connect()
        try:
            ended = await end_silent_blockers(connection, backend_pid, self._silent_s)
        finally:
            await connection.close()
        for pid in ended:
            log.warning("ended the session of a frozen worker that held our partitions pid=%d", pid)
