"""A TCP proxy between a part and a server that misbehaves when told to, also at one exact message of the protocol."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

_PIECE_BYTES = 65_536
TO_SERVER, TO_CLIENT = "to server", "to client"


class Parser(Protocol):
    """Cuts what a client sends into messages and names those that matter."""

    client: str
    """Who it says it is; "" while not known."""

    def feed(self, data: bytes) -> list[tuple[bytes, str]]:
        """The whole messages that are complete by now, each with what it asks for ("" when that does not matter)."""
        ...


@dataclass
class Trap:
    """Waits for one message. `before`: it never arrives; otherwise the server gets it and its answer never arrives."""

    pattern: str
    spring: Callable[[str], Awaitable[None]]
    """Run with the name of the client while the message, or its answer, is held."""
    before: bool = True
    cuts: bool = True
    """The connection is cut afterwards; otherwise the message goes on."""
    sprung: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def catches(self, asked: str) -> bool:
        return not self.sprung.is_set() and re.search(self.pattern, asked) is not None


class _Connection:
    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter, parser: Parser | None) -> None:
        self.client = client
        self.server = server
        self.parser = parser
        self.withheld: asyncio.Event | None = None
        """Set by the first answer after it is there: no more answers get through."""

    def cut(self) -> None:
        for writer in (self.client, self.server):
            if (transport := writer.transport) is not None:
                transport.abort()


class Proxy:
    """Listens on `port`. Everything it can do wrong is switched on and off while connections are open."""

    def __init__(
        self, port: int, upstream: Callable[[], int | str], parser: Callable[[], Parser] | None = None
    ) -> None:
        """`upstream` tells a loopback port or the path of a UNIX socket, asked for each new connection."""
        self.port = port
        self.refusing = False
        self.delay_s = 0.0
        self.trap: Trap | None = None
        self._upstream = upstream
        self._parser = parser
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._flowing = {TO_SERVER: asyncio.Event(), TO_CLIENT: asyncio.Event()}
        self.flow()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def stop(self) -> None:
        assert self._server is not None, "the proxy was not started"
        self._server.close()
        self.flow()
        self.cut()
        await asyncio.sleep(0)

    def cut(self) -> int:
        """End every connection with a reset; how many there were."""
        connections = list(self._connections)
        for connection in connections:
            connection.cut()
        return len(connections)

    def stall(self, *directions: str) -> None:
        """Take bytes no further in these directions, without closing anything, until `flow`."""
        for direction in directions:
            self._flowing[direction].clear()

    def flow(self) -> None:
        for flowing in self._flowing.values():
            flowing.set()

    async def _serve(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        if self.refusing:
            to_client.transport.abort()
            return
        try:
            from_server, to_server = await self._reach()
        except OSError:
            to_client.transport.abort()
            return
        connection = _Connection(to_client, to_server, self._parser() if self._parser else None)
        self._connections.add(connection)
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._to_server(connection, from_client))
                pumps.create_task(self._to_client(connection, from_server))
        except* OSError:
            pass
        finally:
            self._connections.discard(connection)
            connection.cut()

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        upstream = self._upstream()
        if isinstance(upstream, str):
            return await asyncio.open_unix_connection(upstream)
        return await asyncio.open_connection("127.0.0.1", upstream)

    async def _to_server(self, connection: _Connection, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(_PIECE_BYTES):
            for piece, asked in connection.parser.feed(data) if connection.parser else [(data, "")]:
                if asked and (trap := self.trap) is not None and trap.catches(asked):
                    trap.sprung.set()
                    # On its own: what springs may end this very connection, and its pumps with it.
                    springing = asyncio.create_task(self._spring(trap, connection, piece))
                    await asyncio.shield(springing)
                    if trap.cuts:
                        connection.cut()
                        return
                await self._pass_on(TO_SERVER, connection.server, piece)
        connection.cut()

    async def _spring(self, trap: Trap, connection: _Connection, piece: bytes) -> None:
        try:
            if not trap.before:
                connection.withheld = asyncio.Event()
                await self._pass_on(TO_SERVER, connection.server, piece)
                await connection.withheld.wait()
            await trap.spring(connection.parser.client if connection.parser else "")
        finally:
            trap.done.set()

    async def _to_client(self, connection: _Connection, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(_PIECE_BYTES):
            if connection.withheld is not None:
                connection.withheld.set()
                continue
            await self._pass_on(TO_CLIENT, connection.client, data)
        if connection.withheld is not None:
            connection.withheld.set()
        connection.cut()

    async def _pass_on(self, direction: str, writer: asyncio.StreamWriter, data: bytes) -> None:
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        await self._flowing[direction].wait()
        writer.write(data)
        await writer.drain()


class PostgresMessages:
    """The SQL that a client runs: simple queries, and prepared statements each time they are bound.

    A COMMIT that moves a position on is called "COMMIT of a batch".
    """

    def __init__(self) -> None:
        self.client = ""
        self._buffer = b""
        self._started = False
        self._prepared: dict[bytes, str] = {}
        self._advancing = False

    def feed(self, data: bytes) -> list[tuple[bytes, str]]:
        self._buffer += data
        found = []
        while (size := self._size()) is not None and len(self._buffer) >= size:
            message, self._buffer = self._buffer[:size], self._buffer[size:]
            found.append((message, self._named(self._asked(message)) if self._started else ""))
            if not self._started:
                words = message[8:].split(b"\0")
                self.client = dict(zip(words[::2], words[1::2], strict=False)).get(b"application_name", b"").decode()
            self._started = True
        return found

    def _named(self, asked: str) -> str:
        if asked.startswith("BEGIN"):
            self._advancing = False
        if "SET next_offset" in asked:
            self._advancing = True
        return f"{asked} of a batch" if asked == "COMMIT" and self._advancing else asked

    def _size(self) -> int | None:
        head = 1 if self._started else 0
        if len(self._buffer) < head + 4:
            return None
        return head + int.from_bytes(self._buffer[head : head + 4], "big")

    def _asked(self, message: bytes) -> str:
        kind, body = message[:1], message[5:]
        if kind == b"Q":
            return body.rstrip(b"\0").decode()
        if kind == b"P":
            name, query, _ = body.split(b"\0", 2)
            self._prepared[name] = query.decode()
        elif kind == b"B":
            _, name, _ = body.split(b"\0", 2)
            return self._prepared.get(name, "")
        return ""


class MqttMessages:
    """Names the acknowledgements (PUBACK) of a client."""

    client = ""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[tuple[bytes, str]]:
        self._buffer += data
        found = []
        while (size := self._size()) is not None and len(self._buffer) >= size:
            message, self._buffer = self._buffer[:size], self._buffer[size:]
            found.append((message, "PUBACK" if message[0] >> 4 == 4 else ""))
        return found

    def _size(self) -> int | None:
        length = 0
        for place, byte in enumerate(self._buffer[1:5]):
            length |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                return 2 + place + length
        return None
