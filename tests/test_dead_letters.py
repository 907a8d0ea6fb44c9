"""Dead letters are listed, shown, and tried again: what a mended decoder can use comes back, as late and once."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import typer
from psycopg.errors import CheckViolation

from detectors.checks import Check
from detectors.fix import from_us, to_us
from detectors.fix_table import empty_table
from hanhtrinh.commands.dead import parse_since
from hanhtrinh.dead_letters import Retry
from hanhtrinh.worker.batch import refused_letters
from hanhtrinh.worker.intake import Intake
from ingest.embedded_log import EmbeddedLogWriter
from ingest.formats import hanhtrinh_json
from ingest.formats.decoded import Decoded
from ingest.formats.reasons import Reject
from ingest.log import LogError
from ingest.raw import LogIdentity, LogRecord, LogRecords, LogSlice, RawMessage
from storage.connect import connect
from storage.letter_book import LetterBook, LetterFilter
from tests.chain import broker, running_chain
from tests.running_worker import PARTITIONS, RECEIVED_US, RigMaker, WorkerRig, journey, make_rig, message, rig
from tests.services.kafka_server import Kafka
from tests.services.mosquitto import Mosquitto
from tests.table_state import table_state

__all__ = ["broker", "make_rig", "rig"]

REPOSITORY = Path(__file__).parents[1]
TRIP = journey("29B-00001", to_us(datetime(2026, 3, 4, 1, tzinfo=UTC)), [60] * 3 + [92] * 6 + [60] * 3, driver_id="D1")
LOST = TRIP[3:8]
HANOI = ZoneInfo("Asia/Ho_Chi_Minh")


async def dead(rig: WorkerRig, *arguments: str) -> tuple[int, str]:
    """`hanhtrinh dead`; its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hanhtrinh", "dead", *arguments,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "HANHTRINH_DATABASE_URL": rig.url, "COLUMNS": "200",
             "HANHTRINH_LOG_PARTITIONS": str(PARTITIONS)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, out.decode()


async def judged_by_an_old_version(rig: WorkerRig, messages: Sequence[RawMessage], refused: Sequence[bytes]) -> None:
    """Work these off with a decoder that cannot yet read some of them."""
    todays = hanhtrinh_json.decode

    def old(device_id: str, payload: bytes) -> Decoded:
        if payload in refused:
            return Decoded([], [Reject("bad_value", "speed_kmh: given 92, expected at most 90")])
        return todays(device_id, payload)

    await rig.append(messages)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hanhtrinh_json, "decode", old)
        patch.setattr(
            hanhtrinh_json, "single_fixes", lambda device_ids, payloads: (empty_table(), np.empty(0, np.intp))
        )
        await rig.work_off()


async def outcomes(rig: WorkerRig) -> list[tuple[Any, ...]]:
    return await rig.rows("SELECT retry_outcome, retries FROM dead_letters ORDER BY received_at, dead_letter_id")


async def test_letters_that_a_mended_decoder_can_read_come_back_as_late_fixes_exactly_once(make_rig: RigMaker) -> None:
    messages = [message(fix, received_us=RECEIVED_US + n) for n, fix in enumerate(TRIP)]
    never_lost = await make_rig()
    await never_lost.append(messages)
    await never_lost.work_off()
    rig = await make_rig()
    await judged_by_an_old_version(rig, messages, [message(fix).payload for fix in LOST])
    assert await rig.one("SELECT count(*) FROM violations") == 0
    assert await rig.one("SELECT count(*) FROM dead_letters") == 5
    assert await dead(rig, "retry", "--all") == (0, "5 sent back into the log, 0 unusable still\n")
    await rig.work_off()
    expected, found = await table_state(never_lost.connection), await table_state(rig.connection)
    assert expected.violations
    assert found.letters
    found.letters.clear()
    assert expected.differences(found, alerts=False) == ""
    assert await outcomes(rig) == [("sent", 1)] * 5
    receipts = "SELECT vehicle_id, time, received_at FROM fixes ORDER BY time"
    assert await rig.rows(receipts) == await never_lost.rows(receipts)
    assert "late fixes" in await rig.one("SELECT max(why) FROM violation_revisions")
    await rig.is_sound()
    # Once more: there is nothing left to send; by name it is sent, and counted as doubled.
    assert await dead(rig, "retry", "--all") == (0, "0 sent back into the log, 0 unusable still\n")
    letter_id = await rig.one("SELECT min(dead_letter_id) FROM dead_letters")
    assert (await dead(rig, "retry", letter_id))[0] == 0
    await rig.work_off()
    assert await rig.rows("SELECT sum(fixes), sum(doubled), sum(letters) FROM log_positions") == [(12, 1, 5)]
    found = await table_state(rig.connection)
    found.letters.clear()
    assert expected.differences(found, alerts=False) == ""
    await rig.is_sound()


