"""Deliveries on their way into the outbox, those that come while others are being written together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from alerts.outbox import Metrics, Outbox
from alerts.patience import Patience


class Receipts:
    """Notes what one channel has got.

    Each note is a commit that waits for the disk. The alerts of one batch of the worker arrive within milliseconds of
    each other: the first is noted at once, those that arrive meanwhile with the next commit.
    """

    def __init__(self, channel: str, outbox: Outbox, metrics: Metrics, patience: Patience) -> None:
        self._channel = channel
        self._outbox = outbox
        self._metrics = metrics
        self._patience = patience
        self._writing = asyncio.Lock()
        self._next: list[str] = []

    async def note(self, alert_ids: Sequence[str]) -> None:
        """Return when the outbox knows that the channel has them, or was told to stop while it is out of reach."""
        together = self._next
        together += alert_ids
        async with self._writing:
            if together is not self._next:
                # Somebody who waited longer has written them.
                return
            self._next = []
            seconds = await self._patience.until_done(lambda: self._outbox.mark_sent(together, self._channel))
        self._metrics.sent(self._channel, len(together))
        for each in seconds or ():
            self._metrics.event_to_alert(each)
