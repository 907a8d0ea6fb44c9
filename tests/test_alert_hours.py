"""The `hours` of a channel: the outbox's SQL, and the same to the second as `Hours` says."""

from __future__ import annotations

from datetime import date, datetime, time

from alerts.hours import Hours
from alerts.message import VIETNAM
from alerts.route import Audience
from storage.connect import connect
from storage.outbox import Outbox
from tests.outbox_rows import add_alert, deliveries

TIMES = ("00:00:00", "05:59:59", "06:00:00", "21:59:59", "22:00:00", "23:30:00")
SPANS = {
    "night": Hours(time(22), time(6)),
    "day": Hours(time(6), time(22)),
    "from midnight": Hours(time(0), time(6)),
    "until midnight": Hours(time(22), time(0)),
    "always": Hours(time(22), time(22)),
}


async def test_a_channel_is_given_exactly_what_happened_in_its_hours_over_midnight_too(postgres_url: str) -> None:
    connection = await connect(postgres_url)
    outbox = Outbox(lambda: connect(postgres_url), zone="Asia/Ho_Chi_Minh")
    for each in TIMES:
        event_at = datetime.combine(date(2026, 10, 3), time.fromisoformat(each), VIETNAM)
        await add_alert(connection, each.replace(":", "."), event_at=event_at)
    await outbox.fan_out({name: Audience(hours=hours).as_filter() for name, hours in SPANS.items()})
    given = {(alert_id.partition(":")[0].replace(".", ":"), name) for alert_id, name in await deliveries(connection)}
    await outbox.close()
    await connection.close()
    by_channel = {name: {each for each, channel in given if channel == name} for name in SPANS}
    assert by_channel["night"] == {"00:00:00", "05:59:59", "22:00:00", "23:30:00"}
    assert by_channel["day"] == {"06:00:00", "21:59:59"}
    for name, hours in SPANS.items():
        assert by_channel[name] == {each for each in TIMES if hours.contains(time.fromisoformat(each))}, name
