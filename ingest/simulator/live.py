"""A fleet that drives now: some hours of warm history as backlog first, then messages as time goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import datetime
from heapq import merge
from itertools import chain
from typing import NamedTuple

import numpy as np

from detectors.fix import Fix, to_us
from ingest.simulator.delivery import Delivery, Network, Transmission
from ingest.simulator.plan import SECOND_US, Doing, Stretch, Writer
from ingest.simulator.planted import CONTINUOUS_LIMIT_S, PlantedViolation, planted_continuous, planted_speeding
from ingest.simulator.roster import Roster, Vehicle
from ingest.simulator.track import Track

_HISTORY_INTERVAL_S = 60
_HISTORY_FIXES = 50
"""In one message."""
_LONGEST_STRETCH_S = 120
_SPEEDER_EVERY = 8
_TIRED_EVERY = 8
_NETWORK = Network(doubled=0.01, delayed=0.005, dead_zones=0.003, dead_zone_s=(20.0, 90.0))


class _Member(NamedTuple):
    vehicle: Vehicle
    driver_id: str | None
    speeds: bool
    tires: bool


class LiveFleet:
    """Within a minute of the start one in eight vehicles is speeding and one in eight drivers passes four hours.

    Nothing but what `planted` names is in it. Memory holds a few minutes of each vehicle, never the history.
    """

    def __init__(
        self,
        seed: int,
        vehicles: int,
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        interval_s: int = 5,
    ) -> None:
        """`now` is the clock (aware); `interval_s` lies between live fixes, 60 s between those of the history."""
        self.roster = Roster(seed, vehicles)
        self._members = list(_members(self.roster))
        self._seed = seed
        self._now = now
        self._sleep = sleep
        self._interval_s = interval_s

    async def deliveries(self) -> AsyncIterator[Delivery]:
        """Endless: the history at once, as lists per vehicle, then each message when its time has come."""
        start_us = to_us(self._now())
        live: list[Iterator[Delivery]] = []
        for member in self._members:
            vehicle = member.vehicle
            track = Track(vehicle, self._seed).fixes(self._plan(member, start_us))
            history, rest = _split(track, start_us)
            for begin in range(0, len(history), _HISTORY_FIXES):
                yield Delivery(start_us, vehicle.vehicle_id, history[begin : begin + _HISTORY_FIXES])
            transmission = Transmission(vehicle.vehicle_id, self._seed, vehicle.number, _NETWORK)
            live.append(transmission.deliveries(chain([rest] if rest else [], track)))
            await self._sleep(0)
        for delivery in merge(*live, key=lambda each: (each.send_at_us, each.vehicle_id)):
            delay_s = (delivery.send_at_us - to_us(self._now())) / SECOND_US
            if delay_s > 0:
                await self._sleep(delay_s)
            yield delivery

    def planted(self, start: datetime, until: datetime) -> list[PlantedViolation]:
        """What a fleet that starts at `start` has in it when only its fixes before `until` exist, in order of time."""
        found: list[PlantedViolation] = []
        for member in self._members:
            stretches: list[Stretch] = []
            for stretch in self._plan(member, to_us(start)):
                clipped = stretch.clipped(stretch.begin_us, to_us(until))
                if clipped is None:
                    break
                stretches.append(clipped)
            found += planted_speeding(member.vehicle, stretches)
            found += planted_continuous([(member.vehicle, stretches)])
        return sorted(found, key=lambda each: (each.started_us, each.vehicle_id, each.kind))

    def _plan(self, member: _Member, start_us: int) -> Iterator[Stretch]:
        rng = np.random.default_rng([self._seed, 4, member.vehicle.number])
        live_us = start_us - int(rng.uniform(15, 45) * 1000) * 1000
        if member.tires:
            # The last minute to the limit is driven live.
            history_s = float(CONTINUOUS_LIMIT_S - _HISTORY_INTERVAL_S)
        else:
            history_s = float(rng.uniform(0.3, 1.0 if member.vehicle.kind.town else 2.0)) * 3600
        yield from self._history(member, live_us, history_s, rng)
        writer = Writer(live_us, self._interval_s, rng, member.vehicle, _LONGEST_STRETCH_S)
        if member.speeds:
            self._speed_soon(writer, member, start_us, rng)
        else:
            writer.drive(float(rng.uniform(600, 2400)), member.driver_id)
        while True:
            yield from writer.stretches
            writer.stretches = []
            rest_s = float(rng.uniform(1.6, 2.5)) * member.vehicle.rest_s
            writer.add(Doing.PARK, rest_s, 0.0, member.driver_id)
            seconds = float(rng.uniform(0.5, 1.5)) * 3600
            writer.drive(seconds, member.driver_id, over=round(seconds / 600) if member.speeds else 0)

    def _history(self, member: _Member, until_us: int, seconds: float, rng: np.random.Generator) -> Iterator[Stretch]:
        writer = Writer(0, _HISTORY_INTERVAL_S, rng, member.vehicle)
        writer.add(Doing.PARK, 1800, 0.0, None)
        writer.drive(seconds, member.driver_id)
        # Without its last stretch, the stop at the end: the drive goes on live.
        *stretches, last = writer.stretches
        shift_us = until_us - last.begin_us
        for stretch in stretches:
            yield stretch._replace(begin_us=stretch.begin_us + shift_us, end_us=stretch.end_us + shift_us)

    def _speed_soon(self, writer: Writer, member: _Member, start_us: int, rng: np.random.Generator) -> None:
        limit_kmh = member.vehicle.careful_kmh
        lawful_s = (start_us - writer.now_us) / SECOND_US + float(rng.uniform(0, 10))
        writer.add(Doing.CRUISE, lawful_s, round(limit_kmh - 6, 1), member.driver_id)
        excess_kmh = round(float(rng.uniform(8, 42)), 1)
        writer.add(Doing.OVER, float(rng.uniform(40, 110)), limit_kmh + excess_kmh, member.driver_id)
        writer.drive(1800, member.driver_id, over=3)


def _members(roster: Roster) -> Iterator[_Member]:
    named = 0
    for crew in roster.crews:
        for vehicle, driver_id in zip(crew.vehicles, crew.drivers, strict=False):
            chosen = vehicle.limit_kmh is not None and driver_id is not None
            yield _Member(
                vehicle,
                driver_id,
                speeds=chosen and named % _SPEEDER_EVERY == 0,
                tires=chosen and named % _TIRED_EVERY == 3,
            )
            named += chosen


def _split(stretches: Iterator[list[Fix]], at_us: int) -> tuple[list[Fix], list[Fix]]:
    """Fixes before a time, and the rest of the stretch in which it lies."""
    before: list[Fix] = []
    for fixes in stretches:
        if fixes[-1].time_us >= at_us:
            count = sum(fix.time_us < at_us for fix in fixes)
            return before + fixes[:count], fixes[count:]
        before += fixes
    return before, []
