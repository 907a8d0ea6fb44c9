"""A simulated fleet: believable days with planted violations, from one seed."""

from ingest.simulator.delivery import CALM, Delivery, Network
from ingest.simulator.fleet import Fleet
from ingest.simulator.planted import PlantedViolation

__all__ = ["CALM", "Delivery", "Fleet", "Network", "PlantedViolation"]
