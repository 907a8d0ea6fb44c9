"""What a way out to people must offer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from alerts.alert import Alert


class DeliveryError(Exception):
    """The channel did not take the alert; the message says what it answered.

    `permanent`: another try cannot succeed, the alert is given up at once.
    `retry_after_s`: the receiver asked for this much quiet before the next try.
    """

    def __init__(self, message: str, *, permanent: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.retry_after_s = retry_after_s


class Channel(Protocol):
    """One way out. Connects by itself when it has something to send, and again after a loss."""

    @property
    def name(self) -> str:
        """Names the channel in the outbox: changing it starts a new channel there."""
        ...

    async def send(self, alert: Alert) -> None:
        """Return only when the receiver has taken the alert; DeliveryError otherwise.

        Called for several alerts at once, of different vehicles. May be cancelled when it takes too long.
        """
        ...

    async def close(self) -> None:
        """Let go of connections; nothing is sent afterwards."""
        ...


class PeopleChannel(Channel, Protocol):
    """A channel that can tell of many alerts at once."""

    def recipient(self, alert: Alert) -> str:
        """Whom an alert goes to: alerts told together must go to the same."""
        ...

    async def send_together(self, alerts: Sequence[Alert]) -> None:
        """As `send`, for alerts of one recipient."""
        ...
