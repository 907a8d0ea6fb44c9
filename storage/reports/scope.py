"""What a report is about: a local month, and whom."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
"""Days and months of reports are Vietnamese ones, as those of the sums in storage/migrations/0007_rollups.sql."""

_FIRST_YEAR, _LAST_YEAR = 1970, 2999


class ReportError(Exception):
    """The report cannot be made; the message says why and what would help."""


@dataclass(frozen=True, slots=True)
class Scope:
    """A month of some vehicles: of an operator, of a province's operators, one vehicle, or all."""

    first_day: date
    operator_id: str | None = None
    province: str | None = None
    vehicle_id: str | None = None
    confirmed_only: bool = False
    operator_name: str | None = None
    """For the head of the report."""
    as_of: datetime | None = None
    """When it is asked: what is stored of a month may grow and change."""

    @classmethod
    def of_month(cls, text: str, **rest: object) -> Scope:
        """From "2026-10". ReportError when it is no month, or has not begun when it is asked."""
        found = re.fullmatch(r"(\d{4})-(\d{2})", text, re.ASCII)
        try:
            if found is None or not _FIRST_YEAR <= int(found[1]) <= _LAST_YEAR:
                raise ValueError
            scope = cls(date(int(found[1]), int(found[2]), 1), **rest)  # type: ignore[arg-type]
        except ValueError:
            raise ReportError(f"--month {text!r}: expected a year and a month, for example 2026-10") from None
        if scope.as_of is not None and scope.as_of < scope.begins_at:
            raise ReportError(f"--month {text!r} has not begun yet: there is nothing to report")
        return scope

    @property
    def next_day(self) -> date:
        """The first day of the month after."""
        return (self.first_day + timedelta(days=31)).replace(day=1)

    @property
    def begins_at(self) -> datetime:
        """The first moment of the month."""
        return datetime(self.first_day.year, self.first_day.month, 1, tzinfo=ZONE)

    @property
    def ends_at(self) -> datetime:
        """The first moment after it."""
        return datetime(self.next_day.year, self.next_day.month, 1, tzinfo=ZONE)

    @property
    def period(self) -> str:
        """In Vietnamese."""
        return f"Tháng {self.first_day.month:02d} năm {self.first_day.year}"

    def before(self) -> Scope:
        """The same of the month before."""
        last = self.first_day - timedelta(days=1)
        return replace(self, first_day=last.replace(day=1))
