"""The bridge between a real Mosquitto and a log: acknowledged only when the log has it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import urllib.request
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ingest.bridge import BatchWriter, Bridge
from ingest.embedded_log_reader import EmbeddedLogReader
from ingest.formats import FormatRegistry
from ingest.log import LogError
from ingest.mqtt import MqttOptions, MqttSession
from ingest.raw import LogIdentity, RawMessage
from storage.connect import connect
from tests.mqtt_client import publish
from tests.services.mosquitto import Mosquitto
from tests.services.process import free_port


class ListLog:
    """A log in memory whose failures the test decides: the part of a log that a real one cannot do on demand."""

    def __init__(self) -> None:
        self.appended: list[tuple[str, RawMessage]] = []
        self.failures = 0
        self.tries = 0
        self.blocked = asyncio.Event()
        self.blocked.set()

    async def append_many(self, messages: Sequence[tuple[str, RawMessage]]) -> None:
        self.tries += 1
        await self.blocked.wait()
        if self.failures:
            self.failures -= 1
            raise LogError("the log is away")
        self.appended += messages

    def numbers(self) -> list[int]:
        return [int(message.payload.split()[0]) for _, message in self.appended]


class Counts:
    def __init__(self) -> None:
        self.total: Counter[str] = Counter()

    def received(self, n: int) -> None:
        self.total["received"] += n

    def appended(self, n: int) -> None:
        self.total["appended"] += n

    def refused(self, reason: str, n: int) -> None:
        self.total[f"refused {reason}"] += n

    def reconnected(self) -> None:
        self.total["reconnected"] += 1


class Line:
    """A bridge's client id and topic, kept by the broker from one bridge to the next."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.vehicle = uuid.uuid4().hex[:12]
        self.topic = f"hanhtrinh/{self.vehicle}"
        self.options = MqttOptions("127.0.0.1", port, f"bridge-{self.vehicle}", [self.topic])
        self.counts = Counts()

    @asynccontextmanager
    async def bridge(self, log: BatchWriter, *, log_deadline_s: float = 60.0) -> AsyncIterator[Bridge]:
        bridge = Bridge(
            MqttSession(self.options),
            log,
            FormatRegistry().device_id,
            1_000,
            self.counts,
            log_deadline_s=log_deadline_s,
            first_wait_s=0.02,
        )
        stop = asyncio.Event()
        running = asyncio.create_task(bridge.run(stop))
        await until(lambda: bridge.trouble is None or running.done())
        try:
            yield bridge
        finally:
            stop.set()
            await asyncio.wait_for(running, 15)

    async def send(self, *numbers: int) -> None:
        await publish(self.port, [(self.topic, b"%d" % number) for number in numbers])


@pytest.fixture
def line(mosquitto: Mosquitto) -> Line:
    return Line(mosquitto.port)


