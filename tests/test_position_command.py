"""Positions are shown, and moved by hand with a record of it; a log that took another's place is adopted by hand."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from detectors.fix import to_us
from ingest.kafka_log import KafkaLogWriter
from ingest.partitioning import Partitioner
from storage.position_book import PositionBook
from tests.chain import PARTITIONS as CHAIN_PARTITIONS
from tests.chain import Chain, broker, running_chain, until
from tests.running_worker import PARTITIONS, RECEIVED_US, RigMaker, WorkerRig, journey, make_rig, message, rig
from tests.services.kafka_server import Kafka
from tests.services.mosquitto import Mosquitto
from tests.table_state import table_state

__all__ = ["broker", "make_rig", "rig"]

REPOSITORY = Path(__file__).parents[1]
TRIP = journey("29B-00001", to_us(datetime(2026, 3, 4, 1, tzinfo=UTC)), [60] * 3 + [92] * 6 + [60] * 3, driver_id="D1")
MINE = Partitioner(PARTITIONS).partition("29B-00001")


async def position(rig: WorkerRig, *arguments: str, said: str = "") -> tuple[int, str]:
    """`hanhtrinh position`; its exit code and what it printed. `said` is what the operator types."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hanhtrinh", "position", *arguments,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "HANHTRINH_DATABASE_URL": rig.url, "COLUMNS": "200",
             "HANHTRINH_LOG_PARTITIONS": str(PARTITIONS)},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(said.encode()), 60)
    assert process.returncode is not None
    return process.returncode, out.decode()


async def changes(rig: WorkerRig) -> list[tuple[Any, ...]]:
    return await rig.rows(
        "SELECT partition, changed_by, why, from_offset, to_offset FROM position_changes ORDER BY changed_at"
    )


async def test_positions_are_shown_with_what_waits_and_when_they_moved(rig: WorkerRig) -> None:
    await rig.append(message(fix) for fix in TRIP[:5])
    await rig.work_off()
    await rig.append(message(fix) for fix in TRIP[5:])
    code, text = await position(rig, "show", "--json")
    assert code == 0
    rows = [json.loads(line) for line in text.splitlines()]
    assert [row["partition"] for row in rows] == list(range(PARTITIONS))
    mine = rows[MINE]
    assert (mine["position"], mine["log_start"], mine["log_end"], mine["lag"]) == (5, 0, 12, 7)
    assert mine["newest_event_at"] == "2026-03-04T01:00:40Z"
    assert mine["last_commit_at"].endswith("Z")
    assert {row["lag"] for row in rows if row["partition"] != MINE} == {0}
    code, text = await position(rig, "show")
    assert code == 0
    assert "2026-03-04 08:00:40 +07" in text


async def test_messages_that_are_skipped_are_counted_asked_for_and_recorded(rig: WorkerRig) -> None:
    await rig.append(message(fix) for fix in TRIP[:5])
    await rig.work_off()
    await rig.append(message(fix) for fix in TRIP[5:10])
    skip = ("set", str(MINE), "end", "--why", "poisoned by a test tracker", "--by", "Nguyễn Văn An")
    code, text = await position(rig, *skip, said="n\n")
    assert code == 1
    assert f"partition {MINE}: from 5 to 10: 5 messages will be SKIPPED and never judged" in text
    assert await changes(rig) == []
    assert (await position(rig, *skip))[0] == 1, "nobody answered"
    code, text = await position(rig, *skip, said="y\n")
    assert code == 0
    assert f"moved: partition {MINE} from 5 to 10, " in text
    assert await changes(rig) == [(MINE, "Nguyễn Văn An", "poisoned by a test tracker", 5, 10)]
    await rig.append(message(fix) for fix in TRIP[10:])
    await rig.work_off()
    assert await rig.one("SELECT count(*) FROM fixes") == 7
    assert "moved by hand: partition" in (await position(rig, "show"))[1]
    await rig.is_sound()


async def test_reading_again_changes_nothing_and_a_running_worker_does_it_without_a_restart(
    make_rig: RigMaker,
) -> None:
    once, rig = await make_rig(), await make_rig()
    for each in (once, rig):
        await each.append(message(fix) for fix in TRIP)
    await once.work_off()
    async with rig.worker() as task:
        await rig.worked_off(60, task)
        code, text = await position(rig, "set", "all", "start", "--why", "to see", "--yes")
        assert code == 0
        assert "from 12 to 0: 12 messages will be read again" in text
        await rig.until("SELECT sum(messages) = 24 FROM log_positions")
        await rig.worked_off(60, task)
    assert await rig.rows("SELECT sum(fixes), sum(doubled) FROM log_positions") == [(12, 12)]
    assert (await table_state(once.connection)).differences(await table_state(rig.connection)) == ""
    await rig.is_sound()


async def test_of_a_worker_and_an_operator_at_once_neither_loses_a_message(rig: WorkerRig) -> None:
    """Each move falls somewhere into a batch, before or after its comparison: it is fenced, or done already."""
    trips = [[fix._replace(vehicle_id=f"V{n}") for fix in TRIP] for n in range(20)]
    await rig.append(message(fix) for fix in trips[0])
    (log_id,) = (await rig.rows("SELECT log_id FROM embedded_log"))[0]
    book = PositionBook(rig.connection, log_id, PARTITIONS)
    async with rig.worker(batch_max_messages=3) as task:
        for trip in trips[1:]:
            await rig.append(message(fix) for fix in trip)
            await book.move(dict.fromkeys(range(PARTITIONS), 0), "test", "again", adopt=False)
        await rig.worked_off(60, task)
    assert await rig.one("SELECT count(*) FROM fixes") == 20 * len(TRIP)
    await rig.is_sound()


