"""Publishes where vehicles are: every few seconds those that changed, beside the transactions that store fixes."""

from __future__ import annotations

import math
import time

import numpy as np

from detectors.activity import Activity
from detectors.checks import NEVER
from detectors.columns import UNKNOWN, Code
from hanhtrinh.worker.roster import Roster
from storage.connect import Connection
from storage.last_positions import LastPosition, save_last_positions

_EVERY_S = 3.0
_MOST = 2_000
"""In one turn, about 20 ms: more vehicles wait for the next one."""


class PositionBoard:
    """Writes the table of last positions from what the worker remembers of its vehicles."""

    def __init__(self, connection: Connection, roster: Roster) -> None:
        self._connection = connection
        self._roster = roster
        self._wrote_s = -_EVERY_S
        self._next = 0
        """The code at which the next turn begins, so that none waits for ever."""

    async def look(self) -> None:
        """Publish some, if it is time."""
        now_s = time.monotonic()
        if now_s - self._wrote_s < _EVERY_S:
            return
        self._wrote_s = now_s
        await self._publish(self._waiting()[:_MOST])

    async def flush(self) -> None:
        """Publish all that wait: before the worker ends."""
        waiting = self._waiting()
        for first in range(0, len(waiting), _MOST):
            await self._publish(waiting[first : first + _MOST])

    def _waiting(self) -> Code:
        roster = self._roster
        size = min(len(roster.loaded), roster.judge.state.size)
        there = roster.judge.state.last_us[:size] != NEVER
        codes = np.flatnonzero(roster.loaded[:size] & roster.unpublished[:size] & there).astype(np.int32)
        return np.roll(codes, -int(np.searchsorted(codes, self._next)))

    async def _publish(self, codes: Code) -> None:
        if not len(codes):
            return
        await save_last_positions(self._connection, self._positions(codes))
        self._roster.unpublished[codes] = False
        self._next = int(codes[-1]) + 1

    def _positions(self, codes: Code) -> list[LastPosition]:
        roster, state = self._roster, self._roster.judge.state
        columns = (
            codes, state.last_us[codes], state.last_lat[codes], state.last_lon[codes], state.last_speed_kmh[codes],
            state.last_driver[codes], state.activity[codes], roster.limits.of(codes), roster.newest_us[codes],
            roster.newest_flags[codes],
        )  # fmt: skip
        return [
            LastPosition(
                roster.vehicles.names[code],
                time_us,
                lat,
                lon,
                None if math.isnan(speed_kmh) else speed_kmh,
                roster.drivers.name(driver),
                None if activity == UNKNOWN else Activity(activity).name.lower(),
                limit_kmh,
                roster.limits.source(code).name.lower(),
                newest_us,
                newest_flags,
            )
            for code, time_us, lat, lon, speed_kmh, driver, activity, limit_kmh, newest_us, newest_flags in zip(
                *(column.tolist() for column in columns), strict=True
            )
        ]
