"""Labelled findings of a line as photos: those to learn from, and the later ones to compare on."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from edge_ad.data.splits import content_hash
from edge_ad.errors import DataError
from edge_ad.outside_text import printable
from edge_ad.storage import storage_errors
from edge_ad.streaming.product_mark import NO_PRODUCT, ProductMark
from edge_ad.streaming.records.confirmation import CONFIRMED_GOOD
from edge_ad.streaming.records.corrections import parse_kind
from edge_ad.streaming.records.labels import read_labels
from edge_ad.streaming.records.reader import RecordFilter, RecordReader

__all__ = ["Finding", "Findings", "not_learned", "read_findings", "write_findings"]

_COMPARED_SHARE = 1 / 3
_NAMED = 3
_UNKNOWN = "defect"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finding:
    """A frame that somebody labelled.

    Attributes:
        photo: Its picture.
        label: What the part was.
        kind: Kind of the defect; empty where nobody said.
        mask: Mask of the defect; None where nobody marked the place.
        verdict: What the line had said, ``"OK"`` or ``"NG"``.
        by: Who labelled it.
        bundle: Content hash of the bundle that judged it; empty where it is not known.
        record: Number of its record; 0 where that is gone.
        product: Which product that bundle is of.
    """

    photo: Path
    label: Literal["good", "defect"]
    kind: str = ""
    mask: Path | None = None
    verdict: str = "NG"
    by: str = ""
    bundle: str = ""
    record: int = 0
    product: ProductMark = NO_PRODUCT


@dataclass(frozen=True)
class Findings:
    """Findings in two parts.

    Attributes:
        learned: To train on; of defects those that the method can learn from.
        compared: Later ones, to compare old and new on.
    """

    learned: tuple[Finding, ...]
    compared: tuple[Finding, ...]

    @classmethod
    def split(cls, findings: Sequence[Finding], *, learns_from_defects: bool) -> Findings:
        """Keep the last third of the good ones, and of the defects, to compare on; all defects that nothing learns.

        What follows each other is alike, so that they are divided by time and not by chance.

        Args:
            findings: In the order of their records.
            learns_from_defects: Whether the method learns from labelled defects.
        """
        good = [finding for finding in findings if finding.label == "good"]
        defects = [finding for finding in findings if finding.label == "defect"]
        first_good, first_defect = (len(part) - math.floor(_COMPARED_SHARE * len(part)) for part in (good, defects))
        first_defect = first_defect if learns_from_defects else 0
        return cls((*good[:first_good], *defects[:first_defect]), (*good[first_good:], *defects[first_defect:]))

    def counts(self) -> dict[str, int]:
        """How many of each kind are learned from and compared on, for a record."""
        return {
            f"{name}_{label}": sum(finding.label == label for finding in part)
            for name, part in (("learned", self.learned), ("compared", self.compared))
            for label in ("good", "defect")
        }


def read_findings(database: Path, chosen: RecordFilter | None = None) -> list[Finding]:
    """What people said of frames whose pictures are kept: labels of the live page, and confirmed NG records.

    Of a record that is confirmed as good its NG image is taken; a part that passed has no picture of its own.

    Args:
        database: The records.
        chosen: Of which time and source; None for all.

    Returns:
        In the order of their records; the same picture once.

    Raises:
        DataError: No database of records, nothing in it with a picture, or a picture that was changed since.
        UsageError: A kind of defect that is no name of a folder.
    """
    labels = read_labels(database, chosen)
    if changed := [label.photo for label in labels if label.files == "changed"]:
        raise DataError(
            f"{len(changed)} labelled pictures are not what was labelled: {', '.join(changed[:_NAMED])}.",
            f"edge-ad records labels {database} lists them; put them back, or label them again.",
        )
    kept = [label for label in labels if label.files == "as labelled"]
    _tell_missing(len(labels) - len(kept), "labels")
    findings = [
        Finding(
            Path(label.photo),
            label.label,
            parse_kind(label.kind or None),
            Path(label.mask) if label.mask else None,
            label.verdict,
            label.by,
            label.bundle,
            label.record or 0,
        )
        for label in kept
    ]
    found = _once([*findings, *_confirmed(database, chosen or RecordFilter())])
    found.sort(key=lambda finding: finding.record)
    with RecordReader(database) as reader:
        products = reader.products()
    if not found:
        raise DataError(
            f"There is no labelled frame with a picture in {database}.",
            "Label findings on the live page: edge-ad stream --web --database DB --corrections DIR.",
        )
    return [replace(finding, product=products.get(finding.bundle, NO_PRODUCT)) for finding in found]


def _confirmed(database: Path, chosen: RecordFilter) -> list[Finding]:
    with RecordReader(database) as reader:
        records = list(reader.records(replace(chosen, confirmed=CONFIRMED_GOOD, verdict="NG")))
    there = [record for record in records if record["image_is_there"]]
    _tell_missing(len(records) - len(there), "confirmed NG records")
    return [
        Finding(Path(record["image"]), "good", verdict="NG", bundle=record["bundle"], record=record["id"])
        for record in there
    ]


def _tell_missing(count: int, what: str) -> None:
    if count:
        _log.warning("%d %s have no picture any more, or never had one.", count, what)


def _once(findings: Iterable[Finding]) -> list[Finding]:
    """Each picture once; the first word on it counts, which is the page's."""
    found: dict[str, Finding] = {}
    for finding in findings:
        found.setdefault(content_hash(finding.photo), finding)
    return list(found.values())


def not_learned(findings: Sequence[Finding], good: Container[str], defects: Container[str]) -> list[Finding]:
    """The findings that a run has not learned from with the same label: what it has learned, it learns again anyway.

    Args:
        findings: The findings.
        good: Content hashes of the good photos that it learned from.
        defects: Likewise of the defects.

    Raises:
        DataError: It has learned from all of them.
    """
    learned = {"good": good, "defect": defects}
    hashes = {finding.photo: content_hash(finding.photo) for finding in findings}
    found = [finding for finding in findings if hashes[finding.photo] not in learned[finding.label]]
    if other := [one for one in found if hashes[one.photo] in good or hashes[one.photo] in defects]:
        named = ", ".join(f"{one.photo.name} ({one.label} now)" for one in other[:_NAMED])
        _log.warning("%d photos that the run learned from were labelled otherwise since, and are learned again as they "
                     "were too: %s. Take them out of the folders of that run.", len(other), named)  # fmt: skip
    if not found:
        raise DataError("The run has learned from all that is labelled.", "Label more findings on the live page.")
    return found


def write_findings(root: Path, findings: Sequence[Finding]) -> Path:
    """Copy findings into a folder with ``good/``, ``defect/KIND/`` and ``masks/KIND/``.

    Args:
        root: The folder; made here.
        findings: What to copy.

    Raises:
        StorageError: It cannot be written.
    """
    with storage_errors(root):
        for number, finding in enumerate(findings):
            kind = finding.kind or _UNKNOWN
            folder = root / ("good" if finding.label == "good" else f"defect/{kind}")
            folder.mkdir(parents=True, exist_ok=True)
            stem = f"{number:05d}_{printable(finding.photo.stem)}"
            shutil.copyfile(finding.photo, folder / f"{stem}{finding.photo.suffix}")
            if finding.mask is not None:
                masks = root / "masks" / kind
                masks.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(finding.mask, masks / f"{stem}_mask{finding.mask.suffix}")
    return root
