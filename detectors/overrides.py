"""An office's own numbers: what it sets otherwise than the rule pack for an operator, a kind or a vehicle, by date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import date
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.columns import Code, grown, room_for
from detectors.rules import RulePack

Scope = Literal["operator", "kind", "vehicle"]
SCOPES: tuple[Scope, ...] = ("operator", "kind", "vehicle")
"""The most specific last: it wins."""

LIMIT = "limit_kmh"
"""The speed limit of vehicles; not a number of the pack's rules."""
CLASS_CONFIRMS = "class_default_confirms"
"""1: over a class default is confirmed; 0: it is for review."""

_TABLES = ("speeding", "silence")
_LIMIT_KMH = (1, 200)


class Override(NamedTuple):
    """One number for whoever the scope names, from a local day on; `valid_to` is exclusive, None is for good.

    One that ends on the day it begins is taken back: it never holds.
    """

    scope: Scope
    scope_id: str
    number: str
    """As in the rule pack, with its table: "speeding.min_duration_s"."""
    value: float
    valid_from: date
    valid_to: date | None
    basis: str
    """Why, in the office's own words."""

    def to_wire(self) -> dict[str, Any]:
        """As a violation shows it; the number itself is the key under which it stands."""
        wire = {
            "scope": self.scope,
            "id": self.scope_id,
            "value": self.value,
            "valid_from": self.valid_from.isoformat(),
            "valid_to": None if self.valid_to is None else self.valid_to.isoformat(),
            "basis": self.basis,
        }
        return {name: value for name, value in wire.items() if value is not None}

    def overlaps(self, other: Override) -> bool:
        """Whether both speak of one number of one scope on the same day; one that ends where it begins holds none."""
        if (self.scope, self.scope_id, self.number) != (other.scope, other.scope_id, other.number):
            return False
        if self.valid_from == self.valid_to or other.valid_from == other.valid_to:
            return False
        return (self.valid_to is None or other.valid_from < self.valid_to) and (
            other.valid_to is None or self.valid_from < other.valid_to
        )


def overridable(pack: RulePack) -> list[str]:
    """The numbers that an office may override."""
    names = [LIMIT, CLASS_CONFIRMS]
    for table in _TABLES:
        for rule in getattr(pack, table)[-1:]:
            names += [f"{table}.{each.name}" for each in fields(rule) if _is_number(getattr(rule, each.name))]
    return names


def demand_overridable(pack: RulePack, number: str, value: float) -> None:
    """ValueError for a value that the pack would not take."""
    if number == LIMIT:
        low, high = _LIMIT_KMH
        if not low <= value <= high:
            raise ValueError(f"{number} is {value:g}, expected {low} to {high} km/h")
    elif number == CLASS_CONFIRMS:
        if value not in (0, 1):
            raise ValueError(f"{number} is {value:g}, expected 0 or 1")
    else:
        table, _, name = number.partition(".")
        for rule in getattr(pack, table):
            with_number(rule, name, value)


def with_number(rule: Any, name: str, value: float) -> Any:
    """The rule with another number. ValueError where its bounds forbid it."""
    if isinstance(getattr(rule, name), int):
        if value != int(value):
            raise ValueError(f"{name} is {value:g}, expected a whole number")
        value = int(value)
    return replace(rule, **{name: value})


def concerning(
    overrides: Mapping[tuple[Scope, str], Sequence[Override]],
    vehicle_id: str,
    kind: str | None,
    operator_id: str | None,
    limit_kmh: float | None,
) -> tuple[Override, ...]:
    """Those that concern a vehicle, in a fixed order; `overrides` are by scope and id.

    A limit of the vehicle's own in the registry is more specific than one for its kind or operator.
    """
    found: list[Override] = []
    scopes: tuple[tuple[Scope, str | None], ...] = (("operator", operator_id), ("kind", kind), ("vehicle", vehicle_id))
    for scope, scope_id in scopes:
        for each in overrides.get((scope, scope_id or ""), ()):
            if each.number != LIMIT or scope == "vehicle" or limit_kmh is None:
                found.append(each)
    return tuple(sorted(found, key=lambda each: (SCOPES.index(each.scope), each.number, each.valid_from)))


class OverrideBook:
    """Which overrides concern each vehicle: a small number a vehicle, and nothing at all while nobody has any.

    Vehicles that the same overrides concern are one *variant*; variant 0 has none. Variants are never removed.
    """

    def __init__(self) -> None:
        self.variants: list[tuple[Override, ...]] = [()]
        self._codes: dict[tuple[Override, ...], int] = {(): 0}
        self._variant = np.empty(0, np.int32)
        self._size = 0

    def reserve(self, size: int) -> None:
        """Have a row for all codes below `size`."""
        self._size = max(self._size, size)
        old = len(self._variant)
        if old and old < self._size:
            self._variant = grown(self._variant, room_for(self._size, old), 0)

    def assign(self, vehicle: int, overrides: tuple[Override, ...]) -> None:
        """Set what `concerning` says of a vehicle."""
        if not overrides and not len(self._variant):
            return
        if not len(self._variant):
            self._variant = np.zeros(room_for(self._size, 0), np.int32)
        self.reserve(vehicle + 1)
        variant = self._codes.setdefault(overrides, len(self.variants))
        if variant == len(self.variants):
            self.variants.append(overrides)
        self._variant[vehicle] = variant

    def of(self, vehicle: int) -> tuple[Override, ...]:
        """The overrides that concern a vehicle."""
        return self.variants[int(self._variant[vehicle])] if vehicle < len(self._variant) else ()

    def variants_of(self, vehicles: Code | NDArray[np.intp]) -> Code | None:
        """The variant of each; None where none of them has overrides."""
        if not len(self._variant):
            return None
        variants = self._variant[vehicles]
        return variants if variants.any() else None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
