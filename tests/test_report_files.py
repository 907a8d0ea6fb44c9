"""Files of reports say what the tables say, and the command that writes them."""

from __future__ import annotations

import csv
import json
import re
import resource
from datetime import datetime, timedelta
from pathlib import Path

import openpyxl
import pandas as pd
import pypdfium2
import pytest
from typer.testing import CliRunner

from hanhtrinh.cli import app
from hanhtrinh.documents import WRITERS, write_report
from hanhtrinh.documents.words import text_of
from storage.reports.catalogue import KINDS
from storage.reports.scope import ReportError, Scope
from storage.reports.table import Column, Form, Report
from tests.report_month import NUMBERS, ZONE, month, report
from tests.running_worker import RigMaker, WorkerRig, make_rig

__all__ = ["make_rig", "month"]


async def test_a_month_without_anything_is_an_empty_report_in_every_form(make_rig: RigMaker, tmp_path: Path) -> None:
    rig = await make_rig()
    for name, kind in KINDS.items():
        made = await kind.make(rig.connection, Scope.of_month("2026-10", vehicle_id="X"), NUMBERS)
        assert made.frame.empty
        for ending, write in WRITERS.items():
            write(made, tmp_path / f"{name}{ending}")
            assert (tmp_path / f"{name}{ending}").stat().st_size > 0


async def test_spreadsheet_csv_and_page_say_what_the_table_says(month: WorkerRig, tmp_path: Path) -> None:
    made = await report(month, "PL14")
    for ending, write in WRITERS.items():
        write(made, tmp_path / f"r{ending}")
    sheet = openpyxl.load_workbook(tmp_path / "r.xlsx").active
    assert sheet is not None
    assert sheet["A4"].value == "CHI TIẾT VI PHẠM TỐC ĐỘ"
    table = [[cell.value for cell in row] for row in sheet.iter_rows(min_row=8, max_row=7 + len(made.frame))]
    keys = [column.key for column in made.columns]
    assert [row[0] for row in table] == list(range(1, len(made.frame) + 1))
    for row, expected in zip(table, made.frame.to_dict("records"), strict=True):
        shown = dict(zip(keys, row[1:], strict=True))
        assert shown["vehicle_id"] == expected["vehicle_id"]
        assert shown["km"] == pytest.approx(expected["km"])
        assert abs(shown["started_at"] - expected["started_at"].tz_localize(None)) < timedelta(milliseconds=2)
        assert shown["start"] == expected["start"]
    with (tmp_path / "r.csv").open(encoding="utf-8-sig", newline="") as file:
        header, *rows = list(csv.reader(file))
    assert header[0] == "Biển số xe"
    assert [row[0] for row in rows] == list(made.frame["vehicle_id"])
    assert datetime.fromisoformat(rows[0][2]) == made.frame["started_at"].iloc[0]
    page = pypdfium2.PdfDocument(tmp_path / "r.pdf")[0].get_textpage().get_text_range()
    assert "CHI TIẾT VI PHẠM TỐC ĐỘ" in page
    assert str(made.frame["vehicle_id"].iloc[0]) in page


def test_a_plate_is_never_a_formula_or_markup(tmp_path: Path) -> None:
    frame = pd.DataFrame({"vehicle_id": ["=1+1", "<b>x</b>", "http://x"], "n": [1, 2, float("nan")]})
    made = Report("t", "T", "p", "o", (Column("vehicle_id", "Xe"), Column("n", "N", "count")), frame, {"n": 3})
    for ending, write in WRITERS.items():
        write(made, tmp_path / f"r{ending}")
    sheet = openpyxl.load_workbook(tmp_path / "r.xlsx").active
    assert sheet is not None
    assert [sheet.cell(row, 2).data_type for row in (8, 9, 10)] == ["s", "s", "s"]
    assert [sheet.cell(row, 2).value for row in (8, 9, 10)] == ["=1+1", "<b>x</b>", "http://x"]
    assert sheet.cell(10, 3).value is None
    assert "<b>x</b>" in pypdfium2.PdfDocument(tmp_path / "r.pdf")[0].get_textpage().get_text_range()


