"""Figures of panels are those of the raw rows and of the reports."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pytest

from dashboards.catalogue import FOLDER
from detectors.fix import to_us
from hanhtrinh.rule_packs import load_pack
from ingest.raw import RawMessage
from ingest.simulator import Fleet, message_of
from storage.connect import connect
from storage.reports.catalogue import KINDS
from storage.reports.figures import BANDS
from storage.reports.scope import Scope
from storage.reports.table import Report
from storage.sums import Sums
from tests.fleet_until_now import EXCUSED, LONG_DRIVE, QUOTED, SPEEDING_NOW, register
from tests.grafana import ALL, View, queries
from tests.grafana_reader import Reader, Result, at_work, reader_of, rig_of
from tests.running_worker import journey, message
from tests.services.postgres import DatabaseServer

__all__ = ["at_work"]

OCTOBER = Scope.of_month("2026-10")
NUMBERS = load_pack().pack.reports
assert NUMBERS is not None
TWENTY_OVER = "29B-00020"
"""Exactly 20 km/h over: the two conventions put it into different bands."""


async def _october(url: str) -> View:
    """A fleet from the last evening of September to noon of 2 October, and the whole month chosen."""
    fleet = Fleet(5, 10, OCTOBER.begins_at - timedelta(hours=6), timedelta(hours=42), 30)
    begins_us = to_us(OCTOBER.begins_at + timedelta(hours=9))
    async with rig_of(url) as rig:
        await register(rig, fleet.roster)
        sent = [(message_of(each), each.send_at_us) for each in fleet.deliveries()]
        messages = [RawMessage(each.topic, each.payload, at_us) for each, at_us in sent]
        twenty_over = journey(TWENTY_OVER, begins_us, [60.0] * 3 + [100.0] * 6 + [60.0] * 3)
        messages += [message(fix, received_us=fix.time_us) for fix in twenty_over]
        await rig.append(messages)
        await rig.work_off(120)
        await Sums(rig.connection).bring_up_to_date()
    return View(OCTOBER.begins_at, OCTOBER.ends_at - timedelta(milliseconds=1))


@pytest.fixture(scope="module")
def october(postgres: DatabaseServer) -> Iterator[Reader]:
    yield from reader_of(postgres, _october)


class Violation(NamedTuple):
    """A raw row that counts."""

    kind: str
    grade: str
    started_at: datetime
    fine_band: str | None
    report_band: str | None
    operator: str
    province: str


def raw(reader: Reader) -> list[Violation]:
    """October's violations, read as the owner, without the views."""

    async def read() -> list[Violation]:
        connection = await connect(reader.owner_url)
        try:
            rows = await connection.execute(
                "SELECT x.kind, grade, started_at, fine_band, report_band, coalesce(o.name, 'unknown'),"
                " coalesce(province, 'unknown') FROM violations x LEFT JOIN vehicles USING (vehicle_id)"
                " LEFT JOIN operators o ON o.operator_id = vehicles.operator_id"
                " WHERE status <> 'withdrawn' AND excused_at IS NULL AND started_at >= %s AND started_at < %s",
                (OCTOBER.begins_at, OCTOBER.ends_at),
            )
            return [Violation(*row) for row in await rows.fetchall()]
        finally:
            await connection.close()

    return asyncio.run(read())


def report(reader: Reader, name: str) -> Report:
    async def make() -> Report:
        assert NUMBERS is not None
        connection = await connect(reader.owner_url)
        try:
            return await KINDS[name].make(connection, OCTOBER, NUMBERS)
        finally:
            await connection.close()

    return asyncio.run(make())


def shown(reader: Reader, dashboard: str, title: str, **chosen: Sequence[str]) -> Result:
    """What the panel of this English title asks for."""
    [query] = [
        each
        for each in queries(FOLDER)
        if (each.language, each.dashboard, each.panel["title"]) == ("en", dashboard, title)
    ]
    return reader.run(query, **chosen)


def number(reader: Reader, dashboard: str, title: str, **chosen: Sequence[str]) -> Any:
    [[value]] = shown(reader, dashboard, title, **chosen).rows
    return value


def test_the_control_room_tells_what_happens_now(at_work: Reader) -> None:
    states = dict(at_work.ask("SELECT state, count(*) FROM panels.positions GROUP BY 1").rows)
    assert states["silent"] >= 1
    assert states["driving"] > 1
    assert states["over_limit"] >= 1
    assert number(at_work, "control-room", "Vehicles on the road") == states["driving"] + states["over_limit"]
    assert number(at_work, "control-room", "Vehicles over the limit") == states["over_limit"]
    assert number(at_work, "control-room", "Vehicles that stand") == states["stopped"]
    assert number(at_work, "control-room", "Silent vehicles") == states["silent"]
    positions = shown(at_work, "control-room", "Last positions")
    assert len(positions.rows) == sum(states.values())
    assert dict(zip(positions.of("vehicle_id"), positions.of("state"), strict=True))[SPEEDING_NOW] == "over_limit"
    going_on = shown(at_work, "control-room", "List of violations going on")
    assert number(at_work, "control-room", "Violations going on") == len(going_on.rows) >= 2
    assert (SPEEDING_NOW, "speeding") in zip(going_on.of("vehicle_id"), going_on.of("kind"), strict=True)
    near = shown(at_work, "control-room", "Drivers near a limit")
    left_s = dict(zip(near.of("vehicle_id"), near.of("left_s"), strict=True))
    assert left_s[LONG_DRIVE] == pytest.approx(4 * 3600 - 1259 * 10, abs=1)
    assert left_s.keys() <= set(positions.of("vehicle_id"))
    silent = shown(at_work, "control-room", "List of silent vehicles")
    assert set(silent.of("vehicle_id")) == {
        vehicle
        for vehicle, kind in zip(going_on.of("vehicle_id"), going_on.of("kind"), strict=True)
        if kind == "silence"
    }
    assert min(silent.of("silent_s")) > 2_400
    alerts = shown(at_work, "control-room", "List of alerts of the last hour")
    assert number(at_work, "control-room", "Alerts of the last hour") == len(alerts.rows) > 0


