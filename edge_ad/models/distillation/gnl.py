"""Generalised normality learning (Cao, Zhu & Pang, "Anomaly Detection under Distribution Shift", ICCV 2023).

Reverse distillation whose code and finest level shall be the same for a photo, its AugMix and its grey view.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from edge_ad.models.base import MethodParameters, Stage, TrainingBatch
from edge_ad.models.distillation.distance import level_loss
from edge_ad.models.distillation.publications import GNL
from edge_ad.models.distillation.reverse_distillation import FORMS, DistillationParameters, ReverseDistillation
from edge_ad.models.distillation.views import augmix_view, grey_view
from edge_ad.models.published import Publication

__all__ = ["Gnl", "GnlParameters", "Seen", "consistency"]

_LEVEL_WEIGHT = 0.9


class GnlParameters(DistillationParameters):
    """Parameters of GNL.

    Attributes:
        steps: Steps aimed at when ``epochs`` is 0; each sees a photo three times.
        bottleneck_weight: Of the distance of the views' codes from the photo's.
        decoder_weight: Of the distance of the views' finest level from the photo's.
    """

    publication: ClassVar[Publication | None] = GNL

    steps: int = Field(default=300, ge=1)
    bottleneck_weight: float = Field(default=0.05, ge=0, le=1000)
    decoder_weight: float = Field(default=0.05, ge=0, le=1000)


class Seen(NamedTuple):
    """What the networks make of a batch in one view.

    Attributes:
        levels: The teacher's, finest first.
        code: The bottleneck's.
        back: The student's levels.
    """

    levels: list[Tensor]
    code: Tensor
    back: list[Tensor]


def consistency(photo: Tensor, views: Sequence[Tensor]) -> Tensor:
    """Sum over views of ``1 − cos``; gradients flow into both sides, as in the authors' code.

    Args:
        photo: (N, C, h, w).
        views: The same shape each.
    """
    return torch.stack([level_loss([photo], [view]) for view in views]).sum()


class Gnl(ReverseDistillation):
    """Generalised normality learning.

    Args:
        config: Parameters.
        pretrained: Load weights into the teacher; False when a checkpoint follows.
    """

    method = "gnl"
    purpose = "reverse distillation that sees through light and style, by views of each photo"
    aliases = ()
    parameters_type: ClassVar[type[MethodParameters]] = GnlParameters
    config: GnlParameters

    def training_loss(self, batch: TrainingBatch, stage: Stage, generator: torch.Generator) -> dict[str, Tensor]:
        """``0.9·levels(photo) + 0.05·code + 0.05·finest level``."""
        photo, *views = self.all_seen(batch, generator)
        return {
            "levels": _LEVEL_WEIGHT * level_loss(photo.levels, photo.back),
            "bottleneck": self.config.bottleneck_weight * consistency(photo.code, [view.code for view in views]),
            "decoder": self.config.decoder_weight * consistency(photo.back[0], [view.back[0] for view in views]),
        }

    def all_seen(self, batch: TrainingBatch, generator: torch.Generator) -> list[Seen]:
        """The photos, their AugMix and their grey views, each with its own batch statistics."""
        levels = [self.teacher.unpack(batch.frozen), *self._levels_of_views(batch.images, generator)]
        return [Seen(each, code := self.bottleneck(each), self.student(code)) for each in levels]

    @torch.no_grad()
    def _levels_of_views(self, images: Tensor, generator: torch.Generator) -> Iterator[list[Tensor]]:
        form = FORMS[self.config.form]
        with torch.autocast(images.device.type, enabled=False):
            for view in (augmix_view(images, generator), grey_view(images, form.mean, form.deviation)):
                yield self.teacher.unmatched_levels(view)
