"""The real servers that the benchmarks run against: those of the tests, started when first asked for."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path

from ingest.simulator import write_registry
from ingest.simulator.roster import Roster
from storage.connect import connect
from storage.registry import import_file
from tests.services.kafka_server import Kafka
from tests.services.mosquitto import Mosquitto
from tests.services.postgres import Postgres, drop_database, make_database


class Servers:
    """Each server runs from its first use to the end of the `servers()` block."""

    def __init__(self, home: Path, at_end: Callable[..., object]) -> None:
        self.home = home
        self._at_end = at_end

    @cached_property
    def kafka(self) -> Kafka:
        server = Kafka(self.home / "kafka")
        server.start()
        self._at_end(server.stop)
        return server

    @cached_property
    def mosquitto(self) -> Mosquitto:
        server = Mosquitto(self.home / "mosquitto")
        server.start()
        self._at_end(server.stop)
        return server

    @cached_property
    def postgres(self) -> Postgres:
        server = Postgres(self.home / "postgres")
        server.start()
        self._at_end(server.stop)
        return server

    @contextmanager
    def database(self, roster: Roster | None = None) -> Iterator[str]:
        """The URL of a new database with the whole schema, and this fleet in its registry."""
        url = asyncio.run(make_database(self.postgres))
        try:
            if roster is not None:
                asyncio.run(_register(url, roster, self.folder("registry")))
            yield url
        finally:
            asyncio.run(drop_database(self.postgres, url))

    def folder(self, name: str) -> Path:
        """A new folder for whoever needs one."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.home))


@contextmanager
def servers() -> Iterator[Servers]:
    """No server yet; stops those that were started."""
    home = Path(tempfile.mkdtemp(prefix="hanhtrinh-bench-"))
    try:
        with ExitStack() as stack:
            yield Servers(home, stack.callback)
    finally:
        shutil.rmtree(home, ignore_errors=True)


async def _register(url: str, roster: Roster, folder: Path) -> None:
    write_registry(roster, folder)
    connection = await connect(url)
    try:
        for table in ("operators", "vehicles", "drivers"):
            await import_file(connection, folder / f"{table}.csv")
    finally:
        await connection.close()
