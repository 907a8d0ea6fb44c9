"""One battery for every detector: our own, those that are installed, and the worked example of the guide."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detectors.checks import flags_alone
from detectors.columns import Columns, columns_of, concatenate
from detectors.detector import Context, Factory
from detectors.fix import Fix, to_us
from detectors.journeys import JourneyJudge
from detectors.limits import LimitBook
from detectors.names import Names
from detectors.recording import judge_recording
from detectors.violation import Violation
from hanhtrinh.detectors import detector_factories
from hanhtrinh.rule_packs import LoadedPack, load_pack

GUIDE = Path(__file__).parents[1] / "docs" / "add-a-detector.md"
NIGHT_NUMBERS = {"night_driving": {"from_hour": 0, "to_hour": 5, "tolerance_s": 60}}
SEEDS = range(6)


def example_source() -> str:
    """The class that the guide builds."""
    return str(re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)[0])


def example() -> Factory:
    namespace: dict[str, Any] = {"__name__": "night_driving"}
    sys.modules.setdefault("night_driving", type(sys)("night_driving")).__dict__.update(namespace)
    exec(compile(example_source(), "night_driving.py", "exec"), sys.modules["night_driving"].__dict__)
    factory: Factory = sys.modules["night_driving"].__dict__["NightDriving"]
    return factory


FACTORIES = {factory.__name__: factory for factory in [*detector_factories(), example()]}


@pytest.fixture(params=FACTORIES)
def factory(request: pytest.FixtureRequest) -> Factory:
    return FACTORIES[request.param]


@pytest.fixture(scope="module")
def pack() -> LoadedPack:
    loaded = load_pack()
    return replace(loaded, pack=replace(loaded.pack, detectors=NIGHT_NUMBERS))


class Road:
    """Fixes of a small fleet that breaks every rule there is: it speeds, drives at night, and falls silent."""

    def __init__(self, seed: int, hours: float = 6.0) -> None:
        rng = np.random.default_rng(seed)
        self.vehicles, self.drivers = Names(), Names()
        self.fixes = [fix for number in range(4) for fix in _journey(rng, f"V{number}", hours)]
        self.columns = columns_of(self.fixes, self.vehicles, self.drivers)
        order = np.lexsort((self.columns.time_us, self.columns.vehicle))
        self.columns = self.columns.take(order)


def _journey(rng: np.random.Generator, vehicle_id: str, hours: float) -> Iterator[Fix]:
    time_us = to_us(datetime(2026, 3, 1, 14, 0, tzinfo=UTC))  # 21:00 in Hanoi: the night lies ahead
    end_us = time_us + round(hours * 3.6e9)
    lat, speed_kmh, driver = 15.0, 60.0, "A"
    while time_us < end_us:
        yield Fix(vehicle_id, time_us, lat, 108.0, round(speed_kmh, 1), driver)
        step_us = int(rng.choice([10, 10, 10, 30, 80, 120, 900], p=[0.4, 0.2, 0.1, 0.15, 0.09, 0.05, 0.01])) * 1_000_000
        lat += speed_kmh / 3.6 * step_us / 1e6 / 111_195 if step_us < 300_000_000 else 0.0
        time_us += step_us
        if rng.random() < 0.25:
            speed_kmh = float(rng.choice([0.0, 40.0, 79.0, 83.0, 86.0, 95.0, 118.0]))
        if rng.random() < 0.02:
            driver = "B" if driver == "A" else "A"


def judge_of(factory: Factory, pack: LoadedPack, road: Road) -> JourneyJudge:
    context = Context(pack.pack, pack.midnight_us, road.vehicles, road.drivers, LimitBook(pack.pack))
    return JourneyJudge(context, [factory])


def final(found: list[Violation]) -> dict[str, Violation]:
    """The latest of each violation."""
    return {each.violation_id: each for each in found}


def in_calls(judge: JourneyJudge, pack: LoadedPack, parts: list[Columns]) -> tuple[dict[str, Violation], list[bool]]:
    found: list[Violation] = []
    settled: dict[tuple[int, int], bool] = {}
    for part in parts:
        judgement = judge.advance(part, flags_alone(part, pack.pack.checks, None))
        found += judgement.violations
        settled.update(
            zip(
                zip(part.vehicle.tolist(), part.time_us.tolist(), strict=True),
                judgement.settled.tolist(),
                strict=True,
            )
        )
    return final(found), [settled[key] for key in sorted(settled)]


def split_by_time(columns: Columns, times_us: list[int]) -> list[Columns]:
    """The columns cut at these times, each part in (vehicle, time) order."""
    edges = [np.iinfo(np.int64).min, *sorted(times_us), np.iinfo(np.int64).max]
    return [columns.take((columns.time_us >= begin) & (columns.time_us < end)) for begin, end in pairwise(edges)]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_fixes_give_the_same_violations_and_there_are_some(
    factory: Factory, pack: LoadedPack, seed: int
) -> None:
    road = Road(seed)
    once, _ = in_calls(judge_of(factory, pack, road), pack, [road.columns])
    again, _ = in_calls(judge_of(factory, pack, road), pack, [road.columns])
    assert once == again
    assert once, "a battery that finds nothing proves nothing"


@pytest.mark.parametrize("seed", SEEDS)
def test_one_call_gives_what_calls_of_one_fix_give(factory: Factory, pack: LoadedPack, seed: int) -> None:
    road = Road(seed, hours=4.0)
    at_once = in_calls(judge_of(factory, pack, road), pack, [road.columns])
    one_by_one = [road.columns.take(np.array([row])) for row in np.argsort(road.columns.time_us, kind="stable")]
    assert in_calls(judge_of(factory, pack, road), pack, one_by_one) == at_once


@pytest.mark.parametrize("seed", SEEDS)
def test_any_split_of_the_stream_gives_the_same(factory: Factory, pack: LoadedPack, seed: int) -> None:
    road = Road(seed)
    at_once = in_calls(judge_of(factory, pack, road), pack, [road.columns])
    rng = np.random.default_rng(seed)
    cuts = rng.choice(road.columns.time_us, size=int(rng.integers(1, 40))).tolist()
    assert in_calls(judge_of(factory, pack, road), pack, split_by_time(road.columns, cuts)) == at_once


@pytest.mark.parametrize("seed", SEEDS)
def test_law_1_doubled_and_shuffled_fixes_give_the_same(factory: Factory, pack: LoadedPack, seed: int) -> None:
    road = Road(seed)
    rng = np.random.default_rng(seed)
    doubled = concatenate([road.columns, road.columns.take(rng.integers(0, len(road.columns), 300))])
    shuffled = doubled.take(rng.permutation(len(doubled)))
    judged = [_recorded(factory, pack, road, columns) for columns in (road.columns, shuffled)]
    assert judged[0] == judged[1]


def _recorded(factory: Factory, pack: LoadedPack, road: Road, columns: Columns) -> list[Violation]:
    context = Context(pack.pack, pack.midnight_us, road.vehicles, road.drivers, LimitBook(pack.pack))
    return judge_recording(columns, context, [factory], pack.hours, {}).violations


@pytest.mark.parametrize("seed", SEEDS)
def test_state_rebuilt_at_any_settled_fix_goes_on_as_if_nothing_had_happened(
    factory: Factory, pack: LoadedPack, seed: int
) -> None:
    road = Road(seed)
    whole, settled = in_calls(judge_of(factory, pack, road), pack, [road.columns])
    rng = np.random.default_rng(seed)
    for row in rng.choice(np.flatnonzero(settled), size=12, replace=False).tolist():
        vehicle, time_us = int(road.columns.vehicle[row]), int(road.columns.time_us[row])
        rest = road.columns.take((road.columns.vehicle == vehicle) & (road.columns.time_us >= time_us))
        found, settled_again = in_calls(judge_of(factory, pack, road), pack, [rest])
        name = road.vehicles.names[vehicle]
        expected = {key: each for key, each in whole.items() if each.vehicle_id == name and each.started_us >= time_us}
        # A violation may begin at the settled fix itself: a detector that looks back to the fix before begins there.
        assert {key: each for key, each in found.items() if each.started_us >= time_us} == expected
        assert settled_again == settled[row : row + len(rest)]


def test_memory_stays_bounded_on_a_stream_ten_times_as_long(factory: Factory, pack: LoadedPack) -> None:
    sizes = []
    for hours in (6.0, 60.0):
        road = Road(1, hours)
        judge = judge_of(factory, pack, road)
        in_calls(judge, pack, split_by_time(road.columns, road.columns.time_us[::500].tolist()))
        sizes.append(_size(judge))
    assert sizes[1] < 1.5 * sizes[0] + 2_000


def _size(judge: JourneyJudge) -> int:
    """Bytes of what the detector remembers."""
    detector = judge._detectors[0]
    remembered = {name: value for name, value in vars(detector).items() if name != "_context"}
    return len(pickle.dumps(remembered, protocol=5))


def test_no_fixes_give_nothing(factory: Factory, pack: LoadedPack) -> None:
    road = Road(1)
    judge = judge_of(factory, pack, road)
    empty = road.columns.take(np.empty(0, dtype=np.intp))
    judgement = judge.advance(empty, flags_alone(empty, pack.pack.checks, None))
    assert judgement.violations == []
    assert len(judgement.settled) == 0


def test_every_violation_is_of_a_kind_that_the_detector_names_and_tells_its_rule_and_numbers(
    factory: Factory, pack: LoadedPack
) -> None:
    road = Road(2)
    judge = judge_of(factory, pack, road)
    found, _ = in_calls(judge, pack, [road.columns])
    assert found
    for violation in found.values():
        assert violation.kind in judge.kinds
        assert violation.rule.pack == "vn"
        assert violation.rule.rule_id
        assert violation.rule.version
        assert violation.judged_by


def test_the_example_of_the_guide_is_found_through_its_entry_point(tmp_path: Path, pack: LoadedPack) -> None:
    (tmp_path / "night_driving.py").write_text(example_source(), encoding="utf-8")
    info = tmp_path / "hanhtrinh_night_driving-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hanhtrinh-night-driving\nVersion: 1.0\n")
    entry = "\n".join(_toml_block("entry-points").splitlines()[-1:]).replace('"', "")
    (info / "entry_points.txt").write_text(f"[hanhtrinh.detectors]\n{entry}\n")
    rules = tmp_path / "night.toml"
    built_in = Path(__file__).parents[1] / "detectors" / "rules" / "vn.toml"
    rules.write_text(built_in.read_text(encoding="utf-8") + "\n" + _toml_block("[detectors."), encoding="utf-8")
    rows = ["vehicle_id,time,lat,lon,speed_kmh"]
    rows += [f"V1,2026-03-01T18:{minute:02}:00Z,{15 + minute * 0.009:.4f},108,60" for minute in range(10)]
    recording = tmp_path / "night.csv"
    recording.write_text("\n".join(rows) + "\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "hanhtrinh", "check", str(recording), "--rules", str(rules), "--json"],
        env=_environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"kind": "night_driving"' in done.stdout
    assert '"actual_s": 540.0' in done.stdout


def _toml_block(mark: str) -> str:
    blocks = re.findall(r"```toml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    return str(next(block for block in blocks if mark in block))


def _environment(folder: Path) -> dict[str, str]:
    import os

    root = str(Path(__file__).parents[1])
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(folder), root))}
