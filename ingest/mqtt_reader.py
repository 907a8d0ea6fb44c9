"""Reads an MQTT socket in large pieces and can be told to stop reading for a while.

paho asks the socket for single bytes, three system calls a packet; this puts a buffer between them. It takes the place
of the reader that aiomqtt registers with the event loop, and so relies on private names of both, which
tests/test_mqtt_session.py watches.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

import aiomqtt

if TYPE_CHECKING:
    from paho.mqtt.client import SocketLike

_READ_BYTES = 65_536


class _BufferedSocket:
    """A socket for paho: `recv` gives from what `fill` read; everything else is the socket's own."""

    def __init__(self, sock: SocketLike) -> None:
        self._sock = sock
        self._buffer = b""
        self._start = 0
        self._ended = False

    @property
    def waiting(self) -> bool:
        """Whether paho has something to read: bytes, or the end."""
        return self._ended or self._start < len(self._buffer)

    def fill(self) -> bool:
        """Read once from the socket, when the buffer is empty; False when nothing is there now."""
        try:
            self._buffer = self._sock.recv(_READ_BYTES)
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError:
            self._buffer = b""
        self._start = 0
        self._ended = not self._buffer
        return True

    def recv(self, size: int) -> bytes:
        start = self._start
        if start >= len(self._buffer):
            if self._ended:
                return b""
            raise BlockingIOError
        self._start = start + size
        return self._buffer[start : start + size]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class SocketReader:
    """Feeds paho from the socket of a connected client."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client
        self._loop = asyncio.get_running_loop()
        paho = client._client
        sock = paho.socket()
        if sock is None:
            raise OSError("the MQTT connection closed right after the handshake")
        self._file = sock.fileno()
        self._socket = _BufferedSocket(sock)
        self._reading = True
        paho._sock = self._socket
        self._loop.add_reader(self._file, self._on_readable)
        # A TLS socket may hold decrypted bytes that select() does not see.
        self._loop.call_soon(self._on_readable)

    def pause(self) -> None:
        """Leave bytes in the socket: the sender slows down."""
        if self._reading and self._socket.fileno() >= 0:
            self._loop.remove_reader(self._file)
        self._reading = False

    def resume(self) -> None:
        """Read again after `pause`."""
        if self._reading or self._socket.fileno() < 0:
            return
        self._reading = True
        self._loop.add_reader(self._file, self._on_readable)
        self._loop.call_soon(self._on_readable)

    def _on_readable(self) -> None:
        paho, buffered = self._client._client, self._socket
        try:
            while paho._sock is buffered and (buffered.waiting or (self._reading and buffered.fill())):
                paho.loop_read()
        except Exception as error:
            if not self._client._disconnected.done():
                self._client._disconnected.set_exception(error)
