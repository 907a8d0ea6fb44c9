"""Fixes by column: nothing is lost on the way there and back."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detectors.columns import columns_of
from detectors.fix import Fix
from detectors.fix_table import FixTable, joined
from detectors.names import Names

ANY_NUMBER = st.floats(allow_nan=False) | st.just(-0.0)
FIXES = st.lists(
    st.builds(
        Fix,
        vehicle_id=st.text(min_size=1, max_size=20),
        time_us=st.integers(0, 4_133_980_800_000_000),
        lat=st.floats(-90, 90),
        lon=st.floats(-180, 180),
        speed_kmh=st.none() | ANY_NUMBER,
        driver_id=st.none() | st.text(min_size=1, max_size=20),
        heading_deg=st.none() | ANY_NUMBER,
        ignition=st.none() | st.booleans(),
        door_open=st.none() | st.booleans(),
        odometer_km=st.none() | ANY_NUMBER,
        satellites=st.none() | st.integers(0, 100),
        hdop=st.none() | ANY_NUMBER,
        valid=st.none() | st.booleans(),
    ),
    max_size=8,
)


def told(table: FixTable) -> list[str]:
    """With the types and the signs of zeros."""
    return [repr(table.fix(row)) for row in range(len(table))]


@given(FIXES)
def test_a_fix_comes_back_to_the_bit(fixes: list[Fix]) -> None:
    assert told(FixTable.of(fixes)) == [repr(fix) for fix in fixes]


@given(FIXES, FIXES)
def test_tables_are_cut_and_joined_as_lists_are(first: list[Fix], second: list[Fix]) -> None:
    both = joined([FixTable.of(first), FixTable.of([]), FixTable.of(second)])
    assert told(both) == [repr(fix) for fix in first + second]
    rows = np.arange(len(both))[::-2]
    assert told(both.take(rows)) == [repr((first + second)[row]) for row in rows.tolist()]
    assert told(joined([])) == []


@given(FIXES)
def test_the_judge_sees_the_same_columns_either_way(fixes: list[Fix]) -> None:
    by_row = columns_of(fixes, Names(), Names())
    by_column = FixTable.of(fixes).columns(Names(), Names())
    for name in ("time_us", "lat", "lon", "speed_kmh", "satellites", "hdop", "valid", "limit_kmh"):
        one, other = getattr(by_row, name), getattr(by_column, name)
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    vehicles, drivers = Names(), Names()
    codes = FixTable.of(fixes).columns(vehicles, drivers)
    assert [vehicles.name(code) for code in codes.vehicle.tolist()] == [fix.vehicle_id for fix in fixes]
    assert [drivers.name(code) for code in codes.driver.tolist()] == [fix.driver_id for fix in fixes]


def test_what_is_no_number_is_said_and_not_missing() -> None:
    fix = Fix("29B-1", 0, 1.0, 2.0, speed_kmh=float("nan"))
    assert told(FixTable.of([fix])) == [repr(fix)]
