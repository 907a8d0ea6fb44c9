"""The channels one by one, each with the real thing at its other end."""

from __future__ import annotations

import asyncio
import io
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import aiomqtt
import pytest
from aiokafka import AIOKafkaConsumer
from rich.console import Console

from alerts.alert import Alert, encode
from alerts.channel import Channel, DeliveryError
from alerts.kafka import KafkaChannel
from alerts.mqtt import MqttChannel
from alerts.terminal import TerminalChannel
from alerts.webhook import WebhookChannel
from hanhtrinh.channels import build_channels
from hanhtrinh.settings import load_settings
from tests.outbox_rows import speeding
from tests.services.kafka_server import Kafka
from tests.services.mosquitto import Mosquitto
from tests.webhook_receiver import Answer, WebhookReceiver, webhook_receiver

SECRET = b"road-1"


def alert(vehicle_id: str | None = "29B-12345", stage: str = "opened") -> Alert:
    event_at = datetime(2026, 10, 3, 3, 42, 31, tzinfo=UTC)
    return Alert(f"v1:{stage}", stage, event_at, vehicle_id, speeding("v1", vehicle_id))


@asynccontextmanager
async def closing(channel: Channel) -> AsyncIterator[Channel]:
    try:
        yield channel
    finally:
        await channel.close()


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with webhook_receiver() as receiver:
        yield receiver


def test_the_json_is_the_documented_one() -> None:
    assert json.loads(encode(alert())) == {
        "alert_id": "v1:opened",
        "stage": "opened",
        "event_at": "2026-10-03T03:42:31Z",
        "violation": speeding("v1", "29B-12345"),
    }


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 422, 429, 500, 503])
async def test_a_webhook_answer_that_is_not_2xx_is_a_failure_to_be_tried_again(
    receiver: WebhookReceiver, status: int
) -> None:
    receiver.answer = lambda request: Answer(status, (("Location", receiver.url), ("Retry-After", "7")))
    async with closing(WebhookChannel(receiver.url, SECRET)) as channel:
        with pytest.raises(DeliveryError, match=f"HTTP {status}") as refused:
            await channel.send(alert())
    assert (refused.value.permanent, refused.value.retry_after_s) == (False, 7.0)
    assert len(receiver.requests) == 1


async def test_a_webhook_that_nobody_answers_is_a_failure_to_be_tried_again() -> None:
    async with closing(WebhookChannel("http://127.0.0.1:1/alerts", SECRET)) as channel:
        with pytest.raises(DeliveryError, match="ConnectError") as refused:
            await channel.send(alert())
    assert not refused.value.permanent


async def test_mqtt_publishes_below_the_topic_under_the_vehicle(mosquitto: Mosquitto) -> None:
    async with (
        aiomqtt.Client(mosquitto.host, mosquitto.port) as listener,
        closing(MqttChannel(mosquitto.host, mosquitto.port, "office/alerts/")) as channel,
    ):
        await listener.subscribe("office/alerts/#", qos=1)
        for vehicle_id in ("29B-12345", "a/b+c#d%e", "Đà Nẵng", None):
            await channel.send(alert(vehicle_id))
        messages = [await asyncio.wait_for(anext(listener.messages), 5) for _ in range(4)]
    assert [str(message.topic) for message in messages] == [
        "office/alerts/29B-12345",
        "office/alerts/a%2Fb%2Bc%23d%25e",
        "office/alerts/Đà Nẵng",
        "office/alerts/-",
    ]
    assert messages[0].payload == encode(alert())
    assert {(message.qos, message.retain) for message in messages} == {(1, False)}


async def test_mqtt_connects_again_after_the_broker_was_killed(mosquitto: Mosquitto) -> None:
    async with closing(MqttChannel(mosquitto.host, mosquitto.port, "office/alerts", timeout_s=1.0)) as channel:
        await channel.send(alert())
        mosquitto.kill()
        try:
            with pytest.raises(DeliveryError):
                await channel.send(alert())
        finally:
            await asyncio.to_thread(mosquitto.start)
        async with aiomqtt.Client(mosquitto.host, mosquitto.port) as listener:
            await listener.subscribe("office/alerts/+", qos=1)
            await channel.send(alert(stage="closed"))
            message = await asyncio.wait_for(anext(listener.messages), 5)
    assert json.loads(bytes(message.payload))["alert_id"] == "v1:closed"


async def test_mqtt_sends_many_alerts_at_once_over_one_connection(mosquitto: Mosquitto) -> None:
    async with (
        aiomqtt.Client(mosquitto.host, mosquitto.port) as listener,
        closing(MqttChannel(mosquitto.host, mosquitto.port, "office/alerts")) as channel,
    ):
        await listener.subscribe("office/alerts/+", qos=1)
        await asyncio.gather(*(channel.send(alert(f"vehicle {n}")) for n in range(50)))
        topics = {str((await asyncio.wait_for(anext(listener.messages), 5)).topic) for _ in range(50)}
    assert topics == {f"office/alerts/vehicle {n}" for n in range(50)}


