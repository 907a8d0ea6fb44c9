"""The servers that all rounds share, with a proxy on each way to them, and what can be done to them."""

from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import psycopg
from psycopg import sql

from storage.connect import Connection, connect
from storage.migrate import migrate
from tests.chaos.proxy import MqttMessages, PostgresMessages, Proxy
from tests.services.kafka_server import Kafka
from tests.services.mosquitto import Mosquitto
from tests.services.postgres import Postgres
from tests.services.process import free_port

_DISK_MIB = 96
CLOCK_SOURCE = '''
"""Shifts this process's wall clock by the seconds in the file CHAOS_CLOCKS/<command>, read at every call."""

import mmap, os, struct, sys, time

_path = os.path.join(os.environ.get("CHAOS_CLOCKS", "/nonexistent"), sys.orig_argv[3] if len(sys.orig_argv) > 3 else "")
if os.path.isfile(_path):
    with open(_path, "r+b") as _file:
        _shift = mmap.mmap(_file.fileno(), 8)
    _time, _time_ns = time.time, time.time_ns
    time.time = lambda: _time() + struct.unpack("<q", _shift[:])[0]
    time.time_ns = lambda: _time_ns() + struct.unpack("<q", _shift[:])[0] * 1_000_000_000
'''


class World:
    """Kafka, Mosquitto and PostgreSQL, and the four ways that a fault may lie on."""

    def __init__(self, home: Path) -> None:
        ports = {name: free_port() for name in ("BRIDGE", "WORKER", "mqtt", "database")}
        self.kafka = Kafka(home / "kafka", {"BRIDGE": ports["BRIDGE"], "WORKER": ports["WORKER"]})
        self.mosquitto = Mosquitto(home / "mosquitto")
        self.postgres = Postgres(home / "postgres")
        self.disk = SmallDisk(home / "disk")
        self.clocks = Clocks(home / "clocks")
        self.bridge_kafka = Proxy(ports["BRIDGE"], lambda: self.kafka.listeners["BRIDGE"])
        self.worker_kafka = Proxy(ports["WORKER"], lambda: self.kafka.listeners["WORKER"])
        self.bridge_mqtt = Proxy(ports["mqtt"], lambda: self.mosquitto.port, MqttMessages)
        self.worker_database = Proxy(ports["database"], lambda: self._socket, PostgresMessages)
        self._proxies = (self.bridge_kafka, self.worker_kafka, self.bridge_mqtt, self.worker_database)
        self._socket = ""

    async def start(self) -> None:
        servers = (self.kafka, self.mosquitto, self.postgres)
        await asyncio.gather(*(asyncio.to_thread(server.start) for server in servers))
        folder = parse_qs(urlsplit(self.postgres.admin_url).query)["host"][0]
        self._socket = f"{folder}/.s.PGSQL.5432"
        self.disk.make()
        for proxy in self._proxies:
            await proxy.start()

    async def stop(self) -> None:
        for proxy in self._proxies:
            await proxy.stop()
        for server in (self.kafka, self.mosquitto, self.postgres):
            await asyncio.to_thread(server.stop)
        self.disk.remove()

    def calm(self) -> None:
        """Switch off whatever a fault has left switched on."""
        for proxy in self._proxies:
            proxy.refusing, proxy.delay_s, proxy.trap = False, 0.0, None
            proxy.flow()
        self.disk.empty()
        self.clocks.right()

    def proxied(self, url: str, client: str) -> str:
        """The way to this database through the workers' proxy, which sees that name."""
        database = urlsplit(url).path
        address = f"127.0.0.1:{self.worker_database.port}"
        return f"postgresql://postgres@{address}{database}?sslmode=disable&gssencmode=disable&application_name={client}"

    async def make_database(self, *, on_small_disk: bool = False) -> str:
        """A fresh database with the whole schema."""
        name = f"chaos_{uuid4().hex[:12]}"
        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if on_small_disk and self.disk.mounted:
            with suppress(psycopg.errors.DuplicateObject):
                location = sql.Literal(str(self.disk.folder))
                await self.administrate(sql.SQL("CREATE TABLESPACE chaos LOCATION {}").format(location))
            statement += sql.SQL(" TABLESPACE chaos")
        await self.administrate(statement)
        url = urlsplit(self.postgres.admin_url)._replace(path=f"/{name}").geturl()
        await migrate(url)
        return url

    async def drop_database(self, url: str) -> None:
        name = sql.Identifier(urlsplit(url).path.removeprefix("/"))
        await self.administrate(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))

    async def read_only(self, url: str, on: bool) -> None:
        """Make all sessions of a database, those there are and those to come, read-only or no more so."""
        name = urlsplit(url).path.removeprefix("/")
        await self.administrate(
            sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = {}").format(
                sql.Identifier(name), sql.Literal(on)
            )
        )
        await self.administrate(
            sql.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}").format(
                sql.Literal(name)
            )
        )

    async def administrate(self, statement: sql.Composed) -> None:
        connection: Connection = await connect(self.postgres.admin_url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


class SmallDisk:
    """A file system of its own for one tablespace, where root may mount one; filled and emptied at will."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mounted = False
        self._filler = folder.with_name("disk") / "filler"

    def make(self) -> None:
        self.folder.mkdir()
        options = ["-t", "tmpfs", "-o", f"size={_DISK_MIB}m,mode=0777", "hanhtrinh-chaos"]
        done = subprocess.run(["mount", *options, str(self.folder)], check=False, capture_output=True)
        self.mounted = done.returncode == 0
        if self.mounted:
            _give_to_server(self.folder)

    def fill(self) -> None:
        """Leave no free byte."""
        with suppress(OSError), self._filler.open("ab", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))

    def empty(self) -> None:
        self._filler.unlink(missing_ok=True)

    def remove(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


class Clocks:
    """Wall clocks of the parts, by command, shifted while they run."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        (folder / "sitecustomize.py").write_text(CLOCK_SOURCE)
        self.right()

    @property
    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(self._folder), "CHAOS_CLOCKS": str(self._folder)}

    def shift(self, command: str, seconds: int) -> None:
        # In place: the process has the file mapped.
        path = self._folder / command
        with path.open("r+b" if path.exists() else "w+b") as file:
            file.write(ctypes.c_int64(seconds))

    def right(self) -> None:
        for command in ("bridge", "work", "notify"):
            self.shift(command, 0)


def _give_to_server(folder: Path) -> None:
    import pwd

    with suppress(KeyError):
        account = pwd.getpwnam("pgserver")
        os.chown(folder, account.pw_uid, account.pw_gid)


@asynccontextmanager
async def running_world(home: Path) -> AsyncIterator[World]:
    """The servers and proxies at work inside the block. `home` must let other accounts pass through."""
    world = World(home)
    try:
        await world.start()
        yield world
    finally:
        await world.stop()
