"""Loads rule packs: built in by name or from a .toml file, checked, with overrides of single numbers."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import TypeAdapter, ValidationError

from detectors.fix import to_us
from detectors.hours_rules import HoursRules
from detectors.hours_timeline import resting
from detectors.local_time import LocalCalendar
from detectors.rules import Dated, Rule, RulePack, dated
from detectors.rules.driving_time import HoursPack
from hanhtrinh.toml_file import TomlError, read_toml


class RulePackError(Exception):
    """A pack or an override is wrong; the message names the file, the number and what was expected."""


@dataclass(frozen=True, slots=True)
class LoadedPack:
    """A checked pack, ready to judge with, and the overrides that made it differ from its file."""

    pack: RulePack
    zone: ZoneInfo
    hours: HoursRules
    overrides: dict[str, float]

    def midnight_us(self, day: date) -> int:
        """When a local day begins, microseconds UTC."""
        return _midnight_us(day, self.zone)


@dataclass(frozen=True, slots=True)
class LoadedHours:
    """The rules on driving time of a pack, with the zone its times are shown in and its overrides."""

    rules: HoursRules
    zone: ZoneInfo
    overrides: dict[str, float]


def load_pack(name_or_path: str = "vn", overrides: Sequence[str] = ()) -> LoadedPack:
    """The pack of that name or file. An override reads "speeding.max_gap_s=300" and changes all its dated versions."""
    document, changed = _overridden(name_or_path, overrides)
    if not document.keys() & _VEHICLE_KEYS:
        raise RulePackError(
            f"rule pack {name_or_path} judges driving time only: use it with `hanhtrinh hours`, or name it as the"
            " rule_pack of drivers"
        )
    hours = _hours(document, name_or_path)
    pack = _checked(_PACK, {key: value for key, value in document.items() if key not in _HOURS_KEYS}, name_or_path)
    zone = _zone(pack.time_zone, name_or_path)
    if pack.unregistered_class not in pack.speed_classes:
        raise RulePackError(
            f"rule pack {name_or_path}: unregistered_class {pack.unregistered_class!r} is none of"
            f" {', '.join(pack.speed_classes)}"
        )
    for table, rules in (("speeding", pack.speeding), ("silence", pack.silence)):
        _demand_no_end(table, _dated(rules, zone, name_or_path), name_or_path)
    return LoadedPack(pack, zone, hours, changed)


def load_hours(name_or_path: str, overrides: Sequence[str] = ()) -> LoadedHours:
    """The rules on driving time of a pack, which may hold nothing else."""
    document, changed = _overridden(name_or_path, overrides)
    if document.keys() & _VEHICLE_KEYS:
        loaded = load_pack(name_or_path, overrides)
        return LoadedHours(loaded.hours, loaded.zone, changed)
    hours = _hours(document, name_or_path)
    return LoadedHours(hours, _zone(document["time_zone"], name_or_path), changed)


_PACK = TypeAdapter(RulePack)
_HOURS_PACK = TypeAdapter(HoursPack)
_HOURS_KEYS = frozenset(
    {
        "two_vehicles_s", "unknown_resets_s", "break_activities", "daily_rest_activities",
        "continuous_driving", "daily_driving", "weekly_driving", "fortnight_driving",
    }
)  # fmt: skip
_MAX_TWO_VEHICLES_S = 86_400
_SHARED_KEYS = frozenset({"name", "title", "time_zone"})
_VEHICLE_KEYS = frozenset(RulePack.__slots__) - _SHARED_KEYS

Checked = TypeVar("Checked")


def _checked(adapter: TypeAdapter[Checked], document: dict[str, Any], name: str) -> Checked:
    try:
        return adapter.validate_python(document)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise RulePackError(f"rule pack {name}: " + "; ".join(lines)) from None


def _zone(name: str, pack: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise RulePackError(f"rule pack {pack}: time_zone {name!r} is not a known zone") from None


def _dated(rules: Sequence[Rule], zone: ZoneInfo, pack: str) -> Dated[Rule]:
    try:
        return dated(rules, lambda day: _midnight_us(day, zone))
    except (ValueError, OverflowError) as error:
        raise RulePackError(f"rule pack {pack}: {error}") from None


def _demand_no_end(table: str, rules: Dated[Rule], pack: str) -> None:
    """Fixes are judged by the version that began last, so a rule that ends would go on judging after its end."""
    if rules.ended_us is not None:
        last = rules.rules[-1]
        raise RulePackError(
            f"rule pack {pack}: {table}: the version valid from {last.valid_from} ends on {last.valid_to} and none"
            " follows: leave valid_to out, or add the version that follows"
        )


def _hours(document: dict[str, Any], name: str) -> HoursRules:
    known = _HOURS_KEYS | _SHARED_KEYS
    # Where the pack holds nothing else, a key that is none of ours is a slip of the pen.
    rest = {} if document.keys() & _VEHICLE_KEYS else {key: document[key] for key in document.keys() - known}
    pack = _checked(_HOURS_PACK, {key: document[key] for key in document.keys() & known} | rest, name)
    _check_hours(pack, name)
    if pack.two_vehicles_s > _MAX_TWO_VEHICLES_S:
        raise RulePackError(f"rule pack {name}: two_vehicles_s is {pack.two_vehicles_s:g}, expected up to a day")
    zone = _zone(pack.time_zone, name)
    return HoursRules(
        pack.name,
        LocalCalendar(zone),
        resting(pack.break_activities),
        resting(pack.daily_rest_activities),
        _dated(pack.continuous_driving, zone, name),
        _dated(pack.daily_driving, zone, name),
        _dated(pack.weekly_driving, zone, name),
        _dated(pack.fortnight_driving, zone, name),
        round(pack.two_vehicles_s * 1e6),
        None if pack.unknown_resets_s is None else round(pack.unknown_resets_s * 1e6),
    )


def _check_hours(pack: HoursPack, name: str) -> None:
    """What no single number shows."""
    if not pack.continuous_driving:
        raise RulePackError(f"rule pack {name}: continuous_driving: expected at least one version")
    if pack.unknown_resets_s is not None and "stopped" not in pack.break_activities:
        raise RulePackError(f"rule pack {name}: unknown_resets_s: expected stopped among the break_activities")
    for continuous in pack.continuous_driving:
        longest_s = max(continuous.rest_s, *continuous.rest_s_by_kind.values(), 0.0)
        if pack.unknown_resets_s is not None and pack.unknown_resets_s < longest_s:
            raise RulePackError(
                f"rule pack {name}: unknown_resets_s is {pack.unknown_resets_s:g}, expected at least {longest_s:g}, the"
                " longest rest that ends a drive"
            )
        if (continuous.split_first_s is None) != (continuous.split_second_s is None):
            raise RulePackError(f"rule pack {name}: continuous_driving: split_first_s and split_second_s go together")
    if len({rule.rest_s is None for rule in pack.daily_driving}) > 1:
        raise RulePackError(f"rule pack {name}: daily_driving: rest_s in every version or in none")
    if any(rule.rest_s for rule in pack.daily_driving) and not pack.daily_rest_activities:
        raise RulePackError(f"rule pack {name}: daily_driving.rest_s needs daily_rest_activities")
    for table, rules in (("weekly_driving", pack.weekly_driving), ("fortnight_driving", pack.fortnight_driving)):
        if any(rule.rest_s or rule.extended_limit_s for rule in rules):
            raise RulePackError(f"rule pack {name}: {table}: rest_s and extended_limit_s are for days only")


def _midnight_us(day: date, zone: ZoneInfo) -> int:
    return to_us(datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC))


def _overridden(name_or_path: str, overrides: Sequence[str]) -> tuple[dict[str, Any], dict[str, float]]:
    document = _read(name_or_path)
    changed: dict[str, float] = {}
    for override in overrides:
        key, value = _parse_override(override)
        _apply(document, key, value, name_or_path)
        changed[key] = value
    return document, changed


def _read(name_or_path: str) -> dict[str, Any]:
    try:
        if name_or_path.endswith(".toml"):
            return read_toml(Path(name_or_path))
        return tomllib.loads((resources.files("detectors.rules") / f"{name_or_path}.toml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        built_in = sorted(
            entry.name.removesuffix(".toml")
            for entry in resources.files("detectors.rules").iterdir()
            if entry.name.endswith(".toml")
        )
        raise RulePackError(
            f"no rule pack {name_or_path!r}: give a .toml file or one of {', '.join(built_in)}"
        ) from None
    except TomlError as error:
        raise RulePackError(f"rule pack {name_or_path}: not TOML: {error}") from None
    except OSError as error:
        raise RulePackError(f"rule pack {name_or_path}: {error.strerror}") from None


def _parse_override(override: str) -> tuple[str, float]:
    key, separator, text = override.partition("=")
    try:
        value = float(text)
        if not separator or not (value >= 0) or value == float("inf"):
            raise ValueError
    except ValueError:
        raise RulePackError(
            f"rule override {override!r}: expected NAME=NUMBER, for example speeding.max_gap_s=300"
        ) from None
    return key.strip(), value


def _apply(document: dict[str, Any], key: str, value: float, pack: str) -> None:
    *path, last = key.split(".")
    places: list[Any] = [document]
    for part in path:
        places = [place[part] for place in places if isinstance(place, dict) and part in place]
        places = [each for place in places for each in (place if isinstance(place, list) else [place])]
    places = [place for place in places if isinstance(place, dict) and _is_number(place.get(last))]
    if not places:
        numbers = _numbers(document)
        close = get_close_matches(key, numbers, 1)
        meant = f": did you mean {close[0]}?" if close else "."
        raise RulePackError(
            f"rule override {key}: no such number in pack {pack!r}{meant} There are: {', '.join(numbers)}"
        )
    for place in places:
        place[last] = int(value) if isinstance(place[last], int) and value == int(value) else value


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _numbers(node: Any, prefix: str = "") -> list[str]:
    """Dotted names of all numbers, bands and dates apart."""
    if isinstance(node, list):
        return sorted(
            {
                name
                for each in node
                if not (isinstance(each, dict) and "name" in each)
                for name in _numbers(each, prefix)
            }
        )
    if isinstance(node, dict):
        return [n for key, value in node.items() for n in _numbers(value, f"{prefix}.{key}" if prefix else key)]
    return [prefix] if _is_number(node) else []
