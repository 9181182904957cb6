"""``edge-ad fleet``: a page of all devices that follow a tag."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_ad.cli.console import note
from edge_ad.credentials import WEB_TOKEN

if TYPE_CHECKING:
    from edge_ad.server import HttpServer

__all__ = ["fleet"]

_LOOK_S = 0.5


def fleet(
    mqtt: Annotated[
        str,
        typer.Argument(metavar="mqtt://HOST[/TOPIC]", help="The broker of the devices, and the topic above theirs."),
    ],
    address: Annotated[
        str, typer.Option("--listen", metavar="[HOST:]PORT", help="Where; by default for this machine only.")
    ] = "127.0.0.1:8091",
    token: Annotated[
        str | None,
        typer.Option(
            "--web-token", envvar=WEB_TOKEN, metavar="TOKEN", help="Token that opens the page; else one is made."
        ),
    ] = None,
    users: Annotated[
        Path | None,
        typer.Option("--web-users", metavar="FILE", help="People with tokens of their own: NAME:ROLE:TOKEN."),
    ] = None,
    hosts: Annotated[
        list[str] | None,
        typer.Option("--web-host", metavar="NAME", help="Name under which a proxy serves the page. Repeatable."),
    ] = None,
) -> None:
    """Show what the devices say that run edge-ad follow --mqtt: one page, and /metrics for Prometheus.

    Failures come first, and devices that are not heard of any more are marked. The page changes nothing on them.

    Raises:
        UsageError: An address cannot be used.
        DeviceError: The port is in use.
    """
    from edge_ad.cli.stream_setup import open_users
    from edge_ad.fleet.devices import Devices
    from edge_ad.fleet.listener import FleetListener
    from edge_ad.listen_address import parse_address
    from edge_ad.server import HttpServer
    from edge_ad.server.fleet import FleetPage
    from edge_ad.streaming.mqtt import Broker

    broker, devices = Broker.parse(mqtt), Devices()
    server = HttpServer(token, users=open_users(users), hosts=tuple(hosts or ()))
    where = parse_address(address, port=8091, option="--listen")
    with FleetListener(broker, devices) as listener:
        shown = f"{broker.host}:{broker.port}/{broker.topic}".rstrip("/")
        page = FleetPage(
            server,
            where,
            devices.seen,
            broker=shown,
            is_connected=lambda: listener.is_connected,
            left_out=lambda: devices.left_out,
        )
        server.open()
        try:
            _tell(server, page.where().url)
            while not threading.Event().wait(_LOOK_S):
                server.check()
        finally:
            server.close()


def _tell(server: HttpServer, url: str) -> None:
    if server.is_new_token:
        note(f"Token: {server.token}")
    for user in server.access.users:
        if user.is_new:
            note(f"Token of {user.name} ({user.role.word}): {user.token}")
    note(f"The fleet is shown at {url} (Ctrl-C ends it).")
