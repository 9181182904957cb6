"""Confirmed good photos, of a folder or of the records of a stream, brought into a network's input or refused."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_ad.bundle.documents import parse_json
from edge_ad.data.near_duplicates import near_duplicate_groups
from edge_ad.data.splits import content_hash
from edge_ad.errors import DataError, UsageError
from edge_ad.evaluation.engine_threshold import GoodScores
from edge_ad.images import read_image
from edge_ad.manifest import Manifest
from edge_ad.outside_text import printable
from edge_ad.photo_files import find_photos, is_photo_name
from edge_ad.photo_spec import NetworkInput, resize
from edge_ad.streaming.filters import Region
from edge_ad.streaming.records.confirmation import CONFIRMED_GOOD
from edge_ad.streaming.records.reader import RecordFilter, RecordReader

__all__ = [
    "LEAST_PHOTOS",
    "GoodPhoto",
    "GoodPhotos",
    "photos_of_folder",
    "photos_of_records",
    "photos_of_run",
    "read_good_photos",
]

LEAST_PHOTOS = 20
"""Different photos below which no threshold is set: what they can promise is more than 1 false alarm in 21 parts."""

_MORE_FALSE_ALARMS = 0.1  # share of them among the photos above that of the records of the same time
_DAY_S = 86400.0
_HASHED_HW = (64, 64)
_MOST_LOOKED_AT = 10_000
_NAMED = 20
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GoodPhoto:
    """A photo that somebody says shows a good part.

    Attributes:
        path: The file.
        is_frame: Whether a stream saved it: what was judged, with 8 bits, whatever the source's files have.
        region: Part of it that is judged; None for all.
    """

    path: Path
    is_frame: bool = False
    region: Region | None = None


@dataclass(frozen=True)
class GoodPhotos:
    """Photos in a network's input.

    Attributes:
        images: uint8 (N, h, w, 3), BGR.
        paths: Their N files.
        duplicates: Photos that were left out because another one is the same file, or shows the same thing again.
        trained_on: Photos that were left out because the network was fitted on them: their scores are too low.
        sha256: Of the sorted hashes of all that are in: says later which photos these were.
    """

    images: NDArray[np.uint8]
    paths: tuple[Path, ...]
    duplicates: int
    trained_on: int
    sha256: str


def photos_of_folder(folder: Path, region: Region | None = None) -> list[GoodPhoto]:
    """The photos of a folder, and of all folders inside.

    Raises:
        DataError: It is no folder, holds no photo, or cannot be read.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder.", "Give a folder of photos of good parts.")
    found = find_photos(folder, recursive=True)
    if not found.photos:
        raise DataError(f"There are no photos in {folder}.", "Take some: edge-ad capture --camera 0 --out DIR")
    if left_out := found.left_out():
        _log.warning("Left out of %s: %s.", printable(str(folder)), printable(left_out))
    return [GoodPhoto(path, region=region) for path in found.photos]


def photos_of_records(database: Path, chosen: RecordFilter, region: Region | None = None) -> list[GoodPhoto]:
    """The photos of records that a person confirmed as good.

    Of a frame that was NG that is the image kept by ``--save-ng``; of one that passed, the image file it came from. A
    camera's frames that passed are kept nowhere. Too large a share of false alarms would set the threshold too high,
    and is refused.

    Args:
        database: The records.
        chosen: Which of them, by time and source.
        region: What the stream judged of its files; not applied to images of NG frames, which are cut already.

    Raises:
        DataError: Nothing is confirmed, or what is confirmed has no pictures, or is no sample of what the line makes.
    """
    with RecordReader(database) as reader:
        confirmed = list(reader.records(replace(chosen, confirmed=CONFIRMED_GOOD)))
        if not confirmed:
            raise DataError(
                f"No record of {database} is confirmed as good{_what_there_is(reader, chosen)}.",
                f"edge-ad records confirm {database} --id NUMBERS; or edge-ad capture, and then --from-good DIR.",
            )
        found = [(record["verdict"] == "NG", _picture(record, region)) for record in confirmed]
        kept = [(was_ng, photo) for was_ng, photo in found if photo is not None]
        if not kept:
            raise DataError(
                f"None of the {len(found)} confirmed records of {database} has a picture.",
                "Frames of a camera that pass are kept nowhere: take photos with edge-ad capture, and --from-good DIR.",
            )
        if len(kept) < len(found):
            _log.warning(
                "%d of %d confirmed records have no picture any more, or never had one.",
                len(found) - len(kept),
                len(found),
            )
        _check_mix(reader, chosen, [was_ng for was_ng, _ in kept])
    return [photo for _, photo in kept]


