"""Mosquitto for the tests: anonymous listener, password listener, and the queue limits of production."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.services.process import ServerProcess, accepts, free_port, program

_CONFIGURATION = """
persistence true
persistence_location {home}/
autosave_interval 1
autosave_on_changes false
persistent_client_expiration 1d
max_queued_messages 1000000
max_queued_bytes 2000000000
max_inflight_messages 1000
per_listener_settings true
listener {port} 127.0.0.1
allow_anonymous true
listener {password_port} 127.0.0.1
allow_anonymous false
password_file {home}/passwords
log_dest stderr
log_type error
log_type warning
user {user}
"""


class Mosquitto:
    """A broker on `host:port`; `password_port` wants `username` and `password`."""

    host = "127.0.0.1"
    username = "tracker"
    password = "road-1"

    def __init__(self, home: Path) -> None:
        broker = program("mosquitto", "mosquitto", "/usr/sbin/mosquitto")
        home.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.password_port = free_port()
        make_password_file(home / "passwords", {self.username: self.password})
        configuration = home / "mosquitto.conf"
        user = "root" if os.geteuid() == 0 else "nobody"
        configuration.write_text(
            _CONFIGURATION.format(home=home, port=self.port, password_port=self.password_port, user=user)
        )
        self.process = ServerProcess("mosquitto", [broker, "-c", str(configuration)], home / "log", os.environ)

    def start(self) -> None:
        """Start, or start again on the same port with what was last saved."""
        self.process.start(lambda: accepts(self.port) and accepts(self.password_port))

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        """kill -9: what was queued since the last save (1 s) is gone."""
        self.process.kill()


def make_password_file(path: Path, accounts: Mapping[str, str]) -> None:
    """A password file of the broker with these users and passwords."""
    path.touch(mode=0o600)
    tool = program("mosquitto_passwd", "mosquitto")
    for user, password in accounts.items():
        subprocess.run([tool, "-b", str(path), user, password], check=True, capture_output=True)
