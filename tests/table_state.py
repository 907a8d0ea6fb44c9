"""What a database stands at when everything is worked off, as content that two runs can be compared by.

Left out is what says how it came about: receipt and creation times, positions in the log, revisions, withdrawn
violations (DESIGN.md, law 1).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from detectors.violation import rfc3339
from storage.connect import Connection
from storage.fixes import FixStore, StoredFix

Row = tuple[Any, ...]

_FIXES = (
    "SELECT vehicle_id, time, driver_id, lat, lon, speed_kmh, heading_deg, ignition, door_open, odometer_km,"
    " satellites, hdop, valid, flags, settled, leg_mm, leg_driving_us FROM fixes"
)
_ACTIVITY = "SELECT vehicle_id, time, driver_id, activity FROM activity_changes"
_LETTERS = "SELECT dead_letter_id, topic, reason, detail, payload FROM dead_letters"
_ALERTS = (
    "SELECT a.alert_id, a.stage, a.event_at FROM alerts a JOIN violations v USING (violation_id)"
    " WHERE v.status <> 'withdrawn'"
)
_VIOLATIONS = "SELECT to_jsonb(v) FROM violations v WHERE status <> 'withdrawn'"
_HISTORY = ("operator_id", "updated_at", "supersedes", "withdrawn_at")


@dataclass(frozen=True)
class TableState:
    """The standing rows, each table sorted."""

    fixes: list[Row]
    violations: list[dict[str, Any]]
    activity: list[Row]
    letters: list[Row]
    alerts: list[Row]
    """With the time of the fix that proved each stage: told once, so it may differ where fixes came otherwise."""

    def differences(self, other: TableState, *, alerts: bool = True) -> str:
        """Empty when both stand the same; otherwise a few rows of each table that only one of them has."""
        found = []
        for each in fields(self):
            if each.name == "alerts" and not alerts:
                continue
            mine, its = (Counter(map(repr, getattr(state, each.name))) for state in (self, other))
            for sign, rows in (("-", mine - its), ("+", its - mine)):
                found += [f"{each.name} {sign} {row}" for row in sorted(rows)[:5]]
                found += [f"{each.name} {sign} ... {len(rows) - 5} more"] if len(rows) > 5 else []
        return "\n".join(found)


async def table_state(connection: Connection) -> TableState:
    """The state of the database behind this connection."""
    cursor = await connection.execute(_VIOLATIONS)
    violations = [
        {name: value for name, value in row[0].items() if name not in _HISTORY} for row in await cursor.fetchall()
    ]
    return TableState(
        fixes=await _sorted(connection, _FIXES),
        violations=sorted(violations, key=lambda row: str(row["violation_id"])),
        activity=await _sorted(connection, _ACTIVITY),
        letters=await _sorted(connection, _LETTERS),
        alerts=await _sorted(connection, _ALERTS),
    )


async def standing_on_the_wire(connection: Connection) -> dict[str, dict[str, Any]]:
    """The standing violations as `check --json` prints them, by id; without operator and what they supersede."""
    cursor = await connection.execute(
        "SELECT to_jsonb(v), (extract(epoch FROM started_at) * 1000000)::int8,"
        f" (extract(epoch FROM ended_at) * 1000000)::int8 FROM ({_VIOLATIONS.replace('to_jsonb(v)', '*')}) v"
    )
    wires = {}
    for row, started_us, ended_us in await cursor.fetchall():
        places = {
            end: {"lat": row[f"{end}_lat"], "lon": row[f"{end}_lon"]}
            for end in ("start", "end")
            if row[f"{end}_lat"] is not None
        }
        wire = {
            "rule": {"pack": row["rule_pack"], "id": row["rule_id"], "version": row["rule_version"]},
            "started_at": rfc3339(started_us),
            "ended_at": rfc3339(ended_us),
            **places,
            **{name: row[name] for name in _SAME_ON_THE_WIRE if row[name] is not None},
        }
        wires[row["violation_id"]] = wire
    return wires


_SAME_ON_THE_WIRE = (
    "violation_id", "kind", "grade", "status", "vehicle_id", "driver_id", "duration_s", "fixes", "limit_kmh",
    "limit_source", "top_speed_kmh", "mean_speed_kmh", "excess_kmh", "fine_band", "report_band", "distance_m",
    "limit_s", "actual_s", "judged_by", "evidence",
)  # fmt: skip


async def stored_fixes(connection: Connection) -> list[tuple[StoredFix, int]]:
    """Every stored fix with its receipt (microseconds), by vehicle and time."""
    cursor = await connection.execute(
        "SELECT vehicle_id, (extract(epoch FROM time) * 1000000)::int8,"
        " (extract(epoch FROM received_at) * 1000000)::int8 FROM fixes"
    )
    received = {(vehicle_id, time_us): received_us for vehicle_id, time_us, received_us in await cursor.fetchall()}
    vehicles = sorted({vehicle_id for vehicle_id, _ in received})
    store = FixStore(connection, 0)
    stored = [each for vehicle in vehicles for each in (await store.stretch(vehicle, None, 0, len(received)))[0]]
    return [(each, received[each.fix.vehicle_id, each.fix.time_us]) for each in stored]


async def broken_invariants(connection: Connection) -> list[str]:
    """What must hold in every database that is worked off, and does not: one line each."""
    broken = []
    for text, query in _INVARIANTS:
        rows = await (await connection.execute(query)).fetchall()
        if rows:
            broken.append(f"{text}: {len(rows)} rows, such as {rows[0]}")
    return broken


async def _sorted(connection: Connection, query: str) -> list[Row]:
    cursor = await connection.execute(query)
    return sorted(await cursor.fetchall(), key=_sort_key)


def _sort_key(row: Sequence[Any]) -> tuple[tuple[bool, str], ...]:
    return tuple((value is None, str(value)) for value in row)


_INVARIANTS = (
    (
        "the positions count other fixes than are stored",
        "SELECT counted, stored FROM (SELECT (SELECT coalesce(sum(fixes), 0) FROM log_positions) AS counted,"
        " (SELECT count(*) FROM fixes) AS stored) s WHERE counted <> stored",
    ),
    (
        "fewer letters counted than stored, or letters counted and none stored",
        "SELECT counted, stored FROM (SELECT (SELECT coalesce(sum(letters), 0) FROM log_positions) AS counted,"
        " (SELECT count(*) FROM dead_letters) AS stored) s WHERE counted < stored OR (counted > 0 AND stored = 0)",
    ),
    (
        "messages that are no fix, no doubled fix, no letter and not ignored",
        "SELECT * FROM log_positions WHERE messages > ignored + fixes + doubled + letters",
    ),
    ("vehicles still to be judged again", "SELECT vehicle_id FROM rejudge_marks"),
    ("lines still to be judged again", "SELECT line_id FROM line_notices"),
    (
        "standing violations without an alert of their stage",
        "SELECT v.violation_id, s.stage FROM violations v CROSS JOIN (VALUES ('opened'), ('closed')) s(stage)"
        " WHERE (v.status = 'closed' OR (v.status = 'open' AND s.stage = 'opened')) AND NOT EXISTS"
        " (SELECT FROM alerts a WHERE a.violation_id = v.violation_id AND a.stage = s.stage)",
    ),
    (
        "alerts under another id than that of their violation and stage",
        "SELECT alert_id FROM alerts WHERE alert_id <> violation_id || ':' || stage",
    ),
    (
        "violations whose last revision is not their state",
        "SELECT v.violation_id, v.status, r.change FROM violations v LEFT JOIN LATERAL (SELECT change"
        " FROM violation_revisions r WHERE r.violation_id = v.violation_id ORDER BY revision DESC LIMIT 1) r ON true"
        " WHERE r.change IS NULL OR (v.status = 'withdrawn') <> (r.change = 'withdrawn')",
    ),
    (
        "neighbouring activity changes that are alike",
        "SELECT * FROM (SELECT vehicle_id, time, (driver_id, activity) IS NOT DISTINCT FROM"
        " lag((driver_id, activity)) OVER (PARTITION BY vehicle_id ORDER BY time) AS alike,"
        " row_number() OVER (PARTITION BY vehicle_id ORDER BY time) AS n FROM activity_changes) c"
        " WHERE alike AND n > 1",
    ),
    (
        "anchors on a fix that is not settled, or after the first fix",
        "SELECT a.vehicle_id, a.settled_at, a.first_at FROM vehicle_anchors a WHERE (a.settled_at IS NOT NULL AND NOT"
        " EXISTS (SELECT FROM fixes f WHERE f.vehicle_id = a.vehicle_id AND f.time = a.settled_at AND f.settled))"
        " OR EXISTS (SELECT FROM fixes f WHERE f.vehicle_id = a.vehicle_id AND f.time < a.first_at)",
    ),
    (
        "vehicles with fixes and without an anchor",
        "SELECT DISTINCT vehicle_id FROM fixes WHERE vehicle_id NOT IN (SELECT vehicle_id FROM vehicle_anchors)",
    ),
    (
        "speeding violations whose fixes do not prove them",
        "SELECT v.violation_id, v.fixes, p.n, v.top_speed_kmh, p.top FROM violations v CROSS JOIN LATERAL (SELECT"
        " count(*) FILTER (WHERE f.speed_kmh - v.limit_kmh >= 4.9995) AS n, max(f.speed_kmh) AS top FROM fixes f"
        " WHERE f.vehicle_id = v.vehicle_id AND f.flags = 0 AND f.time BETWEEN v.started_at AND v.ended_at) p"
        " WHERE v.kind = 'speeding' AND v.status <> 'withdrawn'"
        " AND (v.fixes <> p.n OR abs(v.top_speed_kmh - p.top) > 0.001)",
    ),
)
