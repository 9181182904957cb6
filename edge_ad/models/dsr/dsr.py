"""DSR (Zavrtanik et al., ECCV 2022): anomalies made in a quantised space teach two decoders to disagree where one is.

An autoencoder learns a quantised space of appearance. One decoder gives any of its codes back as an image; another,
behind networks that lead codes back to those of good parts, gives back good parts alone. A third network learns from
anomalies that were made of codes, not of pixels, where the two images differ because of a defect.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from edge_ad.errors import UsageError
from edge_ad.models.base import AnomalyDetector, DetectorOutput, Stage, TrainingBatch
from edge_ad.models.draem.draem import focal_loss, windows
from edge_ad.models.draem.simulation import SimulationParameters
from edge_ad.models.dsr.autoencoder import LEADING_TO_CODES
from edge_ad.models.dsr.networks import FORMS, Form, SegmentationUNet
from edge_ad.models.dsr.pretrained import load_quantiser
from edge_ad.models.dsr.publication import PUBLICATION
from edge_ad.models.dsr.quantisation import with_fixed_codes
from edge_ad.models.dsr.samples import UPSAMPLING, StageSimulator
from edge_ad.models.dsr.subspaces import QUANTISER, SUBSPACES, Comparison, DualSubspaceNetwork, LossWeights
from edge_ad.models.published import Publication
from edge_ad.models.smoothing import PaddedMeanFilter

__all__ = ["Dsr", "DsrParameters"]

_MULTIPLE = 32
_LEAST_SIDE = 64


class DsrParameters(SimulationParameters):
    """Parameters of DSR. ``textures`` are for the autoencoder's stage, ``epochs`` for the one after it.

    Attributes:
        form: Size of all networks.
        quantiser: File with a trained autoencoder in its authors' names, for ``published``; None trains one on the
            photos with simulated defects.
        strength: Smallest anomaly strength λs; the largest is 1.
        image_weight: Of the squared error of the object-specific image.
        quantiser_epochs: Epochs of the autoencoder; 0 lets the number of images decide, about ``quantiser_steps``.
        quantiser_steps: Steps aimed at when ``quantiser_epochs`` is 0.
        steps: Steps of restriction, object-specific decoder and detection that are aimed at when ``epochs`` is 0.
        upsampling_epochs: Epochs of the upsampling module; 0 likewise.
        upsampling_steps: Steps aimed at when ``upsampling_epochs`` is 0.
    """

    publication: ClassVar[Publication | None] = PUBLICATION

    form: Form = "edge"
    quantiser: str | None = None
    strength: float = Field(default=0.2, ge=0.05, lt=1)
    image_weight: float = Field(default=10.0, ge=0)
    quantiser_epochs: int = Field(default=0, ge=0)
    quantiser_steps: int = Field(default=500, ge=1)
    steps: int = Field(default=800, ge=1)
    upsampling_epochs: int = Field(default=0, ge=0)
    upsampling_steps: int = Field(default=200, ge=1)


class Dsr(AnomalyDetector):
    """DSR detector.

    Args:
        config: Parameters.
        pretrained: Whether a training follows, which needs the photographs and the autoencoder of ``quantiser``.

    Raises:
        UsageError: The size of images or windows does not fit the networks, or ``quantiser`` needs another form.
        CheckpointError: ``quantiser`` cannot be read, or belongs to another architecture.
        DataError: There are no photographs in ``textures``.
    """

    method = "dsr"
    purpose = "learns from anomalies that are made in a quantised space, and to undo them"
    parameters_type = DsrParameters
    # Before a codebook a small difference is another code: all but decoders and comparisons of them stays in float.
    float_modules = (
        *(f"network.autoencoder.{part}" for part in LEADING_TO_CODES),
        "network.restrict_coarse",
        "network.restrict_fine",
        "smoothing",
    )
    config: DsrParameters

    def __init__(self, config: DsrParameters, *, pretrained: bool = True) -> None:
        super().__init__()
        self.config = config
        config.check_sizes(_MULTIPLE, _LEAST_SIDE)
        self.network = DualSubspaceNetwork(FORMS[config.form])
        self.upsampling = SegmentationUNet(8, FORMS[config.form])
        self.smoothing = PaddedMeanFilter()
        self.weights = LossWeights(config.image_weight, config.focusing)
        if pretrained:
            self._prepare()

    def _prepare(self) -> None:
        """Read what a training needs."""
        config = self.config
        if config.quantiser is not None:
            if config.form != "published":
                raise UsageError("Only the published form takes a trained quantiser.", "Add form=published.")
            load_quantiser(self.network.autoencoder, Path(config.quantiser))
        self.simulator = StageSimulator(config.defects(), tuple(stage.name for stage in self.stages()))

    @classmethod
    def size_multiple(cls, config: DsrParameters) -> int:
        """What the networks halve, and the blocks divide."""
        return _MULTIPLE

    def stages(self) -> Sequence[Stage]:
        """The autoencoder, where none was given; then all that reads its codes; then the upsampling module."""
        config = self.config
        rate, schedule = config.learning_rate, config.schedule
        first = Stage(QUANTISER, config.quantiser_epochs, rate, schedule, config.quantiser_steps)
        rest = (
            Stage(SUBSPACES, config.epochs, rate, schedule, config.steps),
            Stage(UPSAMPLING, config.upsampling_epochs, rate, schedule, config.upsampling_steps),
        )
        return rest if config.quantiser is not None else (first, *rest)

    def start_stage(self, stage: Stage) -> list[dict[str, object]]:
        """Train what belongs to the stage, nothing else."""
        self.eval().requires_grad_(False)
        if stage.name == UPSAMPLING:
            self.upsampling.train().requires_grad_(True)
        else:
            self.network.start_stage(stage.name)
        return [{"params": self.trainable(), "lr_scale": 1.0}]

    def training_loss(self, batch: TrainingBatch, stage: Stage, generator: torch.Generator) -> dict[str, Tensor]:
        """The terms of the stage's loss on windows of the batch."""
        assert batch.defective is not None
        assert batch.masks is not None
        parts = windows((batch.images, batch.defective, batch.masks), self.config.crop, self.config.crops, generator)
        images, defective, masks = parts
        if stage.name == QUANTISER:
            return self.network.quantiser_loss(defective, generator)
        if stage.name == SUBSPACES:
            return self.network.subspace_loss(images, masks, self.config.strength, self.weights, generator)
        with torch.no_grad():
            found = self.network(defective)
        refined = self._refine(found, _probability(found.logits)).float()
        return {"focal": focal_loss(refined, masks, focusing=self.config.focusing)}

    def forward(self, images: Tensor) -> DetectorOutput:
        """Map: the upsampling module's probability. Score: the maximum of the detection module's 21×21 average."""
        found = self.network(images)
        detected = _probability(found.logits)
        refined = _probability(self._refine(found, detected))
        return DetectorOutput(self.smoothing(detected).amax((1, 2, 3)), refined)

    def _refine(self, found: Comparison, detected: Tensor) -> Tensor:
        """Logits of the upsampling module, (N, 2, H, W)."""
        logits: Tensor = self.upsampling(found.specific, found.general, torch.cat([1 - detected, detected], 1))
        return logits

    def deployed(self) -> Dsr:
        """With codes that no training moves any more."""
        return with_fixed_codes(self)

    def reconstruct(self, images: Tensor) -> Tensor:
        """What normal would look like here, (N, 3, H, W) in [0, 1]."""
        autoencoder = self.network.autoencoder
        image: Tensor = self.network.specific(self.network.restrict(autoencoder.encode(images)[1]))
        return image.clamp(0, 1)


def _probability(logits: Tensor) -> Tensor:
    """Of the anomalous class, (N, 1, H, W): softmax over two classes is the sigmoid of their difference."""
    return torch.sigmoid(logits[:, 1:] - logits[:, :1])
