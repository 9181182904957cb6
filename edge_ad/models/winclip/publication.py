"""What WinCLIP's paper says."""

from __future__ import annotations

from edge_ad.models.published import NO_COPY, Publication, Stated

__all__ = ["WINCLIP"]

WINCLIP = Publication(
    paper='Jeong et al., "WinCLIP: Zero-/Few-Shot Anomaly Classification and Segmentation", CVPR 2023',
    code="",
    values={
        "part": Stated("object", "the name of each product", "", "yours is not known here: give -p part"),
        "clip_model": Stated(
            "openai/clip-vit-base-patch16",
            "ViT-B/16+ of OpenCLIP, LAION-400M",
            "",
            "the hub has it in OpenCLIP's form alone; patches of 16 pixels too",
        ),
        "size": Stated(224, "240", "", "what this CLIP was trained at"),
        "geometry": Stated("stretch", "", "", "not said"),
        "all_photos": Stated(True, "", "", "no photo is trained on; all set the threshold"),
    },
    checked=(
        f"Two public reproductions, anomalib and github.com/zqhang/Accurate-WinCLIP-pytorch: states, temperature, "
        f"network and size agree. {NO_COPY}"
    ),
    remains=(
        "Without reference photos alone: WinCLIP+ is not built.",
        "The authors published no code; temperature 0.07 and the mean of embeddings that are not normalised first are "
        "those of anomalib and of the public reproductions.",
        "There are 22 templates; both reproductions lack two of them, and have a third twice.",
    ),
)
