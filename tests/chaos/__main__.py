"""`make chaos`: run the fault suite, write its report. Exit code 1 when a round lost, doubled or did not recover."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path

import psutil
from rich.console import Console

from hanhtrinh.settings import PREFIX, Settings
from tests.chaos.plan import LONG, SHORT, rounds
from tests.chaos.report import Bench, to_json, to_markdown
from tests.chaos.suite import RoundResult, disturbed, undisturbed
from tests.chaos.workload import LONG_DAY, SHORT_DAY, make_day
from tests.chaos.world import running_world


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description="Strike the running chain with faults and compare what it ends in."
    )
    parser.add_argument("--seed", type=int, default=7, help="equal seeds strike at equal messages (default 7)")
    parser.add_argument("--kills", type=int, metavar="N", help="scale the killing faults to about N kills")
    about = sorted({each.about for each in LONG})
    parser.add_argument("--only", action="append", choices=about, help="the rounds about this; repeatable")
    parser.add_argument("--short", action="store_true", help="one round of everything, as in `make test`")
    parser.add_argument(
        "--out", type=Path, default=Path("chaos"), help="folder for report.md, report.json and the logs"
    )
    chosen = parser.parse_args()
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]
    Settings.model_config["env_file"] = None
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    results = asyncio.run(_run(chosen))
    sys.exit(0 if all(each.holds for each in results) else 1)


async def _run(chosen: argparse.Namespace) -> list[RoundResult]:
    console = Console(highlight=False, width=120 if not sys.stdout.isatty() else None)
    shutil.rmtree(chosen.out, ignore_errors=True)
    chosen.out.mkdir(parents=True)
    home = Path(tempfile.mkdtemp(prefix="hanhtrinh-chaos-"))
    results: list[RoundResult] = []
    try:
        day = make_day(chosen.seed, chosen.out / "day", SHORT_DAY if chosen.short else LONG_DAY)
        async with running_world(home) as world:
            console.print(f"{len(day.messages)} messages a round; the undisturbed run")
            expected = await undisturbed(world, day, chosen.out / "undisturbed")
            disk = "a tmpfs of its own" if world.disk.mounted else "not mountable here: SQLSTATE 53100 by trigger"
            bench = Bench(
                command="make chaos" + (f' ARGS="{" ".join(sys.argv[1:])}"' if sys.argv[1:] else ""),
                seed=chosen.seed,
                machine=_machine(),
                messages=len(day.messages),
                fixes=len(expected.fixes),
                violations=len(expected.violations),
                letters=len(expected.letters),
                disk=f"Disk of the full-disk round: {disk}.",
            )
            for each in SHORT if chosen.short else rounds(chosen.kills, chosen.only):
                folder = chosen.out / each.name.replace(" ", "-").replace(",", "")
                console.print(f"[bold]{each.name}[/bold]")
                results.append(
                    await disturbed(
                        world, day, expected, each, folder, chosen.seed, lambda line: console.print("  " + line)
                    )
                )
                _tell(console, results[-1])
                (chosen.out / "report.json").write_text(to_json(bench, results), encoding="utf-8")
                (chosen.out / "report.md").write_text(to_markdown(bench, results), encoding="utf-8")
    finally:
        shutil.rmtree(home, ignore_errors=True)
    console.print((chosen.out / "report.md").read_text(), markup=False, soft_wrap=True)
    return results


def _machine() -> str:
    memory_gib = psutil.virtual_memory().total >> 30
    return f"{os.cpu_count()} cores, {memory_gib} GiB, Python {sys.version.split()[0]}"


def _tell(console: Console, result: RoundResult) -> None:
    verdict = result.verdict
    figures = f"{verdict.lost} lost, {verdict.doubled} doubled" if verdict else "no verdict"
    console.print(
        f"  {'holds' if result.holds else '[red]does not hold[/red]'}: {figures}, {result.kills} kills,"
        f" {result.seconds:.0f} s"
    )
    for line in [*(verdict.broken if verdict else []), *result.trouble]:
        console.print(f"  {line[:400]}", markup=False)


if __name__ == "__main__":
    main()