async def test_mqtt_uses_user_and_password(mosquitto: Mosquitto) -> None:
    async def send(password: str) -> None:
        channel = MqttChannel(
            mosquitto.host, mosquitto.password_port, "office/alerts", username=mosquitto.username, password=password
        )
        async with closing(channel):
            await channel.send(alert())

    await send(mosquitto.password)
    with pytest.raises(DeliveryError, match="Not authorized"):
        await send("wrong")


# The client library leaves the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_mqtt_refuses_a_broker_without_the_tls_that_was_asked_for(mosquitto: Mosquitto) -> None:
    tls = ssl.create_default_context()
    async with closing(MqttChannel(mosquitto.host, mosquitto.port, "office/alerts", tls=tls, timeout_s=1.0)) as channel:
        with pytest.raises(DeliveryError):
            await channel.send(alert())


async def read_records(kafka: Kafka, topic: str, n: int) -> list[Any]:
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        return [await asyncio.wait_for(consumer.getone(), 20) for _ in range(n)]
    finally:
        await consumer.stop()


async def test_kafka_makes_the_topic_and_appends_keyed_by_vehicle(kafka: Kafka) -> None:
    topic = kafka.topic("alerts")
    async with closing(KafkaChannel(kafka.bootstrap, topic, partitions=3)) as channel:
        await channel.send(alert())
        await channel.send(alert(stage="closed"))
        await channel.send(alert(vehicle_id=None))
    records = await read_records(kafka, topic, 3)
    of_vehicle = [record for record in records if record.key == b"29B-12345"]
    assert [json.loads(record.value)["alert_id"] for record in of_vehicle] == ["v1:opened", "v1:closed"]
    assert of_vehicle[0].value == encode(alert())
    assert of_vehicle[0].headers == (("alert_id", b"v1:opened"),)
    assert sorted(record.key or b"" for record in records) == [b"", b"29B-12345", b"29B-12345"]


async def test_kafka_goes_on_after_the_broker_was_killed(kafka: Kafka) -> None:
    topic = kafka.topic("alerts")
    async with closing(KafkaChannel(kafka.bootstrap, topic, timeout_s=2.0)) as channel:
        await channel.send(alert())
        kafka.kill()
        try:
            with pytest.raises(DeliveryError, match=topic):
                await channel.send(alert(stage="closed"))
        finally:
            await asyncio.to_thread(kafka.start)
        for _ in range(20):
            if await was_taken(channel, alert(stage="closed")):
                break
            await asyncio.sleep(0.5)
    ids = [json.loads(record.value)["alert_id"] for record in await read_records(kafka, topic, 2)]
    assert ids == ["v1:opened", "v1:closed"]


async def was_taken(channel: Channel, what: Alert) -> bool:
    try:
        await channel.send(what)
    except DeliveryError:
        return False
    return True


async def test_kafka_that_is_not_there_is_a_failure_to_be_tried_again() -> None:
    async with closing(KafkaChannel("127.0.0.1:1", "alerts", timeout_s=1.0)) as channel:
        with pytest.raises(DeliveryError, match=r"127\.0\.0\.1:1"):
            await channel.send(alert())


async def test_kafka_refuses_an_alert_that_is_too_large_for_good(kafka: Kafka) -> None:
    huge = alert()._replace(violation={"evidence": "x" * 1_100_000})
    async with closing(KafkaChannel(kafka.bootstrap, kafka.topic("alerts"))) as channel:
        with pytest.raises(DeliveryError, match="too large") as refused:
            await channel.send(huge)
    assert refused.value.permanent


async def test_the_terminal_gets_one_line_whatever_the_vehicle_is_called() -> None:
    screen = io.StringIO()
    channel = TerminalChannel(Console(file=screen, width=40))
    await channel.send(alert("[red]\x1b[2J\nX[/]"))
    assert screen.getvalue().count("\n") == 1
    assert "[red]?[2J?X[/]" in screen.getvalue()
    assert "\x1b" not in screen.getvalue()


async def test_the_settings_decide_which_channels_there_are() -> None:
    assert build_channels(load_settings()) == []
    channels = build_channels(
        load_settings(
            alert_terminal=True,
            alert_webhook_url="http://127.0.0.1:1/alerts",
            alert_webhook_secret="s",
            alert_mqtt_topic="alerts",
            alert_kafka_topic="alerts",
        )
    )
    assert [channel.name for channel in channels] == ["terminal", "webhook", "mqtt", "kafka"]
    for channel in channels:
        await channel.close()
