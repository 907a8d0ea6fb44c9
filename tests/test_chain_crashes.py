"""Law 2 through the whole chain: kill -9 of any process at any moment loses nothing and doubles nothing."""

from __future__ import annotations

import asyncio
import json
import random
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from alerts.signature import SIGNATURE_HEADER, TIMESTAMP_HEADER, verify
from detectors.fix import to_us
from hanhtrinh.rule_packs import load_pack
from ingest.simulator import Fleet, write_fleet
from tests.chain import Chain, broker, running_chain, until
from tests.mqtt_client import publish
from tests.offline import offline_differences
from tests.running_worker import journey, message
from tests.services.kafka_server import Kafka
from tests.services.mosquitto import Mosquitto
from tests.services.postgres import DatabaseServer, drop_database, make_database
from tests.table_state import TableState, broken_invariants, table_state
from tests.webhook_receiver import Answer, Request, WebhookReceiver, webhook_receiver

__all__ = ["broker"]

SECRET = "road-1"
VICTIMS = ("bridge", "work", "notify")


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with webhook_receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def a_day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """fleet.ndjson and the registry of a fleet on a bad network, with lines in it that are no position."""
    folder = tmp_path_factory.mktemp("day")
    write_fleet(Fleet(5, 8, datetime(2026, 3, 3, 22, tzinfo=UTC), timedelta(hours=11), interval_s=20), folder)
    lines = (folder / "fleet.ndjson").read_bytes().splitlines()
    for number in range(0, len(lines), 700):
        lines.insert(number, b'{"vehicle_id": "V1", "time": %d, "lat": 99, "lon": 105.8}' % number)
    (folder / "fleet.ndjson").write_bytes(b"\n".join(lines) + b"\n")
    return folder


async def start(chain: Chain, registry: Path) -> None:
    await chain.call("import", *(str(registry / f"{name}.csv") for name in ("operators", "vehicles", "drivers")))
    await chain.start("bridge")
    # Static membership, or the group would wait for the session of the killed one to time out.
    await chain.start("work", "work", "--instance-id", "one")
    await chain.start("notify")


def alerting(receiver: WebhookReceiver, **settings: str) -> dict[str, str]:
    return {"alert_webhook_url": receiver.url, "alert_webhook_secret": SECRET, "alert_retry_s": "0.1", **settings}


ALL_DELIVERED = (
    "NOT EXISTS (SELECT FROM alerts a LEFT JOIN deliveries d USING (alert_id)"
    " WHERE d.status IS DISTINCT FROM CASE WHEN a.push THEN 'sent' ELSE 'recorded' END)"
)


async def undisturbed(
    kafka: Kafka, broker: Mosquitto, postgres: DatabaseServer, a_day: Path, logs: Path
) -> tuple[TableState, int]:
    """What a run without any kill ends in, and how many messages it took."""
    url = await make_database(postgres)
    try:
        with webhook_receiver() as receiver:
            settings = alerting(receiver, alert_freshness_s="1000000000")
            async with running_chain(kafka, broker, url, logs, **settings) as chain:
                await start(chain, a_day)
                sent = await chain.send(str(a_day / "fleet.ndjson"))
                await chain.worked_off(sent["messages"], ALL_DELIVERED)
                await is_complete(chain, receiver)
                assert len(receiver.requests) == len({request.alert_id for request in receiver.requests})
                return await table_state(chain.connection), sent["messages"]
    finally:
        await drop_database(postgres, url)


async def is_complete(chain: Chain, receiver: WebhookReceiver) -> None:
    """Every invariant holds, and the receiver has each alert that was to be pushed, the same each time it came."""
    assert await broken_invariants(chain.connection) == []
    assert await offline_differences(chain.connection, load_pack()) == ""
    pushed = {alert_id for (alert_id,) in await chain.rows("SELECT alert_id FROM alerts WHERE push")}
    bodies: dict[str, set[bytes]] = {}
    for request in receiver.requests:
        verify(SECRET.encode(), request.headers[TIMESTAMP_HEADER], request.headers[SIGNATURE_HEADER], request.body)
        bodies.setdefault(request.alert_id, set()).add(request.body)
    assert bodies.keys() == pushed
    assert {alert_id: len(each) for alert_id, each in bodies.items() if len(each) > 1} == {}
    assert await chain.rows("SELECT count(*) FROM deliveries WHERE status NOT IN ('sent', 'recorded')") == [(0,)]


