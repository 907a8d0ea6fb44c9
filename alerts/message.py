"""An alert as a person reads it: one line for a screen, or a title and a text for mail and messengers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from alerts.alert import Alert
from alerts.phrases import ENGLISH, LANGUAGES, Phrases

VIETNAM = ZoneInfo("Asia/Ho_Chi_Minh")
_AROUND = timedelta(minutes=30)
"""What a linked panel shows before and after."""


def describe(alert: Alert, phrases: Phrases = ENGLISH, zone: ZoneInfo = VIETNAM) -> str:
    """One line without control characters: local time, what, plate, driver, how much, where; unknown parts left out."""
    violation = alert.violation
    parts = [
        _time(alert.event_at, phrases, zone),
        _headline(alert, phrases),
        alert.vehicle_id,
        phrases.driver.format(driver=violation["driver_id"]) if violation.get("driver_id") else phrases.no_driver,
        _extent(violation, phrases),
        _place(alert, phrases),
        phrases.review if violation.get("grade") == "review" else None,
    ]
    return " | ".join(_printable(part) for part in parts if part)


class Letter(NamedTuple):
    """What mail and messengers carry: a title of one line, and a text of several."""

    title: str
    text: str


class Wording:
    """How one channel words its alerts: language, time zone, and where a reader finds more."""

    def __init__(self, phrases: Phrases, zone: ZoneInfo = VIETNAM, dashboards_url: str | None = None) -> None:
        """`dashboards_url` is where people reach Grafana; without it letters carry no link."""
        self.phrases = phrases
        self._zone = zone
        self._dashboards_url = dashboards_url.rstrip("/") if dashboards_url else None
        self._language = next((name for name, known in LANGUAGES.items() if known is phrases), "en")

    def line(self, alert: Alert) -> str:
        """One line, as `describe` words it."""
        return describe(alert, self.phrases, self._zone)

    def letter(self, alert: Alert) -> Letter:
        """The alert with every figure labelled; unknown parts left out, but an unknown driver is said to be so."""
        phrases, violation = self.phrases, alert.violation
        extent = _extent(violation, phrases)
        title = " | ".join(part for part in (alert.vehicle_id, _headline(alert, phrases), extent) if part)
        started = violation.get("started_at") or violation.get("counted_from")
        lines = {
            "vehicle": alert.vehicle_id,
            "driver": violation.get("driver_id") or phrases.unknown,
            "operator": alert.operator_name or violation.get("operator_id"),
            "extent": extent,
            "time": self.time(alert.event_at),
            "since": self.time(datetime.fromisoformat(started)) if started else None,
            "place": _point(alert),
            "grade": phrases.review if violation.get("grade") == "review" else None,
            "link": self._link(alert),
        }
        text = [_headline(alert, phrases)]
        text += [f"{phrases.labels[name]}: {value}" for name, value in lines.items() if value]
        return Letter(_printable(title), "\n".join(map(_printable, text)))

    def headline(self, alert: Alert) -> str:
        """What has happened, in a few words."""
        return _printable(_headline(alert, self.phrases))

    def time(self, moment: datetime) -> str:
        """Local, with the zone."""
        return _time(moment, self.phrases, self._zone)

    def count(self, number: int) -> str:
        """A whole number with the language's mark between thousands."""
        return f"{number:,}".replace(",", self.phrases.thousands_mark)

    def _link(self, alert: Alert) -> str | None:
        if self._dashboards_url is None or alert.vehicle_id is None:
            return None
        began = alert.violation.get("started_at") or alert.violation.get("counted_from")
        first = min(alert.event_at, datetime.fromisoformat(began)) if began else alert.event_at
        query = {
            "var-vehicle": alert.vehicle_id,
            "from": _milliseconds(first - _AROUND),
            "to": _milliseconds(alert.event_at + _AROUND),
        }
        return f"{self._dashboards_url}/d/hanhtrinh-vehicle-{self._language}?{urlencode(query)}"


def _time(moment: datetime, phrases: Phrases, zone: ZoneInfo) -> str:
    local = moment.astimezone(zone)
    return local.strftime(phrases.time).format(offset=local.isoformat(timespec="seconds")[19:])


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
    point = _point(alert)
    return point and phrases.place.format(point=point)


def _point(alert: Alert) -> str | None:
    place = alert.violation.get("end" if alert.stage == "closed" else "start")
    # A decimal point always: people paste the pair into a map search.
    return f"{place['lat']:.5f}, {place['lon']:.5f}" if place else None


def _number(value: float, phrases: Phrases) -> str:
    return f"{value:.1f}".removesuffix(".0").replace(".", phrases.decimal_mark)


def _hours(seconds: float) -> str:
    minutes, rest_s = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest_s:02d}"


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
