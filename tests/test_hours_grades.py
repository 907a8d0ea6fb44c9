"""Grades of driving time: what rare fixes, silences and unnamed drivers leave open is for review, and says why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import pytest

from detectors.fix import Fix
from detectors.violation import Violation
from hanhtrinh.rule_packs import load_pack
from tests.running_worker import WorkerRig, make_rig, message, rig
from tests.scenario import HANOI, Office, Part, day, drive, fixes_of, silence, stop

__all__ = ["make_rig", "rig"]

OFFICE = Office(detectors=())
HIDDEN = "a silence, or the time between two fixes, may hide rest enough"
UNNAMED = "no driver is named: drivers may have taken turns"
FROM_2026 = datetime(2026, 9, 7, 6, tzinfo=HANOI)


def judged(sent: Sequence[Fix], office: Office = OFFICE) -> list[Violation]:
    return office.judge(sent).violations


def grades(story: Sequence[Part], every_s: float) -> dict[str, str]:
    return {each.kind: each.grade for each in judged(fixes_of(story, every_s=every_s))}


def broken_rest(seconds: int) -> list[Part]:
    return day(drive(hours=2), stop(seconds=seconds), drive(hours=3), stop(minutes=30))


@pytest.mark.parametrize(
    ("rest_s", "every_s", "grade"),
    [(898, 120, "review"), (779, 120, "confirmed"), (780, 120, "review"), (898, 1, "confirmed"), (899, 1, "review")],
)
def test_a_rest_that_may_have_begun_after_the_last_moving_fix_is_as_long_as_that(
    rest_s: int, every_s: float, grade: str
) -> None:
    assert grades(broken_rest(rest_s), every_s) == {"continuous_driving": grade, "short_rest": grade}


@pytest.mark.parametrize(("beyond_s", "grade"), [(30, "review"), (60, "review"), (61, "confirmed"), (120, "confirmed")])
def test_a_limit_passed_by_less_than_the_fixes_show_is_for_review(beyond_s: int, grade: str) -> None:
    (violation,) = judged(fixes_of(day(drive(hours=4, seconds=beyond_s), stop(minutes=30))))
    assert violation.grade == grade
    assert violation.evidence.get("review_because") == (None if grade == "confirmed" else [HIDDEN])


def test_a_drive_that_goes_on_is_shown_to_its_last_fix() -> None:
    (violation,) = judged(fixes_of(day(drive(hours=4, seconds=1))))
    assert (violation.grade, violation.status) == ("confirmed", "open")


def test_a_day_of_many_stops_is_held_against_what_fixes_show_of_it() -> None:
    story = day(*[drive(minutes=10), stop(minutes=5)] * 26)
    assert grades(story, every_s=10) == {"continuous_driving": "confirmed"}  # 4:20:00, of which 4:15:40 are shown
    assert grades(story, every_s=60) == {"continuous_driving": "review"}  # 3:54:00


def test_one_moving_fix_between_two_stops_keeps_them_two() -> None:
    story = day(drive(hours=3, minutes=50), stop(minutes=10), drive(seconds=30), stop(minutes=10), drive(minutes=20))
    assert grades(story, every_s=60) == {"continuous_driving": "confirmed"}


@pytest.mark.parametrize(("beyond_s", "grade"), [(30, "review"), (61, "confirmed")])
def test_who_drove_when_drivers_changed_between_two_fixes_is_open(beyond_s: int, grade: str) -> None:
    (violation,) = judged(fixes_of(day(drive(hours=4, seconds=beyond_s), drive(minutes=30, driver="D2"))))
    assert (violation.driver_id, violation.grade) == ("D1", grade)


def test_fixes_without_a_speed_show_no_driving() -> None:
    sent = [each._replace(speed_kmh=None) for each in fixes_of(day(drive(hours=5)))]
    (violation,) = judged(sent)
    assert (violation.grade, violation.evidence["review_because"]) == ("review", [HIDDEN])


def test_nobody_named_is_never_confirmed() -> None:
    sent = [each._replace(driver_id=None) for each in fixes_of(day(*[drive(hours=6), stop(minutes=14)] * 2), every_s=1)]
    found = judged(sent)
    assert {each.kind for each in found} == {"continuous_driving", "daily_driving", "short_rest"}
    assert {(each.grade, *each.evidence["review_because"]) for each in found} == {("review", UNNAMED)}


def test_an_assumed_limit_says_so() -> None:
    story = day(*[drive(hours=3), stop(hours=1)] * 4)
    (violation,) = judged(fixes_of(story, FROM_2026))
    assert (violation.kind, violation.grade) == ("daily_driving", "review")
    assert violation.evidence["review_because"] == ["the limit is assumed: no law read here gives it"]


# --- silences


@pytest.mark.parametrize(("minutes", "found"), [(239.9, ["review"]), (240, []), (60 * 24 * 13, [])])
def test_a_silence_as_long_as_the_limit_begins_a_new_drive(minutes: float, found: list[str]) -> None:
    story = day(drive(hours=3), silence(minutes=minutes, km=90), drive(hours=2))
    assert [each.grade for each in judged(fixes_of(story))] == found


def test_what_was_proven_before_a_long_silence_stands() -> None:
    story = day(drive(hours=4, minutes=10), silence(minutes=300, km=90), drive(hours=2))
    (violation,) = judged(fixes_of(story))
    assert (violation.grade, violation.status, violation.duration_s) == ("confirmed", "closed", 600.0)


def test_silences_with_rest_between_count_together_and_driving_parts_them() -> None:
    apart = [silence(minutes=120, km=40), stop(minutes=10), silence(minutes=120, km=40)]
    assert judged(fixes_of(day(drive(hours=3), *apart, drive(hours=2)))) == []
    apart[1] = drive(minutes=10)
    assert [each.grade for each in judged(fixes_of(day(drive(hours=3), *apart, drive(hours=2))))] == ["review"]


def test_a_pack_may_let_the_unknown_end_nothing() -> None:
    rules = load_pack()
    rules = replace(rules, hours=replace(rules.hours, unknown_resets_us=None))
    story = day(drive(hours=3), silence(minutes=3000, km=90), drive(hours=2))
    assert [each.grade for each in judged(fixes_of(story), replace(OFFICE, rules=rules))] == ["review"]


# --- through the worker


async def stored(rig: WorkerRig) -> list[tuple[str, str]]:
    rows = await rig.rows("SELECT kind, grade FROM violations WHERE status <> 'withdrawn' ORDER BY started_at, kind")
    return [(kind, grade) for kind, grade in rows]


async def test_the_worker_grades_as_the_offline_check_does_and_late_fixes_settle_it(rig: WorkerRig) -> None:
    sent = fixes_of(broken_rest(870), every_s=20)
    stopped = next(number for number, each in enumerate(sent) if each.speed_kmh == 0)
    late = sent[stopped - 5 : stopped]
    rare = [each for each in sent if each not in late]
    await rig.append(message(each) for each in rare)
    await rig.work_off(batch_max_messages=40)
    await rig.is_sound()
    assert await stored(rig) == [("short_rest", "review"), ("continuous_driving", "review")]
    await rig.append(message(each) for each in late)
    await rig.work_off()
    await rig.is_sound()
    assert await stored(rig) == [("short_rest", "confirmed"), ("continuous_driving", "confirmed")]


async def test_a_day_that_closed_in_a_leg_of_which_the_next_fix_shows_more(rig: WorkerRig) -> None:
    """Law 1: the fix after midnight has no speed; the one after it shows that the driving went on."""
    start = datetime(2025, 3, 3, 13, 11, 45, tzinfo=HANOI)
    blocks = [part for hours in (3, 3, 2) for part in (drive(hours=hours), stop(minutes=15))]
    sent = fixes_of(day(*blocks, drive(hours=2, minutes=6)), start)
    after = [number for number, each in enumerate(sent) if each.time.astimezone(HANOI).day == 4]
    sent[after[0]] = sent[after[0]]._replace(speed_kmh=None)
    await rig.append(message(each) for each in sent[: after[1]])
    await rig.work_off()
    assert await stored(rig) == [("daily_driving", "review")]
    await rig.append(message(each) for each in sent[after[1] :])
    await rig.work_off()
    await rig.is_sound()
    assert await stored(rig) == [("daily_driving", "confirmed")]
