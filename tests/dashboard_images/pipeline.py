"""Draws the dashboard Pipeline: two minutes of the real processes under a real Prometheus, two of them killed.

python -m tests.dashboard_images.pipeline
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import aiomqtt

from dashboards.catalogue import FOLDER
from storage.migrate import migrate
from tests.chain import Part
from tests.dashboard_images.__main__ import TARGET
from tests.dashboard_images.drawing import Panel, draw
from tests.dashboard_images.look import ZONE
from tests.grafana import Json, dashboards, panels
from tests.grafana_reader import Result
from tests.services.mosquitto import Mosquitto
from tests.services.postgres import Postgres, make_database
from tests.services.process import free_port
from tests.services.prometheus import Prometheus

_COMMANDS = {"bridge": "bridge", "worker": "work", "notifier": "notify", "maintenance": "maintain"}
_FLEET = ("simulate", "--vehicles", "60", "--mqtt", "--interval", "2")
_STEP_S = 2
_RATE = "15s"


async def main() -> None:
    with tempfile.TemporaryDirectory(prefix="hanhtrinh-") as folder:
        home = Path(folder)
        os.chmod(folder, 0o755)
        async with running(home) as (parts, broker, prometheus):
            began_s = time.time()
            await story(parts, broker)
            for path, dashboard in dashboards(FOLDER):
                if path.stem == "pipeline":
                    shown = [Panel(panel, answer(prometheus, panel, began_s)) for panel in panels(dashboard)]
                    target = TARGET / f"{path.stem}-{path.parent.name}.png"
                    draw(str(dashboard["title"]), shown, target)
                    print(target)


async def story(parts: dict[str, Part], broker: Mosquitto) -> None:
    """Half a minute of peace; the worker is away for 15 s, then the notifier; then something that is no message."""
    await asyncio.sleep(30)
    for name in ("worker", "notifier"):
        await parts[name].end(signal.SIGKILL)
        await asyncio.sleep(15)
        parts[name].start()
        await parts[name].ready()
        await asyncio.sleep(8)
    async with aiomqtt.Client(broker.host, broker.port) as client:
        for payload in (b"{", b"{}", b"", b'{"lat": 1}'):
            await client.publish("hanhtrinh/51B-12345", payload, qos=1)
        await client.publish("elsewhere/51B-12345", b"{}", qos=1)
    await asyncio.sleep(12)


@asynccontextmanager
async def running(home: Path) -> AsyncIterator[tuple[dict[str, Part], Mosquitto, Prometheus]]:
    """Database, broker, the four processes, a fleet that drives, and Prometheus; all gone at the end."""
    async with AsyncExitStack() as stack:
        postgres, broker = Postgres(home / "postgres"), Mosquitto(home / "mosquitto")
        for server in (postgres, broker):
            server.start()
            stack.callback(server.stop)
        url = await make_database(postgres, migrated=False)
        await migrate(url)
        environment = {
            **os.environ, "HANHTRINH_DATABASE_URL": url, "HANHTRINH_MQTT_HOST": broker.host,
            "HANHTRINH_MQTT_PORT": str(broker.port), "HANHTRINH_ALERT_TERMINAL": "true",
        }  # fmt: skip
        ports = {name: free_port() for name in _COMMANDS}
        parts = {
            name: Part(
                name, (command,), {**environment, "HANHTRINH_METRICS_PORT": str(ports[name])}, home / f"{name}.log"
            )
            for name, command in _COMMANDS.items()
        }
        fleet = Part("fleet", _FLEET, environment, home / "fleet.log")
        for part in (*parts.values(), fleet):
            stack.callback(part.leave)
            part.start()
        await asyncio.gather(*(part.ready() for part in parts.values()))
        prometheus = Prometheus(home / "prometheus", list(ports.values()))
        prometheus.start()
        stack.callback(prometheus.stop)
        yield parts, broker, prometheus


def answer(prometheus: Prometheus, panel: Json, began_s: float) -> Result:
    """What a panel gets: a number, the rows of a table, or values over time."""
    if panel["type"] == "table":
        found = prometheus.query(asked(panel["targets"][0]))
        names = ("alertname", "severity")
        return Result(
            dict.fromkeys(names, "text"), [tuple(each["metric"].get(name) for name in names) for each in found]
        )
    if panel["type"] == "stat":
        found = prometheus.query(asked(panel["targets"][0]))
        return Result({"value": "float8"}, [(float(each["value"][1]),) for each in found] or [(None,)])
    series = dict(over_time(prometheus, panel, began_s))
    moments = sorted({moment for values in series.values() for moment in values})
    kind = "text" if panel["type"] == "state-timeline" else "float8"
    rows = [
        (datetime.fromtimestamp(moment, ZONE), *(values.get(moment) for values in series.values()))
        for moment in moments
    ]
    if kind == "text":
        rows = [(row[0], *(None if value is None else f"{value:g}" for value in row[1:])) for row in rows]
    return Result({"time": "timestamptz", **dict.fromkeys(series, kind)}, rows)


def over_time(prometheus: Prometheus, panel: Json, began_s: float) -> Any:
    """Each series of a panel: its legend, and the values by time."""
    for target in panel["targets"]:
        found = prometheus.ask(
            "query_range", query=asked(target), start=f"{began_s:.0f}", end=f"{time.time():.0f}", step=str(_STEP_S)
        )
        for each in found["result"]:
            values = {float(moment): float(value) for moment, value in each["values"] if value != "NaN"}
            yield legend(target["legendFormat"], each["metric"]), values


def asked(target: Json) -> str:
    return str(target["expr"]).replace("$__rate_interval", _RATE)


def legend(text: str, labels: Json) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: str(labels.get(found[1], "")), text)


if __name__ == "__main__":
    asyncio.run(main())
