"""Which faults strike in which rounds, and how often."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from tests.chaos.faults import (
    COMMIT_STEPS,
    RARE_STEPS,
    Fault,
    Round,
    cut,
    delay,
    disk_full,
    freeze,
    jump_clock,
    kill,
    kill_bridge_before_puback,
    kill_during_rebalance,
    kill_kafka,
    kill_mosquitto,
    kill_notifier_after_sending,
    kill_postgres,
    kill_worker_at,
    lose_commit_answer,
    read_only,
    stall,
)
from tests.chaos.proxy import TO_CLIENT, Proxy
from tests.chaos.scene import Scene


def _bridge_mqtt(scene: Scene) -> Proxy:
    return scene.world.bridge_mqtt


def _bridge_kafka(scene: Scene) -> Proxy:
    return scene.world.bridge_kafka


def _worker_kafka(scene: Scene) -> Proxy:
    return scene.world.worker_kafka


def _worker_database(scene: Scene) -> Proxy:
    return scene.world.worker_database


def _at_each(steps: dict[str, str]) -> list[Fault]:
    return [Fault(f"worker killed before: {step}", kill_worker_at(sql), 1, 1) for step, sql in steps.items()]


STEPS = (
    *_at_each(COMMIT_STEPS),
    Fault("worker killed after COMMIT, answer lost", kill_worker_at("^COMMIT of a batch", before=False), 1, 1),
)
LONG = (
    Round("worker, random moments", "worker", (Fault("worker killed", kill("work"), 12, 1),)),
    Round("worker, each step of the commit", "commit", STEPS),
    Round("worker, the rarer steps", "commit", _at_each(RARE_STEPS)),
    Round(
        "two workers", "worker", (Fault("one of two workers killed", kill("work"), 8, 1),), workers=2
    ),
    Round(
        "two workers, a third comes and goes", "worker",
        (Fault("one of two killed in a rebalance", kill_during_rebalance, 8, 1),), workers=2,
    ),
    Round(
        "four workers, a fifth comes and goes", "worker",
        (Fault("one of four killed in a rebalance", kill_during_rebalance, 10, 1),), workers=4,
    ),
    Round(
        "two workers without static membership", "worker",
        (Fault("one of two killed, not static", kill("work"), 2, 1),), workers=2, static=False,
    ),
    Round(
        "zombies", "worker",
        (
            Fault("worker stopped until another has its work", freeze(), 1),
            Fault("the same, its transaction open", freeze(COMMIT_STEPS["positions advanced"]), 1),
        ), workers=2, static=False,
    ),
    Round("bridge, random moments", "bridge", (Fault("bridge killed", kill("bridge"), 10, 1),)),
    Round(
        "bridge, between log and broker", "bridge",
        (Fault("bridge killed before PUBACK", kill_bridge_before_puback, 8, 1),),
    ),
    Round(
        "notifier", "notifier",
        (
            Fault("notifier killed", kill("notify"), 8, 1, "delivered"),
            Fault("notifier killed after sending", kill_notifier_after_sending, 3, 1, "delivered"),
        ),
    ),
    Round("Mosquitto", "mosquitto", (Fault("Mosquitto killed", kill_mosquitto, 8, 1),)),
    Round("Kafka", "kafka", (Fault("Kafka killed", kill_kafka, 6, 1),)),
    Round("PostgreSQL", "database", (Fault("PostgreSQL killed", kill_postgres, 10, 1),)),
    Round(
        "way from worker to database", "network",
        (
            Fault("answer to COMMIT lost", lose_commit_answer, 8),
            Fault("worker-database cut", cut(_worker_database), 4),
            Fault("worker-database down 3 s", cut(_worker_database, 3.0), 2),
            Fault("worker-database 50 ms slower", delay(_worker_database, 0.05, 3.0), 2),
            Fault("worker-database silent 5 s, then cut", stall(_worker_database, 5.0), 1),
            Fault("database-worker silent 5 s, then cut", stall(_worker_database, 5.0, TO_CLIENT), 1),
        ),
    ),
    Round(
        "ways to Kafka", "network",
        (
            Fault("worker-Kafka cut", cut(_worker_kafka), 3),
            Fault("worker-Kafka down 3 s", cut(_worker_kafka, 3.0), 2),
            Fault("worker-Kafka silent 5 s, then cut", stall(_worker_kafka, 5.0), 1),
            Fault("worker-Kafka 100 ms slower", delay(_worker_kafka, 0.1, 3.0), 1),
            Fault("bridge-Kafka cut", cut(_bridge_kafka), 3),
            Fault("bridge-Kafka down 3 s", cut(_bridge_kafka, 3.0), 2),
            Fault("Kafka-bridge silent 5 s, then cut", stall(_bridge_kafka, 5.0, TO_CLIENT), 1),
            Fault("bridge-Kafka 100 ms slower", delay(_bridge_kafka, 0.1, 3.0), 1),
        ),
    ),
    Round(
        "way from broker to bridge", "network",
        (
            Fault("bridge-Mosquitto cut", cut(_bridge_mqtt), 4),
            Fault("bridge-Mosquitto down 3 s", cut(_bridge_mqtt, 3.0), 2),
            Fault("Mosquitto-bridge silent 5 s, then cut", stall(_bridge_mqtt, 5.0, TO_CLIENT), 1),
            Fault("bridge-Mosquitto 100 ms slower", delay(_bridge_mqtt, 0.1, 3.0), 1),
        ),
    ),
    Round(
        "the database cannot write", "database",
        (Fault("disk full for 3 s", disk_full(3.0), 3), Fault("read-only for 3 s", read_only(3.0), 3)), small_disk=True,
    ),
    Round(
        "clocks", "clock",
        (
            Fault("bridge's clock 1 h back for 2 s", jump_clock("bridge", -3600, 2.0), 2),
            Fault("bridge's clock 1 day ahead for 2 s", jump_clock("bridge", 86_400, 2.0), 2),
            Fault("worker's clock 1 h back for 2 s", jump_clock("work", -3600, 2.0), 2),
            Fault("worker's clock 1 day ahead for 2 s", jump_clock("work", 86_400, 2.0), 2),
        ),
    ),
)  # fmt: skip

SHORT = (
    Round(
        "short", "all",
        (
            Fault("worker killed before COMMIT", kill_worker_at(COMMIT_STEPS["COMMIT"]), 1, 1),
            Fault("answer to COMMIT lost", lose_commit_answer, 2),
            Fault("bridge killed before PUBACK", kill_bridge_before_puback, 1, 1),
            Fault("notifier killed", kill("notify"), 1, 1, "delivered"),
            Fault("Mosquitto killed", kill_mosquitto, 1, 1),
            Fault("Kafka killed", kill_kafka, 1, 1),
            Fault("PostgreSQL killed", kill_postgres, 1, 1),
            Fault("read-only for 1 s", read_only(1.0), 1),
            Fault("disk full for 1 s", disk_full(1.0), 1),
            Fault("worker-Kafka cut", cut(_worker_kafka), 1),
        ), small_disk=True,
    ),
)  # fmt: skip


def rounds(kills: int | None, only: Sequence[str] | None) -> list[Round]:
    """The long form, or what --only names of it; the killing faults scaled to `kills` in all, at least one each."""
    chosen = [each for each in LONG if only is None or each.about in only]
    there = sum(fault.times * fault.kills for each in chosen for fault in each.faults)
    if kills is None or not there:
        return chosen
    factor = kills / there
    return [
        replace(each, faults=[
            replace(fault, times=max(1, math.ceil(fault.times * factor))) if fault.kills else fault
            for fault in each.faults
        ]) for each in chosen
    ]  # fmt: skip
