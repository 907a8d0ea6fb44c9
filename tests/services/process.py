"""A server process of the tests: started, awaited, stopped, or killed on purpose."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class ServiceError(Exception):
    """A server that the tests need is missing or does not start; the message says how to get it."""


class ServerProcess:
    """One server and its log file; `start` again after `kill` continues on the same data."""

    def __init__(self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self._name = name
        self._command = list(command)
        self._log = log
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, ready: Callable[[], bool], within_s: float = 60.0) -> None:
        """Return when `ready()` holds. ServiceError with the end of its log when that does not happen."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment
            )
        deadline = time.monotonic() + within_s
        while not ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise ServiceError(f"{self._name} did not become ready, {self._log}:\n{self._end_of_log()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Ask it to end, and make it after 20 s."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9: no clean shutdown."""
        self._end(signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """A signal to the running server: SIGSTOP makes it silent without closing a connection."""
        assert self._process is not None, f"{self._name} does not run"
        self._process.send_signal(number)

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self._name} does not run"
        return self._process.pid

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _end_of_log(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def accepts(port: int) -> bool:
    """Whether a server takes TCP connections on this loopback port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def program(name: str, package: str, *places: str) -> str:
    """The path of a program. ServiceError naming the Debian package when it is missing."""
    found = shutil.which(name) or next((place for place in places if Path(place).exists()), None)
    if found is None:
        raise ServiceError(
            f"the tests need the program {name}: apt-get install {package} (`make test` does it as root)"
        )
    return found
