"""bridge: a queue of Mosquitto, carried into Kafka by one `hanhtrinh bridge`, acknowledged after the log has it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import aiomqtt
from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.measure import Figure, Report, at_least
from benchmarks.programs import Program, hanhtrinh
from benchmarks.servers import Servers
from benchmarks.workload import PARTITIONS, calm_morning, make_topic
from ingest.publisher import Broker, Publisher
from ingest.raw import RawMessage
from ingest.recordings.messages import OutMessage

_POLL_S = 0.02
_PATIENCE_S = 180
_WARM_SHARE = 0.1


class Speed(NamedTuple):
    """What the bridge needed for the messages after the first tenth."""

    messages: int
    wall_s: float
    cpu_s: float


def run(servers: Servers, *, quick: bool) -> Report:
    """The messages wait in the broker's queue of a persistent session, so that no publisher takes part in it."""
    vehicles, minutes, repeats = (100, 5, 1) if quick else (2_000, 8, 5)
    messages = [message for _, message in calm_morning(vehicles, minutes).messages]
    speeds = [measure(servers, messages) for _ in range(repeats)]
    return Report(
        "bridge",
        "Mosquitto to Kafka, QoS 1, acknowledged after the log has it, one bridge process",
        sizes={"messages": len(messages), "vehicles": vehicles, "partitions": PARTITIONS, "runs": repeats},
        figures=[
            Figure("by the clock", "messages/s", [each.messages / each.wall_s for each in speeds], at_least(8_000)),
            Figure("per bridge core", "messages/s", [each.messages / each.cpu_s for each in speeds], at_least(8_000)),
            Figure("CPU", "us/message", [each.cpu_s / each.messages * 1e6 for each in speeds]),
        ],
        notes=["the broker's window is 1,000 messages as in the deployment; its default of 20 is slower"],
    )


def measure(servers: Servers, messages: Sequence[RawMessage]) -> Speed:
    """One new bridge, one new topic."""
    return asyncio.run(_measure(servers, messages))


async def _measure(servers: Servers, messages: Sequence[RawMessage]) -> Speed:
    broker, kafka = servers.mosquitto, servers.kafka
    client_id, topic = f"bench-{uuid4().hex[:8]}", kafka.topic("bridge")
    await make_topic(kafka.bootstrap, topic)
    # The session is made before the bridge comes: from then on the broker keeps its messages.
    async with aiomqtt.Client(broker.host, broker.port, identifier=client_id, clean_session=False) as session:
        await session.subscribe("hanhtrinh/+", qos=1)
    await Publisher(Broker(broker.host, broker.port)).publish(_outgoing(messages))
    settings = {
        "log": "kafka",
        "kafka_bootstrap": kafka.bootstrap,
        "kafka_topic": topic,
        "log_partitions": PARTITIONS,
        "mqtt_host": broker.host,
        "mqtt_port": broker.port,
        "mqtt_client_id": client_id,
        "mqtt_topics": "hanhtrinh/+",
    }
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap)
    await consumer.start()
    try:
        folder: Path = servers.folder("bridge")
        with hanhtrinh(folder, "bridge", **settings) as bridge:
            begin = await _reached(consumer, topic, bridge, int(_WARM_SHARE * len(messages)))
            end = await _reached(consumer, topic, bridge, len(messages))
    finally:
        await consumer.stop()
    if end.messages != len(messages):
        raise AssertionError(f"{len(messages)} messages were queued, {end.messages} are in the log")
    return Speed(end.messages - begin.messages, end.wall_s - begin.wall_s, end.cpu_s - begin.cpu_s)


async def _outgoing(messages: Sequence[RawMessage]) -> AsyncIterator[OutMessage]:
    for message in messages:
        yield OutMessage(message.topic, message.payload, 1, None)


async def _reached(consumer: AIOKafkaConsumer, topic: str, bridge: Program, messages: int) -> Speed:
    """The moment at which so many messages are in the log, with the CPU used until then."""
    parts = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    deadline_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline_s:
        bridge.require_running()
        there = sum((await consumer.end_offsets(parts)).values())
        if there >= messages and there:
            return Speed(there, time.perf_counter(), bridge.cpu_s())
        await asyncio.sleep(_POLL_S)
    raise TimeoutError(f"{messages} messages did not reach the log within {_PATIENCE_S} s")
