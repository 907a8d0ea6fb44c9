"""A real Prometheus asks the real processes, and answers every question of the dashboards and alarms."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from dashboards.alarms import ALARMS
from hanhtrinh.worker.intake import encode
from tests.chain import Part
from tests.running_worker import journey
from tests.services.mosquitto import Mosquitto
from tests.services.process import free_port
from tests.services.prometheus import Prometheus
from tests.test_alarms import expressions

COMMANDS = {"bridge": "bridge", "worker": "work", "notifier": "notify", "maintenance": "maintain"}

# Nothing is as old as that here.
NEVER = {"hanhtrinh_maintenance_dropped_total"}


@pytest.fixture
async def parts(postgres_url: str, mosquitto: Mosquitto, tmp_path: Path) -> AsyncIterator[dict[str, Part]]:
    """The four processes at work, each with its own port for Prometheus."""
    found = {}
    for name, command in COMMANDS.items():
        environment = {
            **os.environ, "HANHTRINH_DATABASE_URL": postgres_url, "HANHTRINH_MQTT_HOST": mosquitto.host,
            "HANHTRINH_MQTT_PORT": str(mosquitto.port), "HANHTRINH_MQTT_CLIENT_ID": f"test-{os.getpid()}",
            "HANHTRINH_ALERT_TERMINAL": "true", "HANHTRINH_METRICS_PORT": str(free_port()),
        }  # fmt: skip
        found[name] = Part(name, (command,), environment, tmp_path / f"{name}.log")
    async with AsyncExitStack() as stack:
        for part in found.values():
            stack.callback(part.leave)
            part.start()
        await asyncio.gather(*(part.ready() for part in found.values()))
        yield found


@pytest.fixture
async def prometheus(parts: dict[str, Part], tmp_path: Path) -> AsyncIterator[Prometheus]:
    server = Prometheus(
        tmp_path / "prometheus", [int(part.environment["HANHTRINH_METRICS_PORT"]) for part in parts.values()]
    )
    await asyncio.to_thread(server.start)
    yield server
    await asyncio.to_thread(server.stop)


async def test_every_question_of_dashboards_and_alarms_is_answered(
    parts: dict[str, Part], prometheus: Prometheus, mosquitto: Mosquitto
) -> None:
    await until(lambda: prometheus.query("count(up == 1)"), [4.0])
    await drive(mosquitto)
    await until(lambda: prometheus.query("sum(hanhtrinh_notifier_sent_total) > bool 0"), [1.0])
    # Two more looks, so that every rate has something to compare.
    await asyncio.sleep(2.5)

    there = set(prometheus.ask("label/__name__/values"))
    silent = []
    for expression in expressions():
        asked = expression.replace("$__rate_interval", "30s")
        answer = prometheus.query(asked)
        assert not re.search(r"\$", asked), expression
        missing = set(re.findall(r"hanhtrinh_\w+", asked)) - there
        assert missing <= NEVER, f"{missing} in {expression}"
        if not answer:
            silent.append(asked)
    # What asks for absence or for what should not be may have none, and what looks at whole minutes not yet.
    may_be_silent = ("absent", "> 0", "ALERTS", "[1h:1m]")
    assert [each for each in silent if not any(words in each for words in may_be_silent)] == []

    assert values(prometheus.query("sum(hanhtrinh_worker_messages_total)")) == [len(SPEEDS_KMH) + 1]
    assert values(prometheus.query("sum(hanhtrinh_bridge_appended_total)")) == [len(SPEEDS_KMH) + 1]
    assert values(prometheus.query("sum(hanhtrinh_worker_dead_letters_total)")) == [1]
    [(reason, letters)] = [
        (each["metric"]["reason"], float(each["value"][1]))
        for each in prometheus.query("sum by (reason) (increase(hanhtrinh_worker_dead_letters_total[30s])) > 0")
    ]
    assert reason == "bad_json"
    assert letters > 0, "the first of a series is seen as a rise"
    assert values(prometheus.query("max(hanhtrinh_maintenance_database_bytes) > bool 1e6")) == [1]

    rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert [rule["name"] for rule in rules] == [alarm.name for alarm in ALARMS]
    assert {(rule["health"], rule.get("lastError", "")) for rule in rules} == {("ok", "")}
    assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []


async def test_a_bridge_that_ends_is_missed(parts: dict[str, Part], prometheus: Prometheus) -> None:
    await until(lambda: prometheus.query("count(up == 1)"), [4.0])
    assert prometheus.query('absent(hanhtrinh_healthy{process="bridge"})') == []
    await parts["bridge"].end(signal.SIGKILL)
    await until(lambda: prometheus.query('absent(hanhtrinh_healthy{process="bridge"})'), [1.0])
    await until(lambda: prometheus.query('count(ALERTS{alertname="HanhtrinhBridgeDown", alertstate="pending"})'), [1.0])
    assert values(prometheus.query("sum(hanhtrinh_healthy)")) == [3]


# Half a minute at 120 km/h, then slow again.
SPEEDS_KMH = [60.0, *[120.0] * 6, *[60.0] * 3]


async def drive(mosquitto: Mosquitto) -> None:
    """A vehicle exceeds its limit, a minute ago; then something that is no message."""
    begin_us = round((time.time() - 120) * 1e6)
    async with aiomqtt.Client(mosquitto.host, mosquitto.port) as client:
        for fix in journey("51B-12345", begin_us, SPEEDS_KMH):
            await client.publish("hanhtrinh/51B-12345", encode(fix), qos=1)
        await client.publish("hanhtrinh/51B-12345", b"{", qos=1)


def values(answer: list[dict[str, Any]]) -> list[float]:
    return [float(series["value"][1]) for series in answer]


async def until(ask: Any, expected: list[float], within_s: float = 60.0) -> None:
    deadline_s = time.monotonic() + within_s
    while (found := values(await asyncio.to_thread(ask))) != expected:
        assert time.monotonic() < deadline_s, f"not within {within_s} s: {found}"
        await asyncio.sleep(0.2)
