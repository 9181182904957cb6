"""The detector contract: what every method must offer to be trained, exported and deployed by the same code."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from torch import Tensor, nn

from edge_ad.data.simulated_defects import Simulator
from edge_ad.data.splits import FEWEST_IMAGES
from edge_ad.input_size import InputSize, parse_input_size, side_lengths
from edge_ad.models.published import PUBLISHED, Publication

__all__ = ["AnomalyDetector", "DetectorOutput", "MethodParameters", "Stage", "TrainingBatch"]


class DetectorOutput(NamedTuple):
    """Output of a detector.

    Attributes:
        score: (N,) raw anomaly scores.
        anomaly_map: (N, 1, H, W), smoothed.
    """

    score: Tensor
    anomaly_map: Tensor


class TrainingBatch(NamedTuple):
    """One training batch.

    Attributes:
        images: float32 RGB (N, 3, H, W) in [0, 1]; (N, 0) for a detector that trains on features.
        frozen: Per-image results of the frozen parts, as ``frozen_outputs`` gave them, (N, ...).
        defective: The images with simulated defects, (N, 3, H, W); None for a detector without a simulator.
        masks: 1 where a defect was simulated, else 0, float32 (N, 1, H, W); None likewise.
    """

    images: Tensor
    frozen: Tensor
    defective: Tensor | None = None
    masks: Tensor | None = None


@dataclass(frozen=True)
class Stage:
    """One gradient stage of a method's training, such as EAR's and then FADeR's.

    Attributes:
        name: Name of the stage, for logs and checkpoints.
        epochs: Number of epochs; 0 lets ``steps`` and the number of images decide.
        learning_rate: Peak learning rate of the main group.
        schedule: Name of a schedule in ``edge_ad.training.schedules``.
        steps: Steps aimed at when ``epochs`` is 0.
        optimiser: ``adam``, or ``sgd`` with a momentum of 0.9.
        gradient_norm: Longer gradients are shortened to this length; 0 leaves them as they are.
    """

    name: str
    epochs: int
    learning_rate: float
    schedule: str
    steps: int = 0
    optimiser: Literal["adam", "sgd"] = "adam"
    gradient_norm: float = 0.0


class MethodParameters(BaseModel):
    """Base of a method's parameters: strict, frozen, and JSON both ways.

    Attributes:
        size: Side of the square image the network sees, or its height and width, in pixels.
        seed: Weights, subsets and the order of training follow from it.
        absent: Parameter → value that a run was trained with which does not record it, as it is older.
        presets: Name → values that belong together; see `all_presets`.
        publication: What its paper and its authors' code say; None where it is ours.
        smallest: Values of the smallest network there is, to try a training out; no figure of it means anything.
        taught: Values that are taken where defects are labelled; those that are asked for go before them.
        speeds: What may be asked for of `SPEEDS` → values, each costing more per frame and finding more than the last.
    """

    absent: ClassVar[Mapping[str, Any]] = {}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    publication: ClassVar[Publication | None] = None
    smallest: ClassVar[Mapping[str, Any]] = {}
    taught: ClassVar[Mapping[str, Any]] = {}
    speeds: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    size: Annotated[InputSize, BeforeValidator(parse_input_size)] = 256
    seed: int = Field(default=0, ge=0, lt=2**63)

    @classmethod
    def all_presets(cls) -> dict[str, Mapping[str, Any]]:
        """Name → parameters and training settings that belong together.

        ``edge`` is what is taken without a preset; ``published`` what the paper has.
        """
        published = {} if cls.publication is None else {PUBLISHED: cls.publication.preset}
        return {"edge": {}, **cls.presets, **published}

    @property
    def most_part_share(self) -> float:
        """Of what is cut out around a part, most that may be the part for ``auto`` to do so, in (0, 1]."""
        return 1.0

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the image the network sees, in pixels."""
        return side_lengths(self.size)


