"""From a proven speeding episode to a violation."""

from __future__ import annotations

from typing import Any

from detectors.limits import LimitBook, LimitSource
from detectors.overrides import CLASS_CONFIRMS, LIMIT
from detectors.rule_versions import Version
from detectors.rules import RulePack, SpeedingRule
from detectors.speeding import Episode
from detectors.violation import RuleName, SpeedingFigures, Violation, band_of, rfc3339


def speeding_violation(
    episode: Episode, vehicle: int, vehicle_id: str, driver_id: str | None, limits: LimitBook, pack: RulePack
) -> Violation:
    """The violation an episode is at this moment: open while nothing ended it. The episode must be proven."""
    assert episode.proven_us is not None
    rule, source = episode.version.rule, _limit_source(episode, limits, vehicle)
    confirms = _class_confirms(episode.version, pack)
    return Violation(
        kind="speeding",
        rule=RuleName(pack.name, "speeding", rule.valid_from.isoformat()),
        grade="confirmed" if episode.confirmed or confirms else "review",
        status="open" if episode.closed_us is None else "closed",
        vehicle_id=vehicle_id,
        driver_id=driver_id,
        started_us=episode.start_us,
        ended_us=episode.last_us,
        start=episode.start,
        end=episode.end,
        fixes=episode.fixes,
        figures=SpeedingFigures(
            limit_kmh=episode.limit_at_top / 1000,
            limit_source=(LimitSource.ROAD if episode.on_road_at_top else source).name.lower(),
            top_speed_kmh=episode.top_speed / 1000,
            mean_speed_kmh=round(episode.speed_sum / episode.fixes) / 1000,
            excess_kmh=episode.top_excess / 1000,
            fine_band=band_of(episode.top_excess, rule.fine_bands),
            report_band=band_of(episode.top_excess, rule.report_bands),
            distance_m=episode.distance_mm / 1000,
        ),
        judged_by=_judged_by(episode, limits),
        evidence={
            "limits_kmh": {f"{limit / 1000:g}": fixes for limit, fixes in sorted(episode.limits.items())},
            "first_over": rfc3339(episode.start_us),
            "last_over": rfc3339(episode.last_us),
            "law": rule.source,
        },
        proven_us=episode.proven_us,
        closed_us=episode.closed_us,
    )


def _limit_source(episode: Episode, limits: LimitBook, vehicle: int) -> LimitSource:
    """Where the limit came from where the road did not say one."""
    own = episode.version.overrides.get(LIMIT)
    return limits.source(vehicle) if own is None or limits.all_alike else LimitSource[own.scope.upper()]


def _class_confirms(version: Version[SpeedingRule], pack: RulePack) -> bool:
    own = version.overrides.get(CLASS_CONFIRMS)
    return pack.class_default_confirms if own is None else bool(own.value)


def _judged_by(episode: Episode, limits: LimitBook) -> dict[str, Any]:
    """The five numbers, and what of them and of the limit and the grade is the office's own."""
    version = episode.version
    judged_by: dict[str, Any] = dict(numbers_of(version.rule))
    own = version.overridden()
    if episode.on_road or limits.all_alike:
        own.pop(LIMIT, None)
    if episode.confirmed:
        own.pop(CLASS_CONFIRMS, None)
    if own:
        judged_by["overridden"] = own
    return judged_by


def numbers_of(rule: SpeedingRule) -> dict[str, float]:
    """The five numbers that judge speeding."""
    return {
        "min_excess_kmh": rule.min_excess_kmh,
        "exit_after_s": rule.exit_after_s,
        "max_gap_s": rule.max_gap_s,
        "min_fixes": rule.min_fixes,
        "min_duration_s": rule.min_duration_s,
    }
