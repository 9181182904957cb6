"""DRAEM (Zavrtanik et al., ICCV 2021): a discriminatively trained reconstruction embedding.

One network restores normal appearance; another sees restoration and image side by side and learns, from simulated
defects with exact masks, which differences matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from edge_ad.data.simulated_defects import Opacity
from edge_ad.models.base import AnomalyDetector, DetectorOutput, Stage, TrainingBatch
from edge_ad.models.draem.networks import WIDTHS, Discriminative, Reconstructive, Width, fold, unfold
from edge_ad.models.draem.simulation import SimulationParameters
from edge_ad.models.published import Publication, Stated
from edge_ad.models.similarity import ssim
from edge_ad.models.smoothing import PaddedMeanFilter

__all__ = ["Draem", "DraemParameters", "focal_loss", "windows"]

_LEAST_SIDE = 32


def focal_loss(logits: Tensor, masks: Tensor, *, focusing: float = 2.0) -> Tensor:
    """``mean −(1 − p)^γ · ln p``, p being the probability of each pixel's true class (Lin et al., 2017, α = 1).

    Args:
        logits: float32 (N, 2, H, W): normal, anomalous.
        masks: (N, 1, H, W), 1 where anomalous, else 0.
        focusing: γ, at least 0; 0 is the cross-entropy.

    Returns:
        Scalar.
    """
    classes = torch.cat([1 - masks, masks], dim=1)
    log_probability = (F.log_softmax(logits, dim=1) * classes).sum(1)
    return -((1 - log_probability.exp()).clamp_min(0) ** focusing * log_probability).mean()


def windows(parts: Sequence[Tensor], side: int, count: int, generator: torch.Generator) -> list[Tensor]:
    """The same windows, at random places, of tensors that belong together.

    A window's middle is drawn from the whole image and the window then moved inside: were the places themselves drawn
    evenly, the outermost pixels, where products differ most, would be in one window of a hundred.

    Args:
        parts: (N, C, H, W) each; C may differ.
        side: In pixels. 0, or one that is not smaller than the images, leaves them whole, once each.
        count: Windows of each image.
        generator: On the CPU; draws the places.

    Returns:
        (N · count, C, side, side) each, the windows of an image one after the other.
    """
    images, _, height, width = parts[0].shape
    if not side or side >= min(height, width):
        return list(parts)
    places = [_places(whole, side, images * count, generator) for whole in (height, width)]
    slices = [
        (slice(index // count, index // count + 1), slice(None), slice(top, top + side), slice(left, left + side))
        for index, (top, left) in enumerate(torch.stack(places, 1).tolist())
    ]
    return [torch.cat([part[where] for where in slices]) for part in parts]


def _places(whole: int, side: int, count: int, generator: torch.Generator) -> Tensor:
    """Where windows begin along one axis, (count,)."""
    middles = torch.randint(whole, (count,), generator=generator)
    return (middles - side // 2).clamp(0, whole - side)


class DraemParameters(SimulationParameters):
    """Parameters of DRAEM.

    Attributes:
        width: Size of both networks.
        opacity: Range of β, the share of the texture inside a defect: ``code`` (0.2, 1], ``slide`` [0.1, 1].
        ssim_weight: λ of the structural similarity.
        steps: Steps aimed at when ``epochs`` is 0.
    """

    smallest: ClassVar[Mapping[str, Any]] = {"width": "lean"}
    publication: ClassVar[Publication | None] = Publication(
        paper=(
            'Zavrtanik, Kristan & Skočaj, "DRAEM: A Discriminatively Trained Reconstruction Embedding for Surface '
            'Anomaly Detection", ICCV 2021'
        ),
        code="github.com/VitjanZ/DRAEM",
        values={
            "width": Stated("full", "encoder-decoder and U-Net", "128 and 64 channels at the first depth"),
            "textures": Stated(None, "DTD", "DTD", "its folder has to be named: -p textures=DTD/images"),
            "opacity": Stated("code", "[0.1, 1.0]", "(0.2, 1]", "the code's"),
            "clean_share": Stated(0.5, "", "0.5"),
            "rotation": Stated(90.0, "up to 45 degrees", "up to 90 degrees", "the code's"),
            "rotation_share": Stated(0.3, "", "0.3 of the photos"),
            "crop": Stated(0, "whole images", "whole images"),
            "ssim_weight": Stated(1.0, "λ", "1"),
            "focusing": Stated(2.0, "", "2"),
            "size": Stated(256, "256", "256"),
            "geometry": Stated("stretch", "", "the whole photo to 256 x 256"),
            "epochs": Stated(700, "700", "700"),
            "learning_rate": Stated(1e-4, "0.0001", "0.0001"),
            "schedule": Stated("step", "0.1 after 400 and 600 epochs", "0.2 after 80 % and 90 %", "the code's"),
            "batch_size": Stated(8, "8", "8"),
            "flips": Stated(False, "", "none"),
            "mixed_precision": Stated(False, "", "float32"),
            "all_photos": Stated(True, "all training photos", "all training photos"),
        },
        checked="The code of October 2021; of the paper's text section 4.1. The rest of its column is not verified.",
        remains=(
            "Turned photos are mirrored beyond their border, where the code fills black.",
            "The focal loss is the plain one; the code smooths labels and probabilities by 0.00001.",
            "SSIM has whole windows alone, where the code pads with zeros.",
        ),
    )

    width: Width = "lean"
    opacity: Opacity = "code"
    ssim_weight: float = Field(default=1.0, ge=0)
    steps: int = Field(default=1500, ge=1)


class Draem(AnomalyDetector):
    """DRAEM detector.

    Args:
        config: Parameters.
        pretrained: Whether a training follows, which needs the photographs; there are no weights to load.

    Raises:
        UsageError: The size of images or windows does not fit the networks.
        DataError: There are no photographs in ``textures``.
    """

    method = "draem"
    purpose = "learns to find and to undo defects that are simulated on your parts"
    parameters_type = DraemParameters
    compiled_modules = ("reconstructive", "discriminative")
    float_modules = ("smoothing",)
    config: DraemParameters

    def __init__(self, config: DraemParameters, *, pretrained: bool = True) -> None:
        super().__init__()
        self.config = config
        spec = WIDTHS[config.width]
        config.check_sizes(self.size_multiple(config), _LEAST_SIDE)
        self.block = spec.block
        self.reconstructive = Reconstructive(spec)
        self.discriminative = Discriminative(spec)
        self.smoothing = PaddedMeanFilter()
        if pretrained:
            self.simulator = config.defects(config.opacity)

    @classmethod
    def size_multiple(cls, config: DraemParameters) -> int:
        """What the discriminative network halves, and the blocks divide."""
        spec = WIDTHS[config.width]
        return int(spec.block * 2 ** (len(spec.discriminative) - 1))

    def stages(self) -> Sequence[Stage]:
        """One stage: both networks together."""
        config = self.config
        return (Stage("draem", config.epochs, config.learning_rate, config.schedule, config.steps),)

    def start_stage(self, stage: Stage) -> list[dict[str, object]]:
        """Train both networks."""
        self.train().requires_grad_(True)
        return [{"params": self.trainable(), "lr_scale": 1.0}]

    def training_loss(self, batch: TrainingBatch, stage: Stage, generator: torch.Generator) -> dict[str, Tensor]:
        """L2 + λ·SSIM between the reconstruction of the defective image and the good one, and the focal loss."""
        assert batch.defective is not None
        assert batch.masks is not None
        parts = windows((batch.images, batch.defective, batch.masks), self.config.crop, self.config.crops, generator)
        images, defective, masks = parts
        blocks = fold(defective, self.block)
        restored = self.reconstructive(blocks)
        logits = unfold(self.discriminative(restored, blocks), self.block).float()
        reconstruction = unfold(restored, self.block).float()
        with torch.autocast(images.device.type, enabled=False):
            return {
                "l2": F.mse_loss(reconstruction, images),
                "ssim": self.config.ssim_weight * (1 - ssim(reconstruction, images)).mean(),
                "focal": focal_loss(logits, masks, focusing=self.config.focusing),
            }

    def forward(self, images: Tensor) -> DetectorOutput:
        """Map: the probability of the anomalous class. Score: the maximum of its 21×21 average."""
        blocks = fold(images, self.block)
        logits = self.discriminative(self.reconstructive(blocks), blocks)
        classes = logits.shape[1] // 2
        # Softmax over two classes is the sigmoid of their difference; pixels come last, over full channels.
        probability = unfold(torch.sigmoid(logits[:, classes:] - logits[:, :classes]), self.block)
        return DetectorOutput(self.smoothing(probability).amax((1, 2, 3)), probability)

    def reconstruct(self, images: Tensor) -> Tensor:
        """What normal would look like here, (N, 3, H, W) in [0, 1]."""
        return unfold(self.reconstructive(fold(images, self.block)), self.block).clamp(0, 1)
