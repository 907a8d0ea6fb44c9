"""Alerts to people: letters by real mail, who gets what, storms, quiet hours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import aiomqtt
import pytest
from aiokafka import AIOKafkaConsumer

from alerts.apprise import TO_OPERATOR, AppriseChannel
from alerts.hours import Hours
from alerts.kafka import KafkaChannel
from alerts.message import VIETNAM, Wording
from alerts.mqtt import MqttChannel
from alerts.pace import Pace
from alerts.phrases import ENGLISH, VIETNAMESE, Phrases
from alerts.route import Audience, PacedRoute, Route
from storage.connect import Connection
from tests.mail_server import MailServer, office
from tests.outbox_rows import add_alert, deliveries, speeding
from tests.running_notifier import NotifierRunner, running, until, webhook
from tests.services.kafka_server import Kafka
from tests.services.mosquitto import Mosquitto
from tests.webhook_receiver import WebhookReceiver, webhook_receiver

__all__ = ["office", "running"]

BRISK = Pace(VIETNAM, most_per_minute=1000)
HOURS = {"limit_s": 14400.0, "actual_s": 14460.0}


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with webhook_receiver() as receiver:
        yield receiver


def by_mail(
    office: MailServer,
    name: str = "duty",
    phrases: Phrases = ENGLISH,
    audience: Audience = Audience(),  # noqa: B008 - frozen
    pace: Pace = BRISK,
) -> PacedRoute:
    return PacedRoute(AppriseChannel(name, office.address(f"{name}@example.org"), Wording(phrases)), audience, pace)


def news(kind: str, stage: str, vehicle_id: str, **more: Any) -> dict[str, Any]:
    """A violation of any kind on the wire."""
    plain = speeding(f"{kind}-{stage}", vehicle_id)
    if kind != "speeding":
        for name in ("limit_kmh", "limit_source", "top_speed_kmh", "excess_kmh"):
            del plain[name]
        plain |= {"kind": kind, **HOURS}
    if stage == "warning":
        del plain["grade"]
    return plain | more


async def with_operators(connection: Connection, *rows: tuple[str, str, str | None]) -> None:
    """Operators with id, province and address."""
    for operator_id, province, url in rows:
        await connection.execute(
            "INSERT INTO operators (operator_id, name, province, alert_url) VALUES (%s, %s, %s, %s)",
            (operator_id, f"HTX {operator_id}", province, url),
        )


async def test_every_stage_of_every_kind_reaches_mail_in_both_languages_webhook_mqtt_and_kafka(
    connection: Connection,
    running: NotifierRunner,
    office: MailServer,
    receiver: WebhookReceiver,
    mosquitto: Mosquitto,
    kafka: Kafka,
) -> None:
    topic = kafka.topic()
    cases = [(kind, stage) for kind in VIETNAMESE.kinds for stage in ("warning", "opened", "closed")]
    expected = {f"{kind}-{stage}:{stage}" for kind, stage in cases}
    mqtt = MqttChannel(mosquitto.host, mosquitto.port, "office/every-kind")
    ways = (
        by_mail(office, "vi", VIETNAMESE), by_mail(office, "en"), Route(webhook(receiver)), Route(mqtt),
        Route(KafkaChannel(kafka.bootstrap, topic)),
    )  # fmt: skip
    async with aiomqtt.Client(mosquitto.host, mosquitto.port) as listener:
        await listener.subscribe("office/every-kind/+", qos=1)
        async with running(*ways):
            for kind, stage in cases:
                body = news(kind, stage, f"29B-{kind}")
                await add_alert(connection, f"{kind}-{stage}", stage, vehicle_id=f"29B-{kind}", body=body)
            await until(connection, {"sent": 5 * len(cases)}, within_s=60)
        by_mqtt = [json.loads(bytes((await anext(listener.messages)).payload)) for _ in cases]
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        by_kafka = [json.loads((await asyncio.wait_for(consumer.getone(), 20)).value) for _ in cases]
    finally:
        await consumer.stop()
    assert {alert["alert_id"] for alert in by_mqtt} == expected
    assert {alert["alert_id"] for alert in by_kafka} == expected
    assert {request.alert_id for request in receiver.accepted} == expected
    for name, phrases in (("vi", VIETNAMESE), ("en", ENGLISH)):
        told = [(title, text) for to, title, text in office.told if to == f"{name}@example.org"]
        assert len(told) == len(cases)
        for kind, stage in cases:
            headline = phrases.stages[stage].format(kind=phrases.kinds[kind])
            _, text = next(each for each in told if each[0].startswith(f"29B-{kind} | {headline} | "))
            assert f"{phrases.labels['driver']}: D7" in text
            assert f"{phrases.labels['place']}: 21.0" in text


async def test_each_channel_gets_only_what_it_asks_for(
    connection: Connection, running: NotifierRunner, office: MailServer
) -> None:
    await with_operators(connection, ("A", "Hà Nội", None), ("B", "Đà Nẵng", None))
    noon = datetime.now(VIETNAM).replace(hour=12, minute=0, second=0, microsecond=0)
    ways = [
        by_mail(office, name, audience=audience)
        for name, audience in {
            "all": Audience(),
            "warnings": Audience(stages={"warning"}),
            "sure": Audience(grades={"confirmed"}),
            "fast": Audience(bands={"20-35", "over 35"}, kinds={"speeding"}),
            "a": Audience(operators={"A"}),
            "danang": Audience(provinces={"Đà Nẵng"}),
            "night": Audience(hours=Hours(time(22), time(6))),
            "day": Audience(hours=Hours(time(6), time(22))),
        }.items()
    ]
    rows = {
        "slow": news("speeding", "opened", "V1", fine_band="5-10", operator_id="A"),
        "fast": news("speeding", "opened", "V2", fine_band="over 35", operator_id="B", grade="review"),
        "near": news("daily_driving", "warning", "V3", operator_id="B"),
        "quiet": news("silence", "opened", "V4"),
    }
    async with running(*ways, freshness_s=1e6):
        for name, body in rows.items():
            stage = "warning" if name == "near" else "opened"
            await add_alert(connection, name, stage, vehicle_id=body["vehicle_id"], body=body, event_at=noon)
        await until(connection, {"sent": 16})
    found: dict[str, list[str]] = {}
    for to, title, _ in office.told:
        found.setdefault(to.partition("@")[0], []).append(title.partition(" ")[0])
    assert {name: sorted(vehicles) for name, vehicles in found.items()} == {
        "all": ["V1", "V2", "V3", "V4"],
        "warnings": ["V3"],
        "sure": ["V1", "V3", "V4"],
        "fast": ["V2"],
        "a": ["V1"],
        "danang": ["V2", "V3"],
        "day": ["V1", "V2", "V3", "V4"],
    }


async def test_a_storm_of_a_thousand_becomes_a_few_letters_and_nothing_is_lost(
    connection: Connection, running: NotifierRunner, office: MailServer
) -> None:
    ids = []
    async with running(by_mail(office, pace=Pace(VIETNAM, most_per_minute=10))):
        async with connection.transaction():
            ids += [await add_alert(connection, f"v{n}", vehicle_id=f"29B-{n % 300:05d}") for n in range(1000)]
        await until(connection, {"sent": 1000}, within_s=60)
    (told,) = office.told
    assert told[1] == "1,000 alerts, 300 vehicles"
    assert "- speeding: began: 1,000" in told[2]
    assert "- 29B-00000: 4" in told[2]
    assert "... and 980 more" in told[2]
    assert sorted(alert_id for alert_id, _ in await deliveries(connection)) == sorted(ids)


async def test_after_a_summary_the_next_one_waits_a_minute_and_calm_goes_back_to_single_letters(
    connection: Connection, running: NotifierRunner, office: MailServer
) -> None:
    way = by_mail(office, pace=Pace(VIETNAM, most_per_minute=2))
    async with running(way):
        async with connection.transaction():
            for n in range(3):
                await add_alert(connection, f"first{n}", vehicle_id=f"A{n}")
        await until(connection, {"sent": 3})
        async with connection.transaction():
            for n in range(3):
                await add_alert(connection, f"second{n}", vehicle_id=f"B{n}")
        await asyncio.sleep(1)
        await until(connection, {"sent": 3, "waiting": 3})
    async with running(way, ahead_s=70.0):
        await until(connection, {"sent": 6})
    async with running(way, ahead_s=200.0):
        await add_alert(connection, "third", vehicle_id="C")
        await until(connection, {"sent": 7})
    titles = [title for _, title, _ in office.told]
    assert titles[:2] == ["3 alerts, 3 vehicles"] * 2
    assert titles[2].startswith("C | speeding: began")


async def test_in_quiet_hours_nobody_is_told_and_afterwards_all_of_it_in_one_letter(
    connection: Connection, running: NotifierRunner, office: MailServer
) -> None:
    now = datetime.now(VIETNAM)
    quiet = Hours((now - timedelta(hours=1)).time(), (now + timedelta(hours=1)).time())
    way = by_mail(office, pace=Pace(VIETNAM, most_per_minute=10, quiet=quiet))
    async with running(way):
        for n in range(3):
            await add_alert(connection, f"v{n}", vehicle_id=f"A{n}")
        await add_alert(connection, "old", vehicle_id="B", event_at=datetime.now(UTC) - timedelta(hours=5))
        await asyncio.sleep(1)
        await until(connection, {"waiting": 3, "recorded": 1})
    assert office.mails == []
    async with running(way, ahead_s=3_700.0):
        await until(connection, {"sent": 3, "recorded": 1})
    assert [title for _, title, _ in office.told] == ["3 alerts, 3 vehicles"]


async def test_a_summary_that_fails_is_told_again_whole(
    connection: Connection, running: NotifierRunner, office: MailServer
) -> None:
    answers = iter(["451 try later"])
    office.answer = lambda: next(answers, "250 OK")
    async with running(by_mail(office, pace=Pace(VIETNAM, most_per_minute=1))) as counts:
        async with connection.transaction():
            for n in range(5):
                await add_alert(connection, f"v{n}", vehicle_id=f"A{n}")
        await until(connection, {"sent": 5})
    assert [title for _, title, _ in office.told] == ["5 alerts, 5 vehicles"]
    assert counts.of["failed", "duty"] == 5


async def test_each_operator_is_told_of_its_own_vehicles_at_its_own_address(
    connection: Connection, running: NotifierRunner, office: MailServer
) -> None:
    await with_operators(
        connection,
        ("A", "Hà Nội", office.address("a@example.org")),
        ("B", "Hà Nội", office.address("b@example.org")),
        ("C", "Hà Nội", None),
    )
    channel = AppriseChannel("operators", TO_OPERATOR, Wording(VIETNAMESE))
    way = PacedRoute(channel, Audience(to_operator=True, stages={"warning"}), Pace(VIETNAM, most_per_minute=3))
    async with running(way):
        async with connection.transaction():
            for n, operator_id in enumerate("AABBBC"):
                body = news("continuous_driving", "warning", f"V{n}", operator_id=operator_id, left_s=900.0)
                await add_alert(connection, f"v{n}", "warning", vehicle_id=f"V{n}", body=body)
        await until(connection, {"sent": 5})
    assert sorted((to, title) for to, title, _ in office.told) == [
        ("a@example.org", "2 cảnh báo, 2 xe"),
        ("b@example.org", "3 cảnh báo, 3 xe"),
    ]


async def test_an_address_that_apprise_does_not_know_is_given_up_without_telling_it(
    connection: Connection, running: NotifierRunner
) -> None:
    channel = AppriseChannel("duty", "nosuch://user:secret@host", Wording(ENGLISH))
    async with running(PacedRoute(channel, Audience(), BRISK)):
        await add_alert(connection, "v1")
        await until(connection, {"gave_up": 1})
    ((_, _, error),) = (await deliveries(connection)).values()
    assert error is not None
    assert "Apprise" in error
    assert "secret" not in error


def test_hours_over_midnight_hold_at_both_ends() -> None:
    night = Hours(time(22), time(6))
    assert [night.contains(time(hour)) for hour in (21, 22, 23, 0, 5, 6)] == [False, True, True, True, True, False]
    assert night.length == timedelta(hours=8)
    assert Hours(time(0), time(0)).length == timedelta(days=1)


def test_the_last_quiet_hours_are_those_that_hold_or_held() -> None:
    pace = Pace(ZoneInfo("Asia/Ho_Chi_Minh"), 10, Hours(time(22), time(6)))
    for hour, day in ((23, 3), (3, 2), (12, 2)):
        moment = datetime(2026, 10, 3, hour, tzinfo=VIETNAM)
        begin = datetime(2026, 10, day, 22, tzinfo=VIETNAM)
        assert pace.last_quiet(moment) == (begin, begin + timedelta(hours=8))
