"""What a run of the suite showed, as Markdown and as JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.chaos.faults import Fault
from tests.chaos.suite import RoundResult


@dataclass(frozen=True)
class Bench:
    """What the figures rest on."""

    command: str
    seed: int
    machine: str
    messages: int
    fixes: int
    violations: int
    letters: int
    disk: str


def to_json(bench: Bench, results: Sequence[RoundResult]) -> str:
    rounds = [
        {
            "round": each.round.name,
            "workers": each.round.workers,
            "kills": each.kills,
            "seconds": round(each.seconds, 1),
            "holds": each.holds,
            "lost": each.verdict.lost if each.verdict else None,
            "doubled": each.verdict.doubled if each.verdict else None,
            "alerts_sent_again": each.verdict.sent_again if each.verdict else None,
            "broken": [*(each.verdict.broken if each.verdict else []), *each.trouble],
            "strikes": [{"fault": one.fault.name, "recovered_s": _rounded(one.recovered_s)} for one in each.strikes],
        }
        for each in results
    ]
    document: dict[str, Any] = {**asdict(bench), "kills": sum(each.kills for each in results), "rounds": rounds}
    return json.dumps(document, indent=1) + "\n"


def to_markdown(bench: Bench, results: Sequence[RoundResult]) -> str:
    kills, strikes = sum(each.kills for each in results), sum(len(_struck(each)) for each in results)
    lines = [
        f"`{bench.command}` on {bench.machine}: {strikes} faults struck in {len(results)} rounds, {kills} of them"
        " kills.",
        f"Each round sends the same day anew: {bench.messages} messages, from which {bench.fixes} fixes,"
        f" {bench.violations} violations and {bench.letters} dead letters come when nothing happens. {bench.disk}",
        "",
        "| round | fault | times | lost | doubled | seconds to recover: median, worst |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for each in results:
        lost, doubled = (each.verdict.lost, each.verdict.doubled) if each.verdict else ("?", "?")
        for number, fault in enumerate(each.round.faults):
            name = each.round.name if number == 0 else ""
            lines.append(f"| {name} | {fault.name} | {_figures(each, fault, lost, doubled)} |")
    troubled = [each for each in results if not each.holds]
    for each in troubled:
        broken = [*(each.verdict.broken if each.verdict else []), *each.trouble]
        lines += ["", f"**{each.round.name}** does not hold:", "", *(f"- {line[:400]}" for line in broken[:20])]
    return "\n".join(lines) + "\n"


def _figures(each: RoundResult, fault: Fault, lost: object, doubled: object) -> str:
    seconds = [one.recovered_s for one in each.strikes if one.fault.name == fault.name and one.recovered_s is not None]
    recovered = f"{statistics.median(seconds):.1f}, {max(seconds):.1f}" if seconds else "-"
    return f"{len(seconds)} | {lost} | {doubled} | {recovered}"


def _struck(each: RoundResult) -> list[float]:
    return [one.recovered_s for one in each.strikes if one.recovered_s is not None]


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)
