"""A real terminal of so many columns, for whatever looks at how wide its standard output is."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import struct
import termios
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TextIO

_ROWS = 24
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def told_terminal(columns: int, work: Callable[[TextIO], None]) -> str:
    """What `work` wrote to a terminal of this process, without the colours."""
    leader, follower = _opened(columns)
    with ThreadPoolExecutor(1) as pool, os.fdopen(leader, "rb") as screen:
        text = pool.submit(_read, screen.fileno())
        with os.fdopen(follower, "w", encoding="utf-8") as terminal:
            work(terminal)
        return text.result(60)


async def run_on_terminal(columns: int, *command: str, env: Mapping[str, str]) -> tuple[int, str]:
    """The exit code of a program whose standard output is a terminal, and what it wrote there, without the colours."""
    leader, follower = _opened(columns)
    with os.fdopen(leader, "rb") as screen:
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                env={name: value for name, value in env.items() if name != "COLUMNS"} | {"TERM": "xterm-256color"},
                stdin=follower,
                stdout=follower,
            )
        finally:
            os.close(follower)
        try:
            text = await asyncio.wait_for(asyncio.to_thread(_read, screen.fileno()), 60)
        except TimeoutError:
            process.kill()
            raise
        return await process.wait(), text


def _opened(columns: int) -> tuple[int, int]:
    leader, follower = os.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, columns, 0, 0))
    return leader, follower


def _read(leader: int) -> str:
    """Everything until nobody has the terminal open any more."""
    read = bytearray()
    try:
        while part := os.read(leader, 65_536):
            read += part
    except OSError:  # Linux says EIO for the end
        pass
    return _COLOURS.sub("", read.decode().replace("\r\n", "\n"))
