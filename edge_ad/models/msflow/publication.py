"""What MSFlow's paper and its authors' code say of every setting."""

from __future__ import annotations

from edge_ad.models.published import NO_COPY, Publication, Stated

__all__ = ["MSFLOW"]

MSFLOW = Publication(
    paper='Zhou et al., "MSFlow: Multi-Scale Flow-based Framework for Unsupervised Anomaly Detection", TNNLS 2024',
    code="github.com/cool-xuan/msflow",
    values={
        "backbone": Stated("wide-resnet50", "", "wide_resnet50_2, layers 1 to 3"),
        "weights": Stated("imagenet", "", "torchvision's IMAGENET1K_V1"),
        "size": Stated(512, "", "512", "the code names 256 for one product, but asks before the product is known"),
        "geometry": Stated("stretch", "", "the whole photo to 512 x 512"),
        "blocks": Stated((2, 5, 8), "2, 5 and 8", "2, 5 and 8"),
        "condition": Stated(64, "", "64 for each scale"),
        "clamp": Stated(1.9, "", "1.9"),
        "standardise": Stated(False, "", "none"),
        "noise": Stated(0.0, "", "none"),
        "reference": Stated("picture", "", "the maximum of each picture"),
        "score": Stated("product", "", "of the scales' likelihoods"),
        "top_share": Stated(0.03, "", "0.03"),
        "sigma": Stated(0.1, "", "no smoothing", "0.1 pixels leave the map as it is"),
        "epochs": Stated(100, "", "25 times 4"),
        "learning_rate": Stated(1e-4, "", "0.0001"),
        "schedule": Stated("warm-up-step", "", "from a tenth over 12 epochs, times 0.33 after 70 and after 90"),
        "gradient_norm": Stated(2.0, "", "2"),
        "batch_size": Stated(8, "", "8 on the command line, 16 in the defaults", "the command line goes first"),
        "mixed_precision": Stated(False, "", "float32, unless asked"),
        "all_photos": Stated(True, "", "all training photos"),
    },
    checked=f"The code of March 2024. {NO_COPY}",
    remains=(
        "The last epoch is taken; the code keeps the best one by the test images.",
        "Score and map are divided by what training photos have, which moves neither AUROC nor PRO.",
    ),
)
