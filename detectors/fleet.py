"""What the judge remembers of each vehicle, as columns indexed by the vehicle's code.

About 80 bytes a vehicle, plus an object for each episode that is open: bounded, whatever arrives (law 7). All of
it follows from stored fixes and can be forgotten and rebuilt at any time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detectors.columns import UNKNOWN
from detectors.speeding import EpisodeTrack

NEVER = np.iinfo(np.int64).min
"""Stands for "no such time"."""

_GROWTH = 1024


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
        """Newest fix judged, trusted or not: anything at or before it is late."""
        self.suspect_us = np.empty(0, np.int64)
        """A jump not yet confirmed or refuted."""
        self.suspect_lat = np.empty(0)
        self.suspect_lon = np.empty(0)
        self.activity = np.empty(0, np.int8)
        """The activity of the latest piece, UNKNOWN when there is none yet."""
        self.activity_driver = np.empty(0, np.int32)
        self.tracks: dict[int, EpisodeTrack] = {}
        """Vehicles with an open episode, against their limit..."""
        self.strict_tracks: dict[int, EpisodeTrack] = {}
        """... and against the highest limit any road allows their class."""

    def reserve(self, size: int) -> None:
        """Have rows for all codes below `size`."""
        if size <= self.size:
            return
        new = max(size, self.size + self.size // 2, _GROWTH)
        for name, blank in _BLANK.items():
            old: NDArray[np.generic] = getattr(self, name)
            grown = np.full(new, blank, dtype=old.dtype)
            grown[: len(old)] = old
            setattr(self, name, grown)
        self.size = new

    def forget(self, codes: NDArray[np.int32]) -> None:
        """Make the rows of these vehicles blank."""
        for name, blank in _BLANK.items():
            getattr(self, name)[codes] = blank
        for code in codes.tolist():
            self.tracks.pop(code, None)
            self.strict_tracks.pop(code, None)


_BLANK = {
    "last_us": NEVER,
    "last_lat": 0.0,
    "last_lon": 0.0,
    "last_speed_kmh": 0.0,
    "last_driver": UNKNOWN,
    "seen_us": NEVER,
    "suspect_us": NEVER,
    "suspect_lat": 0.0,
    "suspect_lon": 0.0,
    "activity": UNKNOWN,
    "activity_driver": UNKNOWN,
}
