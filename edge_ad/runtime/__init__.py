"""Engines: one interface over every backend that runs a bundle's graphs. Imports no torch."""

from edge_ad.runtime.backend import choose_backend, probe
from edge_ad.runtime.engine import Engine, EngineDescription
from edge_ad.runtime.engines import build_engine, open_engine

__all__ = ["Engine", "EngineDescription", "build_engine", "choose_backend", "open_engine", "probe"]