async def test_the_clock_of_a_letter_is_checked_against_its_first_receipt(rig: WorkerRig) -> None:
    """Two days ahead of its receipt: by now they have long passed, and the fix is wrong all the same."""
    ahead = TRIP[0]._replace(time_us=RECEIVED_US + 2 * 86_400_000_000)
    await judged_by_an_old_version(rig, [message(ahead)], [message(ahead).payload])
    assert (await dead(rig, "retry", "--all"))[0] == 0
    await rig.work_off()
    assert await rig.rows("SELECT flags & %s, received_at FROM fixes", int(Check.CLOCK)) == [
        (int(Check.CLOCK), from_us(RECEIVED_US))
    ]


async def test_a_letter_that_is_still_bad_stays_with_the_attempt_noted_and_no_second_one(rig: WorkerRig) -> None:
    await rig.append([RawMessage("hanhtrinh/29B-00001", b"{not json", RECEIVED_US)])
    await rig.work_off()
    for _ in range(2):
        assert await dead(rig, "retry", "--all") == (1, "0 sent back into the log, 1 unusable still\n")
    assert await rig.rows("SELECT retry_outcome, retries, retry_detail LIKE 'bad_json: %%' FROM dead_letters") == [
        ("unusable", 2, True)
    ]
    assert await rig.one("SELECT sum(messages) FROM log_positions") == 1


async def test_a_letter_that_the_database_refuses_again_is_unusable_still_and_not_new(rig: WorkerRig) -> None:
    await rig.connection.execute("ALTER TABLE fixes ADD CONSTRAINT no_13 CHECK (satellites <> 13)")
    await rig.append([message(TRIP[0]._replace(satellites=13)), message(TRIP[1])])
    await rig.work_off()
    assert await dead(rig, "retry", "--all") == (0, "1 sent back into the log, 0 unusable still\n")
    await rig.work_off()
    assert await rig.rows("SELECT reason, retry_outcome, retries FROM dead_letters") == [
        ("refused_by_database", "unusable", 1)
    ]
    await rig.connection.execute("ALTER TABLE fixes DROP CONSTRAINT no_13")
    assert (await dead(rig, "retry", "--reason", "refused_by_database"))[0] == 0
    await rig.work_off()
    assert await outcomes(rig) == [("sent", 2)]
    assert await rig.one("SELECT count(*) FROM fixes") == 2
    await rig.is_sound()


def test_a_refusal_reads_the_same_whichever_chunk_of_timescaledb_it_came_from() -> None:
    """A retry that is refused again was taken for another refusal: the chunk of the first one had been rolled back."""
    records = LogRecords.of([LogRecord(7, message(TRIP[0]))])
    intake = Intake([LogSlice(0, 7, 8, records)], first_rows=[0])
    said = 'new row for relation "{}" violates check constraint "no_13"'
    tables = ("_hyper_1_2_chunk", "_hyper_1_31_chunk", "fixes")
    letters = [refused_letters(intake, CheckViolation(said.format(table)))[0] for table in tables]
    assert [letter.detail for letter in letters] == [said.format("fixes")] * 3


async def test_a_list_with_one_bad_position_is_sent_once_and_its_good_ones_are_doubled(rig: WorkerRig) -> None:
    whole = message(*TRIP[:3])
    todays = hanhtrinh_json.decode

    def old(device_id: str, payload: bytes) -> Decoded:
        fixes, _, ignored = todays(device_id, payload)
        return Decoded(fixes[1:2], [Reject("bad_value", "[0] lat: no"), Reject("bad_value", "[2] lat: no")], ignored)

    await rig.append([whole])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hanhtrinh_json, "decode", old)
        patch.setattr(
            hanhtrinh_json, "single_fixes", lambda device_ids, payloads: (empty_table(), np.empty(0, np.intp))
        )
        await rig.work_off()
    assert await dead(rig, "retry", "--all", "--json") == (0, '{"sent": 2, "unusable": 0}\n')
    await rig.work_off()
    assert await rig.rows("SELECT sum(messages), sum(fixes), sum(doubled) FROM log_positions") == [(2, 3, 1)]
    await rig.is_sound()


