"""Two `hanhtrinh run` on one embedded log: the second is refused, whatever became of the first lets the next one in."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PROGRAM = (sys.executable, "-m", "hanhtrinh")


@pytest.fixture
def environment(services_home: Path) -> dict[str, str]:
    """A data folder that PostgreSQL's account may enter."""
    home = services_home / f"only-run-{time.time_ns()}"
    home.mkdir()
    return {**os.environ, "HANHTRINH_DATA_DIR": str(home), "HANHTRINH_METRICS_PORT": "0", "COLUMNS": "200"}


def call(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=60
    )


@contextmanager
def running(environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A `run` that listens."""
    with log.open("wb") as out:
        process = subprocess.Popen([*PROGRAM, "run"], env=environment, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while "Listening" not in log.read_text() and time.monotonic() < deadline:
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        process.wait(60)


def test_a_second_run_on_one_folder_is_refused_until_the_first_is_gone_while_other_commands_work(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with running(environment, tmp_path / "first.log") as first:
        second = call(environment, "run", "--for", "1s")
        assert second.returncode == 2
        assert second.stderr.splitlines() == [
            f"hanhtrinh: another `hanhtrinh run` uses {environment['HANHTRINH_DATA_DIR']}: end that one, or set"
            " HANHTRINH_DATA_DIR to a folder of its own"
        ]
        assert call(environment, "dead", "list").returncode == 0
        first.kill()
        first.wait()
    assert call(environment, "run", "--for", "1s").returncode == 0


def test_a_second_run_on_one_database_elsewhere_is_refused(
    environment: dict[str, str], postgres_url: str, tmp_path: Path
) -> None:
    environment = {**environment, "HANHTRINH_DATABASE_URL": postgres_url}
    elsewhere = {**environment, "HANHTRINH_DATA_DIR": str(tmp_path)}
    with running(environment, tmp_path / "first.log"):
        second = call(elsewhere, "run", "--for", "1s")
        assert second.returncode == 2
        [said] = second.stderr.splitlines()
        assert said.startswith("hanhtrinh: another `hanhtrinh run` uses the database ")
    assert call(elsewhere, "run", "--for", "1s").returncode == 0
