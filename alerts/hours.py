"""A span of the local day."""

from __future__ import annotations

from datetime import time, timedelta
from typing import NamedTuple


class Hours(NamedTuple):
    """From `begin` to before `end`; one that ends before it begins goes over midnight."""

    begin: time
    end: time

    def contains(self, moment: time) -> bool:
        """Whether a local time of day lies in it. A span that begins where it ends is the whole day."""
        if self.begin < self.end:
            return self.begin <= moment < self.end
        return moment >= self.begin or moment < self.end

    @property
    def length(self) -> timedelta:
        """More than nothing, at most a day."""
        begin, end = (timedelta(hours=each.hour, minutes=each.minute, seconds=each.second) for each in self)
        return (end - begin) % timedelta(days=1) or timedelta(days=1)

    def __str__(self) -> str:
        return f"{self.begin:%H:%M}-{self.end:%H:%M}"
