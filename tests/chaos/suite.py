"""Runs rounds: the undisturbed one first, then each with its faults, and judges what each has left."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.faults import Fault, Round
from tests.chaos.scene import SECRET, NotReached, Scene, running_scene
from tests.chaos.verifier import Verdict, verdict
from tests.chaos.workload import Day
from tests.chaos.world import World
from tests.table_state import TableState, table_state

_CALM_RATE = 1000.0
_RATE = 200.0
_LAST_MESSAGES = 20
_END_WITHIN_S = 100.0


@dataclass(frozen=True)
class Struck:
    """One strike; `recovered_s` None: it never came to strike, or the round broke in it."""

    fault: Fault
    recovered_s: float | None


@dataclass
class RoundResult:
    """What a round showed."""

    round: Round
    strikes: list[Struck] = field(default_factory=list)
    kills: int = 0
    seconds: float = 0.0
    verdict: Verdict | None = None
    trouble: list[str] = field(default_factory=list)
    """A part that ended by itself, a recovery or an end that did not come."""

    @property
    def holds(self) -> bool:
        return self.verdict is not None and self.verdict.holds and not self.trouble


async def undisturbed(world: World, day: Day, folder: Path) -> TableState:
    """What the day ends in when nothing happens; checked by the same verifier."""
    async with running_scene(world, day, folder, random.Random(0), _CALM_RATE) as scene:
        await scene.start(1, static=True)
        scene.trackers.allow(len(day.messages))
        await scene.trackers.send()
        await scene.worked_off(0, 0, _END_WITHIN_S)
        state = await table_state(scene.chain.connection)
        logged = sum((await scene.chain.log_ends()).values())
        judged = await verdict(scene.chain.connection, state, scene.receiver.requests, SECRET.encode(), logged)
        if not judged.holds:
            raise AssertionError(f"the undisturbed run is not sound: {judged.broken}")
        return state


async def disturbed(
    world: World, day: Day, expected: TableState, each: Round, folder: Path, seed: int, tell: Callable[[str], None]
) -> RoundResult:
    """Run one round and judge it. What goes wrong is in the result; nothing raises but a failing test bench."""
    result, began = RoundResult(each), time.monotonic()
    rng = random.Random(f"{seed} {each.name}")
    async with running_scene(world, day, folder, rng, _RATE, small_disk=each.small_disk) as scene:
        await scene.start(each.workers, static=each.static)
        sending = asyncio.create_task(scene.trackers.send())
        try:
            for fault, moment, next_moment in _moments(each.faults, len(day.messages), rng):
                await _strike(scene, fault, moment, next_moment, result)
                tell(f"{fault.name}: {_seconds(result.strikes[-1].recovered_s)}")
            scene.trackers.allow(len(day.messages))
            await asyncio.wait_for(sending, _END_WITHIN_S)
            await scene.worked_off(len(expected.fixes), len(expected.letters), _END_WITHIN_S)
        except (AssertionError, TimeoutError) as error:
            result.trouble.append(str(error) or repr(error))
            scene.chain.print_logs()
        finally:
            sending.cancel()
        await scene.rows("SELECT 1")
        logged = sum((await scene.log_ends() or {}).values())
        result.verdict = await verdict(
            scene.chain.connection, expected, scene.receiver.requests, SECRET.encode(), logged
        )
        result.kills, result.seconds = scene.kills, time.monotonic() - began
    return result


async def _strike(scene: Scene, fault: Fault, moment: int, next_moment: int, result: RoundResult) -> None:
    scene.trackers.allow(moment)
    await scene.trackers.sent(moment)
    # Messages flow on during the fault, but never so far that none is left for the next.
    scene.trackers.allow(next_moment)
    await asyncio.sleep(scene.rng.uniform(0, 0.3))
    await scene.note_ends()
    result.strikes.append(Struck(fault, None))
    try:
        seconds = await fault.strike(scene)
    except NotReached:
        return
    if seconds is None:
        scene.trackers.allow(scene.trackers.allowed + _LAST_MESSAGES)
        seconds = await (scene.recovered() if fault.shown_by == "committed" else scene.delivered())
    result.strikes[-1] = Struck(fault, seconds)


def _moments(faults: Iterable[Fault], messages: int, rng: random.Random) -> Iterator[tuple[Fault, int, int]]:
    """Every strike of the round in a seeded order, the message at which it comes, and that of the next."""
    strikes = [fault for fault in faults for _ in range(fault.times)]
    rng.shuffle(strikes)
    first, last = messages // 30, messages - messages // 10
    moments = sorted(rng.sample(range(first, last), len(strikes)))
    yield from zip(strikes, moments, [*moments[1:], last], strict=True)


def _seconds(seconds: float | None) -> str:
    return "not struck" if seconds is None else f"{seconds:.1f} s"
