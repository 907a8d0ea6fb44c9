"""How a recording's columns are understood: the options that `check` and `send` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ingest.recordings import ColumnMapping

_PANEL = "Columns of the recording"

Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE...",
        help="CSV, NDJSON (both also .gz) or Parquet.",
        exists=True,
        dir_okay=False,
        show_default=False,
    ),
]
Maps = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="FIELD=COLUMN",
        help="Which column is which field (vehicle_id, time, lat, lon, speed_kmh, driver_id, heading_deg, ignition,"
        " door_open, odometer_km, satellites, hdop, valid, and limit_kmh, the road's limit); time=Date+Time joins two."
        " Repeatable. Columns with unambiguous names are found without it.",
        rich_help_panel=_PANEL,
    ),
]
SpeedUnit = Annotated[
    str | None,
    typer.Option(metavar="kmh|mph|ms|knots", help="Unit of the speed column.", rich_help_panel=_PANEL),
]
TimeFormat = Annotated[
    str | None,
    typer.Option(
        metavar="FORMAT",
        help="strptime format of the time, such as '%d/%m/%Y %H:%M:%S', or epoch_s, epoch_ms, epoch_us;"
        " without it ISO 8601.",
        rich_help_panel=_PANEL,
    ),
]
TimeZone = Annotated[
    str | None,
    typer.Option(
        metavar="ZONE", help="Zone of times written without offset, such as Asia/Ho_Chi_Minh.", rich_help_panel=_PANEL
    ),
]
VehicleId = Annotated[
    str | None,
    typer.Option(metavar="ID", help="The whole file is this vehicle.", rich_help_panel=_PANEL),
]


def mapping_of(
    maps: list[str] | None,
    speed_unit: str | None,
    time_format: str | None,
    time_zone: str | None,
    vehicle_id: str | None,
) -> ColumnMapping:
    """The mapping that the options describe. RecordingError names the option that is wrong."""
    return ColumnMapping.parse(
        maps or (), speed_unit=speed_unit, time_format=time_format, time_zone=time_zone, vehicle_id=vehicle_id
    )
