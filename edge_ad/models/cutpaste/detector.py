"""CutPaste (Li et al., CVPR 2021) as one network with a map.

The paper trains a network on whole images for detection, and another on crops for localisation, CutPaste-patch, whose
crops it scores one by one with a stride. Here both are one network that is run once. A window's embedding is the
feature map averaged over the window: that of a crop whose surroundings the convolutions see, instead of the zeros that
pad a crop, and so exactly that of a larger crop with the receptive field around it. So that such windows are what
training sees, a second classifier is trained on the windows of the whole images: normal, or with a part of a rectangle
or scar inside. The image's embedding is the mean of its windows', global average pooling. Each embedding has a Gaussian
with Ledoit-Wolf shrinkage: one of the image, and one of the windows, with a mean for each position.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.models.base import DetectorOutput, Stage, TrainingBatch
from edge_ad.models.cutpaste.mahalanobis import Mahalanobis
from edge_ad.models.cutpaste.patches import draw_rectangle, draw_scar, jitter_colour, paste
from edge_ad.models.feature_detector import FeatureDetector, FeatureParameters
from edge_ad.models.published import Publication, Stated

__all__ = [
    "CLASSES",
    "IGNORED",
    "CutPaste",
    "CutPasteParameters",
    "Views",
    "balanced_cross_entropy",
    "make_views",
    "window_labels",
]

CLASSES = ("normal", "rectangle", "scar")
IGNORED = -100

Views = tuple[Tensor, Tensor, Tensor]
"""Images (3N, 3, H, W); their classes, int64 (3N,); bool (3N, 1, H, W) masks of what was pasted."""
_SMALLEST_UNIT = 1e-6  # images that are all the same have no distance


@torch.no_grad()
def make_views(images: Tensor, jitter: float, generator: torch.Generator) -> Views:
    """Each image as it is, with a rectangle and with a scar.

    Args:
        images: (N, 3, H, W) in [0, 1].
        jitter: Strength of the colour jitter of what is pasted.
        generator: On the CPU; all follows from it.
    """
    size_hw = (images.shape[2], images.shape[3])
    views, masks = [images], [torch.zeros_like(images[:, :1], dtype=torch.bool)]
    for draw in (draw_rectangle, draw_scar):
        patches = [draw(size_hw, generator) for _ in images]
        view, mask = paste(images, patches, lambda content: jitter_colour(content, jitter, generator))
        views.append(view)
        masks.append(mask)
    classes = torch.arange(len(CLASSES), device=images.device).repeat_interleave(len(images))
    return torch.cat(views), classes, torch.cat(masks)


def window_labels(classes: Tensor, masks: Tensor, grid_hw: tuple[int, int], neighbourhood: int) -> Tensor:
    """Class of each window of feature cells.

    It is that of the image where something was pasted into the window's middle cell, normal where nothing was pasted
    into any of its cells, and ``IGNORED`` between.

    Args:
        classes: int64 (N,).
        masks: bool (N, 1, H, W).
        grid_hw: Cells, and so windows; they divide H and W.
        neighbourhood: Side of a window in cells, odd.

    Returns:
        int64 (N, h, w).
    """
    stride = masks.shape[2] // grid_hw[0]
    cells = F.max_pool2d(masks.float(), stride)
    touched = F.max_pool2d(cells, neighbourhood, 1, neighbourhood // 2)
    labels = torch.where(cells > 0, classes[:, None, None, None], torch.where(touched > 0, IGNORED, 0))
    return labels.squeeze(1)


def balanced_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the classes that occur of each one's mean cross-entropy: few windows are pasted on.

    Args:
        logits: (M, K).
        labels: int64 (M,); ``IGNORED`` ones do not count. At least one does.
    """
    losses = F.cross_entropy(logits, labels, reduction="none", ignore_index=IGNORED)
    present = [labels == kind for kind in range(logits.shape[1])]
    return torch.stack([losses[chosen].mean() for chosen in present if bool(chosen.any())]).mean()


