"""DSR's networks together: what they see in an image, and how they are trained stage by stage."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_ad.models.draem.draem import focal_loss
from edge_ad.models.dsr.autoencoder import Latents, TwoLevelAutoencoder
from edge_ad.models.dsr.latent_anomalies import anomalous_latents
from edge_ad.models.dsr.networks import FormSpec, ObjectDecoder, SegmentationUNet, SubspaceRestriction

__all__ = ["QUANTISER", "SUBSPACES", "Comparison", "DualSubspaceNetwork", "LossWeights"]

QUANTISER, SUBSPACES = "quantiser", "subspaces"
"""Names of the stages."""

_COMMITMENT = 0.25
_LEAST_VARIANCE = 1e-3


class LossWeights(NamedTuple):
    """What the losses weigh.

    Attributes:
        image: Of the object-specific image's squared error.
        focusing: γ of the focal loss.
    """

    image: float = 10.0
    focusing: float = 2.0


class Comparison(NamedTuple):
    """Two decodings of images, and what differs.

    Attributes:
        specific: As the object-specific decoder gives them, (N, 3, H, W), unbounded.
        general: As the general appearance decoder gives them, likewise.
        logits: Of the anomaly detection module, (N, 2, H, W), the normal class first.
    """

    specific: Tensor
    general: Tensor
    logits: Tensor


class DualSubspaceNetwork(nn.Module):
    """Two decoders of one quantised space, one for any appearance and one for that of good parts, and their comparison.

    Args:
        spec: Size.
    """

    def __init__(self, spec: FormSpec) -> None:
        super().__init__()
        self.autoencoder = TwoLevelAutoencoder(spec.autoencoder)
        self.restrict_coarse, self.restrict_fine = SubspaceRestriction(spec), SubspaceRestriction(spec)
        self.object_decoder = ObjectDecoder(spec)
        self.detection = SegmentationUNet(6, spec)

    def forward(self, images: Tensor) -> Comparison:
        """Compare both decodings of images (N, 3, H, W) in [0, 1]."""
        quantised = self.autoencoder.encode(images)[1]
        general, specific = self.autoencoder.decode(quantised), self.specific(self.restrict(quantised))
        return Comparison(specific, general, self.detection(specific, general))

    def restrict(self, latents: Latents) -> Latents:
        """Quantised latents → those of a good part, not quantised."""
        return Latents(self.restrict_coarse(latents.coarse), self.restrict_fine(latents.fine))

    def specific(self, restricted: Latents) -> Tensor:
        """Quantise restricted latents and decode them as a good part, (N, 3, H, W), unbounded."""
        books = self.autoencoder.coarse_codes, self.autoencoder.fine_codes
        quantised = Latents(*(book(part) for book, part in zip(books, restricted, strict=True)))
        image: Tensor = self.object_decoder(self.autoencoder.join(quantised))
        return image

    def start_stage(self, name: str) -> None:
        """Freeze everything but what a stage trains."""
        self.eval().requires_grad_(False)
        subspaces = (self.restrict_coarse, self.restrict_fine, self.object_decoder, self.detection)
        for network in {QUANTISER: (self.autoencoder,), SUBSPACES: subspaces}[name]:
            network.train().requires_grad_(True)

    def quantiser_loss(self, images: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Squared error over the variance of the images, and how far latents are from their codes; codes move too.

        Args:
            images: (N, 3, H, W), whatever shall be reproduced.
            generator: Draws what unused codes start from.
        """
        latents, quantised = self.autoencoder.encode(images)
        image = self.autoencoder.decode(quantised).float()
        books = self.autoencoder.coarse_codes, self.autoencoder.fine_codes
        commitment = images.new_zeros(())
        for book, latent in zip(books, latents, strict=True):
            nearest = book.entries(book.nearest(latent))
            commitment = commitment + F.mse_loss(latent.float(), nearest)
            book.update(latent, generator)
        variance = images.var().clamp_min(_LEAST_VARIANCE)
        return {"l2": F.mse_loss(image, images) / variance, "commitment": _COMMITMENT * commitment}

    def subspace_loss(
        self, images: Tensor, masks: Tensor, least: float, weights: LossWeights, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Undo latent anomalies, decode a good part, and find the anomalies between both decodings.

        Args:
            images: Good, (N, 3, H, W).
            masks: float (N, 1, H, W), 1 where an anomaly is made.
            least: Smallest anomaly strength λs.
            weights: Of the losses.
            generator: Draws the anomalies.
        """
        good, bad, where = anomalous_latents(self.autoencoder, images, masks, least, generator)
        restricted = self.restrict(bad)
        specific = self.specific(restricted).float()
        with torch.no_grad():
            general = self.autoencoder.decode(bad)
        logits = self.detection(specific.detach(), general).float()
        return {
            "coarse": F.mse_loss(restricted.coarse.float(), good.coarse),
            "fine": F.mse_loss(restricted.fine.float(), good.fine),
            "image": weights.image * F.mse_loss(specific, images),
            "focal": focal_loss(logits, where, focusing=weights.focusing),
        }
