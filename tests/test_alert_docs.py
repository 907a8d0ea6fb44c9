"""docs/alerts.md: its receiver and its SQL run, its numbers and its JSON are the program's."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from alerts.alert import Alert, encode
from alerts.channel import DeliveryError
from alerts.message import Wording
from alerts.phrases import VIETNAMESE
from alerts.signature import SIGNATURE_HEADER, TIMESTAMP_HEADER, sign
from alerts.webhook import WebhookChannel
from hanhtrinh.settings import load_settings
from storage.connect import connect
from storage.outbox import Outbox
from tests.outbox_rows import add_alert, deliveries, everyone
from tests.services.process import accepts, free_port

TEXT = (Path(__file__).parents[1] / "docs" / "alerts.md").read_text("utf-8")
SECRET = b"road-1"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def documented_alert() -> Alert:
    shown = json.loads(blocks("json")[0])
    event_at = datetime.fromisoformat(shown["event_at"])
    return Alert(shown["alert_id"], shown["stage"], event_at, shown["violation"]["vehicle_id"], shown["violation"])


def test_the_documented_letter_is_what_the_documented_alert_is_told_with() -> None:
    wording = Wording(VIETNAMESE, dashboards_url="https://grafana.example.org")
    title, text = wording.letter(documented_alert()._replace(operator_name="HTX Thành Công"))
    assert blocks("text")[0] == f"{title}\n\n{text}\n"


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """The documented receiver as a process of its own, and its URL."""
    port = free_port()
    script = tmp_path / "receiver.py"
    script.write_text(blocks("python")[0], "utf-8")
    environment = {**os.environ, "SECRET": SECRET.decode(), "PORT": str(port)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), env=environment, stdout=asyncio.subprocess.PIPE
    )
    try:
        for _ in range(200):
            if accepts(port):
                break
            await asyncio.sleep(0.05)
        yield f"http://127.0.0.1:{port}/", process
    finally:
        process.kill()
        await process.communicate()


async def test_the_documented_receiver_takes_an_alert_and_drops_its_repeat(
    receiver: tuple[str, asyncio.subprocess.Process],
) -> None:
    url, process = receiver
    channel = WebhookChannel(url, SECRET)
    alert = documented_alert()
    await channel.send(alert)
    await channel.send(alert)
    await channel.send(alert._replace(alert_id="other:closed", stage="closed"))
    await channel.close()
    assert process.stdout is not None
    lines = [await asyncio.wait_for(process.stdout.readline(), 5) for _ in range(2)]
    assert lines == [b"opened speeding 29B-12345\n", b"closed speeding 29B-12345\n"]


async def test_the_documented_receiver_refuses_what_is_forged_or_old(
    receiver: tuple[str, asyncio.subprocess.Process],
) -> None:
    url, _ = receiver
    body = encode(documented_alert())
    for channel in (WebhookChannel(url, b"wrong"), WebhookChannel(url, SECRET, clock_s=lambda: 1_600_000_000.0)):
        with pytest.raises(DeliveryError, match="HTTP 401"):
            await channel.send(documented_alert())
        await channel.close()
    now_s = int(datetime.now(UTC).timestamp())
    signature = sign(SECRET, now_s, body)
    async with httpx.AsyncClient() as client:
        for headers, sent in [
            ({TIMESTAMP_HEADER: str(now_s), SIGNATURE_HEADER: signature}, body + b" "),
            ({TIMESTAMP_HEADER: str(now_s + 1), SIGNATURE_HEADER: signature}, body),
            ({TIMESTAMP_HEADER: "soon", SIGNATURE_HEADER: signature}, body),
            ({}, body),
        ]:
            assert (await client.post(url, content=sent, headers=headers)).status_code == 401


async def test_the_documented_sql_finds_and_revives_given_up_alerts(postgres_url: str) -> None:
    find, revive = blocks("sql")
    connection = await connect(postgres_url)
    outbox = Outbox(lambda: connect(postgres_url))
    await add_alert(connection, "v1")
    await outbox.fan_out(everyone("webhook"))
    (claim,) = await outbox.claim("webhook", 1, 30.0)
    await outbox.mark_failed([claim.alert_id], "webhook", claim.claimed_until, "HTTP 500", None)
    found = await (await connection.execute(find.encode())).fetchall()
    assert found == [("v1:opened", "webhook", "gave_up", 1, "HTTP 500")]
    await connection.execute(revive.encode())
    assert (await deliveries(connection))["v1:opened", "webhook"] == ("waiting", 0, "HTTP 500")
    assert len(await outbox.claim("webhook", 1, 30.0)) == 1
    await outbox.close()
    await connection.close()


def test_the_documented_settings_and_numbers_are_the_programs() -> None:
    settings = load_settings()
    for name in re.findall(r"HANHTRINH_([A-Z_]+[A-Z])", TEXT):
        assert any(field.startswith(name.lower()) for field in type(settings).model_fields), name
    assert f"`HANHTRINH_ALERT_RETRY_S` ({settings.alert_retry_s:g} s)" in TEXT
    assert f"`HANHTRINH_ALERT_MAX_TRIES` ({settings.alert_max_tries})" in TEXT
    assert f"`HANHTRINH_ALERT_FRESHNESS_S` ({settings.alert_freshness_s // 60} min)" in TEXT