class CutPasteParameters(FeatureParameters):
    """Parameters of CutPaste.

    Attributes:
        feature_centring: None: the mean of a feature over the image is what the image's embedding is.
        matching: None: the backbone is trained, and what it was fitted on changes with it.
        hidden: Hidden units of the classifiers.
        jitter: Colour jitter of what is pasted; 0 leaves it out.
        window_weight: Weight of the classification of windows; 0 leaves it out.
        head_steps: Steps aimed at with the backbone frozen, when ``head_epochs`` is 0.
        head_epochs: Epochs with the backbone frozen; 0 lets ``head_steps`` and the number of images decide.
        steps: Steps aimed at with the backbone trained, when ``epochs`` is 0.
        epochs: Epochs with the backbone trained; 0 lets ``steps`` and the number of images decide.
        learning_rate: Peak learning rate of the classifiers.
        optimiser: ``adam``, or ``sgd`` with a momentum of 0.9 as the paper.
        weight_decay: L2 term of the loss.
        backbone_scale: Learning rate of the backbone over that of the classifiers.
        schedule: Name of a schedule in ``edge_ad.training.schedules``.
        score: ``image``: distance of the image's embedding; ``map``: maximum of the map.
    """

    publication: ClassVar[Publication | None] = Publication(
        paper='Li et al., "CutPaste: Self-Supervised Learning for Anomaly Detection and Localization", CVPR 2021',
        code="",
        values={
            "backbone": Stated("resnet18", "ResNet-18"),
            "weights": Stated("imagenet", "from scratch", "", "batch norms are folded in: no other start"),
            "levels": Stated((32,), "the last level, 512 wide"),
            "neighbourhood": Stated(1, "the image as a whole"),
            "window_weight": Stated(0.0, "one classifier, of images"),
            "jitter": Stated(0.1, "0.1"),
            "score": Stated("image", "distance of the image's embedding"),
            "size": Stated(256, "256"),
            "geometry": Stated("stretch", "", "", "not said"),
            "epochs": Stated(0, "256 of 256 steps each", "", "an epoch here has each photo once: the steps decide"),
            "steps": Stated(65536, "65k"),
            "head_epochs": Stated(1, "all is trained from the start", "", "the fewest there are"),
            "optimiser": Stated("sgd", "SGD, momentum 0.9"),
            "learning_rate": Stated(0.03, "0.03"),
            "backbone_scale": Stated(1.0, "one rate for all"),
            "weight_decay": Stated(3e-5, "0.00003"),
            "schedule": Stated("one-cycle", "a single cosine", "", "after a tenth of warm-up"),
            "batch_size": Stated(32, "96 of three classes", "", "photos, each of which is seen in three classes"),
            "flips": Stated(False, "", "", "not said"),
            "mixed_precision": Stated(False, "", "", "not said"),
            "all_photos": Stated(True, "all training photos"),
        },
        checked="The paper, arXiv 2104.04015v1, section A.",
        remains=(
            "Photos are not shifted or jittered in colour before anything is pasted.",
            "From ImageNet's weights the paper trains an EfficientNet-B4 alone, at 0.0001 after 10 epochs of the head. "
            "Whether 0.03 suits this start is not tried: 65,536 steps are for a GPU.",
            "Maps are of the same network, run once; the paper localises with a second one, trained on crops.",
            "The batch norms of the backbone stay as ImageNet left them.",
        ),
    )

    feature_centring: Literal[False] = False
    matching: Literal["none"] = "none"
    hidden: int = Field(default=128, ge=1, le=4096)
    jitter: float = Field(default=0.1, ge=0, le=0.5)
    window_weight: float = Field(default=1.0, ge=0, le=1000)
    head_steps: int = Field(default=100, ge=1)
    head_epochs: int = Field(default=0, ge=0)
    steps: int = Field(default=500, ge=1)
    epochs: int = Field(default=0, ge=0)
    learning_rate: float = Field(default=1e-3, gt=0, le=1)
    optimiser: Literal["adam", "sgd"] = "adam"
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    backbone_scale: float = Field(default=0.1, gt=0, le=10)
    schedule: str = "one-cycle"
    score: Literal["image", "map"] = "image"


