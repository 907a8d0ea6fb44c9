"""The command line as a whole: what it lists, what it loads, and how it fails."""

from __future__ import annotations

import errno
import inspect
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from hanhtrinh.cli import COMMANDS, full_disk, is_expected, load_command
from storage.migrate import MigrationError

REPOSITORY = Path(__file__).parents[1]


def hanhtrinh(
    tmp_path: Path, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hanhtrinh", *arguments],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "100", **(environment or {})},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_help_lists_every_command_with_its_summary(tmp_path: Path) -> None:
    shown = hanhtrinh(tmp_path, "--help")
    assert shown.returncode == 0
    for name, summary in COMMANDS.items():
        assert f" {name} " in shown.stdout
        assert summary[:30] in shown.stdout


def test_every_module_of_commands_is_listed() -> None:
    folder = REPOSITORY / "hanhtrinh" / "commands"
    modules = {path.stem for path in folder.glob("*.py")}
    assert {"import_" if name == "import" else name for name in COMMANDS} <= modules


def every_call() -> list[str]:
    """Each command, and each member of those that are groups: "dead", "dead list"."""
    members = {name: getattr(load_command(name), "commands", {}) for name in COMMANDS}
    return [call for name in COMMANDS for call in (name, *(f"{name} {member}" for member in members[name]))]


def command(call: str) -> Any:
    name, _, member = call.partition(" ")
    return load_command(name).commands[member] if member else load_command(name)


@pytest.mark.parametrize("name", every_call())
def test_every_command_explains_itself_with_an_example(name: str) -> None:
    text = inspect.cleandoc(command(name).help)
    example = text.partition("Example")[2]
    assert f"hanhtrinh {name}" in example, f"the help of {name} ends without an example of it:\n{text}"


@pytest.mark.parametrize("name", every_call())
def test_every_option_of_every_command_is_explained(name: str) -> None:
    unexplained = [parameter.name for parameter in command(name).params if not getattr(parameter, "help", None)]
    assert unexplained == []


def test_the_version_is_shown(tmp_path: Path) -> None:
    assert hanhtrinh(tmp_path, "--version").stdout == f"hanhtrinh {version('hanhtrinh')}\n"


def test_a_command_loads_no_library_of_another(tmp_path: Path) -> None:
    program = (
        "import sys; from hanhtrinh.cli import app; app(['--help'], standalone_mode=False); "
        "print(sorted({'aiokafka', 'aiomqtt', 'amqtt', 'pandas', 'psycopg', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_an_unknown_command_is_refused_with_a_suggestion(tmp_path: Path) -> None:
    refused = hanhtrinh(tmp_path, "migrat")
    assert refused.returncode == 2
    assert "Did you mean 'migrate'?" in refused.stderr


def test_a_wrong_setting_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    refused = hanhtrinh(tmp_path, "migrate", environment={"HANHTRINH_MQTT_PORT": "http"})
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert refused.stderr.startswith("hanhtrinh: HANHTRINH_MQTT_PORT:")
    assert len(refused.stderr.splitlines()) == 1


def test_a_database_that_is_not_there_is_no_traceback(tmp_path: Path) -> None:
    environment = {"HANHTRINH_DATABASE_URL": "postgresql://127.0.0.1:1/none"}
    refused = hanhtrinh(tmp_path, "migrate", environment=environment)
    assert refused.returncode == 2
    assert refused.stderr.startswith("hanhtrinh: connection failed")
    assert "Traceback" not in refused.stderr


def test_errors_of_ours_are_expected_and_mistakes_are_not() -> None:
    assert is_expected(MigrationError("a subclass of an expected one"))
    assert not is_expected(ValueError("a mistake: the traceback is wanted"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has /dev/full")
@pytest.mark.parametrize("call", ["--version", "--help", "migrate", "doctor --json", "dead list"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_to_a_full_disk_is_one_line_and_exit_code_2(
    tmp_path: Path, postgres_url: str, call: str, unbuffered: str
) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "hanhtrinh", *call.split()],
            env={
                **os.environ,
                "PYTHONPATH": str(REPOSITORY),
                "HANHTRINH_DATABASE_URL": postgres_url,
                "PYTHONUNBUFFERED": unbuffered,
            },
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "hanhtrinh: no space left for the output or a file of this command: free some, or write elsewhere"
    ]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has /dev/full")
def test_a_wrong_setting_is_exit_code_2_even_where_nothing_can_be_said(tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "hanhtrinh", "migrate"],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "HANHTRINH_MQTT_PORT": "http"},
            cwd=tmp_path,
            stdout=full,
            stderr=full,
            check=False,
            timeout=60,
        )
    assert done.returncode == 2


def test_a_full_disk_is_told_with_the_name_of_the_file_where_there_is_one() -> None:
    assert full_disk(OSError(errno.ENOSPC, "No space left on device", "out/month.xlsx")) == (
        "no space left for out/month.xlsx: free some, or write elsewhere"
    )
    assert full_disk(OSError(errno.EIO, "a broken disk")) is None


def test_migrate_says_what_it_applied(tmp_path: Path, empty_postgres_url: str) -> None:
    environment = {"HANHTRINH_DATABASE_URL": empty_postgres_url}
    first = hanhtrinh(tmp_path, "migrate", environment=environment)
    assert first.returncode == 0
    assert first.stdout.splitlines()[0] == "applied 0001_tables.sql"
    assert hanhtrinh(tmp_path, "migrate", environment=environment).stdout == "up to date\n"


def test_import_takes_files_in_any_order_and_reports_bad_rows(tmp_path: Path, postgres_url: str) -> None:
    (tmp_path / "v.csv").write_text("vehicle_id,operator_id,limit_kmh\nv1,op1,80\nv2,op1,fast\n")
    (tmp_path / "o.csv").write_text("operator_id,name\nop1,Hà Nội\n")
    environment = {"HANHTRINH_DATABASE_URL": postgres_url}
    done = hanhtrinh(tmp_path, "import", "v.csv", "o.csv", environment=environment)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "o.csv: 1 operators imported, 0 bad rows left out",
        "v.csv: 1 vehicles imported, 1 bad rows left out",
        "v.csv:3: limit_kmh: 'fast' is no number from 1 to 200 km/h",
    ]
    as_json = hanhtrinh(tmp_path, "import", "--json", "o.csv", environment=environment)
    assert as_json.returncode == 0
    assert as_json.stdout == '{"file": "o.csv", "table": "operators", "accepted": 1, "bad_rows": []}\n'


def test_import_into_a_database_without_the_schema_names_the_remedy(tmp_path: Path, empty_postgres_url: str) -> None:
    (tmp_path / "o.csv").write_text("operator_id,name\nop1,Hà Nội\n")
    refused = hanhtrinh(tmp_path, "import", "o.csv", environment={"HANHTRINH_DATABASE_URL": empty_postgres_url})
    assert refused.returncode == 2
    assert "run `hanhtrinh migrate`" in refused.stderr
