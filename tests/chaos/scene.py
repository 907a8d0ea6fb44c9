"""One round: a fresh topic and database, the parts at work, trackers that send the day, and faults in between."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
from aiokafka.errors import KafkaError

from storage.connect import connect
from tests.chain import Chain, Part, running_chain, until
from tests.chaos.proxy import Proxy, Trap
from tests.chaos.verifier import ALL_DELIVERED
from tests.chaos.workload import Day, Trackers
from tests.chaos.world import World
from tests.webhook_receiver import WebhookReceiver, webhook_receiver

SECRET = "road-1"
_HEALTHY_WITHIN_S = 90.0
_PATIENCE_S = 15.0
_KEPT_BACK = 40
"""Messages left for the end of a round, so that every recovery has one to show."""


class NotReached(Exception):
    """The fault had nothing to strike at before the day was over."""


class Scene:
    """What a fault sees of its round. A strike returns when its cause is gone; what it killed is started again."""

    def __init__(
        self, world: World, chain: Chain, day: Day, url: str, receiver: WebhookReceiver, rng: random.Random, rate: float
    ) -> None:
        self.world = world
        self.chain = chain
        self.url = url
        self.receiver = receiver
        self.rng = rng
        self.kills = 0
        self.struck_s = 0.0
        """When the clock of the recovery starts: the kill, or the end of a disturbance."""
        self.day = day
        self.trackers = Trackers(world.mosquitto.port, day, rate)
        self._ends: dict[int, int] = {}

    async def start(self, workers: int, *, static: bool) -> None:
        await self.chain.call("import", *map(str, self.day.registry))
        self.begin("bridge")
        self.begin("notify")
        for number in range(workers):
            self.begin_worker(f"work-{number + 1}", static=static)
        for part in self.chain.parts.values():
            await part.ready(_HEALTHY_WITHIN_S)
        # The broker saves its sessions once a second; one it has not saved is gone after kill -9, queue and all.
        await asyncio.sleep(1.5)

    def begin(self, name: str) -> Part:
        kafka, mqtt = f"127.0.0.1:{self.world.bridge_kafka.port}", str(self.world.bridge_mqtt.port)
        if name == "bridge":
            return self.chain.begin("bridge", kafka_bootstrap=kafka, mqtt_port=mqtt)
        return self.chain.begin(name)

    def begin_worker(self, name: str, *, static: bool) -> Part:
        kafka, url = f"127.0.0.1:{self.world.worker_kafka.port}", self.world.proxied(self.url, name)
        arguments = ("--instance-id", name) if static else ()
        return self.chain.begin(name, "work", *arguments, kafka_bootstrap=kafka, database_url=url)

    def part(self, kind: str) -> Part:
        """One of the parts of this kind, by chance."""
        return self.chain.parts[self.rng.choice([name for name in self.chain.parts if name.startswith(kind)])]

    async def kill(self, part: Part) -> None:
        """kill -9; not started again yet."""
        part.alive()
        await part.end(signal.SIGKILL)
        self.kills += 1
        await self.struck()

    async def revive(self, part: Part) -> None:
        part.start()
        await part.ready(_HEALTHY_WITHIN_S)

    async def struck(self) -> None:
        """From here on counts the recovery, and what the log holds by now is older than it."""
        self.struck_s = time.monotonic()
        await self.note_ends()

    async def spring(self, proxy: Proxy, trap: Trap) -> None:
        """Set the trap and return when it has sprung and done its work."""
        proxy.trap = trap
        try:
            await self.proceed_until(trap.sprung, trap.pattern)
            await trap.done.wait()
        finally:
            proxy.trap = None

    async def proceed_until(self, event: asyncio.Event, what: str) -> None:
        """Return when it has come; the day goes on meanwhile, NotReached when it is over before."""
        last, patience_s = len(self.day.messages) - _KEPT_BACK, time.monotonic() + _PATIENCE_S
        while not event.is_set():
            await asyncio.sleep(0.05)
            self.trackers.allow(min(self.trackers.acknowledged + _KEPT_BACK, last))
            if self.trackers.acknowledged < last:
                patience_s = time.monotonic() + _PATIENCE_S
            elif time.monotonic() > patience_s:
                raise NotReached(what)

    async def note_ends(self) -> None:
        """Remember how far the log reaches; as before while Kafka does not tell."""
        self._ends = await self.log_ends() or self._ends

    async def recovered(self) -> float:
        """Seconds from the strike until everything is committed that the log then had, and one message more."""
        before = sum(self._ends.values())
        later: dict[int, int] = {}

        async def is_recovered() -> bool:
            nonlocal later
            if not later:
                ends = await self.log_ends() or {}
                if sum(ends.values()) <= before:
                    return False
                later = ends
            rows = await self.rows("SELECT partition, next_offset FROM log_positions")
            return all(dict(rows).get(partition, 0) >= end for partition, end in later.items())

        return await self._seconds_until(is_recovered, "the first message after the fault committed")

    async def delivered(self) -> float:
        """Seconds from the strike until every alert that stood then has left."""
        ((struck_at,),) = await self.rows("SELECT clock_timestamp()::text")
        query = (
            "SELECT NOT EXISTS (SELECT FROM alerts a LEFT JOIN deliveries d USING (alert_id)"
            f" WHERE a.created_at <= '{struck_at}' AND coalesce(d.status, 'waiting') = 'waiting')"
        )

        async def is_delivered() -> bool:
            return bool((await self.rows(query))[0][0])

        return await self._seconds_until(is_delivered, "every alert of before the fault delivered")

    async def worked_off(self, expected_fixes: int, expected_letters: int, within_s: float) -> None:
        """Return when everything that was sent stands in the tables and every alert has left."""
        stored = f"(SELECT count(*) FROM fixes) >= {expected_fixes}"
        letters = f"(SELECT count(*) FROM dead_letters) >= {expected_letters}"
        await self.rows("SELECT 1")  # the chain's own connection may have been lost with a server
        await self.chain.worked_off(
            len(self.day.messages), f"{stored} AND {letters} AND {ALL_DELIVERED}", within_s=within_s
        )

    async def log_ends(self) -> dict[int, int] | None:
        """The end of each partition; None while Kafka does not tell."""
        try:
            async with asyncio.timeout(2):
                return await self.chain.log_ends()
        except (KafkaError, TimeoutError):
            return None

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Rows by a way without proxy; through a restart of the server by another connection."""
        deadline = time.monotonic() + 60
        while True:
            try:
                if self.chain.connection.closed:
                    self.chain.connection = await connect(self.url)
                return await self.chain.rows(query)
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                await self.chain.connection.close()
                await asyncio.sleep(0.05)

    async def _seconds_until(self, holds: Callable[[], Awaitable[bool]], what: str) -> float:
        async def and_alive() -> bool:
            for part in self.chain.parts.values():
                part.alive()
            return await holds()

        await until(and_alive, what, _HEALTHY_WITHIN_S)
        return time.monotonic() - self.struck_s


@asynccontextmanager
async def running_scene(
    world: World, day: Day, folder: Path, rng: random.Random, rate: float, *, small_disk: bool = False
) -> AsyncIterator[Scene]:
    """A round without any part yet; nothing of it is left at the end but the logs in `folder`."""
    await asyncio.to_thread(folder.mkdir)
    url = await world.make_database(on_small_disk=small_disk)
    settings = {
        "alert_freshness_s": "1000000000",
        "alert_retry_s": "0.1",
        "alert_max_tries": "30",
        "alert_webhook_secret": SECRET,
        "batch_max_messages": "200",
        "batch_max_wait_ms": "50",
        "log_level": "info",
    }
    try:
        with webhook_receiver() as receiver:
            async with running_chain(
                world.kafka, world.mosquitto, url, folder, alert_webhook_url=receiver.url, **settings
            ) as chain:
                chain.environment.update(world.clocks.environment)
                yield Scene(world, chain, day, url, receiver, rng, rate)
    finally:
        world.calm()
        await world.drop_database(url)
