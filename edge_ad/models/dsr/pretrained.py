"""A trained two-level autoencoder in its authors' names (github.com/VitjanZ/DSR_anomaly_detection)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from edge_ad.errors import CheckpointError
from edge_ad.models.backbones.base import read_weights
from edge_ad.models.dsr.autoencoder import TwoLevelAutoencoder

__all__ = ["load_quantiser", "own_names"]

_HINT = "Give the state dict of the authors' discrete latent model with 128 channels and 4096 codes."
_STACK = r"_residual_stack\._layers\.(\d+)\._block\."
_LAYERS = {
    r"_encoder_b\._conv_1\.": "fine_encoder.0.",
    r"_encoder_b\._conv_2\.": "fine_encoder.2.",
    r"_encoder_b\._conv_3\.": "fine_encoder.4.",
    rf"_encoder_b\.{_STACK}1\.": r"fine_encoder.5.inner.\1.",
    rf"_encoder_b\.{_STACK}3\.": r"fine_encoder.5.outer.\1.",
    r"_encoder_t\._conv_1\.": "coarse_encoder.0.",
    r"_encoder_t\._conv_2\.": "coarse_encoder.2.",
    rf"_encoder_t\.{_STACK}1\.": r"coarse_encoder.4.inner.\1.",
    rf"_encoder_t\.{_STACK}3\.": r"coarse_encoder.4.outer.\1.",
    r"_pre_vq_conv_top\.": "to_coarse.",
    r"_pre_vq_conv_bot\.": "to_fine.",
    r"upsample_t\.": "upsample.",
    r"_decoder_b\._conv_1\.": "decoder.first.",
    rf"_decoder_b\.{_STACK}1\.": r"decoder.stack.inner.\1.",
    rf"_decoder_b\.{_STACK}3\.": r"decoder.stack.outer.\1.",
    r"_decoder_b\._conv_trans_1\.": "decoder.second.",
    r"_decoder_b\._conv_trans_2\.": "decoder.last.",
    r"_vq_vae_top\._embedding\.weight": "coarse_codes.codes",
    r"_vq_vae_top\._ema_cluster_size": "coarse_codes.uses",
    r"_vq_vae_top\._ema_w": "coarse_codes.sums",
    r"_vq_vae_bot\._embedding\.weight": "fine_codes.codes",
    r"_vq_vae_bot\._ema_cluster_size": "fine_codes.uses",
    r"_vq_vae_bot\._ema_w": "fine_codes.sums",
}


def own_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict in the authors' names under those of `TwoLevelAutoencoder`; other names stay as they are."""
    return {_own_name(name): tensor for name, tensor in state.items()}


def _own_name(name: str) -> str:
    for theirs, ours in _LAYERS.items():
        renamed, count = re.subn(f"^{theirs}", ours, name)
        if count:
            return renamed
    return name


def load_quantiser(autoencoder: TwoLevelAutoencoder, path: Path) -> None:
    """Load a trained autoencoder; nothing in the file is executed.

    Args:
        autoencoder: Of the published size.
        path: ``.safetensors``, or what ``torch.save`` wrote of a state dict.

    Raises:
        UsageError: There is no such file.
        CheckpointError: It cannot be read, holds values that are not finite, or belongs to another architecture.
    """
    state = own_names(read_weights(path))
    if not all(bool(tensor.isfinite().all()) for tensor in state.values()):
        raise CheckpointError(f"The quantiser {path} holds values that are not finite.", _HINT)
    try:
        autoencoder.load_state_dict(state)
    except RuntimeError as error:
        problem = str(error).splitlines()[-1].strip()
        raise CheckpointError(f"The quantiser {path} belongs to another architecture: {problem}", _HINT) from error
