"""What the papers of EAR and FADeR say."""

from __future__ import annotations

from collections.abc import Mapping

from edge_ad.models.published import NO_COPY, Publication, Stated

__all__ = ["EAR", "FADER"]

_SILENT = "neither paper says it"
_RIAD = "neither paper says it; RIAD's, whose loss and score it takes, as a public reproduction has it"
_EAR_UNSEEN = "of EAR what FADeR's paper says of it: no copy of EAR's own was at hand"
_REPRODUCTION = "for RIAD's settings github.com/plutoyuxie/Reconstruction-by-inpainting-for-visual-anomaly-detection"

_EAR: Mapping[str, Stated] = {
    "width": Stated("full", "U-Net of depth 5", "", "no widths are given; 64-128-256-512-512 as the author's RIAD"),
    "mask_source": Stated("dino", "attention of an ImageNet-pretrained DINO-ViT"),
    "mask_model": Stated("facebook/dino-vits8", "DINO-ViT", "", "which one is not said"),
    "mask_mass": Stated(0.6, "", "", "not said; what DINO's own visualisation keeps"),
    "mosaic": Stated(
        "auto",
        "an optimal scale for each product",
        "",
        "no rule is given; chosen on held-out good photos",
    ),
    "composite": Stated("none", "the whole reconstruction"),
    "evidence": Stated("reconstruction", "MSGMS"),
    "size": Stated(256, "", "", _RIAD),
    "geometry": Stated("stretch", "", "", _SILENT),
    "epochs": Stated(300, "", "", _RIAD),
    "learning_rate": Stated(1e-4, "", "", _RIAD),
    "schedule": Stated("fixed", "", "", _SILENT),
    "batch_size": Stated(8, "", "", _SILENT),
    "flips": Stated(False, "", "", _SILENT),
    "mixed_precision": Stated(False, "", "", _SILENT),
    "all_photos": Stated(True, "only normal samples", "", "all of them"),
}

EAR = Publication(
    paper='Park et al., "Visual defect obfuscation based self-supervised anomaly detection", Sci Rep 14:18872, 2024',
    code="",
    values=_EAR,
    checked=f"FADeR's paper, which builds on it; {_REPRODUCTION}. {NO_COPY}",
)

FADER = Publication(
    paper=(
        'Park et al., "Feature Attenuation of Defective Representation Can Resolve Incomplete Masking on Anomaly '
        'Detection", 2024'
    ),
    code="",
    values={
        **_EAR,
        "predictor": Stated("mlp", "two-layer MLP"),
        "hidden": Stated(128, "", "", _SILENT),
        "normalisation": Stated("sigmoid", "into (0, 1)", "", "min-max would cut into clean images, as the text warns"),
        "masking": Stated("soft", "soft"),
        "scaling": Stated("nearest", "nearest"),
        "margin": Stated(1.0, "ξ", "", "no value is given; that of learning loss for active learning"),
        "fader_epochs": Stated(100, "100"),
        "fader_learning_rate": Stated(
            1e-3, "one of 0.001, 0.0001, 0.00001", "", "which is not said; reproduce chooses without test images"
        ),
        "fader_schedule": Stated(
            "warm-up", "fixed, warm-up or SGDR", "", "which is not said; reproduce chooses without test images"
        ),
        "decoder_scale": Stated(0.1, "0.1"),
    },
    checked=f"The paper; {_EAR_UNSEEN}; {_REPRODUCTION}.",
    remains=("Eq. 2 names the reconstruction as the input of the MLP; figures and text feed the obfuscated image.",),
)
