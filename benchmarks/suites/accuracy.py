"""What exactly this engine reaches on test images, beside eager FP32 torch on the same ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_ad.data.samples import Product
from edge_ad.evaluation.evaluate import Predictor, evaluate
from edge_ad.runtime import Engine

__all__ = ["accuracy_of", "torch_metrics"]


def torch_metrics(run: Path, product: Product) -> dict[str, float] | None:
    """Metrics of a run in eager FP32 torch; None where there is no run or no torch."""
    if not (run / "run.json").is_file():
        return None
    try:
        import torch  # noqa: F401
    except ImportError:
        return None
    from edge_ad.training.predictor import open_run

    subject = open_run(run, 0)
    return _metrics(subject.predict, product, subject.size_hw)


def accuracy_of(engine: Engine, product: Product, reference: dict[str, float] | None) -> dict[str, Any]:
    """Metrics of an open engine, and their difference to the reference's.

    Args:
        engine: Open engine.
        product: Product with test images.
        reference: Metrics of eager FP32 torch on the same images; None where they are not known.
    """
    metrics = _metrics(engine.infer, product, engine.describe().input_size_hw)
    difference = None
    if reference is not None:
        difference = {name: value - reference[name] for name, value in metrics.items() if name in reference}
    return {"data": product.name, "images": len(product.test), "metrics": metrics, "difference": difference}


def _metrics(predict: Predictor, product: Product, size_hw: tuple[int, int]) -> dict[str, float]:
    return dict(evaluate(predict, product, size_hw, batch=1).metrics)
