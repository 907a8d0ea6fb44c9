"""Writing and reading recordings in tests."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

from detectors.fix import Fix
from ingest.recordings import ColumnMapping, Recording, RejectedRow

HEADER = ["vehicle_id", "time", "lat", "lon", "speed_kmh", "driver_id", "satellites", "hdop", "valid", "odometer_km"]


def read(path: Path, mapping: ColumnMapping | None = None) -> tuple[list[Fix], list[RejectedRow]]:
    recording = Recording(path, mapping or ColumnMapping())
    fixes: list[Fix] = []
    rejected: list[RejectedRow] = []
    for chunk in recording.chunks():
        fixes += chunk.fixes(recording.vehicles, recording.drivers)
        rejected += chunk.rejected
    return fixes, rejected


def write_csv(path: Path, rows: list[list[str]], header: list[str] | None = None, delimiter: str = ",") -> Path:
    with gzip.open(path, "wt", newline="") if path.suffix == ".gz" else path.open("w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([header or HEADER, *rows])
    return path