def test_a_quote_in_a_name_is_just_a_letter(at_work: Reader) -> None:
    theirs = shown(at_work, "violations", "List of violations", operator=[QUOTED])
    assert set(theirs.of("vehicle_id")) == {SPEEDING_NOW}, "and the excused one does not count"
    assert EXCUSED not in shown(at_work, "violations", "List of violations").of("vehicle_id")
    both = shown(at_work, "violations", "List of violations", operator=[QUOTED, "nobody"])
    assert both.rows == theirs.rows
    assert len(shown(at_work, "violations", "List of violations", operator=[ALL]).rows) > len(theirs.rows)


def test_the_numbers_of_a_month_are_those_of_its_report(october: Reader) -> None:
    totals = report(october, "PL05").totals
    bands = shown(october, "violations", "Speeding by band")
    counted = dict(zip(bands.of("band"), bands.of("report"), strict=True))
    assert counted == {band: totals[band] for band in BANDS}
    assert sum(counted.values()) == totals["total"]
    assert float(number(october, "violations", "Kilometres driven")) == pytest.approx(totals["km"], abs=1e-9)
    assert float(number(october, "violations", "Speeding per 1,000 km")) == pytest.approx(totals["rate"])


def test_the_worst_vehicles_are_those_of_the_report_and_the_red_ones_are_on_its_list_of_badges(october: Reader) -> None:
    lines = {str(line["vehicle_id"]): line for line in report(october, "PL05").frame.to_dict("records")}
    worst = shown(october, "violations", "Worst vehicles: speeding per 1,000 km")
    rates = dict(zip(worst.of("vehicle_id"), map(float, worst.of("rate")), strict=True))
    assert rates == pytest.approx({vehicle: line["rate"] for vehicle, line in lines.items() if line["rate"] > 0})
    assert list(rates.values()) == sorted(rates.values(), reverse=True)
    for vehicle, violations, km in zip(*map(worst.of, ("vehicle_id", "violations", "km")), strict=True):
        assert violations == lines[vehicle]["total"]
        assert float(km) == pytest.approx(lines[vehicle]["km"])
    [badge_from] = {
        each["value"]["steps"][1]["value"]
        for query in queries(FOLDER)
        if query.panel["title"].startswith("Worst vehicles")
        for override in query.panel["fieldConfig"]["overrides"]
        for each in override["properties"]
        if each["id"] == "thresholds"
    }
    badges = report(october, "badge").frame["vehicle_id"].tolist()
    assert sorted(vehicle for vehicle, rate in rates.items() if rate >= badge_from) == sorted(badges)
    assert badges, "nothing was compared"


def test_each_way_of_counting_gives_what_the_raw_rows_give(october: Reader) -> None:
    rows = raw(october)
    assert len(rows) > 10
    assert {row.grade for row in rows} == {"confirmed", "review"}
    assert number(october, "violations", "Violations") == len(rows)
    assert number(october, "violations", "Of these, to be reviewed") == sum(row.grade == "review" for row in rows)
    for title, column, of in (
        ("Violations by kind", "kind", lambda row: row.kind),
        ("Violations by operator", "operator", lambda row: row.operator),
        ("Violations by province", "province", lambda row: row.province),
        ("Violations by time of day", "hour", lambda row: f"{row.started_at.astimezone(OCTOBER.begins_at.tzinfo):%H}"),
    ):
        panel = shown(october, "violations", title)
        for grade in ("confirmed", "review"):
            counted = Counter(dict(zip(panel.of(column), panel.of(grade), strict=True)))
            assert +counted == Counter(of(row) for row in rows if row.grade == grade), (title, grade)
    days = shown(october, "violations", "Violations by day and kind")
    assert sum(days.of("violations")) == len(rows)
    assert {moment.astimezone(OCTOBER.begins_at.tzinfo).hour for moment in days.of("time")} == {0}


def test_both_conventions_of_bands_are_shown_where_they_differ(october: Reader) -> None:
    rows = [row for row in raw(october) if row.kind == "speeding"]
    bands = shown(october, "violations", "Speeding by band")
    for name in ("fine", "report"):
        counted = Counter(dict(zip(bands.of("band"), map(int, bands.of(name)), strict=True)))
        assert +counted == Counter(getattr(row, f"{name}_band") for row in rows)
    assert bands.of("fine") != bands.of("report"), f"{TWENTY_OVER} is of 10-20 for the fine, of 20-35 in the report"
