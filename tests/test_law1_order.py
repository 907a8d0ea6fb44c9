"""Law 1: any order, any duplication and any batching of the same fixes ends in the same judgement."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from detectors.fix import Fix
from detectors.recording import RecordingJudgement
from tests.random_days import Day, Sent, any_office, days
from tests.scenario import CAP_80, Office, Stream, Told, fixes


def judge(office: Office, sent: list[Sent]) -> RecordingJudgement:
    return office.judge([each.fix for each in sent], [each.road_kmh for each in sent])


def wires(judgement: RecordingJudgement) -> list[dict[str, Any]]:
    return [each.to_wire() for each in judgement.violations]


@given(any_office(), days(), st.randoms(use_true_random=False))
def test_any_order_and_any_duplication_give_equal_violations(office: Office, day: Day, dice: Any) -> None:
    arrived = day.sent + day.twins
    first = judge(office, arrived)
    again = arrived + dice.sample(arrived, len(arrived) // 2)
    dice.shuffle(again)
    second = judge(office, again)
    assert second.violations == first.violations
    assert wires(second) == wires(first)
    assert (second.fixes, second.conflicts, second.flagged) == (first.fixes, first.conflicts, first.flagged)
    assert second.doubled - first.doubled == len(again) - len(arrived)


def told(office: Office, day: Day, cuts: list[int]) -> Told:
    stream = Stream(office)
    result = Told()
    for first, end in zip([0, *cuts], [*cuts, len(day.sent)], strict=True):
        result = stream.call(day.fixes[first:end], day.roads_kmh[first:end])
    result.changes.sort(key=lambda each: each[:2])
    result.legs.sort(key=lambda each: (each[0], each[2]))
    return result


@given(any_office(), days(), st.data())
def test_any_split_into_batches_tells_the_same(office: Office, day: Day, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(day.sent)), max_size=20)))
    assert told(office, day, cuts) == told(office, day, [])


@given(any_office(), days())
def test_one_fix_at_a_time_tells_the_same(office: Office, day: Day) -> None:
    assert told(office, day, list(range(1, len(day.sent)))) == told(office, day, [])


@given(any_office(), days(), st.data())
def test_judging_may_begin_anew_at_any_settled_fix(office: Office, day: Day, data: st.DataObject) -> None:
    whole = told(office, day, [])
    settled = [row for row, is_settled in enumerate(whole.settled) if is_settled]
    if not settled:
        return
    begin = data.draw(st.sampled_from(settled))
    vehicle_id, begin_us = day.sent[begin].fix.vehicle_id, day.sent[begin].fix.time_us
    rows = [row for row in range(begin, len(day.sent)) if day.sent[row].fix.vehicle_id == vehicle_id]
    anew = told(office, Day([day.sent[row] for row in rows], []), [])
    assert anew.flags == [whole.flags[row] for row in rows]
    assert anew.settled == [whole.settled[row] for row in rows]
    # The leg to the first fix comes from before: not known here.
    assert anew.leg_mm[1:] == [whole.leg_mm[row] for row in rows[1:]]
    assert anew.leg_driving_us[1:] == [whole.leg_driving_us[row] for row in rows[1:]]
    assert anew.legs == [leg for leg in whole.legs if leg[0] == vehicle_id and leg[2] >= begin_us]
    changes = [change for change in whole.changes if change[0] == vehicle_id]
    assert anew.changes[1:] == [change for change in changes if change[1] > begin_us]
    if anew.changes:
        assert anew.changes[0][1] == begin_us
        assert anew.changes[0][2:] == [change for change in changes if change[1] <= begin_us][-1][2:]
    assert anew.violations == {
        violation_id: each
        for violation_id, each in whole.violations.items()
        if each.vehicle_id == vehicle_id and each.started_us >= begin_us
    }


@given(any_office(), days())
def test_a_recording_finds_what_the_stream_finds(office: Office, day: Day) -> None:
    streamed = told(office, day, list(range(0, len(day.sent), 7))).violations.values()
    recorded = judge(office, day.sent).violations
    assert {each.violation_id: each for each in recorded if each.kind == "speeding"} == {
        each.violation_id: each for each in streamed if each.kind == "speeding"
    }


def as_arrived(*orders: list[Fix], office: Office = CAP_80) -> list[RecordingJudgement]:
    return [office.judge(order) for order in orders]


def test_a_trusted_fix_stands_against_a_flagged_one_of_its_moment() -> None:
    story = fixes("00:00 90", "00:20 90", "00:30 60")
    flagged = story[1]._replace(speed_kmh=85.0, valid=False)  # would stand by content alone
    for judged in as_arrived([*story, flagged], [flagged, *story]):
        assert judged.conflicts == 1
        assert [(each.fixes, each.to_wire()["mean_speed_kmh"]) for each in judged.violations] == [(2, 90.0)]


def test_alike_fixes_are_doubled_and_different_ones_a_conflict() -> None:
    story = fixes("00:00 50", "00:20 50")
    judged = CAP_80.judge([*story, *story, story[0]._replace(speed_kmh=51.0)])
    assert (judged.fixes, judged.doubled, judged.conflicts) == (2, 2, 1)


def test_rows_that_differ_only_in_the_roads_limit_are_settled_by_content() -> None:
    story = fixes("00:00 90", "00:20 90", "00:20 90")
    first = Office().judge(story, [80.0, 60.0, 80.0])
    second = Office().judge([story[0], story[2], story[1]], [80.0, 80.0, 60.0])
    assert wires(first) == wires(second)
    assert (first.doubled, first.conflicts) == (0, 1)


def test_vehicles_do_not_touch_each_other_in_one_batch() -> None:
    by_vehicle: dict[str, Told] = {}
    together = [*fixes("00:00 90", "00:20 90", vehicle_id="A"), *fixes("00:00 50", "00:30 90", vehicle_id="B")]
    for name in "AB":
        by_vehicle[name] = Stream().send([each for each in together if each.vehicle_id == name])
    mixed = Stream().send(together)
    found: dict[str, list[Any]] = defaultdict(list)
    for change in mixed.changes:
        found[change[0]].append(change)
    assert found == {name: each.changes for name, each in by_vehicle.items()}
