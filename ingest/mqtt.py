"""One MQTT session with acknowledgement in our own hands.

aiomqtt acknowledges a message before we see it. Its paho client can leave that to us, and this class is the only
place that reaches through to it: manual acknowledgement, and a callback that takes messages without a task each.
MQTT 3.1.1, because version 5 costs three times the CPU; a persistent session, or QoS 1 means nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import aiomqtt
from paho.mqtt.client import MQTTMessage

from ingest.mqtt_reader import SocketReader
from ingest.raw import RawMessage

_KEEPALIVE_S = 30
_MAX_WAITING_MESSAGES = 20_000

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MqttOptions:
    """Where and how to connect. `client_id` is unique per bridge and stable: the broker keeps its queue under it."""

    host: str
    port: int
    client_id: str
    topics: Sequence[str]
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    ca_file: Path | None = None


class MqttLost(Exception):
    """The broker refused us, or the connection is gone; another `connect` may help."""


class Received(NamedTuple):
    """A message and what it takes to acknowledge it."""

    message: RawMessage
    connection: int
    packet_id: int
    qos: int


class MqttSession:
    """connect, messages, ack, close; `connect` again after MqttLost. Not for use by two tasks at once."""

    def __init__(self, options: MqttOptions) -> None:
        self._options = options
        self._client: aiomqtt.Client | None = None
        self._connection = 0
        self._waiting: list[Received] = []
        self._woken = asyncio.Event()
        self._reader: SocketReader | None = None

    async def connect(self) -> None:
        """Connect and subscribe at QoS 1. MqttLost says why it did not work."""
        await self.close()
        self._connection += 1
        self._waiting = []
        client = self._new_client()
        try:
            await client.__aenter__()
            self._client = client
            client._disconnected.add_done_callback(self._on_disconnected)
            self._reader = SocketReader(client)
            granted = await client.subscribe([(topic, 1) for topic in self._options.topics])
        except (aiomqtt.MqttError, OSError) as error:
            await self.close()
            where = f"{self._options.host}:{self._options.port}"
            raise MqttLost(f"cannot connect to MQTT broker {where}: {error}") from error
        for topic, code in zip(self._options.topics, granted, strict=True):
            if getattr(code, "is_failure", False):
                await self.close()
                raise MqttLost(f"the MQTT broker refuses the subscription to {topic}: {code}")

    async def messages(self, max_messages: int) -> list[Received]:
        """What has arrived, in order, at least one; [] after `wake`. MqttLost when the connection is gone."""
        while not self._waiting:
            client = self._client
            if client is None or client._disconnected.done():
                raise MqttLost("the connection to the MQTT broker is gone")
            self._woken.clear()
            await self._woken.wait()
            if not self._waiting and not client._disconnected.done():
                return []
        taken, self._waiting = self._waiting[:max_messages], self._waiting[max_messages:]
        if self._reader is not None and len(self._waiting) < _MAX_WAITING_MESSAGES // 2:
            self._reader.resume()
        return taken

    def ack(self, received: Iterable[Received]) -> None:
        """Acknowledge, in the order of arrival. Messages of an earlier connection are passed over: their packet ids
        mean something else now, and the broker sends them again."""
        client = self._client
        if client is None:
            return
        for _, connection, packet_id, qos in received:
            if qos and connection == self._connection:
                client._client.ack(packet_id, qos)

    def wake(self) -> None:
        """Make a waiting `messages` return."""
        self._woken.set()

    async def close(self) -> None:
        """Disconnect; the broker keeps the session and everything not acknowledged."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(aiomqtt.MqttError, OSError):
                await client.__aexit__(None, None, None)

    def _new_client(self) -> aiomqtt.Client:
        options = self._options
        client = aiomqtt.Client(
            options.host,
            options.port,
            identifier=options.client_id,
            username=options.username,
            password=options.password,
            tls_context=ssl.create_default_context(cafile=options.ca_file) if options.tls else None,
            protocol=aiomqtt.ProtocolVersion.V311,
            clean_session=False,
            keepalive=_KEEPALIVE_S,
        )
        # Before connecting: a persistent session sends what it kept right after the handshake.
        client._client.manual_ack_set(True)
        client._client.on_message = self._on_message
        client._client.on_disconnect = partial(_on_disconnect, client)
        return client

    def _on_message(self, _client: object, _userdata: object, message: MQTTMessage) -> None:
        raw = RawMessage(message.topic, bytes(message.payload), time.time_ns() // 1_000, bool(message.retain))
        self._waiting.append(Received(raw, self._connection, message.mid, message.qos))
        if not self._woken.is_set():
            self._woken.set()
        # The broker's window bounds QoS 1; what is published at QoS 0 has no window but the socket.
        if len(self._waiting) >= _MAX_WAITING_MESSAGES and self._reader is not None:
            self._reader.pause()

    def _on_disconnected(self, disconnected: asyncio.Future[None]) -> None:
        if not disconnected.cancelled() and (error := disconnected.exception()) is not None:
            log.debug("mqtt disconnected error=%s", error)
        self._woken.set()


def _on_disconnect(client: aiomqtt.Client, *reason: Any) -> None:
    """Before the handshake aiomqtt takes no notice of a lost connection and waits its ten seconds to the end."""
    if not client._connected.done():
        client._connected.set_exception(aiomqtt.MqttError("the connection was closed before the broker answered"))
    client._on_disconnect(*reason)
