"""Reverse distillation (Deng & Li, "Anomaly Detection via Reverse Distillation from One-Class Embedding", CVPR 2022).

A frozen teacher's levels go through a bottleneck, and a student gives them back. It has seen good images alone: where a
part is not as they are, teacher and student differ.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from edge_ad.input_size import check_input_size
from edge_ad.models.backbones import BackboneName
from edge_ad.models.base import AnomalyDetector, DetectorOutput, MethodParameters, Stage, TrainingBatch
from edge_ad.models.distillation.distance import CosineMap, level_loss
from edge_ad.models.distillation.networks import Bottleneck, Student, fold_norms
from edge_ad.models.distillation.publications import REVERSE_DISTILLATION
from edge_ad.models.distillation.teacher import STRIDES, Matching, Teacher
from edge_ad.models.picture_normalisation import InputNormalisation
from edge_ad.models.published import Publication

__all__ = [
    "FORMS",
    "DistillationParameters",
    "Form",
    "FormName",
    "ReverseDistillation",
    "ReverseDistillationParameters",
]

FormName = Literal["edge", "published"]
Schedule = Literal["one-cycle", "fixed", "warm-up", "sgdr", "step"]
_LEAST_SIDE = 64
_BETAS = (0.5, 0.999)


class Form(NamedTuple):
    """A teacher and the depth of its student.

    Attributes:
        backbone: The teacher.
        bottleneck: Residual blocks of the bottleneck.
        student: Residual blocks of the student's stages, the coarsest level first.
        activated: Whether the teacher's levels end with a ReLU, and so the student's.
        mean: Of R, G and B, which the teacher subtracts.
        deviation: Of R, G and B, which it divides by.
    """

    backbone: BackboneName
    bottleneck: int
    student: tuple[int, int, int]
    activated: bool
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]


FORMS: dict[FormName, Form] = {
    "edge": Form("efficientnet-lite0", 2, (2, 2, 2), False, (127 / 255,) * 3, (128 / 255,) * 3),
    "published": Form("wide-resnet50", 3, (3, 4, 6), True, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


class DistillationParameters(MethodParameters):
    """Parameters of every student of a frozen teacher.

    Attributes:
        form: ``edge``: EfficientNet-Lite0 and a student of its widths; ``published``: WideResNet-50 and its mirror.
        weights: The teacher's: ``imagenet``, ``random`` (untrained, for tests of shapes), or the path of a state dict.
        sigma: Smoothing of the map, pixels.
        epochs: Epochs; 0 lets the number of images decide (about ``steps`` steps).
        steps: Steps aimed at when ``epochs`` is 0.
        learning_rate: Peak learning rate.
        schedule: Name of a schedule in ``edge_ad.training.schedules``.
        matching: Of the teacher's levels at strides 4 and 8 to those of the photos, in the deployed network alone: of
            their ``moments``, of their distribution by ``counts``, by sorting (``exact``; no TensorRT), or ``none``.
        matching_share: Of the photos in what is matched.
        input_normalisation: ``picture``: light and contrast of each picture are brought to those of the photos.
        views: Views of each photo, as the line may take it on another day, that are learned beside it.
    """

    form: FormName = "edge"
    weights: str = Field(default="imagenet", min_length=1)
    sigma: float = Field(default=4.0, ge=0.1, le=64)
    epochs: int = Field(default=0, ge=0)
    steps: int = Field(default=1000, ge=1)
    learning_rate: float = Field(default=5e-3, gt=0, le=1)
    schedule: Schedule = "one-cycle"
    matching: Matching = "none"
    matching_share: float = Field(default=0.5, gt=0, le=1)
    input_normalisation: InputNormalisation = "none"
    views: int = Field(default=0, ge=0, le=16)


class ReverseDistillationParameters(DistillationParameters):
    """Parameters of reverse distillation."""

    publication: ClassVar[Publication | None] = REVERSE_DISTILLATION


class ReverseDistillation(AnomalyDetector):
    """Reverse distillation.

    Args:
        config: Parameters.
        pretrained: Load weights into the teacher; False when a checkpoint follows.

    Raises:
        UsageError: The image size does not fit.
    """

    method = "reverse-distillation"
    purpose = "a student network that restores the features of a frozen teacher"
    aliases: ClassVar[tuple[str, ...]] = ("rd4ad",)
    parameters_type: ClassVar[type[MethodParameters]] = ReverseDistillationParameters
    float_modules: ClassVar[tuple[str, ...]] = ("cosine_map", "teacher.normalisation", "teacher.network.matching")
    compiled_modules: ClassVar[tuple[str, ...]] = ("bottleneck", "student")
    mirrors = False
    config: DistillationParameters

    def __init__(self, config: DistillationParameters, *, pretrained: bool = True) -> None:
        super().__init__()
        check_input_size(config.size, self.size_multiple(config), _LEAST_SIDE)
        self.config, form = config, FORMS[config.form]
        self.teacher = Teacher(form.backbone, config.weights if pretrained else None, config.seed)
        self.teacher.resist_shifts(
            config.input_normalisation, config.matching, size_hw=config.size_hw, share=config.matching_share
        )
        channels = self.teacher.channels
        self.bottleneck = Bottleneck(channels, form.bottleneck)
        self.student = Student(self.bottleneck.outputs, channels, form.student, activated=form.activated)
        self.cosine_map = CosineMap(config.size_hw, STRIDES, config.sigma)

    @property
    def backbone(self) -> nn.Module | None:
        """The teacher, with its levels packed."""
        return self.teacher

    @property
    def views(self) -> int:
        """As the parameters say."""
        return self.config.views

    def fit_photos(self, photos: Tensor) -> None:
        """Fit what brings a picture, or its levels, to what photos have."""
        self.teacher.fit_photos(photos)

    def frozen_outputs(self, images: Tensor, features: Tensor | None) -> Tensor:
        """The packed levels of the fitting images."""
        assert features is not None
        return features

    def stages(self) -> Sequence[Stage]:
        """One stage: bottleneck and student together."""
        config = self.config
        return (Stage(self.method, config.epochs, config.learning_rate, config.schedule, config.steps),)

    def start_stage(self, stage: Stage) -> list[dict[str, Any]]:
        """Train all but the teacher, with the moments of Adam that the authors take."""
        self.eval().requires_grad_(False)
        for network in self.networks():
            network.train().requires_grad_(True)
        return [{"params": self.trainable(), "lr_scale": 1.0, "betas": _BETAS}]

    def networks(self) -> Sequence[nn.Module]:
        """What is trained."""
        return (self.bottleneck, self.student)

    def training_loss(self, batch: TrainingBatch, stage: Stage, generator: torch.Generator) -> dict[str, Tensor]:
        """Distance of the student's levels from the teacher's, as `level_loss`."""
        levels = self.teacher.unpack(batch.frozen)
        return {"levels": level_loss(levels, self.student(self.bottleneck(levels)))}

    def forward(self, images: Tensor) -> DetectorOutput:
        """Map: sum over levels of ``1 − cos``, smoothed; score: its maximum."""
        levels = self.teacher.levels(images)
        anomaly_map = self.cosine_map(levels, self.given_back(levels))
        return DetectorOutput(anomaly_map.amax((1, 2, 3)), anomaly_map)

    def given_back(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """What the student gives back for the teacher's levels."""
        levels_back: list[Tensor] = self.student(self.bottleneck(levels))
        return levels_back

    def deployed(self) -> AnomalyDetector:
        """With its batch norms folded into the convolutions."""
        deployed = copy.deepcopy(self)
        fold_norms(deployed)
        return deployed
