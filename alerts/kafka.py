"""Alerts as Kafka records, for other systems."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, TopicAlreadyExistsError, for_code

from alerts.alert import Alert, encode
from alerts.channel import DeliveryError

logger = logging.getLogger(__name__)


class KafkaChannel:
    """Appends each alert to `topic` with the vehicle id as key; delivered when all in-sync replicas have it.

    The topic is made when it is missing and we may. `client_options` are aiokafka's security arguments
    (security_protocol, ssl_context, sasl_...). The producer is not idempotent: with idempotence aiokafka tries a
    batch for ever, and repeats are recognised by the alert's id anyway.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        *,
        partitions: int = 1,
        replication: int = 1,
        client_options: Mapping[str, Any] | None = None,
        timeout_s: float = 5.0,
        name: str = "kafka",
    ) -> None:
        self.name = name
        self._bootstrap = bootstrap
        self._topic = topic
        self._partitions = partitions
        self._replication = replication
        self._options = {
            **(client_options or {}),
            "bootstrap_servers": bootstrap,
            "request_timeout_ms": int(timeout_s * 1000),
        }
        self._connecting = asyncio.Lock()
        self._producer: AIOKafkaProducer | None = None

    async def send(self, alert: Alert) -> None:
        """Returns after the brokers' acknowledgement."""
        key = alert.vehicle_id.encode() if alert.vehicle_id is not None else None
        try:
            producer = await self._connected()
            await producer.send_and_wait(
                self._topic, encode(alert), key=key, headers=[("alert_id", alert.alert_id.encode())]
            )
        except MessageSizeTooLargeError as error:
            raise DeliveryError(f"too large for Kafka: {error}", permanent=True) from error
        except KafkaError as error:
            raise DeliveryError(f"Kafka {self._bootstrap} topic {self._topic}: {error!r}") from error

    async def close(self) -> None:
        """Disconnect from the brokers."""
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None

    async def _connected(self) -> AIOKafkaProducer:
        async with self._connecting:
            if self._producer is None:
                await self._make_topic()
                producer = AIOKafkaProducer(acks="all", **self._options)
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer

    async def _make_topic(self) -> None:
        admin = AIOKafkaAdminClient(**self._options)
        try:
            await admin.start()
            wanted = NewTopic(self._topic, num_partitions=self._partitions, replication_factor=self._replication)
            answer = await admin.create_topics([wanted])
            # Without the right to make topics the record may still be welcome; sending will tell.
            for _, code, *_ in answer.topic_errors:
                if code and for_code(code) is not TopicAlreadyExistsError:
                    logger.warning("alert topic not made topic=%s error=%s", self._topic, for_code(code).__name__)
        finally:
            await admin.close()
