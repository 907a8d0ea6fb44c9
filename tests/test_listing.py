"""Rows under headings: on whatever they are shown, every character of every value is there."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from hanhtrinh.listing import READABLE, Column, print_rows, visible
from tests.pseudo_terminal import told_terminal

LETTERS = (
    Column("id"),
    Column("received", least=12),
    Column("topic"),
    Column("reason"),
    Column("detail", least=READABLE),
    Column("retried", least=READABLE),
)
FRAME = "┏┳┓┃┡╇┩│└┴┘━─"
DETAIL = "speed_kmh: given 920, expected 0 to 300 " + "and so on " * 20 + "to the end"
ROWS = (
    ("ab1aecb5fd32", "2026-03-04 08:00:40 +07", "hanhtrinh/51B-12345", "bad_value", DETAIL, "never"),
    ("0c2e77a1b904", "2026-03-04 08:00:41 +07", "hanhtrinh/Nguyễn Văn Ân 運転手", "bad_json", "Đường 7: 東京", "never"),
)


def shown(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None, title: str | None = None) -> str:
    """What a terminal of this width gets; None stands for a file, whose COLUMNS says 40."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TERM", "xterm-256color")
        patch.setenv("COLUMNS", str(width or 40))
        if width is not None:
            return told_terminal(width, lambda out: print_rows(columns, rows, title, out))
        file = io.StringIO()
        print_rows(columns, rows, title, file)
        return file.getvalue()


def bare(text: str) -> str:
    """Without whitespace and the lines of a table."""
    return "".join(text.translate(dict.fromkeys(map(ord, FRAME))).split())


def read(columns: Sequence[Column], text: str) -> dict[str, str]:
    """By heading, what stands below it in a table, or beside it in blocks, from top to bottom."""
    lines = text.splitlines()
    found = dict.fromkeys((column.heading for column in columns), "")
    if text.startswith("┏"):
        for line in lines[lines.index(next(line for line in lines if line.startswith("┡"))) + 1 : -1]:
            for heading, part in zip(found, line[1:-1].split("│"), strict=True):
                found[heading] += bare(part)
        return found
    for line in filter(None, lines):
        heading = next(heading for heading in found if line.startswith(f"{heading} "))
        found[heading] += bare(line.removeprefix(heading))
    return found


