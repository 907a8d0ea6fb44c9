"""Every report there is, by the name it is asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from detectors.rules import ReportNumbers
from storage.connect import Connection
from storage.reports import fleet, hours, journeys, speeding
from storage.reports.scope import Scope
from storage.reports.table import Report


class Kind(NamedTuple):
    """How a report is made, and what it is in a few words."""

    make: Callable[[Connection, Scope, ReportNumbers], Awaitable[Report]]
    summary: str
    needs_vehicle: bool = False


KINDS: Mapping[str, Kind] = {
    "PL05": Kind(speeding.speed_by_operator, "Circular 09/2015: speeding, journey and driving time by vehicle"),
    "PL08": Kind(speeding.speed_statistics, "Circular 09/2015: speeding by count, distance and time"),
    "PL14": Kind(speeding.speed_details, "Circular 09/2015: every speeding violation"),
    "PL16": Kind(hours.over_continuous, "Circular 09/2015: every drive over four hours without a rest"),
    "PL17": Kind(hours.over_day, "Circular 09/2015: every day with more than ten hours of driving"),
    "PL19": Kind(fleet.transmission, "Circular 09/2015: days without data by vehicle"),
    "journey": Kind(journeys.journey, "QCVN 31: where a vehicle was, fix by fix", needs_vehicle=True),
    "speed": Kind(journeys.speeds, "QCVN 31: the speeds of a vehicle, minute by minute", needs_vehicle=True),
    "overspeed": Kind(speeding.overspeed, "QCVN 31: every speeding violation with driver and average speed"),
    "continuous": Kind(hours.continuous_driving, "QCVN 31: continuous driving over the limit"),
    "stops": Kind(journeys.stops, "QCVN 31: where and how long vehicles stood"),
    "vehicles": Kind(fleet.by_vehicle, "QCVN 31: summary by vehicle"),
    "drivers": Kind(fleet.by_driver, "QCVN 31: summary by driver"),
    "badge": Kind(fleet.badge, "vehicles at or over the badge rule's violations per 1,000 km"),
    "national": Kind(fleet.national, "summary by province, compared with the month before"),
}
