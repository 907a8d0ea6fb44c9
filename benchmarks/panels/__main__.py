"""`python -m benchmarks.panels`: panels and reports on a large database. The clock never makes it fail."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console
from rich.table import Table

from benchmarks.measure import machine
from benchmarks.panels import dashboards, reports
from benchmarks.panels.build import Built, Size
from benchmarks.panels.dashboards import Timed
from benchmarks.panels.database import SETTINGS, LargeDatabase, large_database
from benchmarks.panels.reports import Written
from storage.reports.catalogue import KINDS
from storage.reports.scope import ZONE

_FIXES, _VIOLATIONS = 100_000_000, 1_000_000
_QUICK = 200_000, 4_000
_QUICK_REPORTS = "PL05", "journey"
_REPORT_S = 60.0
_BUSIEST = "SELECT vehicle_id FROM day_sums GROUP BY 1 ORDER BY sum(fixes) DESC LIMIT 1"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.panels",
        description="Build a large database and measure every panel of every dashboard and every report on it.",
        epilog='Example: make bench-panels ARGS="--keep /data/bench --only panels"',
    )
    parser.add_argument("--fixes", type=int, metavar="N", help="about so many (100,000,000: 25 GB)")
    parser.add_argument("--violations", type=int, metavar="N", help="so many at least (1,000,000: 9 GB with alerts)")
    parser.add_argument(
        "--until", type=_moment, metavar="TIME", help="end of a new database (now); fixes go back to the month before"
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave the database there, or take the one there")
    parser.add_argument("--only", choices=("panels", "reports", "build"), help="one part of it")
    parser.add_argument("--dashboard", metavar="NAME", help="only the panels of this one")
    parser.add_argument("--report", nargs="*", choices=tuple(KINDS), help="only these reports")
    parser.add_argument("--form", nargs="*", choices=reports.FORMS, help="reports in these forms (all)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it runs, not how fast")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the JSON there as well")
    chosen = parser.parse_args()
    # The server must not stay behind when somebody's patience ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    fixes, violations = _QUICK if chosen.quick else (_FIXES, _VIOLATIONS)
    size = Size(chosen.fixes or fixes, chosen.violations or violations, chosen.until or datetime.now(UTC))
    console = Console(stderr=chosen.json, width=None if sys.stdout.isatty() else 140, highlight=False)
    where = machine()
    console.print(f"{where['cores']} cores {where['processor']}, {where['system']}, Python {where['python']}")
    told: dict[str, Any] = {"machine": where, "quick": chosen.quick}
    with large_database(size, chosen.keep, console) as database:
        told["database"] = asdict(database.built) | {"bytes": database.bytes(), "settings": SETTINGS}
        _print_database(database.built, database.bytes(), console)
        if chosen.only in (None, "panels"):
            timed = dashboards.run(database, chosen.dashboard, quick=chosen.quick, tell=console.print)
            told["panels"] = [each.to_json() for each in timed]
            _print_panels(timed, console)
        if chosen.only in (None, "reports"):
            names, forms = (_QUICK_REPORTS, ("csv",)) if chosen.quick else (tuple(KINDS), reports.FORMS)
            written = _reports(database, chosen.report or names, chosen.form or forms, console)
            told["reports"] = [each._asdict() for each in written]
    text = json.dumps(told, indent=1)
    if chosen.json:
        print(text)
    if chosen.out is not None:
        chosen.out.write_text(text + "\n", encoding="utf-8")
        console.print(f"written to {chosen.out}")


def _moment(text: str) -> datetime:
    """A local one where no zone is named."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=ZONE)).astimezone(UTC)


def _print_database(built: Built, stored: dict[str, int], console: Console) -> None:
    console.print(
        f"{built.fixes:,} fixes of {built.vehicles:,} vehicles in {built.days} days, {built.violations:,} violations"
        f" since {built.violations_from[:10]}; built in {built.seconds:,.0f} s"
    )
    console.print(", ".join(f"{name} {size / 2**30:.2f} GiB" for name, size in stored.items()))


def _print_panels(timed: Sequence[Timed], console: Console) -> None:
    table = Table("dashboard", "panel", header_style="bold")
    for heading in ("p50 ms", "p95 ms", "worst ms", "cold ms", "budget", "rows"):
        table.add_column(heading, justify="right")
    table.add_column("slowest with")
    for each in timed:
        over = "[red]" if each.p95_ms > each.budget_ms else ""
        numbers = (each.p50_ms, each.p95_ms, each.worst_ms, each.cold_ms, each.budget_ms)
        shown = [f"{over}{number:,.0f}" for number in numbers]
        table.add_row(each.dashboard, each.panel, *shown, f"{each.rows:,}", each.slowest)
    console.print(table)
    slow = [each for each in timed if each.p95_ms > each.budget_ms]
    console.print(f"{len(timed)} queries, {len(slow)} over their budget at p95")


def _reports(database: LargeDatabase, names: Sequence[str], forms: Sequence[str], console: Console) -> list[Written]:
    month = _whole_month(database.built)
    with psycopg.connect(database.url) as connection:
        row = connection.execute(
            "SELECT vehicle_id FROM day_sums GROUP BY 1 ORDER BY sum(fixes) DESC LIMIT 1"
        ).fetchone()
    assert row is not None
    table = Table("report", "form", header_style="bold", title=f"month {month}", title_justify="left")
    for heading in ("seconds", "CPU s", "peak MiB", "lines", "file MiB"):
        table.add_column(heading, justify="right")
    table.add_column("")
    written = []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            for form in forms:
                console.print(f"[dim]{name}.{form}[/dim]")
                each = reports.write(database.url, name, form, month, row[0], Path(folder))
                written.append(each)
                slow = "[red]over 60 s" if each.seconds > _REPORT_S else ""
                table.add_row(
                    name, form, f"{each.seconds:.1f}", f"{each.cpu_s:.1f}", f"{each.peak_mib:,.0f}", f"{each.rows:,}",
                    f"{each.bytes / 2**20:.1f}", each.refused or slow,
                )  # fmt: skip
    console.print(table)
    late = [f"{each.name}.{each.form}" for each in written if each.seconds > _REPORT_S]
    console.print(f"{len(written)} reports, {len(late)} over {_REPORT_S:.0f} s: {', '.join(late) or 'none'}")
    return written


def _whole_month(built: Built) -> str:
    """The last month of which every day is there, else the newest."""
    until = datetime.fromisoformat(built.until).astimezone(ZONE)
    before = until.replace(day=1) - timedelta(days=1)
    return f"{before if built.days > until.day else until:%Y-%m}"


if __name__ == "__main__":
    main()
