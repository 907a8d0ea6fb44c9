"""`python -m benchmarks [NAME...]`: measure, print tables, write JSON. The clock never makes it fail."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from rich.console import Console

from benchmarks.measure import Report, machine
from benchmarks.servers import servers

NAMES = ("engine", "hours", "check", "rejudge", "worker", "peers", "bridge", "latency", "demo", "fleet", "size")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure how fast the product is.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones: {', '.join(NAMES)}; all when none")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it runs, not how fast")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the JSON there as well")
    chosen = parser.parse_args()
    unknown = sorted(set(chosen.names) - set(NAMES))
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}, expected {', '.join(NAMES)}")
    # A new topic answers "not the leader" at first; the producer tries again, and nobody need read of it.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    where = machine()
    console = Console(stderr=chosen.json, width=None if sys.stdout.isatty() else 120, highlight=False)
    console.print(f"{where['cores']} cores {where['processor']}, {where['system']}, Python {where['python']}")
    reports: list[Report] = []
    with servers() as started:
        for name in chosen.names or NAMES:
            reports.append(_benchmark(name)(started, quick=chosen.quick))
            reports[-1].print(console)
    found = {"machine": where, "quick": chosen.quick, "benchmarks": [report.to_json() for report in reports]}
    text = json.dumps(found, indent=1)
    if chosen.json:
        print(text)
    if chosen.out is not None:
        chosen.out.write_text(text + "\n", encoding="utf-8")
        console.print(f"written to {chosen.out}")


def _benchmark(name: str) -> Callable[..., Report]:
    """Loaded when it is run, so that one does not need what another one needs."""
    run: Callable[..., Report] = import_module(f"benchmarks.{name}").run
    return run


if __name__ == "__main__":
    main()
