"""Makes the sinks that options of the command line name."""

from __future__ import annotations

from pathlib import Path

from edge_ad.errors import UsageError
from edge_ad.masked_address import masked_address
from edge_ad.registry import Registry
from edge_ad.streaming.records.ng_images import NgImageStore
from edge_ad.streaming.records.schema import Durability
from edge_ad.streaming.sinks.base import Sink
from edge_ad.streaming.sinks.database import DatabaseSink, NgImagesSink
from edge_ad.streaming.sinks.records import RecordsSink

__all__ = [
    "hook_sink",
    "mqtt_sink",
    "ng_images_sink",
    "records_sink",
    "third_party_sink",
    "webhook_sink",
]

_OTHERS = Registry("edge_ad.sinks")  # name: scheme of the address; value: function of the address → Sink
_DATABASE = (".sqlite", ".sqlite3", ".db")
_LINES = (".jsonl", ".ndjson", ".csv")
_MOST_GB = 1e9


def records_sink(
    path: Path,
    *,
    overwrite: bool = False,
    ng_images: Path | None = None,
    durability: Durability = "normal",
    keep_days: float | None = None,
) -> Sink:
    """``--records FILE``: a database shared by all streams, or JSON lines or CSV of this stream.

    Args:
        path: ``.sqlite``, ``.sqlite3`` or ``.db``; ``.jsonl``, ``.ndjson`` or ``.csv``.
        overwrite: Replace an existing JSON lines or CSV file; a database is always added to.
        ng_images: Folder in which `ng_images_sink` keeps pictures; the database then names them.
        durability: ``"full"`` makes a committed record survive a power cut, at the cost of flushing the disk several
            times a second.
        keep_days: Remove what is older from the database; None for no limit.

    Raises:
        UsageError: The ending is unknown, the folder does not exist, the file may not be replaced, or the limit is not
            positive.
        DataError: The database is another program's, or a newer edge-ad wrote it.
    """
    if path.suffix.lower() in _DATABASE:
        return DatabaseSink(path, ng_images=ng_images, durability=durability, keep_days=keep_days)
    if path.suffix.lower() in _LINES:
        return RecordsSink(path, overwrite=overwrite)
    raise UsageError(f"{path.name} has an unknown ending.", f"Known endings: {', '.join(_DATABASE + _LINES)}.")


def third_party_sink(uri: str) -> Sink:
    """``--sink URI``: a sink that another distribution registers by the entry point ``edge_ad.sinks``.

    Args:
        uri: Its scheme is the name of the entry point, whose value is a function of the address.

    Raises:
        UsageError: The scheme is not registered, or what is registered is not a sink.
    """
    scheme = uri.partition("://")[0].lower()
    entry = _OTHERS.get(scheme)
    if entry is None:
        raise UsageError(
            f"No installed package has a sink for {masked_address(uri)}.",
            f"Known: {', '.join(sorted(_OTHERS.names())) or 'none'}; MQTT and webhooks have options of their own.",
        )
    sink = entry.load()(uri)
    if not isinstance(sink, Sink):
        raise UsageError(f"What {entry.value} makes of an address is not a sink.", "Report it to its maker.")
    return sink


def ng_images_sink(
    root: Path, *, keep_days: float | None = 30.0, keep_gb: float | None = 10.0, durability: Durability = "normal"
) -> Sink:
    """``--save-ng DIR``: every defective frame as a PNG, the oldest removed by age and size.

    Args:
        root: The folder; made when the first picture comes.
        keep_days: Remove pictures older than this; None for no limit.
        keep_gb: Remove the oldest when the total is larger, in 10⁹ bytes; None for no limit.
        durability: ``"full"`` flushes every picture to the disk.

    Raises:
        UsageError: A limit is not positive, or the folder is a file.
    """
    if keep_gb is not None and not keep_gb <= _MOST_GB:
        raise UsageError(f"No disk has {keep_gb:g} GB.", f"The limit is {_MOST_GB:g} GB at most.")
    keep_bytes = None if keep_gb is None else int(keep_gb * 1e9)
    return NgImagesSink(NgImageStore(root, keep_days=keep_days, keep_bytes=keep_bytes, durable=durability == "full"))


def mqtt_sink(url: str, sparkplug: str | None = None) -> Sink:
    """``--mqtt URL``; see `Broker.parse` and `MqttSink`.

    Args:
        url: Of the broker.
        sparkplug: ``--sparkplug GROUP/NODE[/DEVICE]``: publish as that node, see `SparkplugSink`; None for JSON.

    Raises:
        UsageError: The URL, the names or the file of certificates cannot be used.
        MissingDependencyError: paho-mqtt, or for Sparkplug protobuf, is not installed.
    """
    from edge_ad.streaming.mqtt import Broker
    from edge_ad.streaming.sinks.mqtt import MqttSink
    from edge_ad.streaming.sinks.sparkplug import SparkplugSink

    if sparkplug is not None:
        return SparkplugSink(Broker.parse(url), sparkplug)
    return MqttSink(Broker.parse(url))


def webhook_sink(url: str) -> Sink:
    """``--webhook URL``; see `Endpoint.parse` and `WebhookSink`.

    Raises:
        UsageError: It is not an http:// or https:// URL.
    """
    from edge_ad.streaming.sinks.webhook import Endpoint, WebhookSink

    return WebhookSink(Endpoint.parse(url))


def hook_sink(command: str, *, timeout_s: float = 5.0) -> Sink:
    """``--hook CMD``: run without a shell for every event that calls for action; see `HookSink`.

    Raises:
        UsageError: It cannot be split into words, or there is no such program.
    """
    from edge_ad.streaming.sinks.hook import HookSink, parse_command

    return HookSink(parse_command(command), timeout_s=timeout_s)
