"""Loads rule packs: built in by name or from a .toml file, checked, with overrides of single numbers."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib import resources
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import TypeAdapter, ValidationError

from detectors.fix import to_us
from detectors.rules import ContinuousRule, Dated, RulePack, dated


class RulePackError(Exception):
    """A pack or an override is wrong; the message names the file, the number and what was expected."""


@dataclass(frozen=True, slots=True)
class LoadedPack:
    """A checked pack, ready to judge with, and the overrides that made it differ from its file."""

    pack: RulePack
    zone: ZoneInfo
    continuous_driving: Dated[ContinuousRule]
    overrides: dict[str, float]

    def midnight_us(self, day: date) -> int:
        """When a local day begins, microseconds UTC."""
        return _midnight_us(day, self.zone)


def load_pack(name_or_path: str = "vn", overrides: Sequence[str] = ()) -> LoadedPack:
    """The pack of that name or file. An override reads "speeding.max_gap_s=300" and changes all its dated versions."""
    document = _read(name_or_path)
    changed: dict[str, float] = {}
    for override in overrides:
        key, value = _parse_override(override)
        _apply(document, key, value, name_or_path)
        changed[key] = value
    try:
        pack = _ADAPTER.validate_python(document)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise RulePackError(f"rule pack {name_or_path}: " + "; ".join(lines)) from None
    try:
        zone = ZoneInfo(pack.time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise RulePackError(f"rule pack {name_or_path}: time_zone {pack.time_zone!r} is not a known zone") from None
    if pack.unregistered_class not in pack.speed_classes:
        raise RulePackError(
            f"rule pack {name_or_path}: unregistered_class {pack.unregistered_class!r} is none of"
            f" {', '.join(pack.speed_classes)}"
        )
    try:
        dated(pack.speeding, lambda day: _midnight_us(day, zone))
        continuous = dated(pack.continuous_driving, lambda day: _midnight_us(day, zone))
    except ValueError as error:
        raise RulePackError(f"rule pack {name_or_path}: {error}") from None
    return LoadedPack(pack, zone, continuous, changed)


def _midnight_us(day: date, zone: ZoneInfo) -> int:
    return to_us(datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC))


_ADAPTER = TypeAdapter(RulePack)


def _read(name_or_path: str) -> dict[str, Any]:
    try:
        if name_or_path.endswith(".toml"):
            return tomllib.loads(Path(name_or_path).read_text(encoding="utf-8"))
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
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RulePackError(f"rule pack {name_or_path}: not TOML: {error}") from None


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
        raise RulePackError(
            f"rule override {key}: no such number in pack {pack!r}; there are: {', '.join(_numbers(document))}"
        )
    for place in places:
        place[last] = int(value) if isinstance(place[last], int) and value == int(value) else value


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _numbers(node: Any, prefix: str = "") -> list[str]:
    """Dotted names of all numbers, bands and dates apart."""
    if isinstance(node, list):
        return sorted({name for each in node if "name" not in each for name in _numbers(each, prefix)})
    if isinstance(node, dict):
        return [n for key, value in node.items() for n in _numbers(value, f"{prefix}.{key}" if prefix else key)]
    return [prefix] if _is_number(node) else []
