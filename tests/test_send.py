"""`send` and `simulate` against a real broker."""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest
from typer.testing import CliRunner

from hanhtrinh.cli import app
from ingest.formats import FormatRegistry
from ingest.publisher import AtRate, Broker, MqttError, Publisher
from ingest.raw import RawMessage
from ingest.recordings import ColumnMapping, Recording, RecordingError
from ingest.recordings.messages import OutMessage
from tests.services.mosquitto import Mosquitto

ROWS = 3_000


@pytest.fixture
def broker(mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch) -> Mosquitto:
    monkeypatch.setenv("HANHTRINH_MQTT_HOST", mosquitto.host)
    monkeypatch.setenv("HANHTRINH_MQTT_PORT", str(mosquitto.port))
    return mosquitto


@pytest.fixture
def day(tmp_path: Path) -> Path:
    """A recording of ten vehicles with one row in a hundred out of range."""
    path = tmp_path / "day.csv.gz"
    with gzip.open(path, "wt", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["vehicle_id", "timestamp", "latitude", "longitude", "speed"])
        for number in range(ROWS):
            moment = f"2026-03-02T{number // 600:02d}:{number // 10 % 60:02d}:{number % 10:02d}+07:00"
            lat = 91.0 if number % 100 == 50 else 21.0 + number / 1e5
            writer.writerow([f"send-{number % 10}", moment, lat, 105.8, number % 30 / 1.7])
    return path


@asynccontextmanager
async def listening(broker: Mosquitto, topic: str) -> AsyncIterator[Callable[[int], Awaitable[list[RawMessage]]]]:
    async with aiomqtt.Client(broker.host, broker.port) as client:
        await client.subscribe(topic, qos=1)

        async def receive(count: int) -> list[RawMessage]:
            received: list[RawMessage] = []
            async with asyncio.timeout(30):
                async for message in client.messages:
                    assert isinstance(message.payload, bytes)
                    received.append(RawMessage(message.topic.value, message.payload, 0))
                    if len(received) == count:
                        return received
            return received

        yield receive


async def run_command(*arguments: str) -> tuple[int, str]:
    result = await asyncio.to_thread(CliRunner().invoke, app, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


async def test_every_row_arrives_once_and_in_order(broker: Mosquitto, day: Path) -> None:
    async with listening(broker, "hanhtrinh/+") as receive:
        code, output = await run_command("send", str(day), "--speed-unit", "ms", "--json")
        received = await receive(ROWS)
    summary = json.loads(output)
    assert code == 0
    assert (summary["messages"], summary["fixes"], summary["unusable"]) == (ROWS, ROWS - 30, 30)
    registry = FormatRegistry()
    decoded = [registry.decode(message) for message in received]
    recording = Recording(day, ColumnMapping.parse(speed_unit="ms"))
    expected = [fix for chunk in recording.chunks() for fix in chunk.fixes(recording.vehicles, recording.drivers)]
    assert [fix for each in decoded for fix in each.fixes] == expected
    assert [reject.reason for each in decoded for reject in each.rejects] == ["bad_value"] * 30


async def test_rows_of_one_vehicle_share_messages_when_asked(broker: Mosquitto, day: Path) -> None:
    async with listening(broker, "hanhtrinh/+") as receive:
        code, output = await run_command("send", str(day), "--speed-unit", "ms", "--per-message", "50", "--json")
        received = await receive(json.loads(output)["messages"])
    assert code == 0
    registry = FormatRegistry()
    sizes = [len(registry.decode(message).fixes) for message in received]
    assert max(sizes) == 50
    assert sum(sizes) == ROWS - 30
    assert len(received) < ROWS / 20


async def test_a_rate_is_kept(broker: Mosquitto) -> None:
    async def twenty() -> AsyncIterator[OutMessage]:
        for number in range(20):
            yield OutMessage("hanhtrinh/rate", str(number).encode(), 0, None)

    started = time.monotonic()
    done = await Publisher(Broker(broker.host, broker.port)).publish(twenty(), AtRate(40, time.monotonic))
    assert done == 20
    assert 0.45 <= time.monotonic() - started < 3


async def test_pace_plays_a_recording_as_fast_as_asked(broker: Mosquitto, tmp_path: Path) -> None:
    path = tmp_path / "day.ndjson"
    times = [1772409600000, 1772409606000, 1772409612000]
    lines = [json.dumps({"vehicle_id": "pace", "time": ms, "lat": 1, "lon": 2}) for ms in times]
    path.write_text("\n".join(lines))
    started = time.monotonic()
    assert (await run_command("send", str(path), "--pace", "10x"))[0] == 0
    assert 1.2 <= time.monotonic() - started < 6


async def test_user_and_password_open_the_door(broker: Mosquitto, day: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANHTRINH_MQTT_PORT", str(broker.password_port))
    with pytest.raises(MqttError, match=f"MQTT broker {broker.host}:{broker.password_port}: .*0 messages were"):
        await run_command("send", str(day), "--speed-unit", "ms")
    monkeypatch.setenv("HANHTRINH_MQTT_USERNAME", broker.username)
    monkeypatch.setenv("HANHTRINH_MQTT_PASSWORD", broker.password)
    assert (await run_command("send", str(day), "--speed-unit", "ms"))[0] == 0


async def test_what_is_wrong_is_said_in_one_line(broker: Mosquitto, day: Path) -> None:
    with pytest.raises(RecordingError, match="'speed' does not say its unit"):
        await run_command("send", str(day))
    code, _ = await run_command("send", str(day), "--speed-unit", "ms", "--pace", "fast")
    assert code == 2
    code, _ = await run_command("send", str(day), "--speed-unit", "ms", "--pace", "2x", "--rate", "5")
    assert code == 2


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_simulate_plays_live_to_the_broker(broker: Mosquitto, tmp_path: Path) -> None:
    async with listening(broker, "hanhtrinh/+") as receive:
        code, _ = await run_command(
            "simulate", "--vehicles", "10", "--hours", "0.002", "--mqtt", "--interval", "1", "--out", str(tmp_path)
        )
        received = await receive(40)
    assert code == 0
    registry = FormatRegistry()
    decoded = [registry.decode(message) for message in received]
    assert not [reject for each in decoded for reject in each.rejects]
    assert len(decoded[0].fixes) > 1
    assert names_in(tmp_path) == ["drivers.csv", "operators.csv", "vehicles.csv"]


async def test_simulate_writes_the_same_files_for_the_same_seed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        code, output = await run_command(
            "simulate", "--vehicles", "5", "--hours", "6", "--out", str(tmp_path / name), "--json"
        )
        assert code == 0
        assert json.loads(output)["fixes"] > 1000
    files = names_in(tmp_path / "one")
    assert files == ["drivers.csv", "fleet.ndjson", "operators.csv", "planted.json", "vehicles.csv"]
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in files)
