"""Publishes how drivers stand against the limits on their hours, as the judge of violations has it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from detectors.activity import Activity
from detectors.hours import HoursJudgement, HoursRules, Interval, judge_hours
from detectors.hours_now import look_again_us
from detectors.rules.driving_time import HoursKind
from hanhtrinh.driver_packs import DriverPacks
from storage.activity import ActivityStore
from storage.connect import Connection
from storage.driver_now import DriverNowStore, LineNow, LineToLookAt

_MOST = 2_000
"""Lines in one turn: a few seconds at the beginning of a week, half a minute at its end (docs/database.md)."""
_AT_ONCE = 10
"""Lines read together: what runs beside waits no longer than their judging takes."""


class HoursBoard:
    """Writes the table of present hours: in each turn the lines whose figures are old by now."""

    def __init__(self, packs: DriverPacks) -> None:
        self._packs = packs

    async def publish(self, connection: Connection) -> int:
        """One turn on a connection in autocommit mode; how many lines it wrote. 0 when another process is at it."""
        store = DriverNowStore(connection)
        if not await store.lock():
            return 0
        try:
            due = await store.due(_MOST)
            for first in range(0, len(due), _AT_ONCE):
                await self._look(connection, store, due[first : first + _AT_ONCE])
                await asyncio.sleep(0)
            return len(due)
        finally:
            await store.unlock()

    async def _look(self, connection: Connection, store: DriverNowStore, lines: Sequence[LineToLookAt]) -> None:
        activity = ActivityStore(connection)
        named = [each.line.driver_id for each in lines if each.line.driver_id is not None]
        packs = await activity.rule_packs(named) if named else {}
        timelines = await activity.timeline([(each.line, each.since_us) for each in lines])
        rows = []
        for each in lines:
            intervals = timelines[each.line]
            if intervals:
                rules = self._packs.named_or_configured(packs.get(each.line.driver_id or ""))
                judgement = judge_hours(each.line, intervals, rules, each.since_us)
                rows.append(_row(each, intervals, judgement, rules))
        await store.save(rows, [each.line for each in lines if not timelines[each.line]])


def _row(
    looked_at: LineToLookAt, intervals: Sequence[Interval], judgement: HoursJudgement, rules: HoursRules
) -> LineNow:
    at_us, clocks = judgement.judged_to_us, judgement.clocks
    return LineNow(
        looked_at.line,
        looked_at.vehicle_id,
        at_us,
        any(each.activity == Activity.DRIVING and each.end_us == at_us for each in intervals),
        clocks[HoursKind.CONTINUOUS],
        clocks.get(HoursKind.DAILY),
        clocks.get(HoursKind.WEEKLY),
        clocks.get(HoursKind.FORTNIGHT),
        look_again_us(judgement, rules),
        looked_at.judgements,
    )
