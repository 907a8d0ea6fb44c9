"""Which rules on driving time apply to which driver."""

from __future__ import annotations

import logging
from collections.abc import Callable

from detectors.hours import HoursRules
from hanhtrinh.rule_packs import RulePackError, load_hours

log = logging.getLogger(__name__)


class DriverPacks:
    """The rules of the pack that the registry names for a driver; else the configured ones, with their overrides."""

    def __init__(self, configured: HoursRules, adapt: Callable[[HoursRules], HoursRules] = lambda rules: rules) -> None:
        """`adapt` changes the rules of the packs that are named as those configured were changed."""
        self.configured = configured
        self._adapt = adapt
        self._loaded = {configured.pack: configured}
        self._refused: set[str] = set()

    def named(self, pack: str | None) -> HoursRules:
        """The rules of a pack. RulePackError when there is no such pack."""
        if pack is None:
            return self.configured
        if pack not in self._loaded:
            self._loaded[pack] = self._adapt(load_hours(pack).rules)
        return self._loaded[pack]

    def named_or_configured(self, pack: str | None) -> HoursRules:
        """The same, but a name that nobody can load is logged once, and the configured rules stand in."""
        if pack in self._refused:
            return self.configured
        try:
            return self.named(pack)
        except RulePackError as error:
            assert pack is not None
            self._refused.add(pack)
            log.error("drivers of rule pack %s are judged by pack %s: %s", pack, self.configured.pack, error)
            return self.configured
