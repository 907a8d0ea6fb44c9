"""A pack as it was in force on one day, for all of history: what would have been found had nothing changed since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from detectors.checks import NEVER
from detectors.hours_rules import HoursRules
from detectors.rules import Dated, Rule
from hanhtrinh.rule_packs import LoadedPack, RulePackError


def pack_as_of(loaded: LoadedPack, day: date) -> LoadedPack:
    """The pack with one version of each rule. RulePackError when it knew nothing of speeding on that day."""
    pack = loaded.pack
    speeding, silence = _in_force(pack.speeding, day), _in_force(pack.silence, day)
    if not speeding:
        first = min(rule.valid_from for rule in pack.speeding)
        raise RulePackError(
            f"rule pack {pack.name}: no rule on speeding was in force on {day}, the first is of {first}"
        )
    hours = hours_as_of(loaded.hours, loaded.midnight_us(day))
    return replace(loaded, pack=replace(pack, speeding=speeding, silence=silence), hours=hours)


def hours_as_of(hours: HoursRules, midnight_us: int) -> HoursRules:
    """The rules on driving time likewise; a kind of which none was in force then is not judged."""
    return replace(
        hours,
        continuous=_only(hours.continuous, midnight_us),
        daily=_only(hours.daily, midnight_us),
        weekly=_only(hours.weekly, midnight_us),
        fortnight=_only(hours.fortnight, midnight_us),
    )


def _in_force(rules: Sequence[Rule], day: date) -> tuple[Rule, ...]:
    found = (each for each in rules if each.valid_from <= day and (each.valid_to is None or day < each.valid_to))
    return tuple(replace(each, valid_to=None) for each in found)  # type: ignore[type-var]


def _only(rules: Dated[Rule], time_us: int) -> Dated[Rule]:
    spans = rules.spans(time_us, time_us + 1)
    return Dated([NEVER], [spans[0].rule]) if spans else Dated((), ())
