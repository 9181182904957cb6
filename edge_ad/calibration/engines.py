"""Open a graph that is still in memory as an engine of the backend it is meant for."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from onnx import ModelProto

from edge_ad.manifest import Precision, Threshold
from edge_ad.runtime.backend import get_backend
from edge_ad.runtime.engine import Engine
from edge_ad.runtime.source import EngineSource

__all__ = ["open_graph"]


@contextmanager
def open_graph(
    model: ModelProto, backend: str, precision: Precision, threshold: Threshold, float32: Sequence[str] = ()
) -> Iterator[Engine]:
    """Open a deploy graph as the bundle's engine would be.

    Args:
        model: Deploy graph.
        backend: One that compiles graphs in memory.
        precision: What the graph is, for the engine's description.
        threshold: Any threshold; the scores do not depend on it.
        float32: Parts that an engine in bfloat16 computes in float32.
    """
    dims = model.graph.input[0].type.tensor_type.shape.dim
    with tempfile.TemporaryDirectory(prefix="edge-ad-") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        source = EngineSource(
            onnx=path,
            precision=precision,
            input_size_hw=(dims[1].dim_value, dims[2].dim_value),
            threshold=threshold,
            directory=None,
            directory_version="",
            words="in memory",
            float32=float32,
        )
        with get_backend(backend).open(source) as engine:
            yield engine