async def until(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in other processes
            await asyncio.sleep(0.01)


async def test_messages_reach_the_log_keyed_by_device_and_in_order(line: Line) -> None:
    log = ListLog()
    async with line.bridge(log):
        await line.send(*range(1_000))
        await until(lambda: len(log.appended) >= 1_000)
    assert log.numbers() == list(range(1_000))
    assert {key for key, _ in log.appended} == {line.vehicle}
    assert {message.topic for _, message in log.appended} == {line.topic}
    assert line.counts.total == {"received": 1_000, "appended": 1_000}


async def test_nothing_is_acknowledged_before_the_log_has_it(line: Line) -> None:
    stuck = ListLog()
    stuck.blocked.clear()
    async with line.bridge(stuck):
        await line.send(1, 2, 3)
        await until(lambda: stuck.tries > 0)
        stuck.failures = 1_000
        stuck.blocked.set()
    assert stuck.appended == []
    log = ListLog()
    async with line.bridge(log):
        await until(lambda: len(log.appended) >= 3)
    assert log.numbers() == [1, 2, 3]


async def test_what_the_log_has_is_acknowledged_once(line: Line) -> None:
    log = ListLog()
    async with line.bridge(log):
        await line.send(1, 2, 3)
        await until(lambda: len(log.appended) >= 3)
    async with line.bridge(log):
        await line.send(4)
        await until(lambda: len(log.appended) >= 4)
    assert log.numbers() == [1, 2, 3, 4]


async def test_a_log_that_fails_is_tried_again_and_nothing_is_lost(line: Line) -> None:
    log = ListLog()
    log.failures = 3
    async with line.bridge(log) as bridge:
        await line.send(*range(50))
        await until(lambda: bridge.trouble == "the log is away")
        await until(lambda: len(log.appended) >= 50)
        assert bridge.trouble is None
    assert log.numbers() == list(range(50))
    assert line.counts.total["reconnected"] == 0


async def test_a_log_that_stays_away_makes_the_bridge_reconnect_and_nothing_is_lost(line: Line) -> None:
    log = ListLog()
    log.failures = 6
    async with line.bridge(log, log_deadline_s=0.03):
        await line.send(*range(50))
        await until(lambda: len(log.appended) >= 50)
    assert log.numbers() == list(range(50))
    assert line.counts.total["reconnected"] >= 1


async def test_a_message_that_is_too_large_is_counted_and_logged_and_blocks_nothing(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    log = ListLog()
    sizes = {1: 1_000, 2: 1_001, 3: 5}
    messages = [(line.topic, str(n).encode().ljust(size)) for n, size in sizes.items()]
    with caplog.at_level(logging.WARNING, "ingest.bridge"):
        async with line.bridge(log):
            await publish(line.port, messages)
            await until(lambda: len(log.appended) >= 2)
        async with line.bridge(log):
            await line.send(4)
            await until(lambda: len(log.appended) >= 3)
    assert log.numbers() == [1, 3, 4]
    assert line.counts.total["refused too_large"] == 1
    assert f"topic='{line.topic}' bytes=1001 limit=1000" in caplog.text


async def test_a_retained_message_is_marked_in_the_log(line: Line) -> None:
    await publish(line.port, [(line.topic, b"1")], retain=True)
    log = ListLog()
    async with line.bridge(log):
        await line.send(2)
        await until(lambda: len(log.appended) >= 2)
    assert [message.retained for _, message in log.appended] == [True, False]
    await publish(line.port, [(line.topic, b"")], retain=True)


async def test_a_topic_without_a_device_is_its_own_key(line: Line) -> None:
    line.topic = f"something/{line.vehicle}"
    line.options = MqttOptions("127.0.0.1", line.port, "x" + line.vehicle, [line.topic])
    log = ListLog()
    async with line.bridge(log):
        await line.send(1)
        await until(lambda: len(log.appended) >= 1)
    assert log.appended[0][0] == line.topic


async def test_the_bridge_comes_back_when_the_broker_does(services_home: Path) -> None:
    server = Mosquitto(services_home / uuid.uuid4().hex)
    server.start()
    line = Line(server.port)
    log = ListLog()
    try:
        async with line.bridge(log) as bridge:
            await line.send(1)
            await until(lambda: len(log.appended) >= 1)
            server.kill()
            await until(lambda: bridge.trouble is not None)
            server.start()
            await until(lambda: bridge.trouble is None)
            await line.send(2)
            await until(lambda: 2 in log.numbers())
    finally:
        server.stop()
    assert line.counts.total["reconnected"] >= 1


async def test_a_killed_bridge_loses_nothing(mosquitto: Mosquitto, postgres_url: str) -> None:
    """kill -9 of `hanhtrinh bridge` while messages stream in, twice, then a clean end with SIGTERM."""
    vehicle = uuid.uuid4().hex[:12]
    metrics_port = free_port()
    environment = os.environ | {
        "HANHTRINH_DATABASE_URL": postgres_url,
        "HANHTRINH_MQTT_PORT": str(mosquitto.port),
        "HANHTRINH_MQTT_CLIENT_ID": f"bridge-{vehicle}",
        "HANHTRINH_MQTT_TOPICS": f"hanhtrinh/{vehicle}",
        "HANHTRINH_METRICS_PORT": str(metrics_port),
    }
    command = [sys.executable, "-m", "hanhtrinh", "bridge"]

    async def started() -> subprocess.Popen[bytes]:
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)  # noqa: ASYNC220
        await until(lambda: _healthy(metrics_port) or process.poll() is not None)
        assert process.poll() is None
        return process

    count = 6_000
    process = await started()
    messages = [(f"hanhtrinh/{vehicle}", b"%d" % n) for n in range(count)]
    sending = asyncio.create_task(publish(mosquitto.port, messages))
    reader = EmbeddedLogReader(lambda: connect(postgres_url), 8, _from_the_start, lambda _: None)
    await reader.open()
    received: list[int] = []
    kill_at = [500, 2_000]
    async with asyncio.timeout(60):
        while len(set(received)) < count:
            for part in await reader.fetch(1_000, 0.1):
                received += [int(record.message.payload) for record in part.records]
            if kill_at and len(received) >= kill_at[0]:
                kill_at.pop(0)
                process.kill()
                process.wait()
                process = await started()
    await sending
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0
    await reader.close()
    assert kill_at == []
    first_seen = list(dict.fromkeys(received))
    assert first_seen == list(range(count))


async def _from_the_start(_identity: LogIdentity, _partitions: Sequence[int]) -> dict[int, int]:
    return {}


def _healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
