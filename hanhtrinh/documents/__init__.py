"""Reports as files that an office can print, sign and send."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from hanhtrinh.documents.csv import write_csv
from hanhtrinh.documents.pdf import write_pdf
from hanhtrinh.documents.xlsx import write_xlsx
from storage.reports.table import Report

WRITERS: Mapping[str, Callable[[Report, Path], None]] = {".xlsx": write_xlsx, ".csv": write_csv, ".pdf": write_pdf}
"""By the ending of the file's name."""
