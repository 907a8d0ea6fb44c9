"""What a worker works with as long as one database connection lives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from detectors.checks import ALONE
from detectors.detector import Factory
from detectors.journeys import JourneyJudge
from detectors.limits import LimitBook
from detectors.names import Names
from detectors.silence import Silences
from hanhtrinh.detectors import context_of
from hanhtrinh.driver_packs import DriverPacks
from hanhtrinh.rule_packs import LoadedPack
from hanhtrinh.worker.batch import BatchProcessor
from hanhtrinh.worker.hours import HoursKeeper
from hanhtrinh.worker.last_positions import PositionBoard
from hanhtrinh.worker.late import LateJudge
from hanhtrinh.worker.line_watch import LineWatch
from hanhtrinh.worker.pending import PendingMarks
from hanhtrinh.worker.plans import FreshPlans
from hanhtrinh.worker.roster import Roster
from hanhtrinh.worker.silence import SilenceKeeper, SilenceWatch
from storage.activity import ActivityStore
from storage.connect import Connection
from storage.fixes import FixStore
from storage.hours_warnings import WarningStore
from storage.marks import MarkStore
from storage.positions import Positions
from storage.vehicles import VehicleStore
from storage.violations import ViolationStore


@dataclass(slots=True)
class Session:
    """What lives as long as one database connection."""

    connection: Connection
    roster: Roster
    batch: BatchProcessor
    late: LateJudge
    marks: MarkStore
    lines: LineWatch
    silences: SilenceWatch
    board: PositionBoard
    pending: PendingMarks
    plans: FreshPlans


def new_session(
    connection: Connection,
    positions: Positions,
    pack: LoadedPack,
    detectors: Sequence[Factory],
    ends: Callable[[], Awaitable[Mapping[int, int]]],
    late_settle_s: float,
) -> Session:
    """With nothing remembered. `ends` tells the offset after the newest record of each partition."""
    vehicle_names, driver_names, limits = Names(), Names(), LimitBook(pack.pack)
    context = context_of(pack, vehicle_names, driver_names, limits)
    judge = JourneyJudge(context, detectors)
    roster = Roster(judge, vehicle_names, driver_names, limits, positions.log_id)
    fixes, activity = FixStore(connection, ALONE), ActivityStore(connection)
    vehicles, violations, marks = VehicleStore(connection), ViolationStore(connection), MarkStore(connection)
    moving_kmh = pack.pack.activity.moving_kmh
    packs, warnings = DriverPacks(pack.hours), WarningStore(connection)
    hours = HoursKeeper(
        roster, packs, activity, fixes, violations, warnings, pack.pack.activity.moving_kmh, positions.log_id
    )
    stores = (fixes, activity, vehicles, violations, marks)
    keeper, silences = SilenceKeeper(roster, violations), Silences(context)
    batch = BatchProcessor(connection, positions, pack.pack, roster, hours, keeper, *stores)
    late = LateJudge(connection, positions, pack, detectors, roster, hours, *stores)
    watch = SilenceWatch(connection, positions, silences, moving_kmh, roster, vehicles, violations, batch.know, ends)
    lines = LineWatch(connection, positions, activity, hours)
    board, pending, plans = PositionBoard(connection, roster), PendingMarks(late_settle_s), FreshPlans(connection)
    return Session(connection, roster, batch, late, marks, lines, watch, board, pending, plans)
