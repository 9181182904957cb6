"""A published convolution and its batch norm as one convolution."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from edge_ad.errors import CheckpointError

__all__ = ["load_folded"]

_HINT = "Give a state dict of this very architecture, in its authors' names."


def load_folded(
    conv: nn.Conv2d, weights: Mapping[str, Tensor], conv_name: str, norm_name: str, *, epsilon: float
) -> None:
    """Load a convolution with the batch norm that follows it folded in, which is exact in evaluation mode.

    Args:
        conv: Convolution with a bias.
        weights: Published state dict.
        conv_name: Name of its convolution, which has no bias.
        norm_name: Name of its batch norm.
        epsilon: What the batch norm adds to the variance.

    Raises:
        CheckpointError: Something is missing, of another shape, or not finite.
    """
    channels = (conv.out_channels,)
    kernel = _named(weights, f"{conv_name}.weight", tuple(conv.weight.shape))
    gain, shift, mean, variance = (
        _named(weights, f"{norm_name}.{name}", channels) for name in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gain / (variance + epsilon).sqrt()
    folded = {"weight": kernel * scale[:, None, None, None], "bias": shift - mean * scale}
    if not all(bool(tensor.isfinite().all()) for tensor in folded.values()):
        raise CheckpointError(f"{conv_name} and {norm_name} hold values that are not finite.", _HINT)
    conv.load_state_dict(folded)


def _named(weights: Mapping[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    if name not in weights:
        raise CheckpointError(f"{name} is missing.", _HINT)
    if tuple(weights[name].shape) != shape:
        raise CheckpointError(f"{name} has the shape {tuple(weights[name].shape)}, not {shape}.", _HINT)
    return weights[name]
