"""What DSR's paper and its authors' code say of every setting."""

from __future__ import annotations

from edge_ad.models.published import NO_COPY, Publication, Stated

__all__ = ["PUBLICATION"]

_SAMPLES = "of 8000 samples each, which is so many epochs of 200 photos"

PUBLICATION = Publication(
    paper=(
        'Zavrtanik, Kristan & Skočaj, "DSR – A dual subspace re-projection network for surface anomaly detection", '
        "ECCV 2022"
    ),
    code="github.com/VitjanZ/DSR_anomaly_detection",
    values={
        "form": Stated("published", "two decoders of a quantised space", "128 channels and 4096 codes per level"),
        "quantiser": Stated(
            None, "pretrained on ImageNet", "a file of its own", "the file has to be named: -p quantiser=FILE"
        ),
        "strength": Stated(0.2, "", "λs from 0.2 to 1"),
        "clean_share": Stated(0.5, "", "0.5"),
        "rotation": Stated(90.0, "", "up to 90 degrees"),
        "rotation_share": Stated(0.4, "", "0.4 of the photos, 0.3 for upsampling"),
        "crop": Stated(0, "", "whole images"),
        "image_weight": Stated(10.0, "", "10"),
        "focusing": Stated(2.0, "", "2"),
        "size": Stated(256, "", "256"),
        "geometry": Stated("stretch", "", "the whole photo to 256 x 256"),
        "epochs": Stated(4000, "", f"100 {_SAMPLES}", "an epoch here has each photo once"),
        "upsampling_epochs": Stated(2000, "", f"50 {_SAMPLES}", "an epoch here has each photo once"),
        "quantiser_epochs": Stated(4000, "", "", "the paper's was trained on ImageNet; as long as the second stage"),
        "learning_rate": Stated(2e-4, "", "0.0002"),
        "schedule": Stated("step", "", "0.1 after 80 %; none for upsampling", "the nearest there is"),
        "batch_size": Stated(8, "", "8"),
        "flips": Stated(False, "", "none"),
        "mixed_precision": Stated(False, "", "float32"),
        "all_photos": Stated(True, "", "all training photos"),
    },
    checked=f"The code of July 2022. {NO_COPY}",
    remains=(
        "Without the authors' file the quantiser learns from the photos with simulated defects.",
        "The rate falls to a fifth after 80 % and 90 % of each stage.",
        "Turned photos are mirrored beyond their border, where the code fills black.",
        "Noise that nowhere exceeds the threshold is drawn again, where the code has one more clean sample.",
        "The focal loss is the plain one; the code smooths labels and probabilities by 0.00001.",
        "The code judges the map within the middle 224 x 224 pixels.",
    ),
)
