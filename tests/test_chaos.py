"""Laws 2, 4 and 7 under faults: the short form of `make chaos`, and that its proxy and its verifier can fail."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from email.message import Message
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from alerts.signature import SIGNATURE_HEADER, TIMESTAMP_HEADER, sign
from storage.connect import connect
from storage.outbox import Outbox
from tests.chaos.faults import COMMIT_STEPS, RARE_STEPS
from tests.chaos.plan import LONG, SHORT, rounds
from tests.chaos.proxy import TO_CLIENT, MqttMessages, PostgresMessages, Proxy, Trap
from tests.chaos.report import Bench, to_json, to_markdown
from tests.chaos.suite import disturbed, undisturbed
from tests.chaos.verifier import verdict
from tests.chaos.workload import SHORT_DAY, make_day
from tests.chaos.world import running_world
from tests.outbox_rows import everyone
from tests.running_worker import WorkerRig, journey, make_rig, message, rig
from tests.services.postgres import DatabaseServer
from tests.services.process import free_port
from tests.table_state import table_state
from tests.webhook_receiver import Request

__all__ = ["make_rig", "rig"]

SECRET = b"road-1"
BEGIN_US = 1_772_600_000_000_000


async def test_a_day_with_every_kind_of_fault_ends_as_one_without(
    services_home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "aiokafka")
    day = make_day(7, tmp_path / "day", SHORT_DAY)
    async with running_world(services_home / "chaos") as world:
        expected = await undisturbed(world, day, tmp_path / "undisturbed")
        assert expected.violations
        assert expected.letters
        (each,) = SHORT
        result = await disturbed(world, day, expected, each, tmp_path / "disturbed", 7, print)
    assert result.verdict is not None
    assert (result.verdict.broken, result.trouble) == ([], [])
    assert (result.verdict.lost, result.verdict.doubled) == (0, 0)
    assert [one.fault.name for one in result.strikes if one.recovered_s is None] == []
    assert len(result.strikes) == sum(fault.times for fault in each.faults)
    bench = Bench("make chaos", 7, "a machine", len(day.messages), 1, 1, 1, "")
    assert '"holds": true' in to_json(bench, [result])
    assert to_markdown(bench, [result]).count("| 0 | 0 |") == len(each.faults)


def test_the_long_form_kills_a_hundred_times_and_every_kind_of_victim() -> None:
    faults = [fault for each in LONG for fault in each.faults]
    assert sum(fault.times * fault.kills for fault in faults) >= 100
    named = " ".join(fault.name for fault in faults if fault.kills)
    assert all(victim in named for victim in ("worker", "bridge", "notifier", "Mosquitto", "Kafka", "PostgreSQL"))
    assert all(step in named for step in [*COMMIT_STEPS, *RARE_STEPS])
    assert {each.workers for each in LONG} == {1, 2, 4}
    scaled = [fault for each in rounds(20, ["worker"]) for fault in each.faults]
    assert all(fault.times for fault in scaled)
    assert sum(fault.times * fault.kills for fault in scaled) < sum(fault.times * fault.kills for fault in faults)


class Sent:
    """What a receiver would have got of a database's alerts."""

    def __init__(self, rig: WorkerRig) -> None:
        self._rig = rig

    async def requests(self) -> list[Request]:
        rows = await self._rig.rows("SELECT alert_id FROM alerts WHERE push")
        return [self._request(b'{"alert_id": "%s"}' % alert_id.encode()) for (alert_id,) in rows]

    def _request(self, body: bytes) -> Request:
        headers = Message()
        headers[TIMESTAMP_HEADER], headers[SIGNATURE_HEADER] = "1772600000", sign(SECRET, 1_772_600_000, body)
        return Request(headers, body)


