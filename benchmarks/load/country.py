"""The run: a fleet that has sent for a while, one worker that catches up, keeps up, is killed and comes back."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from benchmarks.load import database
from benchmarks.load.stalls import Stalls, stalls
from benchmarks.load.traffic import EVERY_S
from benchmarks.load.watch import Sample, Tree, Usage, wait_until
from benchmarks.programs import Program, environment, hanhtrinh, python
from benchmarks.servers import Servers
from benchmarks.workload import PARTITIONS, make_topic
from tests.services.process import free_port
from tests.webhook_receiver import Answer, Request, webhook_receiver

_PATIENCE_S = 900.0
_SETTLE_S = 10.0
_ROUNDS = 2
"""Fixes of each vehicle before anything is measured: with its second one its driver's line begins."""
_CATCH_UP_S = 180.0
_FEW_ALERTS = 20
_LEVEL_S = 1.5
"""Caught up: less than what is sent in so many seconds waits."""


class Delay(NamedTuple):
    """An alert that came: when, and how long after the fix that proved it."""

    at_s: float
    after_s: float


@dataclass(slots=True)
class Found:
    """What a run found; times in seconds."""

    first: list[Sample] = field(default_factory=list)
    """While the worker met every vehicle for the first time."""
    peak: list[Sample] = field(default_factory=list)
    """While it worked off the rest of the backlog as fast as it could."""
    steady: list[Sample] = field(default_factory=list)
    recovered_s: float = 0.0
    """From kill -9 to the next commit."""
    level_s: float | None = None
    """From kill -9 until every vehicle has come back and nothing waits; None: not within the time given to it."""
    commit_s: tuple[float, float] | None = None
    """Median and 99th percentile; None: nothing of that time was stored yet."""
    alert_s: list[float] = field(default_factory=list)
    stalls: Stalls = field(default_factory=lambda: Stalls(0, 0))
    """Of the worker's event loop at the rate."""
    table_bytes: dict[str, int] = field(default_factory=dict)
    fixes: int = 0
    stored_bytes: int = 0
    """Of all tables but the registry."""


@dataclass(slots=True)
class Country:
    """The processes of a run."""

    servers: Servers
    connection: psycopg.Connection[Any]
    generator: Program
    notifier: Program
    settings: dict[str, Any]
    trees: dict[str, Tree]
    per_s: float
    metrics_port: int
    tell: Callable[[str], None]

    def sample(self, worker: Program | None) -> Sample:
        """What is sent, done and used by now."""
        for program in (self.generator, self.notifier, *([worker] if worker else [])):
            program.require_running()
        programs = {"generator": self.generator, "notifier": self.notifier, **({"worker": worker} if worker else {})}
        usage = {name: Usage(each.cpu_s(), each.rss_bytes()) for name, each in programs.items()}
        usage |= {name: tree.usage() for name, tree in self.trees.items()}
        sent = self.sent()
        return Sample(time.monotonic(), sent, database.progress(self.connection), usage)

    def sent(self) -> int:
        line = self.generator.last_line()
        return int(json.loads(line)["sent"]) if line.startswith("{") else 0

    def behind_s(self) -> float:
        """How late the generator is."""
        line = self.generator.last_line()
        return float(json.loads(line)["behind_s"]) if line.startswith("{") else 1e9

    def watch(
        self, worker: Program, samples: list[Sample], enough: Callable[[Sample], bool], what: str, within_s: float
    ) -> bool:
        """A sample a second until one is enough; whether one was within that time."""
        began_s = time.monotonic()
        while not samples or not enough(samples[-1]):
            if time.monotonic() - began_s > within_s:
                self.tell(f"{what}: not within {within_s:g} s")
                return False
            time.sleep(max(0.0, 1.0 - (time.monotonic() - samples[-1].at_s)) if samples else 0.0)
            samples.append(self.sample(worker))
            if len(samples) % 5 == 1:
                self.tell(f"{what}: {samples[-1].done.messages:,} done, {samples[-1].lag:,} wait")
        return True

    @contextmanager
    def worker(self, folder: Path) -> Iterator[Program]:
        # Static membership: a restart takes its partitions back at once.
        settings = self.settings | {"metrics_port": self.metrics_port}
        with hanhtrinh(folder, "work", "--instance-id", "country", **settings) as program:
            yield program


