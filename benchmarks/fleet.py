"""fleet: the memory of a worker that knows very many vehicles."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg

from benchmarks.measure import Figure, Report, at_most
from benchmarks.programs import Program, hanhtrinh
from benchmarks.servers import Servers
from benchmarks.workload import PARTITIONS, START, fill
from detectors.fix import Fix, to_us
from ingest.raw import RawMessage
from ingest.simulator import message_of
from ingest.simulator.delivery import Delivery

_FIRST = 1_000
_PATIENCE_S = 900


def run(servers: Servers, *, quick: bool) -> Report:
    """One fix of every vehicle, all in the registry, through Kafka into a real worker."""
    vehicles = 6_000 if quick else 1_000_000
    topic = servers.kafka.topic("fleet")
    fill(servers.kafka.bootstrap, topic, list(_messages(0, _FIRST)))
    with servers.database() as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO operators (operator_id, name) SELECT n, n FROM generate_series(0, 999) AS n")
        connection.execute(
            "INSERT INTO vehicles (vehicle_id, operator_id, kind, speed_class, limit_kmh)"
            " SELECT 'V' || lpad(n::text, 7, '0'), n %% 1000, 'goods', 'heavy', 70 FROM generate_series(0, %s) AS n",
            (vehicles,),
        )
        settings = {
            "database_url": url,
            "log": "kafka",
            "kafka_bootstrap": servers.kafka.bootstrap,
            "kafka_topic": topic,
            "kafka_group": topic,
            "log_partitions": PARTITIONS,
        }
        with hanhtrinh(servers.folder("fleet"), "work", **settings) as worker:
            _worked_off(connection, worker, _FIRST)
            few_bytes = worker.rss_bytes()
            for begin in range(_FIRST, vehicles, 50_000):
                fill(servers.kafka.bootstrap, topic, list(_messages(begin, min(vehicles, begin + 50_000))))
            _worked_off(connection, worker, vehicles)
            all_bytes = worker.rss_bytes()
    return Report(
        "fleet",
        "memory of a worker process that has met every vehicle of a large fleet",
        sizes={"vehicles": vehicles, "partitions": PARTITIONS},
        figures=[
            Figure("for each vehicle", "bytes", [(all_bytes - few_bytes) / (vehicles - _FIRST)], at_most(500)),
            Figure("the process", "MiB", [all_bytes / 2**20], at_most(700)),
        ],
        notes=["for each vehicle: growth of the resident memory, names, limits, operators and all else included"],
    )


def _messages(begin: int, end: int) -> Iterator[tuple[str, RawMessage]]:
    time_us = to_us(START)
    for number in range(begin, end):
        vehicle_id = f"V{number:07d}"
        fix = Fix(vehicle_id, time_us + number, 10.0 + number % 1_000 / 1_000, 106.0, 40.0, f"D{number:07d}")
        out = message_of(Delivery(time_us, vehicle_id, [fix]))
        yield vehicle_id, RawMessage(out.topic, out.payload, time_us + 2_000_000)


def _worked_off(connection: psycopg.Connection[tuple[int]], worker: Program, messages: int) -> None:
    deadline_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline_s:
        worker.require_running()
        row = connection.execute("SELECT coalesce(sum(messages), 0)::int8 FROM log_positions").fetchone()
        if row is not None and row[0] >= messages:
            return
        time.sleep(0.1)
    raise TimeoutError(f"{messages} messages were not worked off within {_PATIENCE_S} s")
