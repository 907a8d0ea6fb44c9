"""All parts in one process: what `hanhtrinh run` starts, in the order in which they need each other."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg
from prometheus_client import CollectorRegistry
from rich.console import Console

from hanhtrinh.alert_routes import build_routes
from hanhtrinh.commands.bridge import build_bridge
from hanhtrinh.commands.maintain import build_maintainer
from hanhtrinh.commands.notify import build_notifier
from hanhtrinh.commands.work import build_worker, report_lag
from hanhtrinh.local_broker import LocalBroker
from hanhtrinh.metrics import BridgeMetrics, MaintenanceMetrics, MetricsServer, NotifierMetrics, WorkerMetrics
from hanhtrinh.raw_log import log_writer
from hanhtrinh.rule_packs import LoadedPack
from hanhtrinh.settings import Settings, SettingsError
from hanhtrinh.stalls import watch_stalls
from hanhtrinh.worker.batch import BatchResult
from ingest.embedded_log_reader import EmbeddedLogTrimmer
from ingest.raw import LogIdentity
from storage.connect import Connection, connect
from storage.positions import Positions

log = logging.getLogger(__name__)

_TRIM_EVERY_S = 60.0
_KEEP_LOG_S = 3_600.0
"""Raw messages that are worked off stay so long in the embedded log, for whoever wants to look."""
_DRAIN_S = 20.0


@dataclass(slots=True)
class Progress:
    """What went through since the start."""

    messages: int = 0
    fixes: int = 0
    letters: int = 0
    stages: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, result: BatchResult) -> None:
        """Take in one committed batch."""
        self.messages += result.messages
        self.fixes += result.fixes
        self.letters += sum(result.letters.values())
        for stage in result.stages:
            self.stages[stage.kind, stage.stage] = self.stages.get((stage.kind, stage.stage), 0) + 1


class Everything:
    """Broker, bridge, log, worker, notifier and maintenance around one database."""

    def __init__(self, settings: Settings, url: str, pack: LoadedPack, console: Console) -> None:
        self._url = url
        self._pack = pack
        self._console = console
        self._registry = CollectorRegistry()
        self._broker = None if "mqtt_host" in settings.model_fields_set else _local_broker(settings)
        if self._broker is not None:
            settings = settings.model_copy(update={"mqtt_host": self._broker.host, "mqtt_port": self._broker.port})
        self.settings = settings
        """With the address of the broker that is really used."""
        self.progress = Progress()

    async def run(self, stop: asyncio.Event, beside: Callable[[], AbstractAsyncContextManager[None]]) -> None:
        """Start all, work until `stop`, then let what is under way come to its end. `beside` is entered when all is
        ready, and left before anything of it stops."""
        settings = self.settings
        async with AsyncExitStack() as stack:
            if self._broker is not None:
                await self._broker.start()
                stack.push_async_callback(self._broker.stop)
            writer = log_writer(settings, self._url)
            identity = await writer.open()
            stack.push_async_callback(writer.close)
            bridge = build_bridge(settings, writer, BridgeMetrics(self._registry))
            metrics = WorkerMetrics(self._registry)
            worker = build_worker(settings, self._url, self._pack, metrics, on_batch=self.progress.add)
            routes = build_routes(settings, self._pack, self._console)
            notifier = build_notifier(settings, self._url, self._pack, routes, NotifierMetrics(self._registry))
            maintainer = build_maintainer(settings, self._url, self._pack.hours, MaintenanceMetrics(self._registry))
            parts = {
                "bridge": lambda: bridge.trouble,
                "worker": lambda: worker.trouble,
                "notifier": lambda: notifier.trouble,
                "maintenance": lambda: maintainer.trouble,
            }
            server = MetricsServer(self._registry, settings.metrics_host, settings.metrics_port, parts)
            server.start()
            stack.callback(server.stop)
            runs = (bridge.run, worker.run, notifier.run, maintainer.run)
            stops = [asyncio.Event() for _ in runs]
            tasks = [asyncio.create_task(run(event)) for run, event in zip(runs, stops, strict=True)]
            helpers = [
                asyncio.create_task(each)
                for each in (report_lag(worker, metrics), watch_stalls(metrics.stalled), self._trim(identity))
            ]
            try:
                async with beside():
                    await asyncio.wait([asyncio.create_task(stop.wait()), *tasks], return_when=asyncio.FIRST_COMPLETED)
                if stop.is_set():
                    await self._drain()
            finally:
                for helper in helpers:
                    helper.cancel()
                # The bridge first: nothing new comes in; then the worker; the notifier sends what they left.
                for task, event in zip(tasks, stops, strict=True):
                    event.set()
                    await asyncio.wait([task])
            for task in tasks:
                task.result()

    async def _drain(self) -> None:
        """Until everything in the log is judged and every alert has left, or patience ends."""
        deadline_s = time.monotonic() + _DRAIN_S
        while await self._is_busy():
            if time.monotonic() > deadline_s:
                log.warning("stopped before everything was worked off; the rest goes on at the next start")
                return
            await asyncio.sleep(0.2)

    async def _is_busy(self) -> bool:
        """Whether anything waits; a database that is away for a moment has something to do."""
        try:
            connection = await connect(self._url)
        except psycopg.OperationalError:
            return True
        try:
            return await self._has_work(connection)
        except psycopg.OperationalError:
            return True
        finally:
            await connection.close()

    async def _has_work(self, connection: Connection) -> bool:
        left = (
            "SELECT EXISTS (SELECT FROM rejudge_marks) OR EXISTS (SELECT FROM line_notices)"
            " OR EXISTS (SELECT FROM alerts WHERE fanned_out_at IS NULL)"
            " OR EXISTS (SELECT FROM deliveries WHERE status = 'waiting' AND tries = 0)"
        )
        if self.settings.log == "embedded":
            left += (
                " OR EXISTS (SELECT FROM embedded_log_partitions e LEFT JOIN log_positions p"
                " ON p.partition = e.partition AND p.log_id = (SELECT log_id FROM embedded_log)"
                " WHERE e.next_offset > coalesce(p.next_offset, 0))"
            )
        row = await (await connection.execute(left.encode())).fetchone()
        return bool(row and row[0])

    async def _trim(self, identity: LogIdentity) -> None:
        """Keep the embedded log from growing for ever."""
        if self.settings.log != "embedded":
            return

        async def load_positions(of: LogIdentity, partitions: Any) -> dict[int, int]:
            connection = await connect(self._url)
            try:
                return await Positions(of.log_id, of.partitions).load(connection, partitions)
            finally:
                await connection.close()

        trimmer = EmbeddedLogTrimmer(lambda: connect(self._url), load_positions, _KEEP_LOG_S)
        while True:
            await asyncio.sleep(_TRIM_EVERY_S)
            with suppress(psycopg.OperationalError):
                await trimmer.trim(identity)


def _local_broker(settings: Settings) -> LocalBroker:
    """On the port of the settings; if another program has it and nobody asked for it, on a free one."""
    if settings.mqtt_tls or settings.mqtt_username:
        raise SettingsError(
            "HANHTRINH_MQTT_HOST is not set: the broker inside `run` has neither TLS nor accounts;"
            " unset HANHTRINH_MQTT_TLS and HANHTRINH_MQTT_USERNAME, or name a broker"
        )
    broker = LocalBroker(settings.mqtt_port)
    if "mqtt_port" not in settings.model_fields_set and not broker.is_free:
        return LocalBroker(0)
    return broker
