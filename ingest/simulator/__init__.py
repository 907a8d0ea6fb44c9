"""A simulated fleet: believable days with planted violations, from one seed."""

from ingest.simulator.delivery import CALM, Delivery, Network
from ingest.simulator.files import message_of, write_fleet, write_registry
from ingest.simulator.fleet import Fleet
from ingest.simulator.live import LiveFleet
from ingest.simulator.planted import PlantedViolation

__all__ = [
    "CALM",
    "Delivery",
    "Fleet",
    "LiveFleet",
    "Network",
    "PlantedViolation",
    "message_of",
    "write_fleet",
    "write_registry",
]
