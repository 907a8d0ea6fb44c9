"""The offline judge over stored fixes: a second witness to what the worker wrote."""

from __future__ import annotations

from typing import Any

import numpy as np

from detectors.checks import ALONE, flags_alone
from detectors.columns import Columns, columns_of
from detectors.journeys import JourneyJudge
from detectors.limits import LimitBook
from detectors.names import Names
from detectors.recording import judge_recording
from hanhtrinh.detectors import context_of, detector_factories
from hanhtrinh.rule_packs import LoadedPack
from storage.connect import Connection
from storage.positions import Positions
from storage.vehicles import VehicleStore
from tests.table_state import standing_on_the_wire, stored_fixes


async def offline_differences(connection: Connection, loaded: LoadedPack) -> str:
    """Empty when flags, settled marks, legs and standing violations are what judging all stored fixes at once gives."""
    stored = await stored_fixes(connection)
    vehicles, drivers = Names(), Names()
    columns = columns_of([each.fix for each, _ in stored], vehicles, drivers)
    flags = np.array([each.flags for each, _ in stored], dtype=np.int32)
    received_us = np.array([received for _, received in stored], dtype=np.int64)
    found = []
    alone = flags_alone(columns, loaded.pack.checks, received_us)
    if not np.array_equal(alone, flags & ALONE):
        rows = np.flatnonzero(alone != flags & ALONE)
        found.append(f"flags that a fix earns alone: {len(rows)} differ, first {stored[rows[0]]}, now {alone[rows[0]]}")
    context = context_of(loaded, vehicles, drivers, await _limits(connection, loaded, vehicles))
    judge = JourneyJudge(context, detector_factories())
    judged = judge.advance(columns, flags & ALONE)
    for name, mine, its in (
        ("flags", flags, judged.flags),
        ("settled", [each.settled for each, _ in stored], judged.settled),
        ("leg_mm", [each.leg_mm for each, _ in stored], judged.leg_mm),
        ("leg_driving_us", [each.leg_driving_us for each, _ in stored], judged.leg_driving_us),
    ):
        rows = np.flatnonzero(np.asarray(mine) != its)
        if len(rows):
            found.append(f"{name}: {len(rows)} differ, first {stored[rows[0]][0]}, offline {its[rows[0]]}")
    return "\n".join([*found, *await _violation_differences(connection, loaded, columns, vehicles, drivers)])


async def _violation_differences(
    connection: Connection, loaded: LoadedPack, columns: Columns, vehicles: Names, drivers: Names
) -> list[str]:
    registered = await VehicleStore(connection).registered(vehicles.names)
    judgement = judge_recording(
        columns,
        context_of(loaded, vehicles, drivers, await _limits(connection, loaded, vehicles)),
        detector_factories(),
        loaded.hours,
        {row.vehicle_id: row.kind for row in registered},
        latest_us=(await Positions("", 0).event_times(connection)).stream_us,
    )
    return wire_differences(
        await standing_on_the_wire(connection), {each.violation_id: each.to_wire() for each in judgement.violations}
    )


def wire_differences(stored: dict[str, dict[str, Any]], offline: dict[str, dict[str, Any]]) -> list[str]:
    """Each violation that only one side has, and each field that differs."""
    found = [f"only stored: {stored[name]}" for name in sorted(stored.keys() - offline.keys())]
    found += [f"only offline: {offline[name]}" for name in sorted(offline.keys() - stored.keys())]
    for name in sorted(stored.keys() & offline.keys()):
        mine, its = stored[name], offline[name]
        found += [
            f"{name} {key}: stored {mine.get(key)!r}, offline {its.get(key)!r}"
            for key in sorted(mine.keys() | its.keys())
            if mine.get(key) != its.get(key)
        ]
    return found


async def _limits(connection: Connection, loaded: LoadedPack, vehicles: Names) -> LimitBook:
    limits, store = LimitBook(loaded.pack), VehicleStore(connection)
    registered = await store.registered(vehicles.names)
    for row in registered:
        limits.register(vehicles.code(row.vehicle_id), row.limit_kmh, row.speed_class)
        limits.overrides.assign(vehicles.code(row.vehicle_id), row.overrides)
    return limits
