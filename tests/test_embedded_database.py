"""The embedded PostgreSQL: started by the first who needs it, stopped by the last, and sound after any kill."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from hanhtrinh.database import database as used_database
from hanhtrinh.settings import load_settings
from storage.connect import DatabaseError
from storage.embedded import EmbeddedDatabase
from tests.services.postgres import Postgres

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def home() -> Iterator[Path]:
    # Not pytest's own folder, which is closed to the account that PostgreSQL runs under when we are root.
    with tempfile.TemporaryDirectory(prefix="hanhtrinh-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture
def database(home: Path) -> Iterator[EmbeddedDatabase]:
    database = EmbeddedDatabase(home)
    yield database
    database.stop()


def ask(url: str, query: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def start_elsewhere(home: Path) -> subprocess.Popen[str]:
    """Another process that uses the same folder until its input is closed; its first line is the URL."""
    program = (
        "import sys; from pathlib import Path; from storage.embedded import EmbeddedDatabase\n"
        f"database = EmbeddedDatabase(Path({str(home)!r})); print(database.start(), flush=True)\n"
        "sys.stdin.read(); database.stop()"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )


def finish(process: subprocess.Popen[str]) -> None:
    process.communicate(timeout=60)


def test_it_starts_answers_and_keeps_data_over_a_restart(database: EmbeddedDatabase) -> None:
    url = database.start()
    ask(url, "CREATE TABLE kept AS SELECT 7 AS x")
    database.stop()
    with pytest.raises(psycopg.OperationalError):
        ask(url, "SELECT 1")
    assert ask(database.start(), "SELECT x FROM kept") == 7


def test_it_listens_on_no_network_and_never_runs_as_root(database: EmbeddedDatabase) -> None:
    url = database.start()
    assert ask(url, "SHOW listen_addresses") == ""
    assert ask(url, "SHOW TimeZone") == "UTC"
    server = psutil.Process(database.pid)
    assert server.uids().real != 0
    assert [c for c in server.net_connections() if c.family.name != "AF_UNIX"] == []


def test_nobody_else_on_the_machine_can_reach_it(database: EmbeddedDatabase) -> None:
    """It asks for no password."""
    url = database.start()
    socket = Path(str(ask(url, "SHOW unix_socket_directories"))) / ".s.PGSQL.5432"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (socket.parent, socket)] == [0o700, 0o700]


def test_a_closed_folder_is_opened_for_passing_through_only(database: EmbeddedDatabase, home: Path) -> None:
    """As root the server has an account of its own, which must come to its files."""
    home.chmod(0o700)
    database.start()
    assert stat.S_IMODE(home.stat().st_mode) == (0o701 if os.geteuid() == 0 else 0o700)


def test_a_stop_leaves_nothing_to_recover(database: EmbeddedDatabase, home: Path) -> None:
    ask(database.start(), "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS x")
    database.stop()
    database.start()
    assert "not properly shut down" not in (home / "postgres" / "server.log").read_text()


def test_commits_are_durable(database: EmbeddedDatabase) -> None:
    url = database.start()
    assert ask(url, "SHOW fsync") == "on"
    assert ask(url, "SHOW synchronous_commit") == "on"


def test_the_last_process_to_let_go_stops_the_server(database: EmbeddedDatabase, home: Path) -> None:
    other = start_elsewhere(home)
    assert other.stdout is not None
    url = other.stdout.readline().strip()
    assert database.start() == url
    pid = database.pid
    finish(other)
    assert ask(url, "SELECT 1") == 1
    assert database.pid == pid
    database.stop()
    with pytest.raises(psycopg.OperationalError):
        ask(url, "SELECT 1")


def test_the_first_process_may_leave_before_the_second(database: EmbeddedDatabase, home: Path) -> None:
    url = database.start()
    other = start_elsewhere(home)
    assert other.stdout is not None
    assert other.stdout.readline().strip() == url
    database.stop()
    assert ask(url, "SELECT 1") == 1
    finish(other)
    with pytest.raises(psycopg.OperationalError):
        ask(url, "SELECT 1")


def test_processes_that_start_at_once_share_one_server(home: Path) -> None:
    others = [start_elsewhere(home) for _ in range(3)]
    urls = {other.stdout.readline().strip() for other in others if other.stdout}
    assert len(urls) == 1
    assert ask(urls.pop(), "SELECT 1") == 1
    for other in others:
        finish(other)
        assert other.returncode == 0


def test_a_killed_process_leaves_a_server_that_the_next_one_takes_over(database: EmbeddedDatabase, home: Path) -> None:
    other = start_elsewhere(home)
    assert other.stdout is not None
    url = other.stdout.readline().strip()
    os.kill(other.pid, signal.SIGKILL)
    finish(other)
    assert database.start() == url
    database.stop()
    with pytest.raises(psycopg.OperationalError):
        ask(url, "SELECT 1")


def test_a_killed_server_comes_back_with_what_was_committed(home: Path) -> None:
    server = Postgres(home)
    server.start()
    ask(server.admin_url, "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS x")
    server.kill()
    server.start()
    assert ask(server.admin_url, "SELECT count(*) FROM kept") == 1000
    server.stop()


def test_a_server_that_died_needs_no_stopping(database: EmbeddedDatabase) -> None:
    database.start()
    assert database.is_up
    postmaster = psutil.Process(database.pid)
    postmaster.kill()
    psutil.wait_procs([postmaster], timeout=20)
    assert not database.is_up
    database.stop()


def test_a_start_that_was_interrupted_is_begun_again(database: EmbeddedDatabase, home: Path) -> None:
    unfinished = home / "postgres" / "unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    assert ask(database.start(), "SELECT 1") == 1


def test_a_path_too_long_for_a_socket_still_works(home: Path) -> None:
    database = EmbeddedDatabase(home / ("long" * 25))
    assert ask(database.start(), "SELECT 1") == 1
    database.stop()


def test_a_path_with_blanks_and_quotes_works(home: Path) -> None:
    database = EmbeddedDatabase(home / "it's a xe tải")
    assert ask(database.start(), "SELECT 1") == 1
    database.stop()


def test_stopping_what_was_never_started_does_nothing(home: Path) -> None:
    EmbeddedDatabase(home).stop()


@pytest.mark.parametrize("below", ["/proc/x", "/dev/null", "/dev/null/x", f"/tmp/{'long' * 100}"])
def test_a_folder_that_cannot_be_made_is_named_with_the_setting(below: str) -> None:
    expected = rf"^embedded database: {below}.*: set HANHTRINH_DATA_DIR to a folder that can be made and written$"
    with pytest.raises(DatabaseError, match=expected):
        EmbeddedDatabase(Path(below)).start()


def test_a_folder_that_may_not_be_written_is_named_with_the_remedy() -> None:
    # Nobody, root neither, may make a folder there.
    with pytest.raises(DatabaseError, match=r"^embedded database: /sys/x may not be written by this account: "):
        EmbeddedDatabase(Path("/sys/x")).start()


def test_a_server_that_dies_while_a_process_uses_it_is_started_again(home: Path) -> None:
    with used_database(load_settings(data_dir=home)) as url:
        ask(url, "CREATE TABLE kept AS SELECT 7 AS x")
        psutil.Process(EmbeddedDatabase(home).pid).kill()
        deadline = time.monotonic() + 30
        while (found := answer(url, "SELECT x FROM kept")) is None and time.monotonic() < deadline:
            time.sleep(0.2)
        assert found == 7
    assert not EmbeddedDatabase(home).is_up


def answer(url: str, query: str) -> object:
    """None while nobody answers."""
    try:
        return ask(url, query)
    except psycopg.OperationalError:
        return None
