"""DSR against its authors' code: the same tensors through the same random weights.

    git clone https://github.com/VitjanZ/DSR_anomaly_detection
    python -m benchmarks.official_dsr DSR_anomaly_detection

The authors' networks are made with random weights at full size, which are carried over to ours, and all is computed in
float64: rounding alone could choose another code. Prints the largest difference of each part; the exit code is 4 where
one exceeds 1e-4. The focal losses differ by the authors' smoothing of labels and probabilities, which is printed too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.official_distillation import official_functions, official_module, relative
from edge_ad.models.draem.draem import focal_loss
from edge_ad.models.dsr.autoencoder import Latents, TwoLevelAutoencoder
from edge_ad.models.dsr.latent_anomalies import cells, replace_codes
from edge_ad.models.dsr.networks import FORMS, ObjectDecoder, SegmentationUNet, SubspaceRestriction
from edge_ad.models.dsr.pretrained import own_names

TOLERANCE = 1e-4
_SPEC = FORMS["published"]


def carry(ours: nn.Module, theirs: nn.Module) -> None:
    """Take over convolutions in the order in which they are declared; biases that a norm takes away are left out."""
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    pairs = [[module for module in network.modules() if isinstance(module, kinds)] for network in (ours, theirs)]
    for own, other in zip(*pairs, strict=True):
        own.weight.data.copy_(other.weight)
        if own.bias is not None:
            assert other.bias is not None
            own.bias.data.copy_(other.bias)


def carry_unet(ours: SegmentationUNet, theirs: Any) -> None:
    """Take over a U-Net, whose decoder is declared in another order."""
    carry(ours.encoder, theirs.encoder)
    for index in range(3):
        carry(ours.up[index], getattr(theirs.decoder, f"up{index + 1}"))
        carry(ours.decoder[index], getattr(theirs.decoder, f"db{index + 1}"))
    carry(ours.head, theirs.decoder.fin_out)


def carry_restriction(ours: SubspaceRestriction, theirs: Any) -> None:
    """Take over a subspace restriction network."""
    carry(ours.encoder, theirs.encoder)
    carry(ours.decoder, nn.ModuleList([theirs.decoder.up2, theirs.decoder.db2, theirs.decoder.up3, theirs.decoder.db3]))
    carry(ours.head, theirs.decoder.fin_out)


def carry_decoder(ours: ObjectDecoder, theirs: Any) -> None:
    """Take over an object-specific decoder."""
    carry(ours.encoder, nn.ModuleList([theirs.block1, theirs.block2, theirs.pre_vq_conv]))
    carry(ours.up, nn.ModuleList([theirs.upblock1, theirs.upblock2]))
    carry(ours.image.first, theirs._conv_1)
    stack = theirs._residual_stack._layers
    carry(ours.image.stack.inner, nn.ModuleList(layer._block[1] for layer in stack))
    carry(ours.image.stack.outer, nn.ModuleList(layer._block[3] for layer in stack))
    carry(ours.image.second, theirs._conv_trans_1)
    carry(ours.image.last, theirs._conv_trans_2)


def compare(folder: Path) -> Iterator[tuple[str, float]]:
    """Every part at full size."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)  # some of their tensors are made without naming one
    models, discrete = official_module(folder, "dsr_model"), official_module(folder, "discrete_model")
    size = _SPEC.autoencoder
    theirs = discrete.DiscreteLatentModel(
        size.hidden, size.blocks, size.residual, size.codes, size.channels, 0.25, 0.99
    )
    for book in (theirs._vq_vae_top, theirs._vq_vae_bot):
        book._embedding.weight.data.mul_(0.1)
        book._ema_w.data.mul_(0.1)
    theirs = theirs.eval()
    ours = TwoLevelAutoencoder(size).eval()
    ours.load_state_dict(own_names(theirs.state_dict()))
    images = torch.rand(2, 3, 64, 64)
    yield from compare_autoencoder(ours, theirs, images)
    yield from compare_gradient(ours, theirs, images)
    yield from compare_moving_averages(ours, theirs, images)
    yield from compare_networks(models, ours, theirs, images)
    yield from compare_replacement(folder, ours, images)
    yield from compare_focal(folder)


def compare_autoencoder(ours: TwoLevelAutoencoder, theirs: Any, images: Tensor) -> Iterator[tuple[str, float]]:
    """Codes of both levels, and the image of the general decoder; with gradients, which take one code alone."""
    _, _, image, coarse, fine = theirs(images)
    latents, quantised = ours.encode(images)
    yield "quantised, coarse", relative(quantised.coarse, coarse)
    yield "quantised, fine", relative(quantised.fine, fine)
    yield "general image", relative(ours.decode(quantised), image)
    yield "commitment", relative(0.25 * nn.functional.mse_loss(latents.fine, quantised.fine), theirs(images)[0])
    with torch.no_grad():
        yield "quantised, fine, as deployed", relative(ours.encode(images)[1].fine, fine)


def compare_gradient(ours: TwoLevelAutoencoder, theirs: Any, images: Tensor) -> Iterator[tuple[str, float]]:
    """The gradient that passes the codes, at the first convolution."""
    # Its input is a ReLU's output already; in place, autograd would refuse it.
    theirs._encoder_t._residual_stack._layers[0]._block[0].inplace = False
    theirs(images)[2].square().mean().backward()
    ours.decode(ours.encode(images)[1]).square().mean().backward()  # type: ignore[no-untyped-call]
    first: Any = ours.fine_encoder[0]
    yield (
        "gradient through the codes",
        relative(first.weight.grad, theirs._encoder_b._conv_1.weight.grad),
    )


