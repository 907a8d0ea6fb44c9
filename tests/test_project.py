"""The project itself: what is generated is in step with its source, and no file names a registry."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from hanhtrinh.env_example import COMPOSE_SECRETS, env_example
from hanhtrinh.settings import PREFIX, Settings, load_settings

REPOSITORY = Path(__file__).parents[1]
LOCKS = ("requirements.txt", "requirements-dev.txt")

# Written apart, so that this file does not name them itself.
REGISTRIES = ("pypi" + ".org", "python" + "hosted.org", "repo." + "maven", "maven" + ".org", "registry." + "npmjs")


def tracked_files() -> list[Path]:
    """Every text file of the checkout that git knows or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = [REPOSITORY / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:1024]]


def pins(lock: str) -> dict[str, str]:
    """Name and version of every package in a lock."""
    text = (REPOSITORY / lock).read_text()
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_no_file_names_a_registry() -> None:
    for path in tracked_files():
        text = path.read_text("utf-8", errors="replace")
        assert [name for name in REGISTRIES if name in text] == [], path


def test_the_locks_name_no_host_and_hash_everything() -> None:
    for lock in LOCKS:
        text = (REPOSITORY / lock).read_text()
        assert re.findall(r"https?:|^-|--(?!hash=sha256:)[a-z]+", text, re.MULTILINE) == [], lock
        blocks = re.split(r"^(?=[a-z0-9-]+==)", text, flags=re.MULTILINE)[1:]
        assert len(blocks) == len(pins(lock))
        assert all("--hash=sha256:" in block for block in blocks), lock


def test_the_locks_hold_every_dependency_and_agree() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    runtime, everything = (pins(lock) for lock in LOCKS)
    for requirement in project["dependencies"]:
        assert normal(re.split(r"[^A-Za-z0-9_.-]", requirement)[0]) in runtime, f"{requirement}: run `make lock`"
    for requirement in project["optional-dependencies"]["dev"]:
        assert normal(re.split(r"[^A-Za-z0-9_.-]", requirement)[0]) in everything, f"{requirement}: run `make lock`"
    assert {name: version for name, version in everything.items() if name in runtime} == runtime


def test_the_example_of_dotenv_is_in_step_with_the_settings() -> None:
    assert (REPOSITORY / ".env.example").read_text() == env_example(), "run `make env-example`"


def test_the_example_of_dotenv_explains_every_setting_and_gives_its_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = env_example().splitlines()
    given = {line.removeprefix("#").partition("=")[0] for line in lines if line.startswith("#" + PREFIX)}
    assert given == {PREFIX + name.upper() for name in Settings.model_fields}
    dotenv = tmp_path / ".env"
    dotenv.write_text("\n".join(line.removeprefix("#") for line in lines if line.startswith("#" + PREFIX)))
    defaults = load_settings()
    monkeypatch.setitem(Settings.model_config, "env_file", str(dotenv))
    assert load_settings() == defaults
    assert [line for line in lines if not line.startswith("#") and line] == [f"{name}=" for name in COMPOSE_SECRETS]


def test_make_without_a_target_lists_them_all() -> None:
    shown = subprocess.run(
        ["make", "--no-print-directory"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout
    for target in ("run", "test", "check", "bench", "lock", "help"):
        assert re.search(rf"^  make {target} +\S", shown, re.MULTILINE), target


def test_ci_runs_what_the_readme_says() -> None:
    script = (REPOSITORY / ".ci" / "run").read_text()
    assert re.search(r"^make test$", script, re.MULTILINE)
    assert "make test" in (REPOSITORY / "README.md").read_text()


def test_the_licence_is_the_one_that_the_project_names() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert project["license"] == "Apache-2.0"
    text = (REPOSITORY / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_every_sql_file_and_rule_pack_is_packaged() -> None:
    data = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    packaged = {
        path.relative_to(REPOSITORY) for package, globs in data.items() for glob in globs
        for path in (REPOSITORY / package).glob(glob)
    }  # fmt: skip
    there = {
        path.relative_to(REPOSITORY)
        for package in ("detectors", "ingest", "storage", "alerts", "hanhtrinh")
        for path in (REPOSITORY / package).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert there == packaged


# Of the standard library, what does I/O, looks at the clock, or depends on threads and hidden chance.
IMPURE = {
    "asyncio", "io", "logging", "multiprocessing", "os", "pathlib", "random", "shutil", "socket", "sqlite3",
    "subprocess", "tempfile", "threading", "time", "urllib",
}  # fmt: skip


def test_detectors_import_numpy_and_the_pure_part_of_the_standard_library_only() -> None:
    allowed = (set(sys.stdlib_module_names) - IMPURE) | {"numpy", "detectors"}
    for path in (REPOSITORY / "detectors").rglob("*.py"):
        imported = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").partition(".")[0])
        assert imported <= allowed, path
