"""docker-compose.yml as docker compose would see it: merged, with the variables of an .env filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

_VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?:(?P<operator>:?[-?])(?P<text>[^}]*))?\})")


class ComposeError(Exception):
    """docker compose would refuse the file."""


def load_compose(path: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """The file with every ${...} replaced. ComposeError for a required variable that is missing."""
    loaded: dict[str, Any] = _fill(yaml.safe_load(path.read_text()), environment)
    return loaded


def variables(path: Path) -> set[str]:
    """The names of all variables that the file takes from the environment."""
    return {match["name"] for match in _VARIABLE.finditer(path.read_text()) if match["name"]}


def _fill(node: Any, environment: Mapping[str, str]) -> Any:
    if isinstance(node, str):
        return _VARIABLE.sub(lambda match: _value(match, environment), node)
    if isinstance(node, list):
        return [_fill(item, environment) for item in node]
    if isinstance(node, dict):
        return {key: _fill(item, environment) for key, item in node.items()}
    return node


def _value(match: re.Match[str], environment: Mapping[str, str]) -> str:
    name, operator, text = match["name"], match["operator"], match["text"]
    if name is None:
        return "$"
    value = environment.get(name)
    present = bool(value) if operator and operator.startswith(":") else value is not None
    if present:
        return value or ""
    if operator and operator.endswith("?"):
        raise ComposeError(f"{name}: {text}")
    return text or ""
