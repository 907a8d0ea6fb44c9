"""A trip with one speeding violation, for the tests of the worker."""

from __future__ import annotations

from datetime import UTC, datetime

from detectors.fix import to_us
from tests.running_worker import journey

BEGIN_US = to_us(datetime(2026, 3, 4, 1, tzinfo=UTC))
# Speeding against the 80 km/h of an unregistered vehicle: 60 s above, a dip that does not end it, and again above.
SPEEDS = [40, 60, 78, 92, 95, 97, 92, 83, 90, 91, 93, 92, 85, 78, 60, 60, 88, 89, 90, 60, 40, 40]
TRIP = journey("29B-00001", BEGIN_US, SPEEDS, driver_id="D1", satellites=9)
