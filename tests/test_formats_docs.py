"""docs/formats.md: its examples are valid and its tables are the code's."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from ingest.formats import REASONS, FormatRegistry
from ingest.formats.hanhtrinh_json import Document
from ingest.raw import RawMessage

TEXT = (Path(__file__).parents[1] / "docs" / "formats.md").read_text()
OWN, OWNTRACKS, REASON_TABLE = re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]


def examples(section: str) -> list[bytes]:
    return [block.encode() for block in re.findall(r"```json\n(.*?)```", section, flags=re.DOTALL)]


def test_every_example_of_the_own_format_is_taken_whole() -> None:
    decoded = [FormatRegistry().decode(RawMessage("hanhtrinh/51B-12345", one, 0)) for one in examples(OWN)]
    assert [(len(one.fixes), one.rejects) for one in decoded] == [(1, []), (2, [])]


def test_the_owntracks_example_is_taken() -> None:
    (payload,) = examples(OWNTRACKS)
    assert len(FormatRegistry().decode(RawMessage("owntracks/anna/phone", payload, 0)).fixes) == 1


def test_the_table_names_every_field_and_no_other() -> None:
    rows = re.findall(r"^\| (`.*?)\|", OWN, flags=re.MULTILINE)
    named = {field for row in rows for field in re.findall(r"`(\w+)`", row)}
    assert named == {field.name for field in msgspec.structs.fields(Document)}


def test_the_table_of_reasons_is_the_closed_list() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|$", REASON_TABLE, flags=re.MULTILINE)
    assert dict(rows) == REASONS


def test_the_detail_shown_is_the_detail_given() -> None:
    payload = b'{"time": 1, "lat": 1, "lon": 1, "speed_kmh": "63"}'
    (reject,) = FormatRegistry().decode(RawMessage("hanhtrinh/a", payload, 0)).rejects
    assert f"`{reject.detail}`" in REASON_TABLE
