"""Whatever bytes arrive: fixes that can be stored, or a named refusal. `make fuzz` is the long form of this."""

from __future__ import annotations

import gzip
import json
import random
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet as pq

from detectors.checks import ALONE
from detectors.fix import Fix
from hanhtrinh.rule_packs import RulePackError, load_pack
from hanhtrinh.timelines import TimelineError, read_timelines
from ingest.formats import hanhtrinh_json
from ingest.recordings import ColumnMapping, Recording, RecordingError
from storage.connect import connect
from storage.csv_rows import RegistryError
from storage.fixes import FixRow, FixStore
from storage.registry import parse_vehicles
from tests.doc_pages import REPOSITORY
from tests.fuzz.targets import VEHICLE, Target, any_topic, own_json, owntracks_json, targets
from tests.recording_files import read

FOLDER = Path(tempfile.mkdtemp(prefix="hanhtrinh-fuzz-"))
TARGETS = targets(FOLDER)

HARD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 1, 90, 91, 180, 360, 1000, 2**31, 2**53, 2**63, 2**64, 10**30, -(10**400)]),
    st.floats(),
    st.text(max_size=70),
    st.sampled_from(["", "\0", "\ud800", "NaN", "1e999", "x" * 65, "29B-12345", "2026-03-02T08:00:00Z", "2026-03-02"]),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.none(), max_size=2),
)
OWN: dict[str, Any] = {
    "vehicle_id": VEHICLE, "time": "2026-03-02T08:00:00.123456Z", "lat": 21.0285, "lon": 105.8542, "speed_kmh": 61.5,
    "driver_id": "D1", "heading_deg": 12.5, "ignition": True, "door_open": False, "odometer_km": 1234.5,
    "satellites": 9, "hdop": 0.8, "valid": True,
}  # fmt: skip
OWNTRACKS: dict[str, Any] = {
    "_type": "location", "tst": 1772438400, "lat": 21.0285, "lon": 105.8542, "vel": 61, "cog": 12, "t": "u", "ign": 1,
    "odometer": 12.5,
}  # fmt: skip


@st.composite
def spoilt(draw: st.DrawFn, valid: dict[str, Any]) -> bytes:
    """A valid message with fields of other types and sizes, then with its bytes spoilt."""
    document = dict(valid)
    for name in draw(st.lists(st.sampled_from(sorted(valid)), max_size=3)):
        document[name] = draw(HARD)
    text = json.dumps(
        document if draw(st.booleans()) else [document, draw(HARD), valid], ensure_ascii=draw(st.booleans())
    )
    if draw(st.integers(0, 5)) == 0:
        text = text.replace("{", '{"lat":' + json.dumps(draw(HARD)) + ",", 1)
    content = text.encode(draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16"])), "surrogatepass")
    match draw(st.integers(0, 7)):
        case 0:
            return content[: draw(st.integers(0, len(content)))]
        case 1:
            return draw(st.sampled_from([b"[", b'{"a":', b'{"lat":['])) * draw(st.sampled_from([10, 2_000])) + content
        case 2:
            place = draw(st.integers(0, len(content)))
            return content[:place] + draw(st.binary(min_size=1, max_size=4)) + content[place:]
        case _:
            return content


def sound() -> st.SearchStrategy[dict[str, Any]]:
    """Messages with every field anywhere in its range."""
    names = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=64)
    return st.fixed_dictionaries(
        {
            "time": st.integers(0, 4_133_980_799_999),
            "lat": st.floats(-90, 90),
            "lon": st.floats(-180, 180),
            "speed_kmh": st.none() | st.floats(0, 1_000),
            "driver_id": st.none() | names,
            "heading_deg": st.none() | st.floats(0, 360),
            "ignition": st.none() | st.booleans(),
            "odometer_km": st.none() | st.floats(0, 100_000_000),
            "satellites": st.none() | st.integers(0, 100),
            "hdop": st.none() | st.floats(0, 1_000),
        }
    )


@settings(max_examples=600)
@given(st.one_of(spoilt(OWN), spoilt(OWN), st.binary(max_size=200)))
def test_any_message_of_the_own_format_ends_as_fixes_or_rejects(payload: bytes) -> None:
    own_json(payload)


@settings(max_examples=600)
@given(st.one_of(spoilt(OWNTRACKS), spoilt(OWNTRACKS), st.binary(max_size=200)))
def test_any_message_of_owntracks_ends_as_a_fix_a_reject_or_is_ignored(payload: bytes) -> None:
    owntracks_json(payload)


