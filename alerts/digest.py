"""Many alerts as one letter: what a storm, or the end of quiet hours, is told with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from alerts.alert import Alert
from alerts.message import Letter, Wording

_VEHICLES = 10
_LINES = 20


def digest(alerts: Sequence[Alert], wording: Wording) -> Letter:
    """A summary of at least one alert: how many of what, the vehicles met most often, the first ones line by line."""
    phrases = wording.phrases
    vehicles = Counter(alert.vehicle_id for alert in alerts if alert.vehicle_id is not None)
    kinds = Counter(wording.headline(alert) for alert in alerts)
    times = [alert.event_at for alert in alerts]
    title = phrases.digest.format(alerts=wording.count(len(alerts)), vehicles=wording.count(len(vehicles)))
    text = [
        title,
        phrases.digest_span.format(first=wording.time(min(times)), last=wording.time(max(times))),
        "",
        phrases.digest_counts,
        *(f"- {headline}: {wording.count(count)}" for headline, count in kinds.most_common()),
        "",
        phrases.digest_vehicles,
        *(f"- {vehicle}: {wording.count(count)}" for vehicle, count in vehicles.most_common(_VEHICLES)),
        "",
        phrases.digest_lines,
        *(f"- {wording.line(alert)}" for alert in alerts[:_LINES]),
    ]
    if len(alerts) > _LINES:
        text.append(phrases.digest_more.format(more=wording.count(len(alerts) - _LINES)))
    return Letter(title, "\n".join(text))
