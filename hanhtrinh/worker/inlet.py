"""Where the worker's batches come from: the log, read and decoded; under load while the batch before is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from hanhtrinh.worker.intake import Intake, take_in
from ingest.formats import FormatRegistry
from ingest.log import LogReader
from ingest.raw import LogSlice


class Inlet:
    """Hands out decoded batches, one after the other, none of them larger than it may be."""

    def __init__(self, reader: LogReader, formats: FormatRegistry, max_messages: int) -> None:
        """A batch holds at most `max_messages`, and ends with the message that brings its fixes to that number."""
        self._reader = reader
        self._formats = formats
        self._max_messages = max_messages
        self._left: list[LogSlice] = []
        """Read, and not taken in yet: a few messages had many fixes."""
        self._ahead: asyncio.Task[Intake | None] | None = None

    async def next(self, wait_s: float) -> Intake | None:
        """The next batch; None when nothing came within `wait_s`. Raises what reading the log raises."""
        if self._ahead is not None:
            ahead, self._ahead = self._ahead, None
            return await ahead
        return await self._read(wait_s)

    def read_ahead(self, before: Intake, wait_s: float) -> None:
        """Begin with the batch after this one, when this one is so large that more is waiting.

        A smaller one is stored at once, and what came in the meantime is then one batch and not two.
        """
        if self._ahead is None and 2 * max(before.messages, len(before.fixes)) >= self._max_messages:
            self._ahead = asyncio.create_task(self._read(wait_s))

    async def rewind(self) -> None:
        """Forget what was read: the log is read again from the stored positions."""
        await self.drop()
        await self._reader.rewind()

    async def drop(self) -> None:
        """Forget what was read ahead. The log's reader stands behind it: rewind or close it."""
        if self._ahead is not None:
            ahead, self._ahead = self._ahead, None
            # Not cancelled: a reader that is stopped half-way has moved some of its partitions. What goes wrong with
            # what nobody wants goes wrong again when it is read again.
            with suppress(Exception):
                await ahead
        self._left = []

    async def _read(self, wait_s: float) -> Intake | None:
        slices: Sequence[LogSlice] = self._left or await self._reader.fetch(self._max_messages, wait_s)
        if not slices:
            return None
        intake, self._left = await take_in(slices, self._formats, self._max_messages)
        return intake
