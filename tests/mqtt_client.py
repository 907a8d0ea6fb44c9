"""A plain MQTT publisher for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import aiomqtt


async def publish(port: int, messages: Iterable[tuple[str, bytes]], *, qos: int = 1, retain: bool = False) -> None:
    """Publish all, in order; returns when the broker has acknowledged them."""
    async with aiomqtt.Client("127.0.0.1", port, max_inflight_messages=500) as client:
        client.pending_calls_threshold = 1_000
        group: list[tuple[str, bytes]] = []
        for message in messages:
            group.append(message)
            if len(group) == 500:
                await _publish(client, group, qos, retain)
                group = []
        await _publish(client, group, qos, retain)


async def _publish(client: aiomqtt.Client, group: list[tuple[str, bytes]], qos: int, retain: bool) -> None:
    await asyncio.gather(*(client.publish(topic, payload, qos=qos, retain=retain) for topic, payload in group))
