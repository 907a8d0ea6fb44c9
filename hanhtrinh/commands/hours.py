"""Judge drivers' hours from a file of timelines."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from detectors.hours import HoursJudgement, HoursRules, Interval, Line, judge_hours
from detectors.hours_minutes import whole_minutes
from hanhtrinh.rule_packs import load_hours
from hanhtrinh.screen import print_violations
from hanhtrinh.timelines import TimelineError, read_timelines


def hours(
    file: Annotated[
        Path,
        typer.Argument(
            exists=True,
            dir_okay=False,
            help="CSV or CSV.gz with the columns driver_id, start, end, activity; and perhaps vehicle_id, vehicle_kind."
            " Activities: driving, work, available, rest, sleeper, stopped, unknown.",
        ),
    ],
    rules: Annotated[str, typer.Option(metavar="PACK", help="Rule pack: vn, eu or a .toml file.")] = "vn",
    rule: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=NUMBER", help="Override a number of the pack: daily_driving.limit_s=32400. Repeatable."
        ),
    ] = None,
    time_zone: Annotated[
        str | None, typer.Option(metavar="ZONE", help="Zone of times without an offset: Asia/Ho_Chi_Minh.")
    ] = None,
    minutes: Annotated[
        bool, typer.Option("--minutes", help="First round to calendar minutes as a tachograph does.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one violation per line as JSON.")] = False,
) -> None:
    """Judge drivers' hours from a file of timelines, by the same rules as the stream.

    Rows may come in any order; time that no row covers is rest. Violations go to standard output, the summary to
    standard error. Exit code 0 whether there are violations or not.

    Example: hanhtrinh hours card.csv --rules eu --json
    """
    loaded = load_hours(rules, rule or ())
    judgements = judge_timelines(read_timelines(file, _zone(time_zone)), loaded.rules, minutes=minutes)
    violations = [each for judgement in judgements.values() for each in judgement.violations]
    if as_json:
        for violation in violations:
            wire = violation.to_wire()
            if loaded.overrides:
                wire["overrides"] = loaded.overrides
            sys.stdout.write(json.dumps(wire, ensure_ascii=False) + "\n")
    elif violations:
        print_violations(violations, loaded.zone)
    _summarise(judgements, rules, loaded.overrides)


def judge_timelines(
    timelines: Mapping[Line, Sequence[Interval]], rules: HoursRules, *, minutes: bool = False
) -> dict[Line, HoursJudgement]:
    """The judgement of each driver, in the order of their ids; `minutes` rounds to calendar minutes first."""
    return {
        line: judge_hours(line, whole_minutes(intervals) if minutes else intervals, rules)
        for line, intervals in sorted(timelines.items(), key=lambda each: each[0].driver_id or "")
    }


def _zone(name: str | None) -> ZoneInfo | None:
    try:
        return None if name is None else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise TimelineError(f"--time-zone {name!r} is not a known zone: expected a name such as Europe/Paris") from None


def _summarise(judgements: Mapping[Line, HoursJudgement], rules: str, overrides: Mapping[str, float]) -> None:
    counts = Counter((each.kind, each.grade) for judged in judgements.values() for each in judged.violations)
    found = ", ".join(f"{kind} {grade} {n:,}" for (kind, grade), n in sorted(counts.items()))
    typer.echo(f"hours of {len(judgements):,} drivers judged by pack {rules}; violations: {found or 'none'}", err=True)
    if overrides:
        typer.echo("overrides: " + ", ".join(f"{name}={value:g}" for name, value in overrides.items()), err=True)
