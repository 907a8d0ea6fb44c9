"""Vehicles that wait to be judged again: until their late fixes stop coming, or at once when somebody asked."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from storage.marks import Mark

_OLD_S = 8.0
"""A vehicle whose late fixes do not stop is judged again after so long all the same."""


@dataclass(slots=True)
class _Waiting:
    mark: Mark
    first_s: float
    last_s: float


class PendingMarks:
    """One mark per vehicle, widened by each that follows."""

    def __init__(self, settle_s: float) -> None:
        """`settle_s` is the quiet time after a vehicle's last late fix."""
        self._settle_s = settle_s
        self._waiting: dict[str, _Waiting] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def late(self) -> Collection[str]:
        """Vehicles with late fixes. They must not be rebuilt before they are judged again: a rebuilt one knows its late
        fixes already, and the stream would tell people as new what the re-judge recognises as told."""
        return [name for name, each in self._waiting.items() if each.mark.late_fixes]

    def mark_of(self, vehicle_id: str) -> Mark | None:
        """The mark of a vehicle that waits; None when it does not."""
        waiting = self._waiting.get(vehicle_id)
        return None if waiting is None else waiting.mark

    def replace(self, marks: Sequence[Mark]) -> None:
        """Wait for these and no others."""
        self._waiting.clear()
        self.add(marks)

    def add(self, marks: Sequence[Mark]) -> None:
        """New late fixes have come."""
        now_s = time.monotonic()
        for mark in marks:
            old = self._waiting.get(mark.vehicle_id)
            if old is None:
                self._waiting[mark.vehicle_id] = _Waiting(mark, now_s, now_s)
                continue
            old.last_s = now_s
            old.mark = mark._replace(
                from_us=min(mark.from_us, old.mark.from_us),
                to_us=max(mark.to_us, old.mark.to_us),
                late_fixes=mark.late_fixes + old.mark.late_fixes,
            )

    def ask(self, marks: Sequence[Mark]) -> None:
        """Marks that wait for nothing: others have written them."""
        for mark in marks:
            self._waiting.setdefault(mark.vehicle_id, _Waiting(mark, -_OLD_S, -_OLD_S))

    def done(self, vehicle_id: str) -> None:
        """The vehicle is judged again."""
        del self._waiting[vehicle_id]

    def due(self) -> list[Mark]:
        """Marks whose late fixes have stopped coming, or have come for long enough."""
        now_s = time.monotonic()
        return [
            each.mark
            for each in self._waiting.values()
            if now_s - each.last_s >= self._settle_s or now_s - each.first_s >= _OLD_S
        ]
