"""Graph passes: each edits an ONNX graph in place and leaves one that ``onnx.checker`` accepts."""

from edge_ad.export.passes.linear_maps import sigmoid_beside_convolution, square_by_product
from edge_ad.export.passes.opset import make_batch_dynamic, resize_by_scale
from edge_ad.export.passes.channels import fill_channels
from edge_ad.export.passes.channels import maps_by_matrix_product
from edge_ad.export.passes.linear_maps import fold_linear_maps
from edge_ad.export.passes.opset import name_layers
from edge_ad.export.passes.opset import OPSET, lower_opset
from edge_ad.export.passes.photo import transpose_late
from edge_ad.export.passes.positions import positions_as_groups

__all__ = [
    "OPSET",
    "fill_channels",
    "fold_linear_maps",
    "lower_opset",
    "make_batch_dynamic",
    "maps_by_matrix_product",
    "name_layers",
    "positions_as_groups",
    "resize_by_scale",
    "sigmoid_beside_convolution",
    "square_by_product",
    "transpose_late",
]
