"""What the papers of SimpleNet and its successors say, and what their code has."""

from __future__ import annotations

from collections.abc import Mapping

from edge_ad.models.published import NO_COPY, Publication, Stated

__all__ = ["BOUNDARY_SHUFFLING", "PBAS", "SIMPLENET", "SUPERSIMPLENET"]

_NOT_GIVEN = "the paper gives none; as PBAS, which it builds on"
_LOST = "given; the number is lost in the text"

_FEATURES: Mapping[str, Stated] = {
    "backbone": Stated("wide-resnet50", "WideResNet50", "wideresnet50"),
    "weights": Stated("imagenet", "ImageNet", "torchvision's IMAGENET1K_V1"),
    "levels": Stated((8, 16), "levels 2 and 3", "layer2, layer3"),
    "neighbourhood": Stated(3, "3", "3"),
    "embedding": Stated(768, "", "1536 in all", "half of it for each level"),
    "standardise": Stated("none", "", "none"),
    "start": Stated("random", "", "from random weights"),
    "projection": Stated("random", "one fully connected layer", "Linear 1536 to 1536, Xavier"),
    "hidden": Stated(1024, "", "1024"),
    "positions": Stated(1.0, "", "every position of an image"),
    "schedule": Stated("fixed", "", "constant"),
    "score": Stated("patches", "maximum of the positions", "maximum of the positions, before smoothing"),
    "sigma": Stated(4.0, "", "4"),
    "batch_size": Stated(8, "8", "8"),
    "flips": Stated(False, "", "none"),
    "mixed_precision": Stated(False, "", "float32"),
    "all_photos": Stated(True, "all training photos", "all training photos"),
}

_SAME = (
    "Image and map are those of the last epoch; the authors' code reports the epoch that is best on the test images.",
    "Convolutions of the backbone have their batch norms folded in, which is exact.",
)

SIMPLENET = Publication(
    paper='Liu et al., "SimpleNet: A Simple Network for Image Anomaly Detection and Localization", CVPR 2023',
    code="github.com/DonaldRR/SimpleNet",
    values={
        **_FEATURES,
        "size": Stated(288, "288", "288"),
        "geometry": Stated("crop", "centre crop", "centre crop"),
        "crop_share": Stated(288 / 329, "resize to 329, crop 288", "resize to 329, crop 288"),
        "noise": Stated(0.015, "0.015", "0.015"),
        "margin": Stated(0.5, "0.5", "0.5"),
        "epochs": Stated(160, "160", "40 times 4"),
        "learning_rate": Stated(1e-4, "0.0001", "0.0001"),
        "discriminator_scale": Stated(2.0, "0.0002", "0.0002"),
        "weight_decay": Stated(1e-2, "0.00001", "AdamW's own, 0.01", "the code's"),
        "discriminator_decay": Stated(1e-5, "0.00001", "0.00001"),
        "decoupled_decay": Stated("projection", "", "AdamW for the projection, Adam for the discriminator"),
    },
    checked=f"The code of December 2023. {NO_COPY}",
    remains=_SAME,
)

PBAS = Publication(
    paper='Chen et al., "Progressive Boundary Guided Anomaly Synthesis for Industrial Anomaly Detection", 2024',
    code="github.com/cqylunlun/PBAS",
    values={
        **_FEATURES,
        "size": Stated(288, "256", "288", "the code's: its scripts are what can be run"),
        "geometry": Stated("crop", "resize and centre crop", "the shorter side to 288, centre crop 288"),
        "crop_share": Stated(
            1.0, "", "288 of 288; of 329 for wood and toothbrush", "reproduce takes 329 for those two, as the code"
        ),
        "synthesis": Stated("ray", "along the ray from the centre", "along the ray from the centre"),
        "refine": Stated(True, "refined boundary optimisation", "binary cross-entropy"),
        "degree": Stated(0.25, "0.3", "0.25", "the code's"),
        "centre": Stated("aligned", "feature alignment, smoothing 0.1", "feature alignment, 0.9 and 0.1"),
        "compactness_weight": Stated(1.0, "", "1"),
        "probability": Stated(True, "sigmoid", "sigmoid"),
        "epochs": Stated(640, "400", "640", "the code's"),
        "learning_rate": Stated(1e-4, _LOST, "0.0001"),
        "discriminator_scale": Stated(2.0, _LOST, "0.0002"),
        "weight_decay": Stated(1e-5, _LOST, "0.00001"),
        "discriminator_decay": Stated(1e-2, _LOST, "AdamW's own, 0.01", "the code's"),
        "decoupled_decay": Stated("discriminator", "Adam", "Adam for the projection, AdamW for the discriminator"),
    },
    checked="The code of March 2026, and a text of the paper that lacks the numbers in its formulas.",
    by_category={name: {"crop_share": 288 / 329} for name in ("toothbrush", "wood")},
    remains=(
        *_SAME,
        "Where several positions of a batch move one centre, their mean moves it; the code moves it once for each.",
    ),
)

