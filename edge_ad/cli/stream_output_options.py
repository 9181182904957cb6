"""Where the results of ``edge-ad stream`` go, as its options say it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from edge_ad.credentials import WEB_TOKEN

__all__ = ["Outputs"]

_OUTPUT = "Output"


@dataclass(frozen=True)
class Outputs:
    """What the options ask for; None is not asked for, an empty address is the usual one."""

    video: Annotated[
        Path | None,
        typer.Option(
            "--save-video", help="Write the frames with their overlay to this video.", rich_help_panel=_OUTPUT
        ),
    ] = None
    lines: Annotated[
        Path | None,
        typer.Option(
            "--save-records", help="Write one line per frame to this file: CSV, or else JSON.", rich_help_panel=_OUTPUT
        ),
    ] = None
    database: Annotated[
        Path | None,
        typer.Option(
            "--records",
            metavar="FILE.sqlite",
            help="Add every verdict and event to this database; see edge-ad records.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None
    durable: Annotated[
        bool,
        typer.Option(
            "--durable", help="Keep what was recorded through a power cut, not only a crash.", rich_help_panel=_OUTPUT
        ),
    ] = False
    keep_records_days: Annotated[
        float | None,
        typer.Option(
            "--keep-records-days", help="Remove records from the database after so many days.", rich_help_panel=_OUTPUT
        ),
    ] = None
    ng_images: Annotated[
        Path | None,
        typer.Option(
            "--save-ng", metavar="DIR", help="Keep an image of every defective frame.", rich_help_panel=_OUTPUT
        ),
    ] = None
    keep_ng_days: Annotated[
        float, typer.Option("--keep-ng-days", help="Remove those images after so many days.", rich_help_panel=_OUTPUT)
    ] = 30.0
    keep_ng_gb: Annotated[
        float, typer.Option("--keep-ng-gb", help="Remove the oldest beyond so many gigabytes.", rich_help_panel=_OUTPUT)
    ] = 10.0
    mqtt: Annotated[
        str | None,
        typer.Option(
            "--mqtt", metavar="URL", help="Publish verdicts and events: mqtt://host/topic.", rich_help_panel=_OUTPUT
        ),
    ] = None
    webhook: Annotated[
        str | None,
        typer.Option("--webhook", metavar="URL", help="Post what calls for action there.", rich_help_panel=_OUTPUT),
    ] = None
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            metavar="[HOST:PORT]",
            help="Serve numbers for Prometheus; at 127.0.0.1:9464 if nothing is given.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None
    hook: Annotated[
        str | None,
        typer.Option(
            "--hook",
            metavar="COMMAND",
            help="Run this when something calls for action.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None
    web: Annotated[
        str | None,
        typer.Option(
            "--web",
            metavar="[HOST:PORT]",
            help="Serve the live page; at 127.0.0.1:8080 if nothing is given.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None
    web_token: Annotated[
        str | None,
        typer.Option(
            "--web-token",
            envvar=WEB_TOKEN,
            metavar="TOKEN",
            help="What one must know to see the page; made when other machines can reach it.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None
    web_hosts: Annotated[
        list[str] | None,
        typer.Option(
            "--web-host",
            metavar="NAME",
            help="Name under which a reverse proxy on this machine makes the page known. Repeatable.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that exist.", rich_help_panel=_OUTPUT)
    ] = False
    headless: Annotated[bool, typer.Option("--headless", help="Open no window.", rich_help_panel=_OUTPUT)] = False
