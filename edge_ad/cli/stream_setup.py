"""What ``edge-ad stream`` opens before its engine: sources, filters and sinks."""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from edge_ad.cli.console import note
from edge_ad.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from edge_ad.cli.stream_outputs import Outputs
    from edge_ad.plc import PlcServer
    from edge_ad.server import HttpServer, User
    from edge_ad.streaming.filters import FilterOptions
    from edge_ad.streaming.records import Durability
    from edge_ad.streaming.sinks import Sink
    from edge_ad.streaming.sources import Source, SourceOptions
    from edge_ad.streaming.triggers import Trigger

__all__ = ["open_filters", "open_plc_servers", "open_sinks", "open_sources", "open_users", "plc_sinks"]

_PLC_KINDS = ("modbus", "opcua")
_DATABASES = (".sqlite", ".sqlite3", ".db")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_NAME_RULE = "A name has at most 40 letters, digits, dots, dashes and underscores, and begins with a letter or digit."


def open_sources(cameras: Sequence[str], uris: Sequence[str], options: SourceOptions) -> list[Source]:
    """Make the sources; all feed one engine.

    ``NAME=ADDRESS`` gives a source the name that all outputs show. An existing path with a ``=`` in it is a
    path. Addresses that look the same without their secrets get a number: ``rtsp://host/live #2``.

    Args:
        cameras: Numbers, or addresses of cameras.
        uris: Paths and addresses.
        options: Options of all of them.

    Raises:
        UsageError: There is none, one is given twice, two have one name, or one cannot be parsed.
    """
    from edge_ad.streaming.sources import source_from_uri

    if not cameras and not uris:
        raise UsageError("No source is given.", "Use --camera N or --source PATH_OR_URL.")
    opened: dict[str, Source] = {}
    addresses: set[str] = set()
    asked: list[tuple[str, Callable[[str, SourceOptions], Source]]] = [(text, _camera) for text in cameras]
    asked += [(uri, source_from_uri) for uri in uris]
    for text, make in asked:
        name, address = _name_and_address(text)
        source = make(address, options)
        source.rename(name or _unlike(source.name, opened, is_new=address not in addresses))
        if source.name in opened:
            what = f"Two sources are called {name}." if name else f"The source {source.name} is given twice."
            raise UsageError(what, "Name every source once, such as --source front=rtsp://host/live.")
        opened[source.name] = source
        addresses.add(address)
    return list(opened.values())


def _name_and_address(text: str) -> tuple[str, str]:
    """The name that ``NAME=ADDRESS`` gives, empty when it gives none, and the address."""
    name, equals, address = text.partition("=")
    if not equals or os.path.exists(os.path.expanduser(text)):  # noqa: PTH110, PTH111 - takes any text
        return "", text
    if _NAME.fullmatch(name) and address:
        return name, address
    if _NAME.fullmatch(name) or ("://" in address and not set(name) & set(":/?")):
        raise UsageError("A source's name or address is missing or wrong.", f"Write NAME=ADDRESS. {_NAME_RULE}")
    return "", text


def _unlike(name: str, others: Collection[str], *, is_new: bool) -> str:
    """A unique name for an address that differs from another one only in its hidden secrets."""
    if not is_new or "://" not in name:
        return name
    numbered = (f"{name} #{number}" for number in itertools.count(2))
    return name if name not in others else next(other for other in numbered if other not in others)


def _camera(text: str, options: SourceOptions) -> Source:
    from edge_ad.streaming.sources import camera_source, source_from_uri

    try:
        number = int(text)
    except ValueError:
        return source_from_uri(text, options)
    return camera_source(number, options)


