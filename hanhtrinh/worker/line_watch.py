"""Lines that this worker judged by itself until the vehicles of another one added to them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from detectors.hours import Line
from hanhtrinh.worker.hours import FOREVER_US, HoursKeeper
from hanhtrinh.worker.lines import TouchedLine
from storage.activity import ActivityStore, LineNotice
from storage.connect import Connection
from storage.positions import Positions
from storage.violations import StageCount

_EVERY_S = 1.0
WHY = "the driver's fixes in another vehicle came beside these"


class LineWatch:
    """Looks for notices that lines of this worker's partitions were taken, and judges those lines again.

    What the worker has added since without asking is committed by then, and so is what the other had added when it took
    the line: whoever judges after both sees both.
    """

    def __init__(
        self, connection: Connection, positions: Positions, activity: ActivityStore, hours: HoursKeeper
    ) -> None:
        self._connection = connection
        self._positions = positions
        self._activity = activity
        self._hours = hours
        self._looked_s = -_EVERY_S

    async def look(self, owned: Mapping[int, int]) -> list[StageCount]:
        """Once a second. `owned` holds the next offset of each partition; Fenced when one stands elsewhere."""
        now_s = time.monotonic()
        if not owned or now_s - self._looked_s < _EVERY_S:
            return []
        self._looked_s = now_s
        noticed = await self._activity.noticed(self._positions.log_id, sorted(owned))
        if not noticed:
            return []
        async with self._connection.transaction():
            await self._positions.hold(self._connection, {partition: owned[partition] for partition in noticed})
            notices = await self._activity.take_notices(self._positions.log_id, noticed)
            now_us = time.time_ns() // 1000
            # Two workers that claimed a line they have just lost would take it from each other for ever.
            return await self._hours.follow(_touched(notices), lambda _: now_us, WHY, claim=False)


def _touched(notices: Sequence[LineNotice]) -> list[TouchedLine]:
    """Each line once, with all that was noticed of it."""
    touched: dict[Line, TouchedLine] = {}
    for line, partition, from_us in notices:
        before = touched.get(line)
        if before is not None:
            from_us = min(from_us, before.begin_us)
        one = before is None or partition == before.partition
        touched[line] = TouchedLine(line, from_us, FOREVER_US, partition if one else None)
    return list(touched.values())
