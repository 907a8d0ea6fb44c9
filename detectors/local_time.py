"""Days and weeks where the rules hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

from detectors.fix import from_us, to_us


class LocalCalendar:
    """Local midnights and Mondays of a zone, as microseconds UTC."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone

    def day_begin(self, time_us: int) -> int:
        """The midnight that began the day."""
        return self._midnight(from_us(time_us).astimezone(self._zone), 0)

    def day_end(self, time_us: int) -> int:
        """The midnight that ends the day."""
        return self._midnight(from_us(time_us).astimezone(self._zone), 1)

    def week_begin(self, time_us: int, weeks_later: int = 0) -> int:
        """The Monday midnight that began the week, or that of another week."""
        local = from_us(time_us).astimezone(self._zone)
        return self._midnight(local, 7 * weeks_later - local.weekday())

    def week_end(self, time_us: int) -> int:
        """The Monday midnight that ends the week."""
        return self.week_begin(time_us, 1)

    def _midnight(self, local: datetime, days_later: int) -> int:
        date = local.date() + timedelta(days=days_later)
        return to_us(datetime(date.year, date.month, date.day, tzinfo=self._zone).astimezone(UTC))
