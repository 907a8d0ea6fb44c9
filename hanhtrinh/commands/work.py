"""`hanhtrinh work`."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

import psycopg
import typer
from prometheus_client import CollectorRegistry

from hanhtrinh.database import database, require_schema
from hanhtrinh.event_loop import run_async
from hanhtrinh.log_setup import configure_logging
from hanhtrinh.metrics import MetricsServer, WorkerMetrics
from hanhtrinh.raw_log import log_reader
from hanhtrinh.rule_packs import LoadedPack, load_pack
from hanhtrinh.settings import Settings, SettingsError, load_settings
from hanhtrinh.stalls import watch_stalls
from hanhtrinh.stop_signal import StopSignal
from hanhtrinh.worker.batch import BatchResult
from hanhtrinh.worker.loop import OnBatch, Worker, WorkerLimits
from ingest.formats.reasons import REASONS
from ingest.log import LogError
from storage.connect import connect

logger = logging.getLogger(__name__)

_LAG_EVERY_S = 5.0
_SILENT_TRANSACTION_S = 30
"""As long as Kafka waits for a worker (the session timeout): one that hangs may hold its positions no longer."""


def work(
    partitions: Annotated[
        str | None,
        typer.Option(
            metavar="0-3,7", help="Work off these partitions only, outside the consumer group; without it the group's."
        ),
    ] = None,
    instance_id: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Static membership of the Kafka group: a restart under this name moves no partition."
        ),
    ] = None,
) -> None:
    """Take messages from the log, judge them and store everything, until SIGTERM or Ctrl-C.

    Any number of workers may run: Kafka shares the partitions among them, and the position in the database keeps one
    that lost a partition from writing. The batch in hand is committed before the end.

    Example: HANHTRINH_LOG=kafka HANHTRINH_DATABASE_URL=postgresql://... hanhtrinh work
    """
    settings = load_settings()
    configure_logging(settings.log_level)
    only = parse_partitions(partitions, settings.log_partitions)
    pack = load_pack(settings.rule_pack, settings.rules)
    with database(settings) as url:
        ended_by = run_async(_work(settings, url, pack, only, instance_id))
    if ended_by is signal.SIGINT:
        raise typer.Exit(130)


def parse_partitions(text: str | None, partitions: int) -> list[int] | None:
    """Partitions written as "0-3,7". SettingsError for what is not so written or not there."""
    if text is None:
        return None
    chosen: set[int] = set()
    for part in text.split(","):
        low, _, high = part.strip().partition("-")
        if not low.isdecimal() or not (high or low).isdecimal() or int(high or low) >= partitions:
            raise SettingsError(f"--partitions {text!r}: expected numbers from 0 to {partitions - 1}, such as 0-3,7")
        chosen.update(range(int(low), int(high or low) + 1))
    return sorted(chosen)


def build_worker(
    settings: Settings,
    url: str,
    pack: LoadedPack,
    metrics: WorkerMetrics,
    *,
    only: Sequence[int] | None = None,
    instance_id: str | None = None,
    on_batch: OnBatch | None = None,
    silent_s: int = _SILENT_TRANSACTION_S,
) -> Worker:
    """The worker that the settings describe, on the database at `url`.

    `silent_s`: how long a worker that hangs may hold its positions.
    """
    # From 0, so that the first letter is seen as a rise.
    metrics.dead_letters(dict.fromkeys(REASONS, 0))
    return Worker(
        lambda: connect(url, application_name="hanhtrinh work", silent_transaction_s=silent_s),
        lambda load_positions, assignment_changed: log_reader(
            settings, url, load_positions, assignment_changed, only=only, group_instance_id=instance_id
        ),
        pack,
        WorkerLimits(
            settings.batch_max_messages, settings.batch_max_wait_ms / 1000, settings.late_settle_ms / 1000, silent_s
        ),
        metrics,
        on_batch,
    )


async def report_lag(worker: Worker, metrics: WorkerMetrics) -> None:
    """Measure the lag, and count the partitions that are stopped, every few seconds until cancelled."""
    while True:
        await asyncio.sleep(_LAG_EVERY_S)
        metrics.stopped_partitions(len(worker.stopped))
        with suppress(LogError, psycopg.Error):
            metrics.lag(*await worker.lag())


async def _work(
    settings: Settings, url: str, pack: LoadedPack, only: Sequence[int] | None, instance_id: str | None
) -> signal.Signals | None:
    """Run until a signal comes, and return it."""
    stop = StopSignal("worker")
    await require_schema(settings, url)
    registry = CollectorRegistry()
    metrics = WorkerMetrics(registry)
    worker = build_worker(settings, url, pack, metrics, only=only, instance_id=instance_id, on_batch=_log_batch)
    parts = {"worker": lambda: worker.trouble}
    server = MetricsServer(registry, settings.metrics_host, settings.metrics_port, parts)
    server.start()
    logger.info("worker started log=%s pack=%s metrics_port=%d", settings.log, pack.pack.name, server.port)
    watches = [asyncio.create_task(report_lag(worker, metrics)), asyncio.create_task(watch_stalls(metrics.stalled))]
    try:
        await worker.run(stop.event)
    finally:
        for watch in watches:
            watch.cancel()
        server.stop()
    return stop.came


def _log_batch(result: BatchResult) -> None:
    logger.debug(
        "batch messages=%d fixes=%d late=%d doubled=%d letters=%d",
        result.messages,
        result.fixes,
        result.late,
        result.doubled,
        sum(result.letters.values()),
    )
