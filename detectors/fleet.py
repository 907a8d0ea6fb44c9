"""What the judge remembers of each vehicle, as columns indexed by the vehicle's code.

About 95 bytes a vehicle, whatever arrives, and 300 more while a fix of it is out of reach (law 7); detectors keep
their own memory. All of it follows from stored fixes and can be forgotten and rebuilt at any time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detectors.checks import NEVER, Place
from detectors.columns import UNKNOWN, grown, room_for
from detectors.limits import speeds


class FleetState:
    """The judge's memory. Rows exist for every code below `size`; a forgotten row is as if never seen."""

    def __init__(self) -> None:
        self.size = 0
        self.last_us = np.empty(0, np.int64)
        """Last trusted fix, with its values below."""
        self.last_lat = np.empty(0)
        self.last_lon = np.empty(0)
        self.last_speed_kmh = np.empty(0)
        self.last_driver = np.empty(0, np.int32)
        self.seen_us = np.empty(0, np.int64)
        """Newest usable fix judged, trusted or not, with its values below: anything at or before it is late."""
        self.seen_lat = np.empty(0)
        self.seen_lon = np.empty(0)
        self.seen_speed_kmh = np.empty(0)
        self.hold_us = np.empty(0, np.int64)
        """Since when its position is held at speed; NEVER when the speed does not count."""
        self.suspected = np.empty(0, np.bool_)
        """Whether a fix is out of reach, not yet confirmed or refuted."""
        self._suspects: dict[int, Place] = {}
        self.activity = np.empty(0, np.int8)
        """The activity of the latest piece, UNKNOWN when there is none yet."""
        self.activity_driver = np.empty(0, np.int32)

    def reserve(self, size: int) -> None:
        """Have rows for all codes below `size`."""
        if size <= self.size:
            return
        self.size = room_for(size, self.size)
        for name, blank in _BLANK.items():
            setattr(self, name, grown(getattr(self, name), self.size, blank))

    def forget(self, codes: NDArray[np.int32]) -> None:
        """Make the rows of these vehicles blank."""
        for code in codes[self.suspected[codes]].tolist():
            self._suspects.pop(code, None)
        for name, blank in _BLANK.items():
            getattr(self, name)[codes] = blank

    def trusted_place(self, code: int) -> Place | None:
        """The last trusted fix of a vehicle."""
        if self.last_us[code] == NEVER:
            return None
        speed = int(speeds(self.last_speed_kmh[code : code + 1])[0])
        return Place(int(self.last_us[code]), float(self.last_lat[code]), float(self.last_lon[code]), speed)

    def suspect(self, code: int) -> Place | None:
        """The vehicle's fix that is out of reach so far."""
        return self._suspects.get(code)

    def set_suspect(self, code: int, suspect: Place | None) -> None:
        """Remember it, or that there is none."""
        self.suspected[code] = suspect is not None
        if suspect is None:
            self._suspects.pop(code, None)
        else:
            self._suspects[code] = suspect


_BLANK = {
    "last_us": NEVER,
    "last_lat": 0.0,
    "last_lon": 0.0,
    "last_speed_kmh": 0.0,
    "last_driver": UNKNOWN,
    "seen_us": NEVER,
    "seen_lat": 0.0,
    "seen_lon": 0.0,
    "seen_speed_kmh": 0.0,
    "hold_us": NEVER,
    "suspected": False,
    "activity": UNKNOWN,
    "activity_driver": UNKNOWN,
}
