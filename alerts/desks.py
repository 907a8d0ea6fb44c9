"""What a channel is to be told next: its alerts one by one, or at the pace of people."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

from alerts.channel import Channel
from alerts.outbox import Claim, Metrics, Outbox, alert_of
from alerts.pace import Step
from alerts.patience import Patience
from alerts.route import PacedRoute

logger = logging.getLogger(__name__)

_MOST_TOGETHER = 5_000


class Parcel(NamedTuple):
    """Claimed alerts that leave together, usually one, and how."""

    claims: Sequence[Claim]
    send: Callable[[], Awaitable[None]]


class OneByOne:
    """Claims what is due, at most one alert of a vehicle at a time."""

    def __init__(
        self, channel: Channel, outbox: Outbox, metrics: Metrics, patience: Patience, freshness_s: float, lease_s: float
    ) -> None:
        self._channel = channel
        self._outbox = outbox
        self._metrics = metrics
        self._patience = patience
        self._freshness_s = freshness_s
        self._lease_s = lease_s

    async def next(self, limit: int) -> list[Parcel]:
        """Up to `limit` parcels, ours for the lease."""
        await self.record_stale(None)
        return await self.claim(limit)

    async def claim(self, limit: int) -> list[Parcel]:
        """Up to `limit` parcels, whatever their age."""
        name, lease_s = self._channel.name, self._lease_s
        claims = await self._patience.until_done(lambda: self._outbox.claim(name, limit, lease_s)) or ()
        return [Parcel([claim], partial(self._channel.send, alert_of(claim))) for claim in claims]

    async def record_stale(self, held: tuple[datetime, datetime] | None) -> None:
        """Record what has become old news; what waited within `held` did not age by that."""
        name = self._channel.name
        recorded = await self._patience.until_done(lambda: self._outbox.record_stale(name, self._freshness_s, held))
        if recorded:
            self._metrics.recorded(recorded)
            logger.info("old alerts recorded, not sent channel=%s alerts=%d", name, recorded)


class AtPace:
    """Tells people one by one, many at once in a letter for each recipient, or nothing for now."""

    def __init__(self, route: PacedRoute, one_by_one: OneByOne, outbox: Outbox, patience: Patience, lease_s: float):
        self._channel = route.channel
        self._pace = route.pace
        self._one_by_one = one_by_one
        self._outbox = outbox
        self._patience = patience
        self._lease_s = lease_s

    async def next(self, limit: int) -> list[Parcel]:
        """Up to `limit` parcels, or as many as there are recipients when alerts are told together."""
        name = self._channel.name
        pressure = await self._patience.until_done(lambda: self._outbox.pressure(name))
        if pressure is None or not pressure.waiting:
            return []
        await self._one_by_one.record_stale(self._pace.last_quiet(pressure.now))
        pressure = await self._patience.until_done(lambda: self._outbox.pressure(name))
        match self._pace.step(pressure) if pressure else Step.HOLD:
            case Step.ONE_BY_ONE:
                return await self._one_by_one.claim(limit)
            case Step.TOGETHER:
                return await self._together()
            case _:
                return []

    async def _together(self) -> list[Parcel]:
        name = self._channel.name
        claims = await self._patience.until_done(
            lambda: self._outbox.claim_together(name, _MOST_TOGETHER, self._lease_s)
        )
        by_recipient: dict[str, list[Claim]] = defaultdict(list)
        for claim in claims or ():
            by_recipient[self._channel.recipient(alert_of(claim))].append(claim)
        return [
            Parcel(group, partial(self._channel.send_together, [alert_of(claim) for claim in group]))
            for group in by_recipient.values()
        ]
