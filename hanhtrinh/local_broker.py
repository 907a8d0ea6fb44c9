"""An MQTT broker inside the process, for `run` without any installation.

Not for production: what was sent but not acknowledged is not sent again to a client that reconnects, and nothing
survives the process (docs/operate.md). Mosquitto does both.
"""

from __future__ import annotations

import logging
import socket

from amqtt.broker import Broker
from amqtt.contexts import BrokerConfig
from amqtt.plugins.base import BaseAuthPlugin
from amqtt.session import Session


class PortTaken(Exception):
    """Another program listens where the broker should; the message names the port and the setting."""


class LocalAccess(BaseAuthPlugin):  # type: ignore[misc]  # amqtt is not typed
    """Lets everybody in. amqtt's own anonymous plugin also forgets each session when its client leaves."""

    async def authenticate(self, *, session: Session) -> bool | None:
        """Always: the broker listens on this machine only."""
        return True


class LocalBroker:
    """A broker on 127.0.0.1."""

    def __init__(self, port: int) -> None:
        """Port 0 picks a free one."""
        self.host = "127.0.0.1"
        self.port = port or _free_port()
        self._broker: Broker | None = None

    @property
    def is_free(self) -> bool:
        """Whether nobody listens on the port."""
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.host, self.port))
            except OSError:
                return False
        return True

    async def start(self) -> None:
        """Listen. PortTaken when another program does."""
        if not self.is_free:
            raise PortTaken(f"port {self.port} on {self.host} is taken by another program: set HANHTRINH_MQTT_PORT")
        # Every connection and every refused detail would be a line on the screen of who only wanted to look.
        for name in ("amqtt", "transitions"):
            logging.getLogger(name).setLevel(logging.ERROR)
        config = {
            "listeners": {"default": {"type": "tcp", "bind": f"{self.host}:{self.port}"}},
            "plugins": {f"{LocalAccess.__module__}.{LocalAccess.__qualname__}": {}},
        }
        self._broker = Broker(BrokerConfig.from_dict(config))
        await self._broker.start()

    async def stop(self) -> None:
        """Close all connections."""
        if self._broker is not None:
            await self._broker.shutdown()
            self._broker = None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
