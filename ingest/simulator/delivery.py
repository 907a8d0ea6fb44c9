"""How fixes reach the broker: at once, or late, doubled, out of order, and in lists after a dead zone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np

from detectors.fix import Fix
from ingest.simulator.plan import SECOND_US

_BACKLOG_FIXES = 40
"""In one message after a dead zone."""


class Network(NamedTuple):
    """How bad it is."""

    doubled: float = 0.01
    """Share of messages that are sent twice."""
    delayed: float = 0.01
    """Share of messages that are overtaken by later ones."""
    dead_zones: float = 0.03
    """Chance that coverage is lost when a stretch begins."""
    dead_zone_s: tuple[float, float] = (120.0, 1800.0)


CALM = Network(0.0, 0.0, 0.0)


class Delivery(NamedTuple):
    """One message: when it is sent, of which vehicle, and the fixes in it."""

    send_at_us: int
    vehicle_id: str
    fixes: list[Fix]


class Transmission:
    """The messages of one vehicle, in the order they are sent; what a dead zone held back comes after it."""

    def __init__(self, vehicle_id: str, seed: int, vehicle_number: int, network: Network) -> None:
        self._vehicle_id = vehicle_id
        self._rng = np.random.default_rng([seed, 3, vehicle_number])
        self._network = network
        self._waiting: list[tuple[int, int, list[Fix]]] = []
        self._number = 0

    def deliveries(self, stretches: Iterable[list[Fix]]) -> Iterator[Delivery]:
        """Messages for fixes given in order of time. Holds back at most one dead zone and one stretch."""
        rng, network = self._rng, self._network
        dark_until_us = 0
        held: list[Fix] = []
        for fixes in stretches:
            if rng.random() < network.dead_zones:
                dark_until_us = fixes[0].time_us + int(rng.uniform(*network.dead_zone_s)) * SECOND_US
            latency_us = rng.integers(200_000, 1_500_000, len(fixes)).tolist()
            luck = rng.random(len(fixes)).tolist()
            for fix, latency, chance in zip(fixes, latency_us, luck, strict=True):
                if fix.time_us < dark_until_us:
                    held.append(fix)
                    continue
                if held:
                    self._send_backlog(held, fix.time_us)
                    held = []
                self._send_one(fix, latency, chance)
                while self._waiting and self._waiting[0][0] <= fix.time_us:
                    yield self._next()
        if held:
            self._send_backlog(held, dark_until_us)
        while self._waiting:
            yield self._next()

    def _send_one(self, fix: Fix, latency_us: int, chance: float) -> None:
        network = self._network
        send_at_us = fix.time_us + latency_us
        if chance < network.doubled:
            self._push(send_at_us + 3 * SECOND_US, [fix])
        elif chance < network.doubled + network.delayed:
            send_at_us += int(20 + chance * 1e6 % 70) * SECOND_US
        self._push(send_at_us, [fix])

    def _send_backlog(self, held: list[Fix], at_us: int) -> None:
        for place, begin in enumerate(range(0, len(held), _BACKLOG_FIXES)):
            self._push(at_us + 100_000 * (place + 1), held[begin : begin + _BACKLOG_FIXES])

    def _push(self, send_at_us: int, fixes: list[Fix]) -> None:
        self._number += 1
        heappush(self._waiting, (send_at_us, self._number, fixes))

    def _next(self) -> Delivery:
        send_at_us, _, fixes = heappop(self._waiting)
        return Delivery(send_at_us, self._vehicle_id, fixes)
