"""The faults, as data: what strikes, how often, and how its end is known. A strike works on the scene of its round."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from tests.chaos.proxy import TO_CLIENT, TO_SERVER, Proxy, Trap
from tests.chaos.scene import Scene
from tests.webhook_receiver import Answer, Request

Strike = Callable[[Scene], Awaitable[float | None]]
"""Returns the seconds to recover where they must be taken before the fault has ended."""

COMMIT_STEPS = {
    "positions held": "log_positions .* FOR UPDATE",
    "fixes": "^COPY fixes",
    "late fixes": "INSERT INTO fixes",
    "marks": "INSERT INTO rejudge_marks",
    "activity": "^COPY activity_changes",
    "positions advanced": "UPDATE log_positions p SET next_offset",
    "COMMIT": "^COMMIT of a batch",
    "a mark judged": "DELETE FROM rejudge_marks",
}
"""Steps of the worker's transactions, by the statement that begins each."""
RARE_STEPS = {
    "dead letters": "INSERT INTO dead_letters",
    "anchors": "INSERT INTO vehicle_anchors",
    "violations": "INSERT INTO violations ",
    "revisions": "INSERT INTO violation_revisions",
    "alerts": "INSERT INTO alerts",
    "hours": "(INSERT INTO|UPDATE) driver_hours",
}
"""Those that not every batch takes: a strike may wait for one through a good part of the day."""


@dataclass(frozen=True)
class Fault:
    """One row of the report: `times` strikes in a round."""

    name: str
    strike: Strike
    times: int
    kills: int = 0
    """Processes or servers killed by one strike."""
    shown_by: str = "committed"
    """What recovery means: "committed" (the next message of the log) or "delivered" (the alerts that waited)."""


@dataclass(frozen=True)
class Round:
    """Faults that share one day, one database and one topic."""

    name: str
    about: str
    """What --only chooses by."""
    faults: Sequence[Fault]
    workers: int = 1
    static: bool = True
    """Static membership of the workers' group."""
    small_disk: bool = False


def kill(kind: str) -> Strike:
    """kill -9 of a part at a random moment."""

    async def strike(scene: Scene) -> None:
        part = scene.part(kind)
        await scene.kill(part)
        await scene.revive(part)

    return strike


def kill_worker_at(pattern: str, *, before: bool = True) -> Strike:
    """kill -9 of the worker when the database is about to get this statement, or has answered it unheard."""

    async def strike(scene: Scene) -> None:
        async def end(name: str) -> None:
            await scene.kill(scene.chain.parts[name])
            killed.append(name)

        killed: list[str] = []
        await scene.spring(scene.world.worker_database, Trap(pattern, end, before))
        await scene.revive(scene.chain.parts[killed[0]])

    return strike


async def kill_bridge_before_puback(scene: Scene) -> None:
    """kill -9 between the log's acknowledgement and the broker's."""

    async def end(_: str) -> None:
        await scene.kill(scene.part("bridge"))

    await scene.spring(scene.world.bridge_mqtt, Trap("PUBACK", end))
    await scene.revive(scene.part("bridge"))


async def kill_notifier_after_sending(scene: Scene) -> None:
    """kill -9 when the receiver has the alert and the outbox does not know it."""
    loop, part, came = asyncio.get_running_loop(), scene.part("notify"), asyncio.Event()

    def take(_: Request) -> Answer:
        loop.call_soon_threadsafe(came.set)
        return Answer(after_s=1.0)

    scene.receiver.answer = take
    try:
        await scene.proceed_until(came, "an alert")
        await scene.kill(part)
    finally:
        scene.receiver.answer = lambda request: Answer()
    await scene.revive(part)


async def kill_mosquitto(scene: Scene) -> None:
    await _kill_server(scene, scene.world.mosquitto.kill, scene.world.mosquitto.start)


async def kill_kafka(scene: Scene) -> None:
    await _kill_server(scene, scene.world.kafka.kill, scene.world.kafka.start)


async def kill_postgres(scene: Scene) -> None:
    await _kill_server(scene, scene.world.postgres.kill, scene.world.postgres.start)


async def lose_commit_answer(scene: Scene) -> None:
    """The COMMIT arrives and is carried out; the connection ends before its answer."""

    async def note(_: str) -> None:
        await scene.struck()

    await scene.spring(scene.world.worker_database, Trap("^COMMIT of a batch", note, before=False))


