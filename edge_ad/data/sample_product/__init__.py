"""A sample product without real photos: a rendered machined part, its defects with exact masks, and its line."""

from edge_ad.data.sample_product.defects import DEFECT_KINDS
from edge_ad.data.sample_product.product import LinePart, render_parts, render_product
from edge_ad.data.sample_product.video import Shown, render_line_video

__all__ = ["DEFECT_KINDS", "LinePart", "Shown", "render_line_video", "render_parts", "render_product"]
