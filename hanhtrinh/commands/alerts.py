"""`hanhtrinh alerts`."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from alerts.alert import Alert
from alerts.apprise import TO_OPERATOR
from alerts.channel import Channel, DeliveryError
from alerts.route import PacedRoute, Route
from hanhtrinh.alert_routes import build_routes
from hanhtrinh.listing import READABLE, Column, print_rows
from hanhtrinh.log_setup import configure_logging
from hanhtrinh.rule_packs import load_pack
from hanhtrinh.settings import SettingsError, load_settings

_PATIENCE_S = 20.0

alerts = typer.Typer(no_args_is_help=True, add_completion=False)


@alerts.callback()
def _alerts() -> None:
    """Alert channels: who is told what, and whether it arrives.

    Example: hanhtrinh alerts test webhook
    """


@alerts.command("test")
def try_out(
    channel: Annotated[str, typer.Argument(metavar="CHANNEL", help="Name of the channel, as `alerts list` shows it.")],
    operator_address: Annotated[
        str | None,
        typer.Option(metavar="URL", help="For a channel to = operator: the Apprise address to stand in for it."),
    ] = None,
) -> None:
    """Send one test alert (its stage is `test`) over a channel, past the outbox. Exit code 1 when it is not taken.

    Example: hanhtrinh alerts test webhook
    """
    settings = load_settings()
    configure_logging(settings.log_level)
    routes = {each.channel.name: each for each in build_routes(settings, load_pack(settings.rule_pack, settings.rules))}
    if channel not in routes:
        raise SettingsError(f"no alert channel {channel!r}: there are {', '.join(routes) or 'none'}")
    route = routes[channel]
    if route.audience.to_operator and operator_address is None:
        raise SettingsError(
            f"channel {channel!r} has to = {TO_OPERATOR}: say with --operator-address whose address to try"
        )
    try:
        asyncio.run(_send(route.channel, operator_address))
    except DeliveryError as error:
        typer.echo(f"{channel}: not taken: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{channel}: taken")


async def _send(channel: Channel, operator_address: str | None) -> None:
    alert_id = f"{uuid.uuid4().hex[:24]}:test"
    alert = Alert(alert_id, "test", datetime.now(UTC), "TEST", {"kind": "test"}, operator_url=operator_address)
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await channel.send(alert)
    except TimeoutError:
        raise DeliveryError(f"no answer within {_PATIENCE_S:g} s") from None
    finally:
        await channel.close()


@alerts.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per channel and line.")] = False,
) -> None:
    """Show the channels and what each of them is told.

    Example: hanhtrinh alerts list
    """
    settings = load_settings()
    routes = build_routes(settings, load_pack(settings.rule_pack, settings.rules))
    facts = [_facts(route) for route in routes]
    if as_json:
        for each in facts:
            typer.echo(json.dumps(each, ensure_ascii=False))
    elif facts:
        columns = (Column("channel"), Column("is told", least=READABLE), Column("pace", least=READABLE))
        print_rows(columns, [(each["channel"], _told(each["told"]), each["pace"]) for each in facts])
    else:
        typer.echo("no alert channel is set")


def _told(told: dict[str, str]) -> str:
    return "; ".join(f"{name}: {value}" for name, value in told.items()) or "every alert"


def _facts(route: Route | PacedRoute) -> dict[str, Any]:
    wanted = route.audience
    names = ("kinds", "stages", "grades", "bands", "operators", "provinces")
    told = {name: ", ".join(sorted(values)) for name in names if (values := getattr(wanted, name)) is not None}
    if wanted.hours is not None:
        told["hours"] = str(wanted.hours)
    if wanted.to_operator:
        told["to"] = "the address of the vehicle's operator"
    pace = "each at once"
    if isinstance(route, PacedRoute):
        pace = f"at most {route.pace.most_per_minute} a minute, more in a summary"
        if route.pace.quiet is not None:
            pace += f"; quiet {route.pace.quiet}"
    return {"channel": route.channel.name, "told": told, "pace": pace}
