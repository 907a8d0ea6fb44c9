"""Random days of several vehicles and drivers, made of the values at which judgements turn."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, NamedTuple

from hypothesis import strategies as st

from detectors.fix import Fix, to_us
from detectors.overrides import Override, Scope
from hanhtrinh.detectors import OWN
from hanhtrinh.rule_packs import LoadedPack, load_pack
from tests.scenario import HANOI, HOME, METRES_PER_DEGREE, Office, us

NEW_YEAR_US = to_us(datetime(2025, 1, 1, tzinfo=HANOI))
"""Every rule of the pack below changes here, in the midst of the day."""
VEHICLES = ("A", "B", "C")


def _rules() -> LoadedPack:
    loaded = load_pack(
        "vn",
        [
            "continuous_driving.limit_s=100",
            "continuous_driving.rest_s=40",
            "continuous_driving.rest_s_by_kind.taxi=20",
            "two_vehicles_s=15",
            "unknown_resets_s=4300",
        ],
    )
    (speeding,) = loaded.pack.speeding
    first = replace(speeding, valid_to=date(2025, 1, 1))
    later = replace(speeding, valid_from=date(2025, 1, 1), min_excess_kmh=3.0, exit_after_s=5.0, max_gap_s=60.0)
    return replace(loaded, pack=replace(loaded.pack, speeding=(first, later)))


OFFICE = Office(rules=_rules(), own_kmh={"A": 80.0}, classes={"C": "heavy"}, kinds={"B": "taxi"}, detectors=OWN)
"""A has a cap of its own, B is a taxi that no registry knows the class of, C is heavy."""

OWN_NUMBERS: dict[str, list[float]] = {
    "limit_kmh": [60.0, 75.0, 83.0, 120.0],
    "class_default_confirms": [0.0, 1.0],
    "speeding.min_excess_kmh": [0.0, 3.0, 12.5],
    "speeding.exit_after_s": [0.0, 5.0, 30.0],
    "speeding.max_gap_s": [9.0, 30.0, 900.0],
    "speeding.min_fixes": [1.0, 3.0, 5.0],
    "speeding.min_duration_s": [0.0, 10.0, 45.0],
    "silence.silent_after_s": [60.0, 300.0, 899.0],
}
SCOPES_OF = {"A": ("operator OP", "kind contract"), "B": ("operator OP", "kind taxi"), "C": ()}
"""What concerns each vehicle beside itself, the weakest first."""
_FROM = [date(2020, 1, 1), date(2024, 12, 31), date(2025, 1, 1), date(2025, 1, 1), date(2025, 1, 2)]
_WHOSE: list[tuple[Scope, str]] = [
    ("operator", "OP"), ("kind", "taxi"), ("kind", "contract"), ("vehicle", "A"), ("vehicle", "A"),
    ("vehicle", "B"), ("vehicle", "C"),
]  # fmt: skip
_TO = [None, date(2024, 12, 31), date(2025, 1, 1), date(2025, 1, 2)]


@st.composite
def _overrides(draw: st.DrawFn) -> Override:
    scope, scope_id = draw(st.sampled_from(_WHOSE))
    number = draw(st.sampled_from(list(OWN_NUMBERS)))
    begin = draw(st.sampled_from(_FROM))
    end = draw(st.sampled_from([each for each in _TO if each is None or each > begin]))
    return Override(scope, scope_id, number, draw(st.sampled_from(OWN_NUMBERS[number])), begin, end, "a letter")


@st.composite
def offices(draw: st.DrawFn) -> Office:
    """Offices with numbers of their own, most of which change where the days lie."""
    chosen: list[Override] = []
    for each in draw(st.lists(_overrides(), min_size=1, max_size=8)):
        if not any(each.overlaps(other) for other in chosen):
            chosen.append(each)
    steady = replace(OFFICE.rules, pack=replace(OFFICE.rules.pack, speeding=load_pack("vn").pack.speeding))
    return replace(
        OFFICE,
        rules=draw(st.sampled_from([OFFICE.rules, steady])),
        kinds={"A": "contract", "B": "taxi"},
        operators={"A": "OP", "B": "OP"},
        overrides=chosen,
    )


def any_office() -> st.SearchStrategy[Office]:
    """With numbers of its own, or by the pack alone."""
    return st.just(OFFICE) | offices()


STEPS_S = ["0.000001", "1", "5", "10", "10.000001", "19.999999", "20", "30", "60", "60.000001", "90", "90.000001",
           "300", "300.000001", "301", "900"]  # fmt: skip
SPEEDS_KMH = [None, 0.0, 2.999, 3.0, 19.0, 45.0, 70.0, 74.99, 75.0, 80.0, 80.001, 83.0, 84.99, 85.0, 92.5, 100.0, 115.0,
              115.01, 120.0, 124.99, 125.0, 131.0, 201.0]  # fmt: skip
HURRY_STEPS_S = ["4", "5", "10", "10", "10.000001", "20"]
HURRY_KMH = [5.0, 5.0, 5.0, 10.0, 12.5, 20.0, 3.0, 4.99, 1.0, 0.0, None]
"""Above a limit; None is unknown."""
LOST_M = 4_000.0
"""Stands for a silence of so many seconds in which the vehicle moved so many metres."""
WAYS_M = [*[None] * 6, 0.0, 30.0, 199.5, 200.5, 299.5, 300.5, 5_000.0, 60_000.0, LOST_M, LOST_M]
"""None: as far as the speed before says."""
DRIVERS = ["D1", "D1", "D1", "D2", None]
TROUBLES: list[dict[str, Any]] = [
    *[{}] * 20, {"valid": False}, {"satellites": 3}, {"hdop": 10.5}, {"lat": 0.0, "lon": 0.0}, {"valid": True}
]  # fmt: skip
ROADS_KMH = [*[math.nan] * 6, 60.0, 80.0, 120.0]
TWINS = [*["none"] * 8, "alike", "faster", "unnamed", "flagged", "elsewhere", "other road"]


class Sent(NamedTuple):
    """A fix with the limit of the road it was sent from."""

    fix: Fix
    road_kmh: float


@dataclass
class Day:
    """What arrived, in the order of time; `twins` are fixes for a moment that has one already."""

    sent: list[Sent]
    twins: list[Sent]

    @property
    def fixes(self) -> list[Fix]:
        return [each.fix for each in self.sent]

    @property
    def roads_kmh(self) -> list[float]:
        return [each.road_kmh for each in self.sent]


class _Row(NamedTuple):
    """What comes next of a vehicle."""

    step_s: str
    speed_kmh: float | None
    way_m: float | None
    driver_id: str | None
    trouble: dict[str, Any]
    road_kmh: float
    twin: str


@st.composite
def _anything(draw: st.DrawFn) -> list[_Row]:
    """Some fixes in a row that are alike in most."""
    step, speed = draw(st.sampled_from(STEPS_S)), draw(st.sampled_from(SPEEDS_KMH))
    driver, road = draw(st.sampled_from(DRIVERS)), draw(st.sampled_from(ROADS_KMH))
    differing = st.tuples(st.sampled_from(WAYS_M), st.sampled_from(TROUBLES), st.sampled_from(TWINS))
    return [
        _Row(step, speed, way, driver, trouble, road, twin)
        for way, trouble, twin in draw(st.lists(differing, min_size=1, max_size=5))
    ]


@st.composite
def _hurry(draw: st.DrawFn) -> list[_Row]:
    """Some fixes of one driver about the speeds at which speeding begins, pauses and ends."""
    base, road = draw(st.sampled_from([75.0, 80.0, 120.0])), draw(st.sampled_from(ROADS_KMH))
    differing = st.tuples(
        st.sampled_from(HURRY_STEPS_S), st.sampled_from(HURRY_KMH), st.sampled_from(TROUBLES), st.sampled_from(TWINS)
    )
    return [
        _Row(step, None if over is None else base + over, None, "D1", trouble, road, twin)
        for step, over, trouble, twin in draw(st.lists(differing, min_size=3, max_size=12))
    ]


@st.composite
def _held(draw: st.DrawFn) -> list[_Row]:
    """A tracker that repeats its position at speed, and sends the next one in the end."""
    step, speed = draw(st.sampled_from(["5", "10", "20", "30"])), draw(st.sampled_from([20.0, 45.0, 75.0]))
    held = [_Row(step, speed, 0.0, "D1", {}, math.nan, "none")] * draw(st.integers(2, 9))
    return [*held, _Row(step, speed, draw(st.sampled_from(WAYS_M)), "D1", {}, math.nan, "none")]


@st.composite
def _lost(draw: st.DrawFn) -> list[_Row]:
    """Driving, out of coverage, driving on, and a rest that may be long enough."""
    drive = _Row("60", 45.0, None, "D1", {}, math.nan, "none")
    silence, stop = drive._replace(way_m=LOST_M), drive._replace(speed_kmh=0.0, step_s=draw(st.sampled_from(STEPS_S)))
    return [drive, silence, drive, *[drive] * draw(st.integers(0, 2)), stop, stop, stop]


@st.composite
def days(draw: st.DrawFn) -> Day:
    """Up to three vehicles whose fixes lie around the turn of the year."""
    sent: list[Sent] = []
    twins: list[Sent] = []
    for vehicle_id in VEHICLES[: draw(st.integers(1, 3))]:
        time_us = NEW_YEAR_US - us(draw(st.sampled_from([0, 60, 300, 3600])))
        lat, before_kmh = HOME[0], 0.0
        for row in (
            row for rows in draw(st.lists(_anything() | _hurry() | _held() | _lost(), max_size=10)) for row in rows
        ):
            step_us = us(LOST_M if row.way_m == LOST_M else row.step_s)
            time_us += step_us
            metres = before_kmh / 3.6 * step_us / 1e6 if row.way_m is None else row.way_m
            lat, before_kmh = lat + metres / METRES_PER_DEGREE, row.speed_kmh or 0.0
            fix = Fix(vehicle_id, time_us, lat, HOME[1], row.speed_kmh, row.driver_id)._replace(**row.trouble)
            sent.append(Sent(fix, row.road_kmh))
            if row.twin != "none":
                twins.append(Sent(_twin(fix, row.twin), 50.0 if row.twin == "other road" else row.road_kmh))
    order = sorted(range(len(sent)), key=lambda row: (sent[row].fix.time_us, sent[row].fix.vehicle_id))
    return Day([sent[row] for row in order], twins)


def _twin(fix: Fix, twin: str) -> Fix:
    if twin == "faster":
        return fix._replace(speed_kmh=130.0)
    if twin == "unnamed":
        return fix._replace(driver_id=None)
    if twin == "flagged":
        return fix._replace(valid=False, speed_kmh=140.0)
    if twin == "elsewhere":
        return fix._replace(lat=fix.lat + 0.01)
    return fix
