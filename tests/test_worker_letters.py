"""The worker and what it cannot use: a dead letter with its bytes, and nothing else is held up (law 4)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from ingest.raw import RawMessage
from tests.running_worker import RECEIVED_US, RigMaker, WorkerRig, make_rig, message, rig
from tests.speeding_trip import TRIP
from tests.table_state import table_state

__all__ = ["make_rig", "rig"]


GOOD = msgspec.json.encode({"time": "2026-03-04T01:00:00Z", "lat": 21.0, "lon": 105.8})
UNUSABLE = {
    "empty": (b"", b" \n", b"[]"),
    "bad_json": (b"\xff\xfe\x00", b"{" + b"a" * 2_000, b"\x00", b"[" * 20_000, b'{"lat": NaN}', GOOD + GOOD),
    "bad_schema": (b"7", b'"lat"', b'{"time": "2026-03-04T01:00:00Z", "lat": "21", "lon": 105.8}', b"{}"),
    "no_position": (b'{"time": "2026-03-04T01:00:00Z", "lat": 21.0}',),
    "naive_time": (b'{"time": "2026-03-04T01:00:00", "lat": 21.0, "lon": 105.8}',),
    "bad_value": (
        b'{"time": "2026-03-04T01:00:00Z", "lat": 90.0000001, "lon": 105.8}',
        b'{"time": "2026-03-04T01:00:00Z", "lat": 21.0, "lon": -180.0000001}',
        b'{"time": "2026-03-04T01:00:00Z", "lat": 21.0, "lon": 105.8, "speed_kmh": -0.001}',
        b'{"time": "2026-03-04T01:00:00Z", "lat": 21.0, "lon": 105.8, "speed_kmh": 1000.001}',
        b'{"time": "2026-03-04T01:00:00Z", "lat": 21.0, "lon": 105.8, "heading_deg": 360.01}',
        b'{"time": "2026-03-04T01:00:00Z", "lat": 21.0, "lon": 105.8, "odometer_km": 100000001}',
        b'{"time": "2026-03-04T01:00:00Z", "lat": 21.0, "lon": 105.8, "hdop": 1e308}',
        b'{"time": "2026-03-04T01:00:00Z", "lat": 21.0, "lon": 105.8, "satellites": 101}',
        b'{"time": "2026-03-04T01:00:00Z", "lat": 21.0, "lon": 105.8, "satellites": 40000}',
        b'{"time": "2026-03-04T01:00:00Z", "lat": 21.0, "lon": 105.8, "satellites": 65545}',
        b'{"time": "2026-03-04T01:00:00Z", "lat": 21.0, "lon": 105.8, "satellites": 4294967305}',
        b'{"time": -1, "lat": 21.0, "lon": 105.8}',
        b'{"time": 4133980800000, "lat": 21.0, "lon": 105.8}',
        b'{"time": 999999999999999999999999999999, "lat": 21.0, "lon": 105.8}',
        b'{"time": "2101-01-01T00:00:00Z", "lat": 21.0, "lon": 105.8}',
        b'{"time": "0001-01-01T00:00:00+07:00", "lat": 21.0, "lon": 105.8}',
    ),
    "bad_id": (
        b'{"time": "2026-03-04T01:00:00Z", "lat": 21.0, "lon": 105.8, "driver_id": "a\\u0000b"}',
        b'{"time": "2026-03-04T01:00:00Z", "lat": 21.0, "lon": 105.8, "driver_id": "' + b"d" * 65 + b'"}',
        b'{"time": "2026-03-04T01:00:00Z", "lat": 21.0, "lon": 105.8, "vehicle_id": "another"}',
    ),
}


async def test_a_message_that_cannot_be_used_is_a_dead_letter_with_its_bytes_and_the_reason(rig: WorkerRig) -> None:
    sent = {payload: reason for reason, payloads in UNUSABLE.items() for payload in payloads}
    await rig.append([message(TRIP[0])])
    await rig.append(RawMessage("hanhtrinh/29B-00001", payload, RECEIVED_US) for payload in sent)
    await rig.append([RawMessage("elsewhere/\x01", GOOD, RECEIVED_US), message(TRIP[1])])
    await rig.work_off()
    await rig.is_sound()
    kept = await rig.rows("SELECT payload, reason FROM dead_letters WHERE topic LIKE 'hanhtrinh/%%'")
    assert dict(kept) == sent
    assert await rig.rows("SELECT payload, reason FROM dead_letters WHERE topic LIKE 'elsewhere%%'") == [
        (GOOD, "unknown_topic")
    ]
    assert await rig.one("SELECT count(*) FROM fixes") == 2


async def test_the_same_unusable_bytes_are_one_letter_however_often_they_come(rig: WorkerRig) -> None:
    await rig.append([RawMessage("hanhtrinh/29B-00001", b"{", RECEIVED_US + n) for n in range(5)])
    await rig.work_off(batch_max_messages=2)
    assert await rig.one("SELECT count(*) FROM dead_letters") == 1
    assert await rig.one("SELECT sum(letters) FROM log_positions") == 5


async def test_of_a_list_that_is_partly_bad_the_good_positions_are_kept(rig: WorkerRig) -> None:
    good = message(TRIP[0]).payload
    bad = b'{"time": "2026-03-04T01:00:00Z", "lat": 95, "lon": 105.8}'
    payload = b"[" + b",".join((good, bad, message(TRIP[1]).payload, b"null")) + b"]"
    await rig.append([RawMessage("hanhtrinh/29B-00001", payload, RECEIVED_US)])
    await rig.work_off()
    await rig.is_sound()
    assert await rig.one("SELECT count(*) FROM fixes") == 2
    letters = await rig.rows("SELECT reason, left(detail, 4), payload FROM dead_letters ORDER BY detail")
    assert letters == [("bad_value", "[1] ", payload), ("bad_schema", "[3] ", payload)]


async def test_messages_that_are_no_position_by_design_are_counted_and_leave_nothing(rig: WorkerRig) -> None:
    await rig.append([RawMessage("owntracks/bus/7", b'{"_type": "lwt", "tst": 1772586000}', RECEIVED_US)])
    await rig.work_off()
    assert await rig.rows("SELECT sum(messages), sum(ignored), sum(letters) FROM log_positions") == [(1, 1, 0)]


@pytest.mark.parametrize("refused", [[0], [21], [5, 6], [0, 7, 14, 21], range(22)], ids=str)
async def test_what_the_database_refuses_is_put_aside_alone(make_rig: RigMaker, refused: Sequence[int]) -> None:
    without, rig = await make_rig(), await make_rig()
    await rig.connection.execute("ALTER TABLE fixes ADD CHECK (satellites <> 13)")
    await rig.append(
        message(fix._replace(satellites=13) if number in refused else fix) for number, fix in enumerate(TRIP)
    )
    await rig.work_off()
    await rig.is_sound()
    await without.append(message(fix) for number, fix in enumerate(TRIP) if number not in refused)
    await without.work_off()
    expected, found = await table_state(without.connection), await table_state(rig.connection)
    assert (expected.fixes, expected.violations, expected.activity) == (found.fixes, found.violations, found.activity)
    letters = await rig.rows("SELECT reason, payload FROM dead_letters ORDER BY log_offset")
    assert letters == [("refused_by_database", message(TRIP[n]._replace(satellites=13)).payload) for n in refused]
    assert "check constraint" in await rig.one("SELECT min(detail) FROM dead_letters")
