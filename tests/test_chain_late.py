"""A recorded day on the worst network: a fifth of it hours late, doubled and shuffled, ends as the orderly day does."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from detectors.fix import Fix, to_us
from detectors.names import Names
from hanhtrinh.worker.intake import encode
from ingest.recordings import ColumnMapping, Recording
from ingest.simulator import CALM, Fleet
from tests.chain import Chain, broker, running_chain
from tests.services.kafka_server import Kafka
from tests.services.mosquitto import Mosquitto
from tests.services.postgres import DatabaseServer, drop_database, make_database
from tests.table_state import broken_invariants, table_state

__all__ = ["broker"]

SPARSE = "speeding.max_gap_s=300"
STRETCH_US = 20 * 60 * 1_000_000
LATEST_US = 6 * 3_600 * 1_000_000
SEED = 20160117


class Day(NamedTuple):
    """The same fixes as a good and as a bad network delivers them, one message each."""

    orderly: list[Fix]
    late: list[Fix]


def delivered_late(fixes: list[Fix], seed: int) -> list[Fix]:
    """A fifth of the stretches of 20 minutes up to 6 h late, a tenth of all twice, each up to a minute out of place."""
    chance = random.Random(seed)
    delay_us: dict[tuple[str, int], int] = {}
    sent: list[tuple[int, Fix]] = []
    for fix in fixes:
        stretch = (fix.vehicle_id, fix.time_us // STRETCH_US)
        if stretch not in delay_us:
            delay_us[stretch] = chance.randrange(LATEST_US) if chance.random() < 0.2 else 0
        for _ in range(2 if chance.random() < 0.1 else 1):
            sent.append((fix.time_us + delay_us[stretch] + chance.randrange(60_000_000), fix))
    sent.sort(key=lambda each: (each[0], each[1].vehicle_id, each[1].time_us))
    return [fix for _, fix in sent]


def simulated_day() -> Day:
    fleet = Fleet(5, 25, datetime(2026, 3, 2, 1, tzinfo=UTC), timedelta(hours=9), interval_s=20, network=CALM)
    fixes = sorted((fix for delivery in fleet.deliveries() for fix in delivery.fixes), key=lambda fix: fix.time_us)
    return Day(fixes, delivered_late(fixes, SEED))


def recorded_day(path: Path) -> Day:
    vehicles, drivers = Names(), Names()
    mapping = ColumnMapping.parse(["time=timestamp"], speed_unit="ms")
    recording = Recording(path, mapping, vehicles, drivers)
    fixes = [fix for chunk in recording.chunks() for fix in chunk.fixes(vehicles, drivers)]
    fixes.sort(key=lambda fix: (fix.time_us, fix.vehicle_id))
    return Day(fixes, delivered_late(fixes, SEED))


@pytest.fixture
async def chains(
    kafka: Kafka, broker: Mosquitto, postgres: DatabaseServer, tmp_path: Path
) -> AsyncIterator[tuple[Chain, Chain]]:
    """Two chains, each with a bridge and a worker on a database of its own."""
    async with AsyncExitStack() as stack:
        both = []
        for name in ("orderly", "late"):
            url = await make_database(postgres)
            stack.push_async_callback(drop_database, postgres, url)
            folder = tmp_path / name
            folder.mkdir()
            chain = await stack.enter_async_context(running_chain(kafka, broker, url, folder, rules=SPARSE))
            both.append(chain)
        yield both[0], both[1]


async def ends_alike(chains: tuple[Chain, Chain], day: Day, tmp_path: Path) -> Chain:
    """Send the day both ways, one after the other; the tables must be the same. Returns the late chain."""
    for chain, fixes in zip(chains, day, strict=True):
        path = tmp_path / f"{id(fixes)}.ndjson"
        path.write_bytes(b"".join(encode(fix) + b"\n" for fix in fixes))
        await chain.start("bridge")
        await chain.start("work")
        sent = await chain.send(str(path))
        await chain.worked_off(sent["messages"], within_s=150)
        assert await broken_invariants(chain.connection) == []
        # The other chain must not receive what this one's bridge is still subscribed to.
        await asyncio.gather(*(part.end(signal.SIGTERM) for part in chain.parts.values()))
    orderly, late = chains
    before, after = await table_state(orderly.connection), await table_state(late.connection)
    assert before.violations
    # When a stage was proven may differ: with other fixes missing at that moment, another one proved it.
    assert before.differences(after, alerts=False) == ""
    return late


async def the_history_shows_what_changed(late: Chain) -> None:
    """Every withdrawn violation says why, and a violation that took its place names it."""
    changes = dict(await late.rows("SELECT change, count(*) FROM violation_revisions GROUP BY change"))
    assert changes["opened"] >= 1
    assert changes.get("corrected", 0) + changes.get("withdrawn", 0) >= 1, changes
    unexplained = await late.rows(
        "SELECT v.violation_id FROM violations v WHERE v.status = 'withdrawn' AND NOT EXISTS"
        " (SELECT FROM violation_revisions r WHERE r.violation_id = v.violation_id AND r.change = 'withdrawn'"
        " AND r.why ~ 'late fixes|fixes came later' AND r.before IS NOT NULL)"
    )
    assert unexplained == []


async def test_law_1_a_simulated_day_sent_late_doubled_and_shuffled_ends_in_the_tables_of_the_orderly_run(
    chains: tuple[Chain, Chain], tmp_path: Path
) -> None:
    late = await ends_alike(chains, simulated_day(), tmp_path)
    await the_history_shows_what_changed(late)


async def test_law_1_a_real_day_of_buses_sent_late_doubled_and_shuffled_ends_in_the_tables_of_the_orderly_run(
    chains: tuple[Chain, Chain], tmp_path: Path, shared_data: Path
) -> None:
    late = await ends_alike(chains, recorded_day(shared_data / "capmetro" / "2016-01-17.csv.gz"), tmp_path)
    await the_history_shows_what_changed(late)


def test_the_bad_network_loses_nothing_and_turns_much_around() -> None:
    fixes = [Fix("V", to_us(datetime(2026, 3, 2, tzinfo=UTC)) + n * 20_000_000, 10.0, 106.0) for n in range(4_000)]
    sent = delivered_late(fixes, SEED)
    assert set(sent) == set(fixes)
    assert 4_200 < len(sent) < 4_600
    newest = turned = 0
    for fix in sent:
        turned += fix.time_us < newest
        newest = max(newest, fix.time_us)
    assert turned > 400