async def test_killing_each_process_again_and_again_during_a_send_changes_nothing_in_the_end(
    kafka: Kafka,
    broker: Mosquitto,
    postgres: DatabaseServer,
    postgres_url: str,
    receiver: WebhookReceiver,
    a_day: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    expected, messages = await undisturbed(kafka, broker, postgres, a_day, tmp_path_factory.mktemp("calm"))
    assert expected.violations
    assert expected.letters
    rng = random.Random(7)
    moments = sorted(rng.sample(range(messages // 50, messages * 9 // 10), 9))
    victims = [*VICTIMS * 3]
    rng.shuffle(victims)
    settings = alerting(receiver, alert_freshness_s="1000000000", batch_max_messages="200")
    async with running_chain(kafka, broker, postgres_url, tmp_path_factory.mktemp("killed"), **settings) as chain:
        await start(chain, a_day)
        sending = asyncio.create_task(chain.send(str(a_day / "fleet.ndjson"), "--rate", str(messages / 15)))
        for moment, victim in zip(moments, victims, strict=True):
            part = chain.parts[victim]
            await part.ready()
            await chain.logged(moment)
            await part.end(signal.SIGKILL)
            part.start()
        sent = await sending
        stored = f"(SELECT count(*) FROM fixes) >= {len(expected.fixes)}"
        letters = f"(SELECT count(*) FROM dead_letters) >= {len(expected.letters)}"
        await chain.worked_off(sent["messages"], f"{stored} AND {letters} AND {ALL_DELIVERED}")
        assert expected.differences(await table_state(chain.connection), alerts=False) == ""
        await is_complete(chain, receiver)


async def test_a_webhook_receiver_that_fails_twice_gets_the_alert_once_more_and_can_verify_it(
    kafka: Kafka, broker: Mosquitto, postgres_url: str, receiver: WebhookReceiver, tmp_path: Path
) -> None:
    def fail_twice(request: Request) -> Answer:
        times = sum(each.alert_id == request.alert_id for each in receiver.requests)
        return Answer(503 if times <= 2 else 200)

    receiver.answer = fail_twice
    now_us = to_us(datetime.now(UTC)) - 120_000_000
    trip = journey("29B-00001", now_us, [60, 90, 92, 91, 60, 40], driver_id="D1")
    async with running_chain(kafka, broker, postgres_url, tmp_path, **alerting(receiver)) as chain:
        for part in ("bridge", "work", "notify"):
            await chain.start(part)
        for fixes, told in ((trip[:4], 1), (trip[4:], 2)):
            await publish(broker.port, ((f"hanhtrinh/{fix.vehicle_id}", message(fix).payload) for fix in fixes))
            await chain.worked_off(len(fixes), f"{ALL_DELIVERED} AND (SELECT count(*) FROM deliveries) = {told}")
        await is_complete(chain, receiver)
        (violation_id,) = (await chain.rows("SELECT violation_id FROM violations"))[0]
        ids = [request.alert_id for request in receiver.requests]
        assert ids == [f"{violation_id}:opened"] * 3 + [f"{violation_id}:closed"] * 3
        assert [request.alert_id for request in receiver.accepted] == [ids[2], ids[5]]
        told = receiver.accepted[0].alert["violation"]
        assert (told["vehicle_id"], told["top_speed_kmh"], told["status"]) == ("29B-00001", 92.0, "open")
        assert await chain.rows("SELECT status, tries FROM deliveries") == [("sent", 3), ("sent", 3)]


async def test_a_worker_killed_while_it_judges_history_again_ends_as_one_that_was_not(
    kafka: Kafka, broker: Mosquitto, postgres_url: str, a_day: Path, tmp_path: Path
) -> None:
    """Another limit for the whole fleet; the worker dies when some vehicles are judged by it and some are not."""
    async with running_chain(kafka, broker, postgres_url, tmp_path) as chain:
        await chain.call("import", *(str(a_day / f"{name}.csv") for name in ("operators", "vehicles", "drivers")))
        await chain.start("bridge")
        worker = await chain.start("work", "work", "--instance-id", "one")
        sent = await chain.send(str(a_day / "fleet.ndjson"))
        await chain.worked_off(sent["messages"])
        vehicles = [vehicle_id for (vehicle_id,) in await chain.rows("SELECT vehicle_id FROM vehicles")]
        limits = tmp_path / "limits.csv"
        limits.write_text("vehicle_id,limit_kmh\n" + "".join(f"{each},40\n" for each in vehicles))
        await chain.call("import", str(limits))
        await chain.worked_off(sent["messages"])
        rejudging = chain.begin("rejudge", "rejudge", "--from", "2026-03-03", "--to", "2026-03-05", "--yes")
        await until(lambda: _has_marks(chain), "vehicles marked to be judged again", 60.0)
        async with chain.connection.transaction():
            # The worker gets as far as the first violation, and no further.
            await chain.connection.execute("LOCK TABLE violations IN EXCLUSIVE MODE")
            await until(lambda: _waits_for_a_lock(chain), "the worker waiting", 60.0)
            await worker.end(signal.SIGKILL)
            assert await _has_marks(chain)
        worker.start()
        assert await rejudging.ended() == 0
        del chain.parts["rejudge"]
        await chain.worked_off(sent["messages"])
        limits_met = await chain.rows(
            "SELECT DISTINCT limit_kmh FROM violations WHERE kind = 'speeding' AND status <> 'withdrawn'"
        )
        assert limits_met == [(40.0,)]
        assert await broken_invariants(chain.connection) == []
        assert await offline_differences(chain.connection, load_pack()) == ""


async def _has_marks(chain: Chain) -> bool:
    return await chain.rows("SELECT FROM rejudge_marks LIMIT 1") != []


async def _waits_for_a_lock(chain: Chain) -> bool:
    return await chain.rows("SELECT FROM pg_locks WHERE relation = 'violations'::regclass AND NOT granted") != []


def test_the_day_that_is_killed_has_late_and_doubled_messages(a_day: Path) -> None:
    newest: dict[str, str] = {}
    late = doubled = 0
    seen = set()
    for line in (a_day / "fleet.ndjson").read_bytes().splitlines():
        doubled += line in seen
        seen.add(line)
        document = msgspec.json.decode(line)
        for fix in document if isinstance(document, list) else [document]:
            time = str(fix["time"])
            late += time < newest.get(fix["vehicle_id"], "")
            newest[fix["vehicle_id"]] = max(time, newest.get(fix["vehicle_id"], ""))
    assert late > 50
    assert doubled > 50
    assert json.loads((a_day / "planted.json").read_text())
