"""Work on the outbox that outlasts an absent database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

logger = logging.getLogger(__name__)
T = TypeVar("T")

_MAX_WAIT_S = 5.0


class Patience:
    """Repeats what fails for reasons that pass by themselves (`is_transient`: a lost connection)."""

    def __init__(self, is_transient: Callable[[BaseException], bool], stop: asyncio.Event) -> None:
        """Once `stop` is set nothing is tried a second time."""
        self._is_transient = is_transient
        self._stop = stop
        self.trouble: str | None = None
        """Why the outbox is out of reach; None while it is not."""

    async def until_done(self, work: Callable[[], Awaitable[T]]) -> T | None:
        """The result of `work`; None when told to stop while the outbox is away."""
        wait_s = 0.1
        while True:
            try:
                result = await work()
            except Exception as error:
                if not self._is_transient(error):
                    raise
                self.trouble = f"outbox out of reach: {str(error).strip()}"
                logger.warning("outbox out of reach retry_in_s=%g error=%s", wait_s, str(error).strip())
            else:
                self.trouble = None
                return result
            if self._stop.is_set():
                return None
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._stop.wait()
            wait_s = min(2 * wait_s, _MAX_WAIT_S)
