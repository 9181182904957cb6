"""Distance to the nearest of a small bank of normal patches (PatchCore, Roth et al. 2022) as a detector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.models.feature_detector import FeatureDetector, FeatureParameters
from edge_ad.models.published import NO_COPY, Publication, Stated

__all__ = ["BankChoice", "NearestNeighbour", "PatchMetricKind", "PatchNearest", "PatchNearestParameters", "k_centres"]

BankChoice = Literal["random", "coreset"]
PatchMetricKind = Literal["whitened", "euclidean", "cosine"]
_LEAST_SQUARE = 1e-12
# Of the mean squared length of the bank's patches. Nearer than that, as a patch of the bank is to itself, a squared
# distance is a difference of large numbers, its root is rounding error, and no two backends agree about it.
_LEAST_SHARE = 1e-3
_MOST_CANDIDATES = 20_000  # patches that a coreset is chosen from: seconds, and measured as good as more


class NearestNeighbour(nn.Module):
    """Distance to the nearest bank entry; knows nothing of position.

    Args:
        channels: Feature channels C.
        size: Bank entries.
        seed: Seed of the patches that fill the bank.
        choice: Which patches: ``random``, or ``coreset``, each the farthest from those before it.
        metric: ``whitened`` by the covariance of all patches; ``euclidean``: of the features as they are; or
            ``cosine``: between the directions of two vectors. The last two need no covariance and so no more than one
            photo.
    """

    def __init__(
        self,
        channels: int,
        *,
        size: int = 2000,
        seed: int = 0,
        choice: BankChoice = "random",
        metric: PatchMetricKind = "whitened",
    ) -> None:
        super().__init__()
        self.seed, self.choice, self.metric = seed, choice, metric
        if metric == "whitened":
            self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
            self.register_buffer("whiten", torch.eye(channels)[:, :, None, None])
        self.register_buffer("bank", torch.zeros(size, channels))

    @torch.no_grad()
    def fit(self, features: Tensor) -> None:
        """Whiten by all patches of (N, C, h, w) and keep a subset of them (with repetition if there are few)."""
        flat = features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
        if self.metric == "whitened":
            self._fit_whitening(flat)
        bank = self.get_buffer("bank")
        order = torch.randperm(len(flat), generator=torch.Generator().manual_seed(self.seed))
        if self.choice == "coreset":
            order = order[:_MOST_CANDIDATES]
            order = order[k_centres(self._comparable(flat[order]), len(bank))]
        bank.copy_(self._comparable(flat[order[torch.arange(len(bank)) % len(order)]]))

    def _fit_whitening(self, flat: Tensor) -> None:
        mean, covariance = flat.mean(0), torch.cov(flat.T)
        covariance.diagonal().add_(1e-2 * covariance.diagonal().mean() + 1e-6)
        whiten = torch.linalg.inv(torch.linalg.cholesky(covariance))
        self.get_buffer("mean").copy_(mean[None, :, None, None])
        self.get_buffer("whiten").copy_(whiten[:, :, None, None])

    def _comparable(self, flat: Tensor) -> Tensor:
        """Vectors (P, C) in the space of the bank."""
        if self.metric == "cosine":
            return _directions(flat)
        if self.metric == "euclidean":
            return flat
        mapped: Tensor = (flat - self.get_buffer("mean").flatten()) @ self.get_buffer("whiten")[:, :, 0, 0].T
        return mapped

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, h, w) → distances (N, 1, h, w), ``min_b |z - b|`` or ``min_b (1 - cos)``, by one 1×1 convolution.

        The first is never less than 0.03 of the root mean squared length of the bank's patches.
        """
        bank = self.get_buffer("bank")
        if self.metric == "cosine":
            return 1 - F.conv2d(_directions(features), bank[:, :, None, None]).amax(1, keepdim=True)
        compared = features
        if self.metric == "whitened":
            compared = F.conv2d(features - self.get_buffer("mean"), self.get_buffer("whiten"))
        closeness = F.conv2d(compared, bank[:, :, None, None], -0.5 * bank.square().sum(1))
        squared = compared.square().sum(1, keepdim=True) - 2 * closeness.amax(1, keepdim=True)
        return squared.clamp_min(_LEAST_SHARE * bank.square().sum(1).mean(0)).sqrt()


def _directions(vectors: Tensor) -> Tensor:
    """Vectors along the second dimension, of length 1; written in what every opset has."""
    return vectors / vectors.square().sum(1, keepdim=True).clamp_min(_LEAST_SQUARE).sqrt()


