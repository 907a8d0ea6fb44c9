"""The day that every round sends: a seeded fleet on a bad network, and trackers that keep what nobody acknowledged."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from hanhtrinh.commands.recording_options import mapping_of
from ingest.publisher import Broker, MqttError, Publisher
from ingest.recordings import Recording
from ingest.recordings.messages import OutMessage, messages
from ingest.simulator import Fleet, write_fleet
from tests.chain import until

_BEGIN = datetime(2026, 3, 3, 22, tzinfo=UTC)


@dataclass(frozen=True)
class Day:
    """Messages in order of delivery: late, doubled and shuffled, some of them no position; and the fleet's registry."""

    messages: list[OutMessage]
    registry: list[Path]


class DaySize(NamedTuple):
    """How large a fleet, for how long, and what must at least be planted in its day, by kind."""

    vehicles: int
    hours: int
    interval_s: int
    planted: dict[str, int]


LONG_DAY = DaySize(8, 7, 30, {"speeding": 6, "continuous_driving": 1})
SHORT_DAY = DaySize(5, 6, 45, {"speeding": 4})


def make_day(seed: int, folder: Path, size: DaySize) -> Day:
    """The day of the first seed from this one on that plants enough."""
    while True:
        write_fleet(Fleet(seed, size.vehicles, _BEGIN, timedelta(hours=size.hours), size.interval_s), folder)
        planted = Counter(each["kind"] for each in json.loads((folder / "planted.json").read_text()))
        if planted >= Counter(size.planted):
            break
        seed += 1
    lines = (folder / "fleet.ndjson").read_bytes().splitlines()
    for number in range(0, len(lines), 200):
        lines.insert(number, b'{"vehicle_id": "V1", "time": %d, "lat": 99, "lon": 105.8}' % number)
    path = folder / "fleet.ndjson"
    path.write_bytes(b"\n".join(lines) + b"\n")
    sent = list(messages(Recording(path, mapping_of(None, None, None, None, None))))
    return Day(sent, [folder / f"{name}.csv" for name in ("operators", "vehicles", "drivers")])


class Trackers:
    """Sends the day at a rate, never beyond `allow`; after a lost broker, again what was not acknowledged."""

    def __init__(self, port: int, day: Day, per_second: float) -> None:
        self._publisher = Publisher(Broker("127.0.0.1", port), window=50)
        self._gap_s = 1 / per_second
        self._unacknowledged = dict(enumerate(day.messages))
        self._number_of = {id(message): number for number, message in enumerate(day.messages)}
        self.allowed = 0
        self._more = asyncio.Event()
        self._next_s = 0.0

    @property
    def acknowledged(self) -> int:
        """How many the broker has taken."""
        return len(self._number_of) - len(self._unacknowledged)

    def allow(self, messages: int) -> None:
        """Let so many messages of the day go out in all."""
        self.allowed = max(self.allowed, messages)
        self._more.set()

    async def send(self) -> None:
        """Return when the broker has acknowledged everything."""
        while self._unacknowledged:
            waiting = list(self._unacknowledged.values())
            try:
                await self._publisher.publish(self._stream(waiting), self, self._acknowledged)
            except MqttError:
                await asyncio.sleep(0.1)

    async def sent(self, messages: int) -> None:
        """Return when the broker has acknowledged so many."""

        async def are_sent() -> bool:
            return self.acknowledged >= messages

        await until(are_sent, f"{messages} messages acknowledged", 120)

    async def wait(self, message: OutMessage) -> None:
        """As `ingest.publisher.Pace`."""
        while self._number_of[id(message)] >= self.allowed:
            self._more.clear()
            await self._more.wait()
        now_s = asyncio.get_running_loop().time()
        self._next_s = max(self._next_s + self._gap_s, now_s - 0.1)
        if self._next_s > now_s:
            await asyncio.sleep(self._next_s - now_s)

    def _acknowledged(self, message: OutMessage) -> None:
        self._unacknowledged.pop(self._number_of[id(message)], None)

    async def _stream(self, waiting: list[OutMessage]) -> AsyncIterator[OutMessage]:
        for message in waiting:
            yield message