def test_in_a_csv_file_a_text_that_a_spreadsheet_would_run_is_one_with_an_apostrophe(tmp_path: Path) -> None:
    texts = ["=1+1", "+1", "-1", "@x", "\t=1", "29B-1", "", None]
    frame = pd.DataFrame({"vehicle_id": texts, "km": [-1.5] * len(texts), "place": ["-33.1, 151.2"] * len(texts)})
    columns = (Column("vehicle_id", "Xe"), Column("km", "Km", "km"), Column("place", "Tọa độ", "place"))
    WRITERS[".csv"](Report("t", "T", "p", "o", columns, frame), tmp_path / "r.csv")
    with (tmp_path / "r.csv").open(encoding="utf-8-sig", newline="") as file:
        _, *rows = list(csv.reader(file))
    assert [row[0] for row in rows] == ["'=1+1", "'+1", "'-1", "'@x", "'\t=1", "29B-1", "", ""]
    assert {tuple(row[1:]) for row in rows} == {("-1.5", "-33.1, 151.2")}


async def test_in_a_csv_file_every_heading_stands_once_and_names_the_unit_of_times(
    make_rig: RigMaker, tmp_path: Path
) -> None:
    rig = await make_rig()
    for name, kind in KINDS.items():
        made = await kind.make(rig.connection, Scope.of_month("2026-10", vehicle_id="X"), NUMBERS)
        WRITERS[".csv"](made, tmp_path / "r.csv")
        (headings,) = csv.reader((tmp_path / "r.csv").read_text("utf-8-sig").splitlines())
        assert len(set(headings)) == len(headings), name
        assert [heading.endswith("(giây)") for heading in headings] == [
            column.form == "duration" for column in made.columns
        ], name


@pytest.mark.parametrize(
    ("value", "form", "shown"),
    [
        (0.625, "percent", "0,63"),
        (0.125, "rate", "0,13"),
        (-0.125, "rate", "-0,13"),
        (2.675, "rate", "2,68"),
        (1234567.25, "km", "1.234.567,3"),
        (0.05, "kmh", "0,1"),
        (99.995, "percent", "100,00"),
        (0.5, "duration", "0:00:01"),
        (3599.5, "duration", "1:00:00"),
    ],
)
def test_a_page_rounds_as_a_spreadsheet_shows(value: float, form: Form, shown: str) -> None:
    """Half away from zero, by the decimal digits: a sum read from both must be the same."""
    assert text_of(value, form) == shown


