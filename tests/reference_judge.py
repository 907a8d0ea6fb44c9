"""The judge again, written from DESIGN.md fix by fix in plain Python, as slow and simple as can be.

Shares no judging code with detectors/: only the words (Fix, Check, Activity, Override) and the numbers of a pack. The
vectorised judge must find exactly what this finds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import NamedTuple, TypeVar

from detectors.activity import Activity
from detectors.checks import Check
from detectors.fix import Fix
from detectors.overrides import Override
from detectors.rules import ActivityNumbers, CheckNumbers, Dated, SilenceRule, SpeedingRule
from detectors.rules.driving_time import ContinuousRule

Rule = TypeVar("Rule", SpeedingRule, SilenceRule, ContinuousRule)


def metres_between(one: Fix, other: Fix) -> float:
    """Great-circle distance."""
    phi, other_phi = math.radians(one.lat), math.radians(other.lat)
    chord = (
        math.sin((other_phi - phi) / 2) ** 2
        + math.cos(phi) * math.cos(other_phi) * math.sin(math.radians(other.lon - one.lon) / 2) ** 2
    )
    return 2 * 6_371_008.7714 * math.asin(math.sqrt(min(1.0, chord)))


def seconds(one: Fix, other: Fix) -> float:
    """From one fix to the other."""
    return (other.time_us - one.time_us) / 1e6


def in_force(rules: Dated[Rule], time_us: int) -> Rule:
    """The last version that had begun; the first before all."""
    begun = [rule for begin_us, rule in zip(rules.begins_us, rules.rules, strict=True) if begin_us <= time_us]
    return begun[-1] if begun else rules.rules[0]


class Numbers(NamedTuple):
    """What judges a vehicle at a moment."""

    version: str
    min_excess_kmh: float
    exit_after_s: float
    max_gap_s: float
    min_fixes: float
    min_duration_s: float
    own: dict[str, Override]
    """The office's own in force, by number."""


def numbers_at(time_us: int, rules: Dated[SpeedingRule], own: Iterable[Override]) -> Numbers:
    """The pack's numbers with those of the office in their place; `own` concern the vehicle, the weakest first."""
    day = (datetime(1970, 1, 1, tzinfo=timezone(timedelta(hours=7))) + timedelta(hours=7, microseconds=time_us)).date()
    rule = in_force(rules, time_us)
    chosen = {
        each.number: each for each in own if each.valid_from <= day and (each.valid_to is None or day < each.valid_to)
    }

    def value(name: str) -> float:
        each = chosen.get(f"speeding.{name}")
        return float(getattr(rule, name)) if each is None else each.value

    return Numbers(
        rule.valid_from.isoformat(), value("min_excess_kmh"), value("exit_after_s"), value("max_gap_s"),
        value("min_fixes"), value("min_duration_s"),
        {name: each for name, each in chosen.items() if not name.startswith("silence.")},
    )  # fmt: skip


def flags_of(fixes: Sequence[Fix], numbers: CheckNumbers) -> list[Check]:
    """The checks that each fix of one vehicle fails, without receipt times."""
    flags: list[Check] = []
    before: Fix | None = None
    held: Fix | None = None
    trusted: Fix | None = None
    suspect: Fix | None = None
    for fix in fixes:
        flag = _alone(fix, numbers)
        if not flag:
            moves = _speed(fix) >= numbers.frozen_kmh
            still = before is not None and (before.lat, before.lon) == (fix.lat, fix.lon)
            held_before = held
            if not moves:
                held = None
            elif held is None or not still:
                held = fix
            if held is not None and seconds(held, fix) > numbers.frozen_after_s:
                flag = Check.FROZEN
            if before is not None and _contradicts(held_before or before, before, fix, numbers):
                flag |= Check.CONTRADICTION
            before = fix
            if not flag:
                flag = _reach(trusted, fix, numbers)
                if flag and suspect is not None and not _reach(suspect, fix, numbers):
                    flag = Check(0)
                trusted, suspect = (trusted, fix) if flag else (fix, None)
        flags.append(flag)
    return flags


