"""Some days of a small fleet through the whole chain: all that is read from them agrees with the raw rows, also after
late fixes changed the past. The long form is `make agree`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from fractions import Fraction
from functools import partial
from pathlib import Path

import pytest

from ingest.simulator import Fleet, write_registry
from tests.chain import Chain, broker, running_chain
from tests.month.agreement import Agreement
from tests.month.delivery import in_order_of_receipt, messages
from tests.month.expected import ZONE, Registry
from tests.month.ledger import Change, Ledger, same
from tests.month.running import make_report
from tests.mqtt_client import publish
from tests.services.kafka_server import Kafka
from tests.services.mosquitto import Mosquitto

__all__ = ["broker"]

MARCH = date(2026, 3, 1)
SEED = 5


@pytest.fixture
async def chain(kafka: Kafka, broker: Mosquitto, postgres_url: str, tmp_path: Path) -> AsyncIterator[Chain]:
    """Bridge and worker at work on an empty database; nothing is dropped, whatever today's date."""
    keep = {"keep_journeys_days": "100000", "keep_violations_days": "100000"}
    async with running_chain(kafka, broker, postgres_url, tmp_path, **keep) as chain:
        yield chain


async def test_dashboards_aggregates_reports_and_raw_rows_agree_also_after_late_fixes(
    chain: Chain, broker: Mosquitto, tmp_path: Path
) -> None:
    fleet = Fleet(SEED, 6, datetime(2026, 2, 28, 12, tzinfo=ZONE), timedelta(hours=60), interval_s=40)
    write_registry(fleet.roster, tmp_path)
    for name in ("operators", "vehicles", "drivers"):
        await chain.call("import", str(tmp_path / f"{name}.csv"))
    report = partial(make_report, chain.environment["HANHTRINH_DATABASE_URL"])
    ledger = Ledger()
    agreement = Agreement(chain.connection, Registry.read(tmp_path), report, tmp_path, MARCH, ledger)
    sent = list(messages(fleet, SEED))
    in_time, late = [each for each in sent if not each.late], [each for each in sent if each.late]
    assert len(in_time) > 10 * len(late) > 1000
    await chain.start("bridge")
    await chain.start("work")
    await publish(broker.port, ((each.raw.topic, each.raw.payload) for each in in_time))
    await chain.worked_off(len(in_time))
    await chain.call("maintain", "--once")
    await agreement.check("in time")
    await publish(broker.port, ((each.raw.topic, each.raw.payload) for each in in_order_of_receipt(late)))
    await chain.worked_off(len(sent))
    await chain.call("maintain", "--once")
    planted = fleet.planted()
    assert {each.kind for each in planted} == {"speeding", "continuous_driving"}
    await agreement.check("with the late ones", planted)
    assert ledger.differences() == ""
    assert ledger.numbers > 8_000


def test_numbers_agree_to_the_last_digit_only() -> None:
    assert same(Fraction(1, 3), "0.3333333333333333")
    assert not same(Fraction(1, 3), "0.333333333333333")
    assert same(7, "7.0")
    assert not same(7, "7.000001")
    assert not same(None, "0")
    assert not same(0, "")


def test_a_change_agrees_as_well_as_its_two_rates_do() -> None:
    change = Change(Fraction(10), Fraction(10) + Fraction(1, 3))
    assert same(change, float(Fraction(31, 3)) - 10.0)
    assert not same(change, 0.33333333333)


def test_a_difference_names_its_place() -> None:
    ledger = Ledger()
    ledger.when = "now"
    ledger.compare("sums", {"a": (1, 2), "b": (3, 4)}, {"a": (1, 5), "c": (3, 4)})
    assert (ledger.numbers, ledger.wrong) == (2, 3)
    assert "now, sums: 3 disagree: a [1]: 5, expected 2" in ledger.differences()
