"""The notifier: empties the outbox into the channels, at least once, in order per vehicle.

One loop per channel, each with its own claims, so that a slow or dead channel delays no other. The loops are woken by
the database's news of alerts and by each finished delivery; polling finds what news did not tell (retries that fall
due, leases of dead notifiers).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Protocol, TypeVar

from alerts.alert import Alert
from alerts.channel import Channel, DeliveryError
from alerts.retry import RetryPolicy

logger = logging.getLogger(__name__)
T = TypeVar("T")

_BACKLOG_EVERY_S = 5.0
_MAX_DATABASE_WAIT_S = 5.0


class Claim(Protocol):
    """An alert that is ours to send on one channel for a while; `tries` counts this one."""

    @property
    def alert_id(self) -> str: ...
    @property
    def tries(self) -> int: ...
    @property
    def claimed_until(self) -> datetime: ...
    @property
    def stage(self) -> str: ...
    @property
    def event_at(self) -> datetime: ...
    @property
    def vehicle_id(self) -> str | None: ...
    @property
    def violation(self) -> Mapping[str, Any]: ...


class Outbox(Protocol):
    """The outbox as `storage.outbox.Outbox` keeps it; its docstrings are the contract."""

    async def fan_out(self, channels: Sequence[str]) -> tuple[int, int]: ...
    async def record_stale(self, channel: str, older_than_s: float) -> int: ...
    async def claim(self, channel: str, limit: int, lease_s: float) -> Sequence[Claim]: ...
    async def mark_sent(self, alert_id: str, channel: str) -> float | None: ...
    async def mark_failed(
        self, alert_id: str, channel: str, claimed_until: datetime, error: str, retry_in_s: float | None
    ) -> bool: ...
    async def backlog(self, channels: Sequence[str]) -> tuple[int, float]: ...
    async def wait(self, timeout_s: float) -> bool: ...
    async def close(self) -> None: ...


class Metrics(Protocol):
    """What the notifier counts; `event_to_alert` gets the seconds from event to delivery of one alert."""

    def sent(self, channel: str, n: int) -> None: ...
    def failed(self, channel: str, n: int) -> None: ...
    def gave_up(self, channel: str, n: int) -> None: ...
    def recorded(self, n: int) -> None: ...
    def waiting(self, n: int, oldest_s: float) -> None: ...
    def event_to_alert(self, seconds: float) -> None: ...


class Notifier:
    """Delivers what is in `outbox` to every channel of `channels`. Any number of notifiers may run at once, each with
    the same channels.

    `is_transient` tells which errors of the outbox pass by themselves (a lost connection): they are waited out; any
    other ends `run`. `at_once` bounds the deliveries under way per channel. `lease_s` must be longer than
    `send_timeout_s`: a claim is sent at once, but its mark may have to wait for the database.
    """

    def __init__(
        self,
        outbox: Outbox,
        channels: Sequence[Channel],
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
        self._channels = tuple(channels)
        self._names = [channel.name for channel in channels]
        if len(set(self._names)) != len(self._names):
            raise ValueError(f"channels need different names, got {self._names}")
        self._metrics = metrics
        self._is_transient = is_transient
        self._retry = retry
        self._freshness_s = freshness_s
        self._at_once = at_once
        self._lease_s = lease_s
        self._send_timeout_s = send_timeout_s
        self._poll_s = poll_s
        self._trouble: str | None = None

    @property
    def trouble(self) -> str | None:
        """Why nothing can be delivered at the moment; None while the outbox is within reach. For health checks."""
        return self._trouble

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop` is set; then finish what is under way, close channels and outbox, and return."""
        wakes = {name: asyncio.Event() for name in self._names}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch(wakes, stop))
                for channel in self._channels:
                    group.create_task(self._serve(channel, wakes[channel.name], stop))
                await stop.wait()
                _set_all(wakes)
        finally:
            for channel in self._channels:
                await self._close(channel)
            await self._outbox.close()

    async def _watch(self, wakes: Mapping[str, asyncio.Event], stop: asyncio.Event) -> None:
        """Give new alerts to the channels and wake their loops; keep the gauge of what waits."""
        gauge_due_s = 0.0
        while not stop.is_set():
            alerts, recorded = await self._persist(lambda: self._outbox.fan_out(self._names), stop) or (0, 0)
            if recorded:
                self._metrics.recorded(recorded)
            if alerts:
                _set_all(wakes)
                continue
            if time.monotonic() >= gauge_due_s:
                backlog = await self._persist(lambda: self._outbox.backlog(self._names), stop)
                if backlog is not None:
                    self._metrics.waiting(*backlog)
                gauge_due_s = time.monotonic() + _BACKLOG_EVERY_S
            await self._persist(lambda: self._outbox.wait(self._poll_s), stop)

    async def _serve(self, channel: Channel, wake: asyncio.Event, stop: asyncio.Event) -> None:
        sending: set[asyncio.Task[None]] = set()

        def finished(task: asyncio.Task[None]) -> None:
            sending.discard(task)
            wake.set()

        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                wake.clear()
                free = self._at_once - len(sending)
                # Not for each free place: finding the next alert costs the more the more alerts wait.
                for claim in await self._claim(channel, free, stop) if 2 * free >= self._at_once else ():
                    task = group.create_task(self._deliver(channel, claim, stop))
                    sending.add(task)
                    task.add_done_callback(finished)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_s):
                        await wake.wait()

    async def _claim(self, channel: Channel, limit: int, stop: asyncio.Event) -> Sequence[Claim]:
        name = channel.name
        recorded = await self._persist(lambda: self._outbox.record_stale(name, self._freshness_s), stop)
        if recorded:
            self._metrics.recorded(recorded)
            logger.info("old alerts recorded, not sent channel=%s alerts=%d", name, recorded)
        if stop.is_set():
            return ()
        return await self._persist(lambda: self._outbox.claim(name, limit, self._lease_s), stop) or ()

    async def _deliver(self, channel: Channel, claim: Claim, stop: asyncio.Event) -> None:
        alert = Alert(claim.alert_id, claim.stage, claim.event_at, claim.vehicle_id, claim.violation)
        try:
            async with asyncio.timeout(self._send_timeout_s):
                await channel.send(alert)
        except DeliveryError as error:
            await self._failed(channel.name, claim, error, stop)
        except TimeoutError:
            late = DeliveryError(f"no answer within {self._send_timeout_s:g} s")
            await self._failed(channel.name, claim, late, stop)
        except Exception as unexpected:
            # A channel that breaks on one alert must not keep the others waiting.
            logger.exception("channel failed channel=%s alert_id=%s", channel.name, claim.alert_id)
            await self._failed(channel.name, claim, DeliveryError(repr(unexpected)), stop)
        else:
            seconds = await self._persist(lambda: self._outbox.mark_sent(claim.alert_id, channel.name), stop)
            self._metrics.sent(channel.name, 1)
            if seconds is not None:
                self._metrics.event_to_alert(seconds)

    async def _failed(self, channel: str, claim: Claim, error: DeliveryError, stop: asyncio.Event) -> None:
        wait_s = self._retry.wait_s(claim.tries, error)
        if wait_s is None:
            self._metrics.gave_up(channel, 1)
            logger.error("alert given up %s", _facts(channel, claim, error))
        else:
            self._metrics.failed(channel, 1)
            logger.warning("alert not delivered %s retry_in_s=%g", _facts(channel, claim, error), wait_s)
        await self._persist(
            lambda: self._outbox.mark_failed(claim.alert_id, channel, claim.claimed_until, str(error), wait_s), stop
        )

    async def _persist(self, work: Callable[[], Awaitable[T]], stop: asyncio.Event) -> T | None:
        """The result of `work`, tried until the database is there; None when told to stop while it is not."""
        wait_s = 0.1
        while True:
            try:
                result = await work()
            except Exception as error:
                if not self._is_transient(error):
                    raise
                self._trouble = f"outbox out of reach: {str(error).strip()}"
                logger.warning("outbox out of reach retry_in_s=%g error=%s", wait_s, str(error).strip())
            else:
                self._trouble = None
                return result
            if stop.is_set():
                return None
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await stop.wait()
            wait_s = min(2 * wait_s, _MAX_DATABASE_WAIT_S)

    async def _close(self, channel: Channel) -> None:
        try:
            async with asyncio.timeout(self._send_timeout_s):
                await channel.close()
        except Exception:
            logger.exception("channel not closed channel=%s", channel.name)


def _set_all(events: Mapping[str, asyncio.Event]) -> None:
    for event in events.values():
        event.set()


def _facts(channel: str, claim: Claim, error: DeliveryError) -> str:
    return f"channel={channel} alert_id={claim.alert_id} try={claim.tries} error={str(error)!r}"
