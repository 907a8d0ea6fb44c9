"""What a worker knows of lines of driving time without asking the database."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.columns import UNKNOWN, Bool, Code, grown, room_for
from detectors.hours import Line
from detectors.journeys import Legs

_SECOND_US = 1_000_000
_LATEST_S = 2**32 - 1
_NOBODY = -1


class TouchedLine(NamedTuple):
    """A line that a batch added to: from and to where (microseconds)."""

    line: Line
    begin_us: int
    end_us: int
    partition: int | None
    """Of all vehicles that added to it; None when they are of several."""


class _Deadlines:
    """Up to when lines are judged and when they must be again, by the code of their vehicle or driver.

    In whole seconds, rounded so that a line is rather looked up once too often: a million lines are remembered.
    """

    def __init__(self) -> None:
        self.due_s = np.zeros(0, dtype=np.uint32)
        """0 while not known: always due."""
        self.judged_s = np.zeros(0, dtype=np.uint32)

    def reserve(self, size: int) -> None:
        if size > len(self.due_s):
            new = room_for(size, len(self.due_s))
            self.due_s, self.judged_s = grown(self.due_s, new, 0), grown(self.judged_s, new, 0)

    def set(self, code: int, due_us: int, judged_us: int) -> None:
        self.reserve(code + 1)
        self.due_s[code] = min(max(0, due_us // _SECOND_US), _LATEST_S)
        self.judged_s[code] = min(max(0, -(-judged_us // _SECOND_US)), _LATEST_S)

    def reached(self, codes: Code, legs: Legs) -> Bool:
        """Whether each leg passes the deadline of its line, or changes what is judged."""
        late = self.due_s[codes] <= legs.end_us // _SECOND_US
        return late | (self.judged_s[codes] > legs.begin_us // _SECOND_US)


class KnownLines:
    """Deadlines of lines that nobody else adds to: those of vehicles without a driver, and of drivers whose line is
    owned by a partition of this worker (`driver_hours` says which)."""

    def __init__(self) -> None:
        self._of_vehicle = _Deadlines()
        self._of_driver = _Deadlines()
        self._partition = np.zeros(0, dtype=np.int16)
        """The partition that owns the driver's line; _NOBODY while not known, and when it is another worker's."""

    def reserve(self, vehicles: int, drivers: int) -> None:
        """Have rows for all codes below these."""
        self._of_vehicle.reserve(vehicles)
        self._of_driver.reserve(drivers)
        if len(self._partition) < len(self._of_driver.due_s):
            self._partition = grown(self._partition, len(self._of_driver.due_s), _NOBODY)

    def forget_vehicles(self, codes: Code) -> None:
        """Know nothing of the own lines of these vehicles."""
        self._of_vehicle.due_s[codes] = 0

    def forget_drivers(self) -> None:
        """Know nothing of any driver's line."""
        self._partition[:] = _NOBODY

    def of_vehicle(self, code: int, due_us: int, judged_us: int) -> None:
        """Remember a vehicle's own line."""
        self._of_vehicle.set(code, due_us, judged_us)

    def of_driver(self, code: int, due_us: int, judged_us: int, partition: int) -> None:
        """Remember a driver's line that this partition owns."""
        self.reserve(0, code + 1)
        self._of_driver.set(code, due_us, judged_us)
        self._partition[code] = partition

    def is_shared(self, code: int) -> None:
        """A driver's line must be asked for each time."""
        self.reserve(0, code + 1)
        self._partition[code] = _NOBODY

    def perhaps_due(self, legs: Legs, partitions: NDArray[np.int16]) -> Bool:
        """Of each leg, whose vehicle's messages come from this partition, whether its line must be looked up."""
        unnamed = legs.driver == UNKNOWN
        due = self._of_vehicle.reached(legs.vehicle, legs)
        if unnamed.all():
            return due
        of_driver = self._of_driver.reached(legs.driver, legs) | (self._partition[legs.driver] != partitions)
        return np.where(unnamed, due, of_driver)
