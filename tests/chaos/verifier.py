"""The verifier: compares what a round left with the undisturbed run. It knows nothing of the faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields

from alerts.signature import SIGNATURE_HEADER, TIMESTAMP_HEADER, SignatureError, verify
from hanhtrinh.rule_packs import load_pack
from storage.connect import Connection
from tests.offline import offline_differences
from tests.table_state import TableState, broken_invariants, table_state
from tests.webhook_receiver import Request

ALL_DELIVERED = (
    "NOT EXISTS (SELECT FROM alerts a LEFT JOIN deliveries d USING (alert_id)"
    " WHERE d.status IS DISTINCT FROM CASE WHEN a.push THEN 'sent' ELSE 'recorded' END)"
)
_INVARIANTS = (
    (
        "positions with a gap: other messages counted than lie below them",
        "SELECT partition, messages, next_offset FROM log_positions WHERE messages <> next_offset",
    ),
    (
        "fixes stored twice for one vehicle and time",
        "SELECT vehicle_id, time FROM fixes GROUP BY vehicle_id, time HAVING count(*) > 1",
    ),
    (
        "two alerts for one violation and stage",
        "SELECT violation_id, stage FROM alerts WHERE violation_id IS NOT NULL"
        " GROUP BY violation_id, stage HAVING count(*) > 1",
    ),
    (
        "violations whose revisions are not counted from 1 without a gap",
        "SELECT violation_id, count(*), max(revision) FROM violation_revisions GROUP BY violation_id"
        " HAVING count(*) <> max(revision) OR min(revision) <> 1",
    ),
    (
        "alerts whose delivery has not ended as it should",
        "SELECT a.alert_id, d.status FROM alerts a LEFT JOIN deliveries d USING (alert_id)"
        " WHERE d.status IS DISTINCT FROM CASE WHEN a.push THEN 'sent' ELSE 'recorded' END",
    ),
)


@dataclass(frozen=True)
class Verdict:
    """`lost`: rows and alerts of the undisturbed run that are not there; `doubled`: those there are beyond it."""

    lost: int
    doubled: int
    sent_again: int
    """Alerts that came more than once, under the same id and with the same body: allowed."""
    broken: list[str]

    @property
    def holds(self) -> bool:
        return not (self.lost or self.doubled or self.broken)


async def verdict(
    connection: Connection, expected: TableState, requests: Sequence[Request], secret: bytes, logged: int | None = None
) -> Verdict:
    """Judge a database that is worked off, and what the webhook's receiver got. `logged`: messages in the log."""
    found = await table_state(connection)
    lost = doubled = 0
    for table in (each.name for each in fields(TableState)):
        if table != "alerts":  # told once, by whichever fix came first: its invariants are below
            mine, its = (Counter(map(repr, getattr(state, table))) for state in (expected, found))
            lost += (mine - its).total()
            doubled += (its - mine).total()
    broken = expected.differences(found, alerts=False).splitlines()
    broken += await broken_invariants(connection)
    for text, query in _INVARIANTS:
        rows = await (await connection.execute(query)).fetchall()
        broken += [f"{text}: {len(rows)} rows, such as {rows[0]}"] if rows else []
    broken += (await offline_differences(connection, load_pack())).splitlines()
    ((counted,),) = await (
        await connection.execute("SELECT coalesce(sum(next_offset), 0)::int8 FROM log_positions")
    ).fetchall()
    if logged is not None and counted != logged:
        broken.append(f"messages worked off: {counted}, in the log: {logged}")
    cursor = await connection.execute("SELECT alert_id FROM alerts WHERE push")
    pushed = {alert_id for (alert_id,) in await cursor.fetchall()}
    came = Counter(request.alert_id for request in requests)
    bodies = {(request.alert_id, request.body) for request in requests}
    lost += len(pushed - came.keys())
    doubled += len(came.keys() - pushed) + len(bodies) - len(came)
    broken += [f"alert never received: {alert_id}" for alert_id in sorted(pushed - came.keys())]
    broken += [f"alert received, not in the table: {alert_id}" for alert_id in sorted(came.keys() - pushed)]
    broken += ["an alert came with two bodies"] if len(bodies) > len(came) else []
    broken += [f"signature: {problem}" for request in requests if (problem := _wrong_signature(request, secret))]
    return Verdict(lost, doubled, sum(times - 1 for times in came.values()), broken)


def _wrong_signature(request: Request, secret: bytes) -> str | None:
    try:
        verify(
            secret, request.headers[TIMESTAMP_HEADER], request.headers[SIGNATURE_HEADER], request.body, tolerance_s=1e12
        )
    except SignatureError as error:
        return str(error)
    return None
