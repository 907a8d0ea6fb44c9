"""What every test may use: the servers, and an environment without the developer's own settings."""

from __future__ import annotations

import os

import hypothesis
import pytest

from hanhtrinh.settings import PREFIX, Settings
from tests.services.fixtures import (
    connection,
    empty_postgres_url,
    kafka,
    mosquitto,
    postgres,
    postgres_url,
    services_home,
    shared_data,
)

__all__ = [
    "connection",
    "empty_postgres_url",
    "kafka",
    "mosquitto",
    "postgres",
    "postgres_url",
    "services_home",
    "shared_data",
]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(PREFIX) and not name.startswith(f"{PREFIX}TEST_"):
            monkeypatch.delenv(name)
    monkeypatch.setitem(Settings.model_config, "env_file", None)


# Fixed examples, so that a red build can be repeated; HYPOTHESIS_PROFILE=thorough looks for new ones.
hypothesis.settings.register_profile("fixed", max_examples=100, derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.register_profile("thorough", max_examples=3000, deadline=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))
