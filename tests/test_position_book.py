"""The operator's book of positions: what is shown of it, and what moving one takes along."""

from __future__ import annotations

import pytest

from detectors.hours import Line
from ingest.partitioning import Partitioner
from storage.activity import ActivityStore, LineOwner, LineState
from storage.marks import Mark, MarkStore
from storage.position_book import PositionBook
from storage.positions import Positions, Step
from storage.vehicles import Anchor, VehicleStore
from tests.running_worker import PARTITIONS, WorkerRig, make_rig, message, rig
from tests.speeding_trip import BEGIN_US, TRIP
from tests.test_position_command import position

__all__ = ["make_rig", "rig"]

OLD, NEW = "old-cluster/raw", "new-cluster/raw"
MINE = Partitioner(PARTITIONS).partition(TRIP[0].vehicle_id)
START = dict.fromkeys(range(PARTITIONS), 0)


async def whose(rig: WorkerRig) -> dict[str, str]:
    """The log that each row names, by table."""
    tables = ("rejudge_marks", "vehicle_anchors", "driver_hours", "line_notices")
    return {name: log_id for name in tables for (log_id,) in await rig.rows(f"SELECT log_id FROM {name}")}


def all_of(log_id: str) -> dict[str, str]:
    return dict.fromkeys(("rejudge_marks", "vehicle_anchors", "driver_hours", "line_notices"), log_id)


async def noticed(rig: WorkerRig, log_id: str) -> None:
    """A worker in which the driver was too has left word for the one that this is about."""
    await rig.connection.execute(
        "INSERT INTO line_notices (line_id, log_id, partition, from_time) VALUES ('driver:D1', %s, %s, %s)",
        (log_id, MINE, TRIP[0].time),
    )


async def read_from(rig: WorkerRig, log_id: str) -> None:
    """From now on the rig's log is this one: a topic in a cluster, as far as positions are concerned."""
    await rig.append([])
    await rig.connection.execute("UPDATE embedded_log SET log_id = %s", [log_id])


async def test_the_newest_five_changes_are_shown_the_last_one_first(rig: WorkerRig) -> None:
    await rig.append(message(fix) for fix in TRIP[:7])
    for number in range(1, 7):
        said = ("set", str(MINE), str(number), "--why", f"change {number}", "--by", "An", "--yes")
        assert (await position(rig, *said))[0] == 0
    code, text = await position(rig, "show")
    assert code == 0
    told = [line for line in text.splitlines() if line.startswith("moved by hand:")]
    assert told[0].startswith(f"moved by hand: partition {MINE} from 5 to 6, ")
    assert [line.rpartition(" ")[2] for line in told] == ["6", "5", "4", "3", "2"]


async def test_a_log_that_is_adopted_takes_over_what_waits_for_its_predecessor(rig: WorkerRig) -> None:
    """A cluster is moved while late fixes wait to be judged: their vehicles may never send to the new one."""
    await read_from(rig, OLD)
    await rig.append(message(fix) for fix in TRIP[:6] + TRIP[9:] + TRIP[6:9])
    async with rig.worker(late_settle_ms=60_000, batch_max_messages=5):
        await rig.until(f"SELECT count(*) = {len(TRIP)} FROM fixes")
    await noticed(rig, OLD)
    assert await whose(rig) == all_of(OLD)
    await read_from(rig, NEW)
    await rig.connection.execute("DELETE FROM embedded_log_messages")
    await rig.connection.execute("UPDATE embedded_log_partitions SET next_offset = 0")
    await PositionBook(rig.connection, NEW, PARTITIONS).move(START, "An", "moved", adopt=True)
    assert await whose(rig) == all_of(NEW)
    async with rig.worker():
        await rig.until("SELECT NOT EXISTS (SELECT FROM rejudge_marks) AND NOT EXISTS (SELECT FROM line_notices)")
    assert await rig.one("SELECT DISTINCT why FROM violation_revisions WHERE change = 'corrected'") == "3 late fixes"
    await rig.is_sound()


@pytest.mark.parametrize(
    ("old", "new", "partitions"),
    [
        (OLD, NEW, 8),
        (OLD, "new-cluster/another", PARTITIONS),
        ("embedded/raw", NEW, PARTITIONS),
    ],
    ids=["other partitions", "another name", "an embedded log"],
)
async def test_what_waits_for_a_log_that_is_no_predecessor_stays_there(
    rig: WorkerRig, old: str, new: str, partitions: int
) -> None:
    """In another number of partitions a vehicle lies in another one: nobody would look for it in the old one."""
    await Positions(old, PARTITIONS).register(rig.connection)
    await VehicleStore(rig.connection).save_anchors([Anchor("V1", None, BEGIN_US, old, MINE)])
    await MarkStore(rig.connection).save(old, [Mark("V1", MINE, BEGIN_US, BEGIN_US, 1)])
    owned = LineState(BEGIN_US, BEGIN_US, BEGIN_US, owner=LineOwner(old, MINE))
    await ActivityStore(rig.connection).open_lines({Line("D1", None): owned})
    await noticed(rig, old)
    await PositionBook(rig.connection, new, partitions).move({0: 0}, "An", "moved", adopt=True)
    assert await whose(rig) == all_of(old)


async def test_a_position_that_is_moved_has_silences_to_judge_again_and_its_counts_stay(rig: WorkerRig) -> None:
    """A worker that has nothing to read learns of the move when it judges them."""
    positions, newest_us = Positions(OLD, PARTITIONS), BEGIN_US
    await positions.register(rig.connection)
    steps = [Step(each, 0, 5, 5, 1, 3, 1, 0, newest_us) for each in (0, 1)]
    await positions.advance(rig.connection, steps)
    await positions.silences_judged(rig.connection, [0, 1], newest_us)
    (moved,) = await PositionBook(rig.connection, OLD, PARTITIONS).move({0: 7}, "An", "skipped", adopt=False)
    assert moved[2:] == ("An", "skipped", 5, 7)
    assert await positions.load(rig.connection, [0, 1]) == {0: 7, 1: 5}
    event_times = await positions.event_times(rig.connection)
    assert (event_times.silences_judged_us[0], event_times.silences_judged_us[1]) == (None, newest_us)
    assert event_times.newest_us == {0: newest_us, 1: newest_us}
    counted = await rig.rows("SELECT DISTINCT messages, ignored, fixes, doubled FROM log_positions WHERE partition < 2")
    assert counted == [(5, 1, 3, 1)]
