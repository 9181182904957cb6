"""What the papers of reverse distillation, GNL and FiCo say, and what their code has."""

from __future__ import annotations

from collections.abc import Mapping

from edge_ad.models.published import NO_COPY, Publication, Stated

__all__ = ["FICO", "GNL", "REVERSE_DISTILLATION"]

_COMMON: Mapping[str, Stated] = {
    "form": Stated("published", "WideResNet50 and its mirror", "wide_resnet50_2 and its mirror"),
    "weights": Stated("imagenet", "ImageNet", "torchvision's IMAGENET1K_V1"),
    "size": Stated(256, "256", "256"),
    "geometry": Stated("stretch", "", "the whole photo to 256 x 256"),
    "sigma": Stated(4.0, "4", "4"),
    "learning_rate": Stated(5e-3, "0.005", "0.005, betas 0.5 and 0.999"),
    "schedule": Stated("fixed", "constant", "constant"),
    "mixed_precision": Stated(False, "", "float32"),
    "all_photos": Stated(True, "all training photos", "all training photos"),
}
_MATCHING: Mapping[str, Stated] = {
    "matching": Stated("exact", "exact feature distribution matching", "by sorting, at strides 4 and 8"),
    "matching_share": Stated(0.5, "0.5", "0.5"),
}
_REFERENCE = "The matching's reference is the mean over all training photos; the code takes train/good/000.png alone."

REVERSE_DISTILLATION = Publication(
    paper='Deng & Li, "Anomaly Detection via Reverse Distillation from One-Class Embedding", CVPR 2022',
    code="github.com/hq-deng/RD4AD",
    values={
        **_COMMON,
        "epochs": Stated(200, "200", "200"),
        "batch_size": Stated(16, "16", "16"),
    },
    checked=f"The code of June 2022. {NO_COPY}",
)

GNL = Publication(
    paper='Cao, Zhu & Pang, "Anomaly Detection under Distribution Shift", ICCV 2023',
    code="github.com/mala-lab/ADShift",
    values={
        **_COMMON,
        **_MATCHING,
        "bottleneck_weight": Stated(0.05, "", "0.05"),
        "decoder_weight": Stated(0.05, "", "0.05"),
        "epochs": Stated(20, "20", "20"),
        "batch_size": Stated(16, "16", "16"),
    },
    checked=f"The code of October 2023. {NO_COPY}",
    remains=(_REFERENCE,),
)

FICO = Publication(
    paper='Chen et al., "Filter or Compensate: Towards Invariant Representation from Distribution Shift", AAAI 2025',
    code="github.com/znchen666/FiCo",
    values={
        **_COMMON,
        **_MATCHING,
        "bottleneck_weight": Stated(0.05, "", "0.05"),
        "decoder_weight": Stated(0.05, "", "0.05"),
        "view_weight": Stated(0.05, "", "0.05"),
        "filter_weight": Stated(0.02, "", "0.02"),
        "epochs": Stated(
            20, "20", "20; 40 for capsule, pill, screw and zipper", "reproduce takes 40 for those four, as the code"
        ),
        "batch_size": Stated(8, "8", "8"),
    },
    checked=f"The code of December 2024. {NO_COPY}",
    by_category={name: {"epochs": 40} for name in ("capsule", "pill", "screw", "zipper")},
    remains=(_REFERENCE,),
)
