"""Silence: nothing to be trusted for more than ten minutes from a vehicle that moved, by the clock of the stream."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.columns import columns_of
from detectors.fix import Fix, to_us
from detectors.names import Names
from detectors.recording import judge_recording
from detectors.silence import SilenceDetector
from detectors.violation import Violation
from hanhtrinh.detectors import context_of
from hanhtrinh.rule_packs import load_pack
from hanhtrinh.worker.silence import SPOKEN
from ingest.partitioning import Partitioner
from tests.running_worker import PARTITIONS, RigMaker, WorkerRig, journey, make_rig, message, rig, shifted
from tests.scenario import METRES_PER_DEGREE, Office, at, fixes
from tests.table_state import table_state
from tests.test_worker_order import shuffled, small_day

__all__ = ["make_rig", "rig"]

OTHER = "29B-00002"
SILENCES = Office(detectors=(SilenceDetector,))


def silences(*told: str, office: Office | None = None, **same: Any) -> list[Violation]:
    return [each for each in (office or SILENCES).judge(fixes(*told, **same)).violations if each.kind == "silence"]


def by_the_others(until: str, *told: str) -> list[Violation]:
    """Silences where another vehicle, which stands, is heard until then."""
    return [
        each
        for each in SILENCES.judge([*fixes(*told), *fixes("00:00 0", f"{until} 0", vehicle_id=OTHER)]).violations
        if each.kind == "silence"
    ]


# --- by one vehicle's own fixes


def test_ten_minutes_are_allowed_and_a_microsecond_more_is_a_silence() -> None:
    assert silences("00:00 40", "10:00 40") == []
    (silence,) = silences("00:00 40", "10:00.000001 40")
    assert silence.duration_s == 600.000001


def test_a_silence_begins_with_the_last_fix_before_it_and_ends_with_the_next() -> None:
    (silence,) = silences("00:00 40", "00:10 36.5", "20:10 0 metres=5000", driver_id="D1")
    wire = silence.to_wire()
    assert (wire["started_at"], wire["ended_at"], wire["status"]) == (at("00:10"), at("20:10"), "closed")
    assert (wire["limit_s"], wire["actual_s"], wire["grade"], wire["driver_id"]) == (600.0, 1200.0, "confirmed", "D1")
    assert wire["evidence"]["last_speed_kmh"] == 36.5
    assert wire["evidence"]["distance_m"] == pytest.approx(5000, abs=1)
    assert wire["judged_by"] == {"silent_after_s": 600.0, "moving_kmh": 3.0, "still_m": 200.0}
    assert wire["start"] != wire["end"]


@pytest.mark.parametrize(("speed", "found"), [("0", 0), ("2.999", 0), ("3.0", 1), ("?", 0)])
def test_only_who_moved_at_the_last_fix_has_a_duty_to_go_on_sending(speed: str, found: int) -> None:
    assert len(silences(f"00:00 {speed}", "30:00 40")) == found
    assert len(by_the_others("30:00", f"00:00 {speed}")) == found


@pytest.mark.parametrize(("metres", "found"), [("0", 0), ("199.9", 0), ("200.1", 1)])
def test_who_appears_where_it_fell_silent_had_parked(metres: str, found: int) -> None:
    assert len(silences("00:00 4", f"600:00 0 metres={metres}", "600:10 20")) == found


def test_fixes_that_fail_a_check_neither_end_nor_begin_a_silence() -> None:
    (silence,) = silences("00:00 40", "05:00 40 invalid", "09:00 0 satellites=2", "12:00 40")
    assert silence.duration_s == 720.0


def test_each_silence_of_a_day_is_one_violation() -> None:
    found = silences("00:00 40", "11:00 40", "12:00 0", "40:00 40", "60:00 40")
    assert [(each.started_us - found[0].started_us) // 60_000_000 for each in found] == [0, 40]


def test_two_vehicles_of_one_driver_that_fall_silent_at_once_are_two() -> None:
    story = ("00:00 40", "20:00 40")
    both = [*fixes(*story, driver_id="D1"), *fixes(*story, vehicle_id=OTHER, driver_id="D1")]
    assert len({each.violation_id for each in SILENCES.judge(both).violations}) == 2


def test_an_office_may_set_how_long_is_too_long() -> None:
    strict = replace(SILENCES, rules=load_pack("vn", ["silence.silent_after_s=120"]))
    assert len(silences("00:00 40", "03:00 40", office=strict)) == 1


# --- by the clock of all


def test_a_silence_at_the_end_is_open_by_what_others_send_and_as_long_as_it_is_proven() -> None:
    assert by_the_others("10:00", "00:00 40") == []
    for until in ("10:00.000001", "11:00", "600:00"):
        (silence,) = by_the_others(until, "00:00 40")
        wire = silence.to_wire()
        assert (wire["status"], wire["started_at"], wire["ended_at"]) == ("open", at("00:00"), at("10:00"))
        assert wire["actual_s"] == wire["limit_s"] == 600.0
        assert "end" not in wire
        assert (wire["grade"], wire["evidence"]["review_because"]) == (
            "review",
            ["it was not heard since: it may stand where it fell silent"],
        )


def test_who_speaks_again_has_the_same_violation_closed() -> None:
    (is_open,) = by_the_others("30:00", "00:00 40")
    (closed,) = by_the_others("30:00", "00:00 40", "20:00 40")
    assert closed.violation_id == is_open.violation_id
    assert (closed.status, closed.duration_s) == ("closed", 1200.0)
    assert closed.proven_us == is_open.proven_us


def test_a_fix_that_proves_nothing_moves_no_clock() -> None:
    sent = [*fixes("00:00 40"), *fixes("00:00 0", "30:00 0 invalid", vehicle_id=OTHER)]
    assert SILENCES.judge(sent).violations == []


def found_until(latest_us: int | None, sent: list[Fix]) -> int:
    office, vehicles, drivers = SILENCES, Names(), Names()
    columns = columns_of(sent, vehicles, drivers)
    context = context_of(office.rules, vehicles, drivers, office.limits(vehicles))
    return len(
        judge_recording(columns, context, office.detectors, office.rules.hours, {}, latest_us=latest_us).violations
    )


def test_a_recording_is_judged_by_no_later_time_than_its_reader_allows() -> None:
    begin = fixes("00:00 40")
    sent = [*begin, *fixes("30:00 0", vehicle_id=OTHER)]
    assert found_until(None, sent) == 1
    assert found_until(begin[0].time_us + 600_000_000, sent) == 0
    assert found_until(begin[0].time_us + 600_000_001, sent) == 1


_MINUTES = st.sampled_from(["0.5", "1", "9.99", "10", "10.01", "25"])
_SPEEDS = st.sampled_from(["0", "2.9", "3", "40", "?"])
_METRES = st.sampled_from(["", " metres=0", " metres=190", " metres=210"])


@given(
    st.lists(st.tuples(_MINUTES, _SPEEDS, _METRES, st.sampled_from(["A", "B"])), min_size=1, max_size=14), st.randoms()
)
def test_law_1_any_order_gives_the_same_silences_and_they_are_those_of_the_definition(
    steps: list[tuple[str, str, str, str]], dice: random.Random
) -> None:
    stories: dict[str, list[str]] = {"A": [], "B": []}
    seconds = 0.0
    for minutes, speed, metres, vehicle_id in steps:
        seconds += float(minutes) * 60
        stories[vehicle_id].append(f"{int(seconds // 60)}:{seconds % 60:.3f} {speed}{metres}")
    sent = [fix for vehicle_id, story in stories.items() for fix in fixes(*story, vehicle_id=vehicle_id)]
    newest_us = max(fix.time_us for fix in sent)
    expected = set()
    for vehicle_id in "AB":
        own = [fix for fix in sent if fix.vehicle_id == vehicle_id]
        for number, fix in enumerate(own):
            following = own[number + 1] if number + 1 < len(own) else None
            until_us = following.time_us if following else newest_us
            parked = following is not None and abs(following.lat - fix.lat) * METRES_PER_DEGREE < 200
            if (fix.speed_kmh or 0.0) >= 3 and until_us - fix.time_us > 600_000_000 and not parked:
                what = ("closed", "confirmed") if following else ("open", "review")
                expected.add((vehicle_id, fix.time_us, *what))
    again = sent + sent[::2]
    dice.shuffle(again)
    for order in (sent, again):
        found = [each for each in SILENCES.judge(order).violations if each.kind == "silence"]
        assert {(each.vehicle_id, each.started_us, each.status, each.grade) for each in found} == expected


# --- through the worker

BEGIN_US = to_us(datetime(2026, 3, 4, 1, tzinfo=UTC))
_PARTITIONER = Partitioner(PARTITIONS)
MOVING = [40.0] * 6


def plate(partition: int) -> str:
    """A vehicle whose messages go there."""
    return next(name for name in (f"29B-{n:05}" for n in range(1000)) if _PARTITIONER.partition(name) == partition)


ONE, TWO = plate(0), plate(3)
TRIP = journey(ONE, BEGIN_US, MOVING, driver_id="D1")
LAST_US = TRIP[-1].time_us


def heard(time_us: int, vehicle_id: str = TWO, speed_kmh: float = 0.0) -> Fix:
    return journey(vehicle_id, time_us, [speed_kmh])[0]


async def sent(rig: WorkerRig, *fixes: Fix, **settings: Any) -> None:
    """Send each in a message of its own, and work it off."""
    await rig.append(message(fix) for fix in fixes)
    await rig.work_off(**settings)
    await rig.is_sound()


async def standing(rig: WorkerRig) -> list[tuple[Any, ...]]:
    """Vehicle, seconds after LAST_US, status and length of the silences that stand."""
    return await rig.rows(
        "SELECT vehicle_id, (extract(epoch FROM started_at) * 1000000)::int8 - %s, status, actual_s FROM violations"
        " WHERE kind = 'silence' AND status <> 'withdrawn' ORDER BY started_at",
        LAST_US,
    )


async def told(rig: WorkerRig) -> list[tuple[Any, ...]]:
    return await rig.rows(
        "SELECT stage, event_at, push FROM alerts JOIN violations USING (violation_id) WHERE kind = 'silence'"
        " ORDER BY alerts.event_at, stage"
    )


OPEN = [(ONE, 0, "open", 600.0)]


@pytest.mark.parametrize(("after_us", "found"), [(600_000_000, []), (600_000_001, OPEN), (86_400_000_000, OPEN)])
async def test_another_partition_moves_the_clock_that_opens_a_silence(
    rig: WorkerRig, after_us: int, found: list[Any]
) -> None:
    await sent(rig, *TRIP, heard(LAST_US + after_us))
    assert await standing(rig) == found
    proven_at = TRIP[-1]._replace(time_us=LAST_US + 600_000_000).time
    assert await told(rig) == ([("opened", proven_at, True)] if found else [])


async def test_a_vehicle_that_speaks_again_closes_its_silence_in_place(rig: WorkerRig) -> None:
    await sent(rig, *TRIP, heard(LAST_US + 700_000_000))
    await sent(rig, heard(LAST_US + 1_200_000_000, ONE, 10.0))
    assert await standing(rig) == [(ONE, 0, "closed", 1200.0)]
    assert [stage for stage, _, _ in await told(rig)] == ["opened", "closed"]
    assert await rig.rows("SELECT change FROM violation_revisions ORDER BY revision") == [("opened",), ("closed",)]


async def test_who_appears_where_it_fell_silent_has_its_silence_withdrawn(rig: WorkerRig) -> None:
    await sent(rig, *TRIP, heard(LAST_US + 700_000_000))
    assert await standing(rig) == OPEN
    await sent(rig, heard(LAST_US + 30_000_000_000, ONE)._replace(lat=TRIP[-1].lat + 0.001))
    assert await standing(rig) == []
    # A fix that comes late shows that it had gone away and come back.
    await sent(rig, heard(LAST_US + 9_000_000_000, ONE)._replace(lat=TRIP[-1].lat + 0.1))
    assert await standing(rig) == [(ONE, 0, "closed", 9000.0)]


@pytest.mark.parametrize("speeds", [[40.0] * 60, [95.0] * 60])
async def test_a_backlog_shows_that_it_was_never_silent(rig: WorkerRig, speeds: list[float]) -> None:
    backlog = journey(ONE, LAST_US + 10_000_000, speeds, driver_id="D1")
    await sent(rig, *TRIP, heard(LAST_US + 700_000_000))
    await rig.append([message(*backlog)])
    await rig.work_off()
    await rig.is_sound()
    assert await standing(rig) == []
    assert await rig.rows("SELECT change, why FROM violation_revisions WHERE change = 'withdrawn'") == [
        ("withdrawn", SPOKEN)
    ]
    # What the backlog holds beside is news.
    assert await rig.one("SELECT count(*) FROM alerts JOIN violations USING (violation_id) WHERE kind = 'speeding'"
                         " AND stage = 'opened' AND push") == (speeds[0] > 85)  # fmt: skip


async def test_a_backlog_in_pieces_tells_people_once(rig: WorkerRig) -> None:
    await sent(rig, *TRIP, heard(LAST_US + 1_500_000_000))
    await sent(rig, *journey(ONE, LAST_US + 10_000_000, MOVING))
    await sent(rig, *journey(ONE, LAST_US + 70_000_000, MOVING))
    assert await standing(rig) == [(ONE, 120_000_000, "open", 600.0)]
    assert [push for _, _, push in await told(rig)] == [True, False, False]
    withdrawn = "SELECT array_agg(violation_id) FROM violations WHERE status = 'withdrawn' AND started_at > %s"
    assert await rig.one(
        "SELECT supersedes FROM violations WHERE status = 'open'"
    ) == await rig.one(withdrawn, TRIP[-1].time)  # fmt: skip


@pytest.mark.parametrize("late_s", [[-15], [-55, -5], [-100_000]])
async def test_late_fixes_before_it_leave_an_open_silence_as_it_is(rig: WorkerRig, late_s: list[int]) -> None:
    await sent(rig, *TRIP, heard(LAST_US + 700_000_000))
    await rig.append([message(*(heard(LAST_US + s * 1_000_000, ONE) for s in late_s))])
    await rig.work_off()
    assert await standing(rig) == OPEN
    assert len(await told(rig)) == 1
    assert await rig.one("SELECT count(*) FROM violation_revisions") == 1


async def test_late_fixes_within_a_closed_silence_shorten_split_and_withdraw_it(make_rig: RigMaker) -> None:
    def on_the_way(seconds: int, speed_kmh: float) -> Fix:
        return heard(LAST_US + seconds * 1_000_000, ONE, speed_kmh)._replace(lat=21.1 + seconds * 1e-5)

    back = on_the_way(1800, 0.0)
    for late_s, expected in (
        ([500], [(ONE, 500_000_000, "closed", 1300.0)]),
        ([700], [(ONE, 0, "closed", 700.0), (ONE, 700_000_000, "closed", 1100.0)]),
        ([600, 1200], []),
    ):
        rig = await make_rig()
        await sent(rig, *TRIP, back)
        assert await standing(rig) == [(ONE, 0, "closed", 1800.0)]
        await sent(rig, *(on_the_way(s, 10.0) for s in late_s))
        assert await standing(rig) == expected


async def test_one_clock_that_runs_ahead_silences_nobody_else(rig: WorkerRig) -> None:
    received_us = LAST_US + 60_000_000
    ahead = message(heard(LAST_US + 20_000_000_000), received_us=received_us)
    await rig.append([*(message(fix, received_us=received_us) for fix in TRIP), ahead])
    await rig.work_off()
    await rig.is_sound()
    assert await rig.one("SELECT count(*) FROM fixes WHERE flags = 0") == len(TRIP) + 1
    assert await standing(rig) == []


async def test_a_worker_that_never_heard_a_vehicle_opens_its_silence_all_the_same(rig: WorkerRig) -> None:
    await sent(rig, *TRIP, heard(LAST_US + 1_000_000))
    assert await standing(rig) == []
    await sent(rig, heard(LAST_US + 700_000_000))
    assert await standing(rig) == OPEN
    await sent(rig, heard(LAST_US + 800_000_000))
    assert len(await told(rig)) == 1
    await sent(rig, heard(LAST_US + 900_000_000, ONE))
    assert await standing(rig) == [(ONE, 0, "closed", 900.0)]


async def test_two_workers_share_the_clock(rig: WorkerRig) -> None:
    async with rig.worker(only=[0, 1]) as one, rig.worker(only=[2, 3]) as two:
        await rig.append(message(fix) for fix in TRIP)
        await rig.worked_off(60, one, two)
        assert await standing(rig) == []
        await rig.append([message(heard(LAST_US + 700_000_000))])
        await rig.worked_off(60, one, two)
        assert await standing(rig) == OPEN


async def test_messages_that_wait_in_the_log_silence_nobody(rig: WorkerRig) -> None:
    await rig.append(message(fix) for fix in TRIP)
    async with rig.worker(only=[2, 3]), rig.worker(only=[0, 1], batch_max_messages=1) as slow:
        await rig.append(message(fix) for fix in journey(ONE, LAST_US + 10_000_000, [40.0] * 150))
        await rig.append([message(heard(LAST_US + 1_500_000_000))])
        await rig.worked_off(60, slow)
    assert await told(rig) == []


async def test_days_of_a_vehicle_are_those_of_the_clock_on_the_wall(rig: WorkerRig) -> None:
    seven_at_night = to_us(datetime(2026, 3, 4, 16, 50, tzinfo=UTC))  # 23:50 in Hanoi
    first = journey(ONE, seven_at_night, [40.0, 40.0, 0.0])
    first[1] = shifted([first[1]], 720)[0]._replace(lat=21.05)
    first[2] = shifted([first[2]], 1500)[0]._replace(lat=21.1)
    await sent(rig, *first)
    assert [
        (str(day), count, seconds, excused) for day, count, seconds, excused in
        await rig.rows("SELECT day, count, seconds, excused FROM silence_days WHERE vehicle_id = %s ORDER BY day", ONE)
    ] == [("2026-03-04", 1, 730.0, 0), ("2026-03-05", 1, 790.0, 0)]  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
async def test_law_1_days_with_silences_end_in_the_same_rows_in_any_order_and_batching(
    make_rig: RigMaker, seed: int
) -> None:
    rng = random.Random(seed)
    fleet = small_day(seed)
    day = sorted((fix for each in fleet.deliveries() for fix in each.fixes), key=lambda fix: fix.time_us)
    for vehicle_id in sorted({fix.vehicle_id for fix in day}):
        for _ in range(4):
            begin_us = rng.choice([fix.time_us for fix in day if fix.vehicle_id == vehicle_id])
            end_us = begin_us + rng.choice((590, 630, 2_000, 90_000)) * 1_000_000
            day = [fix for fix in day if fix.vehicle_id != vehicle_id or not begin_us < fix.time_us < end_us]
    orderly, disturbed = await make_rig(fleet.roster), await make_rig(fleet.roster)
    await sent(orderly, *day)
    await disturbed.append(shuffled(day, rng))
    await disturbed.work_off(batch_max_messages=rng.choice((30, 300)), late_settle_ms=rng.choice((0, 300)))
    await disturbed.is_sound()
    expected = await table_state(orderly.connection)
    assert expected.differences(await table_state(disturbed.connection), alerts=False) == ""
    assert {row["status"] for row in expected.violations if row["kind"] == "silence"} == {"open", "closed"}


async def test_an_interrupted_watch_goes_on_where_it_was(rig: WorkerRig) -> None:
    await rig.append(message(fix) for fix in TRIP)
    async with rig.worker():
        await rig.until(f"SELECT count(*) = {len(TRIP)} FROM fixes")
    async with rig.worker():
        await rig.append([message(heard(LAST_US + 700_000_000))])
        await rig.until("SELECT count(*) = 1 FROM fixes WHERE speed_kmh = 0")
        await asyncio.sleep(0)
    await rig.work_off()
    assert await standing(rig) == OPEN
    assert len(await told(rig)) == 1
