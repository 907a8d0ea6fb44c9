"""Quiet hours to the minute: what waits when they begin, and what is told when they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, time, timedelta

import pytest

from alerts.apprise import AppriseChannel
from alerts.hours import Hours
from alerts.message import VIETNAM, Wording
from alerts.pace import Pace
from alerts.phrases import ENGLISH
from alerts.retry import RetryPolicy
from alerts.route import Audience, PacedRoute
from storage.connect import Connection, connect
from storage.outbox import Outbox
from tests.mail_server import MailServer, office
from tests.outbox_rows import add_alert, deliveries, everyone
from tests.running_notifier import NotifierRunner, running, until
from tests.standing_clock import Clock

__all__ = ["office", "running"]

NIGHT = Hours(time(22), time(6))
EVENING = datetime(2026, 10, 3, 21, 59, 30, tzinfo=VIETNAM)
TEN, SIX = EVENING.replace(hour=22, minute=0, second=0), datetime(2026, 10, 4, 6, tzinfo=VIETNAM)
MORNING = SIX + timedelta(minutes=5)


@pytest.fixture
async def outbox(postgres_url: str) -> AsyncIterator[Outbox]:
    outbox = Outbox(lambda: connect(postgres_url), Clock(MORNING))
    yield outbox
    await outbox.close()


def duty(office: MailServer, most_per_minute: int = 10, quiet: Hours = NIGHT, name: str = "duty") -> PacedRoute:
    channel = AppriseChannel(name, office.address(f"{name}@example.org"), Wording(ENGLISH))
    return PacedRoute(channel, Audience(), Pace(VIETNAM, most_per_minute, quiet))


async def happened(connection: Connection, moment: datetime, *names: str) -> None:
    """Alerts of events at a moment, written there and then, each of a vehicle of its own."""
    async with connection.transaction():
        for name in names:
            await add_alert(connection, name, vehicle_id=f"29B-{name}", event_at=moment, created_at=moment)


def titles(office: MailServer) -> list[str]:
    return [title for _, title, _ in office.told]


async def test_what_the_pace_held_when_the_quiet_hours_began_is_told_when_they_end(
    connection: Connection, running: NotifierRunner, office: MailServer
) -> None:
    clock = Clock(EVENING)
    async with running(duty(office, most_per_minute=2), clock=clock):
        await happened(connection, clock.now, "a", "b", "c")
        await until(connection, {"sent": 3})
        clock.advance(20)
        await happened(connection, clock.now, "d", "e", "f")
        for minutes in (0, 1, 21, 400):
            clock.now = EVENING + timedelta(minutes=minutes, seconds=20)
            await asyncio.sleep(0.3)
            await until(connection, {"sent": 3, "waiting": 3})
        clock.now = SIX
        await until(connection, {"sent": 6})
    assert titles(office) == ["3 alerts, 3 vehicles"] * 2


async def test_a_failed_alert_that_waits_when_the_quiet_hours_begin_is_told_with_what_came_in_them_in_one_letter(
    connection: Connection, running: NotifierRunner, office: MailServer
) -> None:
    clock = Clock(EVENING)
    refused = asyncio.Event()

    def answer() -> str:
        if refused.is_set():
            return "250 OK"
        refused.set()
        return "451 try later"

    office.answer = answer
    async with running(duty(office), clock=clock, retry=RetryPolicy(first_wait_s=60.0)):
        await happened(connection, clock.now, "failed")
        await asyncio.wait_for(refused.wait(), 10)
        await asyncio.sleep(0.3)
        clock.now = TEN + timedelta(hours=3)
        await happened(connection, clock.now, "night")
        await asyncio.sleep(0.3)
        await until(connection, {"waiting": 2})
        clock.now = SIX
        await until(connection, {"sent": 2})
    assert titles(office) == ["2 alerts, 2 vehicles"]


async def test_what_was_old_news_when_the_quiet_hours_began_is_not_told_afterwards(
    connection: Connection, outbox: Outbox
) -> None:
    held = Pace(VIETNAM, 10, NIGHT).last_quiet(MORNING)
    second, fresh = timedelta(seconds=1), timedelta(seconds=900)
    for name, event_at, created_at in (
        ("old at ten", TEN - fresh - second, TEN - second),
        ("fresh at ten", TEN - fresh, TEN - second),
        ("old in the night", TEN + second - fresh - second, TEN + second),
        ("fresh in the night", TEN + second - fresh, TEN + second),
        ("old in the morning", MORNING - fresh - second, SIX),
        ("fresh in the morning", MORNING - fresh, SIX),
    ):
        await add_alert(connection, name, vehicle_id=name, event_at=event_at, created_at=created_at)
    await outbox.fan_out(everyone("duty"))
    assert await outbox.record_stale("duty", 900, held) == 3
    left = {alert_id for (alert_id, _), (status, *_) in (await deliveries(connection)).items() if status == "waiting"}
    assert left == {"fresh at ten:opened", "fresh in the night:opened", "fresh in the morning:opened"}


async def test_a_quiet_night_is_not_late_but_what_waits_elsewhere_is(
    connection: Connection, running: NotifierRunner, office: MailServer
) -> None:
    """`HanhtrinhAlertsLate` looks at this gauge."""
    now = datetime.now(UTC)
    office.answer = lambda: "451 try later"
    local = now.astimezone(VIETNAM)
    hour = timedelta(hours=1)
    quiet = duty(office, quiet=Hours((local - hour).time(), (local + hour).time()))
    awake = duty(office, quiet=Hours((local + hour).time(), (local + 2 * hour).time()), name="awake")
    await add_alert(connection, "v1", event_at=now, created_at=now - timedelta(minutes=10))
    async with running(quiet) as counts:
        await asyncio.wait_for(counts.told_backlog.wait(), 10)
    assert counts.backlog == (1, 0.0)
    await connection.execute(
        "INSERT INTO deliveries (alert_id, channel, status) SELECT 'v1:opened', 'awake', 'waiting'"
    )
    async with running(quiet, awake) as counts:
        await asyncio.wait_for(counts.told_backlog.wait(), 10)
    assert counts.backlog is not None
    waiting, oldest_s = counts.backlog
    assert waiting == 2
    assert oldest_s >= 600
