"""What the processes of a run cost, second by second."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import psutil

from benchmarks.load.database import Progress


class Usage(NamedTuple):
    """CPU seconds so far, and memory now."""

    cpu_s: float
    rss_bytes: int


class Sample(NamedTuple):
    """One second of the run."""

    at_s: float
    sent: int
    done: Progress
    processes: Mapping[str, Usage]

    @property
    def lag(self) -> int:
        """Messages that Kafka has and the database has not."""
        return self.sent - self.done.messages


class Tree:
    """A process and its children: PostgreSQL's backends come and go."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._gone_s = 0.0
        self._cpu_s: dict[int, float] = {}

    def usage(self) -> Usage:
        """Memory is that of each process that no other shares, and the shared part once."""
        cpu_s: dict[int, float] = {}
        own_bytes, shared_bytes = 0, 0
        for process in [self._root, *self._root.children(recursive=True)]:
            try:
                times, memory = process.cpu_times(), process.memory_info()
            except psutil.NoSuchProcess:
                continue
            cpu_s[process.pid] = times.user + times.system
            own_bytes += memory.rss - memory.shared
            shared_bytes = max(shared_bytes, memory.shared)
        self._gone_s += sum(used_s for pid, used_s in self._cpu_s.items() if pid not in cpu_s)
        self._cpu_s = cpu_s
        return Usage(self._gone_s + sum(cpu_s.values()), own_bytes + shared_bytes)


def wait_until(reached: Callable[[], bool], what: str, within_s: float, every_s: float = 0.1) -> float:
    """Returns when it is so, with the seconds that took. TimeoutError names what did not happen."""
    began_s = time.monotonic()
    while not reached():
        if time.monotonic() - began_s > within_s:
            raise TimeoutError(f"{what} did not happen within {within_s:g} s")
        time.sleep(every_s)
    return time.monotonic() - began_s


def cores(samples: Sequence[Sample], name: str) -> float:
    """CPU seconds per second of a process over the samples."""
    first, last = samples[0], samples[-1]
    return (last.processes[name].cpu_s - first.processes[name].cpu_s) / (last.at_s - first.at_s)


def growth_bytes_per_s(samples: Sequence[Sample], name: str) -> float:
    """Slope of the memory of a process over the second half of the samples, by least squares."""
    half = samples[len(samples) // 2 :]
    times = [each.at_s - half[0].at_s for each in half]
    sizes = [each.processes[name].rss_bytes for each in half]
    mean_s, mean_bytes = sum(times) / len(half), sum(sizes) / len(half)
    spread = sum((at - mean_s) ** 2 for at in times)
    return sum((at - mean_s) * (size - mean_bytes) for at, size in zip(times, sizes, strict=True)) / spread