def open_filters(
    region: str | None,
    trigger: str,
    *,
    checks_health: bool,
    takes_8_bits: bool = False,
    server: HttpServer | None = None,
    plc_servers: Mapping[str, PlcServer] | None = None,
) -> FilterOptions:
    """Make the filters of frames.

    Args:
        region: ``x,y,w,h``, or None.
        trigger: What ``--trigger`` says.
        checks_health: Whether black, over-exposed and frozen frames are reported instead of judged.
        takes_8_bits: Whether to judge frames of 8 bits with a bundle whose photos have more.
        server: What serves an HTTP trigger; None makes one of its own.
        plc_servers: The servers by which a PLC can ask for frames, by their kind of trigger.

    Raises:
        UsageError: One of them cannot be parsed.
        DeviceError: The port of an HTTP trigger is in use.
        MissingDependencyError: An optional package is not installed.
    """
    from edge_ad.server import http_trigger
    from edge_ad.streaming.filters import FilterOptions, FrameHealth, parse_region
    from edge_ad.streaming.triggers import trigger_from_text

    kinds: dict[str, Callable[[str], Trigger]] = {"http": lambda rest: http_trigger(rest, server)}
    kinds |= {kind: _plc_trigger(kind, plc_servers or {}) for kind in _PLC_KINDS}
    return FilterOptions(
        region=None if region is None else parse_region(region),
        make_health=(lambda source: FrameHealth(can_freeze=source.is_live)) if checks_health else None,
        trigger=None if trigger == "every" else trigger_from_text(trigger, kinds),
        takes_8_bits=takes_8_bits,
    )


def _plc_trigger(kind: str, servers: Mapping[str, PlcServer]) -> Callable[[str], Trigger]:
    def make(rest: str) -> Trigger:
        if kind not in servers:
            raise UsageError(f"--trigger {kind} needs the server that a PLC asks.", f"Also give --{kind} HOST:PORT.")
        return servers[kind].trigger(rest)

    return make


def open_plc_servers(outputs: Outputs) -> dict[str, PlcServer]:
    """Make the servers for a PLC, by the kind of trigger that each can be.

    Args:
        outputs: What the options ask for.

    Raises:
        UsageError: An address that cannot be used, or a time-out without such a server.
        MissingDependencyError: An optional package is not installed.
        DeviceError: A port that is in use.
    """
    made: dict[str, PlcServer] = {}
    if outputs.plc_timeout_s is not None and outputs.modbus is None:
        raise UsageError("--plc-timeout has no effect without --modbus.", "Add --modbus HOST:PORT.")
    if outputs.opcua_certificates is not None and outputs.opcua is None:
        raise UsageError("--opcua-certificates has no effect without --opcua.", "Add --opcua HOST:PORT.")
    if outputs.opcua is not None:
        from edge_ad.plc import OpcuaServer

        made["opcua"] = server = OpcuaServer(outputs.opcua, folder=outputs.opcua_certificates)
        if not server.is_loopback:
            note(f"OPC UA: anonymous clients are refused; trusted are those in {server.certificates.trusted}.")
    if outputs.modbus is not None:
        from edge_ad.plc import ModbusServer

        made["modbus"] = ModbusServer(outputs.modbus, timeout_s=outputs.plc_timeout_s)
    return made


def plc_sinks(servers: Mapping[str, PlcServer], gpio: str | None = None, *, has_parts: bool) -> list[Sink]:
    """A sink for each of these servers, and one for digital outputs.

    Args:
        servers: The servers.
        gpio: What ``--gpio`` says; None for no such outputs.
        has_parts: Whether ``--part`` says what a part is.
    """
    if not servers and gpio is None:
        return []
    from edge_ad.plc import GpioOptions, GpioSink, ResultRule

    rule = ResultRule(has_parts=has_parts)
    made: list[Sink] = [server.sink(rule) for server in servers.values()]
    return made if gpio is None else [*made, GpioSink(GpioOptions.parse(gpio), rule)]


def open_sinks(outputs: Outputs, server: HttpServer) -> list[Sink]:
    """Make the sinks; done before an engine is loaded.

    Args:
        outputs: What the options ask for.
        server: What serves the live page and the metrics.

    Raises:
        UsageError: A file, folder or address that cannot be used.
        MissingDependencyError: An optional package is not installed.
        DeviceError: A port that is in use.
    """
    return [*_files(outputs), *_services(outputs), *_served(outputs, server), *_window(outputs)]


