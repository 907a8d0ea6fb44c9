"""Who is told what: the channels of the settings and the alerts file, as the notifier needs them."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping
from datetime import time
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from rich.console import Console

from alerts.apprise import TO_OPERATOR, AppriseChannel, is_address
from alerts.hours import Hours
from alerts.message import Wording
from alerts.pace import Pace
from alerts.phrases import LANGUAGES
from alerts.route import Audience, PacedRoute, Route
from detectors.journeys import JourneyJudge
from detectors.limits import LimitBook
from detectors.names import Names
from detectors.violation import DRIVING_TIME_KINDS
from hanhtrinh.channels import build_channels
from hanhtrinh.detectors import context_of, detector_factories
from hanhtrinh.rule_packs import LoadedPack
from hanhtrinh.settings import Settings, SettingsError
from hanhtrinh.toml_file import TomlError, read_toml

_SPAN = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
_VARIABLE = re.compile(r"\$\{(\w+)\}")


def _hours(value: object) -> Hours:
    found = _SPAN.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError('expected local hours like "22:00-06:00"')
    begin_h, begin_min, end_h, end_min = map(int, found.groups())
    return Hours(time(begin_h, begin_min), time(end_h, end_min))


def _filled(url: str) -> str:
    """With ${NAME} replaced from the environment, so that no password needs to stand in the file."""
    missing = [name for name in _VARIABLE.findall(url) if name not in os.environ]
    if missing:
        raise ValueError(f"the environment has no {', '.join(missing)}")
    whole = _VARIABLE.fullmatch(url)
    # A part of an address must not be read as its punctuation: p@ss.
    filled = os.environ[whole[1]] if whole else _VARIABLE.sub(lambda found: quote(os.environ[found[1]], safe=""), url)
    if not is_address(filled):
        raise ValueError("is no address that Apprise understands, for example mailtos://user:password@host?to=a@b.org")
    return filled


Span = Annotated[Hours, BeforeValidator(_hours)]


def _composed(words: frozenset[str]) -> frozenset[str]:
    """Letters with their marks in one, as the registry has them."""
    return frozenset(unicodedata.normalize("NFC", word) for word in words)


Words = Annotated[frozenset[str], Field(min_length=1), AfterValidator(_composed)]


class ChannelSpec(BaseModel):
    """One [[channel]] of the alerts file."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=True)

    name: Annotated[str, Field(min_length=1, max_length=64)]
    url: Annotated[str, AfterValidator(_filled)] | None = None
    to: Literal["operator"] | None = None
    language: Literal["vi", "en"] = "vi"
    kinds: Words | None = None
    stages: Annotated[frozenset[Literal["warning", "opened", "closed"]], Field(min_length=1)] | None = None
    grades: Annotated[frozenset[Literal["confirmed", "review"]], Field(min_length=1)] | None = None
    bands: Words | None = None
    operators: Words | None = None
    provinces: Words | None = None
    hours: Span | None = None
    quiet: Span | None = None
    most_per_minute: Annotated[int, Field(ge=1, le=1000)] = 10

    @model_validator(mode="after")
    def _one_way_out(self) -> ChannelSpec:
        if self.url is not None and self.to is not None:
            raise ValueError("url and to exclude each other")
        if self.url is None and self.to is None and self.model_fields_set & {"language", "quiet", "most_per_minute"}:
            raise ValueError("language, quiet and most_per_minute are for channels with a url or to = operator")
        return self

    @property
    def audience(self) -> Audience:
        """Whom it serves."""
        return Audience(
            self.kinds, self.stages, self.grades, self.bands, self.operators, self.provinces, self.hours,
            to_operator=self.to is not None,
        )  # fmt: skip


class AlertsFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    channel: list[ChannelSpec]


def build_routes(settings: Settings, pack: LoadedPack, console: Console | None = None) -> list[Route | PacedRoute]:
    """One route per channel of the settings and of the alerts file; [] when there is none. SettingsError names what is
    wrong in the file. Nothing connects before it has to send."""
    own = {channel.name: Route(channel) for channel in build_channels(settings, console)}
    routes: dict[str, Route | PacedRoute] = dict(own)
    for spec in read_alerts_file(settings.alerts_file, pack) if settings.alerts_file else ():
        if spec.url is None and spec.to is None:
            if spec.name not in own:
                raise SettingsError(
                    f"{settings.alerts_file}: channel {spec.name!r} has neither url nor to, and no HANHTRINH_ALERT_*"
                    f" setting makes a channel of that name (there are: {', '.join(own) or 'none'})"
                )
            routes[spec.name] = Route(own[spec.name].channel, spec.audience)
            continue
        if spec.name in own:
            raise SettingsError(
                f"{settings.alerts_file}: channel {spec.name!r} is one of the settings': name it otherwise"
            )
        wording = Wording(LANGUAGES[spec.language], pack.zone, settings.dashboards_url)
        channel = AppriseChannel(spec.name, spec.url or TO_OPERATOR, wording)
        routes[spec.name] = PacedRoute(channel, spec.audience, Pace(pack.zone, spec.most_per_minute, spec.quiet))
    return list(routes.values())


def read_alerts_file(path: Path, pack: LoadedPack) -> list[ChannelSpec]:
    """The channels of the file, checked against the kinds and bands there are. SettingsError is a line per mistake."""
    try:
        document = read_toml(path)
    except OSError as error:
        raise SettingsError(f"HANHTRINH_ALERTS_FILE {path}: {error.strerror}") from error
    except TomlError as error:
        raise SettingsError(f"{path}: not TOML: {error}") from error
    try:
        specs = AlertsFile.model_validate(document).channel
    except ValidationError as error:
        raise SettingsError("\n".join(f"{path}: {_line(item, document)}" for item in error.errors())) from None
    names = [spec.name for spec in specs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SettingsError(f"{path}: channel {twice[0]!r} is there twice")
    _check_words(path, specs, "kinds", known_kinds(pack))
    _check_words(path, specs, "bands", {band.name for rule in pack.pack.speeding for band in rule.fine_bands})
    return specs


def known_kinds(pack: LoadedPack) -> set[str]:
    """The kinds of violation that may be told: driving time, and what the installed detectors judge."""
    vehicles, drivers = Names(), Names()
    context = context_of(pack, vehicles, drivers, LimitBook(pack.pack))
    return {*DRIVING_TIME_KINDS, *JourneyJudge(context, detector_factories()).kinds}


def _check_words(path: Path, specs: list[ChannelSpec], field: str, known: set[str]) -> None:
    for spec in specs:
        if unknown := sorted((getattr(spec, field) or frozenset()) - known):
            raise SettingsError(
                f"{path}: channel {spec.name!r}: {field}: {unknown[0]!r} is none of {', '.join(sorted(known))}"
            )


def _line(item: Any, document: Mapping[str, Any]) -> str:
    """One mistake; never with what was given, which may be a password."""
    where = list(item["loc"])
    if len(where) > 1 and where[0] == "channel" and isinstance(where[1], int):
        entry = document["channel"][where[1]]
        name = entry.get("name", f"number {where[1] + 1}") if isinstance(entry, dict) else f"number {where[1] + 1}"
        where[:2] = [f"channel {name!r}"]
    return f"{': '.join(map(str, where))}: {str(item['msg']).removeprefix('Value error, ')}"
