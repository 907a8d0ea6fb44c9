"""What numbers of a rule pack must keep to, whatever country they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from itertools import pairwise
from typing import Any


def demand_sensible(part: Any) -> None:
    """ValueError when a number of this part of a pack is negative, or one that must count something is zero.

    `part` is a dataclass; the message names the number and what was expected.
    """
    for field in fields(part):
        value = getattr(part, field.name)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        if value < 0:
            raise ValueError(f"{field.name} is {value}, expected no negative number")
        if value == 0 and isinstance(value, int) and field.name.startswith("min_") and field.name != "min_satellites":
            raise ValueError(f"{field.name} is 0, expected 1 or more")


def demand_ascending(name: str, edges: Sequence[float]) -> None:
    """ValueError when edges do not rise from one to the next."""
    if any(later <= earlier for earlier, later in pairwise(edges)):
        raise ValueError(f"over_kmh of {name} are {', '.join(f'{edge:g}' for edge in edges)}, expected rising numbers")