def k_centres(vectors: Tensor, count: int) -> Tensor:
    """Greedy k-centres (Gonzalez, 1985), the coreset of PatchCore: each is the vector farthest from those before it.

    Args:
        vectors: (P, C); the first is the first centre.
        count: Centres; at most P.

    Returns:
        Their rows, int64 (min(count, P),).
    """
    lengths, chosen = vectors.square().sum(1), [0]
    nearest = torch.full_like(lengths, torch.inf)
    for _ in range(min(count, len(vectors)) - 1):
        newest = chosen[-1]
        nearest = torch.minimum(nearest, lengths + lengths[newest] - 2 * vectors @ vectors[newest])
        nearest[newest] = -torch.inf
        chosen.append(int(nearest.argmax()))
    return torch.tensor(chosen)


class PatchNearestParameters(FeatureParameters):
    """Parameters of the patch bank.

    Attributes:
        bank: Normal patches that are kept.
        bank_choice: Which: ``random``, or ``coreset``, each the farthest from those before it.
        metric: ``whitened`` by the covariance of all patches, ``euclidean`` or ``cosine``.
        rotations: Of each photo, by equal parts of a turn, that are fitted on beside it: for parts that lie any way
            round, and few photos.
    """

    absent: ClassVar[Mapping[str, Any]] = {
        **FeatureParameters.absent,
        "bank_choice": "random",
        "metric": "whitened",
        "rotations": 0,
    }
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **FeatureParameters.presets,
        "few-photos": {
            "backbone": "dinov2-small",
            "size": 448,
            "neighbourhood": 1,
            "metric": "cosine",
            "rotations": 7,
        },
    }

    publication: ClassVar[Publication | None] = Publication(
        paper='Roth et al., "Towards Total Recall in Industrial Anomaly Detection" (PatchCore), CVPR 2022',
        code="github.com/amazon-science/patchcore-inspection",
        values={
            "backbone": Stated("wide-resnet50", "WideResNet50", "wideresnet50"),
            "weights": Stated("imagenet", "ImageNet", "torchvision's IMAGENET1K_V1"),
            "levels": Stated((8, 16), "levels 2 and 3", "layer2, layer3"),
            "neighbourhood": Stated(3, "3", "3"),
            "embedding": Stated(512, "", "1024 in all", "half of it for each level"),
            "metric": Stated("euclidean", "Euclidean", "L2"),
            "bank_choice": Stated("coreset", "greedy coreset", "greedy, in 128 random directions"),
            "bank": Stated(
                16384, "a share of all patches", "0.1 of them", "a number: a tenth of 209 photos of 28 x 28"
            ),
            "sigma": Stated(4.0, "4", "4"),
            "size": Stated(224, "224", "224"),
            "geometry": Stated("crop", "centre crop", "centre crop"),
            "crop_share": Stated(224 / 256, "resize to 256, crop 224", "resize to 256, crop 224"),
            "all_photos": Stated(True, "all training photos", "all training photos"),
        },
        checked=f"The code of March 2023. {NO_COPY}",
        remains=(
            "The coreset is chosen out of 20,000 patches that the seed draws, and not out of all. Its size does not "
            "follow the number of photos.",
            "The score is the maximum of the smoothed map; the code takes it before smoothing. As in the code, and not "
            "as in the paper, no neighbours' density weights it.",
            "Level 2 is a plain mean of 3 x 3 cells; in the code, which pools twice, the middle cell counts double.",
        ),
    )

    bank: int = Field(default=2000, ge=1, le=65536)
    bank_choice: BankChoice = "coreset"
    metric: PatchMetricKind = "whitened"
    rotations: int = Field(default=0, ge=0, le=35)


class PatchNearest(FeatureDetector):
    """Whitened distance to the nearest normal patch, wherever it was; only fitted, never trained.

    Args:
        config: Parameters.
        pretrained: Load ImageNet weights into the backbone; False when a checkpoint follows.
    """

    method = "patch-nearest"
    purpose = "few photos, from one on: distance to the nearest normal patch, wherever on the part it was"
    training_time = "seconds"
    parameters_type = PatchNearestParameters
    fewest_photos = 1
    aliases = ("patchcore",)
    float_modules = (*FeatureDetector.float_modules, "nearest")
    config: PatchNearestParameters

    def __init__(self, config: PatchNearestParameters, *, pretrained: bool = True) -> None:
        super().__init__(config, pretrained=pretrained)
        self.nearest = NearestNeighbour(
            self.patch_features.channels,
            size=config.bank,
            seed=config.seed,
            choice=config.bank_choice,
            metric=config.metric,
        )

    @property
    def rotations(self) -> int:
        """As the parameters say."""
        return self.config.rotations

    def fit_features(self, fit: Tensor, held_out: Tensor) -> None:
        """Fill the bank; the held-out images are not needed."""
        self.nearest.fit(fit)

    def score_patches(self, features: Tensor) -> Tensor:
        """Distances to the nearest entry."""
        distances: Tensor = self.nearest(features)
        return distances
