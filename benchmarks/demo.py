"""demo: the memory of `hanhtrinh run --demo`, everything in one process, without PostgreSQL."""

from __future__ import annotations

import time

from benchmarks.measure import Figure, Report, at_most
from benchmarks.programs import hanhtrinh
from benchmarks.servers import Servers

_EVERY_S = 0.5


def run(servers: Servers, *, quick: bool) -> Report:
    """The embedded default: broker, bridge, log, worker, notifier and simulator in the process that is measured."""
    vehicles, seconds, repeats = (20, 6, 1) if quick else (1_000, 300, 1)
    samples = [_measure(servers, vehicles, seconds) for _ in range(repeats)]
    return Report(
        "demo",
        "memory of `hanhtrinh run --demo`; the database is another process and not counted",
        sizes={"vehicles": vehicles, "seconds": seconds, "runs": repeats},
        figures=[
            Figure("highest", "MiB", [max(each) for each in samples], at_most(400)),
            Figure("at the end", "MiB", [each[-1] for each in samples]),
        ],
        notes=[f"resident memory of the process, looked at every {_EVERY_S:g} s, the warm history included"],
    )


def _measure(servers: Servers, vehicles: int, seconds: int) -> list[float]:
    folder = servers.folder("demo")
    found: list[float] = []
    arguments = ("run", "--demo", "--vehicles", str(vehicles))
    with hanhtrinh(folder, *arguments, data_dir=folder / "data") as program:
        deadline_s = time.monotonic() + seconds
        while time.monotonic() < deadline_s:
            program.require_running()
            found.append(program.rss_bytes() / 2**20)
            time.sleep(_EVERY_S)
    return found
