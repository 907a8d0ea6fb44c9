"""Which numbers judge a vehicle at a time: the versions of a rule by date, with the office's overrides in place.

Versions are cut at local days only, so a day is looked up among all edges once, and (variant, day) in one sorted list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, Generic, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.checks import NEVER
from detectors.columns import Code, Int
from detectors.overrides import SCOPES, Override, OverrideBook, with_number
from detectors.rules import Dated, Rule


class Version(NamedTuple, Generic[Rule]):
    """The numbers in force for some vehicles during some days."""

    rule: Rule
    """The pack's, with the office's numbers in place."""
    overrides: Mapping[str, Override]
    """By the number they override."""

    def overridden(self) -> dict[str, dict[str, Any]]:
        """For the evidence: each number that is the office's own, by its name without the table."""
        return {number.rpartition(".")[2]: each.to_wire() for number, each in sorted(self.overrides.items())}


class _InForce(NamedTuple):
    """An override with its time, microseconds UTC; the end is exclusive."""

    begin_us: int
    end_us: int
    override: Override


class VersionTable(Generic[Rule]):
    """The versions of one rule of a pack, those without overrides first. Grows with the book's variants."""

    def __init__(
        self, base: Dated[Rule], numbers: Sequence[str], midnight_us: Callable[[date], int], book: OverrideBook
    ) -> None:
        """`numbers` are the names of what overrides may change; only those with a table's name are the rule's."""
        self._base = base
        self._numbers = frozenset(numbers)
        self._midnight_us = midnight_us
        self._book = book
        self._variants = 0
        self._base_begins_us = np.array(base.begins_us, dtype=np.int64)
        self._known: dict[tuple[object, ...], Version[Rule]] = {}
        self.versions: list[Version[Rule]] = []
        """A number that a row is given stays that of its version for good."""
        self._variant = np.empty(0, np.int64)
        self._begin_us = np.empty(0, np.int64)
        self._edges_us = np.empty(0, np.int64)
        self._keys = np.empty(0, np.int64)
        self.refresh()

    def at(self, vehicles: Code | NDArray[np.intp], time_us: Int) -> NDArray[np.intp]:
        """For each row the number of its version; before the first one, the first."""
        variants = self._book.variants_of(vehicles)
        if variants is None:
            return np.maximum(np.searchsorted(self._base_begins_us, time_us, side="right") - 1, 0)
        self.refresh()
        return np.searchsorted(self._keys, self._key(variants, time_us), side="right") - 1

    def one(self, vehicle: int, time_us: int) -> Version[Rule]:
        """The version for a vehicle at a time."""
        row = self.at(np.array([vehicle], dtype=np.int32), np.array([time_us], dtype=np.int64))
        return self.versions[int(row[0])]

    def refresh(self) -> None:
        """Know all variants that the book has by now."""
        if self._variants == len(self._book.variants) or not self._base.rules:
            return
        variants: list[int] = []
        begins_us: list[int] = []
        for variant in range(self._variants, len(self._book.variants)):
            for begin_us, version in self._dated(self._book.variants[variant]):
                variants.append(variant)
                begins_us.append(begin_us)
                self.versions.append(version)
        self._variants = len(self._book.variants)
        self._variant = np.append(self._variant, np.array(variants, dtype=np.int64))
        self._begin_us = np.append(self._begin_us, np.array(begins_us, dtype=np.int64))
        edges_us = np.unique(self._begin_us)
        self._edges_us = edges_us[edges_us != NEVER]
        self._keys = self._key(self._variant, self._begin_us)

    def _key(self, variants: Code | Int, time_us: Int) -> Int:
        day = np.searchsorted(self._edges_us, time_us, side="right")
        key: Int = variants.astype(np.int64) * (len(self._edges_us) + 1) + day
        return key

    def _dated(self, overrides: Sequence[Override]) -> list[tuple[int, Version[Rule]]]:
        """The versions with these overrides, each with when it begins."""
        mine = [self._timed(each) for each in overrides if each.number in self._numbers]
        mine.sort(key=lambda each: SCOPES.index(each.override.scope))
        edges_us = {edge for each in mine for edge in (each.begin_us, each.end_us)} | {*self._base.begins_us[1:]}
        found: list[tuple[int, Version[Rule]]] = []
        for begin_us in (NEVER, *sorted(edges_us - {_FOR_GOOD})):
            in_force = {each.override.number: each.override for each in mine if each.begin_us <= begin_us < each.end_us}
            version = self._version(self._base.at(begin_us), in_force)
            if not found or version is not found[-1][1]:
                found.append((begin_us, version))
        return found

    def _timed(self, override: Override) -> _InForce:
        end_us = _FOR_GOOD if override.valid_to is None else self._midnight_us(override.valid_to)
        return _InForce(self._midnight_us(override.valid_from), end_us, override)

    def _version(self, rule: Rule, in_force: Mapping[str, Override]) -> Version[Rule]:
        """One object for the same rule and overrides, however often it comes."""
        key = (rule.valid_from, *(in_force[number] for number in sorted(in_force)))
        if key not in self._known:
            for number, each in in_force.items():
                table, _, name = number.rpartition(".")
                if table:
                    rule = with_number(rule, name, each.value)
            self._known[key] = Version(rule, in_force)
        return self._known[key]


_FOR_GOOD = int(np.iinfo(np.int64).max)
