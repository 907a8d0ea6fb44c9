"""`hanhtrinh rejudge` asks at a terminal before it writes, and takes a no for a no."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
from asyncio.subprocess import PIPE

import pytest

from tests.running_worker import WorkerRig, make_rig, rig
from tests.table_state import table_state
from tests.test_rejudge_command import DAY, REPOSITORY, speeding, with_wrong_limit

__all__ = ["make_rig", "rig"]

END_OF_INPUT = "\x04"


async def answered(rig: WorkerRig, typed: str, *arguments: str) -> tuple[int, str]:
    """Exit code and standard error of a command at whose terminal this is typed."""
    terminal, its_end = pty.openpty()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "hanhtrinh", "rejudge", *arguments, stdin=its_end, stdout=PIPE, stderr=PIPE,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "HANHTRINH_DATABASE_URL": rig.url},
        )  # fmt: skip
        os.write(terminal, typed.encode())
        _, err = await asyncio.wait_for(process.communicate(), 120)
    finally:
        os.close(its_end)
        os.close(terminal)
    assert process.returncode is not None
    return process.returncode, err.decode()


@pytest.mark.parametrize("typed", ["n\n", "\n", END_OF_INPUT], ids=["no", "nothing", "the end"])
async def test_only_a_yes_is_a_yes(rig: WorkerRig, typed: str) -> None:
    await with_wrong_limit(rig, 80, 60)
    before = await table_state(rig.connection)
    revisions = await rig.rows("SELECT * FROM violation_revisions")
    code, err = await answered(rig, typed, *DAY)
    assert code == 1
    assert "1 violations would change" in err
    assert "Write this? [y/N]" in err
    assert await rig.rows("SELECT * FROM rejudge_marks") == []
    assert before.differences(await table_state(rig.connection)) == ""
    assert await rig.rows("SELECT * FROM violation_revisions") == revisions


async def test_after_a_yes_it_is_written(rig: WorkerRig) -> None:
    await with_wrong_limit(rig, 80, 60)
    code, err = await answered(rig, "y\n", *DAY, "--why", "limit corrected")
    assert code == 0, err
    assert "Write this? [y/N]" in err
    assert await speeding(rig) == [("closed", 60.0)]
    assert await rig.rows("SELECT DISTINCT why FROM violation_revisions") == [("limit corrected",)]
    await rig.is_sound()
