"""check: `hanhtrinh check` on a large recording, from the start of the process to its end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import pyarrow as pa
from pyarrow import csv

from benchmarks.measure import Figure, Report, at_least
from benchmarks.programs import ROOT, ProgramError, environment
from benchmarks.servers import Servers

_INTERVAL_S = 30
_POLL_S = 0.02
_DAY = ROOT.parent / "shared" / "data" / "capmetro"
_OPTIONS = ("--map", "time=timestamp", "--speed-unit", "ms", "--rule", "speeding.max_gap_s=300", "--json")


class Run(NamedTuple):
    """One run of the command."""

    wall_s: float
    cpu_s: float
    rss_mib: float


def run(servers: Servers, *, quick: bool) -> Report:
    """A made recording in the shape of the real one, and the real one where it lies beside the checkout."""
    vehicles, fixes_each, repeats = (20, 200, 1) if quick else (450, 2_400, 5)
    made = servers.folder("check") / "made.csv"
    _write(made, vehicles, fixes_each)
    rows = vehicles * fixes_each
    report = Report(
        "check",
        "hanhtrinh check on a CSV: start, reading, judging, printing as JSON",
        sizes={"rows": rows, "vehicles": vehicles, "bytes": made.stat().st_size, "runs": repeats},
    )
    report.figures += _figures("made", rows, [_check([made]) for _ in range(repeats)], target=True)
    real = sorted(_DAY.glob("*.csv.gz"))
    if real and not quick:
        real_rows = sum(_rows(path) for path in real)
        runs = [_check(real) for _ in range(repeats)]
        report.figures += _figures(f"capmetro, {len(real)} days, {real_rows:,} rows, gzip", real_rows, runs)
    elif not real:
        report.notes.append("the real recordings are not beside the checkout")
    return report


def _figures(name: str, rows: int, runs: Sequence[Run], *, target: bool = False) -> list[Figure]:
    aim = at_least(300_000) if target else None
    return [
        Figure(f"{name}: by the clock", "fixes/s", [rows / each.wall_s for each in runs], aim),
        Figure(f"{name}: by its CPU", "fixes/s", [rows / each.cpu_s for each in runs], aim),
        Figure(f"{name}: highest memory", "MiB", [each.rss_mib for each in runs]),
    ]


def _check(files: Sequence[Path]) -> Run:
    began_s = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "hanhtrinh", "check", *map(str, files), *_OPTIONS],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        env=environment({}),
    )
    # Not ru_maxrss: after a fork it begins with the memory of this process.
    watched, rss = psutil.Process(process.pid), 0
    while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
        rss = max(rss, watched.memory_info().rss)
        time.sleep(_POLL_S)
    _, status, used = ended
    wall_s = time.perf_counter() - began_s
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise ProgramError(f"hanhtrinh check ended with {process.returncode}")
    return Run(wall_s, used.ru_utime + used.ru_stime, rss / 2**20)


def _write(path: Path, vehicles: int, fixes_each: int) -> None:
    """Buses that go round at speeds between a stop and the limit and above it now and then."""
    rng = np.random.default_rng(1)
    shape = (vehicles, fixes_each)
    time_s = 1_454_824_800 + np.arange(fixes_each) * _INTERVAL_S + rng.integers(0, _INTERVAL_S // 2, shape)
    swing = np.sin(np.arange(fixes_each) / 40 + rng.uniform(0, 6, (vehicles, 1)))
    speed_ms = np.clip(11 + 9 * swing + rng.normal(0, 2, shape), 0, 24)
    speed_ms[speed_ms < 3] = 0
    angle = np.cumsum(speed_ms * _INTERVAL_S, axis=1) / 8_000 + rng.uniform(0, 6, (vehicles, 1))
    local = np.datetime_as_string((time_s.ravel() - 6 * 3600).astype("datetime64[s]"))
    columns = {
        "vehicle_id": np.repeat(np.arange(2_000, 2_000 + vehicles), fixes_each),
        "timestamp": np.char.add(local, "-06:00"),
        "speed": np.round(speed_ms.ravel(), 5),
        "route_id": np.repeat(np.arange(vehicles) % 80, fixes_each),
        "latitude": np.round(30.25 + 0.07 * np.sin(angle).ravel(), 6),
        "longitude": np.round(-97.75 + 0.08 * np.cos(angle).ravel(), 6),
    }
    in_order = np.argsort(time_s.ravel(), kind="stable")
    table = pa.table({name: column[in_order] for name, column in columns.items()})
    csv.write_csv(table, path, csv.WriteOptions(quoting_style="needed"))


def _rows(path: Path) -> int:
    with pa.input_stream(path, compression="gzip") as file:
        lines: int = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
    return lines - 1
