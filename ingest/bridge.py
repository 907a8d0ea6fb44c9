"""The bridge: MQTT to the log. It parses nothing but the topic, so no payload can block it.

A message is acknowledged to the broker only when the log has it, in the order of arrival, on the connection it came
from. While the log is away nothing is acknowledged: the window fills up and the broker keeps the rest. A crash
between log and acknowledgement brings the message twice; the worker recognises it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from ingest.log import LogError
from ingest.mqtt import MqttLost, MqttSession, Received
from ingest.raw import RawMessage

_BATCH_MESSAGES = 500
_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 30.0
_SETTLED_AFTER_S = 30.0

log = logging.getLogger(__name__)


class BatchWriter(Protocol):
    """The part of a log's writer that the bridge uses."""

    async def append_many(self, messages: Sequence[tuple[str, RawMessage]]) -> None:
        """Return only when all are durable, in order by device; LogError otherwise."""
        ...


class BridgeCounters(Protocol):
    """What the bridge counts, once per batch."""

    def received(self, n: int) -> None: ...
    def appended(self, n: int) -> None: ...
    def refused(self, reason: str, n: int) -> None: ...
    def reconnected(self) -> None: ...


class Bridge:
    """Carries messages until told to stop. `log` is open already and stays open.

    A log that fails is tried again in place for `log_deadline_s`; then the bridge reconnects to MQTT as well, and goes
    on trying for ever, from `first_wait_s` between tries up to half a minute.
    """

    def __init__(
        self,
        mqtt: MqttSession,
        log: BatchWriter,
        device_id: Callable[[str], str | None],
        max_message_bytes: int,
        metrics: BridgeCounters,
        *,
        log_deadline_s: float = 60.0,
        first_wait_s: float = _FIRST_WAIT_S,
    ) -> None:
        self._mqtt = mqtt
        self._log = log
        self._device_id = device_id
        self._max_message_bytes = max_message_bytes
        self._metrics = metrics
        self._log_deadline_s = log_deadline_s
        self._first_wait_s = first_wait_s
        self._trouble: str | None = "not connected to the MQTT broker yet"

    @property
    def trouble(self) -> str | None:
        """Why nothing is carried right now; None while all is well."""
        return self._trouble

    async def run(self, stop: asyncio.Event) -> None:
        """Carry messages until `stop`; what was taken by then is finished or left to the broker, unacknowledged."""
        waking = asyncio.create_task(self._wake_at(stop))
        wait_s = self._first_wait_s
        try:
            while not stop.is_set():
                started = time.monotonic()
                try:
                    await self._mqtt.connect()
                    self._trouble = None
                    log.info("bridge connected")
                    await self._carry(stop)
                except (MqttLost, LogError) as error:
                    self._trouble = str(error)
                    log.warning("bridge interrupted error=%s", error)
                    self._metrics.reconnected()
                if time.monotonic() - started > _SETTLED_AFTER_S:
                    wait_s = self._first_wait_s
                wait_s = await _pause(wait_s, stop)
        finally:
            waking.cancel()
            await self._mqtt.close()

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._mqtt.wake()

    async def _carry(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            received = await self._mqtt.messages(_BATCH_MESSAGES)
            self._metrics.received(len(received))
            messages = self._keyed(received)
            if await self._append(messages, stop):
                self._mqtt.ack(received)
                self._metrics.appended(len(messages))

    def _keyed(self, received: Sequence[Received]) -> list[tuple[str, RawMessage]]:
        """The messages to append with their keys; those too large are counted and left out."""
        messages = []
        for message, *_ in received:
            if len(message.payload) > self._max_message_bytes:
                self._metrics.refused("too_large", 1)
                log.warning(
                    "message refused reason=too_large topic=%r bytes=%d limit=%d",
                    message.topic,
                    len(message.payload),
                    self._max_message_bytes,
                )
            else:
                messages.append((self._device_id(message.topic) or message.topic, message))
        return messages

    async def _append(self, messages: Sequence[tuple[str, RawMessage]], stop: asyncio.Event) -> bool:
        """Whether the log has them: False when stopped before. LogError after the deadline."""
        deadline = time.monotonic() + self._log_deadline_s
        wait_s = self._first_wait_s
        while messages:
            try:
                await self._log.append_many(messages)
                self._trouble = None
                return True
            except LogError as error:
                self._trouble = str(error)
                log.warning("log refused messages=%d error=%s", len(messages), error)
                if stop.is_set():
                    return False
                if time.monotonic() > deadline:
                    raise
            wait_s = await _pause(wait_s, stop)
        return True


async def _pause(wait_s: float, stop: asyncio.Event) -> float:
    """Wait about that long, or until `stop`; the next wait. Jitter keeps many bridges from knocking together."""
    if not stop.is_set():
        try:
            async with asyncio.timeout(wait_s * random.uniform(0.5, 1.0)):
                await stop.wait()
        except TimeoutError:
            pass
    return min(wait_s * 2, _LONGEST_WAIT_S)
