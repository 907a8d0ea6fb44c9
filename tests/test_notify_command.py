"""`hanhtrinh notify` as a process of its own: signals and a kill -9 at the worst moment."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from storage.connect import Connection
from tests.outbox_rows import add_alert, deliveries
from tests.running_notifier import SECRET, NotifierRunner, running, until, webhook
from tests.webhook_receiver import Answer, Request, WebhookReceiver, webhook_receiver

__all__ = ["running"]


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with webhook_receiver() as receiver:
        yield receiver


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


async def test_two_processes_beside_a_service_that_hangs_tell_everybody_else_once_and_in_order(
    connection: Connection, receiver: WebhookReceiver, postgres_url: str, tmp_path: Path
) -> None:
    """More alerts than letters can be under way at once: those that hang must not keep other people's from leaving."""
    vehicles = [f"29B-{n:05}" for n in range(40)]
    with webhook_receiver() as hung, webhook_receiver() as duty:
        hung.answer = lambda request: Answer(after_s=30.0)
        alerts_file = tmp_path / "alerts.toml"
        alerts_file.write_text(
            f'[[channel]]\nname = "hung"\nurl = "{_apprise(hung)}"\nmost_per_minute = 1000\n'
            f'[[channel]]\nname = "duty"\nurl = "{_apprise(duty)}"\nmost_per_minute = 1000\n'
        )
        environment = {**_environment(postgres_url, receiver), "HANHTRINH_ALERTS_FILE": str(alerts_file)}
        processes = [
            await asyncio.create_subprocess_exec(sys.executable, "-m", "hanhtrinh", "notify", env=environment)
            for _ in range(2)
        ]
        try:
            for stage in ("opened", "closed"):
                for vehicle_id in vehicles:
                    await add_alert(connection, vehicle_id, stage, vehicle_id=vehicle_id)
                if stage == "opened":
                    await asyncio.to_thread(hung.wait_for_requests, 8, 60.0)
            await asyncio.to_thread(duty.wait_for_requests, 80)
            await asyncio.to_thread(receiver.wait_for_requests, 80)
        finally:
            for process in processes:
                process.kill()
                await process.wait()
    expected = [f"{vehicle_id}:{stage}" for vehicle_id in vehicles for stage in ("opened", "closed")]
    assert sorted(expected) == sorted(request.alert_id for request in receiver.requests)
    told = [request.alert_id for request in receiver.requests]
    assert all(told.index(f"{each}:opened") < told.index(f"{each}:closed") for each in vehicles)
    assert len({json.loads(request.body)["title"] for request in duty.requests}) == 80


async def test_a_channels_hours_are_those_of_the_rule_packs_zone(
    connection: Connection, receiver: WebhookReceiver, postgres_url: str, tmp_path: Path
) -> None:
    """Half a day from the hours of Vietnam."""
    pack, alerts_file = tmp_path / "pack.toml", tmp_path / "alerts.toml"
    vietnam = (files("detectors.rules") / "vn.toml").read_text("utf-8")
    assert 'time_zone = "Asia/Ho_Chi_Minh"' in vietnam
    pack.write_text(vietnam.replace('time_zone = "Asia/Ho_Chi_Minh"', 'time_zone = "Etc/GMT+5"'), "utf-8")
    alerts_file.write_text(
        "".join(
            f'[[channel]]\nname = "{name}"\nurl = "{_apprise(receiver)}"\nhours = "{_around_now(zone)}"\n'
            for name, zone in (("there", "Etc/GMT+5"), ("in Vietnam", "Asia/Ho_Chi_Minh"))
        )
    )
    environment = {
        **_environment(postgres_url, receiver),
        "HANHTRINH_ALERTS_FILE": str(alerts_file),
        "HANHTRINH_RULE_PACK": str(pack),
    }
    await add_alert(connection, "v1")
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "hanhtrinh", "notify", env=environment)
    try:
        await until(connection, {"sent": 2}, within_s=60)
    finally:
        process.kill()
        await process.wait()
    assert {channel for _, channel in await deliveries(connection)} == {"webhook", "there"}


async def test_without_a_channel_the_command_says_what_to_set() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hanhtrinh", "notify", stderr=asyncio.subprocess.PIPE
    )
    _, said = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 2
    assert said.count(b"\n") == 1
    assert b"HANHTRINH_ALERT_WEBHOOK_URL" in said


def _around_now(zone: str) -> str:
    now, hour = datetime.now(ZoneInfo(zone)), timedelta(hours=1)
    return f"{now - hour:%H:%M}-{now + hour:%H:%M}"


def _apprise(receiver: WebhookReceiver) -> str:
    """The receiver as an address for letters, which is waited for longer than the test takes."""
    return receiver.url.replace("http://", "json://") + "?rto=60"


def _environment(postgres_url: str, receiver: WebhookReceiver) -> dict[str, str]:
    return {
        **os.environ,
        "HANHTRINH_DATABASE_URL": postgres_url,
        "HANHTRINH_ALERT_WEBHOOK_URL": receiver.url,
        "HANHTRINH_ALERT_WEBHOOK_SECRET": SECRET.decode(),
        "HANHTRINH_METRICS_PORT": "0",
    }
