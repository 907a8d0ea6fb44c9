"""The text of .env.example, made from the settings so that it cannot tell anything else.

`make env-example` writes it; a test compares.
"""

from __future__ import annotations

import sys

from hanhtrinh.settings import PREFIX, Settings

_HEAD = """\
# Copy this file to .env and change what you need; it is read from the folder in which a program starts.
# Variables of the environment count more than this file.

# For docker compose only, which refuses to start without them. Letters and digits: one of them goes into a URL.
# Make one with: python3 -c "import secrets; print(secrets.token_hex(16))"
"""

COMPOSE_SECRETS = {
    "POSTGRES_PASSWORD": "of the database's owner",
    "MQTT_PASSWORD": "of bridge and notifier at the broker (user hanhtrinh)",
    "MQTT_TRACKER_PASSWORD": "of the trackers at the broker (user tracker)",
    "GRAFANA_ADMIN_PASSWORD": "of the first Grafana account (user admin)",
    "GRAFANA_DATABASE_PASSWORD": "of the account with which Grafana reads the database",
}
"""What docker-compose.yml asks for besides the settings."""

COMPOSE_CHOICES = {
    "GRAFANA_BASE_MAP": ("outline", "map under the vehicles, of dashboards/maps: outline needs no internet, osm does"),
}
"""What it may be given besides, and the default."""


def env_example() -> str:
    """The whole file."""
    secrets = "".join(f"# {text}\n{name}=\n" for name, text in COMPOSE_SECRETS.items())
    choices = "".join(f"# {text}\n#{name}={default}\n" for name, (default, text) in COMPOSE_CHOICES.items())
    settings = "".join(
        (f"# {field.description}\n" if field.description else "") + f"#{PREFIX}{name.upper()}={_shown(field.default)}\n"
        for name, field in Settings.model_fields.items()
    )
    return f"{_HEAD}{secrets}{choices}\n# Every setting with its default.\n{settings}"


def _shown(default: object) -> str:
    if default is None:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return ",".join(default)
    return str(default)


if __name__ == "__main__":
    sys.stdout.write(env_example())
