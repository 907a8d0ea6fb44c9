"""Summaries that fail: each alert's own tries, the order of a vehicle, several notifiers at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta

import pytest

from alerts.apprise import AppriseChannel
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

NOON = datetime(2026, 10, 3, 12, tzinfo=VIETNAM)
LEASE_S = 30.0


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
async def outboxes(postgres_url: str, clock: Clock) -> AsyncIterator[list[Outbox]]:
    """As many notifiers would have."""
    outboxes = [Outbox(lambda: connect(postgres_url), clock) for _ in range(6)]
    yield outboxes
    for outbox in outboxes:
        await outbox.close()


@pytest.fixture
def outbox(outboxes: list[Outbox]) -> Outbox:
    return outboxes[0]


def duty(office: MailServer) -> PacedRoute:
    channel = AppriseChannel("duty", office.address(), Wording(ENGLISH))
    return PacedRoute(channel, Audience(), Pace(VIETNAM, most_per_minute=2))


async def happened(connection: Connection, moment: datetime, *names: str) -> None:
    async with connection.transaction():
        for name in names:
            await add_alert(connection, name, vehicle_id=f"29B-{name}", event_at=moment, created_at=moment)


async def written(connection: Connection, *alerts: str) -> None:
    """Alerts like `v1:opened`, all of one vehicle, in this order."""
    for number, alert in enumerate(alerts):
        violation_id, stage = alert.split(":")
        await add_alert(connection, violation_id, stage, event_at=NOON, created_at=NOON + timedelta(seconds=number))


async def told_together(outbox: Outbox, limit: int = 100) -> list[str]:
    return [claim.alert_id for claim in await outbox.claim_together("duty", limit, LEASE_S)]


async def until_tried(connection: Connection, expected: Mapping[str, tuple[str, int]], within_s: float = 20.0) -> None:
    """Wait until each violation's delivery has this status after so many tries, none of them under way."""
    found: dict[str, tuple[str, int]] = {}
    async with asyncio.timeout(within_s):
        while True:
            cursor = await connection.execute(
                "SELECT split_part(alert_id, ':', 1), status, tries FROM deliveries WHERE claimed_until IS NULL"
            )
            found = {name: (status, tries) for name, status, tries in await cursor.fetchall()}
            if found == expected:
                return
            await asyncio.sleep(0.01)


async def next_tries_in_s(connection: Connection, now: datetime) -> dict[str, float]:
    rows = await connection.execute(
        "SELECT split_part(alert_id, ':', 1), next_try_at FROM deliveries WHERE status = 'waiting'"
    )
    return {name: (at - now).total_seconds() for name, at in await rows.fetchall()}


async def test_what_joins_an_old_summarys_retry_has_its_own_tries_and_waits(
    connection: Connection, running: NotifierRunner, office: MailServer, clock: Clock
) -> None:
    way, retry = duty(office), RetryPolicy(max_tries=3, first_wait_s=60.0)
    office.answer = lambda: "451 try later"
    async with running(way, clock=clock, retry=retry):
        await happened(connection, clock.now, "a", "b", "c")
        await until_tried(connection, dict.fromkeys("abc", ("waiting", 1)))
    clock.advance(60)
    await happened(connection, clock.now, "d", "e", "f")
    async with running(way, clock=clock, retry=retry):
        await until_tried(connection, dict.fromkeys("abc", ("waiting", 2)) | dict.fromkeys("def", ("waiting", 1)))
        assert await next_tries_in_s(connection, clock.now) == dict.fromkeys("abc", 120.0) | dict.fromkeys("def", 60.0)
        clock.advance(120)
        gone = dict.fromkeys("abc", ("gave_up", 3))
        await until_tried(connection, gone | dict.fromkeys("def", ("waiting", 2)))
        assert await next_tries_in_s(connection, clock.now) == dict.fromkeys("def", 120.0)
        office.answer = lambda: "250 OK"
        clock.advance(120)
        await until(connection, {"gave_up": 3, "sent": 3})
    assert [title for _, title, _ in office.told] == ["3 alerts, 3 vehicles"]