@pytest.fixture
async def judged(rig: WorkerRig) -> WorkerRig:
    """A violation, a dead letter, and its alerts delivered."""
    trip = journey("29B-00001", BEGIN_US, [60, 90, 92, 91, 60, 40], driver_id="D1")
    await rig.append([*(message(fix) for fix in trip), message(trip[0])._replace(payload=b"{")])
    await rig.work_off()
    outbox = Outbox(lambda: connect(rig.url))
    await outbox.fan_out(everyone("webhook"))
    await outbox.mark_sent([alert_id for (alert_id,) in await rig.rows("SELECT alert_id FROM alerts")], "webhook")
    await outbox.close()
    return rig


async def test_the_verifier_finds_nothing_in_a_sound_database(judged: WorkerRig) -> None:
    state = await table_state(judged.connection)
    found = await verdict(judged.connection, state, await Sent(judged).requests(), SECRET, 7)
    assert (found.holds, found.broken, found.sent_again) == (True, [], 0)


@pytest.mark.parametrize(
    ("harm", "lost", "doubled", "told"),
    [
        ("DELETE FROM fixes WHERE speed_kmh = 92", 1, 0, "fixes -"),
        ("DELETE FROM dead_letters", 1, 0, "letters -"),
        ("UPDATE fixes SET lat = 1 WHERE speed_kmh = 92", 1, 1, "fixes +"),
        ("UPDATE violations SET top_speed_kmh = 99", 1, 1, "violations +"),
        ("UPDATE deliveries SET status = 'waiting' WHERE alert_id LIKE '%opened'", 0, 0, "has not ended"),
        ("UPDATE log_positions SET messages = messages - 1 WHERE messages > 0", 0, 0, "positions with a gap"),
        ("UPDATE violation_revisions SET revision = 9 WHERE revision = 1", 0, 0, "revisions"),
        ("DELETE FROM deliveries; DELETE FROM alerts WHERE stage = 'closed'", 0, 1, "without an alert"),
        ("UPDATE log_positions SET next_offset = next_offset + 1 WHERE next_offset > 0", 0, 0, "in the log: 7"),
    ],
)
async def test_the_verifier_finds_what_is_lost_doubled_or_broken(
    judged: WorkerRig, harm: str, lost: int, doubled: int, told: str
) -> None:
    state, requests = await table_state(judged.connection), await Sent(judged).requests()
    await judged.connection.execute(harm)
    found = await verdict(judged.connection, state, requests, SECRET, 7)
    assert not found.holds
    assert (found.lost, found.doubled) == (lost, doubled)
    assert told in "\n".join(found.broken)


async def test_the_verifier_finds_alerts_that_never_came_came_differently_or_unsigned(judged: WorkerRig) -> None:
    state, (one, other) = await table_state(judged.connection), await Sent(judged).requests()
    missing = await verdict(judged.connection, state, [one], SECRET)
    assert (missing.lost, missing.doubled) == (1, 0)
    again = await verdict(judged.connection, state, [one, other, other], SECRET)
    assert (again.holds, again.sent_again) == (True, 1)
    changed = other._replace(body=other.body.replace(b"}", b', "more": 1}'))
    differing = await verdict(judged.connection, state, [one, other, changed], SECRET)
    assert (differing.lost, differing.doubled) == (0, 1)
    assert any("signature" in line for line in differing.broken)


@pytest.fixture
async def proxy(postgres: DatabaseServer) -> AsyncIterator[Proxy]:
    server = conninfo_to_dict(postgres.admin_url)
    host, port = str(server.get("host", "localhost")), int(server.get("port") or 5432)
    proxy = Proxy(free_port(), lambda: f"{host}/.s.PGSQL.{port}" if host.startswith("/") else port, PostgresMessages)
    await proxy.start()
    yield proxy
    await proxy.stop()


def through(proxy: Proxy, url: str) -> str:
    there: dict[str, str | int] = {
        "host": "127.0.0.1",
        "port": proxy.port,
        "sslmode": "disable",
        "gssencmode": "disable",
    }
    return make_conninfo(url, **there)


