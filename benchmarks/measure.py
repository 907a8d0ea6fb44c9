"""What a benchmark hands back, as a table for people and as JSON for programs."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure should reach. A missed target is shown, and fails nothing."""

    number: float
    at_least: bool = True

    def met(self, value: float) -> bool:
        return value >= self.number if self.at_least else value <= self.number

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {_shown(self.number)}"


def at_least(number: float) -> Target:
    return Target(number)


def at_most(number: float) -> Target:
    return Target(number, at_least=False)


@dataclass(frozen=True, slots=True)
class Figure:
    """One quantity, measured once per run."""

    name: str
    unit: str
    runs: Sequence[float]
    target: Target | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.runs)

    def to_json(self) -> dict[str, Any]:
        told: dict[str, Any] = {
            "name": self.name,
            "unit": self.unit,
            "runs": [float(f"{run:.6g}") for run in self.runs],
            "median": float(f"{self.median:.6g}"),
            "lowest": float(f"{min(self.runs):.6g}"),
            "highest": float(f"{max(self.runs):.6g}"),
        }
        if self.target is not None:
            told["target"] = str(self.target)
            told["target_met"] = self.target.met(self.median)
        return told


@dataclass(slots=True)
class Report:
    """What one benchmark found. `skipped` says why it could not run; then there are no figures."""

    benchmark: str
    what: str
    figures: list[Figure] = field(default_factory=list)
    sizes: Mapping[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    skipped: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "benchmark": self.benchmark,
            "what": self.what,
            "sizes": dict(self.sizes),
            "figures": [figure.to_json() for figure in self.figures],
            "notes": self.notes,
            "skipped": self.skipped,
        }

    def print(self, console: Console) -> None:
        sizes = ", ".join(f"{name} {_shown(size)}" for name, size in self.sizes.items())
        console.print(f"[bold]{self.benchmark}[/bold]: {self.what}" + (f" ({sizes})" if sizes else ""))
        if self.skipped is not None:
            console.print(f"  skipped: {self.skipped}", markup=False)
            return
        table = Table("figure", "unit", header_style="bold")
        for heading in ("median", "lowest", "highest", "target"):
            table.add_column(heading, justify="right")
        table.add_column("")
        for figure in self.figures:
            met = "" if figure.target is None else "met" if figure.target.met(figure.median) else "[red]missed[/red]"
            numbers = (figure.median, min(figure.runs), max(figure.runs))
            target = "" if figure.target is None else str(figure.target)
            table.add_row(figure.name, figure.unit, *map(_shown, numbers), target, met)
        console.print(table)
        for note in self.notes:
            console.print(f"  {note}", markup=False)


def machine() -> dict[str, Any]:
    """Where the figures come from."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "load_at_start": round(os.getloadavg()[0], 2),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _shown(number: float) -> str:
    if number == int(number) or abs(number) >= 1000:
        return f"{number:,.0f}"
    return f"{number:.3g}" if abs(number) < 100 else f"{number:.1f}"
