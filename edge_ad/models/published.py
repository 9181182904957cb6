"""What the paper of a method says of every setting, what its authors' code has, and what the preset takes of the two.

A method's parameters declare one `Publication` beside themselves. The preset ``published`` of ``train`` and the tables
of docs/reference/presets.md are made from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from edge_ad.data.geometry import AskedGeometry

__all__ = ["NO_COPY", "PUBLISHED", "Publication", "Stated", "TrainingSettings"]

PUBLISHED = "published"
"""Name of the preset."""

NO_COPY = "Its column `paper` is not verified: no copy of the paper was at hand."
"""What `Publication.checked` says where only the code could be read."""


@dataclass(frozen=True)
class TrainingSettings:
    """How a method is trained, beside its parameters; a preset may set these too. The defaults are those for the edge.

    Attributes:
        batch_size: Images per step, at least 2.
        flips: Mirror images at random.
        mixed_precision: bfloat16 where the hardware has it.
        geometry: How a photo fills the network's input; ``auto`` decides by the photos that are fitted on, and by them
            gives a square input of their shape.
        crop_share: Of the sides of the middle rectangle that ``crop`` takes, in (0, 1]: papers that resize to 329
            pixels and cut out 288 have 288/329.
        all_photos: Train on every good photo, as papers do. Then the threshold stands on photos that were trained on.
    """

    batch_size: int = 4
    flips: bool = True
    mixed_precision: bool = True
    geometry: AskedGeometry = "auto"
    crop_share: float = 1.0
    all_photos: bool = False

    @classmethod
    def names(cls) -> frozenset[str]:
        """Names of all settings."""
        return frozenset(each.name for each in fields(cls))


@dataclass(frozen=True)
class Stated:
    """One value of a publication.

    Attributes:
        value: What the preset takes.
        paper: What the paper says, in words; empty where it says nothing.
        code: What the authors' code has, in words; empty where it says nothing, or there is none.
        reason: Why the preset takes what it takes, where the two differ or are silent.
    """

    value: Any
    paper: str = ""
    code: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Publication:
    """A paper, and every setting that it takes to repeat it.

    Attributes:
        paper: Authors, title, venue and year.
        code: Address of the authors' code; empty where none is public.
        values: Parameter of the method, or one of `TrainingSettings` → what is said of it.
        checked: What its values were held against, and what could not be: sentences.
        by_category: Category of a data set → values that the authors' code takes for it by its name.
        remains: What is different here whatever the parameters are: a sentence each.
    """

    paper: str
    code: str
    values: Mapping[str, Stated]
    checked: str
    by_category: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    remains: tuple[str, ...] = ()

    @property
    def preset(self) -> dict[str, Any]:
        """Name → value, as a preset."""
        return {name: stated.value for name, stated in self.values.items()}
