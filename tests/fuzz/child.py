"""One target in a process of its own: `python -m tests.fuzz.child TARGET FOLDER [libFuzzer options]`."""

from __future__ import annotations

import logging
import resource
import sys
from pathlib import Path

import atheris

MEMORY_BYTES = 4 << 30


def main() -> None:
    name, folder = sys.argv[1], Path(sys.argv[2])
    logging.disable(logging.CRITICAL)
    with atheris.instrument_imports(include=["ingest", "storage", "hanhtrinh", "detectors"]):
        from tests.fuzz.targets import of_name
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    atheris.Setup([sys.argv[0], *sys.argv[3:]], of_name(folder, name).run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
