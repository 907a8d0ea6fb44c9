"""Prometheus for the tests: asks given addresses, and the rules of deploy/, every second."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

from tests.services.process import ServerProcess, ServiceError, free_port, program

RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "rules"

_CONFIGURATION = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{rules}/hanhtrinh*.yml"]
scrape_configs:
  - job_name: hanhtrinh
    static_configs: [{{targets: {targets}}}]
"""


class Prometheus:
    """A server at `url` that asks the /metrics of `ports`."""

    def __init__(self, home: Path, ports: Sequence[int]) -> None:
        server = program("prometheus", "prometheus")
        home.mkdir(parents=True, exist_ok=True)
        configuration = home / "prometheus.yml"
        targets = json.dumps([f"127.0.0.1:{port}" for port in ports])
        configuration.write_text(_CONFIGURATION.format(rules=home, targets=targets))
        for rules in RULES.glob("*.yml"):
            (home / rules.name).write_text(re.sub("interval: .*", "interval: 1s", rules.read_text("utf-8")), "utf-8")
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        command = [
            server, f"--config.file={configuration}", f"--storage.tsdb.path={home / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
        ]  # fmt: skip
        self._process = ServerProcess("prometheus", command, home / "log", os.environ)

    def start(self) -> None:
        self._process.start(self._is_ready)

    def stop(self) -> None:
        self._process.stop()

    def ask(self, what: str, **parameters: str) -> Any:
        """The data of an answer of its API. ServiceError with its words when it refuses."""
        try:
            with urlopen(f"{self.url}/api/v1/{what}?{urlencode(parameters)}", timeout=10) as answer:
                return json.load(answer)["data"]
        except HTTPError as error:
            raise ServiceError(json.load(error)["error"]) from None

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an expression now: labels in "metric", and "value"."""
        result: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return result

    def _is_ready(self) -> bool:
        try:
            with urlopen(f"{self.url}/-/ready", timeout=2):
                return True
        except OSError:
            return False


def promtool(*arguments: str) -> None:
    """Run promtool. AssertionError with what it says when it finds a mistake."""
    done = subprocess.run([program("promtool", "prometheus"), *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
