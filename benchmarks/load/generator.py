"""The process that plays the vehicles: `python -m benchmarks.load.generator`, writes into Kafka until SIGTERM.

Each fix has the time at which its vehicle made it. A generator that cannot keep up therefore shows in every latency.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import signal
import sys
import time
from collections.abc import Sequence

import uvloop
from aiokafka import AIOKafkaProducer

from benchmarks.load.traffic import EVERY_S, SLOTS, SLOTS_PER_S, SPEEDING_EVERY_S, Record, Traffic

_REQUEST_BYTES = 1_000_000
_SLOT_US = 1_000_000 // SLOTS_PER_S
_TELL_EVERY = SLOTS_PER_S // 5


def main() -> None:
    """Tells on stdout, five times a second as JSON: how many messages are in Kafka, and by how much it is behind."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load.generator")
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--partitions", type=int, required=True)
    parser.add_argument("--vehicles", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True, help="drivers pass their four hours within so many")
    parser.add_argument("--rounds", type=int, default=0, help="begin with so many fixes of each vehicle, until SIGUSR1")
    parser.add_argument("--backlog", type=float, default=0.0, help="go on with what was sent in so many seconds before")
    parser.add_argument("--speeding-every", type=int, default=SPEEDING_EVERY_S, help="seconds, of each vehicle")
    chosen = parser.parse_args()
    tired_within_s = chosen.rounds * EVERY_S + chosen.backlog + chosen.seconds
    traffic = Traffic(chosen.vehicles, chosen.partitions, tired_within_s, chosen.speeding_every)
    gc.freeze()
    gc.disable()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_generate(chosen.bootstrap, chosen.topic, traffic, chosen.rounds, chosen.backlog))


async def _generate(bootstrap: str, topic: str, traffic: Traffic, rounds: int, backlog_s: float) -> None:
    stop, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, go_on.set)
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        acks="all",
        enable_idempotence=True,
        max_batch_size=_REQUEST_BYTES,
        max_request_size=_REQUEST_BYTES,
    )
    await producer.start()
    try:
        first_us, sent = _now_us() - int((rounds * EVERY_S + backlog_s) * 1e6), 0
        for number in range(rounds * SLOTS):
            parts = traffic.slot(number, first_us + number * _SLOT_US)
            await _send(producer, topic, parts)
            sent += sum(map(len, parts))
        if rounds:
            _tell(sent, 0.0)
            await asyncio.wait(
                [asyncio.create_task(each.wait()) for each in (go_on, stop)], return_when="FIRST_COMPLETED"
            )
        number = rounds * SLOTS
        began_us = _now_us() - int(backlog_s * 1e6) - number * _SLOT_US
        while not stop.is_set():
            time_us = began_us + number * _SLOT_US
            ahead_s = (time_us - _now_us()) / 1e6
            if ahead_s > 0:
                await asyncio.sleep(ahead_s)
            parts = traffic.slot(number, time_us)
            await _send(producer, topic, parts)
            sent += sum(map(len, parts))
            number += 1
            if number % _TELL_EVERY == 0:
                _tell(sent, (_now_us() - time_us) / 1e6)
    finally:
        await producer.stop()


async def _send(producer: AIOKafkaProducer, topic: str, parts: Sequence[Sequence[Record]]) -> None:
    now_us = _now_us()
    received, at_ms = b"%d" % now_us, now_us // 1_000
    confirmations = []
    for partition, records in enumerate(parts):
        batch = producer.create_batch()
        for key, topic_name, payload in records:
            headers = [("topic", topic_name), ("received_us", received)]
            if batch.append(timestamp=at_ms, key=key, value=payload, headers=headers) is None:
                confirmations.append(await producer.send_batch(batch, topic, partition=partition))
                batch = producer.create_batch()
                batch.append(timestamp=at_ms, key=key, value=payload, headers=headers)
        if batch.record_count():
            confirmations.append(await producer.send_batch(batch, topic, partition=partition))
    await asyncio.gather(*confirmations)


def _tell(sent: int, behind_s: float) -> None:
    print(json.dumps({"sent": sent, "behind_s": round(behind_s, 3)}), file=sys.stdout, flush=True)


def _now_us() -> int:
    return time.time_ns() // 1_000


if __name__ == "__main__":
    main()
