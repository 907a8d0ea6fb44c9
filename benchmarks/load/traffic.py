"""What a country's vehicles send: each its fix every 30 seconds, made ready for Kafka at the least cost.

The generator shares two cores with everything that is measured, so what does not change of a message is written once,
and what does into the messages of many vehicles at once: each of its numbers has a place of fixed width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.fix import from_us
from ingest.partitioning import murmur2

EVERY_S = 30
SLOTS_PER_S = 10
SLOTS = EVERY_S * SLOTS_PER_S
"""Vehicles are spread evenly over so many moments of the 30 seconds."""

SPEEDING_EVERY_S = 66_000
"""Of each vehicle, once, three fixes long. At 50 km/h that is 1.1 for 1,000 km: a million vehicles open 15 a second."""
_SPEEDING_FIXES = 3
_STOP_EVERY = 40
_STOP_FIXES = 3
"""Every 20 minutes each vehicle stands for 90 seconds: 5 % of the fixes change what it does."""
DOUBLED_ONE_IN = 1_000
LATE_ONE_IN = 2_000
TIRED_ONE_IN = 5_000
"""Drivers who have nearly four hours behind them, told in one list when their vehicle comes out of a dead zone."""
_LIMIT_S = 4 * 3_600
_SEED = 1
_METRES_PER_DEGREE = 111_195.0
_MESSAGE = (
    b'{"vehicle_id":"%b","driver_id":"D%b","time":"2026-01-01T00:00:00.000Z","lat": 0.000000,"speed_kmh":  0.0,'
    b'"lon":%10.6f,"heading_deg":%3d.0,"ignition":true,"satellites":%2d,"hdop":0.9,"valid":true}'
)
_WRITTEN = _MESSAGE % (b"V0000000", b"0000000", 100.0, 0, 0)


def _place(before: bytes, width: int) -> slice:
    begin = _WRITTEN.index(before) + len(before)
    return slice(begin, begin + width)


_TIME, _LAT, _SPEED = _place(b'"time":"', 24), _place(b'"lat":', 9), _place(b'"speed_kmh":', 5)


class Record(NamedTuple):
    """A message as Kafka gets it."""

    key: bytes
    topic: bytes
    payload: bytes


_record: Callable[[tuple[bytes, bytes, bytes]], Record] = partial(tuple.__new__, Record)
"""Twice as fast as `Record(...)`, which is a function in Python."""


class Traffic:
    """Moves the vehicles; one call of `slot` for each tenth of a second."""

    def __init__(
        self, vehicles: int, partitions: int, tired_within_s: float, speeding_every_s: int = SPEEDING_EVERY_S
    ) -> None:
        """Drivers who are tired pass their four hours evenly over `tired_within_s` from the first slot on."""
        self.vehicles = vehicles
        random = np.random.default_rng(_SEED)
        names = [b"V%07d" % number for number in range(vehicles)]
        partition = np.array([murmur2(name) & 0x7FFFFFFF for name in names]) % partitions
        self._bounds = [vehicles * slot // SLOTS for slot in range(SLOTS + 1)]
        slots = np.searchsorted(self._bounds[1:], np.arange(vehicles), side="right")
        order = np.lexsort((partition, slots))
        self._names = [names[number] for number in order.tolist()]
        self._topics = [b"hanhtrinh/" + name for name in self._names]
        lon = random.uniform(102.5, 109.0, vehicles)
        heading = random.integers(0, 360, vehicles)
        told = zip(self._names, lon.tolist(), heading.tolist(), random.integers(6, 15, vehicles).tolist(), strict=True)
        text = bytearray().join(_MESSAGE % (name, name[1:], *others) for name, *others in told)
        self._messages = np.frombuffer(text, np.uint8).reshape(vehicles, -1)
        self._splits = [
            np.searchsorted(partition[order][begin:end], np.arange(1, partitions)).tolist()
            for begin, end in pairwise(self._bounds)
        ]
        self._lat = random.uniform(8.6, 22.0, vehicles)
        self._speed_kmh = np.zeros(vehicles)
        self._cruise_kmh = random.uniform(30.0, 72.0, vehicles)
        self._speeding_every = speeding_every_s // EVERY_S
        self._speeding = random.integers(0, self._speeding_every, vehicles)
        self._stopping = random.integers(0, _STOP_EVERY, vehicles)
        self._tired = np.arange(vehicles) % TIRED_ONE_IN == 17
        self._driven_s = _LIMIT_S - random.uniform(0.0, tired_within_s, vehicles)
        self._chance = random.integers(0, DOUBLED_ONE_IN * LATE_ONE_IN, vehicles)
        self._again: list[list[Record]] = [[] for _ in range(partitions)]
        self._late: list[list[list[Record]]] = [[[] for _ in range(partitions)] for _ in range(SLOTS)]

    def slot(self, number: int, time_us: int) -> list[list[Record]]:
        """The records of slot `number`, counted from 0 over all cycles, by partition, in the order of sending."""
        cycle, slot = divmod(number, SLOTS)
        begin, end = self._bounds[slot], self._bounds[slot + 1]
        here = slice(begin, end)
        self._drive(cycle, here)
        payloads = self._payloads(here, time_us)
        if cycle == 0:
            for row in np.flatnonzero(self._tired[here]).tolist():
                payloads[row] = self._backlog(begin + row, time_us, payloads[row])
        records = list(map(_record, zip(self._names[here], self._topics[here], payloads, strict=True)))
        return self._disturbed(records, cycle, slot)

    def _drive(self, cycle: int, here: slice) -> None:
        before_kmh, cruise_kmh = self._speed_kmh[here], self._cruise_kmh[here]
        speed_kmh = cruise_kmh + (cycle % 3)
        stands = ((cycle + self._stopping[here]) % _STOP_EVERY < _STOP_FIXES) & ~self._tired[here]
        speeds = (cycle + self._speeding[here]) % self._speeding_every < _SPEEDING_FIXES
        speed_kmh[stands] = 0.0
        speed_kmh[speeds] = 88.0 + cruise_kmh[speeds] / 2
        if cycle:
            self._lat[here] += (before_kmh + speed_kmh) / 2 / 3.6 * EVERY_S / _METRES_PER_DEGREE
        self._speed_kmh[here] = speed_kmh

    def _payloads(self, here: slice, time_us: int) -> list[bytes]:
        messages = self._messages[here]
        messages[:, _TIME] = np.frombuffer(_time(time_us), np.uint8)
        _write(messages[:, _LAT], self._lat[here] * 1e6, decimals=6)
        _write(messages[:, _SPEED], self._speed_kmh[here] * 10, decimals=1)
        text, width = messages.tobytes(), messages.shape[1]
        return [text[begin : begin + width] for begin in range(0, len(text), width)]

    def _backlog(self, row: int, time_us: int, newest: bytes) -> bytes:
        """The hours before as a list, oldest first, the newest fix at its end."""
        speed_kmh, lat = float(self._speed_kmh[row]), float(self._lat[row])
        step = speed_kmh / 3.6 * EVERY_S / _METRES_PER_DEGREE
        fixes = [
            b"%b%b%b%9.6f%b"
            % (newest[: _TIME.start], _time(time_us - back * EVERY_S * 1_000_000), newest[_TIME.stop : _LAT.start],
               lat - back * step, newest[_LAT.stop :])
            for back in range(int(self._driven_s[row] / EVERY_S), 0, -1)
        ]  # fmt: skip
        return b"[%b]" % b",".join([*fixes, newest])

    def _disturbed(self, records: list[Record], cycle: int, slot: int) -> list[list[Record]]:
        """With those that come a second time, and those that come after the vehicle's next fix."""
        begin, end = self._bounds[slot], self._bounds[slot + 1]
        chance = self._chance[begin:end] + cycle
        splits = [0, *self._splits[slot], end - begin]
        parts = [records[first:last] for first, last in pairwise(splits)]
        out, self._again = self._again, [[] for _ in parts]
        late, self._late[slot] = self._late[slot], [[] for _ in parts]
        for row in np.flatnonzero(chance % DOUBLED_ONE_IN == 0).tolist():
            self._again[_part_of(row, splits)].append(records[row])
        held = set(np.flatnonzero((chance % LATE_ONE_IN == 1) & (cycle > 0)).tolist())
        for row in held:
            self._late[slot][_part_of(row, splits)].append(records[row])
        if held:
            parts = [
                [record for row, record in enumerate(part, first) if row not in held]
                for part, first in zip(parts, splits, strict=False)
            ]
        return [part + again + once for part, again, once in zip(parts, out, late, strict=True)]


def _write(places: NDArray[np.uint8], numbers: NDArray[np.float64], decimals: int) -> None:
    """Write numbers, given in units of their last decimal, right-aligned into a row of bytes each."""
    left = np.rint(numbers).astype(np.int64)
    point = places.shape[1] - decimals - 1
    for column in range(places.shape[1] - 1, -1, -1):
        if column == point:
            places[:, column] = ord(".")
            continue
        left, digit = np.divmod(left, 10)
        places[:, column] = digit + ord("0")
        if column < point - 1:
            places[(digit == 0) & (left == 0), column] = ord(" ")


def _part_of(row: int, splits: Sequence[int]) -> int:
    return int(np.searchsorted(splits[1:], row, side="right"))


def _time(time_us: int) -> bytes:
    return from_us(time_us).isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()