class AnomalyDetector(nn.Module, ABC):
    """A trainable detector.

    ``forward`` takes float RGB in [0, 1], (N, 3, H, W), and returns scores and smoothed maps; normalisation
    constants are inside, so that the deployed graph is this module and a colour conversion.
    """

    method: ClassVar[str]
    """Name by which it is trained; runs and bundles record it."""
    parameters_type: ClassVar[type[MethodParameters]]
    aliases: ClassVar[tuple[str, ...]] = ()
    """Other names by which it is found."""
    purpose: ClassVar[str] = ""
    """What it is for, in a line for somebody who chooses."""
    training_time: ClassVar[Literal["seconds", "minutes"]] = "minutes"
    """Order of it, for a hundred photos at 256 x 256 on a few CPU cores; tens of minutes are minutes."""
    continues: ClassVar[str] = ""
    """Method whose finished run it can start from: its parameters and weights are part of this one's."""
    graph_form: ClassVar[int] = 2
    """Raised when the exported graph of an unchanged run changes. 2: uint8 is cast first."""
    trains_on_features: ClassVar[bool] = False
    """Whether the gradient stages see nothing but ``frozen_outputs``. Such a detector is trained again when the
    features change, as under an INT8 backbone; its ``fit_features`` starts it anew. Nothing is mirrored for it."""
    learns_from_defects: ClassVar[bool] = False
    """Whether photos of defective parts, where some are labelled, are learned from beside those of good ones."""
    trains_backbone: ClassVar[bool] = False
    """Whether the gradient stages change the backbone. Then nothing is fitted on its features before they are over."""
    fewest_photos: ClassVar[int] = FEWEST_IMAGES
    """Different photos of good parts that it can be trained on."""
    mirrors: ClassVar[bool] = True
    """Whether training may mirror its images; not where the frozen outputs hold for the image as it is alone."""
    compiled_modules: ClassVar[tuple[str, ...]] = ()
    """Networks that training calls as a whole, and that torch.compile makes faster where that is asked for."""
    float_modules: ClassVar[tuple[str, ...]] = ()
    """Modules that judge distances or errors, where a small difference counts: they stay in float in every precision.
    Dotted names; a name stands for all inside."""
    defect_kinds: Sequence[str] = ()
    """Kinds of pseudo-defects, out of ``edge_ad.data.pseudo_defects.KINDS``, that the detector learns from."""
    defect_draws: int = 0
    """Pseudo-defects that are painted on each fitting image for ``fit_defects``."""
    simulator: Simulator | None = None
    """Simulates the defects that each epoch shows the detector anew; None for one that learns from good images."""
    config: MethodParameters

    def __init__(self, config: Any = None, *, pretrained: bool = True) -> None:
        super().__init__()

    @classmethod
    def create(cls, config: Any) -> AnomalyDetector:
        """A new detector whose frozen parts are pretrained.

        Args:
            config: An instance of ``parameters_type``.
        """
        return cls(config)

    @classmethod
    def size_multiple(cls, config: Any) -> int:
        """Pixels that height and width of the input must be multiples of.

        Args:
            config: An instance of ``parameters_type``.
        """
        return 32

    @abstractmethod
    def forward(self, images: Tensor) -> DetectorOutput:
        """Score images."""

    @property
    def backbone(self) -> nn.Module | None:
        """The frozen network whose INT8 form everything fitted must see; None when there is none.

        Maps images, float RGB (N, 3, H, W) in [0, 1], to patch features (N, C, h, w).
        """
        return None

    @property
    def views(self) -> int:
        """Views of each fitting photo, by `edge_ad.data.views.with_views`, that are fitted on beside it."""
        return 0

    @property
    def rotations(self) -> int:
        """Rotations of each fitting photo that are fitted on beside it, after its views."""
        return 0

    def fit_photos(self, photos: Tensor) -> None:
        """Fit what brings a picture to what photos of good parts have; first of all, and never again.

        Args:
            photos: The fitting photos without any view, uint8 RGB (N, 3, H, W).
        """

    def fit_features(self, fit: Tensor, held_out: Tensor) -> None:
        """Fit everything that is fitted, not trained, on backbone features of good images.

        Called before training, or after it where training changes the backbone, and again with the features of the
        quantised backbone when an INT8 graph is built.

        Args:
            fit: (N, C, h, w) features of the fitting images; those of a photo's views follow it.
            held_out: (M, C, h, w) features of the calibration images, for quantiles.
        """

    def fit_defects(self, features: Tensor, masks: Tensor) -> None:
        """Look at pseudo-defects, between ``fit_features`` and ``frozen_outputs``; once for each of ``defect_draws``.

        Args:
            features: (N, C, h, w) features of the fitting photos, each with another pseudo-defect and seen in one of
                its views.
            masks: bool (N, H, W), True where the image was changed.
        """

    def fit_labelled(self, features: Tensor, masks: Tensor, has_mask: Tensor) -> None:
        """Take labelled defects to learn from, between ``fit_features`` and ``frozen_outputs``.

        Args:
            features: (D, C, h, w) features of photos of defective parts.
            masks: bool (D, H, W), True where a defect is marked.
            has_mask: bool (D,), False where a photo is known to show a defect, and not where.
        """

    def frozen_outputs(self, images: Tensor, features: Tensor | None) -> Tensor:
        """Per-image results of the frozen parts that training reuses every epoch, (N, ...).

        Args:
            images: (N, 3, H, W).
            features: (N, C, h, w) backbone features of these images, which are the ones ``fit_features`` fitted; None
                without a backbone that is frozen.
        """
        return images.new_zeros((images.shape[0], 0))

    def stages(self) -> Sequence[Stage]:
        """The gradient stages in order; empty for methods that are only fitted."""
        return ()

    def start_stage(self, stage: Stage) -> list[dict[str, Any]]:
        """Freeze and unfreeze for a stage; return optimiser parameter groups with ``lr_scale``."""
        return [{"params": self.trainable(), "lr_scale": 1.0}]

    def trainable(self) -> list[nn.Parameter]:
        """Parameters that require a gradient now."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def training_loss(self, batch: TrainingBatch, stage: Stage, generator: torch.Generator) -> dict[str, Tensor]:
        """Named loss terms of a batch; their sum is minimised."""
        raise NotImplementedError(f"{self.method} has no gradient stage")

    def end_stage(self, stage: Stage, fit: Iterable[Tensor], held_out: Iterable[Tensor]) -> None:
        """Fit what later stages need of what this one trained; in evaluation mode, without gradients.

        Called again when a training that was stopped here goes on, with the same weights.

        Args:
            stage: That is over.
            fit: Batches of the fitting photos without their views, float RGB (N, 3, H, W) in [0, 1].
            held_out: Likewise of the calibration images; none where every photo is fitted on.
        """

    def deployed(self) -> AnomalyDetector:
        """The detector as it is exported: the same function of an image, cheaper to compute; this one by default."""
        return self

    def reconstruct(self, images: Tensor) -> Tensor | None:
        """What the method thinks normal looks like, (N, 3, H, W) in [0, 1]; None when it does not reconstruct."""
        return None
