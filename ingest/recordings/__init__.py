"""Recordings: CSV, NDJSON and Parquet files of fixes, read in chunks of columns."""

from detectors.names import Names
from ingest.recordings.chunk import RecordingChunk, RejectedRow
from ingest.recordings.mapping import SPEED_UNITS, ColumnMapping, RecordingError
from ingest.recordings.reading import Recording

__all__ = ["SPEED_UNITS", "ColumnMapping", "Names", "Recording", "RecordingChunk", "RecordingError", "RejectedRow"]
