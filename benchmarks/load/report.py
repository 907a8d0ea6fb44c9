"""What a run found, as figures with their targets."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from benchmarks.load.alone import Costs
from benchmarks.load.country import Found
from benchmarks.load.traffic import EVERY_S
from benchmarks.load.watch import Sample, cores, growth_bytes_per_s
from benchmarks.measure import Figure, Report, Target, at_least, at_most

_PROGRAMS = ("worker", "postgresql", "kafka", "generator", "notifier")


def report_of(found: Found, costs: Costs, bridge_per_s: Sequence[float], *, vehicles: int, seconds: float) -> Report:
    """The table of one run."""
    rate = vehicles / EVERY_S
    report = Report(
        "load",
        "a country: Kafka to judged and committed rows, alerts to a webhook, one worker process",
        sizes={"vehicles": vehicles, "seconds": seconds, "offered_per_s": round(rate)},
        notes=[
            "CPU in cores; every process shares this machine. Lag: messages that Kafka has and the database has not.",
            "Latencies run from the time of the fix, which is when the generator was due to write it.",
            "Peak: the worker works off a backlog while the generator goes on.",
            "State and position: anchors and the compare-and-set, CPU of client and server, against COPY and commit"
            " of the same fixes.",
        ],
    )
    report.figures = [*_steady(found, rate), *_peak(found), *_stored(found), *_around(found, costs, bridge_per_s, rate)]
    return report


def _steady(found: Found, rate: float) -> list[Figure]:
    steady = found.steady
    lags = sorted(max(0, each.lag) / rate for each in steady)
    figures = [
        _one("sustained", "fixes/s", _rate(steady), at_least(0.99 * rate)),
        _one("lag, median", "s of traffic", statistics.median(lags)),
        _one("lag, highest", "s of traffic", lags[-1]),
        _one("lag at the end less that at the start", "messages", steady[-1].lag - steady[0].lag),
    ]
    if found.commit_s is not None:
        figures += [
            _one("event to commit, median", "s", found.commit_s[0]),
            _one("event to commit, 99th percentile", "s", found.commit_s[1]),
        ]
    if found.alert_s:
        waits = sorted(found.alert_s)
        figures += [
            _one("event to alert, median", "s", statistics.median(waits)),
            _one("event to alert, 99th percentile", "s", waits[math.ceil(0.99 * len(waits)) - 1]),
            _one("alerts", "", len(waits)),
        ]
    late = found.stalls.late / max(1, found.stalls.looks) * 100
    figures.append(_one("event loop back later than 0.1 s", "% of looks", late, at_most(0)))
    figures += [_one(f"CPU of {name}", "cores", cores(steady, name)) for name in _PROGRAMS]
    figures.append(_one("CPU of the worker", "us/fix", _us_per_fix(steady, "worker")))
    figures.append(_one("CPU of PostgreSQL", "us/fix", _us_per_fix(steady, "postgresql")))
    figures += [_one(f"memory of {name}", "MiB", steady[-1].processes[name].rss_bytes / 2**20) for name in _PROGRAMS]
    growth = [growth_bytes_per_s(steady, name) * 3600 / 2**20 for name in ("worker", "notifier")]
    figures.append(_one("memory of the worker, growth in the second half", "MiB/h", growth[0]))
    figures.append(_one("memory of the notifier, growth in the second half", "MiB/h", growth[1]))
    return figures


def _peak(found: Found) -> list[Figure]:
    figures = [_one("vehicles met for the first time", "fixes/s", _rate(found.first))]
    if len(found.peak) > 1:
        per_core = 1e6 / _us_per_fix(found.peak, "worker")
        figures += [
            _one("peak, per worker core", "fixes/s", per_core, at_least(60_000)),
            _one("peak, by the clock", "fixes/s", _rate(found.peak)),
        ]
    return figures


def _stored(found: Found) -> list[Figure]:
    steady = found.steady
    wal = (steady[-1].done.wal_bytes - steady[0].done.wal_bytes) / _fixes(steady)
    return [
        _one("table of fixes with its key", "bytes/fix", found.table_bytes["fixes"] / found.fixes),
        _one("all tables but the registry", "bytes/fix", found.stored_bytes / found.fixes),
        _one("write-ahead log", "bytes/fix", wal),
    ]


def _around(found: Found, costs: Costs, bridge_per_s: Sequence[float], rate: float) -> list[Figure]:
    added = [costs.with_state.total_us / costs.alone.total_us * 100 - 100]
    figures = [
        _one("storing the fixes alone, client and server", "us/fix", costs.alone.total_us),
        Figure("state and position add", "%", added, at_most(15)),
        _one("kill -9 to the next commit", "s", found.recovered_s, at_most(10)),
    ]
    if found.level_s is not None:
        figures.append(_one("kill -9 to all vehicles back, nothing waiting", "s", found.level_s))
    if bridge_per_s:
        figures.append(Figure("one MQTT bridge", "messages/s", bridge_per_s))
        figures.append(_one("bridges for this fleet", "", math.ceil(rate / statistics.median(bridge_per_s))))
    return figures


def _one(name: str, unit: str, number: float, target: Target | None = None) -> Figure:
    return Figure(name, unit, [number], target)


def _fixes(samples: Sequence[Sample]) -> int:
    return samples[-1].done.fixes - samples[0].done.fixes


def _rate(samples: Sequence[Sample]) -> float:
    return _fixes(samples) / (samples[-1].at_s - samples[0].at_s)


def _us_per_fix(samples: Sequence[Sample], name: str) -> float:
    return (samples[-1].processes[name].cpu_s - samples[0].processes[name].cpu_s) / _fixes(samples) * 1e6
