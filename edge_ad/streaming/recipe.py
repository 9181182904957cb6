"""A recipe: what a running stream takes over to inspect another product."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from edge_ad.streaming.filters import AnyRegion
from edge_ad.streaming.frame import RecipeMark
from edge_ad.streaming.golden.plan import GoldenPlan
from edge_ad.streaming.sources.base import CameraSettings

__all__ = ["BundleChoice", "Recipe", "RecipeShelf"]


@dataclass(frozen=True)
class BundleChoice:
    """A bundle, and how to run it.

    Attributes:
        path: Its folder.
        backend: ``"auto"`` or a backend's name.
        precision: ``"auto"`` or a precision.
        threads: CPU threads; 0 lets the backend decide.
        allows_unverified: Whether to take it where it has no recorded outputs.
        takes_bundle_threshold: Whether to ignore a threshold that an operator set.
    """

    path: Path
    backend: str = "auto"
    precision: str = "auto"
    threads: int = 0
    allows_unverified: bool = False
    takes_bundle_threshold: bool = False


@dataclass(frozen=True)
class Recipe:
    """What a stream takes over from a recipe while it runs.

    Attributes:
        mark: Its name, and the hash of its file.
        bundle: What judges.
        number: By which a PLC selects it; 0 for none.
        threshold: Raw score above which a frame is NG; None for the bundle's, or the one that an operator set.
        region: Part of the frame that is judged; None for all of it.
        rules: Arguments of `observers_from_options`.
        camera: Settings of the cameras.
        golden: The master parts that the line must judge as recorded; None for none.
    """

    mark: RecipeMark
    bundle: BundleChoice
    number: int = 0
    threshold: float | None = None
    region: AnyRegion | None = None
    rules: Mapping[str, Any] = field(default_factory=dict)
    camera: CameraSettings = field(default_factory=CameraSettings)
    golden: GoldenPlan | None = None


class RecipeShelf(Protocol):
    """The recipes that a stream can be switched to. May be called from any thread."""

    def names(self) -> Mapping[str, int]:
        """Name of each recipe that can be read now → its number, 0 for none; in the order of their files."""

    def read(self, name: str) -> Recipe:
        """Read a recipe as it is now.

        Raises:
            UsageError: There is none of this name, it is wrong, or it asks for what a running stream cannot change.
        """
