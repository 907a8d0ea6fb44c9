"""A simulated fleet as messages, and as the files that `check`, `send` and `import` read."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from detectors.fix import from_us
from ingest.recordings.chunk import document
from ingest.recordings.messages import OutMessage
from ingest.recordings.rejecting import topic_of
from ingest.simulator.delivery import Delivery
from ingest.simulator.fleet import Fleet
from ingest.simulator.roster import Roster

_encode = msgspec.json.Encoder().encode


def message_of(delivery: Delivery) -> OutMessage:
    """The delivery in our own JSON format: an object, or a list when there are several fixes."""
    documents = [document(fix, from_us(fix.time_us).isoformat().replace("+00:00", "Z")) for fix in delivery.fixes]
    payload = _encode(documents[0] if len(documents) == 1 else documents)
    return OutMessage(topic_of(delivery.vehicle_id), payload, len(documents), delivery.send_at_us)


def write_fleet(fleet: Fleet, folder: Path, progress: Callable[[int], None] | None = None) -> dict[str, int]:
    """Write fleet.ndjson (a line per delivery, in the order sent), planted.json and the registry; returns counts.

    `progress` is told the time of each delivery, microseconds since 1970 UTC.
    """
    write_registry(fleet.roster, folder)
    deliveries = fixes = 0
    with (folder / "fleet.ndjson").open("wb") as file:
        for delivery in fleet.deliveries():
            file.write(message_of(delivery).payload + b"\n")
            deliveries += 1
            fixes += len(delivery.fixes)
            if progress is not None:
                progress(delivery.send_at_us)
    planted = [violation.to_wire() for violation in fleet.planted()]
    (folder / "planted.json").write_text(json.dumps(planted, indent=1) + "\n", encoding="utf-8")
    return {"deliveries": deliveries, "fixes": fixes, "planted": len(planted)}


def write_registry(roster: Roster, folder: Path) -> None:
    """Write vehicles.csv, drivers.csv and operators.csv as `import` reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_csv(folder / "operators.csv", ("operator_id", "name", "tax_code", "province"), roster.operators)
    _write_csv(
        folder / "vehicles.csv",
        ("vehicle_id", "operator_id", "kind", "speed_class", "limit_kmh", "seats", "payload_t"),
        (
            (each.vehicle_id, each.operator_id, each.kind.kind, each.kind.speed_class, each.limit_kmh, None, None)
            for each in roster.vehicles
            if each.registered
        ),
    )
    _write_csv(
        folder / "drivers.csv",
        ("driver_id", "operator_id", "name", "rule_pack"),
        ((*driver, "vn") for driver in roster.drivers),
    )


def _write_csv(path: Path, header: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
