"""The manifest of a bundle: everything a device must know about what was trained, as checked data."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from edge_ad.document import Document
from edge_ad.photo_spec import PhotoSpec

__all__ = [
    "BF16_OF",
    "SCHEMA_VERSION",
    "Document",
    "GateReport",
    "GraphInfo",
    "Manifest",
    "MetricsRecord",
    "Precision",
    "SplitInfo",
    "Threshold",
]

SCHEMA_VERSION = 2

Precision = Literal["fp32", "bf16", "fp16", "int8", "int8-bf16"]
"""What a graph computes in. ``bf16`` and ``int8-bf16`` are the graphs of ``fp32`` and ``int8``, with what is float in
them computed in bfloat16 by the engine, but for the parts that the record names: with a gate and a threshold of their
own."""

BF16_OF: dict[Precision, Precision] = {"fp32": "bf16", "int8": "int8-bf16"}
"""Precision → the same graph in bfloat16."""


class Threshold(Document):
    """A decision threshold and the rule that set it.

    Attributes:
        value: Raw score; a part is defective when its score is above it.
        rule: What the value is, in words.
        false_alarm_rate: The rate asked for, in (0, 1); of a value that a person gave, the one of before.
        false_alarm_bound: Upper bound on the true rate that holds with ``confidence``, in (0, 1]; 1 promises nothing.
        confidence: Confidence of the bound, in (0, 1).
        good_images: How many held-out good images set it, or measured its bound; 0 for a value that a person gave.
    """

    value: float
    rule: str
    false_alarm_rate: float = Field(gt=0, lt=1)
    false_alarm_bound: float = Field(gt=0, le=1)
    confidence: float = Field(gt=0, lt=1)
    good_images: int = Field(ge=0)


class MetricsRecord(Document):
    """Metrics with the data and the engine they were measured on.

    Attributes:
        data: Name of the product and split, such as ``"metal_plate test"``.
        engine: What ran, such as ``"openvino int8"``.
        images: Number of images.
        values: Metric name → value, such as ``{"image_auroc": 0.99}``.
    """

    data: str
    engine: str
    images: int
    values: dict[str, float]


class GateReport(Document):
    """Comparison of a graph with its FP32 reference on held-out good images and pseudo-defects.

    Attributes:
        passed: Whether every check held.
        checks: Name → measured value (``image_auroc_drop``, ``map_correlation``, ``score_drift``).
        limits: Name → limit the value was held against.
        float_layers: Layers left in float because the gate asked for it.
        quantised_layers: How many layers are INT8.
    """

    passed: bool
    checks: dict[str, float]
    limits: dict[str, float]
    float_layers: list[str] = Field(default_factory=list)
    quantised_layers: int = 0


class GraphInfo(Document):
    """One ONNX graph of a bundle.

    Attributes:
        file: File name inside the bundle.
        threshold: Threshold on this graph's own scores.
        gate: Accuracy gate against FP32; None for FP32 itself.
        float32: Names of nodes and modules that an engine in bfloat16 computes in float32 nevertheless.
    """

    file: str
    threshold: Threshold
    gate: GateReport | None = None
    float32: list[str] = Field(default_factory=list)


class SplitInfo(Document):
    """How the good images were split: the seed and the content hashes of each part."""

    seed: int
    fit: list[str]
    calibrate: list[str]
    threshold: list[str]


class Manifest(Document):
    """Contents of ``manifest.json``.

    Attributes:
        schema_version: Version of this schema; a newer one is refused.
        method: Name of the detector, such as ``"fader"``.
        parameters: The method's own parameters.
        product: Name of the product it was trained on.
        input_size_hw: Height and width, in pixels, of the images the graph takes.
        photos: What the photos were like that it was trained on, and how they fill the graph's input.
        graphs: Precision → graph.
        metrics: Metrics and where they were measured.
        split: The split of the good images.
        labelled_defects: Content hashes of the photos of defective parts that were learned from.
        files: File name → SHA-256 of its content, for every file but the manifest and the engines.
        versions: Package → version that made the bundle.
        created: ISO 8601 date and time, UTC.
    """

    schema_version: int = SCHEMA_VERSION
    method: str
    parameters: dict[str, JsonValue]
    product: str
    input_size_hw: tuple[int, int]
    photos: PhotoSpec = PhotoSpec()
    graphs: dict[Precision, GraphInfo]
    metrics: list[MetricsRecord] = Field(default_factory=list)
    split: SplitInfo
    labelled_defects: list[str] = Field(default_factory=list)
    files: dict[str, str] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    created: str
