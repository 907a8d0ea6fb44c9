"""Tracker formats: bytes to fixes, one module per format."""

from ingest.formats.checked import checked_fix, parse_time
from ingest.formats.decoded import Decoded
from ingest.formats.reasons import REASONS, FixError, Reject
from ingest.formats.registry import FormatRegistry

__all__ = ["REASONS", "Decoded", "FixError", "FormatRegistry", "Reject", "checked_fix", "parse_time"]
