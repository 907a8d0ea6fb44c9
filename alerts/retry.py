"""When to try again, and when to stop trying."""

from __future__ import annotations

from dataclasses import dataclass

from alerts.channel import DeliveryError


@dataclass(frozen=True)
class RetryPolicy:
    """Waits `first_wait_s` after the first failed try and twice as long after each further one, up to `max_wait_s`."""

    max_tries: int = 8
    first_wait_s: float = 2.0
    max_wait_s: float = 3600.0

    def wait_s(self, tries: int, error: DeliveryError) -> float | None:
        """How long to wait after `tries` failed tries, or None to give the alert up.

        A receiver that asks for a longer wait gets it, up to `max_wait_s`; it never shortens ours.
        """
        if error.permanent or tries >= self.max_tries:
            return None
        # The exponent is bounded: 2.0 ** 1100 would overflow.
        doubled_s = self.first_wait_s * 2.0 ** min(tries - 1, 60)
        return min(max(doubled_s, error.retry_after_s or 0.0), self.max_wait_s)
