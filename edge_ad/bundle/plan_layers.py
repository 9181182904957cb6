"""The layers of a TensorRT plan, as the file beside it lists them: their types and their arithmetic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, TypeAdapter, ValidationError

from edge_ad.errors import BundleError
from edge_ad.manifest import Document

__all__ = [
    "LAYERS_FILE",
    "PLAN_FILE",
    "ConvolutionShare",
    "PlanLayer",
    "convolution_share",
    "count_types",
    "layers_to_bytes",
    "read_layers",
]

PLAN_FILE = "model.plan"
LAYERS_FILE = "layers.json"
INT8 = "int8"


class PlanLayer(Document):
    """One layer of a plan: often several nodes of the graph in one kernel.

    Attributes:
        name: TensorRT's name.
        type: TensorRT's kind of layer, such as ``"correlation"`` or ``"CaskConvolution"``.
        inputs: Type of each input, such as ``"int8"``.
        outputs: Type of each output.
        weights: Type of its largest constant; empty where it has none.
        nodes: Nodes of the ONNX graph it computes, as far as TensorRT names them.
        convolutions: Of these, each convolution and its multiply-accumulates for one image.
    """

    name: str
    type: str
    inputs: list[str] = Field(default_factory=list)
    outputs: list[str] = Field(default_factory=list)
    weights: str = ""
    nodes: list[str] = Field(default_factory=list)
    convolutions: dict[str, int] = Field(default_factory=dict)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of its convolutions for one image."""
        return sum(self.convolutions.values())

    @property
    def is_int8(self) -> bool:
        """Whether it multiplies int8 inputs by int8 weights."""
        return self.weights == INT8 and INT8 in self.inputs

    @property
    def precision(self) -> str:
        """Type it computes in: int8 where it multiplies int8 by int8, else the first other type in or out."""
        kinds = [*self.inputs, *self.outputs]
        return INT8 if self.is_int8 else next((kind for kind in kinds if kind != INT8), kinds[0] if kinds else "")


@dataclass(frozen=True)
class ConvolutionShare:
    """Share of INT8 in the arithmetic of a plan's convolutions.

    Attributes:
        macs: Multiply-accumulates of all convolutions for one image.
        int8_macs: Those of them that are int8 by int8.
        floats: Convolutions that are not, with their multiply-accumulates, the largest first.
    """

    macs: int
    int8_macs: int
    floats: dict[str, int]

    @property
    def int8(self) -> float:
        """The share in [0, 1]; 0 without convolutions."""
        return self.int8_macs / self.macs if self.macs else 0.0


def convolution_share(layers: Iterable[PlanLayer]) -> ConvolutionShare:
    """Share of the convolutions' arithmetic that is INT8."""
    int8 = {node: macs for layer in layers if layer.is_int8 for node, macs in layer.convolutions.items()}
    rest = {node: macs for layer in layers if not layer.is_int8 for node, macs in layer.convolutions.items()}
    largest_first = dict(sorted(rest.items(), key=lambda item: (-item[1], item[0])))
    return ConvolutionShare(sum(int8.values()) + sum(rest.values()), sum(int8.values()), largest_first)


def count_types(layers: Iterable[PlanLayer]) -> list[tuple[str, str, int]]:
    """Kind of layer, type it computes in, and how many there are, the most frequent first."""
    counts = Counter((layer.type, layer.precision) for layer in layers)
    return [(kind, precision, count) for (kind, precision), count in counts.most_common()]


def read_layers(directory: Path) -> list[PlanLayer]:
    """The layers of the plan in an engine directory; none where the directory holds no plan.

    Raises:
        BundleError: The list cannot be read.
    """
    path = directory / LAYERS_FILE
    if not path.is_file():
        return []
    try:
        return _LAYERS.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise BundleError(
            f"{path} cannot be read: {reason}.", f"Delete {directory} and build the engine again."
        ) from error


def layers_to_bytes(layers: Sequence[PlanLayer]) -> bytes:
    """Content of the file."""
    return _LAYERS.dump_json(list(layers), indent=1) + b"\n"


_LAYERS = TypeAdapter(list[PlanLayer])
