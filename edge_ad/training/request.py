"""What to train: what was asked for, and what a preset or a speed adds to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_ad.data.geometry import AskedGeometry
from edge_ad.data.products import Folders
from edge_ad.errors import UsageError
from edge_ad.models.published import TrainingSettings

__all__ = ["TrainingRequest", "named_values", "training_settings"]


@dataclass(frozen=True)
class TrainingRequest:
    """What to train.

    Attributes:
        method: Method name.
        data: Folder of the product; None where ``folders`` names its good photos.
        root: Folder of the run; must not hold one yet.
        values: Parameters that differ from the method's defaults; ``mosaic`` may be ``"auto"``.
        preset: Name of parameters and settings that belong together, out of the method's ``all_presets``; ``values``
            and the settings below go before them.
        speed: What a frame may cost, out of the method's ``speeds``; ``values`` and the preset go before it.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        skip_unreadable: Leave unreadable images out instead of refusing.
        ear: A finished run of the method that this one continues, to go on from: EAR for FADeR.
        workers: Processes that simulate defects, for a method that learns from them; the result does not depend on it.
        compiled: Compile the networks that are trained, by torch.compile.
        batch_size: As in `TrainingSettings`, and so are those below; None leaves it to the preset, and without one to
            what is taken for the edge.
        flips: Likewise.
        mixed_precision: Likewise.
        geometry: Likewise.
        crop_share: Likewise.
        all_photos: Likewise.
        folders: Folders of photos, where the product's own does not tell.
        false_alarm_rate: Share of good parts that may be called defective, in (0, 1); the threshold is set for it.
        labelled: Folders of photos of defective parts to learn from, for a method that does; their masks, where there
            are any, lie beside them or in the folder of masks among ``folders``.
    """

    method: str
    data: Path | None
    root: Path
    values: Mapping[str, Any] = field(default_factory=dict)
    preset: str = ""
    speed: str = ""
    device: str = "auto"
    batch_size: int | None = None
    flips: bool | None = None
    mixed_precision: bool | None = None
    geometry: AskedGeometry | None = None
    crop_share: float | None = None
    all_photos: bool | None = None
    skip_unreadable: bool = False
    ear: Path | None = None
    workers: int = 0
    compiled: bool = False
    folders: Folders = field(default_factory=Folders)
    false_alarm_rate: float = 0.05
    labelled: tuple[Path, ...] = ()


def named_values(
    request: TrainingRequest, option: str, asked: str, known: Mapping[str, Mapping[str, Any]]
) -> Mapping[str, Any]:
    """The values of the speed or preset that is asked for; none without one.

    Args:
        request: Whose method is asked.
        option: ``"speed"`` or ``"preset"``.
        asked: Name of the values; empty for none.
        known: Name → values.

    Raises:
        UsageError: There are none of that name.
    """
    if asked and asked not in known:
        hint = f"It has: {', '.join(known)}." if known else f"Leave --{option} out."
        raise UsageError(f"{request.method} has no {option} {asked!r}.", hint)
    return known.get(asked, {})


def training_settings(request: TrainingRequest, preset: Mapping[str, Any]) -> TrainingSettings:
    """What was asked for, else what the preset has, else what is taken for the edge."""
    asked = {name: value for name in TrainingSettings.names() if (value := getattr(request, name)) is not None}
    return TrainingSettings(**{name: preset[name] for name in TrainingSettings.names() & preset.keys()} | asked)
