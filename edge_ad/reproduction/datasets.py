"""The data sets of the papers: their categories, how many photos each has, and where those are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from edge_ad.data.layouts.layout import Folders
from edge_ad.data.layouts.reading import read_layout
from edge_ad.errors import DataError

__all__ = ["DATASETS", "Counts", "Dataset", "category_folder", "count_photos", "count_problem"]


class Counts(NamedTuple):
    """Photos of a category, or of a data set.

    Attributes:
        train: Good ones to train on.
        test_good: Good ones to test with.
        test_defective: Defective ones to test with.
    """

    train: int
    test_good: int
    test_defective: int

    def __str__(self) -> str:
        return f"{self.train} to train on, {self.test_good} good and {self.test_defective} defective to test with"


@dataclass(frozen=True)
class Dataset:
    """A data set.

    Attributes:
        key: Its name on the command line, and of its folder where several data sets lie together.
        name: As papers call it.
        categories: Folder of each category → its photos; None where no source for them was found.
        photos: Of all categories together.
        source: Where the numbers come from, and what they were held against.
    """

    key: str
    name: str
    categories: Mapping[str, Counts | None]
    photos: int
    source: str


_MVTEC = Dataset(
    "mvtec",
    "MVTec AD",
    {
        "carpet": Counts(280, 28, 89),
        "grid": Counts(264, 21, 57),
        "leather": Counts(245, 32, 92),
        "tile": Counts(230, 33, 84),
        "wood": Counts(247, 19, 60),
        "bottle": Counts(209, 20, 63),
        "cable": Counts(224, 58, 92),
        "capsule": Counts(219, 23, 109),
        "hazelnut": Counts(391, 40, 70),
        "metal_nut": Counts(220, 22, 93),
        "pill": Counts(267, 26, 141),
        "screw": Counts(320, 41, 119),
        "toothbrush": Counts(60, 12, 30),
        "transistor": Counts(213, 60, 40),
        "zipper": Counts(240, 32, 119),
    },
    5354,
    "Bergmann et al., MVTec AD, CVPR 2019; the lists of photos in github.com/zhiyuanyou/UniAD",
)
_VISA = Dataset(
    "visa",
    "VisA",
    {
        "candle": Counts(900, 100, 100),
        "capsules": Counts(542, 60, 100),
        "cashew": Counts(450, 50, 100),
        "chewinggum": Counts(453, 50, 100),
        "fryum": Counts(450, 50, 100),
        "macaroni1": Counts(900, 100, 100),
        "macaroni2": Counts(900, 100, 100),
        "pcb1": Counts(904, 100, 100),
        "pcb2": Counts(901, 100, 100),
        "pcb3": Counts(905, 101, 100),
        "pcb4": Counts(904, 101, 100),
        "pipe_fryum": Counts(450, 50, 100),
    },
    10821,
    "Zou et al., VisA, ECCV 2022; split_csv/1cls.csv of github.com/amazon-science/spot-diff",
)
_MPDD = Dataset(
    "mpdd",
    "MPDD",
    {
        "bracket_black": Counts(289, 32, 47),
        "bracket_brown": Counts(185, 26, 51),
        "bracket_white": Counts(110, 30, 30),
        "connector": Counts(128, 30, 14),
        "metal_plate": Counts(54, 26, 71),
        "tubes": Counts(122, 32, 69),
    },
    1346,
    "Jezek et al., MPDD, ICUMT 2021; two public inventories of the archive, sums as in the PBAS paper",
)
_WFDD = Dataset(
    "wfdd",
    "WFDD",
    dict.fromkeys(("grey_cloth", "grid_cloth", "yellow_cloth", "pink_flower")),
    4101,
    "Chen et al., GLASS, ECCV 2024; github.com/cqylunlun/GLASS",
)

DATASETS: Mapping[str, Dataset] = {data.key: data for data in (_MVTEC, _VISA, _MPDD, _WFDD)}
"""Key → data set."""


def category_folder(root: Path, category: str) -> Path:
    """The folder of a category below that of a data set: as it is published, or as VisA's one-class copy of it.

    Raises:
        DataError: There is none.
    """
    for folder in (root / category, root / "1cls" / category):
        if folder.is_dir():
            return folder
    found = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    words = f"It holds {', '.join(found[:8])}{' …' if len(found) > 8 else ''}." if found else "It is not there."
    raise DataError(f"No folder {category} in {root}.", f"{words} Name the folder whose folders are the categories.")


def count_photos(folder: Path) -> Counts:
    """Count the photos of a category; none is opened.

    Raises:
        DataError: The folder's layout is not known.
    """
    layout = read_layout(folder, Folders())
    good = sum(photo.defect_type is None for photo in layout.test)
    return Counts(len(layout.good), good, len(layout.test) - good)


def count_problem(dataset: Dataset, found: Mapping[str, Counts]) -> str:
    """What differs from the published numbers, in words; empty where nothing does.

    Args:
        dataset: The data set.
        found: Category → photos, of those that are used. The sum is held against the published one where all are used.
    """
    differ = [
        f"{category} has {counts}, not {expected}"
        for category, counts in found.items()
        if (expected := dataset.categories.get(category)) is not None and counts != expected
    ]
    whole = sum(map(sum, found.values()))
    if not differ and found.keys() == dataset.categories.keys() and whole != dataset.photos:
        differ = [f"it has {whole} photos in all, not {dataset.photos}"]
    return f"{dataset.name} is not as published ({dataset.source}): {'; '.join(differ)}." if differ else ""
