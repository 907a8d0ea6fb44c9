"""The files of recordings as bytes: kinds by name, decompression, lines, and how far they are read."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from ingest.recordings.mapping import RecordingError

MAX_LINE_BYTES = 4 << 20
"""Of one line or row, decompressed: 16 times what a worker takes as a message."""


class CountedFile:
    """An open file that tells how many of its bytes on disk were read."""

    def __init__(self, path: Path, progress: Callable[[int], None] | None) -> None:
        self.path = path
        self._file = path.open("rb")
        self._progress = progress
        self._told = 0

    def __enter__(self) -> CountedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def text(self) -> Any:
        """The content as a pyarrow stream, decompressed when the name ends in .gz."""
        stream = pa.PythonFile(self, mode="r")
        return pa.CompressedInputStream(stream, "gzip") if self._is_zipped else stream

    def blocks(self, size: int) -> Iterator[bytes]:
        """The content, decompressed like `text`, at most `size` bytes at once. RecordingError when it is no gzip."""
        # Not through pyarrow, whose streams keep the buffer of every read that fails.
        stream: Any = gzip.GzipFile(fileobj=self._file) if self._is_zipped else self._file
        before = 0
        try:
            while block := stream.read(size):
                if self._progress is not None:
                    self._progress(self._file.tell() - before)
                    before = self._file.tell()
                yield block
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise RecordingError(f"{self.path}: is no whole gzip file: {error}") from error

    @property
    def _is_zipped(self) -> bool:
        return self.path.suffix.lower() == ".gz"

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(size)
        if self._progress is not None:
            self._progress(len(content))
        return content

    @property
    def closed(self) -> bool:
        return self._file.closed

    def close(self) -> None:
        self._file.close()

    def all_read(self) -> None:
        if self._progress is not None:
            self._progress(self.path.stat().st_size)


def kind_of(path: Path) -> str:
    """csv, ndjson or parquet, by the file's name."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    last = suffixes[-2] if len(suffixes) > 1 and suffixes[-1] == ".gz" else (suffixes or [""])[-1]
    kinds = {".csv": "csv", ".tsv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".parquet": "parquet"}
    if last not in kinds:
        raise RecordingError(
            f"{path}: expected a name ending in .csv, .tsv, .ndjson, .jsonl (each also .gz) or .parquet"
        )
    return kinds[last]


def numbered_lines(file: CountedFile) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank, with their numbers. RecordingError at a line longer than MAX_LINE_BYTES."""
    rest = b""
    number = 0
    for block in file.blocks(1 << 20):
        *whole, rest = (rest + block).split(b"\n")
        for line in whole:
            number += 1
            if line.strip():
                yield number, line
        if len(rest) > MAX_LINE_BYTES:
            raise RecordingError(
                f"{file.path}: line {number + 1} is longer than {MAX_LINE_BYTES >> 20} MiB, expected one message or row"
            )
    if rest.strip():
        yield number + 1, rest
