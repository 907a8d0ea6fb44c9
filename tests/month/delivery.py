"""What of a fleet's messages comes in time, and what comes hours or days late."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from ingest.raw import RawMessage
from ingest.simulator import Delivery, Fleet, message_of
from tests.month.recount import DAY_US, HOUR_US, local_day

_STRETCH_US = HOUR_US // 2
_LATE_STRETCHES = 0.06
_LATE_DAYS = 0.02
_LEAST_DELAY_US = 2 * HOUR_US
_MOST_DELAY_US = 4 * DAY_US


class Message(NamedTuple):
    """A message of a vehicle as the bridge would receive it."""

    vehicle_id: str
    raw: RawMessage
    fixes: int
    late: bool
    """Hours to days behind the others."""


class Delays:
    """Half hours, and some whole days, of a vehicle that come late; equal seeds delay the same."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._known: dict[tuple[str, int], int] = {}

    def of(self, delivery: Delivery) -> int:
        """Microseconds; 0 for what comes in time."""
        at_us = delivery.fixes[0].time_us
        day = self._drawn(delivery.vehicle_id, local_day(at_us), _LATE_DAYS)
        return day or self._drawn(delivery.vehicle_id, at_us // _STRETCH_US, _LATE_STRETCHES)

    def _drawn(self, vehicle_id: str, number: int, share: float) -> int:
        key = vehicle_id, number
        if key not in self._known:
            chance = random.Random(f"{self._seed} {vehicle_id} {number}")
            late = chance.random() < share
            self._known[key] = chance.randrange(_LEAST_DELAY_US, _MOST_DELAY_US) if late else 0
        return self._known[key]


def messages(fleet: Fleet, seed: int) -> Iterator[Message]:
    """All messages of the fleet in the order in which they are sent but for their delay, with that in their receipt."""
    delays = Delays(seed)
    for delivery in fleet.deliveries():
        delay_us = delays.of(delivery)
        out = message_of(delivery)
        raw = RawMessage(out.topic, out.payload, delivery.send_at_us + delay_us)
        yield Message(delivery.vehicle_id, raw, len(delivery.fixes), delay_us > 0)


def in_order_of_receipt(late: list[Message]) -> list[Message]:
    """Late ones as they come in at last."""
    return sorted(late, key=lambda message: (message.raw.received_us, message.vehicle_id))
