"""A folder of verdicts: CSV, JSON lines, an overlay and a heat map of each photo, and one page to look through."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import StorageError, UsageError
from edge_ad.evaluation.page import render
from edge_ad.heatmap import blend, colour_map, contour
from edge_ad.outside_text import storable
from edge_ad.storage import storage_errors, write_file
from edge_ad.streaming.frame import Result
from edge_ad.streaming.records.export import csv_lines
from edge_ad.strict_json import to_json
from edge_ad.verdict_report.photos import PhotoVerdict

__all__ = ["COLUMNS", "PAGE_FILE", "VerdictFolder", "check_output"]

COLUMNS = ("path", "verdict", "score", "threshold", "reason", "regions")
PAGE_FILE = "index.html"
_CSV_FILE, _LINES_FILE = "verdicts.csv", "verdicts.jsonl"
_OVERLAYS, _MAPS = "overlays", "maps"
_LONGEST_SIDE = 1280
_JPEG_QUALITY = 90
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def check_output(root: Path, inputs: Sequence[str | Path]) -> None:
    """Refuse a folder of verdicts that holds something else, or that lies in a folder that is judged.

    Raises:
        UsageError: It is no new folder, or its pictures would be judged as photos the next time.
    """
    with storage_errors(root):
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise UsageError(f"{root} is not empty.", "Name a new folder with --out.")
    for item in map(Path, inputs):
        if os.path.isdir(item) and root.resolve().is_relative_to(item.resolve()):  # noqa: PTH112 - takes any name
            hint = "Name a folder beside it with --out: its pictures would be judged as photos the next time."
            raise UsageError(f"{root} lies in {item}, which is judged.", hint)


class VerdictFolder:
    """Takes verdicts one after the other; `finish` writes the lists and the page.

    Args:
        root: Folder to write into; made if it is not there.
        engine: What judges, in words, for the page.

    Raises:
        StorageError: It cannot be written.
    """

    def __init__(self, root: Path, engine: str) -> None:
        with storage_errors(root):
            for folder in (_OVERLAYS, _MAPS):
                (root / folder).mkdir(parents=True, exist_ok=True)
        self._root, self._engine = root, engine
        self._verdicts: list[PhotoVerdict] = []
        self._pictures: list[str] = []

    @classmethod
    @contextmanager
    def create(cls, root: Path, engine: str) -> Iterator[VerdictFolder]:
        """Open a folder of verdicts, see `check_output`; nothing of it is left behind when the block fails.

        Yields:
            The folder; call `finish` at the end of the block.
        """
        is_new = not root.exists()
        try:
            yield cls(root, engine)
        except BaseException:
            _remove(root, with_folder=is_new)
            raise

    def add(self, verdict: PhotoVerdict, result: Result | None) -> None:
        """Draw a photo and keep its verdict.

        Raises:
            StorageError: No space or no permission.
        """
        name = f"{len(self._verdicts) + 1:05d}-{_UNSAFE.sub('-', verdict.path.stem)[:80]}"
        self._verdicts.append(verdict)
        self._pictures.append(name if result is not None else "")
        if result is not None:
            overlay, heat = _pictures(result)
            self._save(f"{_OVERLAYS}/{name}.jpg", overlay)
            self._save(f"{_MAPS}/{name}.png", heat)

    def finish(self) -> Path:
        """Write ``verdicts.csv``, ``verdicts.jsonl`` and the page.

        Returns:
            The page.

        Raises:
            StorageError: No space or no permission.
        """
        rows = [verdict.to_dict() for verdict in self._verdicts]
        write_file(self._root / _CSV_FILE, csv_lines(rows, COLUMNS, has_header=True).encode())
        write_file(self._root / _LINES_FILE, "".join(f"{to_json(row)}\n" for row in rows).encode())
        page = self._root / PAGE_FILE
        write_file(page, self._page().encode())
        return page

    def _save(self, name: str, picture: NDArray[np.uint8]) -> None:
        suffix = Path(name).suffix
        is_done, content = cv2.imencode(suffix, picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        if not is_done:
            raise StorageError(f"{self._root / name} could not be encoded.")
        with storage_errors(self._root / name):
            (self._root / name).write_bytes(content.tobytes())

    def _page(self) -> str:
        pairs = zip(self._verdicts, self._pictures, strict=True)
        threshold = self._verdicts[0].threshold if self._verdicts else 0.0
        folder = _common_folder(self._verdicts)
        scores = [verdict.score for verdict in self._verdicts if verdict.score is not None]
        return render(
            "verdicts.html",
            Path(__file__).with_name("templates"),
            title="Verdicts",
            engine=self._engine,
            threshold=threshold,
            lowest=min([*scores, threshold]),
            highest=max([*scores, threshold]),
            folder=storable(folder),
            rows=[_row(verdict, name, folder) for verdict, name in pairs],
        )


def _remove(root: Path, *, with_folder: bool) -> None:
    for name in (_OVERLAYS, _MAPS):
        shutil.rmtree(root / name, ignore_errors=True)
    with suppress(OSError):
        for name in (_CSV_FILE, _LINES_FILE, PAGE_FILE):
            (root / name).unlink(missing_ok=True)
        if with_folder:
            root.rmdir()


def _common_folder(verdicts: Sequence[PhotoVerdict]) -> str:
    """What the paths begin with; empty where they have nothing in common."""
    parents = {verdict.path.parent for verdict in verdicts}
    if len({path.is_absolute() for path in parents}) != 1 or len({path.anchor for path in parents}) != 1:
        return ""
    return os.path.commonpath(parents)


def _row(verdict: PhotoVerdict, picture: str, folder: str) -> dict[str, Any]:
    path = verdict.path
    return {
        "path": storable((path.relative_to(folder) if folder and path.is_relative_to(folder) else path).as_posix()),
        "verdict": verdict.verdict,
        "score": verdict.score,
        "reason": storable(verdict.reason),
        "regions": len(verdict.regions),
        "overlay": f"{_OVERLAYS}/{picture}.jpg" if picture else "",
        "map": f"{_MAPS}/{picture}.png" if picture else "",
    }


def _pictures(result: Result) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The photo under heat map and contours, and the heat map alone; at most 1280 pixels on a side.

    A photo that was not inspected is shown as it is, over a black map.
    """
    image, found = result.frame.image, result.prediction.anomaly_map
    scale = min(1.0, _LONGEST_SIDE / max(image.shape[:2]))
    if scale < 1:
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    if not result.has_map:
        return image, np.zeros_like(image)
    overlay = contour(blend(image, found, result.threshold), found, result.threshold)
    size = (image.shape[1], image.shape[0])
    heat = np.asarray(cv2.resize(found, size, interpolation=cv2.INTER_LINEAR), np.float32)
    return overlay, colour_map(heat, result.threshold)
