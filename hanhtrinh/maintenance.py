"""The loop that keeps sums and present hours fresh and drops what is old. Any number may run; one at a time works."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import psycopg

from hanhtrinh.hours_board import HoursBoard
from hanhtrinh.metrics import MaintenanceMetrics
from storage.connect import Connection, is_transient
from storage.retention import KeepFor
from storage.upkeep import Upkeep, Upkept

log = logging.getLogger(__name__)

_TURN_S = 60.0
_CONTINUOUS_TURN_S = 300.0
"""Where new fixes are counted when they are read, only late ones wait for a turn, which counts whole hours again."""
_DROP_EVERY_S = 3_600.0
_RETRY_S = 5.0


class Maintainer:
    """Takes turns until told to stop."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        keep: KeepFor,
        board: HoursBoard,
        metrics: MaintenanceMetrics,
    ) -> None:
        self._connect = connect
        self._keep = keep
        self._board = board
        self._metrics = metrics
        self._counted_s = -_CONTINUOUS_TURN_S
        self._dropped_s = -_DROP_EVERY_S
        self.trouble: str | None = None
        """Why it cannot work just now; None while it can. For the health check."""

    async def once(self) -> Upkept:
        """One turn with everything in it, after any that is under way elsewhere."""
        connection = await self._connect()
        try:
            done = await self._turn(Upkeep(connection, self._keep), drop=True, wait=True)
            await self._publish(connection)
        finally:
            await connection.close()
        assert done is not None
        return done

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set. A lost database is waited for; other errors raise."""
        while not stop.is_set():
            connection: Connection | None = None
            try:
                connection = await self._connect()
                await self._work(connection, stop)
            except psycopg.Error as error:
                if not is_transient(error, connection):
                    raise
                self.trouble = f"database: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
                log.warning("database lost, trying again in %.0f s: %s", _RETRY_S, self.trouble)
                await _wait(stop, _RETRY_S)
            finally:
                if connection is not None:
                    await connection.close()

    async def _work(self, connection: Connection, stop: asyncio.Event) -> None:
        upkeep = Upkeep(connection, self._keep)
        count_every_s = _CONTINUOUS_TURN_S if await upkeep.is_continuous() else _TURN_S
        while not stop.is_set():
            began_s = time.monotonic()
            await self._publish(connection)
            if began_s - self._counted_s >= count_every_s - 1.0:
                drop = began_s - self._dropped_s >= _DROP_EVERY_S
                done = await self._turn(upkeep, drop=drop, wait=False)
                self._counted_s = began_s
                if done is not None and drop:
                    self._dropped_s = began_s
            self._metrics.state(*await upkeep.state())
            self.trouble = None
            await _wait(stop, max(1.0, _TURN_S - (time.monotonic() - began_s)))

    async def _publish(self, connection: Connection) -> None:
        began_s = time.monotonic()
        lines = await self._board.publish(connection)
        self._metrics.published(lines, time.monotonic() - began_s)

    async def _turn(self, upkeep: Upkeep, *, drop: bool, wait: bool) -> Upkept | None:
        began_s = time.monotonic()
        done = await upkeep.turn(drop=drop, wait=wait)
        if done is None:
            log.debug("another process is at work")
            return None
        seconds = time.monotonic() - began_s
        self._metrics.turn(done.hours, done.waiting, seconds)
        self._metrics.dropped(done.dropped)
        if done.dropped:
            log.info("dropped %s", " ".join(f"{what}={n}" for what, n in done.dropped.items()))
        log.debug("turn hours=%d waiting=%d seconds=%.2f", done.hours, done.waiting, seconds)
        return done


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
