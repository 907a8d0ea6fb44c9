"""What became of one raw message."""

from __future__ import annotations

from typing import NamedTuple

from detectors.fix import Fix
from ingest.formats.reasons import Reject


class Decoded(NamedTuple):
    """The fixes of ONE message and what in it could not be used.

    `ignored`: the message is no position by design (OwnTracks last wills, waypoints); then both lists are empty.
    """

    fixes: list[Fix]
    rejects: list[Reject]
    ignored: bool = False
