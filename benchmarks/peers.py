"""peers: quixstreams with its state store, judging the same topic without a database, beside our worker."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from benchmarks import worker
from benchmarks.engine import limits_of, numbers_of
from benchmarks.measure import Figure, Report, at_least
from benchmarks.programs import ROOT, ProgramError
from benchmarks.servers import Servers
from benchmarks.workload import PARTITIONS, Workload, calm_morning
from hanhtrinh.rule_packs import load_pack

_PEER = "quixstreams==3.28.1"
_WITH_IT = ("msgspec", "numpy")
"""What our decoder needs, which the peer decodes with."""
_DONE = ".installed-" + "-".join(_WITH_IT)
_ENVIRONMENT = ROOT / ".cache" / "peers" / _PEER.replace("==", "-")
_INSTALL_WITHIN_S = 600
_RUN_WITHIN_S = 600


class _Speed(NamedTuple):
    fixes: int
    wall_s: float
    cpu_s: float


def run(servers: Servers, *, quick: bool) -> Report:
    """In turn, so that a busy moment of the machine meets both."""
    vehicles, minutes, repeats = (200, 15, 1) if quick else (2_000, 20, 3)
    report = Report(
        "peers",
        f"{_PEER} (RocksDB state, no changelog, no database) and our worker (PostgreSQL) on the same topic",
        sizes={"vehicles": vehicles, "partitions": PARTITIONS, "runs": repeats},
    )
    python, report.skipped = _installed()
    if report.skipped is not None:
        return report
    workload = calm_morning(vehicles, minutes)
    topic = worker.filled_topic(servers, workload)
    ours, theirs = [], []
    for _ in range(repeats):
        ours.append(worker.measure(servers, workload, topic))
        theirs.append(_measure(servers, python, workload, topic))
    pairs = list(zip(ours, theirs, strict=True))
    report.sizes = {**report.sizes, "fixes": workload.fixes}
    report.figures = [
        Figure("ours, per core", "fixes/s", [each.fixes / each.cpu_s for each in ours]),
        Figure("quixstreams, per core", "fixes/s", [each.fixes / each.cpu_s for each in theirs]),
        Figure("ours, by the clock", "fixes/s", [each.fixes / each.wall_s for each in ours]),
        Figure("quixstreams, by the clock", "fixes/s", [each.fixes / each.wall_s for each in theirs]),
        Figure("ratio of CPU", "x", [(t.cpu_s / t.fixes) / (o.cpu_s / o.fixes) for o, t in pairs], at_least(2)),
        Figure("ratio by the clock", "x", [(o.fixes / o.wall_s) / (t.fixes / t.wall_s) for o, t in pairs], at_least(2)),
    ]
    report.notes = [
        "the peer decodes with our decoder and judges with benchmarks/plain_judge.py: checks, speeding, driving clock",
        "the CPU of our database is not counted; the peer stores nothing but its state; by the clock ours shares the"
        " cores with PostgreSQL and the peer does not",
    ]
    return report


def _installed() -> tuple[Path, str | None]:
    """The peer's Python, and why it cannot be had."""
    python = _ENVIRONMENT / "bin" / "python"
    if (_ENVIRONMENT / _DONE).exists():
        return python, None
    for command in (
        [sys.executable, "-m", "venv", str(_ENVIRONMENT)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", _PEER, *_WITH_IT],
    ):
        try:
            done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_INSTALL_WITHIN_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            return python, f"{_PEER} cannot be installed: {error}"
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            return python, f"{_PEER} cannot be installed: {' '.join(last)}"
    (_ENVIRONMENT / _DONE).touch()
    return python, None


def _measure(servers: Servers, python: Path, workload: Workload, topic: str) -> _Speed:
    pack, folder = load_pack(), servers.folder("peer")
    task = {
        "bootstrap": servers.kafka.bootstrap,
        "topic": topic,
        "state": str(folder / "state"),
        "messages": len(workload.messages),
        "warm": worker.WARM_SHARE,
        "numbers": numbers_of(pack),
        "limits": limits_of(pack, workload.roster),
    }
    (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")
    done = subprocess.run(
        [str(python), "-m", "benchmarks.quixstreams_peer", str(folder / "task.json")],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=_RUN_WITHIN_S,
    )
    if done.returncode:
        raise ProgramError(f"the peer ended with {done.returncode}:\n{done.stderr[-2_000:]}")
    return _Speed(**json.loads(done.stdout.splitlines()[-1]))
