"""When an alert is tried again, and when it is given up."""

from __future__ import annotations

import pytest

from alerts.channel import DeliveryError
from alerts.retry import RetryPolicy


@pytest.mark.parametrize(
    ("tries", "retry_after_s", "expected"),
    [
        (1, None, 2.0),
        (2, None, 4.0),
        (7, None, 128.0),
        (8, None, None),
        (1, 30.0, 30.0),
        (3, 1.0, 8.0),
        (1, 9e9, 600.0),
    ],
)
def test_waits_double_up_to_the_bound_and_end(tries: int, retry_after_s: float | None, expected: float | None) -> None:
    policy = RetryPolicy(max_tries=8, first_wait_s=2.0, max_wait_s=600.0)
    assert policy.wait_s(tries, DeliveryError("no", retry_after_s=retry_after_s)) == expected


def test_a_permanent_refusal_is_not_tried_again() -> None:
    assert RetryPolicy(max_tries=8).wait_s(1, DeliveryError("gone", permanent=True)) is None
