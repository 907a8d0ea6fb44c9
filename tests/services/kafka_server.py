"""Apache Kafka for the tests: one KRaft node from the jars that `make test` fetches."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path

from tests.services.process import ServerProcess, ServiceError, accepts, free_port, program

JARS = Path(__file__).parents[2] / ".cache" / "kafka"

_CONFIGURATION = """
process.roles=broker,controller
node.id=1
listeners={listeners},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners={advertised}
listener.security.protocol.map={protocols},CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:{controller_port}
log.dirs={home}/data
num.partitions=1
auto.create.topics.enable=false
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=2
background.threads=2
num.recovery.threads.per.data.dir=1
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
"""

# A test's broker lives for minutes: quick start matters, peak throughput does not.
_JAVA_OPTIONS = [
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
]


class Kafka:
    """A broker at `bootstrap`; topics are made by whoever needs them, under names of their own."""

    def __init__(self, home: Path, proxied: Mapping[str, int] | None = None) -> None:
        """`proxied`: names of further listeners, each with the port of its proxy, which is what clients are told."""
        self._java = program("java", "default-jre-headless")
        if not any(JARS.glob("kafka_*.jar")):
            raise ServiceError(f"the tests need Kafka's jars in {JARS}: run `make kafka` (needs mvn and java)")
        home.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        self._home = home
        self._configuration = home / "server.properties"
        self.listeners = {"PLAINTEXT": self.port, **{name: free_port() for name in proxied or {}}}
        advertised = self.listeners | dict(proxied or {})
        self._configuration.write_text(
            _CONFIGURATION.format(
                listeners=_addresses(self.listeners),
                advertised=_addresses(advertised),
                protocols=",".join(f"{name}:PLAINTEXT" for name in advertised),
                controller_port=free_port(),
                home=home,
            ).lstrip()
        )
        command = self._command("kafka.Kafka", str(self._configuration))
        self.process = ServerProcess("kafka", command, home / "log", os.environ)

    def start(self) -> None:
        """Start, or start again on the same port with the same data."""
        if not (self._home / "data" / "meta.properties").exists():
            self._format()
        self.process.start(lambda: accepts(self.port), within_s=90)

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        """kill -9 of the broker."""
        self.process.kill()

    def topic(self, name: str = "raw") -> str:
        """The name of a topic that no other test uses."""
        return f"test.{name}.{uuid.uuid4().hex[:12]}"

    def _format(self) -> None:
        arguments = ["format", "--cluster-id", "aGFuaHRyaW5oLXRlc3RzMQ", "--config", str(self._configuration)]
        done = subprocess.run(
            self._command("kafka.tools.StorageTool", *arguments), check=False, capture_output=True, text=True
        )
        if done.returncode != 0:
            raise ServiceError(f"kafka could not format its storage:\n{done.stdout}{done.stderr}")

    def _command(self, main_class: str, *arguments: str) -> list[str]:
        return [self._java, *_JAVA_OPTIONS, "-cp", f"{JARS}/*", main_class, *arguments]


def _addresses(ports: Mapping[str, int]) -> str:
    return ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items())
