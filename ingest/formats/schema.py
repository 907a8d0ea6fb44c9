"""The JSON Schema of the own format, made from the code that decodes it: `python -m ingest.formats.schema`."""

from __future__ import annotations

import json
import sys
from typing import Any

import msgspec

from ingest.formats.checked import BAD_ID_CHARS
from ingest.formats.hanhtrinh_json import Document

# Not "$", which Python lets match before a last line feed.
_END = r"(?![\s\S])"
# RFC 3339 as msgspec reads it; the offset is not optional. Days of a month and the last hours of the range are left to
# the format.
TIME_PATTERN = (
    r"^(1969|19[7-9][0-9]|20[0-9][0-9]|210[01])-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?"
    r"([Zz]|[+-][0-9]{2}:?[0-9]{2})" + _END
)
ID_PATTERN = f"^[^{BAD_ID_CHARS}]*{_END}"

_DESCRIPTIONS = {
    "vehicle_id": "Left out, it is the one in the topic; given, it must be the same.",
    "driver_id": "Who drives; empty means nobody is named.",
    "time": "RFC 3339 with offset, or milliseconds since 1970-01-01 UTC. A time of the years 1970 to 2100 in UTC.",
    "lat": "Degrees, WGS 84.",
    "lon": "Degrees, WGS 84.",
    "speed_kmh": "Kilometres per hour.",
    "heading_deg": "Degrees clockwise from north.",
    "ignition": "Whether the ignition is on.",
    "door_open": "Whether a passenger door is open.",
    "odometer_km": "Kilometres.",
    "satellites": "Satellites used for the position.",
    "hdop": "Horizontal dilution of precision.",
    "valid": "Whether the receiver calls this a valid position.",
}


def own_format_schema() -> dict[str, Any]:
    """The schema as a JSON-compatible object."""
    _, components = msgspec.json.schema_components([Document], ref_template="#/$defs/{name}")
    position = components["Document"]
    position["title"] = "position"
    position["description"] = "One position of one vehicle. null means unknown; other fields are ignored."
    properties = position["properties"]
    for field, description in _DESCRIPTIONS.items():
        properties[field] = {"description": description} | _without_default(properties[field])
    for field in ("vehicle_id", "driver_id"):
        _string_of(properties[field])["pattern"] = ID_PATTERN
    _string_of(properties["time"])["pattern"] = TIME_PATTERN
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "hanhtrinh tracker message",
        "description": "Payload of a message on the MQTT topic hanhtrinh/<vehicle_id>: one position or a list.",
        "anyOf": [
            {"$ref": "#/$defs/position"},
            {"type": "array", "items": {"$ref": "#/$defs/position"}, "minItems": 1},
        ],
        "$defs": {"position": position},
    }


def rendered() -> str:
    """The text of docs/formats/hanhtrinh.schema.json."""
    return json.dumps(own_format_schema(), indent=2, ensure_ascii=False) + "\n"


def _without_default(schema: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != "default"}


def _string_of(schema: dict[str, Any]) -> dict[str, Any]:
    """The branch of a field's schema that is for strings."""
    branches: list[dict[str, Any]] = schema["anyOf"]
    return next(branch for branch in branches if branch.get("type") == "string")


if __name__ == "__main__":
    sys.stdout.write(rendered())
