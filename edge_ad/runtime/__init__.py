"""Engines: one interface over every backend that runs a bundle's graphs. Imports no torch."""

from edge_ad.runtime.backends import build_engine, choose_backend, open_engine, probe
from edge_ad.runtime.base import Engine, EngineDescription

__all__ = ["Engine", "EngineDescription", "build_engine", "choose_backend", "open_engine", "probe"]
