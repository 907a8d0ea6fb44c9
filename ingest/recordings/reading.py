"""Reading recordings: CSV, NDJSON (both also .gz) and Parquet, a chunk at a time."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from detectors.columns import Names
from ingest.formats import hanhtrinh_json
from ingest.recordings.building import ChunkBuilder
from ingest.recordings.chunk import RecordingChunk, RejectedRow
from ingest.recordings.files import CountedFile, kind_of, numbered_lines
from ingest.recordings.mapping import ColumnMapping, RecordingError
from ingest.recordings.rejecting import TOPIC, Rejecter

_BLOCK_BYTES = 4 << 20
_CHUNK_ROWS = 65_536
_DELIMITERS = ",;\t|"


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
                for number, line in numbered_lines(file.text()):
                    yield number, _vehicle_of(line), line
        except OSError as error:
            raise RecordingError(f"{self.path}: {error.strerror or error}") from error

    def _builder(self, columns: list[str]) -> tuple[ChunkBuilder, list[str]]:
        resolved = self._mapping.resolve(columns, str(self.path))
        wanted = list(dict.fromkeys(name for names in resolved.columns.values() for name in names))
        return ChunkBuilder(str(self.path), self._mapping, resolved, self.vehicles, self.drivers), wanted

    def _csv_chunks(self, file: CountedFile, rows: int) -> Iterator[RecordingChunk]:
        from pyarrow import csv as pacsv

        columns, delimiter = _header(self.path)
        builder, wanted = self._builder(columns)
        misfits: list[Any] = []

        def skip(misfit: Any) -> str:
            misfits.append(misfit)
            return "skip"

        reader = pacsv.open_csv(
            file.text(),
            # One thread: only then does the reader number the lines that do not fit.
            read_options=pacsv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False),
            parse_options=pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=skip),
            convert_options=pacsv.ConvertOptions(
                include_columns=wanted,
                # Bytes first: text that is not UTF-8 must fail its own row, not the file.
                column_types=dict.fromkeys(wanted, pa.binary()),
                strings_can_be_null=True,
                null_values=[""],
            ),
        )
        read = 0
        while True:
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                break
            except pa.ArrowInvalid as error:
                raise RecordingError(f"{self.path}: {error}") from error
            for start in range(0, batch.num_rows, rows):
                part = batch.slice(start, rows)
                numbers = _row_numbers(read, part.num_rows, misfits)
                read += part.num_rows
                cells = {name: _as_utf8(part.column(name)) for name in wanted}
                yield builder.build(cells, numbers)
        if misfits:
            yield self._only_rejected([self._misfit(item) for item in misfits])

    def _parquet_chunks(self, file: CountedFile, rows: int) -> Iterator[RecordingChunk]:
        from pyarrow import parquet

        try:
            opened = parquet.ParquetFile(self.path)
            builder, wanted = self._builder(opened.schema_arrow.names)
            first = 1
            for batch in opened.iter_batches(batch_size=rows, columns=wanted):
                numbers = np.arange(first, first + batch.num_rows, dtype=np.int64)
                first += batch.num_rows
                yield builder.build({name: _plain(batch.column(name)) for name in wanted}, numbers)
            file.all_read()
        except pa.ArrowInvalid as error:
            raise RecordingError(f"{self.path}: not a Parquet file that can be read: {error}") from error

    def _own_chunks(self, file: CountedFile, rows: int) -> Iterator[RecordingChunk]:
        numbers: list[int] = []
        fixes: list[Any] = []
        rejected: list[RejectedRow] = []
        for number, line in numbered_lines(file.text()):
            vehicle_id = _vehicle_of(line)
            if vehicle_id is None:
                rejected.append(self._rejecter.message(number, TOPIC, line))
            else:
                decoded = hanhtrinh_json.decode(vehicle_id, line)
                fixes += decoded.fixes
                numbers += [number] * len(decoded.fixes)
                rejected += [RejectedRow(number, *reject, TOPIC + vehicle_id, line) for reject in decoded.rejects]
            if len(fixes) + len(rejected) >= rows:
                yield RecordingChunk.of_fixes(numbers, fixes, self.vehicles, self.drivers, rejected)
                numbers, fixes, rejected = [], [], []
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

        for number, line in numbered_lines(file.text()):
            for item in _objects(line):
                if isinstance(item, dict):
                    objects.append(item)
                    numbers.append(number)
                else:
                    rejected.append(self._rejecter.line(number, line, "row: expected a JSON object"))
            if len(objects) >= rows:
                yield built()
                objects, numbers = [], []
        if objects:
            yield built()
        if rejected:
            yield self._only_rejected(rejected)

    def _misfit(self, misfit: Any) -> RejectedRow:
        detail = f"row: has {misfit.actual_columns} columns, expected {misfit.expected_columns}"
        return self._rejecter.line(misfit.number, misfit.text.encode(), detail)

    def _only_rejected(self, rejected: list[RejectedRow]) -> RecordingChunk:
        return RecordingChunk.of_fixes([], [], self.vehicles, self.drivers, rejected)


def _header(path: Path) -> tuple[list[str], str]:
    with CountedFile(path, None) as file:
        first = next((line for _, line in numbered_lines(file.text())), b"")
    text = first.decode("utf-8-sig", "replace").rstrip("\r\n")
    if not text:
        raise RecordingError(f"{path}: is empty, expected a header line with the names of the columns")
    delimiter = max(_DELIMITERS, key=text.count)
    columns = next(csv.reader([text], delimiter=delimiter))
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise RecordingError(f"{path}: column {', '.join(map(repr, twice))} is there more than once")
    return columns, delimiter


def _row_numbers(read: int, count: int, misfits: list[Any]) -> Any:
    numbers = np.arange(read + 2, read + 2 + count, dtype=np.int64)
    for misfit in misfits:
        numbers[numbers >= misfit.number] += 1
    return numbers


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


def _plain(column: Any) -> Any:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _vehicle_of(line: bytes) -> str | None:
    try:
        heads = _decode_heads(line)
    except (ValueError, RecursionError):
        return _first_vehicle_of(line)
    if isinstance(heads, list):
        return heads[0].vehicle_id if heads else None
    name: str | None = heads.vehicle_id
    return name


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
