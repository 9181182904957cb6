"""MSFlow (Zhou et al., "MSFlow: Multi-Scale Flow-based Framework for Unsupervised Anomaly Detection", TNNLS 2024).

A flow maps the levels of a frozen backbone to a standard normal, and is trained to make good parts likely. Where a part
is unlikely, on one scale or on all together, something is wrong with it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from edge_ad.input_size import check_input_size
from edge_ad.models.backbones import BACKBONES, BackboneName
from edge_ad.models.base import AnomalyDetector, DetectorOutput, MethodParameters, Stage, TrainingBatch
from edge_ad.models.distillation.teacher import STRIDES
from edge_ad.models.msflow.deployed import FoldedFlow
from edge_ad.models.msflow.flows import MultiScaleFlow, negative_log_likelihood, with_noise
from edge_ad.models.msflow.levels import POOLED_STRIDES, PooledLevels
from edge_ad.models.msflow.likelihood import LikelihoodMap, Reference, Score, log_likelihood
from edge_ad.models.msflow.publication import MSFLOW
from edge_ad.models.msflow.standardisation import ScaleStandardisation
from edge_ad.models.picture_normalisation import InputNormalisation
from edge_ad.models.published import Publication

__all__ = ["MsFlow", "MsFlowParameters"]

_LEAST_SIDE = 64
_BATCH = 8


class MsFlowParameters(MethodParameters):
    """Parameters of MSFlow.

    Attributes:
        backbone: The frozen network; it needs levels at strides 4, 8 and 16.
        weights: Its weights: ``imagenet``, ``random`` (untrained, for tests of shapes), or the path of a state dict.
        blocks: Blocks of the flows along the three scales, the finest first. A command line gives ``2,5,8``.
        condition: Channels of the code that tells a flow the position, a multiple of 4.
        clamp: Largest logarithm of the factor by which a block scales a feature.
        standardise: Bring the channels of each scale to mean 0 and deviation 1 before the flows.
        noise: Deviation of the noise that training adds to what the flow sees.
        reference: What is normal: the likeliest places of held-out good ``photos``, or of the same ``picture``.
        score: ``product``: mean of the highest of the scales' product, as published; ``map``: maximum of the map.
        top_share: Share of the places, the unlikeliest, that the score ``product`` is the mean of.
        sigma: Smoothing of the map, pixels.
        epochs: Epochs; 0 lets the number of images decide (about ``steps`` steps).
        steps: Steps aimed at when ``epochs`` is 0.
        learning_rate: Peak learning rate.
        schedule: Name of a schedule in ``edge_ad.training.schedules``.
        gradient_norm: Longer gradients are shortened to this length.
        input_normalisation: ``picture``: light and contrast of each picture are brought to those of the photos.
        views: Views of each photo, as the line may take it on another day, that are learned beside it.
    """

    publication: ClassVar[Publication | None] = MSFLOW

    backbone: BackboneName = "efficientnet-lite0"
    weights: str = Field(default="imagenet", min_length=1)
    blocks: tuple[int, int, int] = (2, 5, 8)
    condition: int = Field(default=16, ge=4, le=1024, multiple_of=4)
    clamp: float = Field(default=1.9, gt=0, le=10)
    standardise: bool = True
    noise: float = Field(default=0.3, ge=0, le=10)
    reference: Reference = "photos"
    score: Score = "product"
    top_share: float = Field(default=0.03, gt=0, le=1)
    sigma: float = Field(default=4.0, ge=0.1, le=64)
    epochs: int = Field(default=0, ge=0)
    steps: int = Field(default=300, ge=1)
    learning_rate: float = Field(default=3e-3, gt=0, le=1)
    schedule: Literal["one-cycle", "fixed", "warm-up", "sgdr", "step", "warm-up-step"] = "one-cycle"
    gradient_norm: float = Field(default=2.0, gt=0)
    input_normalisation: InputNormalisation = "none"
    views: int = Field(default=0, ge=0, le=16)

    @field_validator("backbone")
    @classmethod
    def _has_levels(cls, backbone: BackboneName) -> BackboneName:
        if not set(STRIDES) <= BACKBONES[backbone].level_channels.keys():
            raise ValueError(f"{backbone} has no levels at strides 4, 8 and 16")
        return backbone

    @field_validator("blocks", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return value.strip("()[] ").split(",") if isinstance(value, str) else value

    @field_validator("blocks")
    @classmethod
    def _positive(cls, blocks: tuple[int, int, int]) -> tuple[int, int, int]:
        if not all(1 <= count <= 64 for count in blocks):
            raise ValueError("each scale has 1 to 64 blocks")
        return blocks


class MsFlow(AnomalyDetector):
    """MSFlow.

    Args:
        config: Parameters.
        pretrained: Load weights into the backbone; False when a checkpoint follows.

    Raises:
        UsageError: The image size does not fit.
    """

    method = "msflow"
    purpose = "a normalising flow: how likely the features of each place are, on three scales"
    parameters_type = MsFlowParameters
    trains_on_features: ClassVar[bool] = True
    float_modules: ClassVar[tuple[str, ...]] = ("likelihood",)
    mirrors = False
    config: MsFlowParameters

    def __init__(self, config: MsFlowParameters, *, pretrained: bool = True) -> None:
        super().__init__()
        check_input_size(config.size, self.size_multiple(config), _LEAST_SIDE)
        self.config = config
        self.levels = PooledLevels(
            config.backbone, config.weights if pretrained else None, config.seed, size_hw=config.size_hw
        )
        self.levels.resist_shifts(config.input_normalisation, "none", size_hw=config.size_hw, share=1.0)
        self.standardisation = ScaleStandardisation(self.levels.channels)
        self.flow: MultiScaleFlow | FoldedFlow = self._new_flow()
        self.likelihood = LikelihoodMap(
            config.size_hw,
            POOLED_STRIDES,
            sigma=config.sigma,
            top_share=config.top_share,
            reference=config.reference,
            score=config.score,
        )
        self._held_out: Tensor | None = None
        self.requires_grad_(False)

    def _new_flow(self) -> MultiScaleFlow:
        """With the weights and permutations of the seed."""
        config, grids = self.config, self.levels.grids_hw
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            return MultiScaleFlow(
                self.levels.channels, grids, blocks=config.blocks, condition=config.condition, clamp=config.clamp
            )

    @property
    def backbone(self) -> nn.Module | None:
        """The frozen network, with its pooled levels packed."""
        return self.levels

    @property
    def views(self) -> int:
        """As the parameters say."""
        return self.config.views

    def fit_photos(self, photos: Tensor) -> None:
        """Fit what brings a picture to what photos have."""
        self.levels.fit_photos(photos)

    @torch.no_grad()
    def fit_features(self, fit: Tensor, held_out: Tensor) -> None:
        """Fit the standardisation and start the flow anew; the held-out photos are for `end_stage`."""
        self.flow.load_state_dict(self._new_flow().state_dict())
        self._held_out = held_out if len(held_out) else fit
        if self.config.standardise:
            self.standardisation.fit(self.levels.unpack(fit))

    def frozen_outputs(self, images: Tensor, features: Tensor | None) -> Tensor:
        """The packed levels of the fitting images."""
        assert features is not None
        return features

    def stages(self) -> Sequence[Stage]:
        """One stage: the flow."""
        config = self.config
        return (
            Stage(
                self.method,
                config.epochs,
                config.learning_rate,
                config.schedule,
                config.steps,
                gradient_norm=config.gradient_norm,
            ),
        )

    def start_stage(self, stage: Stage) -> list[dict[str, Any]]:
        """Train the flow, nothing else."""
        self.eval().requires_grad_(False)
        self.flow.train().requires_grad_(True)
        return [{"params": self.trainable(), "lr_scale": 1.0}]

    def training_loss(self, batch: TrainingBatch, stage: Stage, generator: torch.Generator) -> dict[str, Tensor]:
        """Mean over images of ``½ Σ z² − log |det J|``, of features with noise."""
        scales = self.standardisation(self.levels.unpack(batch.frozen))
        return {"nll": negative_log_likelihood(self.flow(with_noise(scales, self.config.noise, generator)))}

    def _log_likelihoods(self, levels: Sequence[Tensor]) -> list[Tensor]:
        return [log_likelihood(z) for z in self.flow(self.standardisation(levels)).scales]

    @torch.no_grad()
    def end_stage(self, stage: Stage, fit: Iterable[Tensor], held_out: Iterable[Tensor]) -> None:
        """Take what is normal from the held-out features that `fit_features` was given; no photo is looked at."""
        assert self._held_out is not None
        features, self._held_out = self._held_out, None
        device = self.likelihood.get_buffer("likeliest").device
        parts = (part.to(device) for part in torch.split(features, _BATCH))
        self.likelihood.fit([self._log_likelihoods(self.levels.unpack(part)) for part in parts])

    def deployed(self) -> AnomalyDetector:
        """With its flow folded."""
        deployed = copy.deepcopy(self)
        assert isinstance(deployed.flow, MultiScaleFlow)
        deployed.flow = FoldedFlow(deployed.flow).eval()
        return deployed

    def forward(self, images: Tensor) -> DetectorOutput:
        """Map: sum of the scales' unlikelihoods; score: its maximum, or the mean of the highest of their product's."""
        output: DetectorOutput = self.likelihood(self._log_likelihoods(self.levels.unpack(self.levels(images))))
        return output
