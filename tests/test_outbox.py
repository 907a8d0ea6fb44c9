"""The outbox's SQL on the real database: fan-out, claims, leases, order, age."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import pytest

from storage.connect import Connection, connect
from storage.outbox import Claim, Outbox
from tests.outbox_rows import add_alert, deliveries, everyone
from tests.standing_clock import Clock

START = datetime(2026, 10, 3, 3, 42, 31, tzinfo=UTC)
LEASE_S = 30.0

OpenOutbox = Callable[[], Outbox]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def open_outbox(postgres_url: str, clock: Clock) -> AsyncIterator[OpenOutbox]:
    opened: list[Outbox] = []

    def make() -> Outbox:
        opened.append(Outbox(lambda: connect(postgres_url), clock))
        return opened[-1]

    yield make
    for outbox in opened:
        await outbox.close()


@pytest.fixture
def outbox(open_outbox: OpenOutbox) -> Outbox:
    return open_outbox()


async def claim_ids(outbox: Outbox, channel: str = "webhook", limit: int = 100) -> list[str]:
    return [claim.alert_id for claim in await outbox.claim(channel, limit, LEASE_S)]


async def claim_one(outbox: Outbox, channel: str = "webhook") -> Claim:
    (claim,) = await outbox.claim(channel, 100, LEASE_S)
    return claim


async def test_an_alert_goes_once_to_every_channel(connection: Connection, outbox: Outbox) -> None:
    await add_alert(connection, "v1")
    assert await outbox.fan_out(everyone("webhook", "mqtt")) == (1, 0)
    assert await outbox.fan_out(everyone("webhook", "mqtt")) == (0, 0)
    assert await claim_ids(outbox, "webhook") == ["v1:opened"]
    assert await claim_ids(outbox, "mqtt") == ["v1:opened"]


async def test_a_claim_carries_the_alert_as_it_was_written(connection: Connection, outbox: Outbox) -> None:
    await add_alert(connection, "v1", event_at=START)
    await outbox.fan_out(everyone("webhook"))
    claim = await claim_one(outbox)
    assert (claim.stage, claim.vehicle_id, claim.event_at, claim.tries) == ("opened", "29B-12345", START, 1)
    assert claim.violation["top_speed_kmh"] == 72.4


async def test_a_late_commit_of_an_earlier_alert_is_not_skipped(
    postgres_url: str, connection: Connection, outbox: Outbox
) -> None:
    slow = await connect(postgres_url)
    async with slow.transaction():
        await add_alert(slow, "early", vehicle_id="A")
        await add_alert(connection, "late", vehicle_id="B")
        await outbox.fan_out(everyone("webhook"))
        assert await claim_ids(outbox) == ["late:opened"]
    await slow.close()
    await outbox.fan_out(everyone("webhook"))
    assert await claim_ids(outbox) == ["early:opened"]


async def test_an_alert_not_meant_to_be_pushed_is_recorded_and_blocks_nothing(
    connection: Connection, outbox: Outbox
) -> None:
    await add_alert(connection, "v1", push=False)
    await add_alert(connection, "v2")
    assert await outbox.fan_out(everyone("webhook")) == (2, 1)
    assert await claim_ids(outbox) == ["v2:opened"]
    assert (await deliveries(connection))["v1:opened", "webhook"] == ("recorded", 0, None)


async def test_what_is_claimed_is_nobody_elses_until_the_lease_ends(
    connection: Connection, open_outbox: OpenOutbox, clock: Clock
) -> None:
    mine, other = open_outbox(), open_outbox()
    await add_alert(connection, "v1")
    await mine.fan_out(everyone("webhook"))
    assert await claim_ids(mine) == ["v1:opened"]
    clock.advance(LEASE_S - 1)
    assert await claim_ids(other) == []
    clock.advance(1)
    again = await claim_one(other)
    assert (again.alert_id, again.tries) == ("v1:opened", 2)


async def test_a_failure_told_after_the_lease_ended_does_not_disturb_the_next_holder(
    connection: Connection, open_outbox: OpenOutbox, clock: Clock
) -> None:
    mine, other = open_outbox(), open_outbox()
    await add_alert(connection, "v1")
    await mine.fan_out(everyone("webhook"))
    lost = await claim_one(mine)
    clock.advance(LEASE_S)
    held = await claim_one(other)
    assert not await mine.mark_failed(["v1:opened"], "webhook", lost.claimed_until, "HTTP 500", None)
    assert await claim_ids(mine) == []
    assert await other.mark_failed(["v1:opened"], "webhook", held.claimed_until, "HTTP 500", 2.0)


async def test_what_was_sent_is_marked_once_with_the_time_since_the_event(
    connection: Connection, outbox: Outbox, clock: Clock
) -> None:
    await add_alert(connection, "v1", event_at=clock.now)
    await outbox.fan_out(everyone("webhook"))
    await claim_one(outbox)
    clock.advance(1.5)
    assert await outbox.mark_sent(["v1:opened"], "webhook") == [1.5]
    assert await outbox.mark_sent(["v1:opened"], "webhook") == []
    clock.advance(3600)
    assert await claim_ids(outbox) == []


async def test_a_failed_alert_comes_back_when_it_is_due_and_not_before(
    connection: Connection, outbox: Outbox, clock: Clock
) -> None:
    await add_alert(connection, "v1")
    await outbox.fan_out(everyone("webhook"))
    claim = await claim_one(outbox)
    assert await outbox.mark_failed(["v1:opened"], "webhook", claim.claimed_until, "HTTP 500\0 \ud800", 2.0)
    assert (await deliveries(connection))["v1:opened", "webhook"] == ("waiting", 1, "HTTP 500 ?")
    clock.advance(1.9)
    assert await claim_ids(outbox) == []
    clock.advance(0.1)
    assert (await claim_one(outbox)).tries == 2


async def test_alerts_of_a_vehicle_leave_one_by_one_in_the_order_they_were_written(
    connection: Connection, outbox: Outbox, clock: Clock
) -> None:
    for stage in ("warning", "opened", "closed"):
        await add_alert(connection, "v1", stage, vehicle_id="A")
    await add_alert(connection, "v2", vehicle_id="B")
    await outbox.fan_out(everyone("webhook"))
    assert sorted(await claim_ids(outbox)) == ["v1:warning", "v2:opened"]
    assert await claim_ids(outbox) == []
    await outbox.mark_sent(["v1:warning"], "webhook")
    await outbox.mark_sent(["v2:opened"], "webhook")
    opened = await claim_one(outbox)
    await outbox.mark_failed([opened.alert_id], "webhook", opened.claimed_until, "HTTP 500", 60.0)
    clock.advance(59)
    assert await claim_ids(outbox) == []
    clock.advance(1)
    assert await claim_ids(outbox) == ["v1:opened"]
    await outbox.mark_sent(["v1:opened"], "webhook")
    assert await claim_ids(outbox) == ["v1:closed"]


async def test_alerts_written_at_one_instant_leave_in_the_order_of_their_stages(
    connection: Connection, outbox: Outbox
) -> None:
    for stage in ("closed", "opened", "warning"):
        await add_alert(connection, "v1", stage, event_at=START)
    await connection.execute("UPDATE alerts SET created_at = %s", [START])
    await outbox.fan_out(everyone("webhook"))
    left = []
    while claimed := await claim_ids(outbox):
        left += claimed
        await outbox.mark_sent([claimed[0]], "webhook")
    assert left == ["v1:warning", "v1:opened", "v1:closed"]


async def test_alerts_without_a_vehicle_keep_order_by_violation(connection: Connection, outbox: Outbox) -> None:
    await add_alert(connection, "v1", "opened", vehicle_id=None)
    await add_alert(connection, "v1", "closed", vehicle_id=None)
    await add_alert(connection, "v2", "opened", vehicle_id=None)
    await outbox.fan_out(everyone("webhook"))
    assert sorted(await claim_ids(outbox)) == ["v1:opened", "v2:opened"]


async def test_a_given_up_alert_holds_nothing_back(connection: Connection, outbox: Outbox) -> None:
    await add_alert(connection, "v1", "opened")
    await add_alert(connection, "v1", "closed")
    await outbox.fan_out(everyone("webhook"))
    claim = await claim_one(outbox)
    assert await outbox.mark_failed([claim.alert_id], "webhook", claim.claimed_until, "HTTP 410", None)
    assert (await deliveries(connection))["v1:opened", "webhook"] == ("gave_up", 1, "HTTP 410")
    assert await claim_ids(outbox) == ["v1:closed"]


async def test_one_channel_holds_no_other_back(connection: Connection, outbox: Outbox) -> None:
    await add_alert(connection, "v1", "opened")
    await add_alert(connection, "v1", "closed")
    await outbox.fan_out(everyone("webhook", "mqtt"))
    await claim_one(outbox, "webhook")
    await outbox.mark_sent([(await claim_one(outbox, "mqtt")).alert_id], "mqtt")
    assert await claim_ids(outbox, "mqtt") == ["v1:closed"]
    assert await claim_ids(outbox, "webhook") == []


async def test_an_alert_that_another_notifier_is_still_fanning_out_holds_its_vehicle_back(
    postgres_url: str, connection: Connection, outbox: Outbox
) -> None:
    await add_alert(connection, "v1", "opened")
    await add_alert(connection, "v1", "closed")
    other = await connect(postgres_url)
    async with other.transaction():
        await other.execute("SELECT FROM alerts WHERE stage = 'opened' FOR UPDATE")
        assert await outbox.fan_out(everyone("webhook")) == (1, 0)
        assert await claim_ids(outbox) == []
    await other.close()
    await outbox.fan_out(everyone("webhook"))
    assert await claim_ids(outbox) == ["v1:opened"]


async def test_old_news_is_recorded_and_blocks_nothing(connection: Connection, outbox: Outbox, clock: Clock) -> None:
    await add_alert(connection, "old", event_at=clock.now - timedelta(seconds=901))
    await add_alert(connection, "edge", event_at=clock.now - timedelta(seconds=900))
    await outbox.fan_out(everyone("webhook"))
    assert await outbox.record_stale("webhook", 900) == 1
    assert await outbox.record_stale("webhook", 900) == 0
    assert await claim_ids(outbox) == ["edge:opened"]
    assert (await deliveries(connection))["old:opened", "webhook"][0] == "recorded"


async def test_what_is_being_sent_does_not_become_old_news_meanwhile(
    connection: Connection, outbox: Outbox, clock: Clock
) -> None:
    await add_alert(connection, "v1", event_at=clock.now)
    await outbox.fan_out(everyone("webhook"))
    await claim_one(outbox)
    assert await outbox.record_stale("webhook", -1) == 0
    clock.advance(LEASE_S)
    assert await outbox.record_stale("webhook", -1) == 1


async def test_many_notifiers_at_once_claim_each_alert_once(connection: Connection, open_outbox: OpenOutbox) -> None:
    for number in range(60):
        await add_alert(connection, f"v{number}", vehicle_id=f"vehicle {number}")
    outboxes = [open_outbox() for _ in range(6)]
    await asyncio.gather(*(outbox.fan_out(everyone("webhook"), limit=25) for outbox in outboxes))
    claimed: list[str] = []
    for _ in range(10):
        for ids in await asyncio.gather(*(claim_ids(outbox, limit=7) for outbox in outboxes)):
            claimed += ids
    assert sorted(claimed) == sorted(f"v{number}:opened" for number in range(60))


async def test_the_backlog_counts_what_waits_and_the_age_of_the_oldest(
    connection: Connection, outbox: Outbox, clock: Clock
) -> None:
    assert await outbox.backlog(["webhook"]) == (0, 0.0)
    await add_alert(connection, "v1", vehicle_id="A")
    await add_alert(connection, "v2", vehicle_id="B")
    await connection.execute("UPDATE alerts SET created_at = %s", [clock.now - timedelta(seconds=7)])
    assert await outbox.backlog(["webhook"]) == (2, 7.0)
    await outbox.fan_out(everyone("webhook", "no longer used"))
    assert await outbox.backlog(["webhook"]) == (2, 7.0)
    await outbox.mark_sent(["v1:opened"], "webhook")
    assert await outbox.backlog(["webhook"]) == (1, 7.0)
    assert await outbox.backlog(["webhook"], quiet=["webhook"]) == (1, 0.0), "what is held on purpose is not late"


async def test_news_of_an_alert_ends_the_wait(connection: Connection, outbox: Outbox) -> None:
    assert await outbox.wait(0)
    assert not await outbox.wait(0.05)
    waiting = asyncio.create_task(outbox.wait(30))
    await asyncio.sleep(0.05)
    await add_alert(connection, "v1")
    assert await asyncio.wait_for(waiting, 5)


async def test_news_that_came_between_two_waits_is_not_lost(connection: Connection, outbox: Outbox) -> None:
    await outbox.wait(0)
    await add_alert(connection, "v1")
    assert await outbox.wait(5)