def freeze(pattern: str | None = None) -> Strike:
    """SIGSTOP of a worker until another has taken over and committed, then SIGCONT: a zombie.

    With a pattern its transaction is open and holds the locks of its positions.
    """

    async def strike(scene: Scene) -> float:
        async def stop(name: str) -> None:
            scene.chain.parts[name].send(signal.SIGSTOP)
            stopped.append(name)
            await scene.struck()

        stopped: list[str] = []
        if pattern is None:
            await stop(scene.part("work").name)
        else:
            await scene.spring(scene.world.worker_database, Trap(pattern, stop, cuts=False))
        try:
            return await scene.recovered()
        finally:
            part = scene.chain.parts[stopped[0]]
            part.send(signal.SIGCONT)
            await part.ready()

    return strike


def cut(way: Callable[[Scene], Proxy], down_s: float = 0.0) -> Strike:
    """Every connection reset, and new ones refused for a while."""

    async def strike(scene: Scene) -> None:
        proxy = way(scene)
        proxy.refusing = down_s > 0
        proxy.cut()
        await asyncio.sleep(down_s)
        proxy.refusing = False
        await scene.struck()

    return strike


def delay(way: Callable[[Scene], Proxy], each_s: float, seconds: float) -> Strike:
    """Every piece of data held back."""

    async def strike(scene: Scene) -> None:
        proxy = way(scene)
        proxy.delay_s = each_s
        await asyncio.sleep(seconds)
        proxy.delay_s = 0.0
        await scene.struck()

    return strike


def stall(way: Callable[[Scene], Proxy], seconds: float, *directions: str) -> Strike:
    """Nothing passes, nothing is closed, then the connections end."""

    async def strike(scene: Scene) -> None:
        proxy = way(scene)
        proxy.stall(*(directions or (TO_SERVER, TO_CLIENT)))
        await asyncio.sleep(seconds)
        proxy.cut()
        proxy.flow()
        await scene.struck()

    return strike


def disk_full(seconds: float) -> Strike:
    """No free byte in the database's tablespace; SQLSTATE 53100 by trigger where no file system can be mounted."""

    async def strike(scene: Scene) -> None:
        disk = scene.world.disk
        if disk.mounted:
            await asyncio.to_thread(disk.fill)
        else:
            await scene.chain.connection.execute(_REFUSE_ALL)
        await asyncio.sleep(seconds)
        if disk.mounted:
            disk.empty()
        else:
            await scene.chain.connection.execute("DROP FUNCTION chaos_disk_full CASCADE")
        await scene.struck()

    return strike


_REFUSE_ALL = (
    "CREATE FUNCTION chaos_disk_full() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = '53100'; END $$;"
    " CREATE TRIGGER chaos BEFORE INSERT ON fixes FOR EACH ROW EXECUTE FUNCTION chaos_disk_full()"
)


def read_only(seconds: float) -> Strike:
    """Every session read-only, as on a standby after a switch-over."""

    async def strike(scene: Scene) -> None:
        await scene.world.read_only(scene.url, True)
        await asyncio.sleep(seconds)
        await scene.world.read_only(scene.url, False)
        await scene.struck()

    return strike


def jump_clock(command: str, seconds: int, for_s: float) -> Strike:
    """The wall clock of a running part jumps, and back again."""

    async def strike(scene: Scene) -> None:
        scene.world.clocks.shift(command, seconds)
        await asyncio.sleep(for_s)
        scene.world.clocks.shift(command, 0)
        await scene.struck()

    return strike


async def kill_during_rebalance(scene: Scene) -> None:
    """Another member joins or leaves, and one is killed while partitions change hands."""
    extra = scene.chain.parts.get("extra")
    if extra is None:
        extra = scene.begin_worker("extra", static=False)
        await extra.ready()
    else:
        await extra.end(signal.SIGTERM)
        del scene.chain.parts["extra"]
    await asyncio.sleep(scene.rng.uniform(0, 0.6))
    part = scene.part("work")
    await scene.kill(part)
    await scene.revive(part)


async def _kill_server(scene: Scene, end: Callable[[], None], start: Callable[[], None]) -> None:
    await asyncio.to_thread(end)
    scene.kills += 1
    scene.struck_s = time.monotonic()
    if end != scene.world.kafka.kill:
        await scene.note_ends()
    await asyncio.sleep(scene.rng.uniform(0, 1.0))
    await asyncio.to_thread(start)
