"""engine: columns of fixes to violations, beside the same judgement fix by fix in plain Python."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.measure import Figure, Report, at_least
from benchmarks.plain_judge import Judge, Numbers, Speeding, Vehicle
from benchmarks.servers import Servers
from benchmarks.workload import fleet_fixes
from detectors.checks import Flags, flags_alone
from detectors.columns import Columns, Int, columns_of
from detectors.fix import Fix
from detectors.journeys import JourneyJudge
from detectors.limits import LimitBook
from detectors.names import Names
from detectors.violation import Violation
from hanhtrinh.detectors import context_of, detector_factories
from hanhtrinh.rule_packs import LoadedPack, load_pack
from ingest.simulator.roster import Roster

_BATCH = 5_000


class Batch(NamedTuple):
    """A micro-batch as the worker arranges it: sorted by vehicle and time."""

    columns: Columns
    received_us: Int


def run(servers: Servers, *, quick: bool) -> Report:
    """Both on the same fixes in the same run, in turn."""
    vehicles, minutes, repeats = (50, 20, 1) if quick else (2_000, 30, 7)
    pack = load_pack()
    roster, fixes = fleet_fixes(vehicles, minutes)
    vectors = _Engine(pack, roster)
    batches = vectors.batches(fixes)
    plain = _Plain(pack, roster)
    _require_alike(vectors.judge(batches), plain.judge(fixes))
    ours, theirs = [], []
    for _ in range(repeats):
        ours.append(len(fixes) / _cpu_s(lambda: vectors.judge(batches)))
        theirs.append(len(fixes) / _cpu_s(lambda: plain.judge(fixes)))
    return Report(
        "engine",
        "columns to violations: checks, runs, speeding, silence, activity",
        sizes={"fixes": len(fixes), "vehicles": vehicles, "batch": _BATCH, "runs": repeats},
        figures=[
            Figure("columns, per core", "fixes/s", ours, at_least(1_500_000)),
            Figure("plain Python, per core", "fixes/s", theirs),
            Figure("ratio", "x", [a / b for a, b in zip(ours, theirs, strict=True)], at_least(10)),
        ],
        notes=[
            "batches of mixed vehicles in the order of sending, already columns; plain Python gets the fixes as tuples",
            "both found the same violations; plain Python leaves out grades, silence and rules by date",
        ],
    )


class _Engine:
    def __init__(self, pack: LoadedPack, roster: Roster) -> None:
        self._pack = pack
        self._roster = roster
        self._vehicles, self._drivers = Names(), Names()

    def batches(self, fixes: Sequence[Fix]) -> list[Batch]:
        made = []
        for begin in range(0, len(fixes), _BATCH):
            columns = columns_of(fixes[begin : begin + _BATCH], self._vehicles, self._drivers)
            columns = columns.take(np.lexsort((columns.time_us, columns.vehicle)))
            made.append(Batch(columns, columns.time_us + 1_000_000))
        return made

    def judge(self, batches: Sequence[Batch]) -> list[Violation]:
        limits = LimitBook(self._pack.pack)
        for each in self._roster.vehicles:
            if each.registered:
                limits.register(self._vehicles.code(each.vehicle_id), each.limit_kmh, each.kind.speed_class)
        context = context_of(self._pack, self._vehicles, self._drivers, limits)
        judge = JourneyJudge(context, detector_factories())
        found: dict[str, Violation] = {}
        for columns, received_us in batches:
            flags: Flags = flags_alone(columns, self._pack.pack.checks, received_us)
            for violation in judge.advance(columns, flags).violations:
                found[violation.violation_id] = violation
        return list(found.values())


class _Plain:
    def __init__(self, pack: LoadedPack, roster: Roster) -> None:
        self._judge = Judge(numbers_of(pack))
        self._limits = limits_of(pack, roster)

    def judge(self, fixes: Sequence[Fix]) -> list[Speeding]:
        vehicles: dict[str, Vehicle] = {}
        found: list[Speeding] = []
        step, limits = self._judge.step, self._limits
        for fix in fixes:
            name = fix.vehicle_id
            vehicle = vehicles.get(name)
            if vehicle is None:
                vehicle = vehicles[name] = Vehicle()
            found += step(name, vehicle, limits[name], fix)
        for name, vehicle in vehicles.items():
            found += self._judge.close(name, vehicle)
        return found


def numbers_of(pack: LoadedPack) -> Numbers:
    """The newest numbers of the pack, for the plain judge."""
    checks, activity, speeding = pack.pack.checks, pack.pack.activity, pack.pack.speeding[-1]
    given = {name: getattr(part, name) for part in (checks, activity, speeding) for name in Numbers._fields
             if hasattr(part, name)}  # fmt: skip
    earliest_us = int(np.datetime64(checks.earliest, "us").astype(np.int64))
    return Numbers(**given, earliest_us=earliest_us, driving_limit_s=4 * 3600, rest_s=15 * 60)


def limits_of(pack: LoadedPack, roster: Roster) -> dict[str, float]:
    """The limit of each vehicle of the fleet."""
    book = LimitBook(pack.pack)
    for code, each in enumerate(roster.vehicles):
        book.reserve(code + 1)
        if each.registered:
            book.register(code, each.limit_kmh, each.kind.speed_class)
    columns = columns_of([Fix(each.vehicle_id, 0, 0.0, 0.0) for each in roster.vehicles], Names(), Names())
    limits, _ = book.limits(columns)
    return {each.vehicle_id: limit / 1000 for each, limit in zip(roster.vehicles, limits.tolist(), strict=True)}


def _require_alike(engine: Sequence[Violation], plain: Sequence[Speeding]) -> None:
    """Faster at something else is not faster."""
    mine = {(each.vehicle_id, each.started_us, each.ended_us, each.fixes) for each in engine if each.kind == "speeding"}
    its = {(each.vehicle_id, each.started_us, each.ended_us, each.fixes) for each in plain}
    if mine != its:
        raise AssertionError(
            f"the engine found {len(mine)}, plain Python {len(its)}: first difference {min(mine ^ its)}"
        )


def _cpu_s(work: Callable[[], object]) -> float:
    gc.collect()
    began_s = time.process_time()
    work()
    return time.process_time() - began_s
