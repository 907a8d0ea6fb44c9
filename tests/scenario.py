"""A small language for tests of the judge, so that a test reads like a story.

`fixes("00:00 50", "00:10 86")` is what a tracker sent; `day(drive(hours=4), stop(minutes=15))` is what a driver did,
which `fixes_of` turns into fixes and `intervals_of` into a timeline, so that one story is judged by both roads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Literal

import numpy as np

from detectors.activity import Activity
from detectors.checks import flags_alone
from detectors.columns import Columns, columns_of
from detectors.detector import Factory
from detectors.fix import Fix, to_us
from detectors.hours import Interval
from detectors.hours_rules import NO_RULE
from detectors.journeys import JourneyJudge
from detectors.limits import LimitBook
from detectors.names import Names
from detectors.overrides import Override, Scope, concerning
from detectors.recording import RecordingJudgement, judge_recording
from detectors.speeding_detector import SpeedingDetector
from detectors.violation import Violation
from hanhtrinh.detectors import context_of
from hanhtrinh.rule_packs import LoadedPack, load_pack

HANOI = timezone(timedelta(hours=7))
MONDAY = datetime(2025, 3, 3, 8, 0, tzinfo=HANOI)
"""When a story begins unless it says otherwise."""
HOME = (21.0278, 105.8342)
METRES_PER_DEGREE = 111_195.0797
"""Of latitude, on the sphere that the detectors use."""
DRIVING_KMH = 30.0
"""Slow enough to stand within a second without looking like a broken sensor."""
CAR = "30E00555"
DRIVER = "D1"


def us(seconds: float | Decimal | str) -> int:
    """Seconds as microseconds, exact for a decimal text."""
    return int(Decimal(str(seconds)) * 1_000_000)


def north_of(place: tuple[float, float], metres: float) -> tuple[float, float]:
    """The place that many metres further north."""
    return place[0] + metres / METRES_PER_DEGREE, place[1]


def fixes(*told: str, vehicle_id: str = CAR, driver_id: str | None = None, start: datetime = MONDAY) -> list[Fix]:
    """Fixes told as "MINUTES:SECONDS SPEED [WORD...]", of a vehicle that drives north at the speeds it reports.

    SPEED `?` is unknown. Words: `by=NAME` (driver), `invalid`, `satellites=N`, `hdop=X`, `jump` (10 km off the road),
    `metres=N` (distance from the fix before, instead of the one driven).
    """
    result: list[Fix] = []
    place, before_us, before_kmh = HOME, None, 0.0
    for text in told:
        clock, speed, *words = text.split()
        minutes, seconds = clock.split(":")
        time_us = to_us(start) + us(Decimal(minutes) * 60 + Decimal(seconds))
        said = dict(word.partition("=")[::2] for word in words)
        if before_us is not None:
            driven = before_kmh / 3.6 * (time_us - before_us) / 1e6
            place = north_of(place, float(said.get("metres", driven)))
        at = (place[0], place[1] + 0.1) if "jump" in said else place
        speed_kmh = None if speed == "?" else float(speed)
        result.append(
            Fix(
                vehicle_id, time_us, *at, speed_kmh, said.get("by", driver_id),
                satellites=int(said["satellites"]) if "satellites" in said else None,
                hdop=float(said["hdop"]) if "hdop" in said else None,
                valid=False if "invalid" in said else None,
            )
        )  # fmt: skip
        before_us, before_kmh = time_us, speed_kmh or 0.0
    return result


def at(clock: str, start: datetime = MONDAY) -> str:
    """The RFC 3339 text of "MINUTES:SECONDS" after the start, as the wire shows it."""
    minutes, seconds = clock.split(":")
    moment = start.astimezone(UTC) + timedelta(microseconds=us(Decimal(minutes) * 60 + Decimal(seconds)))
    return moment.isoformat().replace("+00:00", "Z")


Doing = Literal["drive", "stop", "away", "silence"]


@dataclass(frozen=True)
class Part:
    """A stretch of a day. Vehicle and driver, once named, stay until another is."""

    doing: Doing
    duration_us: int
    vehicle_id: str | None = None
    driver_id: str | None = None
    km: float = 0.0


def drive(
    *, hours: float = 0, minutes: float = 0, seconds: float = 0, vehicle: str | None = None, driver: str | None = None
) -> Part:
    """Driving."""
    return Part("drive", us(hours * 3600 + minutes * 60 + seconds), vehicle, driver)


def stop(*, hours: float = 0, minutes: float = 0, seconds: float = 0, driver: str | None = None) -> Part:
    """The vehicle stands and says so."""
    return Part("stop", us(hours * 3600 + minutes * 60 + seconds), None, driver)


def away(*, hours: float = 0, minutes: float = 0, seconds: float = 0) -> Part:
    """The driver is in no vehicle."""
    return Part("away", us(hours * 3600 + minutes * 60 + seconds))


def silence(*, minutes: float, km: float = 0.0) -> Part:
    """The tracker says nothing while the vehicle moves that far."""
    return Part("silence", us(minutes * 60), km=km)


def day(*parts: Part, vehicle: str = CAR, driver: str = DRIVER) -> list[Part]:
    """A day in its order, each part with its vehicle and driver."""
    whole = []
    for part in parts:
        vehicle, driver = part.vehicle_id or vehicle, part.driver_id or driver
        whole.append(replace(part, vehicle_id=vehicle, driver_id=driver))
    return whole


def fixes_of(story: Sequence[Part], start: datetime = MONDAY, every_s: float = 60) -> list[Fix]:
    """What the trackers send during such a day: a fix every so often, and one at each change."""
    result: list[Fix] = []
    places: dict[str, tuple[float, float]] = {}
    now_us, step_us = to_us(start), us(every_s)

    def send(part: Part, time_us: int, speed_kmh: float) -> None:
        assert part.vehicle_id is not None
        place = places.setdefault(part.vehicle_id, HOME)
        result.append(Fix(part.vehicle_id, time_us, *place, speed_kmh, part.driver_id))

    for number, part in enumerate(story):
        assert part.vehicle_id is not None
        end_us = now_us + part.duration_us
        moving = part.doing == "drive"
        if part.doing == "silence":
            send(part, now_us, DRIVING_KMH if part.km else 0.0)
            places[part.vehicle_id] = north_of(places[part.vehicle_id], part.km * 1000)
        elif part.doing != "away":
            for time_us in range(now_us, end_us, step_us):
                send(part, time_us, DRIVING_KMH if moving else 0.0)
                if moving:
                    metres = DRIVING_KMH / 3.6 * min(step_us, end_us - time_us) / 1e6
                    places[part.vehicle_id] = north_of(places[part.vehicle_id], metres)
        following = story[number + 1] if number + 1 < len(story) else None
        if part.doing != "away" and (
            following is None or following.doing == "away" or following.vehicle_id != part.vehicle_id
        ):
            send(part, end_us, DRIVING_KMH if moving else 0.0)
        now_us = end_us
    return result


_ACTIVITY = {"drive": Activity.DRIVING, "stop": Activity.STOPPED, "silence": Activity.UNKNOWN}


def intervals_of(
    story: Sequence[Part], start: datetime = MONDAY, kind: str | None = None, driver: str = DRIVER
) -> list[Interval]:
    """The timeline of one driver during such a day."""
    result, now_us = [], to_us(start)
    for part in story:
        end_us = now_us + part.duration_us
        if part.doing != "away" and part.driver_id == driver:
            result.append(Interval(now_us, end_us, _ACTIVITY[part.doing], part.vehicle_id, kind))
        now_us = end_us
    return result


def only_continuous(loaded: LoadedPack) -> LoadedPack:
    """The pack with its limit on continuous driving as the only rule on driving time, and without warnings."""
    hours, continuous = loaded.hours, loaded.hours.continuous
    rules = [replace(rule, attempt_share=None, warn_before_s=None) for rule in continuous.rules]
    kept = replace(hours, continuous=replace(continuous, rules=rules), daily=NO_RULE, weekly=NO_RULE, fortnight=NO_RULE)
    return replace(loaded, hours=kept)


@dataclass
class Office:
    """Whoever judges: its rules and what it knows of its vehicles."""

    rules: LoadedPack = field(default_factory=load_pack)
    given_kmh: float | None = None
    own_kmh: Mapping[str, float] = field(default_factory=dict)
    classes: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    operators: Mapping[str, str] = field(default_factory=dict)
    overrides: Sequence[Override] = ()
    detectors: Sequence[Factory] = (SpeedingDetector,)

    def limits(self, vehicles: Names) -> LimitBook:
        """The limits of its vehicles."""
        book = LimitBook(self.rules.pack, self.given_kmh)
        own = {each.scope_id for each in self.overrides if each.scope == "vehicle"}
        by_scope: dict[tuple[Scope, str], list[Override]] = {}
        for each in self.overrides:
            by_scope.setdefault((each.scope, each.scope_id), []).append(each)
        for vehicle_id in sorted({*self.own_kmh, *self.classes, *self.kinds, *self.operators, *own}):
            code, own_kmh = vehicles.code(vehicle_id), self.own_kmh.get(vehicle_id)
            book.register(code, own_kmh, self.classes.get(vehicle_id))
            kind, operator_id = self.kinds.get(vehicle_id), self.operators.get(vehicle_id)
            book.overrides.assign(code, concerning(by_scope, vehicle_id, kind, operator_id, own_kmh))
        return book

    def judge(self, sent: Iterable[Fix], road_kmh: Sequence[float] | None = None) -> RecordingJudgement:
        """Judge fixes in the order given, with the road's limit at each where it is known (NaN where not)."""
        vehicles, drivers = Names(), Names()
        columns = columns_of(list(sent), vehicles, drivers)
        if road_kmh is not None:
            columns.limit_kmh = np.array(road_kmh, dtype=np.float64)
        return self.judge_columns(columns, vehicles, drivers)

    def judge_columns(self, columns: Columns, vehicles: Names, drivers: Names) -> RecordingJudgement:
        """Judge what a recording's reader made."""
        context = context_of(self.rules, vehicles, drivers, self.limits(vehicles))
        return judge_recording(columns, context, self.detectors, self.rules.hours, self.kinds)


