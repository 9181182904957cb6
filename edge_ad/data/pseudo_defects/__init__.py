"""Pseudo-defects: good images made defective, to calibrate and to compare by without a real defect."""

from edge_ad.data.pseudo_defects.painter import KINDS, PseudoDefects

__all__ = ["KINDS", "PseudoDefects"]
