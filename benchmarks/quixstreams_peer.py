"""The peer: runs in an environment of its own and prints what it needed. See benchmarks/peers.py."""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.plain_judge import Judge, Numbers, Vehicle
from ingest.formats.hanhtrinh_json import decode

_IDLE_S = 20.0


def main() -> None:
    """Judge every message of the topic once, keeping the vehicles in the state store."""
    # By name: the package is in the peer's environment only.
    quixstreams: Any = import_module("quixstreams")
    task = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    work = _Work(task)
    application = quixstreams.Application(
        broker_address=task["bootstrap"],
        consumer_group=f"peer.{time.monotonic_ns()}",
        auto_offset_reset="earliest",
        auto_create_topics=False,
        use_changelog_topics=False,
        state_dir=task["state"],
        loglevel="ERROR",
    )
    topic = application.topic(
        task["topic"],
        key_deserializer="str",
        value_deserializer="bytes",
        config=quixstreams.models.TopicConfig(num_partitions=8, replication_factor=1),
    )
    frame = application.dataframe(topic)
    frame.update(work.judge, stateful=True, metadata=True)
    application.run(frame, count=task["messages"], timeout=_IDLE_S)
    if work.messages != task["messages"]:
        raise SystemExit(f"{work.messages} of {task['messages']} messages came")
    wall_s, cpu_s = time.perf_counter() - work.began_s, time.process_time() - work.began_cpu_s
    print(json.dumps({"fixes": work.fixes, "wall_s": wall_s, "cpu_s": cpu_s}))


class _Work:
    """What is done with one message; the clocks start after the first part of them."""

    def __init__(self, task: dict[str, Any]) -> None:
        self._judge = Judge(Numbers(*task["numbers"]))
        self._limits = task["limits"]
        self._warm = int(task["warm"] * task["messages"])
        self.messages = self.fixes = self.violations = 0
        self.began_s, self.began_cpu_s = time.perf_counter(), time.process_time()

    def judge(self, payload: bytes, key: str, _timestamp: int, _headers: Any, state: Any) -> None:
        """Take in one message of one vehicle."""
        self.messages += 1
        if self.messages == self._warm:
            self.began_s, self.began_cpu_s = time.perf_counter(), time.process_time()
            self.fixes = 0
        stored = state.get("vehicle")
        vehicle = Vehicle() if stored is None else Vehicle.of_list(stored)
        limit_kmh = self._limits[key]
        for fix in decode(key, payload).fixes:
            self.fixes += 1
            before_us = vehicle.trusted.time_us if vehicle.trusted is not None else None
            self.violations += len(self._judge.step(key, vehicle, limit_kmh, fix))
            if before_us is not None and vehicle.activity is not None:
                self.violations += self._judge.drive(vehicle, before_us, vehicle.activity, fix.time_us)
        state.set("vehicle", vehicle.to_list())


if __name__ == "__main__":
    main()
