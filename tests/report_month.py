"""A month that was judged and summed, for the tests of reports."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from hanhtrinh.rule_packs import load_pack
from ingest.raw import RawMessage
from ingest.simulator import Fleet, message_of, write_registry
from storage.connect import connect
from storage.migrate import migrate
from storage.reports.catalogue import KINDS
from storage.reports.scope import Scope
from storage.reports.table import Report
from storage.sums import Sums
from tests.running_worker import WorkerRig, import_roster
from tests.services.postgres import DatabaseServer, drop_database, make_filled_database

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
_NUMBERS = load_pack().pack.reports
assert _NUMBERS is not None
NUMBERS = _NUMBERS
OCTOBER = Scope.of_month("2026-10")


@pytest.fixture
async def month(postgres: DatabaseServer, tmp_path: Path) -> AsyncIterator[WorkerRig]:
    """A fleet through the worker, from the last evening of September to noon of 2 October; sums up to date. Its
    registry is in `tmp_path`."""
    begin = datetime(2026, 9, 30, 18, tzinfo=ZONE)
    fleet = Fleet(5, 10, begin, timedelta(hours=42), 30)
    write_registry(fleet.roster, tmp_path)

    async def judged(url: str) -> None:
        rig = WorkerRig(url, await connect(url))
        await migrate(url)
        await import_roster(rig.connection, fleet.roster, tmp_path)
        sent = [(message_of(each), each.send_at_us) for each in fleet.deliveries()]
        await rig.append(RawMessage(message.topic, message.payload, at_us) for message, at_us in sent)
        await rig.work_off()
        await Sums(rig.connection).bring_up_to_date()
        await rig.connection.close()

    url = await make_filled_database(postgres, "month of reports", judged)
    rig = WorkerRig(url, await connect(url))
    yield rig
    await rig.connection.close()
    await drop_database(postgres, url)


async def report(rig: WorkerRig, name: str, scope: Scope = OCTOBER) -> Report:
    return await KINDS[name].make(rig.connection, scope, NUMBERS)


def lines(made: Report, key: str = "vehicle_id") -> dict[str, dict[str, Any]]:
    return {str(row[key]): {str(name): value for name, value in row.items()} for row in made.frame.to_dict("records")}
