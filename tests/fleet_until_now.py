"""A simulated fleet whose last messages came this moment, through the real worker: what panels show of now."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

from detectors.fix import to_us
from hanhtrinh.driver_packs import DriverPacks
from hanhtrinh.hours_board import HoursBoard
from ingest.raw import RawMessage
from ingest.simulator import Fleet, message_of
from ingest.simulator.delivery import Delivery
from ingest.simulator.roster import Roster
from storage.excuses import ExcuseStore
from storage.sums import Sums
from tests.running_worker import WorkerRig, import_roster, journey, message, shifted

_ENDS = datetime(2026, 10, 1, 10, tzinfo=ZoneInfo("Asia/Ho_Chi_Minh"))
"""A Thursday morning, when many drive; moved to now as a whole."""
_SILENT_FOR = timedelta(minutes=40)

QUOTED = "O'Brien & Sons"
"""An operator whose id and name hold a quote."""
SPEEDING_NOW = "29B-00092"
EXCUSED = "29B-00093"
LONG_DRIVE = "29B-00094"
"""Three hours and a half without a rest."""


def fleet(vehicles: int, hours: int, interval_s: int = 30) -> Fleet:
    """One that ends on that morning."""
    return Fleet(5, vehicles, _ENDS - timedelta(hours=hours), timedelta(hours=hours), interval_s)


async def register(rig: WorkerRig, roster: Roster) -> None:
    """Import the fleet's operators, vehicles and drivers."""
    with TemporaryDirectory() as folder:
        await import_roster(rig.connection, roster, Path(folder))


async def drive(rig: WorkerRig, driven: Fleet) -> datetime:
    """Send the fleet through the log and a worker, one vehicle falling silent on its way, and another one speeding to
    the end. Returns the moment at which it ends."""
    await register(rig, driven.roster)
    now = datetime.now(UTC)
    moved_s = (now - _ENDS).total_seconds()
    deliveries = list(driven.deliveries())
    silent = _on_the_road(deliveries, to_us(_ENDS - _SILENT_FOR))
    messages = [
        _moved(each, moved_s)
        for each in deliveries
        if each.vehicle_id != silent or each.send_at_us < to_us(_ENDS - _SILENT_FOR)
    ]
    await rig.imports(f"operator_id,name,tax_code,province\n{QUOTED},{QUOTED},,Ha Noi\n")
    await rig.imports(
        "vehicle_id,operator_id,kind,speed_class,limit_kmh,seats,payload_t\n"
        + "".join(f"{vehicle},{QUOTED},contract,,80,,\n" for vehicle in (SPEEDING_NOW, EXCUSED, LONG_DRIVE))
    )
    speeding = [60.0] * 6 + [92.0] * 12
    for vehicle, speeds, ends in (
        (SPEEDING_NOW, speeding, now),
        (EXCUSED, speeding + [60.0] * 3 + [0.0] * 6, now - timedelta(hours=2)),
        (LONG_DRIVE, [60.0] * 1260, now),
    ):
        begins_us = to_us(ends) - (len(speeds) - 1) * 10_000_000
        driven_alone = journey(vehicle, begins_us, speeds, driver_id=f"D-{vehicle}")
        messages += [message(fix, received_us=fix.time_us) for fix in driven_alone]
    await rig.append(sorted(messages, key=lambda each: each.received_us))
    await rig.work_off(120)
    [[excused]] = await rig.rows(
        "SELECT violation_id FROM violations WHERE kind = 'speeding' AND vehicle_id = %s", EXCUSED
    )
    await ExcuseStore(rig.connection).excuse(excused, "an officer", "a verified jam")
    await Sums(rig.connection).bring_up_to_date()
    await HoursBoard(DriverPacks(rig.pack.hours)).publish(rig.connection)
    return now


def _moved(delivery: Delivery, seconds: float) -> RawMessage:
    at_us = delivery.send_at_us + round(seconds * 1e6)
    sent = message_of(delivery._replace(send_at_us=at_us, fixes=shifted(delivery.fixes, seconds)))
    return RawMessage(sent.topic, sent.payload, at_us)


def _on_the_road(deliveries: Iterable[Delivery], at_us: int) -> str:
    """A vehicle that drives before and after a moment."""
    fast_before: set[str] = set()
    fast_after: set[str] = set()
    for each in deliveries:
        for fix in each.fixes:
            if (fix.speed_kmh or 0) > 30 and abs(fix.time_us - at_us) < 300_000_000:
                (fast_before if fix.time_us < at_us else fast_after).add(each.vehicle_id)
    return min(fast_before & fast_after)
