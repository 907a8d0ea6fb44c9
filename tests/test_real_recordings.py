"""The real recordings beside the repository: what is read of them is known row by row."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ingest.recordings import ColumnMapping, Recording
from tests.recording_files import read

TWIZY = ColumnMapping.parse(
    ["time=Date+Time", "speed_kmh=Speed"],
    time_format="%m/%d/%Y %H:%M:%S",
    time_zone="Africa/Casablanca",
    vehicle_id="twizy",
)


def test_the_twizy_trips_lose_exactly_their_known_glitches(shared_data: Path) -> None:
    lost = Counter[tuple[str, str]]()
    read_rows = 0
    for path in sorted((shared_data / "rsk_twizy").glob("*.csv")):
        fixes, rejected = read(path, TWIZY)
        read_rows += len(fixes) + len(rejected)
        lost.update((row.reason, row.detail.partition(":")[0]) for row in rejected)
    assert read_rows == 42_534
    assert lost == {("bad_value", "time"): 157, ("bad_value", "lon"): 3}


def test_the_limit_of_the_road_comes_along_when_it_is_mapped(shared_data: Path) -> None:
    path = shared_data / "rsk_twizy" / "T3_04_22_2021_2.csv"
    mapping = ColumnMapping.parse(
        ["time=Date+Time", "speed_kmh=Speed", "limit_kmh=SpeedLimit"],
        time_format=TWIZY.time_format,
        time_zone=TWIZY.time_zone,
        vehicle_id="twizy",
    )
    (chunk,) = Recording(path, mapping).chunks()
    assert set(chunk.columns().limit_kmh.tolist()) <= {20.0, 40.0, 60.0, 80.0}
    assert int((chunk.speed_kmh > chunk.limit_kmh).sum()) == 179
