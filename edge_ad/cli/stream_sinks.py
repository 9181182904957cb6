"""Where the results of ``edge-ad stream`` go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_ad.cli.console import note
from edge_ad.cli.stream_output_options import Outputs
from edge_ad.errors import UsageError

if TYPE_CHECKING:
    from edge_ad.server import HttpServer
    from edge_ad.streaming.records import Durability
    from edge_ad.streaming.sinks import Sink

__all__ = ["Outputs", "open_sinks"]

_DATABASES = (".sqlite", ".sqlite3", ".db")


def open_sinks(outputs: Outputs, server: HttpServer) -> list[Sink]:
    """Make the sinks; what cannot be made is said before an engine is loaded.

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
        raise UsageError(
            "There is no database whose records --keep-records-days could remove.", "Give --records FILE.sqlite too."
        )
    if outputs.lines is not None:
        made.append(sinks.RecordsSink(outputs.lines, overwrite=outputs.overwrite))
    if outputs.database is not None:
        if outputs.database.suffix.lower() not in _DATABASES:
            hint = f"Known endings: {', '.join(_DATABASES)}. For JSON or CSV use --save-records."
            raise UsageError(f"{outputs.database.name} is no database.", hint)
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
    if outputs.mqtt is not None:
        made.append(sinks.mqtt_sink(outputs.mqtt))
    if outputs.webhook is not None:
        made.append(sinks.webhook_sink(outputs.webhook))
    if outputs.hook is not None:
        made.append(sinks.hook_sink(outputs.hook))
    return made


def _served(outputs: Outputs, server: HttpServer) -> list[Sink]:
    """What the stream's one HTTP server serves."""
    from edge_ad.server import PageSink, metrics_sink

    made: list[Sink] = []
    if outputs.web is not None:
        page = PageSink(server, outputs.web, database=outputs.database)
        made.append(page)
        note(f"Live page: {page.url}")
    if outputs.metrics is not None:
        made.append(metrics_sink(outputs.metrics, server))
    is_local = outputs.web is None and all(address.is_loopback for address in server.addresses)
    if is_local and (outputs.web_token is not None or outputs.web_hosts):
        option = "--web-host" if outputs.web_hosts else "--web-token"
        raise UsageError(f"{option} means nothing without --web.", "Add --web.")
    if len(server.addresses) > 1:
        note(f"One HTTP server listens at {', '.join(server.describe())}.")
    if server.is_new_token:
        note(f"Token for this run: {server.token}")
    return made


def _window(outputs: Outputs) -> list[Sink]:
    from edge_ad.streaming.sinks import WindowSink, has_display

    if outputs.headless:
        return []
    if has_display():
        return [WindowSink()]
    note("There is no display here: running without a window, as with --headless.")
    return []
