"""Simulated defects to learn from, as in DRAEM: foreign texture behind a Perlin mask, with the exact mask."""

from edge_ad.data.simulated_defects.simulator import (
    BLENDED_TEXTURES,
    DefectSimulator,
    Fill,
    Opacity,
    SimulatedDefect,
    Simulator,
)
from edge_ad.data.simulated_defects.textures import texture_photos

__all__ = ["BLENDED_TEXTURES", "DefectSimulator", "Fill", "Opacity", "SimulatedDefect", "Simulator", "texture_photos"]