def _speed(fix: Fix) -> float:
    return -1.0 if fix.speed_kmh is None else fix.speed_kmh


def _alone(fix: Fix, numbers: CheckNumbers) -> Check:
    flag = Check(0)
    few = fix.satellites is not None and fix.satellites < numbers.min_satellites
    vague = fix.hdop is not None and fix.hdop > numbers.max_hdop
    if fix.valid is False or few or vague or (fix.lat == 0 and fix.lon == 0):
        flag |= Check.NO_FIX
    if _speed(fix) > numbers.max_speed_kmh:
        flag |= Check.SPEED
    if fix.time < datetime.combine(numbers.earliest, datetime.min.time(), tzinfo=UTC):
        flag |= Check.CLOCK
    return flag


def _contradicts(since: Fix, before: Fix, fix: Fix, numbers: CheckNumbers) -> bool:
    slower = min(_speed(before), _speed(fix))
    moved, lasted_s = metres_between(before, fix), seconds(since, fix)
    claims = slower >= numbers.contradiction_kmh and lasted_s <= numbers.contradiction_within_s
    return claims and 0.0005 <= moved < numbers.contradiction_share * slower / 3.6 * lasted_s


def _reach(origin: Fix | None, fix: Fix, numbers: CheckNumbers) -> Check:
    if origin is None:
        return Check(0)
    metres, lasted_s = metres_between(origin, fix), seconds(origin, fix)
    if metres > numbers.jump_min_m and metres > numbers.jump_kmh / 3.6 * lasted_s:
        return Check.JUMP
    known = origin.speed_kmh is not None and fix.speed_kmh is not None and lasted_s <= numbers.acceleration_within_s
    if known and abs(_speed(fix) - _speed(origin)) > numbers.acceleration_kmh_per_s * lasted_s:
        return Check.ACCELERATION
    return Check(0)


class Limited(NamedTuple):
    """A trusted fix with its limit and the highest limit that any reading allows."""

    fix: Fix
    limit_kmh: float
    highest_kmh: float


@dataclass
class Speeding:
    """All that an episode says."""

    driver_id: str | None
    numbers: Numbers
    start_us: int
    last_us: int
    start: tuple[float, float]
    end: tuple[float, float]
    fixes: int
    top_kmh: float
    mean_kmh: float
    excess_kmh: float
    limit_kmh: float
    limits: dict[float, int]
    distance_m: float
    proven_us: int
    closed_us: int | None
    certain: bool


def _is_over(fix: Fix, limit_kmh: float, numbers: Numbers) -> bool:
    return fix.speed_kmh is not None and round(fix.speed_kmh - limit_kmh, 3) >= numbers.min_excess_kmh


def speeding(
    trusted: Sequence[Limited], numbers_of: Callable[[int], Numbers], *, strict: bool = False
) -> list[Speeding]:
    """The violations of one vehicle; `strict` holds every fix against the highest limit instead."""
    found: list[Speeding] = []
    episode: list[Limited] = []
    below: Fix | None = None
    before: Fix | None = None

    def end(at: Fix | None) -> None:
        nonlocal below
        speeding = _proven(episode, numbers_of, at, strict=strict)
        if speeding is not None:
            found.append(speeding)
        episode.clear()
        below = None

    for each in trusted:
        fix, limit = each.fix, each.highest_kmh if strict else each.limit_kmh
        numbers = numbers_of(fix.time_us)
        if episode:
            first = episode[0].fix
            silent = before is not None and seconds(before, fix) > numbers.max_gap_s
            if silent or fix.driver_id != first.driver_id or numbers != numbers_of(first.time_us):
                end(fix)
        before = fix
        if _is_over(fix, limit, numbers):
            episode.append(each)
            below = None
        elif episode and fix.speed_kmh is not None:
            below = below or fix
            if round(fix.speed_kmh - limit, 3) <= 0 or seconds(below, fix) > numbers.exit_after_s:
                end(fix)
        if episode and episode[-1] is not each:
            episode.append(each)
    end(None)
    return found