@settings(max_examples=300)
@given(st.one_of(st.sampled_from([b"hanhtrinh/", b"owntracks/a/"]), st.just(b"")), st.binary(max_size=80), spoilt(OWN))
def test_any_topic_has_an_answer(family: bytes, topic: bytes, payload: bytes) -> None:
    any_topic(family + topic + b"\n" + payload)


# pyarrow cannot hand over a CSV row that has too few cells and is no UTF-8: it says so and the file is refused.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_reader_refuses_by_name_what_it_cannot_read(target: Target) -> None:
    chance = random.Random(target.name)
    seeds = target.seeds()
    for content in seeds:
        target.run(content)
    words = [word.encode() for word in target.words] or [b"\0", b"\xff\xff\xff\xff", b"\n"]
    for _ in range(40):
        target.run(_mutated(chance, bytearray(chance.choice(seeds)), words))


def _mutated(chance: random.Random, content: bytearray, words: list[bytes]) -> bytes:
    for _ in range(chance.randint(1, 4)):
        place = chance.randint(0, len(content))
        match chance.randint(0, 3):
            case 0:
                content[place:place] = chance.choice(words)
            case 1:
                del content[place : place + chance.randint(1, 20)]
            case 2:
                content[place : place + 1] = bytes([chance.randint(0, 255)])
            case _:
                content[place:place] = content[place : place + chance.randint(1, 60)]
    return bytes(content)


async def test_fuzzed_fixes_come_back_from_the_database_to_the_bit(postgres_url: str) -> None:
    found: dict[str, Fix] = {}

    @settings(max_examples=500)
    @given(st.one_of(spoilt(OWN), sound().map(lambda document: json.dumps(document).encode())))
    def collect(payload: bytes) -> None:
        found.update((repr(fix), fix) for fix in hanhtrinh_json.decode(VEHICLE, payload).fixes)

    collect()
    fixes = [fix._replace(vehicle_id=f"v{number}") for number, fix in enumerate(found.values())]
    assert len(fixes) > 50
    connection = await connect(postgres_url)
    try:
        store = FixStore(connection, ALONE)
        await store.make_room({fix.time.strftime("%Y-%m") for fix in fixes})
        await store.add_new([FixRow(fix, 0, True, fix.time_us) for fix in fixes])
        read_back = await store.since([(fix.vehicle_id, 0) for fix in fixes])
    finally:
        await connection.close()
    assert sorted(repr(each.fix) for each in read_back) == sorted(map(repr, fixes))


def test_a_list_of_nothing_usable_makes_few_dead_letters() -> None:
    decoded = hanhtrinh_json.decode(VEHICLE, b"[" + b"1," * 100_000 + b"1]")
    assert len(decoded.rejects) == 100
    assert decoded.rejects[-1].detail.endswith("and 99901 more positions that cannot be used")


