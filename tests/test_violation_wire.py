"""A violation on the wire: one JSON object with stable names, stable ids, and nothing that is not known."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from typing import Any

import jsonschema
import pytest

from detectors.fix import from_us
from detectors.overrides import Override
from detectors.violation import HoursFigures, RuleName, SpeedingFigures, Violation, rfc3339
from tests.scenario import CAP_80, CAR, Office, at, day, drive, fixes, fixes_of, only

TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z$"}
PLACE = {
    "type": "object",
    "required": ["lat", "lon"],
    "additionalProperties": False,
    "properties": {"lat": {"type": "number"}, "lon": {"type": "number"}},
}
DAY = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\d$"}
OVERRIDE = {
    "type": "object",
    "required": ["scope", "id", "value", "valid_from", "basis"],
    "additionalProperties": False,
    "properties": {
        "scope": {"enum": ["operator", "kind", "vehicle"]},
        "id": {"type": "string"},
        "value": {"type": "number"},
        "valid_from": DAY,
        "valid_to": DAY,
        "basis": {"type": "string", "minLength": 1},
    },
}
COMMON: dict[str, Any] = {
    "violation_id": {"type": "string", "pattern": "^[0-9a-f]{24}$"},
    "kind": {"enum": ["speeding", "continuous_driving"]},
    "rule": {
        "type": "object",
        "required": ["pack", "id", "version"],
        "additionalProperties": False,
        "properties": {"pack": {"const": "vn"}, "id": {"type": "string"}, "version": {"format": "date"}},
    },
    "grade": {"enum": ["confirmed", "review"]},
    "status": {"enum": ["open", "closed", "withdrawn"]},
    "vehicle_id": {"type": "string"},
    "driver_id": {"type": "string"},
    "started_at": TIME,
    "ended_at": TIME,
    "duration_s": {"type": "number", "minimum": 0},
    "start": PLACE,
    "end": PLACE,
    "judged_by": {
        "type": "object",
        "properties": {"overridden": {"type": "object", "minProperties": 1, "additionalProperties": OVERRIDE}},
        "additionalProperties": {"type": "number"},
    },
    "evidence": {"type": "object"},
}
SPEEDING: dict[str, Any] = {
    "fixes": {"type": "integer", "minimum": 1},
    "limit_kmh": {"type": "number"},
    "limit_source": {"enum": ["class", "operator", "kind", "vehicle", "given", "road"]},
    "top_speed_kmh": {"type": "number"},
    "mean_speed_kmh": {"type": "number"},
    "excess_kmh": {"type": "number"},
    "fine_band": {"type": "string"},
    "report_band": {"type": "string"},
    "distance_m": {"type": "number"},
}
HOURS: dict[str, Any] = {"limit_s": {"type": "number"}, "actual_s": {"type": "number"}}


def shaped(wire: dict[str, Any], own: dict[str, Any], *, named: bool = True) -> None:
    """Exactly these properties, no more and no fewer, through JSON and back."""
    properties = {**COMMON, **own}
    if not named:
        del properties["driver_id"]
    schema = {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}
    jsonschema.validate(json.loads(json.dumps(wire, allow_nan=False)), schema)


SPEEDER = fixes("00:00 90", "00:10.5 95", "00:20.25 90", "00:30 60", driver_id="D1")


def test_a_speeding_violation_has_its_properties_and_no_others() -> None:
    shaped(only(SPEEDER), SPEEDING)
    shaped(only([each._replace(driver_id=None) for each in SPEEDER]), SPEEDING, named=False)


def test_a_violation_by_numbers_of_the_office_names_each_of_them() -> None:
    begin, end = date(2025, 1, 1), date(2026, 1, 1)
    own = (
        Override("operator", "OP", "limit_kmh", 70, begin, None, "letter 1"),
        Override("vehicle", CAR, "speeding.min_duration_s", 15, begin, end, "letter 2"),
    )
    wire = only(SPEEDER, Office(operators={CAR: "OP"}, overrides=own))
    shaped(wire, SPEEDING)
    assert wire["limit_source"] == "operator"
    assert wire["judged_by"]["min_duration_s"] == 15
    assert list(wire["judged_by"]["overridden"]) == ["limit_kmh", "min_duration_s"]


def test_a_driving_time_violation_has_its_properties_and_no_others() -> None:
    for named in (True, False):
        sent = fixes_of(day(drive(hours=4, minutes=30)))
        sent = sent if named else [each._replace(driver_id=None) for each in sent]
        (violation,) = Office(given_kmh=100.0).judge(sent).violations
        shaped(violation.to_wire(), HOURS, named=named)


def test_times_are_utc_with_microseconds_only_where_there_are_any() -> None:
    found = only(SPEEDER)
    assert (found["started_at"], found["ended_at"]) == ("2025-03-03T01:00:00Z", "2025-03-03T01:00:20.250000Z")
    assert found["ended_at"] == at("00:20.25")
    assert found["duration_s"] == 20.25
    assert rfc3339(1) == "1970-01-01T00:00:00.000001Z"
    assert from_us(1).isoformat() == "1970-01-01T00:00:00.000001+00:00"


def speeding_violation(**changed: Any) -> Violation:
    (violation,) = CAP_80.judge(SPEEDER).violations
    return replace(violation, **changed)


def test_an_id_is_the_same_in_every_run_of_every_program() -> None:
    assert speeding_violation().violation_id == "e43efc9fa208d1016f534ac3"


@pytest.mark.parametrize(
    "changed",
    [
        {"grade": "review"},
        {"status": "withdrawn"},
        {"driver_id": "D2"},
        {"ended_us": 2_000_000_000_000_000},
        {"fixes": 99},
        {"operator_id": "OP"},
        {"supersedes": ("abc",)},
        {"closed_us": None},
    ],
    ids=str,
)
def test_what_may_change_in_place_does_not_change_the_id(changed: dict[str, Any]) -> None:
    assert speeding_violation(**changed).violation_id == speeding_violation().violation_id


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": "speeding_again"},
        {"vehicle_id": "other"},
        {"started_us": 1_000_000_000_000_000},
        {"rule": RuleName("vn", "speeding", "2026-01-01")},
        {"rule": RuleName("eu", "speeding", "2015-01-01")},
    ],
    ids=str,
)
def test_another_kind_subject_rule_or_start_is_another_id(changed: dict[str, Any]) -> None:
    assert speeding_violation(**changed).violation_id != speeding_violation().violation_id


def test_driving_time_belongs_to_the_driver_whatever_he_drives() -> None:
    figures = HoursFigures(limit_s=14400.0, actual_s=15000.0)
    base = speeding_violation(kind="continuous_driving", figures=figures)
    assert replace(base, vehicle_id="other").violation_id == base.violation_id
    assert replace(base, driver_id="other").violation_id != base.violation_id
    unnamed = replace(base, driver_id=None)
    assert replace(unnamed, vehicle_id="other").violation_id != unnamed.violation_id


def test_a_driver_and_a_vehicle_of_one_name_are_two_subjects() -> None:
    base = speeding_violation(kind="continuous_driving", driver_id="X", vehicle_id="Y")
    assert base.violation_id != replace(base, driver_id=None, vehicle_id="X").violation_id


def test_operator_and_superseded_violations_are_named_where_there_are_any() -> None:
    wire = speeding_violation(operator_id="OP1", supersedes=("abc",)).to_wire()
    assert (wire["operator_id"], wire["supersedes"]) == ("OP1", ["abc"])
    assert not {"operator_id", "supersedes"} & speeding_violation().to_wire().keys()


def test_a_zero_is_known_and_stays() -> None:
    figures = SpeedingFigures(80.0, "vehicle", 90.0, 90.0, 10.0, "10-20", "10-20", 0.0)
    wire = speeding_violation(figures=figures, ended_us=speeding_violation().started_us).to_wire()
    assert (wire["distance_m"], wire["duration_s"]) == (0.0, 0.0)
