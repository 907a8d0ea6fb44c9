"""Publishing many messages over MQTT: QoS 1, a wide window, in order, at a chosen pace."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterable, Callable
from typing import NamedTuple, Protocol

import aiomqtt

from ingest.recordings.messages import OutMessage

WINDOW = 250
"""Messages under way at once: aiomqtt's cost per publish grows with it, the broker's round trip shrinks."""


class MqttError(Exception):
    """Publishing ended early; the message says how far it came."""


class Broker(NamedTuple):
    """Where and as whom to publish."""

    host: str
    port: int
    username: str | None = None
    password: str | None = None
    tls: ssl.SSLContext | None = None


class Pace(Protocol):
    """Decides when the next message may leave."""

    async def wait(self, message: OutMessage) -> None: ...


class FlatOut:
    """As fast as the broker takes them."""

    async def wait(self, message: OutMessage) -> None:
        """Never waits."""


class AtRate:
    """So many messages per second."""

    def __init__(self, per_second: float, clock: Callable[[], float]) -> None:
        self._per_second = per_second
        self._clock = clock
        self._start: float | None = None
        self._sent = 0

    async def wait(self, message: OutMessage) -> None:
        """Until the message's turn."""
        if self._start is None:
            self._start = self._clock()
        await _sleep_until(self._start + self._sent / self._per_second, self._clock)
        self._sent += 1


class InStep:
    """As the recording went, `factor` times as fast; what is older than its predecessor leaves at once."""

    def __init__(self, factor: float, clock: Callable[[], float]) -> None:
        self._factor = factor
        self._clock = clock
        self._start: float | None = None
        self._first_us = 0

    async def wait(self, message: OutMessage) -> None:
        """Until the message's time has come."""
        if message.time_us is None:
            return
        if self._start is None:
            self._start, self._first_us = self._clock(), message.time_us
        await _sleep_until(self._start + (message.time_us - self._first_us) / 1e6 / self._factor, self._clock)


class Publisher:
    """One connection to a broker."""

    def __init__(self, broker: Broker, window: int = WINDOW) -> None:
        self._broker = broker
        self._window = window

    async def publish(
        self,
        messages: AsyncIterable[OutMessage],
        pace: Pace | None = None,
        acknowledged: Callable[[OutMessage], None] | None = None,
    ) -> int:
        """Publish all, in order, and return how many the broker acknowledged (all). MqttError when it cannot."""
        pace = pace or FlatOut()
        window = asyncio.Semaphore(self._window)
        done = 0

        async def one(client: aiomqtt.Client, message: OutMessage) -> None:
            nonlocal done
            try:
                await client.publish(message.topic, message.payload, qos=1)
            finally:
                window.release()
            done += 1
            if acknowledged is not None:
                acknowledged(message)

        try:
            async with self._client() as client, asyncio.TaskGroup() as group:
                client.pending_calls_threshold = self._window
                async for message in messages:
                    await pace.wait(message)
                    await window.acquire()
                    group.create_task(one(client, message))
        except (aiomqtt.MqttError, BaseExceptionGroup) as error:
            cause = _first(error)
            if not isinstance(cause, aiomqtt.MqttError):
                raise cause from None
            where = f"{self._broker.host}:{self._broker.port}"
            raise MqttError(f"MQTT broker {where}: {cause}; {done} messages were acknowledged before") from None
        return done

    def _client(self) -> aiomqtt.Client:
        return aiomqtt.Client(
            self._broker.host,
            self._broker.port,
            username=self._broker.username,
            password=self._broker.password,
            tls_context=self._broker.tls,
            protocol=aiomqtt.ProtocolVersion.V311,
            max_inflight_messages=self._window,
            timeout=30,
        )


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


async def _sleep_until(moment: float, clock: Callable[[], float]) -> None:
    delay = moment - clock()
    if delay > 0:
        await asyncio.sleep(delay)
