"""Reports as files that an office can print, sign and send."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from xlsxwriter.exceptions import XlsxWriterException

from hanhtrinh.documents.csv import write_csv
from hanhtrinh.documents.pdf import write_pdf
from hanhtrinh.documents.xlsx import write_xlsx
from storage.reports.scope import ReportError
from storage.reports.table import Report

WRITERS: Mapping[str, Callable[[Report, Path], None]] = {".xlsx": write_xlsx, ".csv": write_csv, ".pdf": write_pdf}
"""By the ending of the file's name."""


def write_report(report: Report, path: Path) -> None:
    """Write the file that the ending asks for, whole or not at all. ReportError when it cannot be written."""
    path = path.resolve()
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        WRITERS[path.suffix.lower()](report, part)
        part.replace(path)
    except (OSError, XlsxWriterException) as error:
        # The writer of spreadsheets has an error of its own around the system's.
        cause = error if isinstance(error, OSError) else error.__context__ or error
        why = cause.strerror if isinstance(cause, OSError) else str(error)
        raise ReportError(f"--out {path}: cannot be written: {why}") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
