"""The product's own commands as processes, and what they cost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from hanhtrinh.settings import PREFIX

ROOT = Path(__file__).parents[1]
_STOPS_WITHIN_S = 60
_LAST_BYTES = 4_096


class ProgramError(Exception):
    """A program ended that should not have; the message holds the end of what it said."""


class Program:
    """A command that runs, its output in a file."""

    def __init__(self, process: subprocess.Popen[bytes], said: Path) -> None:
        self.process = process
        self._said = said
        self._watched = psutil.Process(process.pid)

    def cpu_s(self) -> float:
        """CPU seconds that the process has used, all its threads, not its children."""
        times = self._watched.cpu_times()
        return float(times.user + times.system)

    def rss_bytes(self) -> int:
        """Resident memory of the process without its children."""
        return int(self._watched.memory_info().rss)

    def require_running(self) -> None:
        """ProgramError when it has ended."""
        if self.process.poll() is not None:
            raise ProgramError(f"ended with {self.process.returncode}:\n{self.said()[-2_000:]}")

    def said(self) -> str:
        return self._said.read_text(errors="replace")

    def last_line(self) -> str:
        """The last whole line it said; empty before the first."""
        with self._said.open("rb") as said:
            said.seek(max(0, said.seek(0, os.SEEK_END) - _LAST_BYTES))
            lines = said.read().split(b"\n")
        return lines[-2].decode(errors="replace") if len(lines) > 1 else ""

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()


def environment(settings: Mapping[str, object]) -> dict[str, str]:
    """An environment with these settings and none of the caller's own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return clean | {PREFIX + name.upper(): str(value) for name, value in settings.items()}


@contextmanager
def hanhtrinh(folder: Path, *arguments: str, **settings: object) -> Iterator[Program]:
    """`hanhtrinh ARGUMENTS` with these settings, until the block ends."""
    quiet = environment({"metrics_port": 0, "log_level": "warning", **settings})
    with python(folder, arguments[0], "hanhtrinh", *arguments, environment=quiet) as program:
        yield program


@contextmanager
def python(folder: Path, name: str, *arguments: str, environment: Mapping[str, str]) -> Iterator[Program]:
    """`python -m ARGUMENTS` until the block ends; what it says is in the folder under this name."""
    said = folder / f"{name}.log"
    with said.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=folder,
            env={**environment, "PYTHONPATH": str(ROOT)},
        )
    try:
        yield Program(process, said)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
