"""A report as a table with its headings: what every kind of file is written from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import pandas as pd

Form = Literal["text", "count", "km", "percent", "rate", "kmh", "time", "date", "duration", "place"]
"""How a column's values are shown: km and percent with one decimal or two, `time` as a local moment, `duration` from
seconds, `place` as "latitude, longitude"."""


class Column(NamedTuple):
    """One column: its key in the frame, its Vietnamese heading, and the heading above it that it shares."""

    key: str
    title: str
    form: Form = "text"
    group: str | None = None


@dataclass(frozen=True)
class Report:
    """A report ready to be written."""

    name: str
    title: str
    period: str
    of: str
    """Whom it is about: operator, province, vehicle, or all."""
    columns: Sequence[Column]
    frame: pd.DataFrame
    """A row per line of the report; NaN and NaT where nothing can be said. Times are aware."""
    totals: Mapping[str, object] = field(default_factory=dict)
    """The last line, by key."""
    notes: Sequence[str] = ()
    """The numbers and readings used: the law leaves them open (printed at the foot)."""