Change = tuple[str, int, str | None, Activity]
"""Vehicle, time, driver, activity."""
Leg = tuple[str, str | None, int, int]
"""Vehicle, driver, begin, end."""


@dataclass
class Told:
    """What a stream was told so far, by name. What is told of each fix is in the order of the fixes sent."""

    flags: list[int] = field(default_factory=list)
    settled: list[bool] = field(default_factory=list)
    leg_mm: list[int] = field(default_factory=list)
    leg_driving_us: list[int] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    legs: list[Leg] = field(default_factory=list)
    violations: dict[str, Violation] = field(default_factory=dict)
    """The latest state of each by its id."""


class Stream:
    """Feeds one judge with fixes in calls of any size, as a worker does."""

    def __init__(self, office: Office | None = None) -> None:
        self._office = office or Office()
        self._vehicles, self._drivers = Names(), Names()
        context = context_of(self._office.rules, self._vehicles, self._drivers, self._office.limits(self._vehicles))
        self._judge = JourneyJudge(context, self._office.detectors)
        self._told = Told()

    def send(self, sent: Sequence[Fix], per_call: int = 1_000_000) -> Told:
        """Send fixes, in (vehicle, time) order, so many per call; what was told until now."""
        for first in range(0, len(sent), per_call):
            self.call(sent[first : first + per_call])
        return self._told

    def call(self, sent: Sequence[Fix], road_kmh: Sequence[float] | None = None) -> Told:
        """One call. The fixes of a vehicle are newer than those of the calls before."""
        vehicles, drivers, told = self._vehicles, self._drivers, self._told
        batch = columns_of(sent, vehicles, drivers)
        if road_kmh is not None:
            batch.limit_kmh = np.array(road_kmh, dtype=np.float64)
        order = np.lexsort((batch.time_us, batch.vehicle))
        batch = batch.take(order)
        found = self._judge.advance(batch, flags_alone(batch, self._office.rules.pack.checks, None))
        as_sent = np.argsort(order)
        told.flags += found.flags[as_sent].tolist()
        told.settled += found.settled[as_sent].tolist()
        told.leg_mm += found.leg_mm[as_sent].tolist()
        told.leg_driving_us += found.leg_driving_us[as_sent].tolist()
        for vehicle, time_us, driver, activity in zip(*(each.tolist() for each in found.activity), strict=True):
            told.changes.append((vehicles.names[vehicle], time_us, drivers.name(driver), Activity(activity)))
        for vehicle, driver, begin_us, end_us in zip(*(each.tolist() for each in found.legs), strict=True):
            told.legs.append((vehicles.names[vehicle], drivers.name(driver), begin_us, end_us))
        told.violations.update((each.violation_id, each) for each in found.violations)
        return told


CAP_80 = Office(own_kmh={CAR: 80.0})
"""Knows one car that may drive 80 km/h and no more."""


def speeding(sent: Sequence[Fix], office: Office = CAP_80, road_kmh: Sequence[float] | None = None) -> list[Violation]:
    return [each for each in office.judge(sent, road_kmh).violations if each.kind == "speeding"]


def only(sent: Sequence[Fix], office: Office = CAP_80, road_kmh: Sequence[float] | None = None) -> dict[str, Any]:
    """The one violation, as the wire shows it."""
    (violation,) = speeding(sent, office, road_kmh)
    return violation.to_wire()