def _proven(
    episode: Sequence[Limited], numbers_of: Callable[[int], Numbers], closed: Fix | None, *, strict: bool
) -> Speeding | None:
    if not episode:
        return None
    first = episode[0].fix
    numbers = numbers_of(first.time_us)
    limit_of = {id(each): each.highest_kmh if strict else each.limit_kmh for each in episode}
    over = [each for each in episode if _is_over(each.fix, limit_of[id(each)], numbers)]
    proofs = [
        each.fix.time_us
        for number, each in enumerate(over, start=1)
        if number >= numbers.min_fixes and seconds(first, each.fix) >= numbers.min_duration_s
    ]
    if not proofs:
        return None
    last = over[-1].fix
    way = [each.fix for each in episode if each.fix.time_us <= last.time_us]
    worst = max(over, key=lambda each: (round(_speed(each.fix) - limit_of[id(each)], 3), -each.fix.time_us))
    limits = [limit_of[id(each)] for each in over]
    return Speeding(
        driver_id=first.driver_id,
        numbers=numbers,
        start_us=first.time_us,
        last_us=last.time_us,
        start=(first.lat, first.lon),
        end=(last.lat, last.lon),
        fixes=len(over),
        top_kmh=max(_speed(each.fix) for each in over),
        mean_kmh=sum(_speed(each.fix) for each in over) / len(over),
        excess_kmh=round(_speed(worst.fix) - limit_of[id(worst)], 3),
        limit_kmh=limit_of[id(worst)],
        limits={limit: limits.count(limit) for limit in limits},
        distance_m=sum(metres_between(a, b) for a, b in pairwise(way)),
        proven_us=proofs[0],
        closed_us=None if closed is None else closed.time_us,
        certain=all(each.limit_kmh == each.highest_kmh for each in over),
    )


def is_confirmed(each: Speeding, strictly: Iterable[Speeding]) -> bool:
    """Over under every reading of the evidence."""
    return each.certain or any(each.start_us <= other.start_us and other.last_us <= each.last_us for other in strictly)


def silences(
    trusted: Sequence[Fix], numbers: ActivityNumbers, allowed_s: Callable[[int], float]
) -> list[tuple[int, int]]:
    """Beginning and end of each silence that the next trusted fix ended, somewhere else."""
    return [
        (before.time_us, fix.time_us)
        for before, fix in pairwise(trusted)
        if _speed(before) >= numbers.moving_kmh
        and metres_between(before, fix) >= numbers.still_m
        and seconds(before, fix) > allowed_s(before.time_us)
    ]


class Piece(NamedTuple):
    """What one vehicle did, and who drove it."""

    begin_us: int
    end_us: int
    activity: Activity
    driver_id: str | None
    vehicle_id: str
    shown_until_us: int
    """Until when fixes show it: of driving, the last at which it moves, named by its driver."""


def pieces_of(trusted: Sequence[Fix], numbers: ActivityNumbers) -> list[Piece]:
    """The timeline of one vehicle; a piece ends where activity or driver change."""
    pieces: list[Piece] = []
    for earlier, later in pairwise(trusted):
        metres, lasted_s = metres_between(earlier, later), seconds(earlier, later)
        speed_kmh = metres / lasted_s * 3.6 if earlier.speed_kmh is None else earlier.speed_kmh
        if lasted_s > numbers.max_silence_s:
            activity = Activity.STOPPED if metres < numbers.still_m else Activity.UNKNOWN
        else:
            activity = Activity.DRIVING if speed_kmh >= numbers.moving_kmh else Activity.STOPPED
        shown_us = later.time_us
        if activity is Activity.DRIVING:
            proofs = [each for each in (earlier, later) if each.driver_id == earlier.driver_id]
            moving = [each.time_us for each in proofs if _speed(each) >= numbers.moving_kmh]
            shown_us = max(moving, default=earlier.time_us)
        piece = Piece(earlier.time_us, later.time_us, activity, earlier.driver_id, earlier.vehicle_id, shown_us)
        if pieces and (pieces[-1].activity, pieces[-1].driver_id) == (activity, piece.driver_id):
            before = pieces.pop()
            shows = moving if activity is Activity.DRIVING else [shown_us]
            piece = piece._replace(begin_us=before.begin_us, shown_until_us=max(shows, default=before.shown_until_us))
        pieces.append(piece)
    return pieces