class CutPaste(FeatureDetector):
    """Mahalanobis distance of embeddings that tell pasted patches from what belongs there.

    Both distances are in units of what held-out good images have, the image's of their mean and the map's of their
    mean maximum, so that a threshold on the score is one for the map too.

    Args:
        config: Parameters.
        pretrained: Load weights into the backbone; False when a checkpoint follows.
    """

    method = "cutpaste"
    purpose = "learns to tell pasted pieces of the photo from what belongs there"
    parameters_type = CutPasteParameters
    float_modules = (*FeatureDetector.float_modules, "gaussian")
    trains_backbone: ClassVar[bool] = True
    config: CutPasteParameters

    def __init__(self, config: CutPasteParameters, *, pretrained: bool = True) -> None:
        super().__init__(config, pretrained=pretrained)
        channels = self.patch_features.channels
        self.heads = nn.ModuleDict({name: _classifier(channels, config.hidden) for name in ("image", "window")})
        self.gaussian = nn.ModuleDict({
            "image": Mahalanobis(channels, (1, 1)),
            "window": Mahalanobis(channels, self.grid_hw),
        })  # fmt: skip
        self.requires_grad_(False)

    def stages(self) -> Sequence[Stage]:
        """The classifiers alone, then all."""
        config = self.config
        return (
            self._stage("head", config.head_epochs, config.head_steps),
            self._stage("backbone", config.epochs, config.steps),
        )

    def _stage(self, name: str, epochs: int, steps: int) -> Stage:
        config = self.config
        return Stage(name, epochs, config.learning_rate, config.schedule, steps, config.optimiser)

    def start_stage(self, stage: Stage) -> list[dict[str, Any]]:
        """The classifiers, and in the second stage the backbone at its own rate."""
        self.requires_grad_(False)
        self.heads.requires_grad_(True)
        decay = {"weight_decay": self.config.weight_decay}
        groups = [{"params": list(self.heads.parameters()), "lr_scale": 1.0, **decay}]
        if stage.name == "backbone":
            self.patch_features.requires_grad_(True)
            backbone = list(self.patch_features.parameters())
            groups.insert(0, {"params": backbone, "lr_scale": self.config.backbone_scale, **decay})
        return groups

    def training_loss(self, batch: TrainingBatch, stage: Stage, generator: torch.Generator) -> dict[str, Tensor]:
        """Cross-entropy of normal, rectangle and scar: of images, and of windows with all classes counting alike."""
        with torch.autocast(batch.images.device.type, enabled=False):  # rounded colours would give a patch away
            images, classes, masks = make_views(batch.images, self.config.jitter, generator)
        features = self.patch_features(images)
        terms = {"image": balanced_cross_entropy(self.heads["image"](features.mean((2, 3))), classes)}
        if self.config.window_weight:
            labels = window_labels(classes, masks, self.grid_hw, self.config.neighbourhood)
            logits = self.heads["window"](features.permute(0, 2, 3, 1).flatten(0, 2))
            terms["window"] = self.config.window_weight * balanced_cross_entropy(logits, labels.flatten())
        return terms

    @torch.no_grad()
    def fit_features(self, fit: Tensor, held_out: Tensor) -> None:
        """Fit the Gaussians; held-out images are the unit."""
        self._distance("window").fit(fit)
        self._distance("window").divide_by(_unit(super().score_features(held_out).score))
        self._distance("image").fit(_embedding(fit))
        self._distance("image").divide_by(_unit(self._distance("image")(_embedding(held_out))))

    def score_patches(self, features: Tensor) -> Tensor:
        """Distance of each window's embedding."""
        distances: Tensor = self.gaussian["window"](features)
        return distances

    def score_features(self, features: Tensor) -> DetectorOutput:
        """The map from windows; the score from the image's embedding, or the map's maximum."""
        output = super().score_features(features)
        if self.config.score == "map":
            return output
        return output._replace(score=self.gaussian["image"](_embedding(features)).amax((1, 2, 3)))

    def _distance(self, name: str) -> Mahalanobis:
        module = self.gaussian[name]
        assert isinstance(module, Mahalanobis)
        return module


def _classifier(channels: int, hidden: int) -> nn.Module:
    return nn.Sequential(
        nn.LayerNorm(channels), nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, len(CLASSES))
    )


def _embedding(features: Tensor) -> Tensor:
    """(N, C, h, w) → (N, C, 1, 1)."""
    return features.mean((2, 3), keepdim=True)


def _unit(distances: Tensor) -> float:
    return max(float(distances.mean()), _SMALLEST_UNIT)
