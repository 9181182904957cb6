"""SuperSimpleNet (Rolih et al., ICPR 2024, and JIM 2025): noise in areas, two heads, and labelled defects if there are.

Of labelled defects some have the place marked and others do not; the segmentation head learns from the former alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.models.base import DetectorOutput, Stage
from edge_ad.models.discriminators.classification import ClassificationHead
from edge_ad.models.discriminators.discriminator import DISCRIMINATOR, Discriminator, DiscriminatorParameters
from edge_ad.models.discriminators.labelled import LabelledMaps, TrainingMaps, defective_positions, positions_beside
from edge_ad.models.discriminators.losses import focal, masked_truncated_l1
from edge_ad.models.discriminators.perlin_areas import perlin_areas
from edge_ad.models.discriminators.publications import SUPERSIMPLENET
from edge_ad.models.discriminators.synthesis import add_noise
from edge_ad.models.published import Publication

__all__ = ["SuperSimpleNet", "SuperSimpleNetParameters"]

_LONGEST_GRADIENT = 1.0  # with labelled defects
_SHARED_SCALE = ("none", "channel", "whiten")  # standardisation that is the same at all positions


class SuperSimpleNetParameters(DiscriminatorParameters):
    """Parameters of SuperSimpleNet.

    Attributes:
        noise: Standard deviation of the noise on projected features.
        perlin_threshold: Perlin noise above it is an area of noise; a higher one makes smaller areas.
        margin: th of the truncated L1 loss.
        focus: γ of the focal losses.
        upscaling: How much finer than the features the map is: 1, or 2 as in the paper.
        classifier_width: Channels of the convolution of the classification head.
        classifier_score: The image's score is that of the classification head, as in the paper, and is taken where
            defects are labelled; otherwise ``score``.
        spared: Positions around a marked defect that are in no loss of the map, as they see part of it; with 0 all but
            what is marked is normal, as in the authors' code.
        own_mean: Marked defects have a mean of their own in the L1 loss; otherwise it is one with the areas of noise,
            among which a small defect counts for nothing.
        stop_gradient: Whether the classification loss leaves the segmentation head alone; None where no defect is
            labelled.
    """

    absent: ClassVar[Mapping[str, Any]] = {**DiscriminatorParameters.absent, "spared": 0, "own_mean": False}
    publication: ClassVar[Publication | None] = SUPERSIMPLENET
    taught: ClassVar[Mapping[str, Any]] = {"classifier_score": True}

    epochs: int = Field(default=20, ge=1)
    noise: float = Field(default=1.0, gt=0, le=100)
    perlin_threshold: float = Field(default=0.2, ge=-1, lt=1)
    margin: float = Field(default=0.5, ge=0, le=100)
    focus: float = Field(default=4.0, ge=0, le=100)
    upscaling: int = Field(default=1, ge=1, le=4)
    classifier_width: int = Field(default=32, ge=1, le=1024)
    classifier_score: bool = False
    spared: int = Field(default=1, ge=0, le=8)
    own_mean: bool = True
    stop_gradient: bool | None = None

    @model_validator(mode="after")
    def _can_be_upscaled(self) -> SuperSimpleNetParameters:
        if self.upscaling > 1 and self.standardise not in _SHARED_SCALE:
            raise ValueError(f"upscaling needs standardise out of {', '.join(_SHARED_SCALE)}, not {self.standardise}")
        return self


class SuperSimpleNet(Discriminator):
    """A segmentation head as SimpleNet's, and a classification head beside it.

    Args:
        config: Parameters.
        pretrained: Load ImageNet weights into the backbone; False when a checkpoint follows.
    """

    method = "supersimplenet"
    purpose = "learns from labelled defects too, where there are some"
    parameters_type = SuperSimpleNetParameters
    learns_from_defects: ClassVar[bool] = True
    config: SuperSimpleNetParameters

    def __init__(self, config: SuperSimpleNetParameters, *, pretrained: bool = True) -> None:
        super().__init__(config, pretrained=pretrained)
        self.classifier = ClassificationHead(self.patch_features.channels, config.classifier_width)
        self._labelled: LabelledMaps | None = None

    @property
    def map_hw(self) -> tuple[int, int]:
        """Height and width of the heads' map."""
        height, width = self.grid_hw
        return height * self.config.upscaling, width * self.config.upscaling

    @torch.no_grad()
    def fit_features(self, fit: Tensor, held_out: Tensor) -> None:
        """Fit the standardisation; what was learned, and which defects were labelled, is forgotten."""
        super().fit_features(fit, held_out)
        self._labelled = None

    @torch.no_grad()
    def fit_labelled(self, features: Tensor, masks: Tensor, has_mask: Tensor) -> None:
        """Keep labelled defects to learn from; nothing was fitted on them, so that they are seen as new photos are."""
        positions = defective_positions(masks, self.map_hw)
        spared = positions_beside(masks, positions, self.config.spared)
        self._labelled = LabelledMaps(self.head.standardisation(features), positions, spared, has_mask.float())

    def stages(self) -> Sequence[Stage]:
        """As every discriminator's; with labelled defects, gradients are shortened to a length of 1."""
        longest = 0.0 if self._labelled is None else _LONGEST_GRADIENT
        return tuple(
            replace(stage, gradient_norm=longest) if stage.name == DISCRIMINATOR else stage
            for stage in super().stages()
        )

    def start_stage(self, stage: Stage) -> list[dict[str, Any]]:
        """Adaptor, segmentation head and classification head begin together."""
        groups = super().start_stage(stage)
        self.classifier.train(stage.name == DISCRIMINATOR)
        return groups

    def fit_standardised(self, standardised: Tensor) -> None:
        """Draw the classification head."""
        self.classifier.start(self.config.seed)

    def further_parameters(self) -> list[nn.Parameter]:
        """Those of the classification head."""
        return list(self.classifier.parameters())

    def head_loss(self, standardised: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Both heads on good images, and as many labelled defects where there are some, each seen twice."""
        config, labelled = self.config, self._labelled
        maps = self._good_maps(standardised)
        if labelled is not None:
            maps = maps.joined(self._labelled_maps(labelled.draw(len(standardised), generator), standardised.device))
        maps = self._with_noise(maps.joined(maps), generator)
        logits = self._segmented(maps.features)
        has_stop = labelled is None if config.stop_gradient is None else config.stop_gradient
        scores = self.classifier(maps.features, logits.detach() if has_stop else logits)
        return self.losses(logits, scores, maps)

    def losses(self, logits: Tensor, scores: Tensor, maps: TrainingMaps) -> dict[str, Tensor]:
        """``L_seg = L1 + focal`` of positions that are known, and ``L_cls``, the focal loss of all images.

        Args:
            logits: Of positions, (N, 1, h, w).
            scores: Logits of images, (N,).
            maps: What they are of.
        """
        config = self.config
        judged = ((1 - maps.spared) * maps.has_mask[:, None, None, None]).flatten() > 0
        map_logits, masks, marked = (part.flatten()[judged] for part in (logits, maps.masks, maps.marked))
        if not config.own_mean:
            marked = torch.zeros_like(marked)
        noisy = marked == 0
        normal, anomalous = masked_truncated_l1(map_logits[noisy], masks[noisy], config.margin)
        terms = {"normal": normal, "anomalous": anomalous}
        if not bool(noisy.all()):
            terms["defective"] = masked_truncated_l1(map_logits[~noisy], masks[~noisy], config.margin)[1]
        terms["map"] = focal(map_logits, masks, config.focus)
        return {**terms, "score": focal(scores, maps.labels, config.focus)}

    def _good_maps(self, standardised: Tensor) -> TrainingMaps:
        count = len(standardised)
        nothing, ones = standardised.new_zeros(count, 1, *self.map_hw), standardised.new_ones(count)
        return TrainingMaps(self._projected(standardised), nothing, nothing, nothing, torch.zeros_like(ones), ones)

    def _labelled_maps(self, drawn: LabelledMaps, device: torch.device) -> TrainingMaps:
        standardised, masks, spared, has_mask = (part.to(device) for part in drawn)
        return TrainingMaps(self._projected(standardised), masks, masks, spared, torch.ones_like(has_mask), has_mask)

    def _projected(self, standardised: Tensor) -> Tensor:
        """(N, P, C) → u on the heads' map, (N, C, h, w)."""
        count, channels = len(standardised), standardised.shape[2]
        as_map = standardised.transpose(1, 2).reshape(count, channels, *self.grid_hw)
        finer = self._upscaled(as_map).permute(0, 2, 3, 1)
        return self.head.project(finer.flatten(0, 2)).reshape(finer.shape).permute(0, 3, 1, 2)

    def _with_noise(self, maps: TrainingMaps, generator: torch.Generator) -> TrainingMaps:
        """Add noise in areas that hold no known defect; they are defective from then on, and so is their image."""
        features = maps.features
        areas = perlin_areas(len(features), self.map_hw, self.config.perlin_threshold, generator).to(features.device)
        areas = areas * (1 - maps.masks) * (1 - maps.spared) * maps.has_mask[:, None, None, None]
        noisy = torch.where(areas > 0, add_noise(features, self.config.noise, generator), features)
        masks = torch.maximum(maps.masks, areas)
        return maps._replace(features=noisy, masks=masks, labels=torch.maximum(maps.labels, masks.amax((1, 2, 3))))

    def _segmented(self, projected: Tensor) -> Tensor:
        """Projected maps (N, C, h, w) → logits (N, 1, h, w)."""
        by_position = projected.permute(0, 2, 3, 1)
        return self.head.discriminate(by_position.flatten(0, 2)).reshape(by_position.shape[:3])[:, None]

    def _upscaled(self, features: Tensor) -> Tensor:
        """Finer by ``upscaling``, and averaged over neighbours that exist: the same before and after standardising."""
        if self.config.upscaling == 1:
            return features
        finer = F.interpolate(features, self.map_hw, mode="bilinear", align_corners=False)
        return F.avg_pool2d(finer, 3, stride=1, padding=1, count_include_pad=False)

    def score_patches(self, features: Tensor) -> Tensor:
        """Logits of the segmentation head."""
        return super().score_patches(self._upscaled(features))

    def score_features(self, features: Tensor) -> DetectorOutput:
        """The map of the segmentation head, and its maximum or what the classification head says.

        A map is shifted to have the head's score as its maximum: then the places above the threshold are those that
        the verdict is about.
        """
        if not self.config.classifier_score:
            return super().score_features(features)
        projected, logits = self.head.judge(self._upscaled(features))
        score, anomaly_map = self.classifier(projected, logits), self.map_of(logits)
        return DetectorOutput(score, anomaly_map + (score[:, None, None, None] - anomaly_map.amax((1, 2, 3), True)))
