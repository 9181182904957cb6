"""Pseudo-defects: good images made defective, to calibrate and compare without real defects."""

from edge_ad.data.pseudo_defects.painter import KINDS, PseudoDefects

__all__ = ["KINDS", "PseudoDefects"]
