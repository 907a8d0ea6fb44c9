"""Every SQL target of every dashboard, as Grafana would send it: over several spans and choices, cold and warm."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import psycopg

from benchmarks.panels.database import LargeDatabase
from benchmarks.programs import ROOT
from tests.grafana import Query, View, queries, variable_queries

_FOLDER = ROOT / "dashboards" / "json"
_LANGUAGE = "en"
"""Both languages ask the same."""
_SPANS = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=30),
}
_EACH = 4
"""Times of everything, an operator, a province and several; or four times as many vehicles or drivers."""
_PATIENCE_MS = 30_000
_CANDIDATES = {
    "operator": "SELECT operator_id FROM operators ORDER BY md5(operator_id) LIMIT 40",
    "province": "SELECT DISTINCT province FROM operators ORDER BY 1",
    "vehicle": "SELECT vehicle_id FROM vehicles ORDER BY md5(vehicle_id) LIMIT 60",
    "driver": "SELECT driver_id FROM drivers ORDER BY md5(driver_id) LIMIT 60",
}


class Reader(NamedTuple):
    """Somebody's choice of variables, and of the span of time until everything ends."""

    span: str
    end: datetime
    chosen: Mapping[str, Sequence[str]]

    def __str__(self) -> str:
        return ", ".join([self.span, *(f"{name} {len(values)}" for name, values in self.chosen.items())])


class Timed(NamedTuple):
    """How long a query took, over all choices."""

    dashboard: str
    panel: str
    budget_ms: float
    p50_ms: float
    p95_ms: float
    worst_ms: float
    cold_ms: float
    """The first time after a start of the server, with nothing of the database in memory: everything, the last day."""
    rows: int
    """The most that came."""
    slowest: str
    by_span: Mapping[str, float]
    """95th percentiles, ms."""
    runs: int

    def to_json(self) -> dict[str, Any]:
        return {name: round(each, 2) if isinstance(each, float) else each for name, each in self._asdict().items()}


def run(database: LargeDatabase, only: str | None, *, quick: bool, tell: Callable[[str], None]) -> list[Timed]:
    """All panels, and the queries that fill the choices."""
    asked = [
        each
        for each in (*queries(_FOLDER), *variable_queries(_FOLDER))
        if each.language == _LANGUAGE and only in (None, each.dashboard)
    ]
    rng, each = random.Random(1), 1 if quick else _EACH
    with psycopg.connect(database.url, autocommit=True) as connection:
        values = {name: [row[0] for row in connection.execute(sql.encode())] for name, sql in _CANDIDATES.items()}
    end = datetime.fromisoformat(database.built.until)
    database.freshen()
    cold_ms = []
    database.make_cold()
    with _connected(database.url) as connection:
        for query in asked:
            reader = next(_readers(query, values, rng, 1, end))._replace(span="day")
            cold_ms.append(_once(connection, query, reader)[0])
    found = []
    with _connected(database.url) as connection:
        for query, cold in zip(asked, cold_ms, strict=True):
            found.append(_timed(connection, query, cold, list(_readers(query, values, rng, each, end))))
            last = found[-1]
            tell(f"[dim]{last.p95_ms:7,.0f} ms  {last.dashboard}: {last.panel}[/dim]")
    return found


def _connected(url: str) -> psycopg.Connection[Any]:
    connection = psycopg.connect(url, autocommit=True)
    connection.execute(f"SET statement_timeout = {_PATIENCE_MS}".encode())
    return connection


def _timed(connection: psycopg.Connection[Any], query: Query, cold_ms: float, readers: Sequence[Reader]) -> Timed:
    """Once unmeasured, which reads what every reader needs, and then once for each reader."""
    _once(connection, query, readers[0])
    ran = [(*_once(connection, query, reader), reader) for reader in readers]
    times = sorted(each[0] for each in ran)
    slowest = max(ran, key=lambda each: each[0])
    by_span = {span: _percentile(sorted(each[0] for each in ran if each[2].span == span), 0.95) for span in _SPANS}
    return Timed(
        query.dashboard, f"{query.panel['title']} ({query.target['refId']})", float(query.target["budgetMs"]),
        _percentile(times, 0.5), _percentile(times, 0.95), times[-1], cold_ms, max(each[1] for each in ran),
        str(slowest[2]), by_span, len(times),
    )  # fmt: skip


def _once(connection: psycopg.Connection[Any], query: Query, reader: Reader) -> tuple[float, int]:
    """Milliseconds until the last row was here, and how many there were; infinite when nobody would wait so long."""
    sql = View(reader.end - _SPANS[reader.span], reader.end, reader.chosen).expand(query.sql, query.variables)
    began_s = time.perf_counter()
    try:
        rows = len(connection.execute(sql.encode()).fetchall())
    except psycopg.errors.QueryCanceled:
        return math.inf, 0
    return (time.perf_counter() - began_s) * 1000, rows


def _readers(
    query: Query, values: Mapping[str, Sequence[str]], rng: random.Random, each: int, end: datetime
) -> Iterator[Reader]:
    """Over every span; the first of each span sees everything."""
    many = [name for name, variable in query.variables.items() if variable.get("includeAll")]
    single = [name for name in query.variables if name not in many]
    for span in _SPANS:
        for number in range(each * 4):
            chosen = {name: [rng.choice(values[name])] for name in single}
            if many and number % 4:
                name = many[number % len(many)]
                chosen[name] = rng.sample(values[name], min(len(values[name]), 1 if number % 4 < 3 else 4))
            yield Reader(span, end, chosen)


def _percentile(times: Sequence[float], share: float) -> float:
    """The smallest that so many do not exceed."""
    return times[max(0, math.ceil(share * len(times)) - 1)]
