"""Webhook signatures: what a receiver may rely on."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.signature import SignatureError, sign, verify

SECRET = b"road-1"
BODY = b'{"alert_id":"v1:opened"}'
NOW_S = 1_790_000_000


def test_the_signature_is_the_documented_one() -> None:
    by_hand = hmac.new(SECRET, b"1790000000." + BODY, hashlib.sha256).hexdigest()
    assert sign(SECRET, NOW_S, BODY) == f"sha256={by_hand}"


@given(secret=st.binary(min_size=1), body=st.binary(), age_s=st.integers(-300, 300))
def test_what_was_signed_is_accepted_within_the_tolerance(secret: bytes, body: bytes, age_s: int) -> None:
    verify(secret, str(NOW_S), sign(secret, NOW_S, body), body, now_s=NOW_S + age_s)


@pytest.mark.parametrize("age_s", [-301, 301, 86_400])
def test_an_old_or_future_request_is_refused(age_s: int) -> None:
    with pytest.raises(SignatureError, match="away from this clock"):
        verify(SECRET, str(NOW_S), sign(SECRET, NOW_S, BODY), BODY, now_s=NOW_S + age_s)


def test_another_secret_body_or_timestamp_is_refused() -> None:
    signature = sign(SECRET, NOW_S, BODY)
    for secret, timestamp, body in [
        (b"other", str(NOW_S), BODY),
        (SECRET, str(NOW_S + 1), BODY),
        (SECRET, str(NOW_S), BODY + b" "),
    ]:
        with pytest.raises(SignatureError, match="does not belong"):
            verify(secret, timestamp, signature, body, now_s=NOW_S)


@pytest.mark.parametrize("signature", ["", None])
def test_a_missing_signature_is_refused(signature: str | None) -> None:
    with pytest.raises(SignatureError, match="both needed"):
        verify(SECRET, str(NOW_S), signature, BODY, now_s=NOW_S)


@pytest.mark.parametrize(
    "timestamp", ["-1", "1.79e9", "1_790_000_000", " 1790000000", "1790000000\n", "١٧٩", "9" * 5000]
)
def test_a_timestamp_that_is_not_plain_seconds_is_refused(timestamp: str) -> None:
    with pytest.raises(SignatureError, match="Unix seconds"):
        verify(SECRET, timestamp, sign(SECRET, NOW_S, BODY), BODY, now_s=NOW_S)


@given(signature=st.text(min_size=1))
def test_any_other_text_is_refused_and_never_breaks_the_receiver(signature: str) -> None:
    with pytest.raises(SignatureError):
        verify(SECRET, str(NOW_S), signature, BODY, now_s=NOW_S)
