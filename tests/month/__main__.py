"""`make agree`: a month of a fleet through the whole chain. Exit code 1 when a number disagrees with the raw rows."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from datetime import date, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from detectors.fix import from_us
from hanhtrinh.settings import PREFIX, Settings
from ingest.simulator import Fleet, write_registry
from storage.reports.catalogue import KINDS
from tests.month.agreement import Agreement
from tests.month.delivery import in_order_of_receipt, messages
from tests.month.expected import ZONE, Registry
from tests.month.ledger import Ledger
from tests.month.running import Chain, Stopwatch, running_chain

MONTH = date(2026, 3, 1)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.month",
        description="Send a simulated month through the chain, late days and hours after the rest, and compare every"
        " figure that is read from it with the raw rows.",
    )
    parser.add_argument("--vehicles", type=int, default=200)
    parser.add_argument("--days", type=int, default=31, choices=range(1, 32), metavar="1-31", help="of March 2026")
    parser.add_argument("--interval", type=int, default=30, metavar="S", help="seconds between fixes (default 30)")
    parser.add_argument("--workers", type=int, default=2, choices=(1, 2, 4, 8))
    parser.add_argument("--seed", type=int, default=5, help="equal seeds give equal months (default 5)")
    parser.add_argument("--out", type=Path, default=Path("agreement"), help="folder for the reports and the logs")
    chosen = parser.parse_args()
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]
    Settings.model_config["env_file"] = None
    # Told to end, it ends its servers and processes too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    ledger = asyncio.run(_run(chosen))
    sys.exit(1 if ledger.wrong or not ledger.numbers else 0)


async def _run(chosen: argparse.Namespace) -> Ledger:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    shutil.rmtree(chosen.out, ignore_errors=True)
    chosen.out.mkdir(parents=True)
    # The evening before belongs to the month before: its violations must not be counted in this one.
    begin = datetime(MONTH.year, MONTH.month, MONTH.day, tzinfo=ZONE) - timedelta(days=1)
    fleet = Fleet(chosen.seed, chosen.vehicles, begin, timedelta(days=chosen.days + 1), chosen.interval)
    write_registry(fleet.roster, chosen.out / "registry")
    home = Path(tempfile.mkdtemp(prefix="hanhtrinh-month-"))
    began_s = time.monotonic()
    ledger = Ledger()
    try:
        async with running_chain(home, chosen.out, chosen.workers) as chain:
            fixes, late = await _compare(chosen, chain, fleet, ledger, console)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    minutes = (time.monotonic() - began_s) / 60
    console.print(_table(ledger))
    console.print(ledger.differences(), markup=False)
    console.print(
        f"{chosen.vehicles} vehicles, {chosen.days} days, a fix every {chosen.interval} s: {fixes:,} fixes sent,"
        f" {late:,} of them hours to days late; {ledger.numbers:,} numbers compared, {ledger.wrong:,} disagree;"
        f" {minutes:.0f} min"
    )
    return ledger


async def _compare(
    chosen: argparse.Namespace, chain: Chain, fleet: Fleet, ledger: Ledger, console: Console
) -> tuple[int, int]:
    for name in ("operators", "vehicles", "drivers"):
        await chain.call("import", str(chosen.out / "registry" / f"{name}.csv"))
    registry = Registry.read(chosen.out / "registry")
    with Stopwatch(console) as watch:
        agreement = Agreement(chain.connection, registry, chain.report, chosen.out, MONTH, ledger, watch.say)
        await chain.start()
        late, fixes, sent = [], 0, 0
        for message in messages(fleet, chosen.seed):
            fixes += message.fixes
            if message.late:
                late.append(message)
            else:
                sent += 1
                await chain.append(message)
                watch.count(f"sent to {from_us(message.raw.received_us):%d %B}", sent)
        await chain.worked_off(watch.say)
        await chain.call("maintain", "--once")
        await agreement.check("in time")
        console.print(_table(ledger))
        for number, message in enumerate(in_order_of_receipt(late)):
            await chain.append(message)
            watch.count("sent late", number)
        await chain.worked_off(watch.say)
        await chain.call("maintain", "--once")
        await agreement.check("with the late ones", fleet.planted())
        watch.say("writing the reports of an operator")
        await _write_documents(chain, registry, chosen.out)
    return fixes, sum(message.fixes for message in late)


async def _write_documents(chain: Chain, registry: Registry, folder: Path) -> None:
    """Every report as an office gets it: of the first operator, of its first vehicle where it is about one, of all."""
    operator_id, vehicle_id = registry.first()
    of: dict[str, list[str]] = {"national": [], "badge": []}
    for name, kind in KINDS.items():
        about = ["--vehicle", vehicle_id] if kind.needs_vehicle else of.get(name, ["--operator", operator_id])
        for ending in ("xlsx", "pdf"):
            await chain.report(name, "--month", f"{MONTH:%Y-%m}", "-o", str(folder / f"{name}.{ending}"), *about)


def _table(ledger: Ledger) -> Table:
    table = Table("compared with the raw rows", "when", title=None)
    for heading in ("rows", "numbers", "disagree"):
        table.add_column(heading, justify="right")
    lines: dict[tuple[str, str], list[int]] = {}
    for line in ledger.lines:
        sums = lines.setdefault((line.what, line.when), [0, 0, 0])
        sums[:] = [one + more for one, more in zip(sums, (line.rows, line.numbers, line.wrong), strict=True)]
    for (what, when), sums in lines.items():
        table.add_row(what, when, *(f"{number:,}" for number in sums))
    return table


if __name__ == "__main__":
    main()
