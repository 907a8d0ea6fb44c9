"""worker: a topic of Kafka that is full, worked off into committed rows by one `hanhtrinh work`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import psycopg

from benchmarks.measure import Figure, Report, at_least
from benchmarks.programs import Program, hanhtrinh
from benchmarks.servers import Servers
from benchmarks.workload import PARTITIONS, Workload, calm_morning, fill, morning

_POLL_S = 0.02
_PATIENCE_S = 300
WARM_SHARE = 0.15
"""So much is left out at the start: vehicles are loaded for the first time, the partition is made."""


class Speed(NamedTuple):
    """What a worker needed between two of its commits."""

    fixes: int
    wall_s: float
    cpu_s: float
    rss_mib: float


class _Moment(NamedTuple):
    messages: int
    fixes: int
    marks: int
    at_s: float
    cpu_s: float


def run(servers: Servers, *, quick: bool) -> Report:
    """Everything in order as the prototype had it, and the simulator's bad network."""
    vehicles, minutes, repeats = (200, 15, 1) if quick else (2_000, 45, 3)
    calm, bad = calm_morning(vehicles, minutes), morning(vehicles, minutes)
    report = Report(
        "worker",
        "Kafka to committed rows in PostgreSQL, one worker process, topic filled before",
        sizes={"vehicles": vehicles, "fixes": calm.fixes, "partitions": PARTITIONS, "runs": repeats},
        notes=[
            "a core: 1 / CPU seconds of the worker process per fix; broker and database share the machine and are"
            " not counted",
            "bad network: 1 % of the messages doubled, 1 % overtaken, dead zones with the backlog in lists; every"
            " vehicle with late fixes is judged again, which is counted",
        ],
    )
    for name, workload, target in (("in order", calm, at_least(50_000)), ("bad network", bad, None)):
        topic = filled_topic(servers, workload)
        speeds = [measure(servers, workload, topic) for _ in range(repeats)]
        report.figures += [
            Figure(f"{name}: per worker core", "fixes/s", [each.fixes / each.cpu_s for each in speeds], target),
            Figure(f"{name}: by the clock", "fixes/s", [each.fixes / each.wall_s for each in speeds]),
            Figure(f"{name}: CPU", "us/fix", [each.cpu_s / each.fixes * 1e6 for each in speeds]),
            Figure(f"{name}: memory of the worker", "MiB", [each.rss_mib for each in speeds]),
        ]
    return report


def filled_topic(servers: Servers, workload: Workload) -> str:
    """A new topic with the whole workload in it."""
    topic = servers.kafka.topic("bench")
    fill(servers.kafka.bootstrap, topic, workload.messages)
    return topic


def measure(servers: Servers, workload: Workload, topic: str) -> Speed:
    """Work the topic off into a new database."""
    with servers.database(workload.roster) as url, psycopg.connect(url, autocommit=True) as connection:
        settings: dict[str, Any] = {
            "database_url": url,
            "log": "kafka",
            "kafka_bootstrap": servers.kafka.bootstrap,
            "kafka_topic": topic,
            "kafka_group": f"{topic}.{time.monotonic_ns()}",
            "log_partitions": PARTITIONS,
        }
        with hanhtrinh(servers.folder("worker"), "work", **settings) as worker:
            begin = _wait(connection, worker, lambda now: now.messages >= WARM_SHARE * len(workload.messages))
            stored = _wait(connection, worker, lambda now: now.messages >= len(workload.messages))
            end = _wait(connection, worker, lambda now: not now.marks)
            rss_mib = worker.rss_bytes() / 2**20
        _require_all(connection, workload)
    return Speed(end.fixes - begin.fixes, stored.at_s - begin.at_s, end.cpu_s - begin.cpu_s, rss_mib)


def _wait(connection: psycopg.Connection[Any], worker: Program, reached: Callable[[_Moment], bool]) -> _Moment:
    deadline_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline_s:
        worker.require_running()
        row = connection.execute(
            "SELECT coalesce(sum(messages), 0)::int8, coalesce(sum(fixes), 0)::int8,"
            " (SELECT count(*) FROM rejudge_marks) FROM log_positions"
        ).fetchone()
        assert row is not None
        messages, fixes, marks = row
        now = _Moment(messages, fixes, marks, time.perf_counter(), worker.cpu_s())
        if reached(now):
            return now
        time.sleep(_POLL_S)
    raise TimeoutError(f"the worker did not come to its end within {_PATIENCE_S} s")


def _require_all(connection: psycopg.Connection[Any], workload: Workload) -> None:
    """A benchmark that loses fixes measures nothing."""
    row = connection.execute("SELECT count(*), (SELECT sum(fixes + doubled) FROM log_positions) FROM fixes").fetchone()
    assert row is not None
    if row[1] != workload.fixes or not row[0]:
        raise AssertionError(f"{workload.fixes} fixes were sent, {row[1]} taken in, {row[0]} stored")
