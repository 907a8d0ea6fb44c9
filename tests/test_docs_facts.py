"""The tables of README and docs/ are those of the program: settings, metrics, flags, and the numbers of the rules."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from prometheus_client import CollectorRegistry

from detectors.checks import Check
from hanhtrinh.metrics import BridgeMetrics, MaintenanceMetrics, NotifierMetrics, WorkerMetrics
from tests.doc_pages import REPOSITORY, code_spans, pages, table
from tests.doc_tables import filled


def test_generated_tables_are_in_step() -> None:
    for page in pages():
        assert page.read_text("utf-8") == filled(page.read_text("utf-8")), "run `python -m tests.doc_tables`"


def test_every_metric_has_its_line_and_no_other() -> None:
    text = (REPOSITORY / "docs" / "operate.md").read_text("utf-8")
    named = {name for row in table(text, "Metrics") for name in re.findall(r"`(\w+)`", row[0])}
    there = set()
    for metrics in (BridgeMetrics, WorkerMetrics, NotifierMetrics, MaintenanceMetrics):
        registry = CollectorRegistry()
        metrics(registry)
        there |= {f"{family.name}{'_total' if family.type == 'counter' else ''}" for family in registry.collect()}
    assert named == there | {"hanhtrinh_healthy"}


def test_the_numbers_of_the_rules_are_those_of_the_pack() -> None:
    text = (REPOSITORY / "docs" / "rules.md").read_text("utf-8")
    pack = tomllib.loads((REPOSITORY / "detectors" / "rules" / "vn.toml").read_text("utf-8"))
    sections = "checks|activity|speeding|silence|continuous_driving"
    shown = dict(re.findall(rf"`((?:{sections})\.[\w.]+|two_vehicles_s|unknown_resets_s)`(?: \| | = )([\d.]+)", text))
    for name, value in shown.items():
        assert set(values(pack, name.split("."))) == {float(value)}, name
    for section in ("checks", "activity", "speeding", "silence"):
        for version in pack[section] if isinstance(pack[section], list) else [pack[section]]:
            for key, value in version.items():
                assert not isinstance(value, int | float) or f"{section}.{key}" in shown, f"{section}.{key}"
    assert f"before {pack['checks']['earliest']}" in text
    for version in pack["continuous_driving"]:
        until = f"{version['valid_to']} " if "valid_to" in version else ""
        assert f"| {version['valid_from']} | {until}| {version['source']} |" in text
    for kind in ("daily_driving", "weekly_driving"):
        for version in pack[kind]:
            row = re.escape(f"| `{kind}` | ")
            hours = f"{version['limit_s'] // 3600}:00:00 h"
            last = f" to {version['valid_to'] - timedelta(days=1)}" if "valid_to" in version else ""
            begins = f"{version['valid_from']}{last}" if last else f"from {version['valid_from']}"
            assumed = "assumed" if version.get("basis") == "assumed" else "Law"
            assert re.search(rf"{row}{hours} .* \| {begins} \| {assumed}", text), (kind, version)
    for name, row in pack["speed_classes"].items():
        assert re.search(rf"\| `{name}` \| .* \| {row['default_kmh']:g} \| {row['highest_kmh']:g} \|", text), name


def values(place: Any, path: list[str]) -> Iterator[float]:
    """The numbers at a dotted name, in every version."""
    if isinstance(place, list):
        for version in place:
            yield from values(version, path)
    elif path:
        yield from values(place[path[0]], path[1:])
    else:
        yield float(place)


def test_the_flags_of_the_rules_are_those_of_the_checks() -> None:
    text = (REPOSITORY / "docs" / "rules.md").read_text("utf-8")
    rows = table(text, "Which fixes are trusted")
    assert {row[0]: int(row[1]) for row in rows} == {str(check.name).lower(): check.value for check in Check}


def test_every_metric_and_log_line_of_the_page_on_failures_is_in_the_program() -> None:
    page = REPOSITORY / "docs" / "when-things-fail.md"
    operate = (REPOSITORY / "docs" / "operate.md").read_text("utf-8")
    known = {name for row in table(operate, "Metrics") for name in re.findall(r"`(\w+)`", row[0])}
    named = set(re.findall(r"hanhtrinh_(?:bridge|worker|notifier)_\w+", page.read_text("utf-8")))
    assert len(named) > 10
    assert named <= known
    folders = ("ingest", "hanhtrinh", "alerts", "storage")
    program = "".join(
        path.read_text("utf-8") for folder in folders for path in sorted((REPOSITORY / folder).rglob("*.py"))
    )
    said = [
        span for span in code_spans(page) if re.match(r"[A-Za-z]+ [a-z]", span) and not span.startswith("hanhtrinh ")
    ]
    assert len(said) > 12
    # The words of the server are its own.
    missing = [span for span in said if span not in program and span not in _SAID_BY_THE_SERVER]
    assert missing == []


_SAID_BY_THE_SERVER = {"No space left on device", "read-only transaction"}
