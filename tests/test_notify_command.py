"""`hanhtrinh notify` as a process of its own: signals and a kill -9 at the worst moment."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from storage.connect import Connection, connect
from tests.outbox_rows import add_alert, deliveries
from tests.running_notifier import SECRET, NotifierRunner, until, webhook
from tests.webhook_receiver import Answer, Request, WebhookReceiver, webhook_receiver


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with webhook_receiver() as receiver:
        yield receiver


@pytest.fixture
async def connection(postgres_url: str) -> AsyncIterator[Connection]:
    connection = await connect(postgres_url)
    yield connection
    await connection.close()


@pytest.fixture
def running(postgres_url: str) -> NotifierRunner:
    return NotifierRunner(postgres_url)


async def test_a_notifier_killed_between_sending_and_marking_leaves_a_repeat_with_the_same_id(
    connection: Connection, receiver: WebhookReceiver, running: NotifierRunner, postgres_url: str
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


async def test_without_a_channel_the_command_says_what_to_set() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hanhtrinh", "notify", stderr=asyncio.subprocess.PIPE
    )
    _, said = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 2
    assert said.count(b"\n") == 1
    assert b"HANHTRINH_ALERT_WEBHOOK_URL" in said


def _environment(postgres_url: str, receiver: WebhookReceiver) -> dict[str, str]:
    return {
        **os.environ,
        "HANHTRINH_DATABASE_URL": postgres_url,
        "HANHTRINH_ALERT_WEBHOOK_URL": receiver.url,
        "HANHTRINH_ALERT_WEBHOOK_SECRET": SECRET.decode(),
        "HANHTRINH_METRICS_PORT": "0",
    }
