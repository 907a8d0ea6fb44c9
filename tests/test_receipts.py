"""Deliveries noted together, on the real database."""

from __future__ import annotations

import asyncio

from alerts.patience import Patience
from alerts.receipts import Receipts
from storage.connect import Connection, connect, is_transient
from storage.outbox import Outbox
from tests.outbox_rows import add_alert, deliveries, everyone
from tests.running_notifier import Counts


async def test_deliveries_that_arrive_while_one_is_noted_are_noted_by_one_commit(
    connection: Connection, postgres_url: str
) -> None:
    first, *others = [await add_alert(connection, f"v{n:02}", vehicle_id=f"vehicle {n}") for n in range(30)]
    outbox, counts = Outbox(lambda: connect(postgres_url)), Counts()
    await outbox.fan_out({"webhook": everyone()})
    assert len(await outbox.claim("webhook", 100, 30.0)) == 30
    receipts = Receipts("webhook", outbox, counts, Patience(is_transient, asyncio.Event()))

    async with connection.transaction():
        await connection.execute("SELECT FROM deliveries WHERE alert_id = %s FOR UPDATE", [first])
        notes = [asyncio.create_task(receipts.note([alert_id])) for alert_id in (first, *others)]
        done, _ = await asyncio.wait(notes, timeout=0.3)
        assert not done, "a delivery counts as noted only once the outbox has it"
    await asyncio.gather(*notes)
    await outbox.close()

    assert {row[0] for row in (await deliveries(connection)).values()} == {"sent"}
    (commits,) = await (await connection.execute("SELECT count(DISTINCT xmin::text) FROM deliveries")).fetchone() or ()
    assert commits == 2
    assert counts.of["sent", "webhook"] == 30
    assert len(counts.seconds) == 30


async def test_a_lone_delivery_is_noted_at_once(connection: Connection, postgres_url: str) -> None:
    outbox, counts = Outbox(lambda: connect(postgres_url)), Counts()
    receipts = Receipts("webhook", outbox, counts, Patience(is_transient, asyncio.Event()))
    for number in (1, 2):
        alert_id = await add_alert(connection, f"v{number}")
        await outbox.fan_out({"webhook": everyone()})
        await outbox.claim("webhook", 100, 30.0)
        await receipts.note([alert_id])
        assert counts.of["sent", "webhook"] == number
    await outbox.close()
