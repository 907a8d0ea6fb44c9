"""The published JSON Schema says what the decoder does."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import example, given

from ingest.formats import FormatRegistry
from ingest.formats.schema import own_format_schema, rendered
from ingest.raw import RawMessage
from tests.test_formats_hanhtrinh import FULL, JUNK, LEAST, near_misses

ROOT = Path(__file__).parents[1]
CHECKER = jsonschema.FormatChecker(formats=())


@CHECKER.checks("date-time")
def is_time_in_range(value: object) -> bool:
    """What a pattern cannot say: that the day exists and that the moment is in the years 1970 to 2100, UTC."""
    if not isinstance(value, str):
        return True
    text = re.sub(r"(\.\d{6})\d+", r"\1", value)
    try:
        time = datetime.fromisoformat(text.upper())
        offset_s = time.utcoffset()
        return offset_s is not None and 1970 <= time.astimezone(UTC).year <= 2100
    except (ValueError, OverflowError):
        return False


VALIDATOR = jsonschema.Draft202012Validator(own_format_schema(), format_checker=CHECKER)


def decoder_takes(document: object) -> bool:
    # The topic's id is the document's, where it names a usable one: the schema knows no topic.
    named = document.get("vehicle_id") if isinstance(document, dict) else None
    topic = f"hanhtrinh/{named}" if isinstance(named, str) and "/" not in named else "hanhtrinh/51B-1"
    if isinstance(named, str) and "/" in named:
        document = {**document, "vehicle_id": named.replace("/", "_")}  # type: ignore[dict-item]
        topic = f"hanhtrinh/{named.replace('/', '_')}"
    decoded = FormatRegistry().decode(RawMessage(topic, json.dumps(document).encode(), 0))
    return bool(decoded.fixes) and not decoded.rejects


def test_the_schema_in_docs_is_the_one_the_code_makes() -> None:
    published = ROOT / "docs" / "formats" / "hanhtrinh.schema.json"
    assert published.read_text() == rendered(), (
        "run: python -m ingest.formats.schema > docs/formats/hanhtrinh.schema.json"
    )


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(own_format_schema())


@example(LEAST | {"driver_id": "a\n"})
@example(LEAST | {"time": "2026-03-01T08:15:30Z\n"})
@example(LEAST | {"satellites": 7.0})
@example(LEAST | {"time": "1970-01-01T00:00:00+07:00"})
@example(LEAST | {"time": "1969-12-31T20:00:00-07:00"})
@given(near_misses())
def test_schema_and_decoder_take_and_refuse_the_same_positions(document: dict[str, Any]) -> None:
    assert VALIDATOR.is_valid(document) == decoder_takes(document)


@given(JUNK)
def test_schema_and_decoder_refuse_the_same_junk(document: Any) -> None:
    assert VALIDATOR.is_valid(document) == decoder_takes(document)


@pytest.mark.parametrize("document", [[], [FULL], [FULL, LEAST], [FULL, {}], [[LEAST]]])
def test_schema_and_decoder_agree_on_lists(document: Any) -> None:
    topic = "hanhtrinh/51B-12345"
    decoded = FormatRegistry().decode(RawMessage(topic, json.dumps(document).encode(), 0))
    assert VALIDATOR.is_valid(document) == (not decoded.rejects)
