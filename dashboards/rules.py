"""The numbers of the rule pack that panels draw lines at: read as data, none is repeated here."""

from __future__ import annotations

import tomllib
from pathlib import Path

_PACK = Path(__file__).parents[1] / "detectors" / "rules" / "vn.toml"
_RULES = tomllib.loads(_PACK.read_text("utf-8"))
_REPORTS = _RULES["reports"]

BADGE_PER_1000_KM = float(_REPORTS["badge_per_1000_km"])
"""So many speeding violations per 1,000 km in a month cost a vehicle its badge."""

BADGE_LEAST_KM = float(_REPORTS["badge_least_km"])
"""Below, the rate says nothing."""

BREAK_LEAST_S = float(_REPORTS["stop_least_s"])
"""A shorter stop is none in the state's reports."""

REST_S = float(_RULES["continuous_driving"][-1]["rest_s"])
"""Ends a drive of most vehicles."""