def compare_moving_averages(ours: TwoLevelAutoencoder, theirs: Any, images: Tensor) -> Iterator[tuple[str, float]]:
    """The codes after a step, where none has to start again."""
    book, other = ours.fine_codes, theirs._vq_vae_bot
    other._ema_cluster_size.fill_(5.0)
    other._ema_w.data.mul_(5.0)
    book.load_state_dict({"codes": other._embedding.weight, "uses": other._ema_cluster_size, "sums": other._ema_w.data})
    latents = ours.encode(images)[0].fine.detach()
    other.train()
    with torch.no_grad():
        other(latents)
    other.eval()
    book.update(latents, torch.Generator())
    yield "codes after a step", relative(book.get_buffer("codes"), other._embedding.weight)


def compare_networks(
    models: Any, autoencoder: TwoLevelAutoencoder, theirs: Any, images: Tensor
) -> Iterator[tuple[str, float]]:
    """Restriction, object-specific decoder, detection and upsampling."""
    channels = _SPEC.autoencoder.channels
    their_restriction = models.SubspaceRestrictionModule(channels).eval()
    restriction = SubspaceRestriction(_SPEC).eval()
    carry_restriction(restriction, their_restriction.unet)
    their_decoder = models.ImageReconstructionNetwork(2 * channels, 128, 2, 64).eval()
    decoder = ObjectDecoder(_SPEC).eval()
    carry_decoder(decoder, their_decoder)
    with torch.no_grad():
        quantised = autoencoder.encode(images)[1]
        found, expected = restriction(quantised.fine), their_restriction(quantised.fine, theirs._vq_vae_bot)
        yield "restricted", relative(found, expected[0])
        quantise = autoencoder.fine_codes
        yield "restricted, quantised", relative(quantise.entries(quantise.nearest(found)), expected[1])
        joined = autoencoder.join(Latents(quantised.coarse, expected[1]))
        yield "specific image", relative(decoder(joined), their_decoder(joined))
        for name, inputs in (("AnomalyDetectionModule", 6), ("UpsamplingModule", 8)):
            other = getattr(models, name)(channels).eval()
            unet = SegmentationUNet(inputs, _SPEC).eval()
            carry_unet(unet, other.unet)
            parts = [torch.rand(2, 3, 64, 64) for _ in range(2)]
            parts += [torch.rand(2, 2, 64, 64)] if inputs == 8 else []
            yield name, relative(unet(*parts), other(*parts))


def compare_replacement(folder: Path, ours: TwoLevelAutoencoder, images: Tensor) -> Iterator[tuple[str, float]]:
    """Ranks that occur in replaced cells, as the share of all: least and largest of many draws, at two strengths."""
    names = official_functions(folder / "train_dsr.py")
    Tensor.cuda = lambda self: self  # type: ignore[method-assign,assignment,misc]
    replace = names["generate_fake_anomalies_joined"]
    latents, quantised = (part.fine.detach() for part in ours.encode(images))  # with gradients: one code alone
    book, mask = ours.fine_codes, torch.ones(2, 1, 64, 64)
    codes = book.get_buffer("codes")
    mask[:, :, :, 30:] = 0
    for strength in (0.2, 0.6):
        strengths = torch.full((2,), strength)
        expected = replace(latents, quantised, codes, mask, strength=strengths)
        grid = cells(mask, (16, 16))
        found = replace_codes(latents, quantised, book, grid, strengths, torch.Generator().manual_seed(0))
        yield f"outside the mask, strength {strength}", relative(found * (1 - grid), expected * (1 - grid))
        ours_ranks, their_ranks = (_ranks(part, latents, codes, grid) for part in (found, expected))
        print(f"ranks at strength {strength}: ours {_words(ours_ranks)}, theirs {_words(their_ranks)}")


def _ranks(replaced: Tensor, latents: Tensor, codes: Tensor, grid: Tensor) -> Tensor:
    """Rank of each replaced cell's code among the distances of its latent."""
    rows, new = (part.permute(0, 2, 3, 1)[grid[:, 0] > 0] for part in (latents, replaced.to(latents)))
    distances, own = torch.cdist(rows, codes), (rows - new).norm(dim=1, keepdim=True)
    ranks: Tensor = (distances < own - 1e-6).sum(1)
    return ranks


def _words(ranks: Tensor) -> str:
    return f"{int(ranks.min())} to {int(ranks.max())}, mean {float(ranks.double().mean()):.0f}"


def compare_focal(folder: Path) -> Iterator[tuple[str, float]]:
    """The focal loss without their smoothing, and what the smoothing by 1e-5 makes of it."""
    loss = official_module(folder, "loss").FocalLoss
    logits, masks = torch.randn(2, 2, 16, 16), (torch.rand(2, 1, 16, 16) > 0.8).double()
    ours = focal_loss(logits, masks)
    yield "focal loss, not smoothed", relative(ours, loss(smooth=0)(logits.softmax(1), masks))
    print(f"focal loss, smoothed as theirs: {relative(ours, loss()(logits.softmax(1), masks)):.1e} apart")


def main() -> int:
    """Compare with a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    worst = 0.0
    for part, difference in compare(parser.parse_args().folder):
        worst = max(worst, difference)
        print(f"{part}\t{difference:.1e}", flush=True)
    return 0 if worst <= TOLERANCE else 4


if __name__ == "__main__":
    sys.exit(main())
