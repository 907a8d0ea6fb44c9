"""Reading recordings: CSV, NDJSON (both also .gz) and Parquet, a chunk at a time."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from detectors.names import Names
from ingest.formats import FixError, hanhtrinh_json
from ingest.formats.checked import checked_id
from ingest.recordings.building import ChunkBuilder
from ingest.recordings.chunk import RecordingChunk, RejectedRow
from ingest.recordings.files import MAX_LINE_BYTES, CountedFile, kind_of, numbered_lines
from ingest.recordings.mapping import ColumnMapping, RecordingError
from ingest.recordings.rejecting import TOPIC, Rejecter

_CHUNK_ROWS = 65_536
_DELIMITERS = ",;\t|"
_MAX_COLUMNS = 10_000
_MAX_CELL_BYTES = 64 << 10
_MAX_GROUP_BYTES = 4 << 30
# What is kept of rows that are no Fix before it is handed on.
_MAX_WAITING = 200_000
_MAX_WAITING_BYTES = 64 << 20


class _Head(msgspec.Struct, gc=False):
    vehicle_id: str | None = None


_decode_heads = msgspec.json.Decoder(_Head | list[_Head]).decode
_decode_any = msgspec.json.Decoder(Any).decode


class Recording:
    """One file of fixes. Give several recordings the same Names to have the same codes in all of them."""

    def __init__(
        self, path: Path, mapping: ColumnMapping, vehicles: Names | None = None, drivers: Names | None = None
    ) -> None:
        self.path = path
        self.vehicles = vehicles if vehicles is not None else Names()
        self.drivers = drivers if drivers is not None else Names()
        self._mapping = mapping
        self._rejecter = Rejecter()
        self.kind = kind_of(path)

    @property
    def is_own_format(self) -> bool:
        """True for NDJSON whose lines are messages as a tracker sends them: nothing is mapped."""
        return self.kind == "ndjson" and self._mapping.is_default

    def chunks(
        self, rows: int = _CHUNK_ROWS, progress: Callable[[int], None] | None = None
    ) -> Iterator[RecordingChunk]:
        """The file in order, at most about `rows` rows at once; `progress` hears of each part read, in bytes.

        RecordingError when the file cannot be read, or its columns cannot be understood.
        """
        try:
            with CountedFile(self.path, progress) as file:
                if self.kind == "csv":
                    yield from self._csv_chunks(file, rows)
                elif self.kind == "parquet":
                    yield from self._parquet_chunks(file, rows)
                elif self.is_own_format:
                    yield from self._own_chunks(file, rows)
                else:
                    yield from self._mapped_chunks(file, rows)
        except OSError as error:
            raise RecordingError(f"{self.path}: {error.strerror or error}") from error

    def lines(self, progress: Callable[[int], None] | None = None) -> Iterator[tuple[int, str | None, bytes]]:
        """Of an own-format recording: line number, vehicle id (None where the line names none) and the line itself."""
        try:
            with CountedFile(self.path, progress) as file:
                for number, line in numbered_lines(file):
                    yield number, _vehicle_of(line), line
        except OSError as error:
            raise RecordingError(f"{self.path}: {error.strerror or error}") from error

    def _builder(self, columns: list[str]) -> tuple[ChunkBuilder, list[str]]:
        if len(columns) > _MAX_COLUMNS:
            raise RecordingError(f"{self.path}: has {len(columns)} columns, at most {_MAX_COLUMNS} are read")
        resolved = self._mapping.resolve(columns, str(self.path))
        wanted = list(dict.fromkeys(name for names in resolved.columns.values() for name in names))
        return ChunkBuilder(str(self.path), self._mapping, resolved, self.vehicles, self.drivers), wanted

    def _csv_chunks(self, file: CountedFile, rows: int) -> Iterator[RecordingChunk]:
        from pyarrow import csv as pacsv

        columns, delimiter = _header(self.path)
        builder, wanted = self._builder(columns)
        misfits = _Misfits()
        try:
            reader = pacsv.open_csv(
                file.text(),
                # One thread: only then does the reader number the lines that do not fit.
                read_options=pacsv.ReadOptions(block_size=MAX_LINE_BYTES, use_threads=False),
                parse_options=pacsv.ParseOptions(
                    delimiter=delimiter, newlines_in_values=True, invalid_row_handler=misfits.take
                ),
                convert_options=pacsv.ConvertOptions(
                    include_columns=wanted,
                    # Bytes first: text that is not UTF-8 must fail its own row, not the file.
                    column_types=dict.fromkeys(wanted, pa.binary()),
                    strings_can_be_null=True,
                    null_values=[""],
                ),
            )
            for batch in reader:
                for start in range(0, batch.num_rows, rows):
                    part = batch.slice(start, rows)
                    numbers = misfits.number(part.num_rows)
                    cells = {name: _as_utf8(part.column(name)) for name in wanted}
                    yield builder.build(cells, numbers)
                if misfits.passed:
                    yield self._only_rejected([self._misfit(item) for item in misfits.hand_over()])
        except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
            if misfits.too_many:
                raise RecordingError(
                    f"{self.path}: more than {_MAX_WAITING} rows in a row do not have the columns of the first line"
                ) from error
            raise RecordingError(
                f"{self.path}: cannot be read as CSV, rows up to {MAX_LINE_BYTES >> 20} MiB: {error}"
            ) from error
        if misfits.waiting:
            yield self._only_rejected([self._misfit(item) for item in misfits.waiting])

    def _parquet_chunks(self, file: CountedFile, rows: int) -> Iterator[RecordingChunk]:
        from pyarrow import parquet

        try:
            schema = parquet.read_schema(self.path)
            builder, wanted = self._builder(schema.names)
            texts = [name for name in wanted if _is_text(schema.field(name).type)]
            # As dictionaries, so that a long text that is repeated is there once until its length is known.
            opened = parquet.ParquetFile(self.path, read_dictionary=texts)
            self._demand_small(opened.metadata)
            first = 1
            for batch in opened.iter_batches(batch_size=rows, columns=wanted):
                numbers = np.arange(first, first + batch.num_rows, dtype=np.int64)
                first += batch.num_rows
                yield builder.build({name: self._plain(name, batch.column(name)) for name in wanted}, numbers)
            file.all_read()
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise RecordingError(f"{self.path}: not a Parquet file that can be read: {error}") from error

    def _demand_small(self, metadata: Any) -> None:
        # Not column by column: pyarrow ends the process where the metadata of a column contradict themselves.
        for group in map(metadata.row_group, range(metadata.num_row_groups)):
            if group.total_byte_size > _MAX_GROUP_BYTES:
                raise RecordingError(
                    f"{self.path}: has a row group of {group.total_byte_size} bytes, at most {_MAX_GROUP_BYTES} are"
                    " read: write it with smaller row groups"
                )

    def _plain(self, name: str, column: Any) -> Any:
        if not pa.types.is_dictionary(column.type):
            return column
        if _is_text(column.dictionary.type):
            longest = pc.max(pc.binary_length(column.dictionary)).as_py() or 0
            if longest > _MAX_CELL_BYTES:
                raise RecordingError(
                    f"{self.path}: column {name!r} has a cell of {longest} bytes, at most {_MAX_CELL_BYTES} are read"
                )
        return column.dictionary_decode()

    def _own_chunks(self, file: CountedFile, rows: int) -> Iterator[RecordingChunk]:
        numbers: list[int] = []
        fixes: list[Any] = []
        rejected: list[RejectedRow] = []
        waiting_bytes = 0
        for number, line in numbered_lines(file):
            vehicle_id = _vehicle_of(line)
            if vehicle_id is None or not _is_id(vehicle_id):
                # `send` publishes it to the topic that the formats refuse.
                rejected.append(self._rejecter.message(number, TOPIC, line))
            else:
                decoded = hanhtrinh_json.decode(vehicle_id, line)
                fixes += decoded.fixes
                numbers += [number] * len(decoded.fixes)
                rejected += [RejectedRow(number, *reject, TOPIC + vehicle_id, line) for reject in decoded.rejects]
            waiting_bytes += len(line)
            if len(fixes) + len(rejected) >= rows or waiting_bytes > _MAX_WAITING_BYTES:
                yield RecordingChunk.of_fixes(numbers, fixes, self.vehicles, self.drivers, rejected)
                numbers, fixes, rejected, waiting_bytes = [], [], [], 0
        yield RecordingChunk.of_fixes(numbers, fixes, self.vehicles, self.drivers, rejected)

    def _mapped_chunks(self, file: CountedFile, rows: int) -> Iterator[RecordingChunk]:
        builder: ChunkBuilder | None = None
        wanted: list[str] = []
        numbers: list[int] = []
        objects: list[dict[str, Any]] = []
        rejected: list[RejectedRow] = []

        def built() -> RecordingChunk:
            nonlocal builder, wanted
            if builder is None:
                columns = list(dict.fromkeys(name for item in objects for name in item))
                builder, wanted = self._builder(columns)
            cells = {name: pa.array([_text(item.get(name)) for item in objects], pa.string()) for name in wanted}
            return builder.build(cells, np.array(numbers, np.int64))

        waiting_bytes = 0
        for number, line in numbered_lines(file):
            items = _objects(line)
            found = [item for item in items if isinstance(item, dict)]
            objects += found
            numbers += [number] * len(found)
            if len(found) < len(items):
                # Once for the line: that is what is published.
                rejected.append(self._rejecter.line(number, line, "row: expected a JSON object"))
            waiting_bytes += len(line)
            if len(objects) + len(rejected) >= rows or waiting_bytes > _MAX_WAITING_BYTES:
                if objects:
                    yield built()
                if rejected:
                    yield self._only_rejected(rejected)
                objects, numbers, rejected, waiting_bytes = [], [], [], 0
        if objects:
            yield built()
        if rejected:
            yield self._only_rejected(rejected)

    def _misfit(self, misfit: Any) -> RejectedRow:
        detail = f"row: has {misfit.actual_columns} columns, expected {misfit.expected_columns}"
        return self._rejecter.line(misfit.number, misfit.text.encode(), detail)

    def _only_rejected(self, rejected: list[RejectedRow]) -> RecordingChunk:
        return RecordingChunk.of_fixes([], [], self.vehicles, self.drivers, rejected)


class _Misfits:
    """The rows of a CSV that do not have the columns of its first line, and the numbers of the rows beside them."""

    def __init__(self) -> None:
        self.waiting: list[Any] = []
        self.too_many = False
        self.passed = 0
        """How many of the waiting ones stand before rows that were numbered."""
        self._next = 2
        self._bytes = 0

    def take(self, misfit: Any) -> str:
        """What the reader calls for each."""
        self._bytes += len(misfit.text)
        self.too_many = len(self.waiting) >= _MAX_WAITING or self._bytes > _MAX_WAITING_BYTES
        if self.too_many:
            return "error"
        self.waiting.append(misfit)
        return "skip"

    def number(self, count: int) -> Any:
        """The numbers of the next `count` rows that fit."""
        numbers = np.arange(self._next, self._next + count, dtype=np.int64)
        # The misfit that j others precede shifts the rows that would, without it and those, have its number less j.
        shifts_from = np.array([item.number for item in self.waiting[self.passed :]]) - np.arange(
            len(self.waiting) - self.passed
        )
        numbers += np.searchsorted(shifts_from, numbers, side="right")
        if count:
            self._next = int(numbers[-1]) + 1
            while self.passed < len(self.waiting) and self.waiting[self.passed].number < self._next:
                self.passed += 1
        return numbers

    def hand_over(self) -> list[Any]:
        """Those that were passed; they wait no longer."""
        over, self.waiting = self.waiting[: self.passed], self.waiting[self.passed :]
        self.passed = 0
        self._bytes = sum(len(item.text) for item in self.waiting)
        return over


def _header(path: Path) -> tuple[list[str], str]:
    with CountedFile(path, None) as file:
        first = next((line for _, line in numbered_lines(file)), b"")
    text = first.decode("utf-8-sig", "replace").rstrip("\r\n")
    if not text:
        raise RecordingError(f"{path}: is empty, expected a header line with the names of the columns")
    delimiter = max(_DELIMITERS, key=text.count)
    if (count := text.count(delimiter) + 1) > _MAX_COLUMNS:
        raise RecordingError(f"{path}: has {count} columns, at most {_MAX_COLUMNS} are read")
    try:
        columns = next(csv.reader([text], delimiter=delimiter))
    except csv.Error as error:
        raise RecordingError(f"{path}: line 1: {error}, expected the names of the columns") from error
    twice = sorted(name for name, times in Counter(columns).items() if times > 1)
    if twice:
        raise RecordingError(f"{path}: column {', '.join(map(repr, twice))} is there more than once")
    return columns, delimiter


def _as_utf8(column: Any) -> Any:
    try:
        return pc.cast(column, pa.string())
    except pa.ArrowInvalid:
        return pa.array([_decoded(cell) for cell in column.to_pylist()], pa.string())


def _decoded(cell: bytes | None) -> str | None:
    if cell is None:
        return None
    try:
        return cell.decode()
    except UnicodeDecodeError:
        # The control character makes it unusable in every field, ids too.
        return "\0" + cell.decode("utf-8", "backslashreplace")


def _is_text(kind: Any) -> bool:
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(test(kind) for test in tests)


def _vehicle_of(line: bytes) -> str | None:
    try:
        heads = _decode_heads(line)
    except (ValueError, RecursionError):
        return _first_vehicle_of(line)
    if isinstance(heads, list):
        return heads[0].vehicle_id if heads else None
    name: str | None = heads.vehicle_id
    return name


def _is_id(vehicle_id: str) -> bool:
    try:
        checked_id("vehicle_id", vehicle_id)
    except FixError:
        return False
    return True


def _first_vehicle_of(line: bytes) -> str | None:
    # One bad object must not take the name from a list whose other objects are good.
    try:
        for item in _objects(line):
            if isinstance(item, dict) and isinstance(item.get("vehicle_id"), str):
                return str(item["vehicle_id"])
    except (ValueError, RecursionError):
        pass
    return None


def _objects(line: bytes) -> list[Any]:
    try:
        document = _decode_any(line)
    except (ValueError, RecursionError):
        return [None]
    return document if isinstance(document, list) else [document]


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)
