"""latency: from the time of the fix that proves a violation to its alert at a webhook, through every process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from datetime import datetime
from typing import Any
from uuid import uuid4

import numpy as np

from benchmarks.measure import Figure, Report, at_least, at_most
from benchmarks.programs import Program, hanhtrinh
from benchmarks.servers import Servers
from benchmarks.workload import PARTITIONS, make_topic
from detectors.fix import Fix, to_us
from ingest.publisher import AtRate, Broker, Publisher
from ingest.recordings.messages import OutMessage
from ingest.simulator import message_of
from ingest.simulator.delivery import Delivery
from storage.connect import connect
from tests.webhook_receiver import Answer, Request, WebhookReceiver, webhook_receiver

_SPEEDER_EVERY = 20
_FIX_EVERY_S = 5.0
_READY_WITHIN_S = 60.0
_LAST_ALERTS_S = 3.0
_FIRST_ALERT_WITHIN_S = 120.0


def run(servers: Servers, *, quick: bool) -> Report:
    """Fixes carry the time at which they are published; one vehicle in twenty speeds for half of each minute."""
    # A vehicle must be over for 20 s: in 30 s, with a fix every 5 s, the first ones were so to the millisecond or not.
    per_second, seconds, repeats = (50, 45, 1) if quick else (1_000, 90, 3)
    waits = [_measure(servers, per_second, seconds) for _ in range(repeats)]
    return Report(
        "latency",
        "event to alert: Mosquitto, bridge, Kafka, worker, notifier, webhook",
        sizes={"fixes_per_second": per_second, "seconds": seconds, "runs": repeats},
        figures=[
            Figure("median", "s", [float(np.percentile(each, 50)) for each in waits]),
            Figure("99th percentile", "s", [float(np.percentile(each, 99)) for each in waits], at_most(2.0)),
            Figure("longest", "s", [max(each) for each in waits]),
            Figure("alerts", "", [len(each) for each in waits], None if quick else at_least(200)),
        ],
        notes=["opened alerts only; from the own time of the proving fix, which is when it is published, to receipt"],
    )


def _measure(servers: Servers, per_second: int, seconds: int) -> list[float]:
    kafka, mosquitto = servers.kafka, servers.mosquitto
    topic = kafka.topic("latency")
    asyncio.run(make_topic(kafka.bootstrap, topic))
    with ExitStack() as stack:
        url = stack.enter_context(servers.database())
        receiver = stack.enter_context(webhook_receiver())
        waits: list[float] = []
        receiver.answer = lambda request: _noted(request, waits)
        settings = _settings(servers, url, topic, receiver)
        folder = servers.folder("latency")
        parts = [stack.enter_context(hanhtrinh(folder, name, **settings)) for name in ("bridge", "work", "notify")]
        asyncio.run(_publish(Broker(mosquitto.host, mosquitto.port), url, parts, per_second, seconds))
        _wait_for_one(waits)
    return waits


def _wait_for_one(waits: list[float]) -> None:
    """A machine that does much else may have told nothing yet."""
    deadline_s = time.monotonic() + _FIRST_ALERT_WITHIN_S
    while not waits:
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"no alert came within {_FIRST_ALERT_WITHIN_S:g} s of the last fix")
        time.sleep(0.1)


async def _publish(broker: Broker, url: str, parts: list[Program], per_second: int, seconds: int) -> None:
    await _ready(broker, url, parts)
    await Publisher(broker).publish(_fleet(per_second, seconds), AtRate(per_second, time.monotonic))
    await asyncio.sleep(_LAST_ALERTS_S)
    for part in parts:
        part.require_running()


def _settings(servers: Servers, url: str, topic: str, receiver: WebhookReceiver) -> dict[str, Any]:
    return {
        "database_url": url,
        "log": "kafka",
        "kafka_bootstrap": servers.kafka.bootstrap,
        "kafka_topic": topic,
        "kafka_group": topic,
        "log_partitions": PARTITIONS,
        "mqtt_host": servers.mosquitto.host,
        "mqtt_port": servers.mosquitto.port,
        "mqtt_client_id": f"bench-{uuid4().hex[:8]}",
        "alert_webhook_url": receiver.url,
        "alert_webhook_secret": "bench",
    }


def _noted(request: Request, waits: list[float]) -> Answer:
    received_s = time.time()
    alert = request.alert
    if alert["stage"] == "opened" and alert["violation"]["kind"] == "speeding":
        waits.append(received_s - to_us(datetime.fromisoformat(alert["event_at"])) / 1e6)
    return Answer()


async def _ready(broker: Broker, url: str, parts: list[Program]) -> None:
    """Return when a message has gone all the way: from then on every process works."""
    connection = await connect(url)
    try:
        for number in range(int(_READY_WITHIN_S)):
            for part in parts:
                part.require_running()
            await Publisher(broker).publish(_one(f"probe-{number}"))
            await asyncio.sleep(1.0)
            row = await (await connection.execute("SELECT count(*) FROM fixes")).fetchone()
            if row is not None and row[0]:
                return
    finally:
        await connection.close()
    raise TimeoutError(f"no message came through within {_READY_WITHIN_S:g} s")


async def _one(vehicle_id: str) -> AsyncIterator[OutMessage]:
    yield _message(Fix(vehicle_id, _now_us(), 21.0, 105.8, 10.0))


async def _fleet(per_second: int, seconds: int) -> AsyncIterator[OutMessage]:
    """Each vehicle in its turn, its fix made at the moment at which it leaves."""
    vehicles = int(per_second * _FIX_EVERY_S)
    lat = np.full(vehicles, 10.5)
    seen_us = np.zeros(vehicles, dtype=np.int64)
    speeds = np.zeros(vehicles)
    began_us = _now_us()
    for number in range(per_second * seconds):
        vehicle, now_us = number % vehicles, _now_us()
        wanted = _speed_kmh(vehicle, (now_us - began_us) / 1e6)
        if seen_us[vehicle]:
            lasted_s = (now_us - int(seen_us[vehicle])) / 1e6
            lat[vehicle] += (wanted + speeds[vehicle]) / 2 / 3.6 * lasted_s / 111_195
        seen_us[vehicle], speeds[vehicle] = now_us, wanted
        place = round(float(lat[vehicle]), 6), round(105.0 + vehicle * 1e-4, 6)
        yield _message(
            Fix(f"bench-{vehicle:05d}", now_us, *place, round(wanted, 1), satellites=9, hdop=0.9, valid=True)
        )


def _speed_kmh(vehicle: int, at_s: float) -> float:
    """Slow, or by turns slow and far over any limit; the starts are spread over the minute."""
    if vehicle % _SPEEDER_EVERY:
        return 35.0
    phase_s = (at_s + vehicle // _SPEEDER_EVERY * 7) % 60
    return 125.0 if phase_s >= 30 else 35.0


def _message(fix: Fix) -> OutMessage:
    return message_of(Delivery(fix.time_us, fix.vehicle_id, [fix]))


def _now_us() -> int:
    return time.time_ns() // 1_000
