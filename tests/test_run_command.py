"""`hanhtrinh run`: everything in one process, on nothing but what it brings along."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hanhtrinh.commands.run import parse_duration
from hanhtrinh.local_broker import LocalBroker
from hanhtrinh.settings import SettingsError
from ingest.publisher import Broker, Publisher
from ingest.recordings.messages import OutMessage
from storage.embedded import EmbeddedDatabase
from tests.services.postgres import Postgres, make_database

COMMAND = (sys.executable, "-m", "hanhtrinh", "run")


@pytest.fixture
def environment(services_home: Path) -> dict[str, str]:
    """Nothing of the caller's settings; a data folder that PostgreSQL's account may enter."""
    home = services_home / f"run-{time.time_ns()}"
    home.mkdir()
    own = {name: value for name, value in os.environ.items() if not name.startswith("HANHTRINH_")}
    return {**own, "HANHTRINH_DATA_DIR": str(home), "HANHTRINH_METRICS_PORT": "0", "NO_COLOR": "1", "COLUMNS": "200"}


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=150
    )


def test_the_demo_shows_violations_as_they_happen_and_ends_with_a_summary(environment: dict[str, str]) -> None:
    done = run(environment, "--demo", "--vehicles", "40", "--seed", "3", "--for", "45s", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["fixes"]["stored"] > 1_000
    assert summary["dead_letters"] == {}
    assert summary["violations"]["speeding"] >= 1
    assert summary["violations"]["continuous_driving"] >= 1
    assert summary["alerts"]["opened"] >= 2
    assert "waiting" not in summary["deliveries"], "every alert has left before the end"
    assert re.search(r"\+07:00 \| speeding: began \| .* where .* is allowed", done.stderr)
    assert "Listening for trackers on mqtt://127.0.0.1:" in done.stderr


def test_a_tracker_may_connect_and_ctrl_c_ends_with_what_was_stored(
    environment: dict[str, str], tmp_path: Path
) -> None:
    log = tmp_path / "run.log"
    with log.open("wb") as out:
        process = subprocess.Popen([*COMMAND], env=environment, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        port = _port(log, process)
        asyncio.run(_send(port))
        # What was acknowledged is in the log: the end works it off.
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    finally:
        process.kill()
    said = log.read_text()
    assert re.search(r"fixes: stored\W+3\b", said), said
    assert re.search(r"dead letters: bad json\W+1\b", said), said


def test_an_embedded_database_that_dies_is_started_again_and_the_demo_goes_on(
    environment: dict[str, str], tmp_path: Path
) -> None:
    log = tmp_path / "run.log"
    arguments = [*COMMAND, "--demo", "--vehicles", "20", "--for", "20s"]
    with log.open("wb") as out:
        process = subprocess.Popen(arguments, env=environment, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        _port(log, process)
        time.sleep(8)
        server = EmbeddedDatabase(Path(environment["HANHTRINH_DATA_DIR"]))
        os.kill(server.pid, signal.SIGKILL)
        assert process.wait(90) == 0, log.read_text()
    finally:
        process.kill()
    said = log.read_text()
    assert "the embedded database has died and is started again" in said
    assert "never retrieved" not in said
    assert re.search(r"fixes: stored\W+\d", said), said
    assert not server.is_up


def test_a_database_that_dies_for_good_leaves_a_summary_of_what_was_seen(
    environment: dict[str, str], tmp_path: Path, services_home: Path
) -> None:
    server = Postgres(services_home / f"dies-{time.time_ns()}")
    server.start()
    log = tmp_path / "run.log"
    environment["HANHTRINH_DATABASE_URL"] = asyncio.run(make_database(server))
    arguments = [*COMMAND, "--demo", "--vehicles", "5", "--for", "14s"]
    with log.open("wb") as out:
        process = subprocess.Popen(arguments, env=environment, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        _port(log, process)
        time.sleep(9)
        server.kill()
        assert process.wait(90) == 1, log.read_text()
    finally:
        process.kill()
        server.stop()
    said = log.read_text()
    assert "the database is away, so the summary is what this process has seen" in said
    assert re.search(r"fixes: stored\W+\d", said), said
    assert "never retrieved" not in said


def _port(log: Path, process: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = re.search(r"mqtt://127\.0\.0\.1:(\d+)", log.read_text())
        if found:
            return int(found[1])
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(log.read_text())


async def _send(port: int) -> None:
    async def messages() -> AsyncIterator[OutMessage]:
        for second in range(3):
            fix = f'{{"time":"2026-03-02T08:00:0{second}+07:00","lat":10.7,"lon":106.7,"speed_kmh":30}}'
            yield OutMessage("hanhtrinh/51B-00001", fix.encode(), 1, None)
        yield OutMessage("hanhtrinh/51B-00001", b"{not json", 0, None)

    # The bridge subscribes when it is connected; what is published before has no reader yet.
    await asyncio.sleep(2)
    assert await Publisher(Broker("127.0.0.1", port)).publish(messages()) == 4
    await asyncio.sleep(2)


def test_a_taken_port_that_was_asked_for_is_named_in_one_line(environment: dict[str, str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert not LocalBroker(port).is_free
        done = run({**environment, "HANHTRINH_MQTT_PORT": str(port)}, "--for", "1s")
    assert done.returncode == 2
    assert str(port) in done.stderr
    assert "Traceback" not in done.stderr


def test_durations_are_read_with_their_unit() -> None:
    assert [parse_duration(text) for text in (None, "90", "60s", "1.5m", "2h")] == [None, 90, 60, 90, 7200]


@pytest.mark.parametrize("text", ["", "soon", "-5s", "0", "5d"])
def test_a_duration_that_is_none_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(SettingsError, match="60s, 5m or 2h"):
        parse_duration(text)