# The writer of spreadsheets leaves the file open that it could not write.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("ending", list(WRITERS))
def test_a_report_is_written_whole_or_not_at_all(tmp_path: Path, ending: str) -> None:
    frame = pd.DataFrame({"vehicle_id": [f"{number:x}" * 9 for number in range(9_000)]})
    made = Report("t", "T", "p", "o", (Column("vehicle_id", "Xe"),), frame)
    out = tmp_path / f"r{ending}"
    for folder, why in ((tmp_path / "none", "No such file or directory"), (Path("/proc/1"), "")):
        with pytest.raises(ReportError, match=f"--out {folder / out.name}: cannot be written: {why}"):
            write_report(made, folder / out.name)
    out.write_bytes(b"the one before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(ReportError, match="cannot be written: File too large"):
            write_report(made, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    assert out.read_bytes() == b"the one before"
    write_report(made, out)
    assert out.stat().st_size > 10_000


def test_moments_are_written_the_same_alone_and_among_others(tmp_path: Path) -> None:
    """Many alike are written at once: neither what is missing nor a part of a second may change them."""
    whole, part = datetime(2026, 10, 1, 7, tzinfo=ZONE), datetime(2026, 10, 2, 0, 0, 1, 250_000, tzinfo=ZONE)
    columns = (Column("at", "Lúc", "time"), Column("note", "Ghi chú"))
    for moments in ([whole, whole + timedelta(hours=9)], [whole, part], [part, None, whole], [None, None]):
        at = pd.to_datetime(pd.Series(moments), utc=True).dt.tz_convert(ZONE)
        frame = pd.DataFrame({"at": at, "note": ["x"] + [None] * (len(moments) - 1)})
        for ending in (".csv", ".xlsx"):
            WRITERS[ending](Report("t", "T", "p", "o", columns, frame), tmp_path / f"r{ending}")
        with (tmp_path / "r.csv").open(encoding="utf-8-sig", newline="") as file:
            told = list(csv.reader(file))[1:]
        said = ["" if each is None else each.isoformat(sep=" ") for each in moments]
        assert told == [[moment, "" if number else "x"] for number, moment in enumerate(said)]
        sheet = openpyxl.load_workbook(tmp_path / "r.xlsx").active
        assert sheet is not None
        shown = [sheet.cell(8 + row, 2).value for row in range(len(moments))]
        assert shown == [None if each is None else each.replace(tzinfo=None) for each in moments]


def test_more_lines_than_a_sheet_holds_or_anybody_turns_over_are_refused(tmp_path: Path) -> None:
    frame = pd.DataFrame({"n": range(1_048_577)})
    for ending in (".xlsx", ".pdf"):
        with pytest.raises(ReportError, match=r"1,048,577 lines.* --operator or --province, or write a .csv"):
            WRITERS[ending](
                Report("stops", "T", "p", "o", (Column("n", "N", "count"),), frame), tmp_path / f"r{ending}"
            )
        assert not (tmp_path / f"r{ending}").exists()


def test_many_lines_go_on_from_page_to_page_below_the_headings(tmp_path: Path) -> None:
    plates = [f"29B-{number:05d}" for number in range(400)]
    words = ["" if number % 7 else "lời dài " * 12 + "x" * 90 for number in range(400)]
    frame = pd.DataFrame({"vehicle_id": plates, "n": range(400), "note": words})
    columns = (Column("vehicle_id", "Biển số xe"), Column("n", "Số lần", "count"), Column("note", "Ghi chú"))
    WRITERS[".pdf"](Report("t", "T", "p", "o", columns, frame, {"n": 3}), tmp_path / "r.pdf")
    pages = [page.get_textpage().get_text_range() for page in pypdfium2.PdfDocument(tmp_path / "r.pdf")]
    with_lines = [page for page in pages if "29B-" in page]
    assert len(with_lines) > 10
    assert all("Biển số xe" in page for page in with_lines)
    numbers = [f"Trang {number}/\r\n{len(pages)}" for number in range(1, len(pages) + 1)]
    assert [re.findall(r"Trang \d+/\s*\d+", page) for page in pages] == [[number] for number in numbers]
    assert [word for page in pages for word in page.split() if word.startswith("29B-")] == plates
    said = "".join(pages).replace("\r\n", "").replace("\n", "").replace(" ", "")
    assert said.count("lờidài") == 12 * 58
    assert said.count("x") - said.count("xe") == 90 * 58


async def test_the_command_writes_the_file_and_tells_the_rows(
    month: WorkerRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HANHTRINH_DATABASE_URL", month.url)
    out = tmp_path / "PL05.xlsx"
    result = await _invoke("PL05", "--month", "2026-10", "-o", str(out), "--json")
    told = json.loads(result)
    assert told == {
        "report": "PL05",
        "month": "2026-10",
        "rows": len((await report(month, "PL05")).frame),
        "file": str(out),
    }
    assert out.exists()


async def test_the_head_of_a_report_names_the_operator(
    month: WorkerRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HANHTRINH_DATABASE_URL", month.url)
    ((operator_id, name),) = await month.rows("SELECT operator_id, name FROM operators ORDER BY 1 LIMIT 1")
    await _invoke("PL05", "--month", "2026-10", "--operator", operator_id, "-o", str(tmp_path / "PL05.xlsx"))
    sheet = openpyxl.load_workbook(tmp_path / "PL05.xlsx").active
    assert sheet is not None
    assert f"Đơn vị vận tải: {name}" in {cell.value for row in sheet.iter_rows(max_row=3) for cell in row}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("PL99", "--month", "2026-10", "-o", "x.xlsx"), "no report 'PL99': there are PL05, PL08"),
        (("PL05", "--month", "2026-13", "-o", "x.xlsx"), "--month '2026-13': expected a year and a month"),
        (("PL05", "--month", "2026-10", "-o", "x.docx"), "expected a file that ends in .xlsx, .csv, .pdf"),
        (("PL05", "--month", "2999-10", "-o", "x.xlsx"), "--month '2999-10' has not begun yet"),
        (("journey", "--month", "2026-10", "-o", "x.xlsx"), "report journey is about one vehicle"),
    ],
)
def test_a_wrong_use_is_one_line(arguments: tuple[str, ...], said: str) -> None:
    result = CliRunner().invoke(app, ["report", *arguments])
    assert isinstance(result.exception, ReportError)
    assert said in str(result.exception)


async def _invoke(*arguments: str) -> str:
    import asyncio

    result = await asyncio.to_thread(CliRunner().invoke, app, ["report", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout
