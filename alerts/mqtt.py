"""Alerts as MQTT messages, for screens in the control room and in vehicles."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress

import aiomqtt

from alerts.alert import Alert, encode
from alerts.channel import DeliveryError

_NO_VEHICLE = "-"


class MqttChannel:
    """Publishes each alert to `<topic>/<vehicle_id>` with QoS 1, not retained; delivered when the broker has it.

    In the topic `%`, `/`, `+` and `#` of a vehicle id are percent-encoded (they have a meaning there); the JSON has
    the id as it is. An alert without a vehicle goes to `<topic>/-`.
    """

    def __init__(
        self,
        host: str,
        port: int,
        topic: str,
        *,
        username: str | None = None,
        password: str | None = None,
        tls: ssl.SSLContext | None = None,
        timeout_s: float = 4.0,
        name: str = "mqtt",
    ) -> None:
        self.name = name
        self._host = host
        self._port = port
        self._topic = topic.rstrip("/")
        self._username = username
        self._password = password
        self._tls = tls
        self._timeout_s = timeout_s
        self._connecting = asyncio.Lock()
        self._client: aiomqtt.Client | None = None

    async def send(self, alert: Alert) -> None:
        """Returns after the broker's PUBACK."""
        client = None
        try:
            client = await self._connected()
            await client.publish(self._topic_of(alert), encode(alert), qos=1)
        except aiomqtt.MqttError as error:
            if client is not None:
                await self._drop(client)
            raise DeliveryError(f"broker {self._host}:{self._port}: {error}") from error

    async def close(self) -> None:
        """Say goodbye to the broker."""
        if self._client is not None:
            await self._drop(self._client)

    def _topic_of(self, alert: Alert) -> str:
        level = alert.vehicle_id or _NO_VEHICLE
        for character in "%/+#":
            level = level.replace(character, f"%{ord(character):02X}")
        return f"{self._topic}/{level}"

    async def _connected(self) -> aiomqtt.Client:
        async with self._connecting:
            if self._client is None:
                client = aiomqtt.Client(
                    self._host,
                    self._port,
                    username=self._username,
                    password=self._password,
                    tls_context=self._tls,
                    timeout=self._timeout_s,
                )
                # Several alerts wait for their PUBACK at once by design.
                client.pending_calls_threshold = 1000
                await client.__aenter__()
                self._client = client
            return self._client

    async def _drop(self, client: aiomqtt.Client) -> None:
        # Several alerts may find the same loss; the first of them cleans up.
        if self._client is client:
            self._client = None
            with suppress(aiomqtt.MqttError):
                await client.__aexit__(None, None, None)