async def test_a_failed_summary_is_told_again_although_its_events_are_old_news_by_then(
    connection: Connection, running: NotifierRunner, office: MailServer, clock: Clock
) -> None:
    way, retry = duty(office), RetryPolicy(first_wait_s=60.0)
    office.answer = lambda: "451 try later"
    async with running(way, clock=clock, retry=retry):
        await happened(connection, clock.now, "a", "b", "c")
        await until_tried(connection, dict.fromkeys("abc", ("waiting", 1)))
        office.answer = lambda: "250 OK"
        clock.advance(901)
        await until(connection, {"sent": 3})
    assert [title for _, title, _ in office.told] == ["3 alerts, 3 vehicles"]


async def test_in_a_summary_too_a_vehicles_later_alerts_wait_for_the_one_that_failed(
    connection: Connection, outbox: Outbox, clock: Clock
) -> None:
    await written(connection, "v1:opened")
    await happened(connection, NOON, "other")
    await outbox.fan_out(everyone("duty"))
    opened, other = await outbox.claim("duty", 2, LEASE_S)
    await written(connection, "v1:closed", "v2:opened")
    await outbox.fan_out(everyone("duty"))
    assert await told_together(outbox) == [], "the first is being told"
    for claim in (opened, other):
        await outbox.mark_failed(
            [claim.alert_id], "duty", claim.claimed_until, "HTTP 500", 60.0 if claim is opened else 1
        )
    clock.advance(59)
    assert await told_together(outbox) == ["other:opened"]
    clock.advance(1)
    assert sorted(await told_together(outbox)) == ["v1:closed", "v1:opened", "v2:opened"]


async def test_a_summary_with_too_little_room_takes_the_earliest_and_no_room_is_lost_to_what_must_wait(
    connection: Connection, outbox: Outbox, clock: Clock
) -> None:
    await written(connection, "v1:opened")
    await outbox.fan_out(everyone("duty"))
    (opened,) = await outbox.claim("duty", 1, LEASE_S)
    await outbox.mark_failed([opened.alert_id], "duty", opened.claimed_until, "HTTP 500", 60.0)
    await add_alert(connection, "v1", "closed", event_at=NOON, created_at=NOON + timedelta(seconds=1))
    await outbox.fan_out(everyone("duty"))
    clock.advance(30)
    await happened(connection, clock.now, "first", "second")
    await outbox.fan_out(everyone("duty"))
    assert await told_together(outbox, limit=1) == ["first:opened"]
    clock.advance(30)
    assert sorted(await told_together(outbox, limit=2)) == ["v1:closed", "v1:opened"]


async def test_a_summary_leaves_out_what_comes_after_an_alert_that_another_notifier_has_locked_or_not_fanned_out(
    connection: Connection, postgres_url: str, outbox: Outbox
) -> None:
    await written(connection, "v1:opened", "v1:closed")
    other = await connect(postgres_url)
    async with other.transaction():
        await other.execute("SELECT FROM alerts WHERE stage = 'opened' FOR UPDATE")
        assert await outbox.fan_out(everyone("duty")) == (1, 0)
        assert await told_together(outbox) == []
    await outbox.fan_out(everyone("duty"))
    async with other.transaction():
        await other.execute("SELECT FROM deliveries WHERE alert_id = 'v1:opened' FOR UPDATE")
        assert await told_together(outbox) == []
    await other.close()
    assert sorted(await told_together(outbox)) == ["v1:closed", "v1:opened"]


async def test_many_notifiers_at_once_tell_each_alert_in_one_summary_and_no_vehicle_out_of_order(
    connection: Connection, outboxes: list[Outbox]
) -> None:
    names = [f"v{number:02}" for number in range(60)]
    for number, name in enumerate(names):
        written_at = NOON + timedelta(seconds=number)
        await add_alert(connection, name, vehicle_id=f"vehicle {number % 10}", event_at=NOON, created_at=written_at)
    await outboxes[0].fan_out(everyone("duty"))
    told: list[str] = []
    while len(told) < len(names):
        summaries = await asyncio.gather(*(told_together(outbox, limit=25) for outbox in outboxes))
        claimed = [alert_id for summary in summaries for alert_id in summary]
        assert claimed
        for summary in summaries:
            for alert_id in summary:
                number = int(alert_id[1:3])
                before = {f"v{earlier:02}:opened" for earlier in range(number % 10, number, 10)}
                assert before <= {*told, *summary}
        await outboxes[0].mark_sent(claimed, "duty")
        told += claimed
    assert sorted(told) == [f"{name}:opened" for name in names]
    assert {status for status, *_ in (await deliveries(connection)).values()} == {"sent"}
