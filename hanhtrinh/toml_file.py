"""Reading TOML that somebody wrote by hand."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

MAX_BYTES = 1 << 20


class TomlError(ValueError):
    """The file is no TOML that can be read; the message says why."""


def read_toml(path: Path) -> dict[str, Any]:
    """The document. OSError when there is no file, TomlError when it cannot be read as TOML."""
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise TomlError(f"is larger than {MAX_BYTES >> 20} MiB")
    try:
        return tomllib.loads(content.decode())
    except RecursionError:
        raise TomlError("nested too deeply") from None
    # Beside its own error and that of UTF-8: whole numbers of more than 4300 digits.
    except ValueError as error:
        raise TomlError(str(error)) from None
