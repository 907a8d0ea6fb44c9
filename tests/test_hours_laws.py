"""Laws of judging hours: order, cutting and the way of judging change nothing, and nothing comes before it is due."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.activity import Activity
from detectors.fix import to_us
from detectors.hours import HoursRules, Interval, LimitWarning, Line, judge_hours, reset_before, shown_driving
from detectors.violation import Violation
from hanhtrinh.rule_packs import load_hours
from tests.scenario import HANOI

LINE = Line("D1", None)
# A Thursday a week before every rule of Vietnam changes: what is drawn goes over the change.
BEGIN_US = to_us(datetime(2024, 12, 26, tzinfo=HANOI))
SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US
UNSEEN_US = 90 * SECOND_US

# Real numbers need days of driving for one violation of a week; these need hours.
RULES = {
    "vn": load_hours("vn", ["daily_driving.limit_s=9000", "weekly_driving.limit_s=36000"]).rules,
    "eu": load_hours(
        "eu",
        [
            "daily_driving.limit_s=18000",
            "daily_driving.extended_limit_s=21600",
            "daily_driving.extensions_per_week=1",
            "weekly_driving.limit_s=28800",
            "fortnight_driving.limit_s=36000",
        ],
    ).rules,
}
packs = pytest.mark.parametrize("pack", RULES)

DRIVEN_S = [1, 60, 1799, 3600, 6900, 7200, 7201, 13_500, 14_400, 14_401, 15_300, 16_200, 18_000, 21_601]
RESTED_S = [1, 299, 300, 600, 601, 899, 900, 901, 1800, 2699, 2700, 7200, 32_399, 32_400, 50_000, 110_000, 200_000]


@st.composite
def timelines(draw: st.DrawFn) -> list[Interval]:
    """Three weeks or so of a driver: driving and stops of the lengths at which judgements turn, in two vehicles."""
    intervals: list[Interval] = []
    now_us = BEGIN_US + draw(st.integers(0, 7 * 24)) * HOUR_US
    for _ in range(draw(st.integers(1, 45))):
        vehicle_id, kind = draw(st.sampled_from([("A", "goods"), ("B", "taxi")]))
        for activity, seconds in (
            (Activity.DRIVING, draw(st.sampled_from(DRIVEN_S))),
            (draw(st.sampled_from(OTHERS)), draw(st.sampled_from(RESTED_S))),
        ):
            end_us = now_us + seconds * SECOND_US
            if activity is not None:
                intervals.append(Interval(now_us, end_us, activity, vehicle_id, kind))
            now_us = end_us
    for _ in range(draw(st.integers(0, 3))):
        # Meanwhile another vehicle is driven in the same name, or stands: a placeholder, or a card left behind.
        begin_us = draw(st.sampled_from(intervals)).begin_us + draw(st.sampled_from([-1800, 0, 60, 3600])) * SECOND_US
        end_us = begin_us + draw(st.sampled_from(DRIVEN_S + RESTED_S)) * SECOND_US
        intervals.append(Interval(begin_us, end_us, draw(st.sampled_from(MEANWHILE)), "C", "goods"))
    return sorted(intervals, key=lambda each: each[:2])


MEANWHILE = [Activity.DRIVING, Activity.DRIVING, Activity.STOPPED, Activity.UNKNOWN]
OTHERS = [*[Activity.STOPPED] * 5, None, None, Activity.UNKNOWN, Activity.WORK, Activity.AVAILABLE, Activity.REST]


def last_us(intervals: Sequence[Interval]) -> int:
    """Where the timeline ends."""
    return max(each.end_us for each in intervals)


def until(intervals: Sequence[Interval], time_us: int) -> list[Interval]:
    """What is known at a time."""
    return [each._replace(end_us=min(each.end_us, time_us)) for each in intervals if each.begin_us < time_us]


def since(intervals: Sequence[Interval], time_us: int) -> list[Interval]:
    """What storage reads."""
    return [each for each in intervals if each.end_us > time_us]


def shown(known: Sequence[Interval], whole: Sequence[Interval]) -> list[Interval]:
    """No driving but to the last moving fix, which was some time before each end; until then each fix moved."""
    ends_us = {(each.begin_us, each.vehicle_id): each.end_us for each in sorted(whole)}
    found: list[Interval] = []
    for each in known:
        if each.activity != Activity.DRIVING:
            found.append(each)
            continue
        last_us = ends_us[each.begin_us, each.vehicle_id] - UNSEEN_US
        found += shown_driving(each, min(each.end_us, last_us))
    return found


class Keeper:
    """Keeps what stands, as the worker does with its tables."""

    def __init__(self, rules: HoursRules, whole: Sequence[Interval]) -> None:
        """`whole` is all that will ever be heard."""
        self.rules = rules
        self.whole = whole
        self.standing: dict[str, Violation] = {}
        self.warned: dict[str, LimitWarning] = {}
        self.since_us = self.judged_to_us = self.due_us = 0

    def hear(self, known: Sequence[Interval], begin_us: int) -> None:
        """More is known, from a time on."""
        end_us = max((each.end_us for each in known), default=0)
        if end_us < self.due_us and begin_us >= self.judged_to_us:
            return
        since_us = self.since_us
        if self.rules.reaches_behind(begin_us, since_us, self.judged_to_us):
            since_us = reset_before(known, begin_us, self.rules) or 0
        heard = since(known, since_us)
        judged = judge_hours(LINE, heard, self.rules, since_us, shown(heard, self.whole))
        kept = {
            name: each
            for name, each in self.standing.items()
            if each.started_us < since_us or not self.rules.is_whole(each.kind, each.started_us, since_us)
        }
        self.standing = kept | {each.violation_id: each for each in judged.violations}
        self.warned.update((each.warning_id, each) for each in judged.warnings)
        self.since_us, self.judged_to_us, self.due_us = judged.since_us, judged.judged_to_us, judged.due_us


@packs
@given(intervals=timelines(), data=st.data())
def test_order_and_cutting_change_nothing(pack: str, intervals: list[Interval], data: st.DataObject) -> None:
    whole = judge_hours(LINE, intervals, RULES[pack])
    cut: list[Interval] = []
    for each in intervals:
        at_us = data.draw(st.integers(each.begin_us, each.end_us))
        cut += [each._replace(end_us=at_us), each._replace(begin_us=at_us)]
    assert judge_hours(LINE, data.draw(st.permutations(cut)), RULES[pack]) == whole


@packs
@given(intervals=timelines(), data=st.data())
def test_judging_as_time_goes_on_ends_in_judging_all_at_once(
    pack: str, intervals: list[Interval], data: st.DataObject
) -> None:
    end_us = last_us(intervals)
    steps = sorted({*data.draw(st.lists(st.integers(intervals[0].begin_us + 1, end_us), max_size=30)), end_us})
    keeper, heard_us = Keeper(RULES[pack], intervals), intervals[0].begin_us
    for step_us in steps:
        keeper.hear(until(intervals, step_us), heard_us)
        heard_us = step_us
    whole = judge_hours(LINE, intervals, RULES[pack], shown=shown(intervals, intervals))
    assert keeper.standing == {each.violation_id: each for each in whole.violations}
    assert keeper.warned == {each.warning_id: each for each in whole.warnings}


@packs
@given(intervals=timelines(), data=st.data())
def test_what_comes_late_ends_in_what_it_would_have_been(
    pack: str, intervals: list[Interval], data: st.DataObject
) -> None:
    first, last = sorted(data.draw(st.lists(st.integers(0, len(intervals)), min_size=2, max_size=2)))
    keeper, heard_us = Keeper(RULES[pack], intervals), intervals[0].begin_us
    in_time = intervals[:first] + intervals[last:]
    for step_us in sorted({*data.draw(st.lists(st.integers(heard_us + 1, last_us(intervals)), max_size=8))}):
        keeper.hear(until(in_time, step_us), heard_us)
        heard_us = step_us
    late_us = min((each.begin_us for each in intervals[first:last]), default=heard_us)
    keeper.hear(intervals, min(late_us, heard_us) - 1)
    whole = judge_hours(LINE, intervals, RULES[pack], shown=shown(intervals, intervals))
    assert keeper.standing == {each.violation_id: each for each in whole.violations}


@packs
@given(intervals=timelines(), data=st.data())
def test_nothing_comes_before_it_is_due(pack: str, intervals: list[Interval], data: st.DataObject) -> None:
    """What really followed, and driving without end from any moment on."""
    now_us = data.draw(st.integers(intervals[0].begin_us + 1, last_us(intervals)))
    if data.draw(st.booleans()):
        # Shortly before a day or a week ends, where the next one may be the first to complain.
        calendar = RULES[pack].calendar
        ends_us = calendar.week_end(now_us) if data.draw(st.booleans()) else calendar.day_end(now_us)
        now_us = min(last_us(intervals), ends_us - data.draw(st.integers(1, 3600)) * SECOND_US)
    known = until(intervals, now_us)
    judged = judge_hours(LINE, known, RULES[pack])
    ended_us = judged.judged_to_us
    driven = [*known, Interval(ended_us, ended_us + 40 * HOUR_US, Activity.DRIVING, "A", "goods")]
    for future in (intervals, driven):
        after = judge_hours(LINE, future, RULES[pack])
        told = {each.violation_id for each in judged.violations} | {each.warning_id for each in judged.warnings}
        events = [(each.violation_id, each.proven_us) for each in after.violations]
        events += [(each.warning_id, each.at_us) for each in after.warnings]
        assert [moment for name, moment in events if name not in told and moment < judged.due_us] == []


@pytest.mark.parametrize("every_h", [1, 6, 13])
def test_a_day_that_no_rest_ends_for_weeks_is_followed_to_its_end(every_h: int) -> None:
    """The third long day of a week goes on into the second week after: the long days before it still count."""
    rules = load_hours("eu").rules
    intervals: list[Interval] = []
    at_us = to_us(datetime(2025, 3, 3, tzinfo=HANOI))
    long_days = [(Activity.DRIVING, 4.5), (Activity.REST, 0.75), (Activity.DRIVING, 4.75), (Activity.REST, 9.0)] * 3
    for activity, hours in long_days[:-1] + [(Activity.WORK, 7.0), (Activity.DRIVING, 0.1)] * 50:
        until_us = at_us + round(hours * HOUR_US)
        intervals.append(Interval(at_us, until_us, activity, "A", "goods"))
        at_us = until_us
    keeper, heard_us = Keeper(rules, intervals), intervals[0].begin_us
    for step_us in [*range(heard_us + HOUR_US, at_us, every_h * HOUR_US), at_us]:
        keeper.hear(until(intervals, step_us), heard_us)
        heard_us = step_us
    whole = judge_hours(LINE, intervals, rules, shown=shown(intervals, intervals))
    assert "daily_extension" in {each.kind for each in whole.violations}
    assert keeper.standing == {each.violation_id: each for each in whole.violations}


@packs
def test_a_lawful_week_is_seldom_due(pack: str) -> None:
    """Cheapness itself: a driver heard every ten seconds is judged a few times a day."""
    rules = load_hours(pack).rules
    judged, begin_us = 0, to_us(datetime(2025, 3, 3, tzinfo=HANOI))
    intervals: list[Interval] = []
    keeper = Keeper(rules, intervals)
    for day in range(5):
        at_us = begin_us + day * 24 * HOUR_US + 6 * HOUR_US
        for activity, hours in ((Activity.DRIVING, 3.5), (Activity.STOPPED, 0.75), (Activity.DRIVING, 3.5)):
            until_us = at_us + round(hours * HOUR_US)
            intervals.append(Interval(at_us, until_us, activity, "A", "goods"))
            at_us = until_us
    heard_us = intervals[0].begin_us
    for step_us in range(heard_us + 10 * SECOND_US, last_us(intervals), 10 * SECOND_US):
        before_us = keeper.judged_to_us
        keeper.hear(until(intervals, step_us), heard_us)
        judged += keeper.judged_to_us != before_us
        heard_us = step_us
    assert keeper.standing == {}
    assert judged <= 4 * 5


@packs
def test_the_drawn_timelines_meet_every_kind(pack: str) -> None:
    """Guards the strategy: what is never drawn is never tested."""
    met: set[str] = set()

    @given(timelines())
    def collect(intervals: list[Interval]) -> None:
        judged = judge_hours(LINE, intervals, RULES[pack])
        met.update(f"{each.kind} {each.grade}" for each in judged.violations)
        met.update(f"{each.kind} warning" for each in judged.warnings)

    collect()
    expected = {
        "vn": {"continuous_driving", "short_rest", "daily_driving", "weekly_driving"},
        "eu": {"continuous_driving", "daily_driving", "daily_extension", "weekly_driving", "fortnight_driving"},
    }[pack]
    assert {f"{kind} confirmed" for kind in expected} <= met
    assert {f"{kind} warning" for kind in expected if kind != "short_rest"} <= met
