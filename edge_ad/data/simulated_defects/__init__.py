"""Simulated defects to learn from, as in DRAEM: foreign texture behind a Perlin mask, with the exact mask."""

from edge_ad.data.simulated_defects.simulator import DefectSimulator, Opacity, SimulatedDefect, Simulator
from edge_ad.data.simulated_defects.textures import texture_photos

__all__ = ["DefectSimulator", "Opacity", "SimulatedDefect", "Simulator", "texture_photos"]
