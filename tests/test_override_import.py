"""overrides.csv: good rows are stored with who imported them, bad ones reported; two never hold the same day."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest

from detectors.overrides import Override
from hanhtrinh.rule_packs import load_pack
from storage.connect import Connection, connect
from storage.csv_rows import BadRow, ImportReport, RegistryError
from storage.overrides import import_overrides, parse_overrides
from storage.vehicles import VehicleStore

PACK = load_pack().pack
HEADER = "scope,id,number,value,valid_from,valid_to,basis\n"


@pytest.fixture
async def connection(postgres_url: str) -> AsyncIterator[Connection]:
    connection = await connect(postgres_url)
    await connection.execute("INSERT INTO operators (operator_id, name) VALUES ('OP', 'Thang Long')")
    await connection.execute(
        "INSERT INTO vehicles (vehicle_id, operator_id, kind, limit_kmh)"
        " VALUES ('V1', 'OP', 'taxi', NULL), ('V2', 'OP', NULL, 70), ('V3', NULL, NULL, NULL)"
    )
    yield connection
    await connection.close()


def written(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "overrides.csv"
    path.write_text(header + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


async def imported(connection: Connection, folder: Path, *rows: str, by: str = "An") -> ImportReport:
    return await import_overrides(connection, written(folder, *rows), PACK, by)


async def stored(connection: Connection) -> list[tuple[Any, ...]]:
    cursor = await connection.execute(
        "SELECT scope_id, number, value, valid_from::text, valid_to::text, imported_by FROM rule_overrides"
        " ORDER BY scope_id, number, valid_from"
    )
    return await cursor.fetchall()


async def test_good_rows_are_stored_with_who_imported_them(connection: Connection, tmp_path: Path) -> None:
    report = await imported(
        connection, tmp_path,
        "operator,OP,speeding.min_duration_s,30,2026-12-01,,letter 12/2026",
        'vehicle,V1,limit_kmh,62.5,2026-12-01,2027-01-01,"tyres, report 4"',
        "kind,taxi,silence.silent_after_s,900,2026-12-01,,practice",
    )  # fmt: skip
    assert report == ImportReport("overrides", 3, [])
    assert await stored(connection) == [
        ("OP", "speeding.min_duration_s", 30.0, "2026-12-01", None, "An"),
        ("V1", "limit_kmh", 62.5, "2026-12-01", "2027-01-01", "An"),
        ("taxi", "silence.silent_after_s", 900.0, "2026-12-01", None, "An"),
    ]


@pytest.mark.parametrize(
    ("row", "column", "why"),
    [
        ("fleet,OP,limit_kmh,60,2026-12-01,,x", "scope", "'fleet' is none of kind, operator, vehicle"),
        ("operator,,limit_kmh,60,2026-12-01,,x", "id", "is empty"),
        ("operator,GHOST,limit_kmh,60,2026-12-01,,x", "id", "'GHOST' is not in the registry: import operators.csv"),
        ("vehicle,OP,limit_kmh,60,2026-12-01,,x", "id", "'OP' is not in the registry: import vehicles.csv first"),
        ("kind,lorry,limit_kmh,60,2026-12-01,,x", "id", "'lorry' is none of city_bus, container"),
        (
            "operator,OP,min_fixes,3,2026-12-01,,x",
            "number",
            "'min_fixes' is none of limit_kmh, class_default_confirms,",
        ),
        ("operator,OP,checks.max_hdop,3,2026-12-01,,x", "number", "'checks.max_hdop' is none of limit_kmh, class_"),
        ("operator,OP,speeding.min_fixes,0,2026-12-01,,x", "value", "min_fixes is 0, expected 1 or more"),
        ("operator,OP,speeding.min_fixes,2.5,2026-12-01,,x", "value", "min_fixes is 2.5, expected a whole number"),
        ("operator,OP,limit_kmh,201,2026-12-01,,x", "value", "limit_kmh is 201, expected 1 to 200 km/h"),
        ("operator,OP,limit_kmh,nan,2026-12-01,,x", "value", "'nan' is no number"),
        ("operator,OP,limit_kmh,,2026-12-01,,x", "value", "is empty"),
        ("operator,OP,limit_kmh,60,01/12/2026,,x", "valid_from", "'01/12/2026' is no day like 2026-12-01"),
        ("operator,OP,limit_kmh,60,20261201,,x", "valid_from", "'20261201' is no day like 2026-12-01"),
        ("operator,OP,limit_kmh,60,0001-01-01,,x", "valid_from", "'0001-01-01' is no day like 2026-12-01"),
        ("operator,OP,limit_kmh,60,2026-12-01,2026-11-30,x", "valid_to", "2026-11-30 is before valid_from 2026-12-01"),
        ("operator,OP,limit_kmh,60,2026-12-01,,", "basis", "is empty"),
    ],
)
async def test_a_bad_row_is_reported_and_the_others_count(
    connection: Connection, tmp_path: Path, row: str, column: str, why: str
) -> None:
    report = await imported(connection, tmp_path, row, "operator,OP,speeding.max_gap_s,150,2026-12-01,,x")
    assert report.accepted == 1
    [bad] = report.bad_rows
    assert (bad.line, bad.column) == (2, column)
    assert bad.why.startswith(why)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("scope,id,number,value,valid_from\n", "expected a column basis in the first line"),
        ("scope,id,number,value,valid_from,basis,note\n", "column 'note' is unknown"),
    ],
)
def test_a_file_with_the_wrong_columns_is_refused(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(RegistryError, match=message):
        parse_overrides(written(tmp_path, header=header), PACK)


GAP = "operator,OP,speeding.max_gap_s"
OVERLAP = "let that one end first (its row again, with valid_to)"


@pytest.mark.parametrize(
    ("rows", "kept", "rival"),
    [
        (["150,2026-11-01,,x", "90,2026-12-01,,y"], [150.0], "line 2 that holds from 2026-11-01 for good"),
        (["150,2026-12-01,,x", "90,2026-11-01,2026-12-02,y"], [150.0], "line 2 that holds from 2026-12-01 for good"),
        (["150,2026-11-01,2026-12-01,x", "90,2026-11-01,2026-12-01,y"], [150.0], "line 2 that holds from 2026-11-01 u"),
        (["150,2026-11-01,2026-12-01,x", "90,2026-12-01,,y"], [150.0, 90.0], None),
        (["150,2026-11-01,2026-11-01,x", "90,2026-10-01,,y"], [90.0, 150.0], None),
    ],
)
async def test_two_of_one_number_never_hold_the_same_day(
    connection: Connection, tmp_path: Path, rows: list[str], kept: list[float], rival: str | None
) -> None:
    report = await imported(connection, tmp_path, *(f"{GAP},{row}" for row in rows))
    assert [row[2] for row in await stored(connection)] == kept
    assert len(report.bad_rows) == (rival is not None)
    for bad in report.bad_rows:
        assert (bad.line, bad.column) == (3, "valid_from")
        assert bad.why.startswith(f"overlaps the one on {rival}")
        assert bad.why.endswith(OVERLAP)


async def test_what_is_stored_must_end_before_another_begins(connection: Connection, tmp_path: Path) -> None:
    await imported(connection, tmp_path, f"{GAP},150,2026-11-01,,x")
    report = await imported(connection, tmp_path, f"{GAP},90,2026-12-01,,y")
    why = f"overlaps the one stored that holds from 2026-11-01 for good: {OVERLAP}"
    assert report.bad_rows == [BadRow(2, "valid_from", why)]
    ended = f"{GAP},150,2026-11-01,2026-12-01,x"
    for order in ((f"{GAP},90,2026-12-01,,y", ended), (ended, f"{GAP},90,2026-12-01,,y")):
        assert (await imported(connection, tmp_path, *order, by="Binh")).bad_rows == []
    assert await stored(connection) == [
        ("OP", "speeding.max_gap_s", 150.0, "2026-11-01", "2026-12-01", "Binh"),
        ("OP", "speeding.max_gap_s", 90.0, "2026-12-01", None, "Binh"),
    ]


async def test_a_line_left_out_leaves_the_stored_one_standing_in_the_way(
    connection: Connection, tmp_path: Path
) -> None:
    await imported(connection, tmp_path, f"{GAP},4,2026-12-01,,x")
    # Line 3 gives way to line 2. So what is stored is not ended, and lines 2 and 4 overlap that.
    report = await imported(
        connection, tmp_path, f"{GAP},5,2026-12-15,2026-12-20,x", f"{GAP},4,2026-12-01,2026-12-20,x",
        f"{GAP},6,2026-12-20,,x",
    )  # fmt: skip
    assert [bad.line for bad in report.bad_rows] == [2, 3, 4]
    assert [row[2:5] for row in await stored(connection)] == [(4.0, "2026-12-01", None)]


async def test_an_override_is_taken_back_by_ending_it_on_its_first_day(connection: Connection, tmp_path: Path) -> None:
    await imported(connection, tmp_path, f"{GAP},150,2026-11-01,,wrong operator")
    assert (await imported(connection, tmp_path, f"{GAP},150,2026-11-01,2026-11-01,a slip")).bad_rows == []
    store = VehicleStore(connection)
    assert [each.overrides for each in await store.registered(["V1"])] == [()]
    assert len(await stored(connection)) == 1
    assert (await imported(connection, tmp_path, f"{GAP},120,2026-11-01,,right again")).bad_rows == []
    assert [row[2] for row in await stored(connection)] == [120.0]


async def test_each_vehicle_is_given_what_concerns_it(connection: Connection, tmp_path: Path) -> None:
    report = await imported(
        connection, tmp_path, "operator,OP,limit_kmh,60,2026-11-01,,x", "kind,taxi,speeding.min_fixes,3,2026-11-01,,x",
        "vehicle,V2,speeding.min_fixes,4,2026-11-01,,x",
    )  # fmt: skip
    assert report.bad_rows == []
    store, begin = VehicleStore(connection), date(2026, 11, 1)
    limit = Override("operator", "OP", "limit_kmh", 60.0, begin, None, "x")
    found = {each.vehicle_id: each.overrides for each in await store.registered(["V1", "V2", "V3", "GHOST"])}
    assert found == {
        "V1": (limit, Override("kind", "taxi", "speeding.min_fixes", 3.0, begin, None, "x")),
        # Its own limit of the registry is more specific than its operator's.
        "V2": (Override("vehicle", "V2", "speeding.min_fixes", 4.0, begin, None, "x"),),
        "V3": (),
    }


INSERT = (
    "INSERT INTO rule_overrides (scope, scope_id, number, value, valid_from, valid_to, basis, imported_by)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
)
SOUND = ("operator", "OP", "speeding.min_fixes", 3, "2026-11-01", "2026-12-01", "x", "An")


@pytest.mark.parametrize(
    "changed",
    [
        {0: "fleet"}, {1: "GHOST"}, {0: "vehicle", 1: "OP"}, {3: 2.5}, {3: 0}, {3: -1}, {3: float("nan")},
        {3: float("inf")}, {2: "limit_kmh", 3: 0.5}, {2: "class_default_confirms", 3: 2}, {4: "1969-12-31"},
        {4: "-infinity"}, {5: "infinity"}, {5: "2026-10-31"}, {6: ""}, {7: ""},
    ],
    ids=str,
)  # fmt: skip
async def test_the_table_itself_refuses_what_must_not_be(connection: Connection, changed: dict[int, Any]) -> None:
    row = [changed.get(place, value) for place, value in enumerate(SOUND)]
    with pytest.raises((psycopg.errors.CheckViolation, psycopg.errors.ForeignKeyViolation)):
        await connection.execute(INSERT, row)
    await connection.execute(INSERT, SOUND)


async def test_the_table_itself_refuses_two_for_one_day(connection: Connection) -> None:
    await connection.execute(INSERT, SOUND)
    with pytest.raises(psycopg.errors.ExclusionViolation):
        await connection.execute(INSERT, (*SOUND[:4], "2026-11-30", None, *SOUND[6:]))
    await connection.execute(INSERT, (*SOUND[:4], "2026-12-01", None, *SOUND[6:]))
    await connection.execute(INSERT, (*SOUND[:2], "speeding.max_gap_s", *SOUND[3:]))
    await connection.execute(INSERT, ("kind", *SOUND[1:]))


async def test_two_who_import_at_once_cannot_overlap_unseen(
    connection: Connection, postgres_url: str, tmp_path: Path
) -> None:
    async def one(value: int, folder: Path) -> ImportReport:
        mine = await connect(postgres_url)
        try:
            return await imported(mine, folder, f"{GAP},{value},2026-{10 + value % 3}-01,,x")
        finally:
            await mine.close()

    folders = [tmp_path / str(n) for n in range(6)]
    for folder in folders:
        folder.mkdir()
    reports = await asyncio.gather(*(one(n, folder) for n, folder in enumerate(folders)))
    assert sum(report.accepted for report in reports) >= 1
    assert len(await stored(connection)) == 1


def run(url: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hanhtrinh", "import", *arguments],
        env={**os.environ, "HANHTRINH_DATABASE_URL": url}, cwd=folder, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip


async def test_the_command_imports_overrides_after_the_registry_they_name(postgres_url: str, tmp_path: Path) -> None:
    written(tmp_path, "operator,OP9,limit_kmh,60,2026-12-01,,letter 3", "operator,NONE,limit_kmh,60,2026-12-01,,x")
    (tmp_path / "operators.csv").write_text("operator_id,name\nOP9,Song Hong\n")
    done = run(postgres_url, tmp_path, "overrides.csv", "operators.csv", "--by", "Tran Thi Binh", "--json")
    assert done.returncode == 1, done.stderr
    operators, overrides = map(json.loads, done.stdout.splitlines())
    assert (operators["table"], operators["accepted"]) == ("operators", 1)
    assert (overrides["table"], overrides["accepted"]) == ("overrides", 1)
    assert [bad["line"] for bad in overrides["bad_rows"]] == [3]
    connection = await connect(postgres_url)
    assert [row[-1] for row in await stored(connection)] == ["Tran Thi Binh"]
    await connection.close()
    refused = run(postgres_url, tmp_path, "overrides.csv", "--by", " ")
    assert refused.returncode == 2
    assert "expected a line of text" in refused.stderr