BOUNDARY_SHUFFLING = Publication(
    paper=(
        'Khan et al., "Efficient Anomaly Detection Using Counterfactual Shuffling on Boundary Regions", JBE 31(3), 2026'
    ),
    code="",
    values={
        **{name: Stated(stated.value, "", "", _NOT_GIVEN) for name, stated in _FEATURES.items()},
        "backbone": Stated("wide-resnet50", "WideResNet-50"),
        "batch_size": Stated(8, "8"),
        "size": Stated(288, "288"),
        "geometry": Stated("crop", "", "", _NOT_GIVEN),
        "crop_share": Stated(1.0, "", "", _NOT_GIVEN),
        "centre": Stated("aligned", "the centre of PBAS"),
        "probability": Stated(True, "binary cross-entropy", "", _NOT_GIVEN),
        "radius_weight": Stated(0.1, "0.1"),
        "compactness_weight": Stated(1.0, "1"),
        "contrast_weight": Stated(1.0, "1"),
        "epochs": Stated(640, "640"),
        "learning_rate": Stated(1e-4, "", "", _NOT_GIVEN),
        "discriminator_scale": Stated(2.0, "", "", _NOT_GIVEN),
        "weight_decay": Stated(1e-5, "", "", _NOT_GIVEN),
        "discriminator_decay": Stated(1e-2, "", "", _NOT_GIVEN),
        "decoupled_decay": Stated("discriminator", "", "", _NOT_GIVEN),
    },
    checked="The paper.",
    remains=(
        "The paper gives no value for α, t, λ, the mask's share, the similarity constraint, the weights of eq. 5, λ_c, "
        "m, β_mean, β_tv and r_0: those of the parameters' defaults are taken.",
        "Image and map are those of the last epoch; the paper does not say which it reports.",
    ),
)

_SHARED = ("backbone", "weights", "levels", "standardise", "start", "projection", "hidden", "sigma")

SUPERSIMPLENET = Publication(
    paper=(
        'Rolih et al., "SuperSimpleNet: Unifying Unsupervised and Supervised Learning for Fast and Reliable Surface '
        'Defect Detection", ICPR 2024; "No Label Left Behind", Journal of Intelligent Manufacturing, 2025'
    ),
    code="github.com/blaz-r/SuperSimpleNet",
    values={
        **{name: _FEATURES[name] for name in _SHARED},
        "size": Stated(256, "256", "256"),
        "geometry": Stated("stretch", "", "resized to 256 x 256"),
        "neighbourhood": Stated(1, "3, after upscaling", "3, after upscaling", "the upscaled map is averaged"),
        "embedding": Stated(0, "", "1536: every channel of both levels"),
        "upscaling": Stated(2, "2", "2"),
        "noise": Stated(0.015, "0.015", "0.015"),
        "perlin_threshold": Stated(0.2, "", "0.2; 0.6 on VisA and with labels", "as on MVTec AD"),
        "margin": Stated(0.5, "0.5", "0.5"),
        "focus": Stated(4.0, "", "4"),
        "classifier_width": Stated(128, "", "128"),
        "spared": Stated(0, "", "all but what is marked is normal"),
        "own_mean": Stated(False, "", "one mean over all anomalous positions"),
        "stop_gradient": Stated(None, "", "stopped without labels, and not with them"),
        "positions": Stated(1.0, "", "every position of an image"),
        "score": Stated("map", "", "", "without effect: the classification head gives the score"),
        "classifier_score": Stated(True, "", "of the classification head"),
        "epochs": Stated(300, "300", "300"),
        "batch_size": Stated(32, "32", "32"),
        "learning_rate": Stated(1e-4, "0.0001", "0.0001"),
        "discriminator_scale": Stated(2.0, "0.0002", "0.0002"),
        "schedule": Stated("small-step", "times 0.4 after 240 and 270 epochs", "times 0.4 after 80 % and 90 %"),
        "weight_decay": Stated(1e-2, "", "AdamW's own, 0.01"),
        "discriminator_decay": Stated(1e-5, "", "0.00001"),
        "decoupled_decay": Stated("both", "AdamW", "AdamW"),
        "flips": Stated(False, "", "none without labels"),
        "mixed_precision": Stated(False, "", "float32"),
        "all_photos": Stated(True, "all training photos", "all training photos"),
    },
    checked=f"The code of September 2024. {NO_COPY}",
    remains=(
        "Both levels are brought to the finer one's grid and upscaled together, with the pixels' corners not aligned, "
        "and neighbours beyond the border are left out of the average.",
        "A labelled defect that covers no position by half marks the one that it covers most; the authors' sampling "
        "of masks loses it.",
        "A map is shifted to have the score of its image as its maximum, which moves the pixels of one image against "
        "those of another.",
        "Each step takes as many labelled defects as good photos, drawn anew; the authors mirror defects and draw good "
        "photos to match.",
        "The last layer of the segmentation head has a bias, and the classification head sees the adapted features, as "
        "in the code of 2024; the journal's gives it those before the adaptor.",
        *_SAME[1:],
    ),
)
