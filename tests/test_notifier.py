"""The notifier on the real database, with a real HTTP server as receiver."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from psycopg.conninfo import conninfo_to_dict

from alerts.notifier import Notifier
from alerts.retry import RetryPolicy
from alerts.route import Route
from alerts.signature import SIGNATURE_HEADER, TIMESTAMP_HEADER, verify
from storage.connect import Connection, connect, is_transient
from storage.outbox import Outbox
from tests.outbox_rows import add_alert, deliveries, speeding
from tests.running_notifier import (
    SECRET,
    SOON,
    BrokenChannel,
    Counts,
    HeldChannel,
    NotifierRunner,
    running,
    until,
    webhook,
)
from tests.services.postgres import DatabaseServer
from tests.webhook_receiver import Answer, WebhookReceiver, webhook_receiver

__all__ = ["running"]


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with webhook_receiver() as receiver:
        yield receiver


async def test_a_receiver_that_fails_twice_gets_the_alert_once_more_and_can_verify_it(
    connection: Connection, receiver: WebhookReceiver, running: NotifierRunner
) -> None:
    receiver.answer = lambda request: Answer(500 if len(receiver.requests) <= 2 else 204)
    async with running(webhook(receiver)) as counts:
        alert_id = await add_alert(connection, "v1")
        await until(connection, {"sent": 1})
        await asyncio.sleep(0.2)
    assert [request.alert_id for request in receiver.requests] == [alert_id] * 3
    assert len(receiver.accepted) == 1
    for request in receiver.requests:
        verify(SECRET, request.headers[TIMESTAMP_HEADER], request.headers[SIGNATURE_HEADER], request.body)
        assert request.headers["Idempotency-Key"] == alert_id
    assert receiver.accepted[0].alert["violation"] == speeding("v1", "29B-12345")
    assert (await deliveries(connection))[alert_id, "webhook"] == ("sent", 3, None)
    assert counts.of == {("failed", "webhook"): 2, ("sent", "webhook"): 1}
    assert len(counts.seconds) == 1
    assert 0 < counts.seconds[0] < 20


async def test_two_notifiers_at_once_deliver_each_alert_once(
    connection: Connection, receiver: WebhookReceiver, running: NotifierRunner
) -> None:
    receiver.answer = lambda request: Answer(after_s=0.01)
    async with running(webhook(receiver), at_once=4), running(webhook(receiver), at_once=4):
        ids = [await add_alert(connection, f"v{n}", vehicle_id=f"vehicle {n % 20}") for n in range(100)]
        await until(connection, {"sent": 100})
    assert sorted(request.alert_id for request in receiver.requests) == sorted(ids)


async def test_alerts_of_a_vehicle_arrive_in_order_although_tries_fail(
    connection: Connection, receiver: WebhookReceiver, running: NotifierRunner
) -> None:
    # Every third request fails, whichever alert it carries.
    receiver.answer = lambda request: Answer(503 if len(receiver.requests) % 3 == 0 else 200)
    expected: dict[str, list[str]] = {}
    for n in range(12):
        for stage in ("opened", "closed"):
            vehicle_id = f"vehicle {n % 3}"
            alert_id = await add_alert(connection, f"v{n}", stage, vehicle_id=vehicle_id)
            expected.setdefault(vehicle_id, []).append(alert_id)
    async with running(webhook(receiver)), running(webhook(receiver)):
        await until(connection, {"sent": 24})
    arrived: dict[str, list[str]] = {}
    for request in receiver.accepted:
        arrived.setdefault(request.alert["violation"]["vehicle_id"], []).append(request.alert_id)
    assert arrived == expected


async def test_a_dead_channel_delays_no_other(
    connection: Connection, receiver: WebhookReceiver, running: NotifierRunner
) -> None:
    async with running(HeldChannel(), webhook(receiver), at_once=2, send_timeout_s=0.5, lease_s=1.0):
        for n in range(20):
            await add_alert(connection, f"v{n}", vehicle_id=f"vehicle {n}")
        await asyncio.to_thread(receiver.wait_for_requests, 20, 5)
    assert Counter(row[0] for key, row in (await deliveries(connection)).items() if key[1] == "held") == {"waiting": 20}


async def test_a_channel_that_never_answers_is_given_up_with_the_reason(
    connection: Connection, running: NotifierRunner
) -> None:
    retry = RetryPolicy(max_tries=2, first_wait_s=0.01)
    async with running(HeldChannel(), retry=retry, send_timeout_s=0.05, lease_s=5.0):
        await add_alert(connection, "v1")
        await until(connection, {"gave_up": 1})
    assert (await deliveries(connection))["v1:opened", "held"] == ("gave_up", 2, "no answer within 0.05 s")


async def test_an_alert_is_given_up_after_the_last_try_and_the_next_of_the_vehicle_goes_out(
    connection: Connection, receiver: WebhookReceiver, running: NotifierRunner
) -> None:
    receiver.answer = lambda request: Answer(500 if request.alert_id == "v1:opened" else 200)
    async with running(webhook(receiver), retry=RetryPolicy(max_tries=3, first_wait_s=0.01)) as counts:
        await add_alert(connection, "v1", "opened")
        await add_alert(connection, "v1", "closed")
        await until(connection, {"gave_up": 1, "sent": 1})
    assert [request.alert_id for request in receiver.requests] == ["v1:opened"] * 3 + ["v1:closed"]
    status, tries, error = (await deliveries(connection))["v1:opened", "webhook"]
    assert (status, tries) == ("gave_up", 3)
    assert error is not None
    assert error.startswith("HTTP 500")
    assert counts.of["gave_up", "webhook"] == 1


async def test_a_receiver_that_is_gone_is_not_asked_again(
    connection: Connection, receiver: WebhookReceiver, running: NotifierRunner
) -> None:
    receiver.answer = lambda request: Answer(410)
    async with running(webhook(receiver)):
        await add_alert(connection, "v1")
        await until(connection, {"gave_up": 1})
    assert len(receiver.requests) == 1


async def test_a_receiver_that_asks_for_quiet_gets_it(
    connection: Connection, receiver: WebhookReceiver, running: NotifierRunner
) -> None:
    receiver.answer = lambda request: Answer(429, (("Retry-After", "3600"),))
    async with running(webhook(receiver)):
        await add_alert(connection, "v1")
        await asyncio.to_thread(receiver.wait_for_requests, 1)
        await asyncio.sleep(0.3)
    assert len(receiver.requests) == 1
    assert (await deliveries(connection))["v1:opened", "webhook"][0] == "waiting"


async def test_old_news_is_recorded_and_not_sent(
    connection: Connection, receiver: WebhookReceiver, running: NotifierRunner
) -> None:
    async with running(webhook(receiver)) as counts:
        await add_alert(connection, "old", event_at=datetime.now(UTC) - timedelta(seconds=950))
        await add_alert(connection, "silent", push=False)
        await add_alert(connection, "fresh")
        await until(connection, {"recorded": 2, "sent": 1})
    assert [request.alert_id for request in receiver.requests] == ["fresh:opened"]
    assert counts.of["recorded",] == 2


async def test_an_alert_that_grew_old_while_the_channel_was_down_is_recorded(
    connection: Connection, receiver: WebhookReceiver, running: NotifierRunner
) -> None:
    receiver.answer = lambda request: Answer(500)
    async with running(webhook(receiver), freshness_s=0.5, retry=RetryPolicy(max_tries=100, first_wait_s=0.1)):
        await add_alert(connection, "v1")
        await until(connection, {"recorded": 1})
    assert len(receiver.requests) > 1


async def test_a_channel_with_a_bug_stops_neither_itself_nor_the_others(
    connection: Connection, receiver: WebhookReceiver, running: NotifierRunner
) -> None:
    async with running(BrokenChannel(), webhook(receiver), retry=RetryPolicy(max_tries=2, first_wait_s=0.01)):
        await add_alert(connection, "v1", vehicle_id="A")
        await add_alert(connection, "v2", vehicle_id="B")
        await until(connection, {"gave_up": 2, "sent": 2})
    assert (await deliveries(connection))["v1:opened", "broken"][2] == "ZeroDivisionError('a bug')"


async def test_stopping_finishes_what_is_under_way_and_claims_nothing_more(
    connection: Connection, receiver: WebhookReceiver, running: NotifierRunner
) -> None:
    receiver.answer = lambda request: Answer(after_s=0.5)
    async with running(webhook(receiver), at_once=1):
        await add_alert(connection, "v1", vehicle_id="A")
        await add_alert(connection, "v2", vehicle_id="B")
        await asyncio.to_thread(receiver.wait_for_requests, 1)
    assert len(receiver.requests) == 1
    assert Counter(row[0] for row in (await deliveries(connection)).values()) == {"sent": 1, "waiting": 1}


async def test_news_reaches_the_receiver_long_before_the_next_poll(
    connection: Connection, receiver: WebhookReceiver, running: NotifierRunner
) -> None:
    async with running(webhook(receiver), poll_s=3.0) as counts:
        await add_alert(connection, "warm-up")
        await until(connection, {"sent": 1})
        await add_alert(connection, "v1")
        await until(connection, {"sent": 2})
    assert counts.seconds[1] < 1.0


async def test_the_gauge_of_what_waits_is_told(connection: Connection, running: NotifierRunner) -> None:
    async with running(HeldChannel(), send_timeout_s=0.2, lease_s=1.0) as counts:
        await asyncio.wait_for(counts.told_backlog.wait(), 10)
    assert counts.backlog == (0, 0.0)


async def test_an_outage_of_the_database_is_waited_out(
    postgres: DatabaseServer,
    connection: Connection,
    receiver: WebhookReceiver,
    running: NotifierRunner,
    postgres_url: str,
) -> None:
    admin = await connect(postgres.admin_url)
    database = conninfo_to_dict(postgres_url)["dbname"]

    async def let_in(allowed: bool) -> None:
        await admin.execute("UPDATE pg_database SET datallowconn = %s WHERE datname = %s", [allowed, database])

    async with running(webhook(receiver)) as counts:
        await add_alert(connection, "before")
        await until(connection, {"sent": 1})
        await let_in(False)
        await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database])
        await asyncio.sleep(0.5)
        assert "outbox out of reach" in (counts.trouble() or "")
        await let_in(True)
        again = await connect(postgres_url)
        await add_alert(again, "after")
        await until(again, {"sent": 2})
        assert counts.trouble() is None
        await again.close()
    await admin.close()
    assert [request.alert_id for request in receiver.requests] == ["before:opened", "after:opened"]


def test_two_channels_of_one_name_are_refused(receiver: WebhookReceiver) -> None:
    async def never() -> Connection:
        raise AssertionError("no connection is needed to refuse")

    with pytest.raises(ValueError, match="different names"):
        Notifier(
            Outbox(never),
            [Route(webhook(receiver)), Route(webhook(receiver))],
            Counts(),
            is_transient=is_transient,
            retry=SOON,
            freshness_s=900.0,
        )
