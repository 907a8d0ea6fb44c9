"""The alarms as the files that Prometheus and Grafana read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from dashboards import pipeline
from dashboards.alarms import ALARMS, Alarm
from dashboards.queries import PROMETHEUS

_HERE = Path(__file__).parent
PROMETHEUS_RULES = _HERE.parent / "deploy" / "prometheus" / "rules" / "hanhtrinh.yml"
GRAFANA_RULES = _HERE / "provisioning" / "alerting" / "hanhtrinh.yml"

_PAGE = "docs/when-things-fail.md"
_DASHBOARD = "hanhtrinh-pipeline-vi"
EVERY_S = 30
_LOOK_BACK_S = 300
# Not that of the dashboards: which of both is made first is Grafana's affair, and the second would clash.
_FOLDER = "Báo động (Alarms)"


def documents() -> Iterator[tuple[Path, str]]:
    """Both files and their texts."""
    yield PROMETHEUS_RULES, _text({"groups": [_prometheus_group()]})
    yield GRAFANA_RULES, _text({"apiVersion": 1, "groups": [_grafana_group()]})


def _text(document: object) -> str:
    body = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
    return f"# Written by `make dashboards` from dashboards/alarms.py.\n{body}"


def _prometheus_group() -> dict[str, Any]:
    rules = [
        {
            "alert": alarm.name,
            "expr": f"({alarm.expression}) > {alarm.above:g}",
            "for": f"{alarm.for_s}s",
            "labels": {"severity": alarm.severity},
            "annotations": _annotations(alarm),
        }
        for alarm in ALARMS
    ]
    return {"name": "hanhtrinh", "interval": f"{EVERY_S}s", "rules": rules}


def _grafana_group() -> dict[str, Any]:
    panels = _panel_ids()
    rules = [
        {
            "uid": alarm.name,
            "title": f"{alarm.title.vi} / {alarm.title.en}",
            "condition": "B",
            "data": [_question(alarm), _threshold(alarm)],
            # No series at all is what `absent` asks for; of the others it says nothing.
            "noDataState": "OK",
            "execErrState": "Error",
            "for": f"{alarm.for_s}s",
            "labels": {"severity": alarm.severity},
            "dashboardUid": _DASHBOARD,
            "panelId": panels[alarm.panel.vi],
            "annotations": {
                **_annotations(alarm), "__dashboardUid__": _DASHBOARD, "__panelId__": str(panels[alarm.panel.vi])
            },
            "isPaused": False,
        }
        for alarm in ALARMS
    ]  # fmt: skip
    return {"orgId": 1, "name": "hanhtrinh", "folder": _FOLDER, "interval": f"{EVERY_S}s", "rules": rules}


def _question(alarm: Alarm) -> dict[str, Any]:
    return {
        "refId": "A",
        "datasourceUid": PROMETHEUS.uid,
        "relativeTimeRange": {"from": _LOOK_BACK_S, "to": 0},
        "model": {"refId": "A", "expr": alarm.expression, "instant": True, "range": False},
    }


def _threshold(alarm: Alarm) -> dict[str, Any]:
    evaluator = {"type": "gt", "params": [alarm.above]}
    return {
        "refId": "B",
        "datasourceUid": "__expr__",
        "model": {"refId": "B", "type": "threshold", "expression": "A", "conditions": [{"evaluator": evaluator}]},
    }


def _annotations(alarm: Alarm) -> dict[str, str]:
    return {
        "summary": alarm.summary.vi,
        "summary_en": alarm.summary.en,
        "remedy": f"{_PAGE}#{anchor(alarm.section)}",
    }


def anchor(heading: str) -> str:
    """How a heading of a page is linked to."""
    return "".join(each for each in heading.lower().replace(" ", "-") if each.isalnum() or each in "-_")


def _panel_ids() -> dict[str, int]:
    panels = pipeline.dashboard("vi").build().panels or []
    return {panel.title: panel.id_val for panel in panels if panel.title is not None and panel.id_val is not None}
