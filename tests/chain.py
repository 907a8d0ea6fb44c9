"""The real processes, each started as people start it, on real servers: tracker to alert."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from storage.connect import Connection, connect
from tests.services.kafka_server import Kafka
from tests.services.mosquitto import Mosquitto

PARTITIONS = 4
_COMMAND = (sys.executable, "-m", "hanhtrinh")


class Part:
    """One process of the chain and its log; started again after a kill it goes on under the same names."""

    def __init__(self, name: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._arguments = arguments
        self.environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._log_began = 0

    def start(self) -> None:
        self._log_began = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*_COMMAND, *self._arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment
            )

    async def ready(self, within_s: float = 60.0) -> None:
        """Return when its health check says so."""
        async with httpx.AsyncClient() as client:
            await until(lambda: self._is_healthy(client), f"{self.name} ready", within_s)

    def send(self, number: signal.Signals) -> None:
        """A signal to the running process."""
        assert self._process is not None, f"{self.name} was not started"
        self._process.send_signal(number)

    async def end(self, by: signal.Signals) -> int:
        """Send the signal and return the exit code."""
        assert self._process is not None, f"{self.name} was not started"
        self._process.send_signal(by)
        try:
            return await asyncio.to_thread(self._process.wait, 30)
        finally:
            self._process.kill()
            self._process = None

    async def ended(self, within_s: float = 60.0) -> int:
        """Return its exit code when it has ended by itself."""
        assert self._process is not None, f"{self.name} was not started"
        return await asyncio.to_thread(self._process.wait, within_s)

    async def says(self, words: str, within_s: float = 60.0) -> None:
        """Return when its log has these words, since it was started last."""

        async def has_them() -> bool:
            return words in self.log.read_bytes()[self._log_began :].decode(errors="replace")

        await until(has_them, f"{self.name} says {words!r}", within_s)

    def leave(self) -> None:
        """Make sure that nothing of it is left."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def alive(self) -> None:
        """Fail when it ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            raise AssertionError(f"{self.name} ended by itself with exit code {self._process.returncode}")

    async def _is_healthy(self, client: httpx.AsyncClient) -> bool:
        self.alive()
        said = self.log.read_bytes()[self._log_began :].decode(errors="replace")
        port = re.search(r"metrics_port=(\d+)", said)
        if port is None:
            return False
        try:
            return (await client.get(f"http://127.0.0.1:{port[1]}/healthz")).status_code == 200
        except httpx.HTTPError:
            return False


class Chain:
    """The parts of one test, with a topic, a group, a client id and a database of their own."""

    def __init__(self, environment: Mapping[str, str], folder: Path, connection: Connection, log_end: LogEnd) -> None:
        self.topic = environment["HANHTRINH_KAFKA_TOPIC"]
        self.connection = connection
        self.parts: dict[str, Part] = {}
        self.environment = dict(environment)
        self._folder = folder
        self._log_end = log_end

    async def start(self, name: str, *arguments: str, **settings: str) -> Part:
        """Start a part, `name` being its command unless arguments are given, and wait until it works."""
        part = self.begin(name, *arguments, **settings)
        await part.ready()
        return part

    def begin(self, name: str, *arguments: str, **settings: str) -> Part:
        """`start` without waiting."""
        environment = {**self.environment, **{f"HANHTRINH_{key.upper()}": value for key, value in settings.items()}}
        part = self.parts[name] = Part(name, arguments or (name,), environment, self._folder / f"{name}.log")
        part.start()
        return part

    async def call(self, *arguments: str, **settings: str) -> str:
        """Run a command to its end and return what it printed; it must succeed."""
        environment = {**self.environment, **{f"HANHTRINH_{key.upper()}": value for key, value in settings.items()}}
        process = await asyncio.create_subprocess_exec(
            *_COMMAND, *arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0, f"{arguments} ended with {process.returncode}:\n{err.decode()}"
        return out.decode()

    async def send(self, *arguments: str) -> dict[str, Any]:
        """`hanhtrinh send`; its summary."""
        summary: dict[str, Any] = json.loads(await self.call("send", "--json", *arguments))
        return summary

    async def check(self, *arguments: str) -> dict[str, dict[str, Any]]:
        """`hanhtrinh check --json`: violations by id, as they stand without the overrides that `check` adds."""
        lines = (await self.call("check", "--json", *arguments)).splitlines()
        found = [{key: value for key, value in json.loads(line).items() if key != "overrides"} for line in lines]
        return {violation["violation_id"]: violation for violation in found}

    async def worked_off(self, messages: int, also: str = "true", within_s: float = 90.0) -> None:
        """Return when so many messages, and all of the log, are worked off, nothing waits, and the query holds."""

        async def is_worked_off() -> bool:
            for part in self.parts.values():
                part.alive()
            row = await self._one(
                "SELECT (SELECT coalesce(sum(messages), 0) FROM log_positions),"
                " (SELECT coalesce(sum(next_offset), 0) FROM log_positions),"
                f" NOT EXISTS (SELECT FROM rejudge_marks) AND NOT EXISTS (SELECT FROM line_notices) AND ({also})"
                " AND NOT EXISTS (SELECT FROM log_positions WHERE next_offset > 0 AND silences_judged_to"
                " IS DISTINCT FROM (SELECT max(newest_event_at) FROM log_positions))"
            )
            return row[0] >= messages and bool(row[2]) and row[1] == await self._log_end.messages()

        await until(is_worked_off, f"{messages} messages worked off and {also}", within_s)

    async def logged(self, messages: int, within_s: float = 60.0) -> None:
        """Return when the log has at least so many messages."""

        async def has_them() -> bool:
            return await self._log_end.messages() >= messages

        await until(has_them, f"{messages} messages in the log", within_s)

    async def log_ends(self) -> dict[int, int]:
        """The offset after the newest message of each partition."""
        return await self._log_end.by_partition()

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        return await (await self.connection.execute(query)).fetchall()

    async def _one(self, query: str) -> tuple[Any, ...]:
        (row,) = await self.rows(query)
        return row

    def print_logs(self) -> None:
        """For the report of a failed test."""
        for part in self.parts.values():
            lines = part.log.read_text(errors="replace").splitlines()
            print(f"--- the last of {len(lines)} lines of {part.name} ---", *lines[-40:], sep="\n")


class LogEnd:
    """How many messages a topic holds."""

    def __init__(self, consumer: AIOKafkaConsumer, topic: str) -> None:
        self._consumer = consumer
        self._topic = topic

    async def messages(self) -> int:
        return sum((await self.by_partition()).values())

    async def by_partition(self) -> dict[int, int]:
        if self._topic not in await self._consumer.topics():
            return {}
        ends = await self._consumer.end_offsets([TopicPartition(self._topic, n) for n in range(PARTITIONS)])
        return {part.partition: end for part, end in ends.items()}


@pytest.fixture
def broker(services_home: Path) -> Iterator[Mosquitto]:
    """A broker of the test's own: no other test's messages, retained or queued."""
    mosquitto = Mosquitto(services_home / f"mosquitto-{uuid4().hex[:8]}")
    mosquitto.start()
    yield mosquitto
    mosquitto.stop()


@asynccontextmanager
async def running_chain(
    kafka: Kafka, mosquitto: Mosquitto, database_url: str, folder: Path, **settings: str
) -> AsyncIterator[Chain]:
    """A chain without any part yet; whatever was started is gone at the end, and its logs printed after a failure.

    The logs go to `folder`, which must be there.
    """
    topic = kafka.topic("chain")
    name = uuid4().hex[:12]
    own = {
        "log": "kafka",
        "kafka_bootstrap": kafka.bootstrap,
        "kafka_topic": topic,
        "kafka_group": f"test-{name}",
        "log_partitions": str(PARTITIONS),
        "mqtt_port": str(mosquitto.port),
        "mqtt_client_id": f"test-{name}",
        "database_url": database_url,
        "metrics_port": "0",
        "late_settle_ms": "200",
        **settings,
    }
    environment = {**os.environ, **{f"HANHTRINH_{key.upper()}": value for key, value in own.items()}}
    connection = await connect(database_url)
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap)
    await consumer.start()
    chain = Chain(environment, folder, connection, LogEnd(consumer, topic))
    try:
        yield chain
    except BaseException:
        chain.print_logs()
        raise
    finally:
        for part in chain.parts.values():
            part.leave()
        await consumer.stop()
        await chain.connection.close()


async def until(holds: Callable[[], Any], what: str, within_s: float) -> None:
    """Return when the awaited answer is true."""
    deadline = asyncio.get_running_loop().time() + within_s
    while not await holds():
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"not within {within_s} s: {what}")
        await asyncio.sleep(0.05)