def favourable(pieces: Sequence[Piece]) -> list[Piece]:
    """The same with no more driving than is shown, an instant at least; what follows on it is unknown."""
    told: list[Piece] = []
    for each in pieces:
        until_us = max(each.shown_until_us, each.begin_us + 1)
        if each.activity is not Activity.DRIVING or until_us >= each.end_us:
            told.append(each)
        else:
            told.append(each._replace(end_us=until_us))
            told.append(each._replace(begin_us=until_us, activity=Activity.UNKNOWN))
    return told


@dataclass
class TooLong:
    """Continuous driving over the limit."""

    vehicle_id: str
    began_us: int
    passed_us: int
    ended_us: int
    driven_us: int
    vehicles: list[str]
    rested_us: int | None
    confirmed: bool = True


def too_long(
    pieces: Sequence[Piece], rules: Dated[ContinuousRule], kinds: Mapping[str, str | None], resets_us: int
) -> list[TooLong]:
    """The violations of one line.

    One is for review where nobody is named, or where none is left in it with the unknown as rest and no more driving
    than fixes show.
    """
    found = list(_drives(pieces, rules, kinds, {Activity.STOPPED}, resets_us))
    certain = list(_drives(favourable(pieces), rules, kinds, {Activity.STOPPED, Activity.UNKNOWN}, resets_us))
    for each in found:
        inside = [sure for sure in certain if each.began_us <= sure.began_us and sure.ended_us <= each.ended_us]
        each.confirmed = bool(inside) and pieces[0].driver_id is not None
    return found


def _drives(
    pieces: Sequence[Piece],
    rules: Dated[ContinuousRule],
    kinds: Mapping[str, str | None],
    restful: set[Activity],
    resets_us: int,
) -> Iterator[TooLong]:
    drive: TooLong | None = None
    passed = False
    rest_us: int | None = None
    for begin_us, end_us in pairwise(sorted({edge for each in pieces for edge in (each.begin_us, each.end_us)})):
        now = [each for each in pieces if each.begin_us <= begin_us and end_us <= each.end_us]
        doing = {each.activity for each in now}
        if Activity.DRIVING in doing:
            rest_us = None
            behind = min(each for each in now if each.activity is Activity.DRIVING)
            drive = drive or TooLong(behind.vehicle_id, begin_us, begin_us, end_us, 0, [], None)
            limit_us = round(in_force(rules, begin_us).limit_s * 1e6)
            if not passed and drive.driven_us + end_us - begin_us > limit_us:
                passed = True
                drive.vehicle_id, drive.passed_us = behind.vehicle_id, begin_us + limit_us - drive.driven_us
            drive.driven_us += end_us - begin_us
            drive.ended_us = end_us
            drive.vehicles = sorted({*drive.vehicles, behind.vehicle_id})
            kind = kinds.get(behind.vehicle_id)
        elif drive is not None and end_us - drive.ended_us >= resets_us:
            # Nobody can claim that one drive went on through this, whatever it was.
            rule = in_force(rules, drive.ended_us)
            drive.rested_us = drive.ended_us + round(rule.rest_s_by_kind.get(kind or "", rule.rest_s) * 1e6)
            if passed:
                yield drive
            drive, passed, rest_us = None, False, None
        elif Activity.UNKNOWN in doing and Activity.UNKNOWN not in restful:
            rest_us = None
        else:
            rest_us = begin_us if rest_us is None else rest_us
            if drive is not None:
                rule = in_force(rules, rest_us)
                needed_us = round(rule.rest_s_by_kind.get(kind or "", rule.rest_s) * 1e6)
                if end_us - rest_us >= needed_us:
                    drive.rested_us = rest_us + needed_us
                    if passed:
                        yield drive
                    drive, passed = None, False
    if drive is not None and passed:
        yield drive
