"""The MQTT session on a real Mosquitto: acknowledgement is ours, and what we reach through to is still there."""

from __future__ import annotations

import asyncio
import os
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import aiomqtt
import pytest

from ingest import mqtt as mqtt_module
from ingest.mqtt import MqttLost, MqttOptions, MqttSession, Received
from tests.mqtt_client import publish
from tests.services.mosquitto import Mosquitto
from tests.services.process import ServerProcess, accepts, free_port, program


class Place:
    """Topics and a client id that no other test uses."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.root = f"t{uuid.uuid4().hex[:12]}"
        self.options = MqttOptions("127.0.0.1", port, f"bridge-{self.root}", [f"{self.root}/#"])

    def numbered(self, *numbers: int) -> list[tuple[str, bytes]]:
        return [(f"{self.root}/{number % 3}", str(number).encode()) for number in numbers]


@pytest.fixture
def place(mosquitto: Mosquitto) -> Place:
    return Place(mosquitto.port)


@pytest.fixture
async def session(place: Place) -> AsyncIterator[MqttSession]:
    session = MqttSession(place.options)
    yield session
    await session.close()


async def take(session: MqttSession, count: int, within_s: float = 20.0) -> list[Received]:
    received: list[Received] = []
    async with asyncio.timeout(within_s):
        while len(received) < count:
            received += await session.messages(1_000)
    return received


def numbers(received: list[Received]) -> list[int]:
    return [int(one.message.payload) for one in received]


def test_the_private_names_we_reach_through_to_are_there() -> None:
    assert callable(aiomqtt.Client._on_socket_open)

    async def look() -> None:
        client = aiomqtt.Client("localhost")
        assert isinstance(client._disconnected, asyncio.Future)
        assert callable(client._client.manual_ack_set)
        assert callable(client._client.ack)
        assert client._client._sock is None

    asyncio.run(look())


async def test_only_what_was_not_acknowledged_comes_again_and_in_order(place: Place, session: MqttSession) -> None:
    await session.connect()
    await publish(place.port, place.numbered(*range(1, 6)))
    received = await take(session, 5)
    assert numbers(received) == [1, 2, 3, 4, 5]
    session.ack(received[:2])
    await session.connect()
    assert numbers(await take(session, 3)) == [3, 4, 5]


async def test_an_acknowledgement_for_an_earlier_connection_acknowledges_nothing(
    place: Place, session: MqttSession
) -> None:
    await session.connect()
    await publish(place.port, place.numbered(1, 2, 3))
    old = await take(session, 3)
    await session.connect()
    assert numbers(await take(session, 3)) == [1, 2, 3]
    session.ack(old)
    await session.connect()
    assert numbers(await take(session, 3)) == [1, 2, 3]


async def test_the_broker_keeps_messages_while_we_are_away(place: Place, session: MqttSession) -> None:
    await session.connect()
    await session.close()
    await publish(place.port, place.numbered(*range(3_000)))
    await session.connect()
    received: list[Received] = []
    while len(received) < 3_000:
        part = await take(session, 1)
        session.ack(part)
        received += part
    assert numbers(received) == list(range(3_000))


async def test_large_and_small_messages_arrive_as_they_were_sent(place: Place, session: MqttSession) -> None:
    await session.connect()
    sent = [
        (f"{place.root}/xe-số-{n}", bytes([n]) * size) for n, size in enumerate([0, 1, 127, 128, 300_000, 65_536, 3])
    ]
    await publish(place.port, sent)
    received = await take(session, len(sent))
    assert [(one.message.topic, one.message.payload) for one in received] == sent
    assert all(type(one.message.payload) is bytes for one in received)


async def test_retained_messages_are_marked(place: Place, session: MqttSession) -> None:
    await publish(place.port, place.numbered(1), retain=True)
    await session.connect()
    await publish(place.port, place.numbered(2))
    received = await take(session, 2)
    assert [(int(one.message.payload), one.message.retained) for one in received] == [(1, True), (2, False)]


async def test_a_lost_broker_ends_the_wait_for_messages(services_home: Path) -> None:
    server = Mosquitto(services_home / uuid.uuid4().hex)
    server.start()
    session = MqttSession(Place(server.port).options)
    try:
        await session.connect()
        waiting = asyncio.create_task(session.messages(10))
        await asyncio.sleep(0.1)
        server.kill()
        with pytest.raises(MqttLost, match="gone"):
            await asyncio.wait_for(waiting, 10)
        with pytest.raises(MqttLost, match=rf"127\.0\.0\.1:{server.port}"):
            await session.connect()
    finally:
        await session.close()
        server.stop()


async def test_a_broker_that_hangs_up_before_it_answers_is_known_at_once(place: Place) -> None:
    def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    port = free_port()
    async with await asyncio.start_server(hang_up, "127.0.0.1", port):
        session = MqttSession(replace(place.options, port=port))
        with pytest.raises(MqttLost, match="closed before the broker answered"):
            await session.connect()
        await session.close()


async def test_wake_ends_a_wait_without_messages(place: Place, session: MqttSession) -> None:
    await session.connect()
    waiting = asyncio.create_task(session.messages(10))
    await asyncio.sleep(0.1)
    session.wake()
    assert await asyncio.wait_for(waiting, 5) == []


async def test_a_flood_without_acknowledgements_slows_the_socket_and_loses_nothing(
    place: Place, session: MqttSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt_module, "_MAX_WAITING_MESSAGES", 100)
    await session.connect()
    await publish(place.port, ((f"{place.root}/a", b"%d" % n + b" " * 1_000) for n in range(5_000)), qos=0)
    await asyncio.sleep(0.5)
    assert len(session._waiting) < 200
    assert numbers(await take(session, 5_000)) == list(range(5_000))


async def test_the_password_decides(mosquitto: Mosquitto) -> None:
    def options(password: str) -> MqttOptions:
        return MqttOptions("127.0.0.1", mosquitto.password_port, "guarded", ["a/#"], mosquitto.username, password)

    refused = MqttSession(options("wrong"))
    with pytest.raises(MqttLost, match="cannot connect"):
        await refused.connect()
    session = MqttSession(options(mosquitto.password))
    await session.connect()
    await session.close()
    assert mosquitto.password not in repr(options(mosquitto.password))


class TlsBroker:
    """A Mosquitto whose certificate is its own authority; `other_ca` is somebody else's."""

    def __init__(self, home: Path) -> None:
        home.mkdir()
        self.ca = _certificate(home, "broker")
        self.other_ca = _certificate(home, "other")
        self.port = free_port()
        configuration = home / "mosquitto.conf"
        configuration.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\ncertfile {self.ca}\nkeyfile {home}/broker.key\n"
            f"user {'root' if os.geteuid() == 0 else 'nobody'}\n"
        )
        command = [program("mosquitto", "mosquitto", "/usr/sbin/mosquitto"), "-c", str(configuration)]
        self.process = ServerProcess("mosquitto", command, home / "log", os.environ)

    def session(self, ca_file: Path) -> MqttSession:
        return MqttSession(MqttOptions("localhost", self.port, "tls", ["a/#"], tls=True, ca_file=ca_file))


