"""An officer excuses a violation: it stands with its reason, whatever comes later, and all of it can be read."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from detectors.fix import to_us
from storage.excuses import ExcuseError, ExcuseStore
from tests.running_worker import WorkerRig, journey, make_rig, message, rig

__all__ = ["make_rig", "rig"]

REPOSITORY = Path(__file__).parents[1]
TRIP = journey("29B-00001", to_us(datetime(2026, 3, 4, 1, tzinfo=UTC)), [60] * 3 + [92] * 6 + [60] * 3, driver_id="D1")
JAM = "jam on QL1, verified"
OFFICER = "Nguyễn Văn An"


async def sent(rig: WorkerRig, *numbers: int) -> None:
    await rig.append(message(TRIP[number]) for number in numbers)
    await rig.work_off()
    await rig.is_sound()


async def standing_id(rig: WorkerRig) -> str:
    return str(await rig.one("SELECT violation_id FROM violations WHERE status <> 'withdrawn'"))


async def excuses(rig: WorkerRig) -> list[tuple[Any, ...]]:
    return await rig.rows(
        "SELECT status, excused_by, excused_why FROM violations WHERE status <> 'withdrawn' ORDER BY started_at"
    )


async def changes(rig: WorkerRig, violation_id: str) -> list[tuple[Any, ...]]:
    return await rig.rows(
        "SELECT change, why FROM violation_revisions WHERE violation_id = %s ORDER BY revision", violation_id
    )


async def excuse(rig: WorkerRig, *arguments: str) -> tuple[int, str]:
    """`hanhtrinh excuse`; its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hanhtrinh", "excuse", *arguments,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "HANHTRINH_DATABASE_URL": rig.url, "COLUMNS": "200"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, out.decode()


async def test_an_officer_excuses_a_violation_and_withdraws_the_excuse(rig: WorkerRig) -> None:
    await sent(rig, *range(12))
    violation_id = await standing_id(rig)
    assert await excuse(rig, violation_id, "--why", JAM, "--by", OFFICER) == (
        0,
        f"violation {violation_id} (speeding, 29B-00001, D1): excused by {OFFICER}\n",
    )
    assert await excuses(rig) == [("closed", OFFICER, JAM)]
    before, after = (
        await rig.rows("SELECT before, after FROM violation_revisions WHERE change = 'excused'")
    )[0]  # fmt: skip
    assert (before["excused_by"], after["excused_by"]) == (None, OFFICER)
    code, text = await excuse(rig, violation_id, "--why", "wrong road", "--by", "Lê", "--undo")
    assert (code, "excuse withdrawn by Lê" in text) == (0, True)
    assert await excuses(rig) == [("closed", None, None)]
    assert (await changes(rig, violation_id))[-2:] == [
        ("excused", f"{OFFICER}: {JAM}"),
        ("excuse withdrawn", "Lê: wrong road"),
    ]
    await rig.is_sound()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere", "--why", "x", "--by", "y"], "hanhtrinh: no violation 'nowhere': expected an id as"),
        (["nowhere", "--why", "x", "--by", "y", "--undo"], "hanhtrinh: no violation 'nowhere': expected an id as"),
        (["nowhere", "--why", " ", "--by", "y"], "--why '': expected a line of text"),
        (["nowhere", "--why", "x", "--by", "a\nb"], "--by 'a\\nb': expected a line of text"),
        (["nowhere", "--why", "x"], "Missing option '--by'"),
    ],
)
async def test_what_cannot_be_excused_is_named_in_one_line(rig: WorkerRig, arguments: list[str], said: str) -> None:
    code, text = await excuse(rig, *arguments)
    assert code == 2
    assert said in text
    assert "Traceback" not in text


async def test_an_excuse_is_given_once_and_only_to_what_stands(rig: WorkerRig) -> None:
    store = ExcuseStore(rig.connection)
    await sent(rig, *range(3), *range(4, 12))
    violation_id = await standing_id(rig)
    with pytest.raises(ExcuseError, match="is not excused: there is no excuse to withdraw"):
        await store.withdraw(violation_id, OFFICER, "?")
    await store.excuse(violation_id, OFFICER, JAM)
    with pytest.raises(ExcuseError, match=f"was excused by {OFFICER} already"):
        await store.excuse(violation_id, "Lê", "again")
    await sent(rig, 3)
    assert await standing_id(rig) != violation_id
    with pytest.raises(ExcuseError, match="is withdrawn: there is nothing to excuse"):
        await store.excuse(violation_id, OFFICER, JAM)


async def test_a_violation_excused_while_it_goes_on_is_closed_with_its_excuse(rig: WorkerRig) -> None:
    await sent(rig, *range(7))
    violation_id = await standing_id(rig)
    await ExcuseStore(rig.connection).excuse(violation_id, OFFICER, JAM)
    await sent(rig, *range(7, 12))
    assert await excuses(rig) == [("closed", OFFICER, JAM)]
    assert (await changes(rig, violation_id))[-1] == ("closed", "judged on the stream; it stays excused")
    body = await rig.one("SELECT body FROM alerts WHERE stage = 'closed'")
    assert (body["excused"]["by"], body["excused"]["why"]) == (OFFICER, JAM)
    assert "excused" not in await rig.one("SELECT body FROM alerts WHERE stage = 'opened'")


async def test_late_data_that_changes_an_excused_violation_says_that_it_stays_excused(rig: WorkerRig) -> None:
    await sent(rig, *range(5), *range(6, 12))
    violation_id = await standing_id(rig)
    await ExcuseStore(rig.connection).excuse(violation_id, OFFICER, JAM)
    await sent(rig, 5)
    assert await rig.one("SELECT fixes FROM violations WHERE violation_id = %s", violation_id) == 6
    assert await excuses(rig) == [("closed", OFFICER, JAM)]
    assert (await changes(rig, violation_id))[-1] == ("corrected", "1 late fixes; it stays excused")


async def test_what_takes_the_place_of_an_excused_violation_is_excused(rig: WorkerRig) -> None:
    await sent(rig, *range(3), *range(4, 12))
    old = await standing_id(rig)
    await ExcuseStore(rig.connection).excuse(old, OFFICER, JAM)
    await sent(rig, 3)
    new = await standing_id(rig)
    assert new != old
    assert await excuses(rig) == [("closed", OFFICER, JAM)]
    assert ("excused", "takes the place of an excused one") in await changes(rig, new)
    assert await rig.rows("SELECT status, excused_by FROM violations WHERE violation_id = %s", old) == [
        ("withdrawn", OFFICER)
    ]


async def test_an_officer_and_a_worker_at_once_leave_both_changes_and_no_letter(rig: WorkerRig) -> None:
    await sent(rig, *range(7))
    violation_id = await standing_id(rig)
    store = ExcuseStore(rig.connection)

    async def to_and_fro() -> None:
        for _ in range(20):
            await store.excuse(violation_id, OFFICER, JAM)
            await store.withdraw(violation_id, OFFICER, "not so")

    async with rig.worker(batch_max_messages=1):
        await rig.append(message(TRIP[number]) for number in range(7, 12))
        await to_and_fro()
    await rig.work_off()
    assert await rig.one("SELECT count(*) FROM dead_letters") == 0
    assert await excuses(rig) == [("closed", None, None)]
    counted = await rig.rows("SELECT change, count(*) FROM violation_revisions GROUP BY change ORDER BY change")
    assert counted == [("closed", 1), ("excuse withdrawn", 20), ("excused", 20), ("opened", 1)]
    await rig.is_sound()
