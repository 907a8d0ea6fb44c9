"""Whether the alerts file tells somebody who is there: a channel for a province that is spelt otherwise in the registry
is silent for ever, and nobody misses what never came."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hanhtrinh.alert_routes import read_alerts_file
from hanhtrinh.doctor_findings import Finding
from hanhtrinh.rule_packs import load_pack
from hanhtrinh.settings import Settings, SettingsError
from storage.connect import Connection


async def check_alerts_file(connection: Connection, settings: Settings, path: Path) -> Finding:
    """That it can be read, and that the registry has every operator and province that it names."""
    try:
        channels = read_alerts_file(path, load_pack(settings.rule_pack, settings.rules))
    except SettingsError as error:
        return Finding("alerts", str(error).replace("\n", "; "), f"mend {path}: docs/alerts.md tells what may be in it")
    known = {
        "operator": await _known(connection, "operator_id"),
        "province": await _known(connection, "province"),
    }
    strange = [
        f"{what} {name!r} (channel {each.name!r})"
        for each in channels
        for what, named in (("operator", each.operators), ("province", each.provinces))
        for name in sorted(set(named or ()) - known[what])
    ]
    if strange:
        return Finding(
            "alerts", f"the registry has no {'; no '.join(strange)}",
            f"spell it as in operators.csv (provinces there: {_listed(known['province'])}), or import that",
        )  # fmt: skip
    return Finding("alerts", f"{path}: {len(channels)} channels, for operators and provinces that the registry has")


async def _known(connection: Connection, column: str) -> set[str]:
    cursor = await connection.execute(f"SELECT DISTINCT {column} FROM operators WHERE {column} IS NOT NULL".encode())
    return {name for (name,) in await cursor.fetchall()}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none yet"
