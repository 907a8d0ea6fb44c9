"""hours: one driver's four weeks of timeline judged by the rules on driving time."""

from __future__ import annotations

import random
import time

from benchmarks.measure import Figure, Report, at_most
from benchmarks.servers import Servers
from detectors.activity import Activity
from detectors.hours import HoursRules, Interval, Line, judge_hours
from hanhtrinh.rule_packs import load_hours

_MINUTE_US = 60_000_000
_LINE = Line("D1", None)


def run(servers: Servers, *, quick: bool) -> Report:
    """By each pack, all of it at once: what a worker does after late fixes, or a restart, at worst."""
    runs = 3 if quick else 200
    return Report(
        "hours",
        "the hours of one driver from four weeks of timeline",
        sizes={"intervals": len(four_weeks()), "runs": runs},
        figures=[
            Figure(f"pack {pack}", "ms", milliseconds(load_hours(pack).rules, runs), at_most(2))
            for pack in ("vn", "eu")
        ],
    )


def four_weeks(seed: int = 1) -> list[Interval]:
    """A delivery driver: six days a week, on each thirty pieces of driving and as many stops, then the night."""
    dice = random.Random(seed)
    intervals: list[Interval] = []
    for day in range(28):
        if day % 7 == 6:
            continue
        at_us = 1_741_000_000_000_000 + day * 24 * 60 * _MINUTE_US
        for number in range(60):
            activity = Activity.STOPPED if number % 2 else Activity.DRIVING
            longest_min = 18 if number % 2 else 16
            end_us = at_us + dice.randrange(1, longest_min) * _MINUTE_US
            intervals.append(Interval(at_us, end_us, activity, "29H-00001", "goods"))
            at_us = end_us
    return intervals


def milliseconds(rules: HoursRules, runs: int = 50) -> list[float]:
    """How long judging four weeks took, run by run."""
    intervals = four_weeks()
    found = []
    for _ in range(runs):
        began_s = time.perf_counter()
        judge_hours(_LINE, intervals, rules)
        found.append((time.perf_counter() - began_s) * 1000)
    return found
