"""docs/install.md, "By hand": the processes that it starts beside each other on one machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

from tests.doc_pages import REPOSITORY, blocks
from tests.services.mosquitto import Mosquitto
from tests.services.process import free_port

PORT = "HANHTRINH_METRICS_PORT"


def test_the_processes_started_as_shown_work_beside_each_other(
    tmp_path: Path, postgres_url: str, mosquitto: Mosquitto
) -> None:
    shown = next(block for block in blocks(REPOSITORY / "docs" / "install.md") if "hanhtrinh bridge" in block.text)
    settings = {words[-1]: dict(word.split("=") for word in words if "=" in word) for words in shown.commands}
    assert set(settings) == {"bridge", "work", "notify", "maintain"}
    # Others may use the shown ports on this machine: what counts is which of them are the same.
    free = {port: free_port() for port in {own.get(PORT, "9464") for own in settings.values()}}
    ports = {command: free[own.get(PORT, "9464")] for command, own in settings.items()}
    servers = {
        "PYTHONPATH": str(REPOSITORY),
        "HANHTRINH_DATABASE_URL": postgres_url,
        "HANHTRINH_MQTT_HOST": mosquitto.host,
        "HANHTRINH_MQTT_PORT": str(mosquitto.port),
        "HANHTRINH_ALERT_TERMINAL": "true",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "hanhtrinh", command],
            env=os.environ | servers | {PORT: str(port)},
            cwd=tmp_path,
            stderr=subprocess.DEVNULL,
        )
        for command, port in ports.items()
    ]
    try:
        deadline = time.monotonic() + 30
        while not all(map(is_healthy, ports.values())) and time.monotonic() < deadline:
            time.sleep(0.2)
        ended = [command for command, process in zip(ports, processes, strict=True) if process.poll() is not None]
        assert ended == [], "they do not start beside each other"
        assert all(map(is_healthy, ports.values()))
    finally:
        for process in processes:
            process.terminate()
        assert {process.wait(30) for process in processes} == {0}


def is_healthy(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=3) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
