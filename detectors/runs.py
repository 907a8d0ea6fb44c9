"""From columns to runs: fixes in a row with the same labels become one object, vectorised over all vehicles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.columns import Bool, Columns, Int, Small
from detectors.rule_versions import Version
from detectors.rules import SpeedingRule
from detectors.speeding import Label, Run

_LABELS = tuple(Label)
"""By number, at a fraction of what looking one up in the enumeration costs."""


@dataclass(slots=True)
class LabelledFixes:
    """Trusted fixes in (vehicle, time) order with what speeding needs to know of each."""

    rows: Columns
    leg_mm: Int
    """Length of the leg that leads to each fix; 0 for a vehicle's first."""
    gap: Bool
    """The leg lasted longer than max_gap_s, or there is none."""
    speed: Int
    limit: Int
    highest: Int
    on_road: Bool
    """The limit is the road's, carried by the fix."""
    rule: NDArray[np.intp]
    """Number of the version in force."""
    label: Small
    strict_label: Small
    """The label against the highest limit."""


def label_of(speed: Int, limit: Int, min_excess: Int) -> Small:
    """BELOW, GREY, OVER or UNSAID for speeds, limits and thresholds in thousandths of a km/h."""
    excess = speed - limit
    above = excess > 0
    label = above.astype(np.int8) + (above & (excess >= min_excess)).astype(np.int8)
    label[speed < 0] = Label.UNSAID
    return label


def runs_of(fixes: LabelledFixes, versions: Sequence[Version[SpeedingRule]]) -> list[tuple[int, Label, Run]]:
    """The runs, in order, each with its vehicle's code and its label against the highest limit."""
    rows = fixes.rows
    if not len(rows):
        return []
    starts = np.flatnonzero(_breaks(fixes))
    ends = np.append(starts[1:], len(rows))
    leg_sum = np.add.reduceat(fixes.leg_mm, starts)
    excess = fixes.speed - fixes.limit
    tops = _first_of_maximum(excess, starts, ends)
    columns = (
        rows.vehicle[starts].tolist(),
        fixes.strict_label[starts].tolist(),
        fixes.label[starts].tolist(),
        rows.driver[starts].tolist(),
        fixes.rule[starts].tolist(),
        fixes.gap[starts].tolist(),
        starts.tolist(),
        ends.tolist(),
        rows.time_us[starts].tolist(),
        rows.time_us[ends - 1].tolist(),
        fixes.leg_mm[starts].tolist(),
        (leg_sum - fixes.leg_mm[starts]).tolist(),
        np.add.reduceat(fixes.speed, starts).tolist(),
        np.maximum.reduceat(fixes.speed, starts).tolist(),
        excess[tops].tolist(),
        fixes.limit[tops].tolist(),
        fixes.on_road[starts].tolist(),
        (fixes.highest[starts] == fixes.limit[starts]).tolist(),
        list(zip(rows.lat[starts].tolist(), rows.lon[starts].tolist(), strict=True)),
        list(zip(rows.lat[ends - 1].tolist(), rows.lon[ends - 1].tolist(), strict=True)),
    )
    runs = []
    for (
        vehicle, strict, label, driver, rule, gap, first, end, first_us, last_us, entry, inner,
        speed_sum, top_speed, top_excess, limit_at_top, on_road, certain, start_at, end_at,
    ) in zip(*columns, strict=True):  # fmt: skip
        limits = {limit_at_top: end - first}
        run = Run(
            _LABELS[label], driver, versions[rule], gap, first, end, first_us, last_us, entry, inner,
            speed_sum, top_speed, top_excess, limit_at_top, on_road, limits, certain, start_at, end_at,
        )  # fmt: skip
        runs.append((vehicle, _LABELS[strict], run))
    return runs


def _breaks(fixes: LabelledFixes) -> Bool:
    """Where a new run begins. The limit takes part, so that a run has one limit and certainty."""
    rows = fixes.rows
    breaks = np.ones(len(rows), dtype=np.bool_)
    breaks[1:] = fixes.gap[1:]
    for labels in (
        rows.vehicle,
        fixes.label,
        fixes.strict_label,
        rows.driver,
        fixes.rule,
        fixes.limit,
        fixes.highest,
        fixes.on_road,
    ):
        breaks[1:] |= labels[1:] != labels[:-1]
    return breaks


def _first_of_maximum(values: Int, starts: NDArray[np.intp], ends: NDArray[np.intp]) -> NDArray[np.intp]:
    """For each run the row of its largest value; the earliest on a tie."""
    top = np.repeat(np.maximum.reduceat(values, starts), ends - starts)
    candidates = np.flatnonzero(values == top)
    return candidates[np.searchsorted(candidates, starts)]