async def test_the_loser_of_a_conflict_is_not_sent_again(rig: WorkerRig) -> None:
    await rig.append([message(TRIP[0]), message(TRIP[0]._replace(speed_kmh=61.0))])
    await rig.work_off()
    code, text = await dead(rig, "retry", "--reason", "conflict")
    assert (code, text) == (1, "0 sent back into the log, 1 unusable still\n")
    assert "stands by its content" in (await dead(rig, "list"))[1]


class _Failing:
    """A log whose writer dies after, or before, the messages are in it."""

    def __init__(self, log: EmbeddedLogWriter, *, after: bool) -> None:
        self._log = log
        self._after = after

    async def open(self) -> LogIdentity:
        return await self._log.open()

    async def append(self, device_id: str, message: RawMessage) -> None:
        await self.append_many([(device_id, message)])

    async def append_many(self, messages: Sequence[tuple[str, RawMessage]]) -> None:
        if self._after:
            await self._log.append_many(messages)
        raise LogError("the log is away")

    async def close(self) -> None:
        await self._log.close()


@pytest.mark.parametrize("after", [False, True], ids=["before the log has them", "before they are marked"])
async def test_a_retry_that_dies_loses_and_doubles_nothing(rig: WorkerRig, after: bool) -> None:
    await judged_by_an_old_version(rig, [message(fix) for fix in TRIP], [message(fix).payload for fix in LOST])
    failing = _Failing(EmbeddedLogWriter(lambda: connect(rig.url), PARTITIONS), after=after)
    try:
        with pytest.raises(LogError):
            await Retry(LetterBook(rig.connection), failing).all(LetterFilter())
    finally:
        await failing.close()
    assert await outcomes(rig) == [("sending", 1)] * 5
    assert "perhaps sent" in (await dead(rig, "list"))[1]
    await rig.work_off()
    assert (await dead(rig, "retry", "--all"))[0] == 0
    await rig.work_off()
    assert await outcomes(rig) == [("sent", 2)] * 5
    assert await rig.one("SELECT count(*) FROM fixes") == 12
    assert await rig.one("SELECT sum(doubled) FROM log_positions") == (5 if after else 0)
    await rig.is_sound()


async def test_letters_are_listed_by_reason_time_vehicle_and_topic(rig: WorkerRig) -> None:
    day_us = 86_400_000_000
    await rig.append(
        [
            RawMessage("hanhtrinh/29B-1", b"{", RECEIVED_US),
            RawMessage("hanhtrinh/29B_2", b"", RECEIVED_US + day_us),
            RawMessage("owntracks/29B-1/phone", b"[", RECEIVED_US + 2 * day_us),
            RawMessage("elsewhere/x", b"\xff\x00", RECEIVED_US + 3 * day_us),
        ]
    )
    await rig.work_off()

    async def topics(*arguments: str) -> list[str]:
        code, text = await dead(rig, "list", "--json", *arguments)
        assert code == 0, text
        return [json.loads(line)["topic"] for line in text.splitlines()]

    assert await topics() == ["elsewhere/x", "owntracks/29B-1/phone", "hanhtrinh/29B_2", "hanhtrinh/29B-1"]
    assert await topics("--limit", "1") == ["elsewhere/x"]
    assert await topics("--reason", "empty") == ["hanhtrinh/29B_2"]
    assert await topics("--vehicle", "29B-1") == ["hanhtrinh/29B-1"]
    assert await topics("--vehicle", "29B-1/phone") == ["owntracks/29B-1/phone"]
    assert await topics("--topic", "*29B_*") == ["hanhtrinh/29B_2"]
    since = from_us(RECEIVED_US + 2 * day_us).isoformat()
    assert await topics("--since", since) == ["elsewhere/x", "owntracks/29B-1/phone"]
    code, text = await dead(rig, "list", "--limit", "2")
    assert (code, text.splitlines()[-1]) == (0, "4 dead letters, the last 2 shown")
    assert "+07" in text


