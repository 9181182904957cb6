"""The options of ``edge-ad stream`` that say where results go."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from edge_ad.credentials import WEB_TOKEN

__all__ = ["Outputs"]

_output_option = partial(typer.Option, rich_help_panel="Output")


@dataclass(frozen=True)
class Outputs:
    """Where results go; None for no such output, an empty address for the default one."""

    video: Annotated[
        Path | None,
        _output_option("--save-video", help="Write the frames with overlay to this video."),
    ] = None
    lines: Annotated[
        Path | None,
        _output_option(
            "--verdict-file",
            "--save-records",
            metavar="FILE",
            help="Write one line per frame to this file: .csv, or JSON lines.",
        ),
    ] = None
    database: Annotated[
        Path | None,
        _output_option(
            "--database",
            "--records",
            metavar="FILE.sqlite",
            help="Add every verdict and event to this database; see edge-ad records.",
        ),
    ] = None
    sinks: Annotated[
        list[str] | None,
        _output_option(
            "--sink", metavar="URI", help="A sink of another package, by the scheme of its address. Repeatable."
        ),
    ] = None
    durable: Annotated[
        bool,
        _output_option("--durable", help="Make records survive a power cut, not only a crash."),
    ] = False
    keep_records_days: Annotated[
        float | None,
        _output_option("--keep-records-days", help="Remove records from the database after this many days."),
    ] = None
    ng_images: Annotated[
        Path | None,
        _output_option("--save-ng", metavar="DIR", help="Keep an image of every defective frame."),
    ] = None
    keep_ng_days: Annotated[
        float, _output_option("--keep-ng-days", help="Remove these images after this many days.")
    ] = 30.0
    keep_ng_gb: Annotated[
        float, _output_option("--keep-ng-gb", help="Remove the oldest beyond this many gigabytes.")
    ] = 10.0
    mqtt: Annotated[
        str | None,
        _output_option("--mqtt", metavar="URL", help="Publish verdicts and events: mqtt://host/topic."),
    ] = None
    sparkplug: Annotated[
        str | None,
        _output_option(
            "--sparkplug",
            metavar="GROUP/NODE[/DEVICE]",
            help="With --mqtt, publish Sparkplug B as this edge node instead of JSON.",
        ),
    ] = None
    webhook: Annotated[
        str | None,
        _output_option("--webhook", metavar="URL", help="Post events that call for action to this address."),
    ] = None
    metrics: Annotated[
        str | None,
        _output_option(
            "--metrics",
            metavar="[HOST:PORT]",
            help="Serve metrics for Prometheus; by default at 127.0.0.1:9464.",
        ),
    ] = None
    hook: Annotated[
        str | None,
        _output_option("--hook", metavar="COMMAND", help="Run this for events that call for action."),
    ] = None
    modbus: Annotated[
        str | None,
        _output_option(
            "--modbus", metavar="[HOST:PORT]", help="Serve results to a PLC by Modbus TCP; by default at 127.0.0.1:502."
        ),
    ] = None
    opcua: Annotated[
        str | None,
        _output_option(
            "--opcua", metavar="[HOST:PORT]", help="Serve results to a PLC by OPC UA; by default at 127.0.0.1:4840."
        ),
    ] = None
    opcua_certificates: Annotated[
        Path | None,
        _output_option(
            "--opcua-certificates",
            metavar="DIR",
            help="Folder with the certificate of the OPC UA server, and those of clients in trusted/; "
            "by default the user's.",
        ),
    ] = None
    gpio: Annotated[
        str | None,
        _output_option(
            "--gpio",
            metavar="CHIP,ng=N,...",
            help="Pulses for verdicts on lines of a GPIO chip: gpiochip0,ng=17,ok=27,ready=22,pulse=50ms,delay=300ms.",
        ),
    ] = None
    plc_timeout_s: Annotated[
        float | None,
        _output_option(
            "--plc-timeout",
            metavar="SECONDS",
            min=0.01,
            help="With --modbus, put out the next result when the one before was not acknowledged in this time; "
            "by default it waits.",
        ),
    ] = None
    web: Annotated[
        str | None,
        _output_option("--web", metavar="[HOST:PORT]", help="Serve the live page; by default at 127.0.0.1:8080."),
    ] = None
    corrections: Annotated[
        Path | None,
        _output_option(
            "--corrections",
            metavar="DIR",
            help="Let viewers of the page put false alarms and missed defects into this folder, for train --data.",
        ),
    ] = None
    web_token: Annotated[
        str | None,
        _output_option(
            "--web-token",
            envvar=WEB_TOKEN,
            metavar="TOKEN",
            help="Token that opens the page; one is made when other machines can reach it.",
        ),
    ] = None
    web_users: Annotated[
        Path | None,
        _output_option(
            "--web-users",
            metavar="FILE",
            help="People with tokens of their own, one in a line: NAME:ROLE:TOKEN. "
            "A viewer sees, an operator triggers, confirms and corrects, an engineer may do everything.",
        ),
    ] = None
    web_hosts: Annotated[
        list[str] | None,
        _output_option(
            "--web-host",
            metavar="NAME",
            help="Host name under which a reverse proxy on this machine serves the page. Repeatable.",
        ),
    ] = None
    overwrite: Annotated[bool, _output_option("--overwrite", help="Replace files that exist.")] = False
    headless: Annotated[bool, _output_option("--headless", help="Open no window.")] = False
