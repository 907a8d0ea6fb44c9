"""The command line: names the commands, loads each only when it is called, and turns expected errors into one line.

Exit codes: 0 fine, 1 found or failed work, 2 wrong use or setting, 130 interrupted.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

COMMANDS = {
    "run": "Everything in one process: broker, log, database, judge and alerts; add --demo for a simulated fleet.",
    "check": "Judge recordings offline, without any server.",
    "hours": "Judge drivers' hours from a file of timelines, without any server.",
    "bridge": "Carry MQTT messages into the log.",
    "work": "Take messages from the log, judge them and store everything.",
    "notify": "Send waiting alerts to their channels.",
    "alerts": "Show the alert channels, and try one.",
    "maintain": "Keep sums per hour and day fresh, and drop what was kept for long enough.",
    "migrate": "Bring the database to the schema of this version.",
    "import": "Import vehicles, drivers or operators from CSV.",
    "rejudge": "Judge stored history again after a change of rules, limits or registry.",
    "excuse": "Excuse a violation, or withdraw the excuse.",
    "report": "Write a monthly report: state forms, badge list, national summary.",
    "dead": "List, show and retry dead letters: what could not be used.",
    "position": "Show how far each partition of the log is worked off, or move one.",
    "send": "Publish recordings over MQTT.",
    "simulate": "Write, or play live, the days of a simulated fleet.",
    "doctor": "Check every connection, version, privilege and clock.",
}

# (top package, name): by name, so that no command loads the libraries of another just to know their errors.
EXPECTED_ERRORS = frozenset(
    {
        ("hanhtrinh", "SettingsError"),
        ("ingest", "LogError"),
        ("ingest", "RecordingError"),
        ("ingest", "MqttError"),
        ("storage", "DatabaseError"),
        ("psycopg", "OperationalError"),
        ("hanhtrinh", "RulePackError"),
        ("hanhtrinh", "TimelineError"),
        ("storage", "RegistryError"),
        ("storage", "WrongLog"),
        ("storage", "ExcuseError"),
        ("hanhtrinh", "RejudgeError"),
        ("storage", "LetterError"),
        ("storage", "ReportError"),
        ("hanhtrinh", "DetectorError"),
        ("hanhtrinh", "PortTaken"),
        ("hanhtrinh", "MetricsAddressError"),
        ("hanhtrinh", "AlreadyRunning"),
    }
)


class LazyGroup(TyperGroup):
    """Lists commands by their summaries; imports a command's module only to run it or to show its own help."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, summary, rest = super().resolve_command(ctx, args)
        return name, summary if name is None else load_command(name), rest


def load_command(name: str) -> Any:
    """The command itself, or the group of commands, from hanhtrinh/commands/<name>.py."""
    function_name = "import_" if name == "import" else name
    found = getattr(import_module(f"hanhtrinh.commands.{function_name}"), function_name)
    if isinstance(found, typer.Typer):
        group = typer.main.get_command(found)
        group.name = name
        return group
    single = typer.Typer(add_completion=False)
    single.command(name)(found)
    return typer.main.get_command(single)


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, pretty_exceptions_enable=False)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hanhtrinh {version('hanhtrinh')}")
        raise typer.Exit


@app.callback()
def _hanhtrinh(
    show_version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Watches vehicles: GPS messages in, speeding and driving-time violations with evidence out.

    Every setting is an environment variable HANHTRINH_..., or a line in the file .env; .env.example lists them.
    """


def _summary_only() -> None:
    """Stands in the list of commands; LazyGroup puts the real one in its place when it is called."""


for _name, _summary in COMMANDS.items():
    app.command(_name, help=_summary)(_summary_only)


def is_expected(error: BaseException) -> bool:
    """Whether the message alone tells the user what to do, so that a traceback would only hide it."""
    return any((kind.__module__.partition(".")[0], kind.__name__) in EXPECTED_ERRORS for kind in type(error).__mro__)


def full_disk(error: BaseException) -> str | None:
    """What to say of a full disk or a used up quota, from wherever it comes; None for any other error."""
    if not isinstance(error, OSError) or error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    what = f"for {error.filename}" if error.filename else "for the output or a file of this command"
    return f"no space left {what}: free some, or write elsewhere"


def main() -> None:
    """Entry point of the program `hanhtrinh`."""
    try:
        try:
            app(prog_name="hanhtrinh")
        finally:
            # Here: the interpreter's own flush at its exit would report a full disk in its own way.
            with suppress(BrokenPipeError):
                sys.stdout.flush()
    except Exception as error:
        message = full_disk(error) or (str(error).strip() if is_expected(error) else None)
        if message is None:
            raise
        with suppress(OSError):
            typer.echo(f"hanhtrinh: {message}", err=True)
        _let_go_of_full_files()
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _let_go_of_full_files() -> None:
    """What a stream still holds and cannot write is dropped, so that the interpreter does not try again at its exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    main()
