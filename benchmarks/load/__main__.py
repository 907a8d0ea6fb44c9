"""`python -m benchmarks.load`: a country on one machine. Prints a table and JSON; the clock never makes it fail."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from benchmarks import bridge
from benchmarks.load import alone, country, database
from benchmarks.load.country import Found
from benchmarks.load.report import report_of
from benchmarks.load.traffic import SPEEDING_EVERY_S
from benchmarks.measure import machine
from benchmarks.servers import Servers, servers
from benchmarks.workload import calm_morning


class Sizes(NamedTuple):
    """How large a run is."""

    vehicles: int
    seconds: float
    backlog_s: float
    stored_alone: int
    """Fixes to store with and without state."""
    speeding_every_s: int
    bridge_minutes: float
    """Of 2,000 vehicles."""


_COUNTRY = Sizes(1_000_000, 600.0, 60.0, 1_000_000, SPEEDING_EVERY_S, 8.0)
_QUICK = Sizes(6_000, 8.0, 70.0, 60_000, 600, 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.load",
        description="A simulated country: its fixes written into Kafka by one process, judged and stored by another.",
        epilog='Example: make bench-load ARGS="--seconds 60"',
    )
    parser.add_argument("--vehicles", type=int, metavar="N", help="one fix each every 30 s (1,000,000)")
    parser.add_argument("--seconds", type=float, metavar="S", help="measured at the full rate (600)")
    parser.add_argument(
        "--backlog", type=float, metavar="S", help="of so many seconds to work off first, for the peak (60); 0: none"
    )
    parser.add_argument("--soak", type=float, metavar="S", help="the same for longer, to see whether memory is flat")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it runs, not how fast")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the JSON there as well")
    chosen = parser.parse_args()
    given = {"vehicles": chosen.vehicles, "seconds": chosen.soak or chosen.seconds, "backlog_s": chosen.backlog}
    asked = {name: each for name, each in given.items() if each is not None}
    sizes = (_QUICK if chosen.quick else _COUNTRY)._replace(**asked)
    # The servers must not stay behind when somebody's patience ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # A new topic answers "not the leader" at first; the producer tries again, and nobody need read of it.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    console = Console(stderr=chosen.json, width=None if sys.stdout.isatty() else 120, highlight=False)
    with servers() as started:
        found, told = _measure(started, sizes, console)
    told |= {"quick": chosen.quick, "over_time": _over_time(found)}
    text = json.dumps(told, indent=1)
    if chosen.json:
        print(text)
    if chosen.out is not None:
        chosen.out.write_text(text + "\n", encoding="utf-8")
        console.print(f"written to {chosen.out}")


def _measure(started: Servers, sizes: Sizes, console: Console) -> tuple[Found, dict[str, Any]]:
    where, began_s = machine(), time.monotonic()

    def tell(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - began_s:6.0f} s  {text}[/dim]")

    console.print(f"{where['cores']} cores {where['processor']}, {where['system']}, Python {where['python']}")
    database.configure(started.postgres)
    found = country.run(
        started,
        vehicles=sizes.vehicles,
        seconds=sizes.seconds,
        backlog_s=sizes.backlog_s,
        speeding_every_s=sizes.speeding_every_s,
        tell=tell,
    )
    tell("the fixes alone")
    costs = alone.run(started, vehicles=sizes.vehicles, fixes=sizes.stored_alone)
    tell("one MQTT bridge")
    messages = [message for _, message in calm_morning(2_000, sizes.bridge_minutes).messages]
    carried = bridge.measure(started, messages)
    report = report_of(
        found, costs, [carried.messages / carried.wall_s], vehicles=sizes.vehicles, seconds=sizes.seconds
    )
    report.print(console)
    return found, {"machine": where, "benchmarks": [report.to_json()]}


def _over_time(found: Found) -> list[dict[str, float]]:
    """Rate, lag and memory second by second."""
    first = found.steady[0]
    return [
        {
            "second": round(now.at_s - first.at_s, 1),
            "fixes_per_s": round((now.done.fixes - before.done.fixes) / (now.at_s - before.at_s)),
            "lag_messages": now.lag,
            "worker_mib": round(now.processes["worker"].rss_bytes / 2**20, 1),
        }
        for before, now in zip(found.steady, found.steady[1:], strict=False)
    ]


if __name__ == "__main__":
    main()
