"""Runs: fixes in a row with the same labels become one object, whatever vehicle comes before or after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from detectors.columns import columns_of
from detectors.fix import Fix, to_us
from detectors.names import Names
from detectors.rule_versions import Version
from detectors.runs import LabelledFixes, label_of, runs_of
from detectors.speeding import Label, Run
from hanhtrinh.rule_packs import load_pack
from tests.scenario import HOME, MONDAY

(RULE,) = load_pack().pack.speeding
LATER = replace(RULE, min_excess_kmh=3.0)
BELOW, GREY, OVER, UNSAID = Label.BELOW, Label.GREY, Label.OVER, Label.UNSAID
LIMIT, HIGHEST, EXCESS = 80_000, 120_000, 5_000


def labelled(speeds: Sequence[int], **columns: Sequence[Any]) -> LabelledFixes:
    """Fixes ten seconds and a metre apart with these speeds, in thousandths, and other columns where given."""
    count = len(speeds)
    told: dict[str, Sequence[Any]] = {
        "vehicle": ["A"] * count,
        "driver": [None] * count,
        "gap": [number == 0 for number in range(count)],
        "limit": [LIMIT] * count,
        "highest": [HIGHEST] * count,
        "rule": [0] * count,
        **columns,
    }
    rows = columns_of(
        [
            Fix(told["vehicle"][n], to_us(MONDAY) + n * 10_000_000, HOME[0] + n, HOME[1], None, told["driver"][n])
            for n in range(count)
        ],
        Names(),
        Names(),
    )
    speed, limit, highest = (np.array(each, dtype=np.int64) for each in (speeds, told["limit"], told["highest"]))
    excess = np.full(count, EXCESS)
    return LabelledFixes(
        rows=rows,
        leg_mm=np.array([1000 * (n + 1) for n in range(count)]),
        gap=np.array(told["gap"], dtype=np.bool_),
        speed=speed,
        limit=limit,
        highest=highest,
        on_road=np.zeros(count, dtype=np.bool_),
        rule=np.array(told["rule"]),
        label=label_of(speed, limit, excess),
        strict_label=label_of(speed, highest, excess),
    )


def runs(fixes: LabelledFixes) -> list[Run]:
    return [run for _, _, run in runs_of(fixes, [Version(RULE, {}), Version(LATER, {})])]


def shape(fixes: LabelledFixes) -> list[tuple[Label, int]]:
    """The label and the number of fixes of each run."""
    return [(run.label, run.end_row - run.first_row) for run in runs(fixes)]


@pytest.mark.parametrize(
    ("speed", "label"),
    [(0, BELOW), (80_000, BELOW), (80_001, GREY), (84_999, GREY), (85_000, OVER), (200_000, OVER), (-1, UNSAID)],
)
def test_a_fix_is_labelled_by_its_excess(speed: int, label: Label) -> None:
    assert label_of(np.array([speed]), np.array([LIMIT]), np.array([EXCESS])).tolist() == [label]


def test_a_fix_without_speed_is_unsaid_even_where_the_limit_is_nothing() -> None:
    assert label_of(np.array([-1]), np.array([-10_000]), np.array([EXCESS])).tolist() == [UNSAID]


def test_no_fixes_are_no_runs() -> None:
    assert runs(labelled([])) == []


def test_fixes_in_a_row_with_one_label_are_one_run() -> None:
    assert shape(labelled([90_000, 91_000, 82_000, 82_000, 82_000, 60_000, -1])) == [
        (OVER, 2),
        (GREY, 3),
        (BELOW, 1),
        (UNSAID, 1),
    ]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("vehicle", ["A", "A", "B", "B"]),
        ("driver", ["D1", "D1", "D2", "D2"]),
        ("driver", ["D1", "D1", None, None]),
        ("gap", [True, False, True, False]),
        ("rule", [0, 0, 1, 1]),
        ("limit", [80_000, 80_000, 70_000, 70_000]),
        ("highest", [120_000, 120_000, 80_000, 80_000]),
    ],
)
def test_a_run_ends_where_anything_that_judges_changes(column: str, values: list[object]) -> None:
    assert shape(labelled([90_000] * 4, **{column: values})) == [(OVER, 2), (OVER, 2)]


def test_a_run_ends_where_only_the_label_against_the_highest_limit_changes() -> None:
    found = runs_of(labelled([90_000, 90_000, 125_000, 125_000]), [Version(RULE, {}), Version(LATER, {})])
    assert [(strict, run.label, run.first_row, run.end_row) for _, strict, run in found] == [
        (BELOW, OVER, 0, 2),
        (OVER, OVER, 2, 4),
    ]


def test_a_run_sums_up_its_fixes() -> None:
    fixes = labelled([60_000, 90_000, 99_000, 93_000, 60_000], driver=["D1"] * 5)
    _, run, _ = runs(fixes)
    assert (run.first_row, run.end_row) == (1, 4)
    assert (run.last_us - run.first_us) / 1e6 == 20
    assert (run.entry_mm, run.inner_mm) == (2000, 3000 + 4000)
    assert (run.speed_sum, run.top_speed, run.top_excess) == (282_000, 99_000, 19_000)
    assert (run.limit_at_top, run.limits) == (80_000, {80_000: 3})
    assert (run.start, run.end) == ((HOME[0] + 1, HOME[1]), (HOME[0] + 3, HOME[1]))
    assert (run.driver, run.gap, run.certain, run.version.rule) == (0, False, False, RULE)


def test_a_run_says_whether_its_limit_is_the_highest_there_can_be() -> None:
    assert [run.certain for run in runs(labelled([90_000] * 2, highest=[120_000, 80_000]))] == [False, True]


def test_a_run_has_the_version_of_the_rule_that_judges_it() -> None:
    assert [run.version.rule for run in runs(labelled([90_000] * 2, rule=[0, 1]))] == [RULE, LATER]


@pytest.mark.parametrize("seed", range(30))
def test_runs_of_the_parts_join_to_the_runs_of_the_whole(seed: int) -> None:
    """Counted fix by fix, nothing is lost or doubled wherever a run is cut."""
    dice = np.random.default_rng(seed)
    fixes = labelled(
        dice.choice([-1, 0, 80_000, 82_000, 90_000, 130_000], 60).tolist(),
        vehicle=sorted(dice.choice(["A", "B", "C"], 60).tolist()),
        driver=dice.choice(["D1", "D2"], 60, p=[0.9, 0.1]).tolist(),
    )
    found = runs(fixes)
    assert [run.first_row for run in found] == [0, *[run.end_row for run in found[:-1]]]
    assert found[-1].end_row == 60
    assert sum(run.speed_sum for run in found) == int(fixes.speed.sum())
    assert sum(run.entry_mm + run.inner_mm for run in found) == int(fixes.leg_mm.sum())
    for run in found:
        rows = slice(run.first_row, run.end_row)
        assert set(fixes.label[rows].tolist()) == {run.label}
        assert run.top_speed == fixes.speed[rows].max()
        assert run.top_excess == (fixes.speed - fixes.limit)[rows].max()
