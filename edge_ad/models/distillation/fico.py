"""FiCo (Chen et al., "Filter or Compensate", AAAI 2025).

GNL whose student need not carry a picture's style: a compensation (DiSCo) adds it to each level behind the student,
which goes on with the level itself; and the deeper compensations learn from the finest one what style is (DiIFi).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.models.base import MethodParameters, Stage, TrainingBatch
from edge_ad.models.distillation.compensation import Compensation
from edge_ad.models.distillation.distance import level_loss
from edge_ad.models.distillation.gnl import Gnl, GnlParameters, Seen, consistency
from edge_ad.models.distillation.networks import ConvNorm
from edge_ad.models.distillation.publications import FICO
from edge_ad.models.distillation.reverse_distillation import ReverseDistillation
from edge_ad.models.published import Publication

__all__ = ["Fico", "FicoParameters", "StyleFilter"]

_LEVEL_WEIGHT = 0.9


class FicoParameters(GnlParameters):
    """Parameters of FiCo.

    Attributes:
        steps: Steps aimed at when ``epochs`` is 0; each sees a photo three times.
        compensation: Whether compensations are added to the student's levels (DiSCo).
        view_weight: Of the distance of the student's levels from the teacher's for AugMix and grey, each; the photo's
            has 1.
        filter_weight: Of the distance of the deeper compensations from what is made of the finest one (DiIFi), beside
            1 for each distance of finest levels.
    """

    publication: ClassVar[Publication | None] = FICO

    steps: int = Field(default=200, ge=1)
    compensation: bool = True
    view_weight: float = Field(default=0.05, ge=0, le=1000)
    filter_weight: float = Field(default=0.02, ge=0, le=1000)


class StyleFilter(nn.Module):
    """The finest compensation, brought to the grids and widths of the two deeper levels (DiIFi); for training alone.

    Args:
        channels: Of the levels, finest first.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        fine, middle, coarse = channels
        self.middle = ConvNorm(fine, middle, 3, stride=2)
        self.coarse = ConvNorm(middle, coarse, 3, stride=2)

    def loss(self, compensations: Sequence[Tensor]) -> Tensor:
        """Mean squared difference at the middle level plus that at the coarsest; gradients flow into both sides."""
        middle = self.middle(compensations[0])
        pairs = ((middle, compensations[1]), (self.coarse(middle), compensations[2]))
        return torch.stack([F.mse_loss(target.float(), found.float()) for target, found in pairs]).sum()


class Fico(Gnl):
    """Filter or compensate.

    Args:
        config: Parameters.
        pretrained: Load weights into the teacher; False when a checkpoint follows.
    """

    method = "fico"
    purpose = "gnl whose student is given back a picture's style behind it"
    parameters_type: ClassVar[type[MethodParameters]] = FicoParameters
    float_modules = (
        *ReverseDistillation.float_modules,
        *(f"compensations.{level}.convs.{conv}.attention" for level in range(3) for conv in range(4)),
    )
    config: FicoParameters

    def __init__(self, config: FicoParameters, *, pretrained: bool = True) -> None:
        super().__init__(config, pretrained=pretrained)
        channels = self.teacher.channels if config.compensation else ()
        self.compensations = nn.ModuleList(Compensation(count) for count in channels)
        self.style_filter = StyleFilter(channels) if config.compensation and config.filter_weight else None

    def networks(self) -> Sequence[nn.Module]:
        """What is trained."""
        more = [] if self.style_filter is None else [self.style_filter]
        return (*super().networks(), self.compensations, *more)

    def training_loss(self, batch: TrainingBatch, stage: Stage, generator: torch.Generator) -> dict[str, Tensor]:
        """GNL's, with levels of all views, and finest levels before and after the compensation."""
        config, seen = self.config, self.all_seen(batch, generator)
        lacking = [self._lacking(each.back) for each in seen]
        whole = [_added(each.back, more) for each, more in zip(seen, lacking, strict=True)]
        finest = [[levels[0] for levels in part] for part in ((each.back for each in seen), whole)]
        codes = [each.code for each in seen]
        terms = {
            "levels": _LEVEL_WEIGHT * self._level_loss(seen, whole),
            "bottleneck": config.bottleneck_weight * consistency(codes[0], codes[1:]),
            "decoder": config.decoder_weight * torch.stack([consistency(part[0], part[1:]) for part in finest]).sum(),
        }
        if self.style_filter is not None:
            losses = [self.style_filter.loss(more) for more in lacking]
            terms["filter"] = config.decoder_weight * config.filter_weight * torch.stack(losses).sum()
        return terms

    def _level_loss(self, seen: Sequence[Seen], whole: Sequence[Sequence[Tensor]]) -> Tensor:
        losses = [level_loss(each.levels, levels) for each, levels in zip(seen, whole, strict=True)]
        return losses[0] + self.config.view_weight * torch.stack(losses[1:]).sum()

    def given_back(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """The student's levels with their compensations."""
        back = super().given_back(levels)
        return _added(back, self._lacking(back))

    def _lacking(self, back: Sequence[Tensor]) -> list[Tensor]:
        """Compensation of each level; none without DiSCo."""
        return [compensate(level) for compensate, level in zip(self.compensations, back, strict=False)]


def _added(levels: Sequence[Tensor], more: Sequence[Tensor]) -> list[Tensor]:
    return [a + b for a, b in zip(levels, more, strict=True)] if more else list(levels)
