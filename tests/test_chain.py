"""The whole chain, every process real: sent recordings end in what `check` prints, planted violations are found."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from detectors.fix import Fix, from_us, to_us
from hanhtrinh.rule_packs import load_pack
from ingest.simulator import Fleet, write_fleet
from tests.chain import Chain, broker, running_chain
from tests.mqtt_client import publish
from tests.offline import offline_differences, wire_differences
from tests.services.kafka_server import Kafka
from tests.services.mosquitto import Mosquitto
from tests.table_state import broken_invariants, standing_on_the_wire

__all__ = ["broker"]

SPARSE = "speeding.max_gap_s=300"


@pytest.fixture
async def chain(kafka: Kafka, broker: Mosquitto, empty_postgres_url: str, tmp_path: Path) -> AsyncIterator[Chain]:
    """Bridge and worker at work on an empty database, judging sparse trackers too."""
    async with running_chain(kafka, broker, empty_postgres_url, tmp_path, rules=SPARSE) as chain:
        await chain.call("migrate")
        await chain.start("bridge")
        await chain.start("work")
        yield chain


async def stored_positions(chain: Chain) -> dict[tuple[str, int], tuple[float, float, float | None]]:
    rows = await chain.rows("SELECT vehicle_id, time, lat, lon, speed_kmh FROM fixes")
    stored = {(vehicle_id, to_us(time)): (lat, lon, speed_kmh) for vehicle_id, time, lat, lon, speed_kmh in rows}
    assert len(stored) == len(rows)
    return stored


async def every_row_is_explained(chain: Chain, rows: Counter[tuple[Any, ...]], unusable: Counter[str]) -> None:
    """`rows` are usable ones as (vehicle, time, lat, lon, speed), counted; `unusable` counts reasons of the others."""
    stored = await stored_positions(chain)
    assert stored.keys() == {row[:2] for row in rows}
    assert all((*key, *position) in rows for key, position in stored.items())
    lost = {row for row in rows if stored[row[:2]] != row[2:]}
    letters = await chain.rows("SELECT reason, payload FROM dead_letters")
    assert Counter(reason for reason, _ in letters) == unusable + Counter({"conflict": len(lost)} if lost else {})
    conflicts = [json.loads(payload) for reason, payload in letters if reason == "conflict"]
    assert {
        (each["vehicle_id"], to_us(datetime.fromisoformat(each["time"])), each["lat"], each["lon"], each["speed_kmh"])
        for each in conflicts
    } == lost
    counted = await chain.rows("SELECT sum(fixes), sum(doubled), sum(letters), sum(ignored) FROM log_positions")
    fixes, doubled, counted_letters, ignored = counted[0]
    assert (fixes, ignored) == (len(stored), 0)
    assert fixes + doubled + counted_letters == rows.total() + unusable.total()


async def stands_as_checked(chain: Chain, *check: str) -> dict[str, dict[str, Any]]:
    """The violations that `check` prints, which must be the standing ones, field by field."""
    checked = await chain.check(*check, "--rule", SPARSE)
    assert wire_differences(await standing_on_the_wire(chain.connection), checked) == []
    assert await broken_invariants(chain.connection) == []
    assert await offline_differences(chain.connection, load_pack("vn", (SPARSE,))) == ""
    return checked


async def test_a_real_day_of_buses_ends_in_its_fixes_its_letters_and_the_violations_of_check(
    chain: Chain, shared_data: Path
) -> None:
    recording = shared_data / "capmetro" / "2016-02-07.csv.gz"
    with gzip.open(recording, "rt", newline="") as file:
        rows = Counter(
            (
                row["vehicle_id"],
                to_us(datetime.fromisoformat(row["timestamp"])),
                float(row["latitude"]),
                float(row["longitude"]),
                float(row["speed"]) * 3.6,
            )
            for row in csv.DictReader(file)
        )
    how = (str(recording), "--map", "time=timestamp", "--speed-unit", "ms")
    sent = await chain.send(*how)
    assert sent["messages"] == sent["fixes"] == rows.total() == 49_081
    await chain.worked_off(sent["messages"])
    await every_row_is_explained(chain, rows, Counter())
    violations = await stands_as_checked(chain, *how)
    assert {"speeding", "continuous_driving"} <= {violation["kind"] for violation in violations.values()}


BEGIN = datetime(2026, 3, 4, 1, tzinfo=UTC)
BAD_ROWS = {
    "bad_value": ["V1,2026-03-04T02:00:01Z,91,105.8,10,D1", "V1,2026-03-04T02:00:02Z,21,105.8,-1,D1",
                  "V1,2200-03-04T02:00:03Z,21,105.8,1,D1", "V1,never,21,105.8,1,D1"],
    "naive_time": ["V1,2026-03-04T02:00:00,21,105.8,10,D1"],
    "bad_id": [f"{'V' * 65},2026-03-04T02:00:00Z,21,105.8,10,D1", f"V1,2026-03-04T02:00:04Z,21,105.8,10,{'D' * 65}",
               "V\x07,2026-03-04T02:00:00Z,21,105.8,10,D1"],
    "no_position": ["V1,2026-03-04T02:00:05Z,,105.8,10,D1"],
}  # fmt: skip
BAD_MESSAGES = {
    "empty": [b"", b"[]"],
    "bad_json": [b"{", b"\xff\xfe", b"\x00"],
    "bad_schema": [b"7", b"{}", b'{"time": "2026-03-04T02:00:00Z", "lat": "north", "lon": 105.8}'],
}


async def test_a_recording_with_bad_rows_of_every_reason_leaves_each_row_as_fix_or_letter(
    chain: Chain, broker: Mosquitto, tmp_path: Path
) -> None:
    await chain.connection.execute("ALTER TABLE fixes ADD CONSTRAINT north_of_30 CHECK (lat < 30)")
    fleet = Fleet(11, 6, BEGIN, timedelta(hours=8), interval_s=30)
    fixes = [fix for delivery in fleet.deliveries() for fix in delivery.fixes if fix.lat != 0]
    fixes += [fix._replace(lat=round(fix.lat + 1e-4, 6)) for fix in fixes[:400:40]]  # conflicts
    recording = tmp_path / "day.csv"
    lines = [_line(fix) for fix in fixes]
    for number, line in enumerate(line for bad in BAD_ROWS.values() for line in bad):
        lines.insert(number * 97, line)
    recording.write_text("\n".join(["vehicle_id,timestamp,lat,lon,speed_kmh,driver", *lines]) + "\n", encoding="utf-8")
    sent = await chain.send(str(recording))
    assert sent["unusable"] == sum(map(len, BAD_ROWS.values()))
    refused = b'{"time": "2026-03-04T02:00:00Z", "lat": 40, "lon": 105.8}'
    others = [payload for bad in BAD_MESSAGES.values() for payload in bad] + [refused]
    await publish(broker.port, (("hanhtrinh/V2", payload) for payload in others))
    await chain.worked_off(sent["messages"] + len(others))
    rows = Counter((fix.vehicle_id, fix.time_us, fix.lat, fix.lon, fix.speed_kmh) for fix in fixes)
    unusable = Counter({reason: len(bad) for reason, bad in (BAD_ROWS | BAD_MESSAGES).items()})
    await every_row_is_explained(chain, rows, unusable + Counter(["refused_by_database"]))
    kept = await chain.rows("SELECT payload FROM dead_letters WHERE topic = 'hanhtrinh/V2'")
    assert {payload for (payload,) in kept} == set(others)
    assert await stands_as_checked(chain, str(recording))


def _line(fix: Fix) -> str:
    time = from_us(fix.time_us).isoformat()
    return f"{fix.vehicle_id},{time},{fix.lat!r},{fix.lon!r},{fix.speed_kmh!r},{fix.driver_id or ''}"


async def test_of_a_simulated_fleet_on_a_bad_network_exactly_what_was_planted_is_found(
    chain: Chain, tmp_path: Path
) -> None:
    fleet = Fleet(5, 12, datetime(2026, 3, 3, 22, tzinfo=UTC), timedelta(hours=12), interval_s=20)
    counts = write_fleet(fleet, tmp_path)
    await chain.call("import", *(str(tmp_path / f"{name}.csv") for name in ("operators", "vehicles", "drivers")))
    # A second worker in the group: a driver's vehicles may be in the hands of both.
    await chain.start("work-2", "work")
    sent = await chain.send(str(tmp_path / "fleet.ndjson"))
    assert (sent["messages"], sent["fixes"]) == (counts["deliveries"], counts["fixes"])
    await chain.worked_off(sent["messages"])
    planted = json.loads((tmp_path / "planted.json").read_text())
    names = {name for violation in planted for name in violation}
    found = [
        {name: value for name, value in violation.items() if name in names}
        for violation in (await standing_on_the_wire(chain.connection)).values()
    ]
    assert sorted(map(_comparable, found)) == sorted(map(_comparable, planted))
    assert {violation["kind"] for violation in planted} == {"speeding", "continuous_driving"}
    await stands_as_checked(chain, str(tmp_path / "fleet.ndjson"), "--vehicles", str(tmp_path / "vehicles.csv"))


def _comparable(violation: dict[str, Any]) -> str:
    return json.dumps(
        {name: float(value) if isinstance(value, int) else value for name, value in violation.items()}, sort_keys=True
    )
