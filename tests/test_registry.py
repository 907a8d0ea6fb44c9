"""The registry: good rows are stored, bad ones are reported by line, column and reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from storage.connect import Connection
from storage.csv_rows import BadRow, RegistryError
from storage.registry import (
    VehicleRow,
    import_file,
    parse_drivers,
    parse_operators,
    parse_vehicles,
)


def written(tmp_path: Path, text: str, name: str = "file.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


async def rows(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    cursor = await connection.execute(query)
    return await cursor.fetchall()


VEHICLES = """vehicle_id,operator_id,kind,speed_class,limit_kmh,seats,payload_t
29B-12345,,contract,car,80,16,
51C-67890,,container,articulated,60.5,,28.4
"""


def test_vehicles_are_read_with_their_units(tmp_path: Path) -> None:
    parsed = parse_vehicles(written(tmp_path, VEHICLES))
    assert parsed.bad_rows == []
    assert parsed.rows == [
        VehicleRow("29B-12345", None, "contract", "car", 80.0, 16, None),
        VehicleRow("51C-67890", None, "container", "articulated", 60.5, None, 28.4),
    ]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters_and_a_byte_order_mark_are_understood(tmp_path: Path, delimiter: str) -> None:
    text = "\ufeff" + VEHICLES.replace(",", delimiter).replace("\n", "\r\n")
    assert len(parse_vehicles(written(tmp_path, text)).rows) == 2


def test_quoted_cells_may_hold_delimiters(tmp_path: Path) -> None:
    parsed = parse_operators(written(tmp_path, 'operator_id,name\nop1,"Vận tải Hà Nội, chi nhánh 2"\n'))
    assert parsed.rows[0].name == "Vận tải Hà Nội, chi nhánh 2"


@pytest.mark.parametrize(
    ("row", "column", "why"),
    [
        (",,,,,,", None, None),
        (",op1,,,,,", "vehicle_id", "is empty"),
        ("v" * 65 + ",,,,,,", "vehicle_id", "has 65 characters, at most 64 are allowed"),
        ("v\x001,,,,,,", "vehicle_id", r"'v\x001' contains a control character"),
        ("v1,,lorry,,,,", "kind", "'lorry' is none of"),
        ("v1,,,fast,,,", "speed_class", "'fast' is none of"),
        ("v1,,,,fast,,", "limit_kmh", "'fast' is no number from 1 to 200 km/h"),
        ("v1,,,,nan,,", "limit_kmh", "'nan' is no number from 1 to 200 km/h"),
        ("v1,,,,0,,", "limit_kmh", "'0' is no number"),
        ("v1,,,,201,,", "limit_kmh", "'201' is no number"),
        ("v1,,,,,16.5,", "seats", "'16.5' is no whole number from 0 to 200 seats"),
        ("v1,,,,,,inf", "payload_t", "'inf' is no number"),
        ("v1,,,,,,1,2", "payload_t", "8 cells where the first line has 7"),
        ("29B-12345,,,,,,", "vehicle_id", "'29B-12345' stands on line 2 already"),
    ],
)
def test_a_bad_row_is_reported_and_left_out(tmp_path: Path, row: str, column: str | None, why: str | None) -> None:
    parsed = parse_vehicles(written(tmp_path, f"{VEHICLES}{row}\nlast,,,,,,\n"))
    assert [good.vehicle_id for good in parsed.rows] == ["29B-12345", "51C-67890", "last"]
    if column is None:
        assert parsed.bad_rows == []
    else:
        [bad] = parsed.bad_rows
        assert (bad.line, bad.column) == (4, column)
        assert why is not None
        assert bad.why.startswith(why)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a column vehicle_id"),
        ("operator_id,kind\n", "expected a column vehicle_id"),
        ("vehicle_id,limit\n", "column 'limit' is unknown"),
        ("vehicle_id,kind,kind\n", "column 'kind' is unknown or there twice"),
    ],
)
def test_a_file_with_the_wrong_columns_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RegistryError, match=message):
        parse_vehicles(written(tmp_path, text))


def test_a_file_that_is_missing_or_not_utf8_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="No such file"):
        parse_drivers(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes("driver_id,name\nd1,Nguy\xean\n".encode("latin-1"))
    with pytest.raises(RegistryError, match="UTF-8"):
        parse_drivers(tmp_path / "latin.csv")


async def test_files_are_recognised_by_their_columns_and_stored(connection: Connection, tmp_path: Path) -> None:
    operators = written(tmp_path, "operator_id,name,tax_code,province\nop1,Hà Nội Bus,0100,Hà Nội\n", "a.csv")
    vehicles = written(tmp_path, "vehicle_id,operator_id,limit_kmh\nv1,op1,80\n", "b.csv")
    drivers = written(tmp_path, "driver_id,operator_id,name,rule_pack\nd1,op1,Nguyễn Văn An,vn\n", "c.csv")
    reports = [await import_file(connection, path) for path in (operators, vehicles, drivers)]
    assert [(report.table, report.accepted, report.bad_rows) for report in reports] == [
        ("operators", 1, []),
        ("vehicles", 1, []),
        ("drivers", 1, []),
    ]
    assert await rows(connection, "SELECT operator_id, name, tax_code, province FROM operators") == [
        ("op1", "Hà Nội Bus", "0100", "Hà Nội")
    ]
    assert await rows(connection, "SELECT vehicle_id, operator_id, limit_kmh, seats FROM vehicles") == [
        ("v1", "op1", 80.0, None)
    ]
    assert await rows(connection, "SELECT driver_id, operator_id, name, rule_pack FROM drivers") == [
        ("d1", "op1", "Nguyễn Văn An", "vn")
    ]


async def test_an_unknown_operator_is_a_bad_row(connection: Connection, tmp_path: Path) -> None:
    report = await import_file(connection, written(tmp_path, "vehicle_id,operator_id\nv1,ghost\nv2,\n"))
    assert report.accepted == 1
    assert report.bad_rows == [BadRow(2, "operator_id", "'ghost' is not in the registry: import operators.csv first")]
    assert await rows(connection, "SELECT vehicle_id FROM vehicles") == [("v2",)]


async def test_importing_again_updates_only_the_columns_of_the_file(connection: Connection, tmp_path: Path) -> None:
    await import_file(connection, written(tmp_path, VEHICLES))
    await import_file(connection, written(tmp_path, "vehicle_id,limit_kmh\n29B-12345,70\n51C-67890,\n"))
    assert await rows(connection, "SELECT vehicle_id, kind, limit_kmh FROM vehicles ORDER BY 1") == [
        ("29B-12345", "contract", 70.0),
        ("51C-67890", "container", None),
    ]


async def test_the_widest_values_fit_the_table(connection: Connection, tmp_path: Path) -> None:
    text = f"vehicle_id,limit_kmh,seats,payload_t\n{'v' * 64},200,200,500\nlow,1,0,0\n"
    assert (await import_file(connection, written(tmp_path, text))).accepted == 2
