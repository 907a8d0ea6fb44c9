"""What the servers are fed: a morning of the simulator's fleet, as messages of our own format."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from detectors.fix import Fix
from ingest.kafka_log import KafkaLogWriter
from ingest.raw import RawMessage
from ingest.simulator import Fleet
from ingest.simulator.delivery import CALM, Network
from ingest.simulator.files import message_of
from ingest.simulator.roster import Roster

PARTITIONS = 8
START = datetime(2026, 3, 2, 0, 0, tzinfo=UTC)
"""Seven o'clock in Vietnam: everybody is on the road."""
_APPEND_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Workload:
    """A fleet and what it sends, in the order in which it reaches the broker."""

    roster: Roster
    messages: list[tuple[str, RawMessage]]
    """With the device id."""
    fixes: int

    @property
    def vehicles(self) -> int:
        return len(self.roster.vehicles)


def morning(vehicles: int, minutes: float, network: Network | None = None, seed: int = 1) -> Workload:
    """A fix every 10 s of a moving vehicle. Without a `network` the simulator's usual one: doubled, late, in lists."""
    fleet = Fleet(seed, vehicles, START, timedelta(minutes=minutes), network=network)
    messages: list[tuple[str, RawMessage]] = []
    fixes = 0
    for delivery in fleet.deliveries():
        out = message_of(delivery)
        messages.append((delivery.vehicle_id, RawMessage(out.topic, out.payload, delivery.send_at_us)))
        fixes += len(delivery.fixes)
    return Workload(fleet.roster, messages, fixes)


def calm_morning(vehicles: int, minutes: float, seed: int = 1) -> Workload:
    """The same fleet where every message comes once and in order."""
    return morning(vehicles, minutes, CALM, seed)


def fleet_fixes(vehicles: int, minutes: float, seed: int = 1) -> tuple[Roster, list[Fix]]:
    """The fleet, and the fixes of a calm morning in the order of sending."""
    fleet = Fleet(seed, vehicles, START, timedelta(minutes=minutes), network=CALM)
    return fleet.roster, [fix for delivery in fleet.deliveries() for fix in delivery.fixes]


def fill(bootstrap: str, topic: str, messages: Sequence[tuple[str, RawMessage]]) -> None:
    """Make the topic and put the messages in it, as the bridge would."""

    async def append() -> None:
        await make_topic(bootstrap, topic)
        writer = KafkaLogWriter(bootstrap, topic, PARTITIONS)
        await writer.open()
        try:
            for begin in range(0, len(messages), _APPEND_AT_ONCE):
                await writer.append_many(messages[begin : begin + _APPEND_AT_ONCE])
        finally:
            await writer.close()

    asyncio.run(append())


async def make_topic(bootstrap: str, topic: str) -> None:
    """Without retention: the broker goes by the messages' own times, which are long past."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, PARTITIONS, 1, topic_configs={"retention.ms": "-1"})])
        for _ in range(300):
            if await _has_leaders(admin, topic):
                return
            await asyncio.sleep(0.1)
        raise TimeoutError(f"the topic {topic} got no leaders within 30 s")
    finally:
        await admin.close()


async def _has_leaders(admin: AIOKafkaAdminClient, topic: str) -> bool:
    (described,) = await admin.describe_topics([topic])
    partitions = described["partitions"]
    return len(partitions) == PARTITIONS and all(partition["leader"] >= 0 for partition in partitions)
