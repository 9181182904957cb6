"""What people said of single frames, read from the events of a database, which its trail covers."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from edge_ad.errors import DataError
from edge_ad.streaming.records.reader import RecordFilter, RecordReader
from edge_ad.streaming.records.schema import open_for_reading
from edge_ad.strict_json import to_json

__all__ = ["CONFIRMED", "CORRECTED", "LABEL_COLUMNS", "WITHDRAWN", "LabelRow", "newest_words", "read_labels"]

CORRECTED, CONFIRMED, WITHDRAWN = "verdict corrected", "verdict agreed", "correction withdrawn"
"""Kinds of the events: a verdict was wrong, an NG was right, and what was said is taken back."""

LABEL_COLUMNS = (
    "time", "by", "label", "kind", "verdict", "record", "source", "frame", "score", "threshold", "bundle", "photo",
    "mask", "files",
)  # fmt: skip
"""The keys of a label, in their order."""

FileState: TypeAlias = Literal["as labelled", "changed", "gone", "not kept"]
_RECORD = """SELECT v.id FROM verdicts v JOIN sources s ON s.id = v.source
    WHERE s.name = ? AND v.frame = ? AND v.time_unix BETWEEN ? - 0.001 AND ? + 0.001 ORDER BY v.id DESC LIMIT 1"""


@dataclass(frozen=True)
class LabelRow:
    """The newest word on a frame.

    Attributes:
        time: When it was said, ISO 8601.
        by: Who said it.
        label: ``"good"`` or ``"defect"``.
        kind: Kind of the defect; empty where nobody said.
        verdict: What the line had said, ``"OK"`` or ``"NG"``.
        record: Number of the frame's record; None where there is none any more.
        source: Name of the source.
        frame: Number of the frame.
        score: Its score.
        threshold: The threshold of then.
        bundle: Hash of the bundle that judged it.
        photo: The file of its picture; empty where older streams did not record it.
        mask: The file of the mask of the defect; empty where nobody marked the place.
        files: Whether they still are what was labelled.
    """

    time: str
    by: str
    label: Literal["good", "defect"]
    kind: str
    verdict: str
    record: int | None
    source: str
    frame: int
    score: float | None
    threshold: float | None
    bundle: str
    photo: str
    mask: str
    files: FileState

    def to_json(self) -> dict[str, Any]:
        """As a dictionary of `LABEL_COLUMNS`."""
        return asdict(self)


def read_labels(database: Path, chosen: RecordFilter | None = None) -> list[LabelRow]:
    """The newest word on each labelled frame, oldest first; what was taken back is left out.

    Frames with the same pixels are one. Of a time, it is what was labelled at its end, as it stands now.

    Args:
        database: The records; a stream may be writing.
        chosen: Labels of which time and source; None for all.

    Raises:
        DataError: There is no database of records, or it is damaged.
    """
    with RecordReader(database) as reader:
        newest = newest_words(reader, chosen or RecordFilter())
    connection = open_for_reading(database)
    try:
        return list(_rows(connection, database, newest))
    except (sqlite3.Error, KeyError, OverflowError, TypeError, ValueError) as error:
        raise DataError(f"The labels in {database} cannot be read: {error}.", "edge-ad records verify DB") from error
    finally:
        connection.close()


def newest_words(reader: RecordReader, chosen: RecordFilter) -> list[dict[str, Any]]:
    """The newest event about each frame that is labelled at the end of the time, oldest first, as it stands now.

    What was taken back since is left out, and what was labelled otherwise since is as it is now: nothing is to learn
    from what is known to be wrong.

    Args:
        reader: The records.
        chosen: Events of which time and source.

    Raises:
        DataError: The database is damaged.
    """
    newest = _newest(reader, chosen)
    labelled = {key for key, event in newest.items() if event["event"] != WITHDRAWN}
    if chosen.until_unix is not None:
        newest |= _newest(reader, replace(chosen, since_unix=chosen.until_unix, until_unix=None, limit=None))
    standing = [newest[key] for key in labelled if newest[key]["event"] != WITHDRAWN]
    return sorted(standing, key=lambda event: int(event["id"]))


def _newest(reader: RecordReader, chosen: RecordFilter) -> dict[str, dict[str, Any]]:
    """The newest event about each frame of which anything was said."""
    newest: dict[str, dict[str, Any]] = {}
    for event in reader.events(replace(chosen, kinds=(CORRECTED, CONFIRMED, WITHDRAWN))):
        data = event["data"]
        newest[to_json(data.get("pixels") or [event["source"], data.get("frame"), data.get("at_unix")])] = event
    return newest


def _rows(connection: sqlite3.Connection, database: Path, found: Sequence[Mapping[str, Any]]) -> Iterator[LabelRow]:
    for event in found:
        data: Mapping[str, Any] = event["data"]
        if data.get("label") not in ("good", "defect"):
            continue
        folder = _folder(data, database)
        photo, mask = (str(folder / data[name]) if data.get(name) else "" for name in ("photo", "mask"))
        yield LabelRow(
            event["time"],
            str(data.get("by", "")),
            data["label"],
            str(data.get("kind", "")),
            str(data.get("verdict") or ("NG" if data["label"] == "good" else "OK")),  # older streams knew no other
            _record(connection, data),
            event["source"],
            int(data["frame"]),
            data.get("score"),
            data.get("threshold"),
            str(data.get("bundle", "")),
            photo,
            mask,
            _state(folder, data),
        )


def _folder(data: Mapping[str, Any], database: Path) -> Path:
    """The folder of the pictures where it was, or beside the database, where both were moved together."""
    folder = Path(str(data.get("folder", "")))
    moved = database.resolve().parent / folder.name
    return moved if not folder.is_dir() and moved.is_dir() else folder


def _record(connection: sqlite3.Connection, data: Mapping[str, Any]) -> int | None:
    at_unix = data.get("at_unix")
    row = connection.execute(_RECORD, (data.get("source"), data.get("frame"), at_unix, at_unix)).fetchone()
    return None if row is None else int(row[0])


def _state(folder: Path, data: Mapping[str, Any]) -> FileState:
    hashes = data.get("sha256")
    if not isinstance(hashes, dict) or not hashes:
        return "not kept"
    for name, digest in hashes.items():
        try:
            content = (folder / name).read_bytes()
        except OSError:
            return "gone"
        if hashlib.sha256(content).hexdigest() != digest:
            return "changed"
    return "as labelled"
