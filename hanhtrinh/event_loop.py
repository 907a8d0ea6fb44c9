"""The event loop of the long-running processes."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_OBJECTS_BETWEEN_COLLECTIONS = 100_000


def run_async(main: Coroutine[Any, Any, T]) -> T:
    """asyncio.run on uvloop, which takes a third off what a message costs; on the standard loop where it is missing."""
    _collect_rarely()
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def _collect_rarely() -> None:
    """Let the garbage collector run once or twice a batch, not after every 700 objects.

    A batch is tens of thousands of tuples that hold no cycles: looking through them again and again was a quarter of
    the worker's CPU. What was loaded before stays for the life of the process and is never looked at.
    """
    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, *gc.get_threshold()[1:])