async def test_a_letter_is_shown_whole_as_text_or_as_hexadecimal(rig: WorkerRig) -> None:
    await rig.append(
        [
            RawMessage("hanhtrinh/29B-1", '{"tên": 1'.encode(), RECEIVED_US),
            RawMessage("hanhtrinh/29B-2", b"\x1b[2J\xff" + bytes(20), RECEIVED_US),
        ]
    )
    await rig.work_off()
    ids = dict(await rig.rows("SELECT topic, dead_letter_id FROM dead_letters"))
    code, text = await dead(rig, "show", ids["hanhtrinh/29B-1"][:8])
    assert code == 0
    assert text.splitlines()[-1] == '{"tên": 1'
    assert f"id:       {ids['hanhtrinh/29B-1']}" in text
    assert "reason:   bad_json: not a JSON document" in text
    assert "retried:  never" in text
    _, text = await dead(rig, "show", ids["hanhtrinh/29B-2"])
    assert "\x1b" not in text
    assert text.splitlines()[-2:] == [
        "00000000  1b 5b 32 4a ff 00 00 00 00 00 00 00 00 00 00 00  .[2J............",
        "00000010  00 00 00 00 00 00 00 00 00                       .........",
    ]
    document = json.loads((await dead(rig, "show", "--json", ids["hanhtrinh/29B-2"]))[1])
    assert document["payload_hex"] == "1b5b324aff" + "00" * 20
    assert document["received_at"].endswith("Z")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "0000dead"], "hanhtrinh: no dead letter '0000dead': `hanhtrinh dead list` shows those there are"),
        (["show", "%"], "hanhtrinh: dead letter '%': expected an id as"),
        (["list", "--reason", "nonsense"], "--reason 'nonsense': expected one of empty, bad_json"),
        (["list", "--since", "yesterday"], "--since 'yesterday': expected 30m, 12h, 7d"),
        (["list", "--vehicle", "a", "--topic", "b"], "expected --vehicle or --topic, not both"),
        (["retry"], "expected ids, or filters such as --reason, or --all"),
        (["retry", "0000dead", "--all"], "expected ids, or filters such as --reason, or --all"),
        (["retry", "0000dead"], "hanhtrinh: no dead letter '0000dead'"),
    ],
)
async def test_what_cannot_be_done_is_one_clear_message(rig: WorkerRig, arguments: list[str], said: str) -> None:
    code, text = await dead(rig, *arguments)
    assert code == 2
    assert said in " ".join(text.replace("│", " ").split())
    assert "Traceback" not in text


def test_since_is_an_age_a_local_day_or_a_time_with_its_zone() -> None:
    now = datetime(2026, 3, 4, 12, tzinfo=UTC)
    assert parse_since("90m", HANOI, now) == now - timedelta(minutes=90)
    assert parse_since("7d", HANOI, now) == now - timedelta(days=7)
    assert parse_since("2026-03-04", HANOI, now) == datetime(2026, 3, 3, 17, tzinfo=UTC)
    assert parse_since("2026-03-04T08:00:00Z", HANOI, now) == datetime(2026, 3, 4, 8, tzinfo=UTC)
    for wrong in ("", "7", "-7d", "2026-03-04T08:00:00", "2026-13-01", "now"):
        with pytest.raises(typer.BadParameter, match="expected 30m"):
            parse_since(wrong, HANOI, now)


async def test_on_kafka_a_letter_comes_back_with_its_first_receipt(
    kafka: Kafka, broker: Mosquitto, postgres_url: str, tmp_path: Path
) -> None:
    payload = message(TRIP[0]).payload
    async with running_chain(kafka, broker, postgres_url, tmp_path) as chain:
        await chain.start("work")
        await chain.connection.execute(
            "INSERT INTO dead_letters (dead_letter_id, log_id, partition, log_offset, topic, received_at, reason,"
            " detail, payload)"
            " VALUES ('a1b2c3d4', 'another/log', 0, 7, 'hanhtrinh/29B-00001', %s, 'bad_value', '-', %s)",
            [from_us(RECEIVED_US), payload],
        )
        await chain.call("dead", "retry", "a1b2c3d4")
        await chain.worked_off(1)
        assert await chain.rows("SELECT vehicle_id, received_at FROM fixes") == [("29B-00001", from_us(RECEIVED_US))]
        assert await chain.rows("SELECT retry_outcome FROM dead_letters") == [("sent",)]