def _files(outputs: Outputs) -> list[Sink]:
    from edge_ad.streaming import sinks

    made: list[Sink] = []
    durability: Durability = "full" if outputs.durable else "normal"
    if outputs.database is None and outputs.keep_records_days is not None:
        raise UsageError("--keep-records-days needs a database.", "Also give --database FILE.sqlite.")
    if outputs.lines is not None:
        made.append(sinks.RecordsSink(outputs.lines, overwrite=outputs.overwrite))
    if outputs.database is not None:
        if outputs.database.suffix.lower() not in _DATABASES:
            hint = f"Known endings: {', '.join(_DATABASES)}. For JSON or CSV use --verdict-file."
            raise UsageError(f"{outputs.database.name} is not a database.", hint)
        keep_days = outputs.keep_records_days
        records = sinks.records_sink(
            outputs.database, ng_images=outputs.ng_images, durability=durability, keep_days=keep_days
        )
        made.append(records)
    if outputs.ng_images is not None:
        days, gigabytes = outputs.keep_ng_days, outputs.keep_ng_gb
        keep = sinks.ng_images_sink(outputs.ng_images, keep_days=days, keep_gb=gigabytes, durability=durability)
        made.append(keep)
    if outputs.video is not None:
        made.append(sinks.VideoSink(outputs.video, overwrite=outputs.overwrite))
    return made


def _services(outputs: Outputs) -> list[Sink]:
    from edge_ad.streaming import sinks

    made: list[Sink] = []
    if outputs.sparkplug is not None and outputs.mqtt is None:
        raise UsageError("--sparkplug has no effect without --mqtt.", "Add --mqtt mqtt://HOST.")
    if outputs.mqtt is not None:
        made.append(sinks.mqtt_sink(outputs.mqtt, outputs.sparkplug))
    if outputs.webhook is not None:
        made.append(sinks.webhook_sink(outputs.webhook))
    if outputs.hook is not None:
        made.append(sinks.hook_sink(outputs.hook))
    made += [sinks.third_party_sink(uri) for uri in outputs.sinks or ()]
    return made


def _served(outputs: Outputs, server: HttpServer) -> list[Sink]:
    """What the HTTP server of the stream serves."""
    from edge_ad.server import PageSink, metrics_sink

    made: list[Sink] = []
    if outputs.web is None and outputs.corrections is not None:
        raise UsageError("--corrections has no effect without --web.", "Add --web.")
    if outputs.web is not None:
        page = PageSink(server, outputs.web, database=outputs.database, corrections=outputs.corrections)
        made.append(page)
        note(f"Live page: {page.url}")
    if outputs.metrics is not None:
        made.append(metrics_sink(outputs.metrics, server))
    is_local = outputs.web is None and all(address.is_loopback for address in server.addresses)
    given = {"--web-host": outputs.web_hosts, "--web-users": outputs.web_users, "--web-token": outputs.web_token}
    if is_local and (option := next((name for name, value in given.items() if value), None)) is not None:
        raise UsageError(f"{option} has no effect without --web.", "Add --web.")
    if len(server.addresses) > 1:
        note(f"One HTTP server listens at {', '.join(server.describe())}.")
    if server.is_new_token:
        note(f"Token for this run: {server.token}")
    for user in server.access.users:
        if user.is_new:
            note(f"Token of {user.title} for this run: {user.token}")
    return made


def open_users(path: Path | None) -> list[User]:
    """Read who may see and change what; says when others can read the file.

    Raises:
        UsageError: The file cannot be read, or a line is wrong.
    """
    from edge_ad.server import read_users

    if path is None:
        return []
    users = read_users(path)
    if os.name == "posix" and path.stat().st_mode & 0o077:
        note(f"Other users of this machine can read the tokens in {path}: chmod 600 {path}")
    return users


def _window(outputs: Outputs) -> list[Sink]:
    from edge_ad.streaming.sinks import WindowSink, has_display

    if outputs.headless:
        return []
    if has_display():
        return [WindowSink()]
    note("No display found: running without a window, as with --headless.")
    return []
