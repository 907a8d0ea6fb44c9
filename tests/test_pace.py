"""How fast people may be told, at its edges."""

from __future__ import annotations

from datetime import datetime, time, timedelta

import pytest

from alerts.hours import Hours
from alerts.message import VIETNAM
from alerts.pace import Pace, Step
from storage.outbox import Pressure

NOON = datetime(2026, 10, 3, 12, tzinfo=VIETNAM)
TEN_A_MINUTE = Pace(VIETNAM, most_per_minute=10)


def pressure(waiting: int, sent_in_last_minute: int = 0, digest_ago_s: float | None = None) -> Pressure:
    last_digest_at = None if digest_ago_s is None else NOON - timedelta(seconds=digest_ago_s)
    return Pressure(NOON, waiting, NOON if waiting else None, sent_in_last_minute, last_digest_at, 0)


@pytest.mark.parametrize(("waiting", "sent"), [(10, 0), (4, 6), (1, 9)])
def test_as_many_as_may_be_told_in_a_minute_are_told_one_by_one(waiting: int, sent: int) -> None:
    assert TEN_A_MINUTE.step(pressure(waiting, sent)) is Step.ONE_BY_ONE
    assert TEN_A_MINUTE.step(pressure(waiting + 1, sent)) is Step.TOGETHER


@pytest.mark.parametrize(
    ("digest_ago_s", "step"), [(0, Step.HOLD), (59, Step.HOLD), (59.999, Step.HOLD), (60, Step.TOGETHER)]
)
def test_what_is_too_much_is_held_until_the_last_summary_is_a_minute_ago(digest_ago_s: float, step: Step) -> None:
    assert TEN_A_MINUTE.step(pressure(11, digest_ago_s=digest_ago_s)) is step


def test_a_summary_a_moment_ago_does_not_hold_a_calm_channels_alerts() -> None:
    assert TEN_A_MINUTE.step(pressure(10, digest_ago_s=1)) is Step.ONE_BY_ONE


@pytest.mark.parametrize(
    ("ago_s", "step"), [(700, Step.TOGETHER), (600, Step.TOGETHER), (1, Step.TOGETHER), (0, Step.ONE_BY_ONE)]
)
def test_what_was_written_before_quiet_hours_ended_is_told_together_without_waiting_for_the_minute(
    ago_s: float, step: Step
) -> None:
    """Quiet hours of ten minutes, which have ended just now."""
    pace = Pace(VIETNAM, most_per_minute=10, quiet=Hours(time(11, 50), time(12)))
    waits = pressure(1, digest_ago_s=1)._replace(oldest_at=NOON - timedelta(seconds=ago_s))
    assert pace.step(waits) is step


def test_nothing_is_done_when_nothing_waits() -> None:
    assert TEN_A_MINUTE.step(pressure(0, sent_in_last_minute=50)) is Step.HOLD
