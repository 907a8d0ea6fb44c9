"""Every report of a month as the command writes it: seconds, memory, lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.programs import ROOT, environment
from storage.reports.catalogue import KINDS

FORMS = ("xlsx", "csv", "pdf")


class Written(NamedTuple):
    """One report: what the process took, or why there is none."""

    name: str
    form: str
    seconds: float
    cpu_s: float
    peak_mib: float
    rows: int
    bytes: int
    refused: str | None


def write(url: str, name: str, form: str, month: str, vehicle: str, folder: Path) -> Written:
    """`hanhtrinh report`, timed from start to end of the process."""
    out = folder / f"{name}.{form}"
    command = [sys.executable, "-m", "hanhtrinh", "report", name, "--month", month, "-o", str(out), "--json"]
    if KINDS[name].needs_vehicle:
        command += ["--vehicle", vehicle]
    began_s = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment({"database_url": url}), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    said = process.stdout.read()
    complaint = process.stderr.read().decode(errors="replace").strip()
    # What only wait4 tells: the largest memory of this one process.
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began_s
    refused = None if process.returncode == 0 else complaint.splitlines()[-1] if complaint else str(process.returncode)
    rows = 0 if refused else int(json.loads(said)["rows"])
    size = out.stat().st_size if out.exists() else 0
    out.unlink(missing_ok=True)
    return Written(name, form, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, rows, size, refused)
