"""How a process is told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal

logger = logging.getLogger(__name__)


class StopSignal:
    """SIGTERM or Ctrl-C as an event of the running loop."""

    def __init__(self, part: str) -> None:
        """`part` is what stops, for the log."""
        self.event = asyncio.Event()
        self.came: signal.Signals | None = None
        """The first one; None while there was none."""
        self._part = part
        for each in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(each, self._stop, each)

    def _stop(self, by: signal.Signals) -> None:
        logger.info("%s stops signal=%s", self._part, by.name)
        self.came = self.came or by
        self.event.set()
