"""What a report is asked about: its month, and whom."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from storage.reports.asked import checked
from storage.reports.notes import notes
from storage.reports.scope import ReportError, Scope
from tests.report_month import NUMBERS, OCTOBER, ZONE, month, report
from tests.running_worker import RigMaker, WorkerRig, make_rig

__all__ = ["make_rig", "month"]

REGISTRY = (
    "operator_id,name,tax_code,province\nOP-HN,Sông Hồng,,Hà Nội\nOP-DN,Đà Giang,,Đà Nẵng\nOP-AG,An Phú,,An Giang\n"
)
VEHICLES = "vehicle_id,operator_id,kind\n29B-00001,OP-HN,taxi\n43B-00001,OP-DN,taxi\n67B-00001,OP-AG,taxi\n"


@pytest.fixture
async def office(make_rig: RigMaker) -> WorkerRig:
    """Three operators of three provinces with a vehicle each, and nothing driven."""
    rig = await make_rig()
    await rig.imports(REGISTRY)
    await rig.imports(VEHICLES)
    return rig


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"operator_id": "nobody"}, "--operator 'nobody' is not in the registry"),
        ({"province": "Da Nang"}, "--province 'Da Nang' is not in the registry: there are An Giang, Đà Nẵng, Hà Nội"),
        ({"vehicle_id": "NOPE"}, "--vehicle 'NOPE' is not in the registry, and no fix of it is stored"),
        ({"operator_id": "OP-HN", "province": "Đà Nẵng"}, "'OP-HN' is of Hà Nội, not of --province 'Đà Nẵng'"),
        ({"vehicle_id": "29B-00001", "province": "Đà Nẵng"}, "'29B-00001' is of Hà Nội, not of --province 'Đà Nẵng'"),
        ({"vehicle_id": "29B-00001", "operator_id": "OP-DN"}, "'29B-00001' is of OP-HN, not of --operator 'OP-DN'"),
    ],
)
async def test_what_nobody_knows_or_contradicts_itself_is_no_empty_report(
    office: WorkerRig, options: dict[str, object], said: str
) -> None:
    with pytest.raises(ReportError) as refused:
        await checked(office.connection, Scope.of_month("2026-10", **options))
    assert said in str(refused.value)


async def test_what_is_known_is_asked_about(office: WorkerRig) -> None:
    known: list[dict[str, object]] = [
        {},
        {"operator_id": "OP-HN"},
        {"province": "Hà Nội"},
        {"vehicle_id": "29B-00001"},
        {"operator_id": "OP-HN", "province": "Hà Nội", "vehicle_id": "29B-00001"},
    ]
    for options in known:
        scope = Scope.of_month("2026-10", **options)
        name = "Sông Hồng" if scope.operator_id else None
        assert (await checked(office.connection, scope)).operator_name == name


async def test_a_vehicle_in_no_registry_that_sent_can_be_asked_about(month: WorkerRig) -> None:
    ((stranger,),) = await month.rows(
        "SELECT vehicle_id FROM fixes WHERE vehicle_id NOT IN (SELECT vehicle_id FROM vehicles) LIMIT 1"
    )
    await checked(month.connection, Scope.of_month("2026-10", vehicle_id=stranger))


async def test_a_scope_shows_its_vehicles_and_no_other(month: WorkerRig) -> None:
    ((ours, province), (neighbour, _)) = await month.rows(
        "SELECT operator_id, province FROM operators WHERE operator_id IN (SELECT operator_id FROM vehicles)"
        " ORDER BY 1 LIMIT 2"
    )
    await month.rows("UPDATE operators SET province = %s WHERE operator_id = %s RETURNING 1", province, neighbour)
    by_operator: dict[str, set[str]] = {ours: set(), neighbour: set()}
    for vehicle_id, operator_id in await month.rows("SELECT vehicle_id, operator_id FROM vehicles"):
        by_operator.setdefault(operator_id, set()).add(vehicle_id)
    everything = set((await report(month, "PL05")).frame["vehicle_id"])
    one = min(by_operator[ours])
    scopes: list[tuple[dict[str, object], set[str]]] = [
        ({"operator_id": ours}, by_operator[ours]),
        ({"operator_id": neighbour}, by_operator[neighbour]),
        ({"province": province}, by_operator[ours] | by_operator[neighbour]),
        ({"province": province, "operator_id": neighbour}, by_operator[neighbour]),
        ({"vehicle_id": one}, {one}),
    ]
    for options, vehicles in scopes:
        made = await report(month, "PL05", Scope.of_month("2026-10", **options))
        assert sorted(made.frame["vehicle_id"]) == sorted(vehicles), options
        assert set() < vehicles < everything


async def test_names_in_letters_and_marks_apart_are_those_of_the_registry(make_rig: RigMaker) -> None:
    """So some systems write them in files and on the command line; they look the same."""
    rig = await make_rig()
    await rig.imports(unicodedata.normalize("NFD", REGISTRY))
    assert sorted(await rig.rows("SELECT province FROM operators")) == [("An Giang",), ("Hà Nội",), ("Đà Nẵng",)]
    await checked(rig.connection, Scope.of_month("2026-10", province="Đà Nẵng"))


async def test_operators_and_provinces_stand_in_vietnamese_order_and_the_unknown_last(office: WorkerRig) -> None:
    await office.imports("vehicle_id,operator_id,kind\n11B-00001,,taxi\n")
    by_operator = (await report(office, "PL05")).frame
    assert by_operator["operator"].fillna("").tolist() == ["An Phú", "Đà Giang", "Sông Hồng", ""]
    by_province = (await report(office, "national")).frame
    assert by_province["province"].tolist() == ["An Giang", "Đà Nẵng", "Hà Nội", "Chưa xác định"]


@pytest.mark.parametrize(
    "text", ["2026-13", "2026-00", "26-10", "2026-10-01", "0000-01", "9999-12", "\uff12\uff10\uff12\uff16-10", ""]
)
def test_what_is_no_month_is_said(text: str) -> None:
    with pytest.raises(ReportError, match="expected a year and a month, for example 2026-10"):
        Scope.of_month(text)


def test_a_month_that_has_not_begun_has_no_report_and_one_that_runs_says_so() -> None:
    midnight = datetime(2026, 11, 1, tzinfo=ZONE)
    with pytest.raises(ReportError, match="'2026-11' has not begun yet"):
        Scope.of_month("2026-11", as_of=midnight - timedelta(seconds=1))
    running = notes(Scope.of_month("2026-11", as_of=midnight), NUMBERS)
    assert running[-1] == "Số liệu lúc 00:00 ngày 01/11/2026, khi tháng chưa kết thúc."
    ended = notes(Scope.of_month("2026-10", as_of=midnight), NUMBERS)
    assert ended[-1] == "Số liệu lúc 00:00 ngày 01/11/2026."
    assert not any("Số liệu lúc" in note for note in notes(OCTOBER, NUMBERS))


async def test_everything_in_a_line_of_the_national_summary_follows_from_the_line(month: WorkerRig) -> None:
    made = await report(month, "national")
    lines: list[Mapping[Any, Any]] = [*made.frame.to_dict("records"), made.totals]
    for line in lines:
        heard = line["sending"] + line["unregistered"]
        assert heard
        assert line["violating_percent"] == pytest.approx(line["violating"] / heard * 100)
    assert lines[-1]["unregistered"] > 0
    assert lines[-1]["unregistered"] == await month.one(
        "SELECT count(DISTINCT vehicle_id) FROM fixes WHERE vehicle_id NOT IN (SELECT vehicle_id FROM vehicles)"
        " AND time >= '2026-10-01T00:00+07'"
    )
