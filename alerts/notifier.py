"""The notifier: empties the outbox into the channels, at least once, in order per vehicle.

One loop per channel, each with its own claims, so that a slow or dead channel delays no other. The loops are woken by
the database's news of alerts and by each finished delivery; polling finds what news did not tell (retries that fall
due, leases of dead notifiers, quiet hours that end).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from alerts.channel import Channel, DeliveryError
from alerts.desks import AtPace, OneByOne, Parcel
from alerts.outbox import Claim, Metrics, Outbox
from alerts.patience import Patience
from alerts.receipts import Receipts
from alerts.retry import RetryPolicy
from alerts.route import PacedRoute, Route

logger = logging.getLogger(__name__)

_BACKLOG_EVERY_S = 5.0


class Notifier:
    """Delivers what is in `outbox` to the channels of `routes`. Any number of notifiers may run at once, each with the
    same routes.

    `is_transient` tells which errors of the outbox pass by themselves (a lost connection): they are waited out; any
    other ends `run`. `at_once` bounds the deliveries under way per channel. `lease_s` must be longer than
    `send_timeout_s`: a claim is sent at once, but its mark may have to wait for the database.
    """

    def __init__(
        self,
        outbox: Outbox,
        routes: Sequence[Route | PacedRoute],
        metrics: Metrics,
        *,
        is_transient: Callable[[BaseException], bool],
        retry: RetryPolicy,
        freshness_s: float,
        at_once: int = 32,
        lease_s: float = 30.0,
        send_timeout_s: float = 10.0,
        poll_s: float = 1.0,
    ) -> None:
        if lease_s <= send_timeout_s:
            raise ValueError(f"lease_s must be longer than send_timeout_s, got {lease_s} and {send_timeout_s}")
        self._outbox = outbox
        self._routes = tuple(routes)
        self._names = [route.channel.name for route in routes]
        if len(set(self._names)) != len(self._names):
            raise ValueError(f"channels need different names, got {self._names}")
        self._metrics = metrics
        self._retry = retry
        self._freshness_s = freshness_s
        self._at_once = at_once
        self._lease_s = lease_s
        self._send_timeout_s = send_timeout_s
        self._poll_s = poll_s
        self._stop = asyncio.Event()
        self._patience = Patience(is_transient, self._stop)

    @property
    def trouble(self) -> str | None:
        """Why nothing can be delivered at the moment; None while the outbox is within reach. For health checks."""
        return self._patience.trouble

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop` is set; then finish what is under way, close channels and outbox, and return."""
        wakes = {name: asyncio.Event() for name in self._names}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch(wakes))
                for route in self._routes:
                    group.create_task(self._serve(route, wakes[route.channel.name]))
                await stop.wait()
                self._stop.set()
                _set_all(wakes.values())
        finally:
            for route in self._routes:
                await self._close(route.channel)
            await self._outbox.close()

    async def _watch(self, wakes: Mapping[str, asyncio.Event]) -> None:
        """Give new alerts to the channels and wake their loops; keep the gauge of what waits."""
        filters = {route.channel.name: route.audience.as_filter() for route in self._routes}
        patience = self._patience
        gauge_due_s = 0.0
        while not self._stop.is_set():
            alerts, recorded = await patience.until_done(lambda: self._outbox.fan_out(filters)) or (0, 0)
            if recorded:
                self._metrics.recorded(recorded)
            if alerts:
                _set_all(wakes.values())
                continue
            if time.monotonic() >= gauge_due_s:
                backlog = await patience.until_done(lambda: self._outbox.backlog(self._names, self._quiet()))
                if backlog is not None:
                    self._metrics.waiting(*backlog)
                gauge_due_s = time.monotonic() + _BACKLOG_EVERY_S
            await patience.until_done(lambda: self._outbox.wait(self._poll_s))

    def _quiet(self) -> list[str]:
        now = datetime.now(UTC)
        paced = (route for route in self._routes if isinstance(route, PacedRoute))
        return [route.channel.name for route in paced if route.pace.is_quiet(now)]

    async def _serve(self, route: Route | PacedRoute, wake: asyncio.Event) -> None:
        desk = self._desk(route)
        receipts = Receipts(route.channel.name, self._outbox, self._metrics, self._patience)
        sending: set[asyncio.Task[None]] = set()

        def finished(task: asyncio.Task[None]) -> None:
            sending.discard(task)
            wake.set()

        async with asyncio.TaskGroup() as group:
            while not self._stop.is_set():
                wake.clear()
                free = self._at_once - len(sending)
                # Not for each free place: finding the next alert costs the more the more alerts wait.
                for parcel in await desk.next(free) if 2 * free >= self._at_once else ():
                    task = group.create_task(self._deliver(route.channel.name, parcel, receipts))
                    sending.add(task)
                    task.add_done_callback(finished)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_s):
                        await wake.wait()

    def _desk(self, route: Route | PacedRoute) -> OneByOne | AtPace:
        outbox, patience = self._outbox, self._patience
        one_by_one = OneByOne(route.channel, outbox, self._metrics, patience, self._freshness_s, self._lease_s)
        return (
            AtPace(route, one_by_one, outbox, patience, self._lease_s) if isinstance(route, PacedRoute) else one_by_one
        )

    async def _deliver(self, channel: str, parcel: Parcel, receipts: Receipts) -> None:
        try:
            async with asyncio.timeout(self._send_timeout_s):
                await parcel.send()
        except DeliveryError as error:
            await self._failed(channel, parcel.claims, error)
        except TimeoutError:
            await self._failed(channel, parcel.claims, DeliveryError(f"no answer within {self._send_timeout_s:g} s"))
        except Exception as unexpected:
            # A channel that breaks on one alert must not keep the others waiting.
            logger.exception("channel failed channel=%s alert_id=%s", channel, parcel.claims[0].alert_id)
            await self._failed(channel, parcel.claims, DeliveryError(repr(unexpected)))
        else:
            await receipts.note([claim.alert_id for claim in parcel.claims])

    async def _failed(self, channel: str, claims: Sequence[Claim], error: DeliveryError) -> None:
        # New alerts may have joined what is left of an old summary: each has its own tries, and waits for its own.
        by_tries: dict[int, list[Claim]] = defaultdict(list)
        for claim in claims:
            by_tries[claim.tries].append(claim)
        for tries, group in by_tries.items():
            await self._failed_as_often(channel, group, tries, error)

    async def _failed_as_often(self, channel: str, claims: Sequence[Claim], tries: int, error: DeliveryError) -> None:
        wait_s = self._retry.wait_s(tries, error)
        facts = f"channel={channel} alert_id={claims[0].alert_id} alerts={len(claims)} try={tries} error={str(error)!r}"
        if wait_s is None:
            self._metrics.gave_up(channel, len(claims))
            logger.error("alert given up %s", facts)
        else:
            self._metrics.failed(channel, len(claims))
            logger.warning("alert not delivered %s retry_in_s=%g", facts, wait_s)
        ids, until = [claim.alert_id for claim in claims], claims[0].claimed_until
        await self._patience.until_done(lambda: self._outbox.mark_failed(ids, channel, until, str(error), wait_s))

    async def _close(self, channel: Channel) -> None:
        try:
            async with asyncio.timeout(self._send_timeout_s):
                await channel.close()
        except Exception:
            logger.exception("channel not closed channel=%s", channel.name)


def _set_all(events: Iterable[asyncio.Event]) -> None:
    for event in events:
        event.set()
