"""The chain of the long form: workers and maintenance as processes on the embedded log, filled as a bridge would."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import LiteralString, Self

from rich.console import Console
from rich.status import Status
from typer.testing import CliRunner

from hanhtrinh.cli import app
from ingest.embedded_log import EmbeddedLogWriter
from storage.connect import Connection, connect
from tests.chain import Part
from tests.month.delivery import Message
from tests.services.postgres import Postgres, make_database

_PARTITIONS = 8
_GROUP = 2_000
_MOST_WAITING = 200_000
"""Messages that may wait in the log: the sender is faster than the workers, and the disk is not endless."""
_LOOK_EVERY_S = 1.0


async def make_report(database_url: str, *arguments: str) -> None:
    """`hanhtrinh report` in this process: a start takes longer than most reports."""
    settings = {"HANHTRINH_DATABASE_URL": database_url}
    result = await asyncio.to_thread(CliRunner(env=settings).invoke, app, ["report", *arguments])
    if result.exit_code:
        raise RuntimeError(f"hanhtrinh report {' '.join(arguments)}: {result.output}") from result.exception


class Chain:
    """Parts of one run, on a database of their own."""

    def __init__(self, url: str, connection: Connection, folder: Path, workers: int) -> None:
        self.connection = connection
        self._writer = EmbeddedLogWriter(lambda: connect(url), _PARTITIONS)
        self._waiting: list[Message] = []
        self._sent = 0
        settings = {
            "database_url": url, "log_partitions": str(_PARTITIONS), "metrics_port": "0", "log_level": "warning",
            "keep_journeys_days": "100000", "keep_violations_days": "100000",
        }  # fmt: skip
        self._environment = {**os.environ, **{f"HANHTRINH_{key.upper()}": value for key, value in settings.items()}}
        each = _PARTITIONS // workers
        shares = [f"{number * each}-{number * each + each - 1}" for number in range(workers)]
        commands = [("work", "--partitions", share) for share in shares] + [("maintain",)]
        self._parts = [
            Part(" ".join(command), command, self._environment, folder / f"{'-'.join(command)}.log")
            for command in commands
        ]

    async def start(self) -> None:
        """Workers and maintenance at work until `end`."""
        await self._writer.open()
        for part in self._parts:
            part.start()

    async def end(self) -> None:
        for part in self._parts:
            try:
                await part.end(signal.SIGTERM)
            except AssertionError:
                continue  # was not started
        await self._writer.close()

    async def call(self, *arguments: str) -> None:
        """Run a command to its end; it must succeed."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "hanhtrinh", *arguments, env=self._environment, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, said = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"hanhtrinh {' '.join(arguments)}: {said.decode()}")

    async def report(self, *arguments: str) -> None:
        """`hanhtrinh report`."""
        await make_report(self._environment["HANHTRINH_DATABASE_URL"], *arguments)

    async def append(self, message: Message) -> None:
        """Put it into the log, in groups; waits while too many are there already."""
        self._waiting.append(message)
        if len(self._waiting) >= _GROUP:
            await self._flush()
            while self._sent - await self._worked_off() > _MOST_WAITING:
                self._alive()
                await asyncio.sleep(_LOOK_EVERY_S)

    async def worked_off(self, told: Callable[[str], None]) -> None:
        """Return when everything sent is judged, and the past that it changed again."""
        await self._flush()
        while True:
            self._alive()
            left = self._sent - await self._worked_off()
            marks, fresh = await self._one(
                "SELECT (SELECT count(*) FROM rejudge_marks), NOT EXISTS"
                " (SELECT FROM log_positions WHERE next_offset > 0 AND silences_judged_to IS DISTINCT FROM"
                " (SELECT max(newest_event_at) FROM log_positions))"
            )
            if not left and not marks and fresh:
                return
            told(f"{left:,} messages to work off, {marks} vehicles to judge again")
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _flush(self) -> None:
        await self._writer.append_many([(each.vehicle_id, each.raw) for each in self._waiting])
        self._sent += len(self._waiting)
        self._waiting = []

    async def _worked_off(self) -> int:
        (messages,) = await self._one("SELECT coalesce(sum(messages), 0)::int8 FROM log_positions")
        return int(messages)

    async def _one(self, query: str) -> tuple[int, ...]:
        (row,) = await (await self.connection.execute(query.encode())).fetchall()
        return tuple(row)

    def _alive(self) -> None:
        for part in self._parts:
            part.alive()


@asynccontextmanager
async def running_chain(home: Path, folder: Path, workers: int) -> AsyncIterator[Chain]:
    """A database in `home`; logs go to `folder`."""
    server = Postgres(home / "postgres")
    server.start()
    try:
        # Nothing is killed here: tests/chaos shows what is kept then.
        await _administrate(server, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
        url = await make_database(server)
        connection = await connect(url)
        chain = Chain(url, connection, folder, workers)
        try:
            yield chain
        finally:
            await chain.end()
            await connection.close()
    finally:
        server.stop()


async def _administrate(server: Postgres, *statements: LiteralString) -> None:
    connection = await connect(server.admin_url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


class Stopwatch:
    """Says what is being done, with the minutes since the beginning; without a terminal a line a minute."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = console.status("") if console.is_terminal else None
        self._began_s = time.monotonic()
        self._said_s = 0.0

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def count(self, what: str, number: int) -> None:
        """`say` at every ten thousandth."""
        if number % 10_000 == 0:
            self.say(f"{what}: {number:,} messages")

    def say(self, what: str) -> None:
        now_s = time.monotonic()
        text = f"{(now_s - self._began_s) / 60:.1f} min: {what}"
        if self._status is not None:
            self._status.update(text)
        elif now_s - self._said_s > 60:
            self._said_s = now_s
            self._console.print(text, markup=False)
