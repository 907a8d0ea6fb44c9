"""An alert as one line that a person understands.

The words of a language stand in one `Phrases`; another language is another `Phrases`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from alerts.alert import Alert

VIETNAM = ZoneInfo("Asia/Ho_Chi_Minh")


@dataclass(frozen=True)
class Phrases:
    """The words of one language. Templates are filled by `str.format` with the names shown in ENGLISH."""

    kinds: Mapping[str, str]
    stages: Mapping[str, str]
    driver: str
    no_driver: str
    speed: str
    hours: str
    rest: str
    silence: str
    place: str
    review: str
    decimal_mark: str


ENGLISH = Phrases(
    kinds={
        "speeding": "speeding",
        "continuous_driving": "driving without a rest",
        "short_rest": "rest too short",
        "daily_driving": "driving time of the day",
        "weekly_driving": "driving time of the week",
        "fortnight_driving": "driving time of two weeks",
        "daily_extension": "one long day too many",
        "silence": "silent tracker",
    },
    stages={"warning": "{kind}: warning", "opened": "{kind}: began", "closed": "{kind}: ended"},
    driver="driver {driver}",
    no_driver="driver unknown",
    speed="{top} km/h where {limit} is allowed (+{excess})",
    hours="{actual} h where {limit} h is allowed",
    rest="{actual} h where {limit} h is required",
    silence="nothing for {actual} h where {limit} h is allowed",
    place="at {lat}, {lon}",
    review="to be reviewed",
    decimal_mark=".",
)


def describe(alert: Alert, phrases: Phrases = ENGLISH, zone: ZoneInfo = VIETNAM) -> str:
    """One line without control characters: local time, what, plate, driver, how much, where; unknown parts left out."""
    violation = alert.violation
    parts = [
        alert.event_at.astimezone(zone).isoformat(sep=" ", timespec="seconds"),
        _headline(alert, phrases),
        alert.vehicle_id,
        phrases.driver.format(driver=violation["driver_id"]) if violation.get("driver_id") else phrases.no_driver,
        _extent(violation, phrases),
        _place(alert, phrases),
        phrases.review if violation.get("grade") == "review" else None,
    ]
    return " | ".join(_printable(part) for part in parts if part)


def _headline(alert: Alert, phrases: Phrases) -> str:
    kind = str(alert.violation.get("kind", "?"))
    named = phrases.kinds.get(kind, kind.replace("_", " "))
    return phrases.stages.get(alert.stage, "{kind}: " + alert.stage).format(kind=named)


def _extent(violation: Mapping[str, Any], phrases: Phrases) -> str | None:
    top_kmh, limit_kmh, excess_kmh = (violation.get(field) for field in ("top_speed_kmh", "limit_kmh", "excess_kmh"))
    if top_kmh is not None and limit_kmh is not None and excess_kmh is not None:
        return phrases.speed.format(
            top=_number(top_kmh, phrases), limit=_number(limit_kmh, phrases), excess=_number(excess_kmh, phrases)
        )
    actual_s, limit_s = violation.get("actual_s"), violation.get("limit_s")
    if actual_s is not None and limit_s is not None:
        special = {"short_rest": phrases.rest, "silence": phrases.silence}
        phrase = special.get(str(violation.get("kind")), phrases.hours)
        return phrase.format(actual=_hours(actual_s), limit=_hours(limit_s))
    return None


def _place(alert: Alert, phrases: Phrases) -> str | None:
    place = alert.violation.get("end" if alert.stage == "closed" else "start")
    if not place:
        return None
    # A point always: people paste the pair into a map search.
    return phrases.place.format(lat=f"{place['lat']:.5f}", lon=f"{place['lon']:.5f}")


def _number(value: float, phrases: Phrases) -> str:
    return f"{value:.1f}".removesuffix(".0").replace(".", phrases.decimal_mark)


def _hours(seconds: float) -> str:
    minutes, rest_s = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest_s:02d}"


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
