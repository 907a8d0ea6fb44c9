"""How long the event loop is kept from its other tasks: heartbeats to Kafka and health checks wait that long too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_EVERY_S = 0.05


async def watch_stalls(observe: Callable[[float], None]) -> None:
    """Tell by how many seconds the loop comes back late, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due_s = loop.time() + _EVERY_S
        await asyncio.sleep(_EVERY_S)
        observe(max(0.0, loop.time() - due_s))
