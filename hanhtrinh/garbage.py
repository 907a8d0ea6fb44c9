"""How often Python looks for garbage in cycles."""

from __future__ import annotations

import gc

_OBJECTS_BETWEEN_COLLECTIONS = 500_000


def keep_for_good() -> None:
    """Never look again through what there is now.

    A list of a million names holds no garbage, and looking through it takes 0.1 s in which nothing else runs.
    """
    gc.freeze()


def collect_rarely() -> None:
    """Let the garbage collector run every ten batches or so, not after every 700 objects.

    A batch is tens of thousands of tuples that hold no cycles: looking through them again and again was a quarter of
    the worker's CPU. What was loaded before stays for the life of the process and is never looked at.
    """
    keep_for_good()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, *gc.get_threshold()[1:])
