"""A notifier at work inside a test, what it counted, and channels that only a test would want."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerts.alert import Alert
from alerts.channel import Channel
from alerts.notifier import Notifier
from alerts.retry import RetryPolicy
from alerts.route import PacedRoute, Route
from alerts.webhook import WebhookChannel
from storage.connect import Connection, connect, is_transient
from storage.outbox import Outbox
from tests.outbox_rows import deliveries
from tests.webhook_receiver import WebhookReceiver

SECRET = b"road-1"
SOON = RetryPolicy(max_tries=8, first_wait_s=0.02)


class Counts:
    """The metrics of a notifier as plain numbers, and its `trouble`."""

    def __init__(self) -> None:
        self.trouble: Callable[[], str | None] = lambda: None
        self.of: Counter[tuple[str, ...]] = Counter()
        self.seconds: list[float] = []
        self.backlog: tuple[int, float] | None = None
        self.told_backlog = asyncio.Event()

    def sent(self, channel: str, n: int) -> None:
        self.of["sent", channel] += n

    def failed(self, channel: str, n: int) -> None:
        self.of["failed", channel] += n

    def gave_up(self, channel: str, n: int) -> None:
        self.of["gave_up", channel] += n

    def recorded(self, n: int) -> None:
        self.of["recorded",] += n

    def waiting(self, n: int, oldest_s: float) -> None:
        self.backlog = (n, oldest_s)
        self.told_backlog.set()

    def event_to_alert(self, seconds: float) -> None:
        self.seconds.append(seconds)


class HeldChannel:
    """A channel that takes nothing and never answers."""

    name = "held"

    def __init__(self) -> None:
        self.closed = False

    async def send(self, alert: Alert) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        self.closed = True


class BrokenChannel:
    """A channel with a bug."""

    name = "broken"

    async def send(self, alert: Alert) -> None:
        raise ZeroDivisionError("a bug")

    async def close(self) -> None:
        raise ZeroDivisionError("another bug")


class NotifierRunner:
    """`async with runner(channel, ...) as counts`: a notifier at work inside the block, stopped cleanly at its end."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url

    @asynccontextmanager
    async def __call__(
        self,
        *ways: Channel | Route | PacedRoute,
        ahead_s: float = 0.0,
        clock: Callable[[], datetime] | None = None,
        **options: Any,
    ) -> AsyncIterator[Counts]:
        """`ahead_s`: how far its clock is ahead of the database's, unless it has a `clock` of its own; `options` go to
        Notifier."""
        counts = Counts()
        if ahead_s:
            clock = lambda: datetime.now(UTC) + timedelta(seconds=ahead_s)  # noqa: E731
        options = {"retry": SOON, "freshness_s": 900.0, "poll_s": 0.05, **options}
        routes = [way if isinstance(way, Route | PacedRoute) else Route(way) for way in ways]
        outbox = Outbox(lambda: connect(self._database_url), clock)
        notifier = Notifier(outbox, routes, counts, is_transient=is_transient, **options)
        counts.trouble = lambda: notifier.trouble
        stop = asyncio.Event()
        task = asyncio.create_task(notifier.run(stop))
        try:
            yield counts
        finally:
            stop.set()
            await asyncio.wait_for(task, 20)


def webhook(receiver: WebhookReceiver, name: str = "webhook") -> WebhookChannel:
    return WebhookChannel(receiver.url, SECRET, name=name)


async def until(connection: Connection, status: dict[str, int], within_s: float = 20.0) -> None:
    """Wait until the deliveries of all channels have come to these numbers by status."""
    found: dict[str, int] = {}
    deadline = asyncio.get_running_loop().time() + within_s
    while asyncio.get_running_loop().time() < deadline:
        found = dict(Counter(row[0] for row in (await deliveries(connection)).values()))
        if found == status:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"expected {status} within {within_s} s, got {found}")


@pytest.fixture
def running(postgres_url: str) -> NotifierRunner:
    return NotifierRunner(postgres_url)
