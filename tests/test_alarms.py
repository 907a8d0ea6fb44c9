"""The alarms of the pipeline: each rings when it should, and not before, as Prometheus itself judges."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest
import yaml
from prometheus_client import CollectorRegistry

from dashboards import alarm_files, pipeline
from dashboards.alarms import ALARMS, Alarm
from dashboards.catalogue import DASHBOARDS
from dashboards.words import LANGUAGES
from hanhtrinh.metrics import BridgeMetrics, MaintenanceMetrics, MetricsServer, NotifierMetrics, WorkerMetrics
from tests.services.prometheus import promtool

REPOSITORY = Path(__file__).parents[1]
PAGE = REPOSITORY / "docs" / "when-things-fail.md"

# An hour in steps of 30 s in which all is well: ten messages a second, a third of a percent of them dead letters.
WELL: Mapping[str, str] = {
    'hanhtrinh_healthy{process="bridge"}': "1x120",
    'hanhtrinh_healthy{process="worker", instance="1"}': "1x120",
    'hanhtrinh_healthy{process="worker", instance="2"}': "1x120",
    'hanhtrinh_healthy{process="notifier"}': "1x120",
    'hanhtrinh_healthy{process="maintenance"}': "1x120",
    "hanhtrinh_bridge_received_total": "0+300x120",
    "hanhtrinh_bridge_appended_total": "0+300x120",
    "hanhtrinh_bridge_reconnects_total": "0x120",
    'hanhtrinh_bridge_refused_total{reason="too_large"}': "0x120",
    "hanhtrinh_worker_messages_total": "0+300x120",
    'hanhtrinh_worker_dead_letters_total{reason="bad_json"}': "0+1x120",
    "hanhtrinh_worker_lag_messages": "5x120",
    "hanhtrinh_worker_lag_seconds": "0x120",
    "hanhtrinh_worker_stopped_partitions": "0x120",
    'hanhtrinh_worker_loop_stall_seconds_bucket{le="0.25"}': "0+600x120",
    'hanhtrinh_worker_loop_stall_seconds_bucket{le="0.5"}': "0+600x120",
    'hanhtrinh_worker_loop_stall_seconds_bucket{le="+Inf"}': "0+600x120",
    "hanhtrinh_notifier_oldest_seconds": "2x120",
    'hanhtrinh_notifier_gave_up_total{channel="webhook"}': "0x120",
    "hanhtrinh_maintenance_oldest_rejudge_mark_seconds": "3x120",
    "hanhtrinh_maintenance_last_turn_timestamp_seconds": "0+30x120",
}


class Case(NamedTuple):
    """What goes wrong after half an hour, when the alarm is still silent and when it rings, in minutes."""

    alarm: str
    instead: Mapping[str, str]
    silent_at: int
    rings_at: int
    labels: Mapping[str, str] = {}


def gone(process: str) -> dict[str, str]:
    return {series: "1x60 stale _x59" for series in WELL if f'process="{process}"' in series}


CASES = (
    Case("HanhtrinhBridgeDown", gone("bridge"), 31, 34, {"process": "bridge"}),
    Case("HanhtrinhWorkerDown", gone("worker"), 31, 34, {"process": "worker"}),
    Case("HanhtrinhNotifierDown", gone("notifier"), 31, 34, {"process": "notifier"}),
    Case("HanhtrinhMaintenanceDown", gone("maintenance"), 31, 34, {"process": "maintenance"}),
    Case(
        "HanhtrinhWorkersMissing", {'hanhtrinh_healthy{process="worker", instance="2"}': "1x60 stale _x59"}, 34, 37
    ),
    Case("HanhtrinhBridgeCutOff", {'hanhtrinh_healthy{process="bridge"}': "1x60 0x59"}, 31, 34),
    Case("HanhtrinhBridgeReconnects", {"hanhtrinh_bridge_reconnects_total": "0x60 1+1x59"}, 31, 36),
    Case("HanhtrinhNothingArrives", {"hanhtrinh_bridge_received_total": "0+300x60 18000x59"}, 42, 47),
    Case(
        "HanhtrinhMessagesRefused",
        {'hanhtrinh_bridge_refused_total{reason="too_large"}': "0x60 3x59"}, 29, 31, {"reason": "too_large"},
    ),
    Case(
        "HanhtrinhDatabaseAway",
        {'hanhtrinh_healthy{process="worker", instance="1"}': "1x60 0x59"}, 30, 32, {"process": "worker"},
    ),
    Case("HanhtrinhPartitionStopped", {"hanhtrinh_worker_stopped_partitions": "0x60 1x59"}, 30, 32),
    Case("HanhtrinhWorkerStands", {"hanhtrinh_worker_lag_seconds": "0x60 0+30x59"}, 33, 35),
    Case("HanhtrinhFallsBehind", {"hanhtrinh_worker_lag_messages": "5x60 5000x59"}, 39, 42),
    Case(
        "HanhtrinhLoopStalls",
        {'hanhtrinh_worker_loop_stall_seconds_bucket{le="0.25"}': "0+600x60 36000x59"}, 35, 45,
    ),
    Case(
        "HanhtrinhDeadLetters",
        {'hanhtrinh_worker_dead_letters_total{reason="bad_json"}': "0+1x60 60+30x59"}, 40, 50,
    ),
    Case("HanhtrinhRejudgeWaits", {"hanhtrinh_maintenance_oldest_rejudge_mark_seconds": "3x60 0+30x59"}, 48, 51),
    Case("HanhtrinhOutboxOld", {"hanhtrinh_notifier_oldest_seconds": "2x60 0+30x59"}, 38, 41),
    Case(
        "HanhtrinhAlertsGivenUp",
        {'hanhtrinh_notifier_gave_up_total{channel="webhook"}': "0x60 1x59"}, 29, 31, {"channel": "webhook"},
    ),
    Case(
        "HanhtrinhMaintenanceStands",
        {"hanhtrinh_maintenance_last_turn_timestamp_seconds": "0+30x60 1800x59"}, 48, 51,
    ),
)  # fmt: skip


def test_the_files_are_what_the_code_writes_and_prometheus_takes_them() -> None:
    for path, text in alarm_files.documents():
        assert path.read_text("utf-8") == text, f"{path}: run `make dashboards`"
    promtool("check", "config", str(REPOSITORY / "deploy" / "prometheus" / "prometheus.yml"))


def test_every_alarm_has_its_case() -> None:
    assert [case.alarm for case in CASES] == [alarm.name for alarm in ALARMS]


def test_no_alarm_rings_while_all_is_well(tmp_path: Path) -> None:
    run_rules(tmp_path, "all is well", WELL, [silent(alarm.name, at) for alarm in ALARMS for at in (1, 10, 31, 59)])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alarm)
def test_an_alarm_rings_when_it_should_and_not_before(case: Case, tmp_path: Path) -> None:
    assert set(case.instead) <= set(WELL)
    looks = [silent(case.alarm, case.silent_at), rings(case, case.rings_at)]
    run_rules(tmp_path, case.alarm, {**WELL, **case.instead}, looks)


def test_a_stopped_partition_is_not_told_as_a_lost_database(tmp_path: Path) -> None:
    series = {
        **WELL,
        'hanhtrinh_healthy{process="worker", instance="1"}': "1x60 0x59",
        "hanhtrinh_worker_stopped_partitions": "0x60 1x59",
    }
    run_rules(tmp_path, "stopped", series, [silent("HanhtrinhDatabaseAway", 40)])


def test_without_any_process_only_the_missing_ones_are_told(tmp_path: Path) -> None:
    missing = {f"Hanhtrinh{process}Down" for process in ("Bridge", "Worker", "Notifier", "Maintenance")}
    looks = [silent(alarm.name, 30) for alarm in ALARMS if alarm.name not in missing]
    run_rules(tmp_path, "nothing", {"up": "0x120"}, looks)


def silent(alarm: str, at_min: int) -> dict[str, Any]:
    return {"eval_time": f"{at_min}m", "alertname": alarm, "exp_alerts": []}


def rings(case: Case, at_min: int) -> dict[str, Any]:
    [rule] = [rule for rule in prometheus_rules() if rule["alert"] == case.alarm]
    annotations = rule["annotations"]
    for label, value in case.labels.items():
        annotations = {name: text.replace(f"{{{{ $labels.{label} }}}}", value) for name, text in annotations.items()}
    expected = {"exp_labels": {**rule["labels"], **case.labels}, "exp_annotations": annotations}
    return {"eval_time": f"{at_min}m", "alertname": case.alarm, "exp_alerts": [expected]}


def run_rules(folder: Path, name: str, series: Mapping[str, str], looks: list[dict[str, Any]]) -> None:
    test = {
        "rule_files": [str(alarm_files.PROMETHEUS_RULES)],
        "evaluation_interval": "30s",
        "tests": [
            {
                "name": name,
                "interval": "30s",
                "input_series": [{"series": each, "values": values} for each, values in series.items()],
                "alert_rule_test": looks,
            }
        ],
    }
    path = folder / "test.yml"
    path.write_text(yaml.safe_dump(test, allow_unicode=True), "utf-8")
    promtool("test", "rules", str(path))


def prometheus_rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(alarm_files.PROMETHEUS_RULES.read_text("utf-8"))["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def test_grafana_asks_the_same_and_leads_to_a_panel() -> None:
    [group] = yaml.safe_load(alarm_files.GRAFANA_RULES.read_text("utf-8"))["groups"]
    board = pipeline.dashboard("vi").build()
    panels = {panel.id_val: panel.title for panel in board.panels or []}
    sources = REPOSITORY / "dashboards" / "provisioning" / "datasources" / "hanhtrinh.yml"
    uids = {source["uid"] for source in yaml.safe_load(sources.read_text("utf-8"))["datasources"]}
    for alarm, rule, of_prometheus in zip(ALARMS, group["rules"], prometheus_rules(), strict=True):
        question, threshold = rule["data"]
        assert rule["uid"] == alarm.name == of_prometheus["alert"]
        # Grafana takes no longer one.
        assert len(rule["uid"]) <= 40
        assert question["datasourceUid"] in uids
        [condition] = threshold["model"]["conditions"]
        assert condition["evaluator"]["type"] == "gt"
        [above] = condition["evaluator"]["params"]
        assert of_prometheus["expr"] == f"({question['model']['expr']}) > {above:g}"
        assert (rule["for"], rule["labels"]) == (of_prometheus["for"], of_prometheus["labels"])
        assert rule["annotations"]["__dashboardUid__"] == rule["dashboardUid"] == board.uid
        assert rule["annotations"]["__panelId__"] == str(rule["panelId"])
        assert panels[rule["panelId"]] == alarm.panel.vi
    assert len({rule["title"] for rule in group["rules"]}) == len(ALARMS)


@pytest.mark.parametrize("alarm", ALARMS, ids=lambda alarm: alarm.name)
def test_an_alarm_leads_to_the_section_that_names_it(alarm: Alarm) -> None:
    sections = re.split(r"^### ", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    [section] = [" ".join(text.split()) for text in sections if text.startswith(f"{alarm.section}\n")]
    assert f"`{alarm.name}`" in section
    assert f"*{alarm.panel.en}*" in section
    assert alarm.for_s % alarm_files.EVERY_S == 0


def test_the_page_on_failures_names_no_alarm_or_panel_that_is_not_there() -> None:
    text = " ".join(PAGE.read_text("utf-8").split())
    assert set(re.findall(r"`(Hanhtrinh\w+)`", text)) == {alarm.name for alarm in ALARMS}
    titles = {panel.title for panel in pipeline.dashboard("en").build().panels or []}
    assert set(re.findall(r"(?<!\*)\*([^*]+)\*(?!\*)", text)) - {"Pipeline", "Control room"} <= titles


def expressions() -> Iterator[str]:
    """Of every panel and alarm."""
    for build in DASHBOARDS:
        for panel in build(LANGUAGES[0]).build().panels or []:
            for target in getattr(panel, "targets", None) or []:
                if (expression := getattr(target, "expr", None)) is not None:
                    yield expression
    yield from (alarm.expression for alarm in ALARMS)


def product_labels() -> dict[str, set[str]]:
    """The labels of every series that the product can export, by its name."""
    found: dict[str, set[str]] = {"ALERTS": {"alertname", "severity", "alertstate"}}
    registry = CollectorRegistry()
    for metrics in (BridgeMetrics, WorkerMetrics, NotifierMetrics, MaintenanceMetrics):
        metrics(registry)
    server = MetricsServer(registry, "127.0.0.1", 0, {"worker": lambda: None})
    server.start()
    server.stop()
    for collector in registry._collector_to_names:
        labels = set(getattr(collector, "_labelnames", ()))
        for family in cast(Any, collector).describe():
            endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
            for ending in endings:
                found[family.name + ending] = labels | ({"le"} if ending == "_bucket" else set())
    return found


def test_no_expression_names_a_metric_or_label_that_the_product_does_not_export() -> None:
    known = product_labels()
    asked = list(expressions())
    assert len(asked) > 40
    for expression in asked:
        names = re.findall(r"\b(?:hanhtrinh_\w+|ALERTS)\b", expression)
        assert names, expression
        for name in names:
            assert name in known, f"{name} in {expression}"
        for name, inside in re.findall(r"\b(hanhtrinh_\w+|ALERTS)\{([^}]*)\}", expression):
            assert set(re.findall(r"(\w+)=", inside)) <= known[name], expression
        allowed = set.union(*(known[name] for name in names))
        for inside in re.findall(r"\bby \(([^)]*)\)", expression):
            assert set(re.findall(r"\w+", inside)) <= allowed, expression