def photos_of_run(
    bundle: Path, *, false_alarm_rate: float, region: Region | None = None
) -> tuple[list[GoodPhoto], GoodScores]:
    """The photos that the run of a bundle held out, and what its thresholds are set from beside their scores.

    Args:
        bundle: Folder of the bundle, inside its run.
        false_alarm_rate: Share of good parts that may be called defective, in (0, 1).
        region: Part of each that is judged; None for all.

    Raises:
        UsageError: The bundle lies in no run.
        DataError: The run or one of its photos is not what it was.
    """
    path = bundle.absolute().parent / "run.json"
    if not path.is_file():
        raise UsageError(
            f"{bundle} holds no photos, and lies in no run that names some.",
            "Name photos of good parts: --from-good DIR, or --from-records DB.",
        )
    try:
        record: Any = parse_json(path.read_bytes())
        root, split = Path(record["product_root"]), record["split"]
        hashes = {**split["calibrate"], **split["threshold"]}
        folds = split.get("folds", [])
        names = [*folds[0]] if folds else [*split["threshold"]]
        changed = next((name for name in names if not _is_still(root / name, hashes[name])), None)
        good = GoodScores(false_alarm_rate, is_block=bool(split.get("in_blocks", False)))
        if good.is_block and not folds:
            trained_on = set(names) <= set(split["fit"])
            good = GoodScores.of_block(false_alarm_rate, names, split.get("duplicates", []), is_trained_on=trained_on)
        if folds:
            scores, fitted = record["good_scores"], record.get("fitted_scores")
            good = GoodScores.of_folds(false_alarm_rate, folds, split["duplicates"], scores, fitted)
    except (OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not understood: {error}.", "Name the photos: --from-good DIR.") from error
    if changed is not None:
        raise DataError(f"{root / changed} is not the photo any more that was held out.", "Give --from-good DIR.")
    return [GoodPhoto(root / name, region=region) for name in names], good


def _is_still(path: Path, digest: str) -> bool:
    return path.is_file() and content_hash(path) == digest


def read_good_photos(photos: Sequence[GoodPhoto], manifest: Manifest, *, are_held_out: bool = False) -> GoodPhotos:
    """Bring photos into a network's input.

    Args:
        photos: The photos.
        manifest: Of the bundle that is to judge them.
        are_held_out: Whether they are those of `photos_of_run`, all of which are taken.

    Raises:
        DataError: One cannot be read, or is of another shape or depth than those that were trained on; fewer different
            ones than `LEAST_PHOTOS`.
    """
    fitted: Collection[str] = {*manifest.split.fit, *manifest.split.calibrate}
    images: list[NDArray[np.uint8]] = []
    hashed: list[NDArray[np.uint8]] = []
    paths: list[Path] = []
    digests: list[str] = []
    refused: dict[Path, str] = {}
    duplicates = trained_on = 0
    for photo in photos:
        digest = content_hash(photo.path)
        if not are_held_out and digest in digests:
            duplicates += 1
        elif not are_held_out and digest in fitted:
            trained_on += 1
        else:
            image, made = _input_of(photo, manifest)
            if made.problem:
                refused[photo.path] = made.problem
                continue
            digests.append(digest)
            paths.append(photo.path)
            images.append(made.image)
            hashed.append(resize(image if manifest.photos.alignment else made.image, _HASHED_HW))
    _refuse_unjudged(refused, len(photos))
    kept = list(range(len(images))) if are_held_out else _different(hashed)
    duplicates += len(images) - len(kept)
    if len(kept) < LEAST_PHOTOS and not (are_held_out and kept):
        left_out = f"{duplicates} show what another one shows, {trained_on} were trained on"
        raise DataError(
            f"{len(kept)} different photos of good parts are too few to set a threshold on; {left_out}.",
            f"Give {LEAST_PHOTOS} at least, and one hundred for a false-alarm rate of 1 %.",
        )
    all_digests = "".join(sorted(digests[index] for index in kept))
    return GoodPhotos(
        np.stack([images[index] for index in kept]),
        tuple(paths[index] for index in kept),
        duplicates,
        trained_on,
        hashlib.sha256(all_digests.encode()).hexdigest(),
    )


def _different(images: Sequence[NDArray[np.uint8]]) -> list[int]:
    """The first of each group that shows the same thing: a camera that runs while the line stands says nothing new."""
    if not images:
        return []
    groups = near_duplicate_groups(np.stack(images))
    _, first = np.unique(groups, return_index=True)
    return sorted(first.tolist())


def _refuse_unjudged(refused: Mapping[Path, str], total: int) -> None:
    if refused:
        named = ", ".join(f"{path} ({problem})" for path, problem in list(refused.items())[:_NAMED])
        raise DataError(
            f"{len(refused)} of {total} photos cannot be judged: {named}{', …' if len(refused) > _NAMED else ''}.",
            "Leave them out: a stream does not judge them.",
        )


def _input_of(photo: GoodPhoto, manifest: Manifest) -> tuple[NDArray[np.uint8], NetworkInput]:
    """The photo, and what of it fills the network's input."""
    spec = manifest.photos
    image = read_image(photo.path, None if photo.is_frame else spec.significant_bits)
    if photo.region is not None:
        image = photo.region.crop(image)
    if problem := spec.shape_problem(*image.shape[:2]):
        raise DataError(
            f"{photo.path} cannot be judged: {problem}.",
            "Give photos as they were trained on, or the --region that the stream judges.",
        )
    return image, spec.prepare(image, manifest.input_size_hw)


def _picture(record: dict[str, Any], region: Region | None) -> GoodPhoto | None:
    """Where what was judged can be seen again."""
    if record["image_is_there"]:
        return GoodPhoto(Path(record["image"]), is_frame=True)
    path = Path(record["path"])
    if not record["path"] or not is_photo_name(path.name):
        return None
    moved = path.parent / "done" / path.name  # by --after move
    return next((GoodPhoto(place, region=region) for place in (path, moved) if place.is_file()), None)


def _what_there_is(reader: RecordReader, chosen: RecordFilter) -> str:
    """What could be confirmed, in words that follow."""
    passed = failed = with_picture = 0
    for record in reader.records(replace(chosen, limit=_MOST_LOOKED_AT)):
        passed += record["verdict"] == "OK"
        failed += record["verdict"] == "NG"
        with_picture += _picture(record, None) is not None
    return f": of the newest {passed} OK and {failed} NG records, {with_picture} have a picture"


def _check_mix(reader: RecordReader, chosen: RecordFilter, were_ng: Sequence[bool]) -> None:
    """Refuse photos among which false alarms are more frequent than on the line.

    A quantile of the scores of false alarms alone lies above every good score: a threshold there would pass defects.
    """
    span = reader.span(replace(chosen, confirmed=CONFIRMED_GOOD))
    assert span is not None  # something is confirmed
    of_that_time = RecordFilter(span[0], math.nextafter(span[1], math.inf), chosen.source)
    buckets = reader.buckets(of_that_time, _DAY_S, origin_unix=span[0])
    on_line = sum(bucket.defective for bucket in buckets) / sum(bucket.frames for bucket in buckets)
    count = sum(were_ng)
    if count > (on_line + _MORE_FALSE_ALARMS) * len(were_ng) or (were_ng and all(were_ng)):
        raise DataError(
            f"{count} of {len(were_ng)} confirmed photos were NG, and {on_line:.1%} of all records of that time: a "
            "threshold set on them would be too high, and pass defects.",
            "Confirm the parts that passed too, whose image files are kept, or take photos with edge-ad capture.",
        )
