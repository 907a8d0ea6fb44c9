"""A fleet's days from one seed: every delivery in the order it is sent, and the violations planted in them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from heapq import merge

from detectors.fix import to_us
from ingest.simulator.delivery import Delivery, Network, Transmission
from ingest.simulator.plan import stretches_of
from ingest.simulator.planted import PlantedViolation, planted_continuous, planted_speeding
from ingest.simulator.roster import Roster
from ingest.simulator.track import Track


class Fleet:
    """Equal arguments give equal deliveries, byte for byte, and equal violations.

    Nothing but the planted violations is in it: whoever was not chosen to break a rule keeps clear of it.
    """

    def __init__(
        self,
        seed: int,
        vehicles: int,
        start: datetime,
        duration: timedelta,
        interval_s: int = 10,
        network: Network | None = None,
    ) -> None:
        """`interval_s`, between fixes of a moving vehicle, is 1 to 60: a gap over 90 s would end speeding."""
        if not 1 <= interval_s <= 60:
            raise ValueError(f"interval_s is {interval_s}, expected 1 to 60")
        self.roster = Roster(seed, vehicles)
        self._seed = seed
        self._begin_us = to_us(start)
        self._end_us = to_us(start + duration)
        self._interval_s = interval_s
        self._network = network or Network()

    def deliveries(self) -> Iterator[Delivery]:
        """All messages in the order they are sent. Holds a few stretches of each vehicle, whatever the duration."""
        streams = [
            self._of_vehicle(crew_index, position)
            for crew_index, crew in enumerate(self.roster.crews)
            for position in range(len(crew.vehicles))
        ]
        return merge(*streams, key=lambda delivery: (delivery.send_at_us, delivery.vehicle_id))

    def planted(self) -> list[PlantedViolation]:
        """Every violation there is, in order of time."""
        found: list[PlantedViolation] = []
        for crew in self.roster.crews:
            plans = [
                (
                    vehicle,
                    list(stretches_of(crew, position, self._seed, self._interval_s, self._begin_us, self._end_us)),
                )
                for position, vehicle in enumerate(crew.vehicles)
            ]
            for vehicle, stretches in plans:
                found += planted_speeding(vehicle, stretches)
            found += planted_continuous(plans)
        return sorted(found, key=lambda each: (each.started_us, each.vehicle_id, each.kind))

    def _of_vehicle(self, crew_index: int, position: int) -> Iterator[Delivery]:
        crew = self.roster.crews[crew_index]
        vehicle = crew.vehicles[position]
        plan = stretches_of(crew, position, self._seed, self._interval_s, self._begin_us, self._end_us)
        transmission = Transmission(vehicle.vehicle_id, self._seed, vehicle.number, self._network)
        return transmission.deliveries(Track(vehicle, self._seed).fixes(plan))
