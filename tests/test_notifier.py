"""The notifier on the real database, with a real HTTP server as receiver."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from alerts.alert import Alert
from alerts.channel import Channel, DeliveryError
from alerts.notifier import Notifier
from alerts.retry import RetryPolicy
from alerts.signature import SIGNATURE_HEADER, TIMESTAMP_HEADER, verify
from alerts.webhook import WebhookChannel
from storage.connect import Connection, connect, is_transient
from storage.outbox import Outbox
from tests.outbox_rows import add_alert, deliveries, speeding
from tests.services.postgres import DatabaseServer
from tests.webhook_receiver import Answer, Request, WebhookReceiver, webhook_receiver

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


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with webhook_receiver() as receiver:
        yield receiver


@pytest.fixture
async def connection(postgres_url: str) -> AsyncIterator[Connection]:
    connection = await connect(postgres_url)
    yield connection
    await connection.close()


RunNotifier = Callable[..., Any]


@pytest.fixture
def running(postgres_url: str) -> RunNotifier:
    """`async with running(channel, ...) as counts`: a notifier at work inside the block, stopped cleanly at its end."""

    @asynccontextmanager
    async def run(*channels: Channel, ahead_s: float = 0.0, **options: Any) -> AsyncIterator[Counts]:
        counts = Counts()
        clock = (lambda: datetime.now(UTC) + timedelta(seconds=ahead_s)) if ahead_s else None
        options = {"retry": SOON, "freshness_s": 900.0, "poll_s": 0.05, **options}
        notifier = Notifier(
            Outbox(lambda: connect(postgres_url), clock), channels, counts, is_transient=is_transient, **options
        )
        counts.trouble = lambda: notifier.trouble
        stop = asyncio.Event()
        task = asyncio.create_task(notifier.run(stop))
        try:
            yield counts
        finally:
            stop.set()
            await asyncio.wait_for(task, 20)

    return run


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


async def test_a_receiver_that_fails_twice_gets_the_alert_once_more_and_can_verify_it(
    connection: Connection, receiver: WebhookReceiver, running: RunNotifier
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
    connection: Connection, receiver: WebhookReceiver, running: RunNotifier
) -> None:
    receiver.answer = lambda request: Answer(after_s=0.01)
    async with running(webhook(receiver), at_once=4), running(webhook(receiver), at_once=4):
        ids = [await add_alert(connection, f"v{n}", vehicle_id=f"vehicle {n % 20}") for n in range(100)]
        await until(connection, {"sent": 100})
    assert sorted(request.alert_id for request in receiver.requests) == sorted(ids)


async def test_alerts_of_a_vehicle_arrive_in_order_although_tries_fail(
    connection: Connection, receiver: WebhookReceiver, running: RunNotifier
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
    connection: Connection, receiver: WebhookReceiver, running: RunNotifier
) -> None:
    async with running(HeldChannel(), webhook(receiver), at_once=2, send_timeout_s=0.5, lease_s=1.0):
        for n in range(20):
            await add_alert(connection, f"v{n}", vehicle_id=f"vehicle {n}")
        await asyncio.to_thread(receiver.wait_for_requests, 20, 5)
    assert Counter(row[0] for key, row in (await deliveries(connection)).items() if key[1] == "held") == {"waiting": 20}


async def test_a_channel_that_never_answers_is_given_up_with_the_reason(
    connection: Connection, running: RunNotifier
) -> None:
    retry = RetryPolicy(max_tries=2, first_wait_s=0.01)
    async with running(HeldChannel(), retry=retry, send_timeout_s=0.05, lease_s=5.0):
        await add_alert(connection, "v1")
        await until(connection, {"gave_up": 1})
    assert (await deliveries(connection))["v1:opened", "held"] == ("gave_up", 2, "no answer within 0.05 s")


async def test_an_alert_is_given_up_after_the_last_try_and_the_next_of_the_vehicle_goes_out(
    connection: Connection, receiver: WebhookReceiver, running: RunNotifier
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
    connection: Connection, receiver: WebhookReceiver, running: RunNotifier
) -> None:
    receiver.answer = lambda request: Answer(410)
    async with running(webhook(receiver)):
        await add_alert(connection, "v1")
        await until(connection, {"gave_up": 1})
    assert len(receiver.requests) == 1


async def test_a_receiver_that_asks_for_quiet_gets_it(
    connection: Connection, receiver: WebhookReceiver, running: RunNotifier
) -> None:
    receiver.answer = lambda request: Answer(429, (("Retry-After", "3600"),))
    async with running(webhook(receiver)):
        await add_alert(connection, "v1")
        await asyncio.to_thread(receiver.wait_for_requests, 1)
        await asyncio.sleep(0.3)
    assert len(receiver.requests) == 1
    assert (await deliveries(connection))["v1:opened", "webhook"][0] == "waiting"


async def test_old_news_is_recorded_and_not_sent(
    connection: Connection, receiver: WebhookReceiver, running: RunNotifier
) -> None:
    async with running(webhook(receiver)) as counts:
        await add_alert(connection, "old", event_at=datetime.now(UTC) - timedelta(seconds=950))
        await add_alert(connection, "silent", push=False)
        await add_alert(connection, "fresh")
        await until(connection, {"recorded": 2, "sent": 1})
    assert [request.alert_id for request in receiver.requests] == ["fresh:opened"]
    assert counts.of["recorded",] == 2


async def test_an_alert_that_grew_old_while_the_channel_was_down_is_recorded(
    connection: Connection, receiver: WebhookReceiver, running: RunNotifier
) -> None:
    receiver.answer = lambda request: Answer(500)
    async with running(webhook(receiver), freshness_s=0.5, retry=RetryPolicy(max_tries=100, first_wait_s=0.1)):
        await add_alert(connection, "v1")
        await until(connection, {"recorded": 1})
    assert len(receiver.requests) > 1


async def test_a_channel_with_a_bug_stops_neither_itself_nor_the_others(
    connection: Connection, receiver: WebhookReceiver, running: RunNotifier
) -> None:
    async with running(BrokenChannel(), webhook(receiver), retry=RetryPolicy(max_tries=2, first_wait_s=0.01)):
        await add_alert(connection, "v1", vehicle_id="A")
        await add_alert(connection, "v2", vehicle_id="B")
        await until(connection, {"gave_up": 2, "sent": 2})
    assert (await deliveries(connection))["v1:opened", "broken"][2] == "ZeroDivisionError('a bug')"


async def test_stopping_finishes_what_is_under_way_and_claims_nothing_more(
    connection: Connection, receiver: WebhookReceiver, running: RunNotifier
) -> None:
    receiver.answer = lambda request: Answer(after_s=0.5)
    async with running(webhook(receiver), at_once=1):
        await add_alert(connection, "v1", vehicle_id="A")
        await add_alert(connection, "v2", vehicle_id="B")
        await asyncio.to_thread(receiver.wait_for_requests, 1)
    assert len(receiver.requests) == 1
    assert Counter(row[0] for row in (await deliveries(connection)).values()) == {"sent": 1, "waiting": 1}


async def test_news_reaches_the_receiver_long_before_the_next_poll(
    connection: Connection, receiver: WebhookReceiver, running: RunNotifier
) -> None:
    async with running(webhook(receiver), poll_s=3.0) as counts:
        await add_alert(connection, "warm-up")
        await until(connection, {"sent": 1})
        await add_alert(connection, "v1")
        await until(connection, {"sent": 2})
    assert counts.seconds[1] < 1.0


async def test_the_gauge_of_what_waits_is_told(connection: Connection, running: RunNotifier) -> None:
    async with running(HeldChannel(), send_timeout_s=0.2, lease_s=1.0) as counts:
        await asyncio.wait_for(counts.told_backlog.wait(), 10)
    assert counts.backlog == (0, 0.0)


async def test_an_outage_of_the_database_is_waited_out(
    postgres: DatabaseServer, connection: Connection, receiver: WebhookReceiver, running: RunNotifier, postgres_url: str
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


async def test_a_notifier_killed_between_sending_and_marking_leaves_a_repeat_with_the_same_id(
    connection: Connection, receiver: WebhookReceiver, running: RunNotifier, postgres_url: str
) -> None:
    def hold_the_first(request: Request) -> Answer:
        return Answer(after_s=30.0 if len(receiver.requests) == 1 else 0.0)

    receiver.answer = hold_the_first
    await add_alert(connection, "v1")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hanhtrinh", "notify", env=_environment(postgres_url, receiver)
    )
    try:
        await asyncio.to_thread(receiver.wait_for_requests, 1)
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    assert (await deliveries(connection))["v1:opened", "webhook"][0] == "waiting"
    # Past the lease of the dead one, well within freshness.
    async with running(webhook(receiver), ahead_s=60.0):
        await until(connection, {"sent": 1})
    assert [request.alert_id for request in receiver.requests] == ["v1:opened"] * 2
    assert receiver.requests[0].body == receiver.requests[1].body


@pytest.mark.parametrize(("kill_signal", "exit_code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
async def test_the_command_delivers_and_stops_cleanly_on_a_signal(
    connection: Connection,
    receiver: WebhookReceiver,
    postgres_url: str,
    kill_signal: signal.Signals,
    exit_code: int,
) -> None:
    await add_alert(connection, "v1")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hanhtrinh", "notify", env=_environment(postgres_url, receiver)
    )
    try:
        await until(connection, {"sent": 1})
        process.send_signal(kill_signal)
        assert await asyncio.wait_for(process.wait(), 15) == exit_code
    finally:
        if process.returncode is None:
            process.kill()


def test_two_channels_of_one_name_are_refused(receiver: WebhookReceiver) -> None:
    async def never() -> Connection:
        raise AssertionError("no connection is needed to refuse")

    with pytest.raises(ValueError, match="different names"):
        Notifier(
            Outbox(never),
            [webhook(receiver), webhook(receiver)],
            Counts(),
            is_transient=is_transient,
            retry=SOON,
            freshness_s=900.0,
        )


@pytest.mark.parametrize(
    ("tries", "retry_after_s", "expected"),
    [
        (1, None, 2.0),
        (2, None, 4.0),
        (7, None, 128.0),
        (8, None, None),
        (1, 30.0, 30.0),
        (3, 1.0, 8.0),
        (1, 9e9, 600.0),
    ],
)
def test_waits_double_up_to_the_bound_and_end(tries: int, retry_after_s: float | None, expected: float | None) -> None:
    policy = RetryPolicy(max_tries=8, first_wait_s=2.0, max_wait_s=600.0)
    assert policy.wait_s(tries, DeliveryError("no", retry_after_s=retry_after_s)) == expected


def test_a_permanent_refusal_is_not_tried_again() -> None:
    assert RetryPolicy(max_tries=8).wait_s(1, DeliveryError("gone", permanent=True)) is None


def _environment(postgres_url: str, receiver: WebhookReceiver) -> dict[str, str]:
    return {
        **os.environ,
        "HANHTRINH_DATABASE_URL": postgres_url,
        "HANHTRINH_ALERT_WEBHOOK_URL": receiver.url,
        "HANHTRINH_ALERT_WEBHOOK_SECRET": SECRET.decode(),
        "HANHTRINH_METRICS_PORT": "0",
    }
