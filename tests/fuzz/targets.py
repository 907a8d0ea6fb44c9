"""What is fuzzed: each target takes any bytes, and raises only when the product did what it must not do."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from detectors.fix import Fix
from hanhtrinh.alert_routes import read_alerts_file
from hanhtrinh.rule_packs import LoadedPack, RulePackError, load_hours, load_pack
from hanhtrinh.settings import SettingsError
from hanhtrinh.timelines import TimelineError, read_timelines
from ingest.formats import REASONS, Decoded, FormatRegistry, checked_fix, hanhtrinh_json, owntracks
from ingest.raw import RawMessage
from ingest.recordings import ColumnMapping, Recording, RecordingError
from storage.csv_rows import RegistryError
from storage.overrides import parse_overrides
from storage.registry import parse_drivers, parse_operators, parse_vehicles, table_of
from tests.fuzz import seeds

Run = Callable[[bytes], None]
VEHICLE = "29B-12345"


class Target(NamedTuple):
    """`share`: how many of a thousand inputs it gets; files are slower than messages."""

    name: str
    share: int
    run: Run
    seeds: Callable[[], list[bytes]]
    words: list[str]


def targets(folder: Path) -> list[Target]:
    """All targets; files are written to `folder`."""
    readers = _Readers(folder)
    return [
        Target("own JSON", 330, own_json, seeds.messages, seeds.JSON_WORDS),
        Target("OwnTracks", 250, owntracks_json, seeds.owntracks, seeds.JSON_WORDS),
        Target("any topic", 200, any_topic, seeds.topics, seeds.JSON_WORDS),
        Target("CSV recording", 40, readers.csv, seeds.csv, seeds.CSV_WORDS),
        Target("CSV.gz recording", 10, readers.csv_gz, lambda: _zipped(seeds.csv()), []),
        Target("NDJSON recording", 50, readers.ndjson, seeds.messages, seeds.JSON_WORDS),
        Target("NDJSON mapped", 20, readers.mapped, seeds.mapped, seeds.JSON_WORDS),
        Target("Parquet recording", 20, readers.parquet, seeds.parquet, []),
        Target("registry CSV", 30, readers.registry, seeds.registry, seeds.CSV_WORDS),
        Target("overrides CSV", 10, readers.overrides, seeds.overrides, seeds.CSV_WORDS),
        Target("timelines", 15, readers.timelines, seeds.timelines, seeds.CSV_WORDS),
        Target("timelines .gz", 5, readers.timelines_gz, lambda: _zipped(seeds.timelines()), []),
        Target("rule pack", 10, readers.pack, seeds.packs, seeds.TOML_WORDS),
        Target("alerts file", 10, readers.alerts, seeds.alerts, seeds.TOML_WORDS),
    ]


def demand_decoded(decoded: Decoded, payload: bytes) -> None:
    """A message ends as fixes that can be stored, as rejects with a known reason, or is ignored by design."""
    assert decoded.fixes or decoded.rejects or decoded.ignored, payload
    demand_fixes(decoded.fixes)
    for reject in decoded.rejects:
        demand_reason(*reject)


def demand_fixes(fixes: list[Fix]) -> None:
    """Every fix is one that the checked factory makes, to the bit and the type."""
    for fix in fixes:
        assert repr(checked_fix(**fix._asdict())) == repr(fix), fix


def demand_reason(reason: str, detail: str) -> None:
    """The reason is of the closed list, and the detail can be stored and shown."""
    assert reason in REASONS, reason
    assert "\0" not in detail, detail
    assert 0 < len(detail.encode()) < 2_000, detail


def demand_alike(formats: FormatRegistry, topic: str, payload: bytes, decoded: Decoded) -> None:
    """What is decoded among many at once is what it is by itself; beside it a message that is good."""
    table, rows = formats.single_fixes([_GOOD_TOPIC, topic], [_GOOD, payload])
    assert rows.tolist() in ([0], [0, 1]), payload
    if len(rows) == 2:
        assert decoded == Decoded([table.fix(1)], []), payload
        demand_fixes([table.fix(1)])


_GOOD_TOPIC, _GOOD = f"hanhtrinh/{VEHICLE}", b'{"time":"2026-03-01T01:15:30.250Z","lat":10.5,"lon":106.5}'


def own_json(payload: bytes) -> None:
    decoded = hanhtrinh_json.decode(VEHICLE, payload)
    demand_decoded(decoded, payload)
    demand_alike(FormatRegistry(), _GOOD_TOPIC, payload, decoded)


def owntracks_json(payload: bytes) -> None:
    demand_decoded(owntracks.decode("user/phone", payload), payload)


def any_topic(data: bytes) -> None:
    """The first line is the topic."""
    topic, _, payload = data.partition(b"\n")
    message = RawMessage(topic.decode("utf-8", "surrogateescape"), payload, 0)
    formats = FormatRegistry()
    decoded = formats.decode(message)
    demand_decoded(decoded, payload)
    demand_alike(formats, message.topic, payload, decoded)
    formats.device_id(message.topic)


class _Readers:
    """The readers of files, each with one file that is written again for each input."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pack: LoadedPack = load_pack()

    def csv(self, data: bytes) -> None:
        self._recording("day.csv", data, ColumnMapping())
        self._recording("day.csv", data, ColumnMapping(time_format="%d/%m/%Y %H:%M:%S", time_zone="Asia/Ho_Chi_Minh"))

    def csv_gz(self, data: bytes) -> None:
        self._recording("day.csv.gz", data, ColumnMapping())

    def ndjson(self, data: bytes) -> None:
        self._recording("day.ndjson", data, ColumnMapping())

    def mapped(self, data: bytes) -> None:
        self._recording("day.ndjson", data, ColumnMapping(time_format="epoch_ms", vehicle_id=VEHICLE))
        self._recording("day.ndjson", data, ColumnMapping(speed_unit="knots", time_zone="Asia/Ho_Chi_Minh"))

    def parquet(self, data: bytes) -> None:
        self._recording("day.parquet", data, ColumnMapping())

    def registry(self, data: bytes) -> None:
        path = self._written("registry.csv", data)
        for parse in (table_of, parse_vehicles, parse_drivers, parse_operators):
            with suppress(RegistryError):
                parse(path)

    def overrides(self, data: bytes) -> None:
        with suppress(RegistryError):
            parse_overrides(self._written("overrides.csv", data), self._pack.pack)

    def timelines(self, data: bytes) -> None:
        self._timelines("hours.csv", data)

    def timelines_gz(self, data: bytes) -> None:
        self._timelines("hours.csv.gz", data)

    def pack(self, data: bytes) -> None:
        path = str(self._written("pack.toml", data))
        for overrides in ((), ("speeding.max_gap_s=300",)):
            with suppress(RulePackError):
                load_pack(path, overrides)
            with suppress(RulePackError):
                load_hours(path, overrides)

    def alerts(self, data: bytes) -> None:
        with suppress(SettingsError):
            read_alerts_file(self._written("alerts.toml", data), self._pack)

    def _timelines(self, name: str, data: bytes) -> None:
        with suppress(TimelineError):
            for intervals in read_timelines(self._written(name, data), self._pack.zone).values():
                assert all(each.begin_us <= each.end_us for each in intervals)

    def _recording(self, name: str, data: bytes, mapping: ColumnMapping) -> None:
        recording = Recording(self._written(name, data), mapping)
        with suppress(RecordingError):
            for chunk in recording.chunks():
                demand_fixes(chunk.fixes(recording.vehicles, recording.drivers))
                for row in chunk.rejected:
                    demand_reason(row.reason, row.detail)

    def _written(self, name: str, data: bytes) -> Path:
        path = self._folder / name
        path.write_bytes(data)
        return path


def _zipped(contents: list[bytes]) -> list[bytes]:
    return [gzip.compress(content, mtime=0) for content in contents]


def of_name(folder: Path, name: str) -> Target:
    """The target of that name."""
    return next(each for each in targets(folder) if each.name == name)


def names(folder: Path) -> Iterator[str]:
    return (each.name for each in targets(folder))