@pytest.fixture
def tls_broker(services_home: Path) -> Iterator[TlsBroker]:
    broker = TlsBroker(services_home / uuid.uuid4().hex)
    broker.process.start(lambda: accepts(broker.port))
    yield broker
    broker.process.stop()


async def test_messages_come_over_tls(tls_broker: TlsBroker) -> None:
    session = tls_broker.session(tls_broker.ca)
    await session.connect()
    trust = aiomqtt.TLSParameters(ca_certs=str(tls_broker.ca))
    async with aiomqtt.Client("localhost", tls_broker.port, tls_params=trust) as sender:
        for size in (1, 100_000, 20):
            await sender.publish("a/b", b"x" * size, qos=1)
    received = await take(session, 3)
    assert [len(one.message.payload) for one in received] == [1, 100_000, 20]
    await session.close()


# paho leaves the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket")
async def test_a_broker_of_another_authority_is_not_trusted(tls_broker: TlsBroker) -> None:
    with pytest.raises(MqttLost, match="CERTIFICATE_VERIFY_FAILED"):
        await tls_broker.session(tls_broker.other_ca).connect()


def _certificate(home: Path, name: str) -> Path:
    """A certificate for localhost that signs itself."""
    path = home / f"{name}.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    key = ["-newkey", "rsa:2048", "-nodes", "-keyout", str(home / f"{name}.key"), "-out", str(path)]
    openssl = program("openssl", "openssl")
    subprocess.run([openssl, "req", "-x509", "-days", "2", *key, *subject], check=True, capture_output=True)
    return path
