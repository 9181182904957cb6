"""Fit anomalib's PaDiM or PatchCore on a backbone that is given; runs in anomalib's own environment.

    .venv-anomalib/bin/python benchmarks/suites/anomalib_fit.py NAME INPUT.pt FOLDER SEED

``INPUT.pt`` is written by `benchmarks.suites.peer_accuracy`. Writes ``NAME.xml`` and ``NAME.bin``, the model exported
by anomalib, and ``NAME.npz``, what its OpenVINO inferencer says of the test photos (``scores``, ``maps``); the last
line on stdout is JSON.

Settings are anomalib's defaults but for the backbone: timm's ``tf_efficientnet_lite0`` with the weights that are given,
its levels of stride 8 and 16, and that network's constants of normalisation. Scores stay raw: anomalib's normalisation,
which clips them, is off. The coreset is chosen by `farthest_first`, which chooses the same; the time of anomalib's own
loop is extrapolated from its first steps.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from farthest_first import farthest_first
from torch import Tensor

_BACKBONE, _LAYERS = "tf_efficientnet_lite0", ["blocks.2", "blocks.4"]
_BATCH = 32  # anomalib's
_TIMED_STEPS = 20
_FEATURES_AGREE = 1e-3  # of the largest feature


class Coreset:
    """anomalib's choice made by `farthest_first`, and the CPU time that both take."""

    spent_seconds = 0.0
    loop_seconds = 0.0

    @classmethod
    def select(cls, sampler: Any) -> list[int]:
        """Stand-in for ``KCenterGreedy.select_coreset_idxs``."""
        sampler.model.fit(sampler.embedding)
        sampler.features = sampler.model.transform(sampler.embedding)
        sampler.reset_distances()
        first = index = torch.randint(sampler.n_observations, (1,)).squeeze()
        began = time.process_time()
        for _ in range(_TIMED_STEPS):
            sampler.update_distances(cluster_center=index)
            index = sampler.get_new_idx()
        cls.loop_seconds = (time.process_time() - began) / _TIMED_STEPS * sampler.coreset_size
        chosen = farthest_first(sampler.features, int(first), sampler.coreset_size)
        cls.spent_seconds = time.process_time() - began
        rows: list[int] = chosen.tolist()
        return rows


def normalised(model: Any) -> Any:
    """The keywords that all models share: EfficientNet-Lite's normalisation, and raw scores."""
    from anomalib.post_processing import PostProcessor
    from anomalib.pre_processing import PreProcessor
    from torchvision.transforms.v2 import Compose, Normalize, Resize

    transform = Compose([Resize((256, 256), antialias=True), Normalize([127 / 255] * 3, [128 / 255] * 3)])
    return model(
        backbone=_BACKBONE,
        layers=list(_LAYERS),
        pre_trained=False,
        pre_processor=PreProcessor(transform=transform),
        post_processor=PostProcessor(enable_normalization=False),
        evaluator=False,
        visualizer=False,
    )


def padim(features: int = 100) -> Any:
    """Gaussian of each position over 100 channels at random, as many as anomalib takes of ResNet-18."""
    from functools import partial

    from anomalib.models import Padim

    return normalised(partial(Padim, n_features=features))


def padim_all() -> Any:
    """Over all 152 channels of the two levels."""
    return padim(152)


def patchcore() -> Any:
    """A tenth of the patches as a bank."""
    from anomalib.models import Patchcore
    from anomalib.models.components.sampling.k_center_greedy import KCenterGreedy

    KCenterGreedy.select_coreset_idxs = lambda sampler: Coreset.select(sampler)
    return normalised(Patchcore)


MODELS = {"PaDiM-Lite0": padim, "PaDiM-Lite0-152": padim_all, "PatchCore-Lite0": patchcore}


def load_backbone(network: torch.nn.Module, published: Mapping[str, Tensor]) -> None:
    """Load published weights in their order, which is that of timm's too; what timm did not build is left out.

    Raises:
        ValueError: A shape differs.
    """
    ours, theirs = (
        [name for name in names if "num_batches" not in name] for names in (published, network.state_dict())
    )
    found = dict(zip(theirs, ours, strict=False))
    for name, tensor in network.state_dict().items():
        if name in found and tensor.shape != published[found[name]].shape:
            raise ValueError(f"{name} {tuple(tensor.shape)}, {found[name]} {tuple(published[found[name]].shape)}")
    missing, _ = network.load_state_dict({name: published[found[name]] for name in theirs}, strict=False)
    if left := [name for name in missing if "num_batches" not in name]:
        raise ValueError(f"{left[0]} is not in the weights")


def check_backbone(model: Any, photo: Tensor, features: Iterable[Tensor]) -> float:
    """The largest difference of features to edge-ad's backbone, over the largest feature.

    Raises:
        ValueError: They are not the same.
    """
    found = model.model.feature_extractor(model.pre_processor(photo))
    pairs = zip(found.values(), features, strict=True)
    difference = max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)
    if not difference < _FEATURES_AGREE:
        raise ValueError(f"features differ by {difference:.3g} of the largest")
    return difference


def fit(model: Any, photos: Tensor) -> None:
    """Fit on uint8 (N, H, W, 3) RGB."""
    model.model.train()
    with torch.no_grad():
        for part in photos.split(_BATCH):  # type: ignore[no-untyped-call]
            model.model(model.pre_processor(_to_float(part)))
        model.fit()
    model.eval()


def _to_float(photos: Tensor) -> Tensor:
    return photos.permute(0, 3, 1, 2).float() / 255


def judged(graph: Path, photos: Tensor) -> dict[str, np.ndarray[Any, Any]]:
    """Scores (N,) and maps (N, H, W) of the exported model through anomalib's inferencer."""
    from anomalib.deploy import OpenVINOInferencer

    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    inferencer = OpenVINOInferencer(graph, device="CPU", config=settings)
    found = [inferencer.predict(photo.numpy()) for photo in photos]
    scores = np.array([float(np.squeeze(item.pred_score)) for item in found])
    return {"scores": scores, "maps": np.stack([np.squeeze(item.anomaly_map).astype(np.float32) for item in found])}


def main() -> None:
    """Fit, export, judge."""
    name, source, folder, seed = sys.argv[1], Path(sys.argv[2]).absolute(), Path(sys.argv[3]).absolute(), sys.argv[4]
    given = torch.load(source, weights_only=True)
    torch.manual_seed(int(seed))
    model = MODELS[name]()
    load_backbone(model.model.feature_extractor.feature_extractor, given["weights"])
    difference = check_backbone(model, _to_float(given["train"][:1]), given["features"])
    fit(model, given["train"])
    seconds = time.process_time() - Coreset.spent_seconds + Coreset.loop_seconds
    with tempfile.TemporaryDirectory() as root:
        size_hw = tuple(given["train"].shape[1:3])  # one photo at a time: with any number PatchCore is not exported
        saved = model.to_openvino(root, "model", input_size=size_hw, onnx_kwargs={"dynamic_axes": {}})
        for suffix in (".bin", ".xml"):  # the .xml last: it says that both are there
            folder.joinpath(name + suffix).write_bytes(saved.with_suffix(suffix).read_bytes())
    np.savez(folder / f"{name}.npz", **judged(folder / f"{name}.xml", given["test"]))  # type: ignore[arg-type]
    loop = {"coreset_cpu_seconds": Coreset.loop_seconds} if Coreset.loop_seconds else {}
    print(json.dumps({"cpu_seconds": seconds, **loop, "backbone_difference": difference}))


if __name__ == "__main__":
    main()
