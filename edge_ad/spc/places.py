"""Where on the parts the defects are: counts by place, and a map of their regions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DataError
from edge_ad.images import read_image
from edge_ad.outside_text import storable
from edge_ad.spc.shifts import Span
from edge_ad.spc.subgroups import VERDICT_COLUMNS
from edge_ad.streaming.records.reader import RecordFilter, RecordReader

__all__ = ["NO_PLACE", "Boxes", "PlaceMap", "count_places", "place_maps", "read_boxes"]

NO_PLACE = "no region recorded"
_ROWS, _COLUMNS = ("top", "middle", "bottom"), ("left", "centre", "right")
_CELLS = 48  # of the longer side of the map
_PHOTO_SIDE = 480
_PICTURES_TRIED = 20
_BOXES = """SELECT v.id, (SELECT name FROM sources WHERE id = v.source) AS source, v.reason, box.key AS rank,
    json_extract(box.value, '$.x') AS x, json_extract(box.value, '$.y') AS y,
    json_extract(box.value, '$.width') AS width, json_extract(box.value, '$.height') AS height
    FROM verdicts v LEFT JOIN json_each(CASE v.regions WHEN '' THEN '[]' ELSE v.regions END) box"""


@dataclass(frozen=True)
class Boxes:
    """Regions of the NG frames of one source, and the NG frames without any.

    Attributes:
        source: Name of the source.
        boxes: (N, 4) left, top, width and height in pixels of the frame.
        is_first: bool (N,) whether a region is the one of its frame with the highest peak.
        without: Reason → NG frames that have no region: empty, or ``"not finite"``.
    """

    source: str
    boxes: NDArray[np.float64]
    is_first: NDArray[np.bool_]
    without: Counter[str]


@dataclass(frozen=True)
class PlaceMap:
    """How often regions covered each place of a source's frames.

    Attributes:
        source: Name of the source.
        counts: int64 (rows, columns) regions that touch a cell.
        size_wh: Width and height of the frame, in pixels.
        photo: uint8 (H, W) grey, the newest kept picture of an NG frame; None where none is kept: then the size is that
            of the box around all regions, from the top left corner.
    """

    source: str
    counts: NDArray[np.int64]
    size_wh: tuple[int, int]
    photo: NDArray[np.uint8] | None


def read_boxes(reader: RecordReader, spans: Sequence[Span], chosen: RecordFilter) -> list[Boxes]:
    """Read the regions of NG frames, by source; the source with most NG frames first.

    Args:
        reader: The records.
        spans: When.
        chosen: Which records; its time, verdict and limit do not count.

    Raises:
        DataError: The database is damaged, or regions are none.
    """
    found: dict[str, list[tuple[float, ...]]] = {}
    without: dict[str, Counter[str]] = {}
    for span in spans:
        within = replace(chosen, since_unix=span.since_unix, until_unix=span.until_unix, verdict="NG")
        condition, values = within.clause("v.time_unix", **VERDICT_COLUMNS)
        for row in reader.select(f"{_BOXES} WHERE {condition}", values):
            box, source = tuple(row)[4:], storable(str(row["source"]))
            rows, missing = found.setdefault(source, []), without.setdefault(source, Counter())
            if row["rank"] is None:
                missing[str(row["reason"])] += 1
            elif all(isinstance(value, (int, float)) for value in box):
                rows.append((*box, row["rank"] == 0))
            else:
                raise DataError(f"{reader.path} cannot be read: regions of record {row['id']} have no box.")
    made = [_boxes(source, rows, without[source]) for source, rows in found.items()]
    return sorted(made, key=lambda boxes: -_frames(boxes))


def count_places(boxes: Sequence[Boxes], sizes: dict[str, tuple[int, int]]) -> list[tuple[str, int]]:
    """Count NG frames by the ninth of the frame in which their strongest region has its middle.

    Args:
        boxes: Of each source.
        sizes: Source → width and height of its frames, in pixels.

    Returns:
        Name and count, the most frequent first; with more than one source, its name is part of it.
    """
    counts: Counter[str] = Counter()
    for each in boxes:
        prefix = f"{each.source}: " if len(boxes) > 1 else ""
        middle = each.boxes[each.is_first]
        size = np.array(sizes.get(each.source, (1, 1)), np.float64)
        cells = np.clip((3 * (middle[:, :2] + middle[:, 2:] / 2) // size).astype(np.int64), 0, 2)
        for (column, row), count in Counter(map(tuple, cells.tolist())).items():
            counts[f"{prefix}{_ROWS[row]} {_COLUMNS[column]}"] += count
        for reason, count in each.without.items():
            counts[f"{prefix}{reason or NO_PLACE}"] += count
    return counts.most_common()


def place_maps(
    reader: RecordReader, boxes: Sequence[Boxes], period: Span, without: tuple[tuple[float, int], ...] = ()
) -> list[PlaceMap]:
    """Draw the regions of each source into a map; sources without regions have none.

    Args:
        reader: The records, for a picture.
        boxes: From `read_boxes`.
        period: When; pictures are of this time too.
        without: Records whose pictures are not taken, as a `RecordFilter` has them.
    """
    of_ng = RecordFilter(period.since_unix, period.until_unix, verdict="NG", limit=_PICTURES_TRIED, without=without)
    wanted = [(each, replace(of_ng, source=each.source)) for each in boxes if len(each.boxes)]
    return [_map(each, _newest_picture(reader, chosen)) for each, chosen in wanted]


def _boxes(source: str, rows: list[tuple[float, ...]], without: Counter[str]) -> Boxes:
    table = np.array(rows, np.float64).reshape(-1, 5)
    return Boxes(source, table[:, :4], table[:, 4] > 0, without)


def _frames(boxes: Boxes) -> int:
    return int(np.count_nonzero(boxes.is_first)) + sum(boxes.without.values())


def _map(boxes: Boxes, photo: NDArray[np.uint8] | None) -> PlaceMap:
    reach = np.maximum(np.ceil((boxes.boxes[:, :2] + boxes.boxes[:, 2:]).max(axis=0)), 1)
    size = reach if photo is None else np.array(photo.shape[1::-1], np.float64)
    columns, rows = np.maximum(1, np.round(_CELLS * size / size.max())).astype(np.int64)
    scale = np.array([columns, rows]) / size
    first = np.clip(np.floor(boxes.boxes[:, :2] * scale), 0, [columns - 1, rows - 1]).astype(np.int64)
    last = np.clip(np.ceil((boxes.boxes[:, :2] + boxes.boxes[:, 2:]) * scale), 1, [columns, rows]).astype(np.int64)
    last = np.maximum(last, first + 1)
    # The sum over the corners of a box from the top left is 1 inside and 0 outside.
    corners = np.zeros((rows + 1, columns + 1), np.int64)
    for sign, x, y in ((1, first, first), (-1, last, first), (-1, first, last), (1, last, last)):
        np.add.at(corners, (y[:, 1], x[:, 0]), sign)
    counts = corners.cumsum(axis=0).cumsum(axis=1)[:-1, :-1]
    return PlaceMap(boxes.source, counts, (int(size[0]), int(size[1])), _small(photo))


def _newest_picture(reader: RecordReader, chosen: RecordFilter) -> NDArray[np.uint8] | None:
    paths = [Path(record["image"]) for record in reader.records(chosen) if record["image_is_there"]]
    for path in reversed(paths):
        try:
            return np.asarray(cv2.cvtColor(read_image(path), cv2.COLOR_BGR2GRAY), np.uint8)
        except DataError:  # damaged: an older one may do
            continue
    return None


def _small(photo: NDArray[np.uint8] | None) -> NDArray[np.uint8] | None:
    if photo is None or max(photo.shape) <= _PHOTO_SIDE:
        return photo
    scale = _PHOTO_SIDE / max(photo.shape)
    size = (max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale)))
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)
