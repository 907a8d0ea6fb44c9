"""Where fuzzing starts from: the examples of the pages for users, the packs that are built in, and words to insert."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet as pq

from tests.doc_pages import REPOSITORY, blocks, pages

JSON_WORDS = [
    '"vehicle_id"', '"time"', '"lat"', '"lon"', '"speed_kmh"', '"driver_id"', '"heading_deg"', '"ignition"',
    '"door_open"', '"odometer_km"', '"satellites"', '"hdop"', '"valid"', '"_type"', '"location"', '"tst"', '"vel"',
    '"cog"', '"t"', '"odometer"', "null", "true", "1e999", "-0.0", "9223372036854775808", "1e-400", "NaN", "Infinity",
    '"2026-03-02T08:00:00Z"', '"2026-03-02T08:00:00"', '"9999-12-31T23:59:59-23:59"', '"0001-01-01T00:00:00+23:59"',
    "\\ud800", "\\u0000", "[[[[[[[[", '{"a":',
]  # fmt: skip
CSV_WORDS = [
    "vehicle_id", "driver_id", "operator_id", "time", "lat", "lon", "speed_kmh", "start", "end", "activity", "driving",
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z", "2026-03-02T08:00:00", "1e999", "nan", "-0", "inf", ";", "\t",
    '"', "\r", "\0", "\ufeff", "\u2028",
]  # fmt: skip
TOML_WORDS = [
    "[[channel]]", "[channel]", "name = ", "[speeding]", "[[speeding]]", "valid_from = 0001-01-01", "9999-12-31",
    "1e308", "inf", "nan", "-1", "[[[[", "time_zone", "url = ", "kinds = ", "0x", "{}", "[]", "true",
]  # fmt: skip
_POSITION = '{"time":"2026-03-02T08:00:00Z","lat":21.0285,"lon":105.8542,"speed_kmh":61.5'


def messages() -> list[bytes]:
    """Messages of the own format."""
    return [
        *_shown("json"),
        f'{_POSITION},"vehicle_id":"29B-12345","driver_id":"D1","heading_deg":12.5,"ignition":true,"door_open":false,'
        '"odometer_km":1234.5,"satellites":9,"hdop":0.8,"valid":true}'.encode(),
        f"[{_POSITION}}},{_POSITION}}}]".encode(),
        b'{"time":1772438400000,"lat":-90,"lon":180,"satellites":7.0}',
    ]


def owntracks() -> list[bytes]:
    """Messages of OwnTracks."""
    return [
        *_shown("json"),
        b'{"_type":"location","tid":"ab","tst":1772438400,"lat":21.0285,"lon":105.8542,"vel":61,"cog":12,"t":"u"}',
        b'{"_type":"location","tst":"1772438400.5","lat":"21.0285","lon":"105.8542","odometer":"12","ign":1,"t":"i"}',
        b'{"_type":"lwt","tst":1772438400}',
    ]


def topics() -> list[bytes]:
    """A topic, a line feed, a message."""
    return [
        *(b"hanhtrinh/29B-12345\n" + message for message in messages()),
        *(b"owntracks/user/phone\n" + message for message in owntracks()),
        b"owntracks/user/phone/event\n{}",
        b"other/topic\n{}",
    ]


def csv() -> list[bytes]:
    """Recordings."""
    return [
        *_shown("csv"),
        b"vehicle_id,time,lat,lon,speed_kmh,driver_id,satellites,hdop,valid,odometer_km\n"
        b"29B-12345,2026-03-02T08:00:00Z,21.0285,105.8542,61.5,D1,9,0.8,true,1234.5\n"
        b"29B-12345,2026-03-02T08:00:10+07:00,21.03,105.86,-0.0,,,,,\nfew\n",
        b"vehicle;time;lat;lng;mph\n29B-1;02/03/2026 08:00:00;21.1;105.9;30\n",
    ]


def mapped() -> list[bytes]:
    """Recordings of JSON that is not the own format."""
    return [
        *messages(),
        b'{"vehicle":"29B-1","time":"2026-03-02T08:00:00Z","lat":"21.0","lng":105.9,"speed":12.5}\n[1,{}]\n',
    ]


def parquet() -> list[bytes]:
    """Recordings as small Parquet files, with and without compression."""
    table = pa.table(
        {
            "vehicle_id": pa.array(["29B-1", "29B-2", None]).dictionary_encode(),
            "time": pa.array([1_772_438_400_000_000] * 3, pa.timestamp("us", "UTC")),
            "lat": [21.0, 22.0, 23.0],
            "lon": [105.0, 106.0, 107.0],
            "speed_kmh": pa.array([1, 2, None], pa.int32()),
        }
    )
    found = []
    for compression in ("none", "snappy"):
        file = io.BytesIO()
        pq.write_table(table, file, compression=compression)
        found.append(file.getvalue())
    return found


def registry() -> list[bytes]:
    """Operators, vehicles and drivers."""
    return [
        *_shown("csv"),
        b"operator_id,name,tax_code,province,alert_url\nOP1,Xe,1,HN,mailto://a:b@example.org\n",
        b"vehicle_id,operator_id,kind,speed_class,limit_kmh,seats,payload_t\n29B-1,OP1,taxi,car,60,4,0.5\n",
        b"driver_id;operator_id;name;rule_pack\nD1;OP1;An;eu\n",
    ]


def overrides() -> list[bytes]:
    """Numbers of an office."""
    return [
        *(shown for shown in _shown("csv") if b"scope" in shown or b"number" in shown),
        b"scope,id,name,value,valid_from,valid_to\nkind,taxi,speeding.max_gap_s,60,2026-01-01,\n",
    ]


def timelines() -> list[bytes]:
    """Drivers' timelines."""
    return [
        *_shown("csv"),
        b"driver_id,start,end,activity,vehicle_id,vehicle_kind\n"
        b"D1,2026-03-02T08:00:00+07:00,2026-03-02T12:00:00,driving,29B-1,taxi\n",
    ]


def packs() -> list[bytes]:
    """Rule packs: those that are built in."""
    return [*_shown("toml"), *(path.read_bytes() for path in _built_in())]


def alerts() -> list[bytes]:
    """Alerts files."""
    return [
        *_shown("toml"),
        b'[[channel]]\nname = "log"\n',
        b'[[channel]]\nname = "a"\nurl = "json://127.0.0.1"\nkinds = ["speeding"]\nquiet = "22:00-06:00"\n',
    ]


def _built_in() -> list[Path]:
    return sorted((REPOSITORY / "detectors" / "rules").glob("*.toml"))


def _shown(language: str) -> list[bytes]:
    return [block.text.encode() for page in pages() for block in blocks(page) if block.language == language]