async def test_a_lost_answer_to_commit_leaves_the_rows_and_an_error(proxy: Proxy, postgres_url: str) -> None:
    asked_by = []

    async def spring(client: str) -> None:
        asked_by.append(client)

    connection = await connect(through(proxy, postgres_url), application_name="one")
    proxy.trap = Trap("^COMMIT$", spring, before=False)
    with pytest.raises(psycopg.OperationalError):
        async with connection.transaction():
            await connection.execute("INSERT INTO logs VALUES ('lost answer', 1)")
    direct = await connect(postgres_url)
    assert await (await direct.execute("SELECT log_id FROM logs")).fetchall() == [("lost answer",)]
    assert asked_by == ["one"]
    await direct.close()


async def test_a_statement_caught_before_it_arrives_leaves_nothing(proxy: Proxy, postgres_url: str) -> None:
    async def spring(_: str) -> None:
        """Only the cut matters."""

    connection = await connect(through(proxy, postgres_url))
    for number in range(8):  # from the fifth on it is prepared, and sent by name only
        await connection.execute("INSERT INTO logs VALUES (%s, 1)", [str(number)])
    proxy.trap = Trap("INSERT INTO logs", spring)
    with pytest.raises(psycopg.OperationalError):
        await connection.execute("INSERT INTO logs VALUES (%s, 1)", ["caught"])
    direct = await connect(postgres_url)
    assert await (await direct.execute("SELECT count(*) FROM logs")).fetchall() == [(8,)]
    await direct.close()


async def test_what_springs_a_trap_ends_even_when_it_ends_the_connection(proxy: Proxy, postgres_url: str) -> None:
    async def spring(_: str) -> None:
        proxy.cut()
        await asyncio.sleep(0.1)
        ended.set()

    ended = asyncio.Event()
    connection = await connect(through(proxy, postgres_url))
    proxy.trap = trap = Trap("SELECT 1", spring)
    with pytest.raises(psycopg.OperationalError):
        await connection.execute("SELECT 1")
    await trap.done.wait()
    assert ended.is_set()


async def test_a_proxy_stalls_cuts_and_refuses(proxy: Proxy, postgres_url: str) -> None:
    connection = await connect(through(proxy, postgres_url))
    proxy.stall(TO_CLIENT)
    asking = asyncio.create_task(connection.execute("SELECT 1"))
    assert await asyncio.wait([asking], timeout=0.2) == (set(), {asking})
    proxy.flow()
    await asking
    assert proxy.cut() == 1
    with pytest.raises(psycopg.OperationalError):
        await connection.execute("SELECT 1")
    proxy.refusing = True
    with pytest.raises(psycopg.OperationalError):
        await connect(through(proxy, postgres_url))


@pytest.mark.parametrize("seed", range(5))
def test_messages_are_found_however_they_are_cut(seed: int) -> None:
    rng = random.Random(seed)

    def cut(stream: bytes) -> list[bytes]:
        places = sorted({0, len(stream), *(rng.randrange(len(stream)) for _ in range(rng.randrange(9)))})
        return [stream[begin:end] for begin, end in pairwise(places)]

    publish = b"\x32" + bytes([0x81, 0x01]) + bytes(129)
    acknowledge = b"\x40\x02\x00\x01"
    mqtt, found = MqttMessages(), []
    for piece in cut(publish + acknowledge + publish + acknowledge):
        found += mqtt.feed(piece)
    assert found == [(publish, ""), (acknowledge, "PUBACK")] * 2
    start = (26).to_bytes(4, "big") + b"\0\3\0\0" + b"application_name\0w\0\0"[:18]
    start = (len(start) + 1).to_bytes(4, "big") + start[4:] + b"\0"
    query = b"Q" + (4 + 7).to_bytes(4, "big") + b"COMMIT\0"
    postgres, asked = PostgresMessages(), []
    for piece in cut(start + query):
        asked += postgres.feed(piece)
    assert asked == [(start, ""), (query, "COMMIT")]
    assert postgres.client == "w"