def below(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> dict[str, str]:
    """By heading, what should stand there."""
    return {column.heading: bare("".join(cells)) for column, *cells in zip(columns, *rows, strict=True)}


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_every_value_is_there_whole_at_every_width(width: int) -> None:
    text = shown(LETTERS, ROWS, width)
    assert read(LETTERS, text) == below(LETTERS, ROWS)
    assert "…" not in text


@pytest.mark.parametrize("width", [120, 200])
def test_where_there_is_room_it_is_a_table_within_the_width_whose_ids_can_be_copied(width: int) -> None:
    lines = shown(LETTERS, ROWS, width).splitlines()
    assert lines[0].startswith("┏")
    assert all(len(line) <= width for line in lines)
    for row in ROWS:
        for value in (row[0], row[2], row[3]):
            assert [value in line for line in lines].count(True) == 1, value


@pytest.mark.parametrize("width", [40, 60, 80])
def test_where_there_is_none_each_row_is_a_block_of_headings_with_their_values(width: int) -> None:
    *blocks, rest = shown(LETTERS, ROWS, width).split("\n\n")
    assert rest == ""
    assert blocks == [
        "id        ab1aecb5fd32\n"
        "received  2026-03-04 08:00:40 +07\n"
        "topic     hanhtrinh/51B-12345\n"
        "reason    bad_value\n"
        f"detail    {DETAIL}\n"
        "retried   never",
        "id        0c2e77a1b904\n"
        "received  2026-03-04 08:00:41 +07\n"
        "topic     hanhtrinh/Nguyễn Văn Ân 運転手\n"
        "reason    bad_json\n"
        "detail    Đường 7: 東京\n"
        "retried   never",
    ]


def test_a_sentence_that_is_wrapped_keeps_a_readable_width_and_a_time_breaks_between_date_and_clock() -> None:
    columns = (Column("id"), Column("when", least=12), Column("detail", least=READABLE))
    row = ("7" * 30, "2026-03-04 08:00:40 +07", DETAIL)
    narrowest = 30 + 12 + READABLE + 2 * 2 + 4
    lines = shown(columns, [row], narrowest).splitlines()
    assert {len(line) for line in lines} == {narrowest}
    assert "│ 2026-03-04   │" in lines[3]
    assert "│ 08:00:40 +07 │" in lines[4]
    assert shown(columns, [row], narrowest - 1).startswith("id      777")
    lines = shown(columns, [row], narrowest + 16).splitlines()
    assert "│ 2026-03-04 08:00:40 +07 │" in lines[3], "the time is whole before the detail grows"
    assert {len(line) for line in lines} == {narrowest + 16}


@pytest.mark.parametrize("detail", [DETAIL, DETAIL * 50])
def test_what_is_no_terminal_gets_a_line_a_row_whatever_columns_says(detail: str) -> None:
    rows = [(*ROWS[0][:4], detail, "never"), ROWS[1]]
    head, *lines = shown(LETTERS, rows, None).splitlines()
    assert head.split() == [column.heading for column in LETTERS]
    assert [line.split()[0] for line in lines] == ["ab1aecb5fd32", "0c2e77a1b904"]
    for row, line in zip(rows, lines, strict=True):
        for value in row:
            assert value in line


def test_columns_stand_below_each_other_with_wide_and_combined_letters() -> None:
    columns = (Column("driver"), Column("lag", number=True))
    rows = [("運転手", "7"), ("Ân", "1200"), ("A\u0302n", "15"), ("Nguyễn", "3")]
    assert shown(columns, rows, None).splitlines() == [
        "driver   lag",
        "運転手     7",
        "Ân      1200",
        "A\u0302n        15",
        "Nguyễn     3",
    ]
    assert "│運転手 │    7│\n│Ân     │ 1200│\n" in shown(columns, rows, 40)


@pytest.mark.parametrize("width", [None, 40, 200])
def test_no_value_gives_a_terminal_orders_or_is_taken_for_markup(width: int | None) -> None:
    columns = (Column("topic"), Column("detail", least=READABLE))
    row = ("hanhtrinh/51B-\x1b[31mred", "[red]stop[/red] :warning: \r\nnext\tC:\\new \x9b2J \u202ecod.exe \ud800")
    told = r"[red]stop[/red] :warning: \r\nnext\tC:\new \x9b2J \u202ecod.exe \ud800"
    text = shown(columns, [row], width)
    assert r"hanhtrinh/51B-\x1b[31mred" in text
    assert told in text
    assert all(each.isprintable() for line in text.splitlines() for each in line)


def test_ordinary_text_is_visible_as_it_is() -> None:
    for text in ("", "Nguyễn Văn Ân", "運転手", "C:\\new", "A\u0302n", "🚚"):
        assert visible(text) == text


def test_a_title_stands_above_and_a_value_that_is_missing_takes_no_line_of_a_block() -> None:
    columns = (Column("what"), Column("count", number=True), Column(""))
    rows = [("fixes: stored", "1,200", ""), ("dead letters", "0", "LOST")]
    for width in (None, 80):
        assert shown(columns, rows, width, "This run").splitlines()[0].strip() == "This run"
    assert shown(columns, rows, 20, "This run") == (
        "This run\nwhat   fixes: stored\ncount  1,200\n\nwhat   dead letters\ncount  0\n       LOST\n\n"
    )


CELLS = st.text(st.characters(exclude_characters=FRAME), max_size=60)
WORDS = st.lists(CELLS, max_size=12).map(" ".join)


@st.composite
def listings(draw: st.DrawFn) -> tuple[list[Column], list[list[str]]]:
    """Up to six columns, each with a heading of its own that no other one begins with."""
    count = draw(st.integers(1, 6))
    columns = [Column(f"h{n}", draw(st.none() | st.integers(2, 30)), draw(st.booleans())) for n in range(count)]
    rows = st.lists(st.lists(CELLS | WORDS, min_size=count, max_size=count), min_size=1, max_size=4)
    return columns, draw(rows)


@given(listings(), st.integers(2, 250))
def test_whatever_the_rows_and_the_width_all_of_every_cell_can_be_read(
    listing: tuple[list[Column], list[list[str]]], width: int
) -> None:
    columns, rows = listing
    told = [[visible(cell) for cell in row] for row in rows]
    text = shown(columns, rows, width)
    assert read(columns, text) == below(columns, told)
    if text.startswith("┏"):
        assert {cell_len(line) for line in text.splitlines()} <= set(range(width + 1))
    head, *lines = shown(columns, rows, None).splitlines()
    assert head.split() == [column.heading for column in columns]
    for row, line in zip(told, lines, strict=True):
        assert bare(line) == bare("".join(row))