def run(
    servers: Servers,
    *,
    vehicles: int,
    seconds: float,
    backlog_s: float,
    speeding_every_s: int,
    tell: Callable[[str], None],
) -> Found:
    """One run of `seconds` at the fleet's rate, after a backlog of `backlog_s`.

    The server must be as `database.configure` leaves it.
    """
    topic = servers.kafka.topic("country")
    asyncio.run(make_topic(servers.kafka.bootstrap, topic))
    found, delays = Found(), list[Delay]()
    with ExitStack() as stack:
        url = stack.enter_context(servers.database())
        connection = stack.enter_context(psycopg.connect(url, autocommit=True))
        tell(f"registering {vehicles:,} vehicles")
        database.register(connection, vehicles)
        receiver = stack.enter_context(webhook_receiver())
        receiver.answer = lambda request: _noted(request, delays)
        settings = _settings(servers, url, topic, receiver.url)
        folder = servers.folder("country")
        generator = stack.enter_context(
            python(
                folder, "generator", "benchmarks.load.generator", "--bootstrap", servers.kafka.bootstrap,
                "--topic", topic, "--partitions", str(PARTITIONS), "--vehicles", str(vehicles),
                "--seconds", str(seconds), "--rounds", str(_ROUNDS), "--backlog", str(backlog_s), "--speeding-every",
                str(speeding_every_s), environment=environment({}),
            )
        )  # fmt: skip
        notifier = stack.enter_context(hanhtrinh(folder, "notify", **settings))
        country = Country(
            servers, connection, generator, notifier, settings,
            {"postgresql": Tree(servers.postgres.pid), "kafka": Tree(servers.kafka.process.pid)},
            vehicles / EVERY_S, free_port(), tell,
        )  # fmt: skip
        _drive(country, found, vehicles, seconds, folder, delays)
    return found


def _drive(country: Country, found: Found, vehicles: int, seconds: float, folder: Path, delays: list[Delay]) -> None:
    level = country.per_s * _LEVEL_S
    country.tell(f"{_ROUNDS} fixes of each vehicle are being written")
    wait_until(lambda: country.sent() > 0, "the vehicles' first fixes", _PATIENCE_S)
    with country.worker(folder) as worker:
        met = country.sent()
        country.watch(worker, found.first, lambda now: now.done.messages >= met, "every vehicle met", _PATIENCE_S)
        country.generator.process.send_signal(signal.SIGUSR1)
        country.watch(worker, [], lambda now: now.sent > met and country.behind_s() < 1.0, "the backlog", _PATIENCE_S)
        country.watch(worker, found.peak, lambda now: now.lag < level, "the backlog worked off", _CATCH_UP_S)
        # One that cannot keep up is measured all the same: its lag tells.
        time.sleep(min(_SETTLE_S, seconds / 4))
        # What the backlog had to tell is told before anything is timed.
        with suppress(TimeoutError):
            wait_until(
                lambda: database.alerts_waiting(country.connection) < _FEW_ALERTS, "the backlog's alerts", _CATCH_UP_S
            )
        began_s, stalls_before = time.time(), stalls(country.metrics_port)
        country.watch(
            worker, found.steady, lambda now: now.at_s - found.steady[0].at_s >= seconds, "at the rate", 2 * seconds
        )
        found.alert_s = [each.after_s for each in delays if began_s <= each.at_s - each.after_s]
        ended_s, found.stalls = time.time(), stalls(country.metrics_port).since(stalls_before)
        worker.kill()
        killed_s = time.monotonic()
    before = database.progress(country.connection).messages
    with country.worker(folder) as worker:
        wait_until(
            lambda: database.progress(country.connection).messages > before, "a commit after kill -9", _PATIENCE_S, 0.02
        )
        found.recovered_s = time.monotonic() - killed_s
        # Little waits at first: what takes time is each vehicle's first message, from which it is rebuilt.
        round_s = killed_s + min(EVERY_S, seconds / 4)
        if country.watch(
            worker, [], lambda now: now.at_s >= round_s and now.lag < level, "caught up after kill -9", _CATCH_UP_S
        ):
            found.level_s = time.monotonic() - killed_s
    found.fixes = database.progress(country.connection).fixes
    found.commit_s = database.commit_delays_s(country.connection, began_s, ended_s - 2, found.fixes)
    found.table_bytes = database.bytes_by_table(country.connection)
    found.stored_bytes = sum(size for name, size in found.table_bytes.items() if name not in database.REGISTRY)


def _noted(request: Request, delays: list[Delay]) -> Answer:
    received_s, alert = time.time(), request.alert
    if alert["stage"] == "opened":
        delays.append(Delay(received_s, received_s - datetime.fromisoformat(alert["event_at"]).timestamp()))
    return Answer()


def _settings(servers: Servers, url: str, topic: str, webhook: str) -> dict[str, Any]:
    return {
        "database_url": url,
        "log": "kafka",
        "kafka_bootstrap": servers.kafka.bootstrap,
        "kafka_topic": topic,
        "kafka_group": topic,
        "log_partitions": PARTITIONS,
        "batch_max_messages": database.BATCH_MAX_MESSAGES,
        "alert_webhook_url": webhook,
        "alert_webhook_secret": "bench",
    }
