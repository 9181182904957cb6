"""anomalib's lightest models as OpenVINO graphs, exported offline; runs in anomalib's own environment.

    .venv-anomalib/bin/python benchmarks/suites/anomalib_export.py FOLDER

Weights, and the bank of PatchCore, are random: time does not depend on them, and the pretrained ones would have to be
downloaded. A model takes one photo at a time; nothing else is changed. One ``<model>.xml`` each; a model that cannot be
exported is named with the reason in ``failed.json``.
"""

from __future__ import annotations

import functools
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

_SIZE_HW = (256, 256)
# A batch of any size is slower, and PatchCore cannot be exported with it.
_ONE_PHOTO: dict[str, dict[str, Any]] = {"dynamic_axes": {}}


def stfpm() -> Any:
    """Student and teacher, ResNet-18."""
    from anomalib.models import Stfpm

    return Stfpm(evaluator=False, visualizer=False)


def padim() -> Any:
    """Gaussian of each position over ResNet-18; the Gaussian is the identity."""
    import torch
    from anomalib.models import Padim

    made = Padim(pre_trained=False, evaluator=False, visualizer=False)
    positions, features = (_SIZE_HW[0] // 4) * (_SIZE_HW[1] // 4), made.model.n_features
    made.model.gaussian.mean = torch.zeros(features, positions)
    made.model.gaussian.inv_covariance = torch.eye(features).repeat(positions, 1, 1)
    return made


def patchcore() -> Any:
    """Wide ResNet-50 and a bank of a tenth of the patches of 54 photos."""
    import torch
    from anomalib.models import Patchcore

    made = Patchcore(pre_trained=False, evaluator=False, visualizer=False)
    made.model.memory_bank = torch.rand(54 * (_SIZE_HW[0] // 8) * (_SIZE_HW[1] // 8) // 10, 512 + 1024)
    return made


def efficient_ad() -> Any:
    """The small one."""
    from anomalib.models import EfficientAd

    return EfficientAd(evaluator=False, visualizer=False)


def draem() -> Any:
    """Two U-Nets."""
    from anomalib.models import Draem

    with tempfile.TemporaryDirectory() as empty:  # textures are for training
        return Draem(dtd_dir=empty, evaluator=False, visualizer=False)


MODELS: dict[str, Callable[[], Any]] = {
    "STFPM": stfpm,
    "PaDiM": padim,
    "PatchCore": patchcore,
    "EfficientAD-S": efficient_ad,
    "DRAEM": draem,
}


def forget_pretrained_weights() -> None:
    """Let timm make its networks with random weights."""
    import timm

    made = timm.create_model
    timm.create_model = functools.wraps(made)(lambda *args, **named: made(*args, **{**named, "pretrained": False}))


def export(folder: Path) -> dict[str, str]:
    """Export every model; returns name → why it failed."""
    forget_pretrained_weights()
    failed = {}
    for name, make in MODELS.items():
        try:
            with tempfile.TemporaryDirectory() as root:
                saved = make().to_openvino(root, "model", input_size=_SIZE_HW, onnx_kwargs=_ONE_PHOTO)
                for suffix in (".bin", ".xml"):  # the .xml last: it says that both are there
                    shutil.copyfile(saved.with_suffix(suffix), folder / f"{name}{suffix}")
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}".splitlines()[0]
            print(f"{name}: {failed[name]}", file=sys.stderr)
    return failed


def main() -> int:
    """Export into the folder that is named."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    failed = export(folder)
    (folder / "failed.json").write_text(json.dumps(failed, indent=1) + "\n", encoding="utf-8")
    return 0 if len(failed) < len(MODELS) else 1


if __name__ == "__main__":
    sys.exit(main())
