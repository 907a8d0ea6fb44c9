"""Metrics: what is counted arrives in the text that Prometheus reads, and the health check says why not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from hanhtrinh.metrics import BridgeMetrics, MetricsAddressError, MetricsServer, NotifierMetrics, WorkerMetrics


class Health:
    """A health check whose answer the test sets."""

    def __init__(self) -> None:
        self.reason: str | None = None

    def __call__(self) -> str | None:
        return self.reason


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def server(registry: CollectorRegistry, health: Health) -> Iterator[MetricsServer]:
    server = MetricsServer(registry, "127.0.0.1", 0, {"worker": health})
    server.start()
    yield server
    server.stop()


def get(server: MetricsServer, path: str) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def samples(server: MetricsServer) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample of /metrics by its name and label values."""
    status, text = get(server, "/metrics")
    assert status == 200
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_counts_of_the_bridge_are_served(registry: CollectorRegistry, server: MetricsServer) -> None:
    metrics = BridgeMetrics(registry)
    metrics.received(7)
    metrics.appended(5)
    metrics.refused("too_large", 2)
    metrics.reconnected()
    found = samples(server)
    assert found["hanhtrinh_bridge_received_total", ()] == 7
    assert found["hanhtrinh_bridge_appended_total", ()] == 5
    assert found["hanhtrinh_bridge_refused_total", ("too_large",)] == 2
    assert found["hanhtrinh_bridge_reconnects_total", ()] == 1


def test_counts_of_the_worker_are_served(registry: CollectorRegistry, server: MetricsServer) -> None:
    metrics = WorkerMetrics(registry)
    metrics.batch(messages=100, fixes=90, late=4, duplicates=3, seconds=0.03)
    metrics.batch(messages=1, fixes=1, late=0, duplicates=0, seconds=0.002)
    metrics.dead_letters({"bad_json": 2, "no_position": 1})
    metrics.violations({("speeding", "opened"): 2})
    metrics.lag(40, 1.5)
    metrics.event_to_store([0.2, 0.3, 4000.0])
    metrics.rejudged(3, 0.2)
    found = samples(server)
    assert found["hanhtrinh_worker_messages_total", ()] == 101
    assert found["hanhtrinh_worker_fixes_total", ()] == 91
    assert found["hanhtrinh_worker_late_fixes_total", ()] == 4
    assert found["hanhtrinh_worker_duplicate_fixes_total", ()] == 3
    assert found["hanhtrinh_worker_dead_letters_total", ("bad_json",)] == 2
    assert found["hanhtrinh_worker_violations_total", ("speeding", "opened")] == 2
    assert found["hanhtrinh_worker_lag_messages", ()] == 40
    assert found["hanhtrinh_worker_lag_seconds", ()] == 1.5
    assert found["hanhtrinh_worker_batch_messages_bucket", ("1.0",)] == 1
    assert found["hanhtrinh_worker_batch_messages_bucket", ("100.0",)] == 2
    assert found["hanhtrinh_worker_event_to_store_seconds_bucket", ("0.5",)] == 2
    assert found["hanhtrinh_worker_event_to_store_seconds_count", ()] == 3
    assert found["hanhtrinh_worker_rejudged_vehicles_total", ()] == 3


def test_counts_of_the_notifier_are_served(registry: CollectorRegistry, server: MetricsServer) -> None:
    metrics = NotifierMetrics(registry)
    metrics.sent("webhook", 3)
    metrics.failed("webhook", 2)
    metrics.gave_up("mqtt", 1)
    metrics.recorded(4)
    metrics.waiting(9, 12.5)
    metrics.event_to_alert(1.2)
    found = samples(server)
    assert found["hanhtrinh_notifier_sent_total", ("webhook",)] == 3
    assert found["hanhtrinh_notifier_failed_total", ("webhook",)] == 2
    assert found["hanhtrinh_notifier_gave_up_total", ("mqtt",)] == 1
    assert found["hanhtrinh_notifier_recorded_total", ()] == 4
    assert found["hanhtrinh_notifier_waiting", ()] == 9
    assert found["hanhtrinh_notifier_oldest_seconds", ()] == 12.5
    assert found["hanhtrinh_notifier_event_to_alert_seconds_bucket", ("2.0",)] == 1


def test_one_process_may_hold_all_three(registry: CollectorRegistry) -> None:
    for metrics in (BridgeMetrics, WorkerMetrics, NotifierMetrics):
        metrics(registry)


def test_nothing_is_labelled_by_vehicle_or_driver(registry: CollectorRegistry) -> None:
    for metrics in (BridgeMetrics, WorkerMetrics, NotifierMetrics):
        metrics(registry)
    labels = {label for family in registry.collect() for sample in family.samples for label in sample.labels}
    assert labels <= {"reason", "kind", "stage", "channel", "le"}


def test_health_is_ok_or_the_reason_why_not(server: MetricsServer, health: Health) -> None:
    assert get(server, "/healthz") == (200, "ok")
    assert samples(server)["hanhtrinh_healthy", ("worker",)] == 1
    health.reason = "no connection to the database since 12 s"
    assert get(server, "/healthz") == (503, "no connection to the database since 12 s")
    assert samples(server)["hanhtrinh_healthy", ("worker",)] == 0


def test_another_path_is_not_found(server: MetricsServer) -> None:
    assert get(server, "/")[0] == 404


@pytest.mark.parametrize("host", ["nohost.invalid", "8.8.8.8", "::1", f"{'a' * 70}.vn"])
def test_a_host_that_is_not_this_machine_is_refused_by_the_name_of_its_setting(
    registry: CollectorRegistry, host: str
) -> None:
    with pytest.raises(MetricsAddressError, match="HANHTRINH_METRICS_HOST: expected an IPv4 address or a name of"):
        MetricsServer(registry, host, 0, {})


@pytest.mark.parametrize("command", ["run", "bridge", "work", "notify", "maintain"])
def test_a_second_process_on_the_same_port_is_refused_in_one_line(
    command: str, server: MetricsServer, postgres_url: str
) -> None:
    settings = {
        "HANHTRINH_DATABASE_URL": postgres_url,
        "HANHTRINH_METRICS_PORT": str(server.port),
        "HANHTRINH_ALERT_TERMINAL": "true",
    }
    arguments = [sys.executable, "-m", "hanhtrinh", command]
    done = subprocess.run(arguments, env=os.environ | settings, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    [said] = [line for line in done.stderr.splitlines() if line.startswith("hanhtrinh: ")]
    assert said.startswith(f"hanhtrinh: HANHTRINH_METRICS_PORT: port {server.port} on 127.0.0.1 is taken by another")
    assert "Traceback" not in done.stderr