def test_a_vehicle_id_that_no_topic_can_have_is_refused_in_a_recording_too(tmp_path: Path) -> None:
    path = tmp_path / "day.ndjson"
    path.write_bytes(b'{"vehicle_id":"a\\u0000b","time":1772438400000,"lat":1,"lon":2}\n')
    fixes, rejected = read(path)
    assert (fixes, [row.reason for row in rejected]) == ([], ["bad_id"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = " + "[" * 100_000, "nested too deeply"),
        ("a = " + "9" * 5_000, "4300"),
        ("#" * (1 << 20) + "\n", "larger than 1 MiB"),
        ("a = [1]", "no such number"),
        ("two_vehicles_s = 1e308", "two_vehicles_s"),
    ],
    ids=["deep", "long number", "large", "list", "infinite"],
)
def test_a_rule_pack_that_cannot_be_read_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "pack.toml"
    if text.startswith("two"):
        built_in = (REPOSITORY / "detectors/rules/vn.toml").read_text()
        text = "\n".join(text if line.startswith("two_vehicles_s") else line for line in built_in.splitlines())
    path.write_text(text)
    with pytest.raises(RulePackError, match=message):
        load_pack(str(path), () if "vehicles" in message else ("speeding.max_gap_s=1",))


CONTRADICTING = Path(__file__).parent / "fuzz" / "contradicting.parquet"
HEAD = b"vehicle_id,time,lat,lon\n"
MIB = 1 << 20
BOMBS = {
    "a line": ("day.ndjson.gz", b"", b"a" * MIB, 600, "line 1 is longer than 4 MiB"),
    "a blank line": ("day.ndjson.gz", b"", b" " * MIB, 600, "line 1 is longer than 4 MiB"),
    "a row": ("day.csv.gz", HEAD, b"a" * MIB, 600, "rows up to 4 MiB"),
    "an open quote": ("day.csv.gz", HEAD + b'"', b"a\n" * (MIB // 2), 600, "rows up to 4 MiB"),
    "a header": ("day.csv.gz", b"", b"a" * MIB, 600, "line 1 is longer than 4 MiB"),
    "columns": ("day.csv.gz", HEAD[:-1], b",a" * 1_000_000, 1, "has 1000004 columns, at most 10000"),
    "rows that do not fit": ("day.csv.gz", HEAD, b"a\n" * (MIB // 2), 8, "rows in a row do not have the columns"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_that_expands_is_refused_in_bounded_memory(tmp_path: Path, name: str) -> None:
    file, head, unit, count, message = BOMBS[name]
    path = tmp_path / file
    with gzip.open(path, "wb", compresslevel=1) as bomb:
        bomb.write(head)
        for _ in range(count):
            bomb.write(unit)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(RecordingError, match=message):
        read(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 << 10


def test_a_timeline_that_expands_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hours.csv.gz"
    path.write_bytes(gzip.compress(b"driver_id,start,end,activity\n" + b"a" * (20 * MIB)))
    with pytest.raises(TimelineError, match="line 2 is longer than 65536 characters"):
        read_timelines(path)


def test_a_broken_gzip_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "hours.csv.gz"
    path.write_bytes(gzip.compress(b"")[:10] + b"\xff" * 20)
    with pytest.raises(TimelineError, match="cannot be read"):
        read_timelines(path)


def test_refused_gzip_files_leave_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "day.csv.gz"
    path.write_bytes(b"\x1f\xfc no gzip")

    def pages() -> int:
        return int(Path("/proc/self/statm").read_text().split()[0])

    with pytest.raises(RecordingError, match="is no whole gzip file"):
        read(path)
    before = pages()
    for _ in range(200):
        with pytest.raises(RecordingError):
            read(path)
    assert (pages() - before) * resource.getpagesize() < 50 * MIB


def test_parquet_metadata_that_contradict_themselves_do_not_end_the_process(tmp_path: Path) -> None:
    path = tmp_path / "day.parquet"
    path.write_bytes(CONTRADICTING.read_bytes())
    with pytest.raises(RecordingError):
        read(path)


def test_a_long_cell_repeated_in_a_parquet_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "day.parquet"
    names = pa.DictionaryArray.from_arrays(pa.array([0] * 60_000, pa.int32()), ["a" * MIB])
    rest = {name: [1.0] * 60_000 for name in ("time", "lat", "lon")}
    pq.write_table(pa.table({"vehicle_id": names} | rest), path)
    with pytest.raises(RecordingError, match="has a cell of 1048576 bytes"):
        list(Recording(path, ColumnMapping(time_format="epoch_s")).chunks())


def test_a_registry_file_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vehicles.csv"
    with path.open("wb") as file:
        file.truncate((256 << 20) + 1)
    with pytest.raises(RegistryError, match="larger than 256 MiB"):
        parse_vehicles(path)


def test_rows_that_do_not_fit_wait_only_until_the_rows_beside_them(tmp_path: Path) -> None:
    path = tmp_path / "day.csv"
    row = b"1,2026-03-02T00:00:00Z,1,2," + b"x" * 200 + b"\n"
    path.write_bytes(HEAD[:-1] + b",note\n" + (row + b"few\n") * 60_000)
    recording = Recording(path, ColumnMapping())
    good, bad, most = [], [], 0
    for chunk in recording.chunks():
        good += chunk.row.tolist()
        bad += [each.row for each in chunk.rejected]
        most = max(most, len(chunk.rejected))
    assert good == list(range(2, 120_002, 2))
    assert bad == list(range(3, 120_003, 2))
    assert most < 60_000


def test_the_long_form_finds_nothing_in_a_few_inputs_and_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--inputs", "500", "--only", "own JSON", "--out", str(tmp_path / "out")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["targets"][0]["inputs"] >= 500
    assert report["targets"][0]["findings"] == []
