"""Law 3: the core is numpy and the standard library, without I/O, wall clock or logging."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
SOURCES = sorted((REPOSITORY / "detectors").rglob("*.py"))
MODULES = [".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__") for path in SOURCES]
FORBIDDEN_MODULES = {
    "asyncio", "ftplib", "http", "io", "logging", "multiprocessing", "os", "pathlib", "random", "requests", "secrets",
    "shutil", "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "tomllib", "urllib",
    "uuid", "warnings",
}  # fmt: skip
FORBIDDEN_CALLS = {"open", "print", "input", "exec", "eval", "__import__"}
FORBIDDEN_ATTRIBUTES = {"now", "today", "utcnow", "fromfile", "tofile", "loadtxt", "savetxt", "memmap", "random"}


def test_importing_the_core_loads_nothing_but_numpy_and_the_standard_library() -> None:
    program = (
        "import importlib, json, sys\n"
        "import numpy\n"
        "before = set(sys.modules)\n"
        f"for name in {MODULES!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in set(sys.modules) - before})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(json.loads(done.stdout))
    assert "detectors" in loaded
    assert loaded - set(sys.stdlib_module_names) - {"numpy"} == {"detectors"}


@pytest.mark.parametrize("source", SOURCES, ids=[str(path.relative_to(REPOSITORY)) for path in SOURCES])
def test_no_source_of_the_core_reaches_outside(source: Path) -> None:
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert not {alias.name.partition(".")[0] for alias in node.names} & FORBIDDEN_MODULES
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").partition(".")[0] not in FORBIDDEN_MODULES
        elif isinstance(node, ast.Name):
            assert node.id not in FORBIDDEN_CALLS
        elif isinstance(node, ast.Attribute):
            assert node.attr not in FORBIDDEN_ATTRIBUTES


def test_there_is_a_core_to_check() -> None:
    assert {"detectors.journeys", "detectors.speeding", "detectors.hours", "detectors.checks"} <= set(MODULES)
