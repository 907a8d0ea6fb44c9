"""How often a worker's event loop stood still, as the worker itself tells it."""

from __future__ import annotations

from typing import NamedTuple

import httpx
from prometheus_client.parser import text_string_to_metric_families

_NAME = "hanhtrinh_worker_loop_stall_seconds"
BOUND_S = 0.1


class Stalls(NamedTuple):
    """Looks at the loop, 20 a second, and how many of them came later than the bound."""

    looks: int
    late: int

    def since(self, before: Stalls) -> Stalls:
        return Stalls(self.looks - before.looks, self.late - before.late)


def stalls(port: int) -> Stalls:
    """Since the worker began, from its metrics at this port."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
    samples = [each for family in text_string_to_metric_families(text) for each in family.samples]
    looks = next(int(each.value) for each in samples if each.name == f"{_NAME}_count")
    in_time = next(
        int(each.value) for each in samples if each.name == f"{_NAME}_bucket" and float(each.labels["le"]) == BOUND_S
    )
    return Stalls(looks, looks - in_time)