async def test_a_trimmed_partition_is_named_by_the_worker_and_goes_on_when_its_position_is_set(
    rig: WorkerRig, caplog: pytest.LogCaptureFixture
) -> None:
    other = next(f"V{n}" for n in range(50) if Partitioner(PARTITIONS).partition(f"V{n}") != MINE)
    await rig.append(message(fix) for fix in TRIP)
    await rig.connection.execute("DELETE FROM embedded_log_messages WHERE partition = %s AND log_offset < 4", [MINE])
    await rig.connection.execute("UPDATE embedded_log_partitions SET first_offset = 4 WHERE partition = %s", [MINE])
    code, text = await position(rig, "show")
    assert code == 1
    assert "OUTSIDE THE LOG" in text
    async with rig.worker() as task:
        await rig.append(message(fix._replace(vehicle_id=other)) for fix in TRIP)
        await rig.until("SELECT count(*) = 12 FROM fixes")
        assert "partition stopped: the embedded log: partition" in caplog.text
        assert f"`hanhtrinh position set {MINE} start`" in caplog.text
        code, text = await position(rig, "set", str(MINE), "start", "--why", "disk was full", "--yes")
        assert code == 0
        assert "from 0 to 4: no message is skipped or read again; 4 before offset 4 are lost already" in text
        await rig.worked_off(60, task)
    assert await rig.one("SELECT count(*) FROM fixes") == 20
    await rig.is_sound()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["set", "4", "end", "--why", "x"], "PARTITION '4': expected 0 to 3, or all"),
        (["set", "-1", "end", "--why", "x"], "No such option"),
        (["set", "0", "middle", "--why", "x"], "OFFSET 'middle': expected a number, start or end"),
        (["set", "0", "1", "--why", "x"], "OFFSET 1: partition 0 of the log holds 0 to 0"),
        (["set", "0", "end", "--why", " "], "--why '': expected a line of text"),
        (["set", "0", "end"], "Missing option '--why'"),
    ],
)
async def test_what_cannot_be_set_is_one_clear_message(rig: WorkerRig, arguments: list[str], said: str) -> None:
    await rig.append([])
    code, text = await position(rig, *arguments)
    assert code == 2
    assert said in " ".join(text.replace("│", " ").split())
    assert "Traceback" not in text


async def test_without_a_log_the_message_says_who_makes_it(rig: WorkerRig) -> None:
    code, text = await position(rig, "show")
    assert (code, text) == (2, "hanhtrinh: there is no embedded log in this database yet: the bridge makes it\n")


async def written(chain: Chain, kafka: Kafka, fixes: list[Any]) -> None:
    writer = KafkaLogWriter(kafka.bootstrap, chain.topic, CHAIN_PARTITIONS)
    await writer.open()
    await writer.append_many([(fix.vehicle_id, message(fix, received_us=RECEIVED_US)) for fix in fixes])
    await writer.close()


async def test_on_kafka_a_worker_goes_on_past_a_trimmed_partition_and_refuses_a_topic_made_again(
    kafka: Kafka, broker: Mosquitto, postgres_url: str, tmp_path: Path
) -> None:
    mine = Partitioner(CHAIN_PARTITIONS).partition("29B-00001")
    async with running_chain(kafka, broker, postgres_url, tmp_path) as chain:
        await written(chain, kafka, TRIP)
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        await admin.delete_records({TopicPartition(chain.topic, mine): RecordsToDelete(before_offset=4)})
        part = chain.begin("work")
        await part.says("partition stopped: the Kafka topic")
        await chain.call("position", "set", str(mine), "start", "--why", "trimmed", "--yes")
        await part.ready()
        await chain.worked_off(8)
        assert await part.end(signal.SIGTERM) == 0
        # Made again with more in it than was read: the position would fit.
        await admin.delete_topics([chain.topic])
        while chain.topic in await admin.list_topics():
            pass
        await admin.close()
        await written(chain, kafka, [fix._replace(time_us=fix.time_us + 10**10) for fix in TRIP * 2])
        part.start()
        assert await part.ended() == 2
        await part.says("was deleted and made again. Its offsets are not those of the stored positions.")
        await chain.call("position", "set", "all", "start", "--why", "made again", "--yes")
        part.start()
        await part.ready()
        await chain.worked_off(8 + 24)
        assert await chain.rows("SELECT count(*) FROM fixes") == [(20,)]


async def test_a_database_that_turns_read_only_is_waited_out(rig: WorkerRig, caplog: pytest.LogCaptureFixture) -> None:
    database = await rig.one("SELECT current_database()")

    async def read_only(on: bool) -> None:
        await rig.connection.execute(f'ALTER DATABASE "{database}" SET default_transaction_read_only = {on}'.encode())
        await rig.connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'hanhtrinh work'"
        )

    await rig.append(message(fix) for fix in TRIP[:5])
    async with rig.worker() as task:
        await rig.worked_off(60, task)
        await read_only(True)
        # The writer of this test connects anew as well.
        writable = f"{rig.url}{'&' if '?' in rig.url else '?'}options=-c%20default_transaction_read_only%3Doff"
        await WorkerRig(writable, rig.connection).append(message(fix) for fix in TRIP[5:])
        await until(lambda: asyncio.sleep(0, "read-only transaction" in caplog.text), "the worker says why", 30)
        await read_only(False)
        await rig.worked_off(60, task)
    assert await rig.one("SELECT count(*) FROM fixes") == 12
    await rig.is_sound()
