"""The ``edge-ad`` command: one file per verb, nothing but arguments, calls and printing."""

from edge_ad.cli.app import main

__all__ = ["main"]
